"""Contrast and edges of an image, at the size of bones' borders."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from synthex_jax.typing import ArrayLike
from synthex_jax.viz.layers import LABEL_COLORS

# Standard deviations of a band: the lower, of the image's longer side, a pixel at
# least, and the upper over it. Of a pelvis they are 1.5 mm and 7 mm on the detector,
# about a cortex's width, between noise and scatter.
_FINE, _RATIO = 1 / 200, 4.5
# Of the gradients' magnitudes: those above make edges.
_PERCENTILE = 85.0


def band_passed(
    image: ArrayLike, counts: Bool[np.ndarray, "rows cols"] | None = None
) -> Float[np.ndarray, "rows cols"]:
    """An image smoothed, less what varies slowly.

    Args:
        image: (rows, cols).
        counts: (rows, cols), where its values mean something; the others' are not used.
    """
    values = np.asarray(image, dtype=np.float64)
    share = np.ones(values.shape) if counts is None else counts.astype(float)
    sigma = _width(values)
    return _mean(values, share, sigma) - _mean(values, share, _RATIO * sigma)


def edges(
    image: ArrayLike, counts: Bool[np.ndarray, "rows cols"] | None = None
) -> np.ma.MaskedArray:
    """How steepness changes along the gradient: its zeros are edges.

    There an image is steepest, as Canny has it (1986, IEEE PAMI 8(6):679), but for his
    linking of weak edges to strong ones. They lie between the pixels.

    Args:
        image: (rows, cols).
        counts: (rows, cols), where there may be edges.

    Returns:
        (rows, cols), masked where the image, less what varies slowly, is not steep.
    """
    values = np.asarray(image, dtype=np.float64)
    ones = np.ones(values.shape)
    down, across = np.gradient(_mean(values, ones, _width(values)))
    square = down**2 + across**2
    slopes = np.gradient(square)
    change = down * slopes[0] + across * slopes[1]
    band = np.gradient(band_passed(values))
    length = np.sqrt(square)
    steepness = (down * band[0] + across * band[1]) / np.where(length > 0, length, 1.0)
    hidden = steepness <= max(0.0, np.percentile(steepness, _PERCENTILE))
    if counts is not None:
        hidden |= ~counts
    return np.ma.array(change / (np.abs(change).max() or 1.0), mask=hidden)


def draw_edges(
    axes: Axes,
    found: np.ma.MaskedArray,
    *,
    color: str = LABEL_COLORS[0],
    linewidth: float = 0.9,
) -> None:
    """Lines along the zeros of what ``edges`` found, over a picture of the image."""
    if edge_pixels(found).any():
        axes.contour(found, levels=[0.0], colors=[color], linewidths=linewidth)


def edge_pixels(found: np.ma.MaskedArray) -> Bool[np.ndarray, "rows cols"]:
    """Of what ``edges`` found: the pixels before a zero, in lines a pixel wide."""
    is_above, is_steep = found.data > 0, ~np.ma.getmaskarray(found)
    is_edge = np.zeros(found.shape, bool)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        is_edge[here] |= (
            (is_above[here] != is_above[there]) & is_steep[here] & is_steep[there]
        )
    return is_edge


def _width(values: np.ndarray) -> float:
    """The finest that is looked at, pixels."""
    return max(1.0, _FINE * max(values.shape))


def _mean(values: np.ndarray, share: np.ndarray, sigma: float) -> np.ndarray:
    """Of the neighborhood, of what counts in it."""
    from scipy.ndimage import gaussian_filter

    total = gaussian_filter(share * values, sigma)
    part = gaussian_filter(share, sigma)
    return total / np.where(part > 0, part, 1.0)
