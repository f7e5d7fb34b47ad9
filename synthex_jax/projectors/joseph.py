"""Joseph's projector: one bilinear sample a slice (Joseph 1982, IEEE TMI 1(3)).

The rays of a camera become lines over the slices along the principal axis; the sum over
the slices, and what its derivatives need, is in ``slices``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, at_most, away_from_zero
from synthex_jax.projectors.axes import other_axes
from synthex_jax.projectors.rays import principal_axis, voxel_rays
from synthex_jax.projectors.slices import Lines, sum_over_slices
from synthex_jax.typing import ChannelImage, Image
from synthex_jax.volumes.volume import Volume

# Rays closer to a slice than this many voxels of progress from source to detector
# have no slope; the clipping between the two leaves nothing of them but a finite value.
_LEAST_PROGRESS = 1e-3


@noun
@dataclass(frozen=True)
class Joseph:
    """The default projector: as accurate as trilinear marching, at half the loads.

    The rays of a view share one principal axis, the voxel axis nearest to them. Rays at
    more than 45 degrees to it are sampled more sparsely than the grid is; for cones far
    wider than 90 degrees ``Siddon`` is the projector.

    Attributes:
        prefilter: sharpen each slice first by taking away 1/12 of its second
            differences, which undoes the mean blur of bilinear interpolation: for
            smooth content seen obliquely the error falls 20 times. Noise grows by up
            to 1/3 along each axis, and voxels are taken for point samples of the body.
        axis: the principal axis, where you know that it is the same for all views of
            a compiled batch; chosen for each view by default.
    """

    prefilter: bool = field(default=False, metadata={"static": True})
    axis: int | None = field(default=None, metadata={"static": True})

    def project(self, volume: Volume, camera: Camera) -> ChannelImage:
        """Line integrals, (rows, cols) or (rows, cols, channels)."""
        axis = principal_axis(volume, camera) if self.axis is None else self.axis
        if isinstance(axis, int):
            return _project_along(axis, volume, camera, self.prefilter)
        return _project(axis, volume, camera, self.prefilter)


@partial(jax.jit, static_argnums=(0, 3))
def _project_along(
    axis: int, volume: Volume, camera: Camera, prefilter: bool
) -> ChannelImage:
    return _project(axis, volume, camera, prefilter)


def _project(
    axis: int | Int[Array, ""], volume: Volume, camera: Camera, prefilter: bool
) -> ChannelImage:
    """Line integrals in mm, channels last."""
    lines, length_per_slice = lines_along(axis, volume, camera, prefilter)
    if volume.data.ndim == 3:
        total = sum_over_slices(volume.data, lines)
        return total * length_per_slice.astype(total.dtype)
    lines = jax.tree.map(lambda x: x[:, None] if x.ndim == 2 else x, lines)
    total = jnp.moveaxis(sum_over_slices(volume.data, lines), 1, -1)
    return total * length_per_slice[..., None].astype(total.dtype)


def lines_along(
    axis: int | Int[Array, ""], volume: Volume, camera: Camera, prefilter: bool
) -> tuple[Lines, Image]:
    """The rays as lines, and mm of ray between two slices."""
    rays = voxel_rays(volume, camera)
    if isinstance(axis, int):
        order = (axis, *other_axes(axis))
        source = [rays.source[i] for i in order]
        direction = [rays.direction[i] for i in order]
        size = volume.shape[axis]
    else:
        order = jnp.asarray([(a, *other_axes(a)) for a in range(3)])[axis]
        source = jnp.stack(rays.source)[order]
        direction = jnp.stack(rays.direction)[order]
        size = jnp.asarray(volume.shape)[axis]
    along = away_from_zero(direction[0], _LEAST_PROGRESS)
    start = source[0] - (size - 1) / 2
    my, mx = direction[1] / along, direction[2] / along
    end = start + along
    lines = Lines(
        y0=source[1] - start * my,
        my=my,
        x0=source[2] - start * mx,
        mx=mx,
        low=at_most(start, end),
        high=at_least(start, end),
        traced_axis=None if isinstance(axis, int) else axis,
        static_axis=axis if isinstance(axis, int) else None,
        prefilter=prefilter,
    )
    return lines, rays.length / jnp.abs(along)
