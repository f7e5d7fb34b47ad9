"""From line integrals to gray values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from synthex_jax.checks import require, require_finite
from synthex_jax.typing import ArrayLike

Window = tuple[float, float]
"""The values shown as black and as white."""

# A metal implant takes a pixel in a hundred, a collimator's rim or the skin two: they
# are not to set the contrast of all others.
_PERCENTILES = (2.0, 99.8)

# Pixels of less than this share of the image's range show air beside the body.
_AIR_BELOW = 0.1


def robust_window(
    image: ArrayLike, percentiles: tuple[float, float] = _PERCENTILES
) -> Window:
    """The window between two percentiles of the pixels behind the body.

    Air around the body, the lowest tenth of the image's range, is left out, so that
    the contrast does not depend on how much of it the detector sees.

    Args:
        image: (rows, cols), or any array, of line integrals.
        percentiles: of black and of white, each from 0 to 100.

    Raises:
        ValueError: for values that are not finite.
    """
    require_finite("image", image)
    values = np.asarray(image, dtype=np.float64)
    least, most = values.min(), values.max()
    body = values[values >= least + _AIR_BELOW * (most - least)]
    low, high = np.percentile(body, percentiles)
    return float(low), float(high)


def to_display(
    image: ArrayLike,
    *,
    window: Window | None = None,
    invert: bool = False,
    flip: bool = False,
) -> Float[np.ndarray, "rows cols"]:
    """Gray values from 0 (black) to 1 (white).

    High values are bright: bone is white on an image of line integrals, as on film.

    Args:
        image: (rows, cols).
        window: values of black and white; by default ``robust_window(image)``. An
            image of one value throughout is then black.
        invert: bone black, as fluoroscopy screens may show it.
        flip: mirrored left to right, as a PA view is hung for reading.

    Raises:
        ValueError: for an image that is not 2-D or not finite, and for a window whose
            white is not above its black.
    """
    values = np.asarray(image, dtype=np.float64)
    require(
        values.ndim == 2 and values.size > 0,
        f"image must have shape (rows, cols), got {values.shape}; show one channel "
        "at a time",
    )
    require_finite("image", values)
    if window is None:
        low, high = robust_window(values)
    else:
        low, high = window
        require(
            bool(np.isfinite([low, high]).all()) and low < high,
            f"window must be (black, white) with black below white, got {window}; "
            "invert=True exchanges the two",
        )
    width = high - low
    gray = np.clip((values - low) / width, 0, 1) if width > 0 else np.zeros_like(values)
    gray = 1 - gray if invert else gray
    return gray[:, ::-1] if flip else gray


def to_uint8(
    image: ArrayLike,
    *,
    window: Window | None = None,
    invert: bool = False,
    flip: bool = False,
) -> UInt8[np.ndarray, "rows cols"]:
    """Gray values from 0 to 255; see ``to_display``."""
    gray = to_display(image, window=window, invert=invert, flip=flip)
    return np.rint(gray * 255).astype(np.uint8)


def to_uint16(
    image: ArrayLike,
    *,
    window: Window | None = None,
    invert: bool = False,
    flip: bool = False,
) -> UInt16[np.ndarray, "rows cols"]:
    """Gray values from 0 to 65535; see ``to_display``."""
    gray = to_display(image, window=window, invert=invert, flip=flip)
    return np.rint(gray * 65535).astype(np.uint16)
