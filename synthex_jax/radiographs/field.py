"""The field of view: what a collimator, a shutter or a round intensifier left free."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

# Pixels along the longer side at which edges are judged: penumbras of collimators, 10
# pixels of 1024 in fluoroscopy, are sharp there.
_SIDE = 256

# Of the image's range: what lies outside of a field is this even.
_EVEN_WITHIN = 0.02
# Of the image's pixels: a smaller patch at the border is a marker, or tissue.
_LEAST_AREA = 0.01

# Pixels from the outside: where the height of the edge is measured, and where the image
# that it rises to. Behind skin, attenuation rises as the root of the depth, from 3
# pixels to 10 by sqrt(10 / 3): near it is 0.55 of far, less where values are clipped
# (0.2 to 0.5 in renderings of phantoms), while ten frames of hip fluoroscopy with round
# and collimated fields have 0.66 to 1.01.
_NEAR, _FAR = (2.0, 4.0), (8.0, 12.0)
_SHARP_FROM = 0.6
# Of the image's range; dark lungs and bright bellies at the border rise by less.
_LEAST_STEP = 0.1
# Pixels beyond the edge that its blur takes.
_BLUR = 2.0


def field_of_view(values: Float[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "_ _"]:
    """Where an image shows something, (rows, cols) as the image.

    Outside is what touches the border, is even, has the image's lowest or highest value
    and ends in a sharp edge, with two pixels of 256 of blur. Air beside a body is no
    outside: there the image begins gradually. Where no such edge is found, all of the
    image is the field.

    Args:
        values: finite, in any monotone scale.
    """
    factor = max(1, round(max(values.shape) / _SIDE))
    small = _binned(values, factor)
    low, high = np.percentile(small, (0.1, 99.9))
    outside = _outside(small, low, high) | _outside(-small, -high, -low)
    if not outside.any() or outside.all():
        return np.ones(values.shape, dtype=bool)
    inside = _distance(outside) > _BLUR
    rows, cols = (
        np.minimum(np.arange(n) // factor, m - 1)
        for n, m in zip(values.shape, small.shape, strict=True)
    )
    return inside[np.ix_(rows, cols)]


def _outside(
    values: Float[np.ndarray, "down across"], lowest: float, highest: float
) -> Bool[np.ndarray, "down across"]:
    """Even, lowest, at the border and sharply bounded; nothing if not all of it."""
    span = highest - lowest
    dark = _at_border(values <= lowest + _EVEN_WITHIN * span)
    if span <= 0 or not dark.any():
        return np.zeros_like(dark)
    depth = _distance(dark)
    near, far = (
        values[(depth > start) & (depth <= end)] - lowest
        for start, end in (_NEAR, _FAR)
    )
    if near.size == 0 or far.size == 0:
        return np.zeros_like(dark)
    step, inner = np.median(near), np.median(far)
    is_sharp = step >= max(_SHARP_FROM * inner, _LEAST_STEP * span)
    return dark if is_sharp else np.zeros_like(dark)


def _at_border(mask: Bool[np.ndarray, "down across"]) -> Bool[np.ndarray, "_ _"]:
    """The parts that touch the border and are no specks."""
    from scipy import ndimage

    labels = np.asarray(ndimage.label(mask)[0])  # pyright: ignore
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    sizes = np.bincount(labels.ravel())
    kept = [n for n in np.unique(border) if n and sizes[n] > _LEAST_AREA * mask.size]
    return np.isin(labels, kept)


def _distance(outside: Bool[np.ndarray, "down across"]) -> np.ndarray:
    """Pixels from the nearest one outside."""
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(~outside))


def _binned(values: Float[np.ndarray, "rows cols"], factor: int) -> np.ndarray:
    """Mean of square groups, at least one each way; what is left over is cut off."""
    rows, cols = (max(n // factor, 1) for n in values.shape)
    height, width = (min(factor, n) for n in values.shape)
    cut = values[: rows * height, : cols * width]
    return cut.reshape(rows, height, cols, width).mean((1, 3))
