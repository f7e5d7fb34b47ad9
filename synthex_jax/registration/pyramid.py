"""Pyramids: radiographs and bodies at lower resolution, from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require
from synthex_jax.geometry.camera import Camera
from synthex_jax.registration.similarity import Similarity
from synthex_jax.typing import Image, Shape3
from synthex_jax.volumes.volume import Volume


@dataclass(frozen=True)
class Level:
    """One resolution of a registration.

    Images and bodies are averaged over whole pixels and voxels, never refined: a level
    beyond their own resolution is their own resolution.

    Attributes:
        pixels: about so many along the longer side of the image.
        spacing: mm, about so much between voxels.
        tolerance: mm; a level ends when a step moves the body by less.
        similarity: what tells how good a pose is at this level; None for that of the
            registration.
    """

    pixels: int
    spacing: float
    tolerance: float
    similarity: Similarity | None = None

    @classmethod
    def create(
        cls,
        pixels: int,
        spacing: float,
        *,
        tolerance: float,
        similarity: Similarity | None = None,
    ) -> Level:
        """Checked.

        Raises:
            ValueError: for less than 8 pixels, a spacing or a tolerance that is not
                positive.
        """
        require(pixels >= 8, f"pixels must be at least 8, got {pixels}")
        require(spacing > 0, f"spacing must be positive mm, got {spacing}")
        require(tolerance > 0, f"tolerance must be positive mm, got {tolerance}")
        return cls(pixels, spacing, tolerance, similarity)


LEVELS = (
    Level(pixels=50, spacing=8.0, tolerance=3.0),
    Level(pixels=100, spacing=4.0, tolerance=1.0),
    Level(pixels=200, spacing=2.0, tolerance=0.02),
)
"""From a rendering in a millisecond to the resolution that accuracy asks for.

The optima of the coarse ones are off by millimeters: steps between them buy nothing.
"""


@partial(jax.jit, static_argnums=2)
def binned(
    image: Image, weights: Image, factor: int
) -> tuple[Float[Array, "down across"], Float[Array, "down across"]]:
    """Square groups of pixels as one: their weighted mean, and their mean weight."""
    weight = _binned(weights, factor)
    empty = weight == 0
    total = _binned(weights * image, factor)
    mean = total / jnp.where(empty, 1, weight)
    return jnp.where(empty, _binned(image, factor), mean), weight


def _binned(image: Image, factor: int) -> Float[Array, "down across"]:
    down, across = (n // factor for n in image.shape)
    cut = image[: down * factor, : across * factor]
    return cut.reshape(down, factor, across, factor).mean((1, 3))


def coarsened(body: Volume, spacing: float) -> Volume:
    """Blocks of voxels as one, their mean, of about a given spacing in mm.

    What a block lacks at the end of the grid counts as zero, as all beyond the grid.

    Raises:
        ValueError: for a grid that is traced: the shape of the result depends on it.
    """
    require(
        is_concrete(body.affine),
        "body must be known where a registration is traced, but its affine is an "
        "argument of the jit or vmap; let the function close over the body",
    )
    own = np.asarray(body.spacing, dtype=float)
    factors = tuple(
        int(np.clip(round(spacing / s), 1, n))
        for s, n in zip(own, body.shape, strict=True)
    )
    return body if factors == (1, 1, 1) else _coarsened(body, factors)


@partial(jax.jit, static_argnums=1)
def _coarsened(body: Volume, factors: Shape3) -> Volume:
    f = np.asarray(factors)
    shape = -(-np.asarray(body.shape) // f)
    padded = jnp.pad(
        body.data, [(0, int(p)) for p in shape * f - np.asarray(body.shape)]
    )
    blocks = padded.reshape(
        [int(x) for pair in zip(shape, f, strict=True) for x in pair]
    )
    scale = np.diag([*f, 1.0])
    scale[:3, 3] = (f - 1) / 2
    return Volume(
        blocks.mean((1, 3, 5)), body.affine @ jnp.asarray(scale, body.affine.dtype)
    )


def factor_of(image: Image, level: Level) -> int:
    """Pixels along a side that a level takes as one."""
    return max(1, round(max(image.shape) / level.pixels))


def binned_camera(camera: Camera, factor: int) -> Camera:
    """Of the images that ``binned`` makes."""
    rows, cols = (n // factor for n in camera.shape)
    return camera.cropped((0, 0), (rows * factor, cols * factor)).binned(factor)


def full_camera(camera: Camera, small: Camera) -> Camera:
    """A camera with the pose and the lens that its binned self has got."""
    factor = small.pitch / camera.pitch
    return replace(
        camera,
        world_from_camera=small.world_from_camera,
        source_to_detector=small.source_to_detector,
        principal_point=(small.principal_point + 0.5) * factor - 0.5,
    )
