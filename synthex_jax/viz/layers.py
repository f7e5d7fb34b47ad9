"""Color: signed images, and masks, labels or heat over a radiograph."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from synthex_jax.checks import require, require_finite, require_positive
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.display import Window, to_display

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008), which color-blind readers
# tell apart; its black, lost on a radiograph, is left out.
LABEL_COLORS = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#cc79a7",
    "#d55e00",
    "#0072b2",
)

# Dark where the value is zero, so that it lies well over and beside radiographs.
_SIGNED = LinearSegmentedColormap.from_list(
    "signed",
    ["#a8e6ff", "#2f8fe0", "#0d2340", "#07080a", "#45190a", "#ee7a1c", "#ffe9b0"],
)

# Heat is faint where it is weak; over white bone it would not be seen.
_DIMMED = 0.65

# Of the magnitudes; edges of bone set the scale, not one pixel at a metal rim.
_FULL_COLOR_PERCENTILE = 99.5


def signed(
    image: ArrayLike, *, scale: float | None = None
) -> UInt8[np.ndarray, "rows cols 3"]:
    """A signed image in color: blue below zero, black at zero, orange above.

    Args:
        image: (rows, cols), a derivative or a difference.
        scale: magnitude shown in full color; by default the 99.5th percentile of the
            image's magnitudes.

    Raises:
        ValueError: for an image that is not 2-D or not finite.
    """
    values = _checked("image", image)
    if scale is None:
        scale = _scale(values)
    else:
        require_positive("scale", scale)
    colors = _SIGNED(np.clip(0.5 + values / (2 * scale), 0, 1))
    return _to_rgb8(colors[..., :3])


def overlay(
    image: ArrayLike,
    layer: ArrayLike,
    *,
    opacity: float = 0.5,
    window: Window | None = None,
    invert: bool = False,
) -> UInt8[np.ndarray, "rows cols 3"]:
    """A radiograph with a mask, labels, probabilities or a gradient over it in color.

    Args:
        image: (rows, cols), shown in gray.
        layer: (rows, cols). Bool: a mask, in one color. Integers: labels, a color
            each (repeating after seven), 0 is clear. Floats: heat, whose strength is
            its opacity; orange above zero, blue below.
        opacity: of the layer where it is strongest, from 0 to 1.
        window: of the image; see ``to_display``.
        invert: show bone black.

    Raises:
        ValueError: where image and layer differ in shape, or are not finite.
    """
    gray = to_display(image, window=window, invert=invert)[..., None]
    values = _checked("layer", layer)
    require(
        values.shape == gray.shape[:2],
        f"layer must have the image's shape {gray.shape[:2]}, got {values.shape}",
    )
    require(0 <= opacity <= 1, f"opacity must be from 0 to 1, got {opacity}")
    if np.issubdtype(np.asarray(layer).dtype, np.floating):
        strength = np.clip(values / _scale(values), -1, 1)
        color = np.where(strength[..., None] < 0, to_rgb("#3aa0ff"), to_rgb("#ff8a1f"))
        share = opacity * np.abs(strength)[..., None]
        gray = _DIMMED * gray
    else:
        labels = values.astype(np.int64)
        palette = np.asarray([to_rgb(color) for color in LABEL_COLORS])
        color = palette[(labels - 1) % len(palette)]
        share = opacity * (labels != 0)[..., None]
    return _to_rgb8(gray * (1 - share) + color * share)


def _checked(name: str, image: ArrayLike) -> np.ndarray:
    values = np.asarray(image, dtype=np.float64)
    require(
        values.ndim == 2 and values.size > 0,
        f"{name} must have shape (rows, cols), got {values.shape}",
    )
    require_finite(name, values)
    return values


def _scale(values: np.ndarray) -> float:
    """The magnitude of full color; 1 for an image of zeros."""
    magnitudes = np.abs(values)
    scale = np.percentile(magnitudes, _FULL_COLOR_PERCENTILE) or magnitudes.max()
    return float(scale) or 1.0


def _to_rgb8(colors: np.ndarray) -> np.ndarray:
    return np.rint(colors * 255).astype(np.uint8)
