"""Tools in a body: what the rays meet of either where a tool replaces tissue.

The rule: a tool replaces the tissue that it occupies, and where two shapes overlap the
later one replaces the earlier. Along a ray the first and last crossings of all shapes
cut it into stretches. In each stretch the length within a shape is exact; it displaces
that share of earlier shapes and of the tissue, which is the mean of samples between the
stretch's ends. For convex shapes a stretch is full or empty and the rule holds exactly;
within the hull of a hollow or notched one, tissue counts with its mean, and two such
shapes that interlace are taken as mixed evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import product
from synthex_jax.projectors.surface import extent, lengths
from synthex_jax.tools.tool import Shape
from synthex_jax.typing import ChannelImage, Image, Vector3
from synthex_jax.volumes.volume import Volume

# A tool's chord of some millimeters, or a stretch within its hull, spans few voxels.
_SAMPLES = 6


class Insertion(NamedTuple):
    """What tools take from a body, and what they put there.

    Attributes:
        replaced: (rows, cols, channels), integrals of the volume over what the tools
            occupy, to be taken off those of the whole volume.
        lengths: (rows, cols, shapes), mm of ray in each shape that no later one
            replaces.
    """

    replaced: ChannelImage
    lengths: Float[Array, "rows cols shapes"]


def inserted(volume: Volume, shapes: Sequence[Shape], camera: Camera) -> Insertion:
    """Lengths in the shapes, and the integrals of the volume that they displace.

    Differentiable in the shapes, the volume and the camera.

    Args:
        volume: (nx, ny, nz, channels) samples a mm, as line integrals are made of.
        shapes: in world mm; at least one. A later one replaces earlier ones.
        camera: one view.
    """
    ends = [extent(shape, camera) for shape in shapes]
    edges = jnp.sort(jnp.stack([end for pair in ends for end in pair], -1), axis=-1)
    widths = jnp.diff(edges, axis=-1)
    within = [lengths(shape, camera, edges) for shape in shapes]
    free = jnp.ones_like(widths)
    kept = []
    for length in reversed(within):
        kept.append(length * free)
        free = free * (1 - length / jnp.where(widths > 0, widths, 1.0))
    kept = kept[::-1]
    means = _stretch_means(volume, camera, edges)
    filled = jnp.sum(jnp.stack(kept), axis=0)
    replaced = jnp.sum(filled[..., None] * means, axis=-2)
    return Insertion(replaced, jnp.stack([jnp.sum(k, -1) for k in kept], -1))


def _stretch_means(
    volume: Volume, camera: Camera, edges: Float[Array, "rows cols ends"]
) -> Float[Array, "rows cols stretches channels"]:
    """Means of the volume over the stretches between distances from the source."""
    targets = camera.back_project(camera.pixel_grid()) - camera.source
    directions = targets / jnp.sqrt(jnp.sum(targets**2, -1, keepdims=True))
    origin = product(volume.voxel_from_world, jnp.append(camera.source, 1.0))[:3]
    steps = product(directions, volume.voxel_from_world[:3, :3].T)
    low, width = edges[..., :-1], jnp.diff(edges, axis=-1)
    mean = partial(_mean, volume, origin, steps)
    return jnp.moveaxis(
        jax.lax.map(lambda ends: mean(*ends), (_last_first(low), _last_first(width))),
        0,
        -2,
    )


def _last_first(values: Float[Array, "rows cols n"]) -> Float[Array, "n rows cols"]:
    return jnp.moveaxis(values, -1, 0)


def _mean(
    volume: Volume,
    origin: Vector3,
    steps: Float[Array, "rows cols 3"],
    low: Image,
    width: Image,
) -> ChannelImage:
    """The mean over one stretch, by the midpoint rule."""

    def add(total: ChannelImage, share: Array) -> tuple[ChannelImage, None]:
        distance = low + share * width
        places = jnp.moveaxis(origin + distance[..., None] * steps, -1, 0)
        sample = partial(map_coordinates, order=1, mode="constant", cval=0.0)
        return total + jax.vmap(
            lambda channel: sample(channel, list(places)), in_axes=-1, out_axes=-1
        )(volume.data), None

    shares = (jnp.arange(_SAMPLES, dtype=low.dtype) + 0.5) / _SAMPLES
    zero = jnp.zeros((*low.shape, volume.data.shape[-1]), low.dtype)
    return jax.lax.scan(add, zero, shares)[0] / _SAMPLES
