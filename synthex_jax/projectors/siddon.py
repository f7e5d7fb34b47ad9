r"""Siddon's projector: the exact integral of a volume of constant voxels.

Siddon 1985, Medical Physics 12(2): a ray is cut where it crosses the planes between
voxels; the integral is the sum of the pieces' lengths times the voxels' values. Here
each ray walks from crossing to crossing (Amanatides & Woo 1987), so that nothing is
sorted and nothing of the length of the ray is stored.

It is the reference for voxels that are boxes, in any direction and from anywhere; the
projector to work with is ``Joseph``. Its image is a discontinuous function of the
volume's values along the ray, so that its pose gradient, exact almost everywhere, is
far noisier than that of the interpolating projectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.numerics import away_from_zero
from synthex_jax.projectors.rays import VoxelRays, voxel_rays
from synthex_jax.typing import ChannelImage, Image
from synthex_jax.volumes.volume import Volume

# A ray that moves less than this along an axis between source and detector never
# crosses a plane of it within the volume.
_LEAST_PROGRESS = 1e-6


@noun
@dataclass(frozen=True)
class Siddon:
    """The exact projector for voxels of constant value, rays clipped at both ends."""

    def project(self, volume: Volume, camera: Camera) -> ChannelImage:
        """Line integrals, (rows, cols) or (rows, cols, channels)."""
        return _project(volume, camera)


class _Walk(NamedTuple):
    """Where each ray stands: a fraction of its length, and the planes ahead of it."""

    total: Float[Array, "rows cols *channels"]
    position: Image
    planes: tuple[Int[Array, "rows cols"], ...]


@jax.jit
def _project(volume: Volume, camera: Camera) -> ChannelImage:
    rays = voxel_rays(volume, camera)
    slopes = tuple(away_from_zero(d, _LEAST_PROGRESS) for d in rays.direction)
    enter, leave = _overlap(volume, rays, slopes)
    steps = tuple(jnp.where(d > 0, 1, -1) for d in slopes)
    planes = tuple(
        _first_plane(s + enter * d, step, n)
        for s, d, step, n in zip(rays.source, slopes, steps, volume.shape, strict=True)
    )

    # Recomputed on the way back: the walk would else keep every position of every ray.
    @jax.checkpoint
    def advance(walk: _Walk, _: None) -> tuple[_Walk, None]:
        crossings = [
            (p - 0.5 - s) / d
            for p, s, d in zip(walk.planes, rays.source, slopes, strict=True)
        ]
        nearest = jnp.minimum(jnp.minimum(crossings[0], crossings[1]), crossings[2])
        after = jnp.clip(nearest, walk.position, leave)
        value = _value(volume, rays, slopes, (walk.position + after) / 2)
        piece = after - walk.position
        piece = piece if volume.data.ndim == 3 else piece[..., None]
        planes = tuple(
            p + jnp.where(t <= nearest, step, 0)
            for p, t, step in zip(walk.planes, crossings, steps, strict=True)
        )
        return _Walk(walk.total + piece * value, after, planes), None

    dtype = jnp.result_type(enter.dtype, _floating(volume))
    zero = jnp.zeros((*camera.shape, *volume.data.shape[3:]), dtype)
    most_crossings = sum(volume.shape) + 3
    walk, _ = lax.scan(advance, _Walk(zero, enter, planes), length=most_crossings)
    length = rays.length.astype(dtype)
    return walk.total * (length if volume.data.ndim == 3 else length[..., None])


def _overlap(
    volume: Volume, rays: VoxelRays, slopes: tuple[Image, ...]
) -> tuple[Image, Image]:
    """Fractions of the ray at which it enters and leaves the volume, within [0, 1]."""
    enter, leave = jnp.zeros_like(slopes[0]), jnp.ones_like(slopes[0])
    for s, d, n in zip(rays.source, slopes, volume.shape, strict=True):
        first, last = (-0.5 - s) / d, (n - 0.5 - s) / d
        enter = jnp.maximum(enter, jnp.minimum(first, last))
        leave = jnp.minimum(leave, jnp.maximum(first, last))
    return enter, jnp.maximum(leave, enter)


def _first_plane(at: Image, step: Int[Array, "rows cols"], size: int) -> Array:
    """Number of the plane that a ray at ``at`` crosses next; p lies at p - 1/2.

    A ray that enters exactly on a plane may count it again: that piece is empty.
    """
    voxel = jnp.clip(jnp.round(at), 0, size - 1).astype(jnp.int32)
    return voxel + (step > 0)


def _value(
    volume: Volume, rays: VoxelRays, slopes: tuple[Image, ...], fraction: Image
) -> Float[Array, "rows cols *channels"]:
    """Value of the voxel that holds the point at a fraction of each ray."""
    index = tuple(
        jnp.clip(jnp.round(s + fraction * d), 0, n - 1).astype(jnp.int32)
        for s, d, n in zip(rays.source, slopes, volume.shape, strict=True)
    )
    return volume.data[index].astype(_floating(volume))


def _floating(volume: Volume) -> jnp.dtype:
    data = volume.data.dtype
    wide_enough = jnp.issubdtype(data, jnp.floating) and data.itemsize >= 4
    return data if wide_enough else volume.affine.dtype
