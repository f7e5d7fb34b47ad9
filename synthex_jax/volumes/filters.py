"""Filters of volumes on their own grid."""

from dataclasses import replace

import jax.numpy as jnp

from synthex_jax.typing import Voxels
from synthex_jax.volumes.volume import Volume


def sharpened(volume: Volume) -> Volume:
    """V minus 1/12 of its second difference along each axis, edges repeated.

    Linear interpolation blurs: averaged over the position in the cell it adds 1/12 of
    the second difference (the variance of the hat function, 1/6, less that of the box
    the average runs over, halved). Taking it away beforehand makes line integrals of
    smooth content right to fourth order. It raises noise at the grid's frequency by
    up to 1/3 along each axis.
    """
    data = volume.data
    if not jnp.issubdtype(data.dtype, jnp.floating):
        data = data.astype(volume.affine.dtype)
    for axis in range(3):
        data = data - _second_difference(data, axis) / 12
    return replace(volume, data=data)


def _second_difference(data: Voxels, axis: int) -> Voxels:
    pad = [(0, 0)] * data.ndim
    pad[axis] = (1, 1)
    padded = jnp.pad(data, pad, mode="edge")
    before, after = (slice(0, -2), slice(2, None))
    index = [slice(None)] * data.ndim
    index[axis] = before
    total = padded[tuple(index)]
    index[axis] = after
    return total + padded[tuple(index)] - 2 * data
