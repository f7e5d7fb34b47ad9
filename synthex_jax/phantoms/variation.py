"""How bodies differ: bounded random factors, smooth warps, mirroring."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Points, PRNGKey, Scalar


def bounded_normals(key: PRNGKey, count: int) -> Float[Array, "n"]:
    """Standard normal numbers, cut at two standard deviations."""
    return jax.random.truncated_normal(key, -2.0, 2.0, (count,), jnp.float32)


def mirrored(points: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
    """Points, or rows of (x, y, z, radius), with left and right exchanged."""
    return points * jnp.asarray([-1.0, *[1.0] * (points.shape[-1] - 1)])


@noun
@dataclass(frozen=True)
class Warp:
    """A smooth displacement: a few random plane waves.

    Attributes:
        waves: (k, 3), radians a mm.
        phases: (k,), radians.
        shifts: (k, 3), mm.
    """

    waves: Float[Array, "k 3"]
    phases: Float[Array, "k"]
    shifts: Float[Array, "k 3"]

    @classmethod
    def create(
        cls, draws: Float[Array, "k 7"], *, amplitude: float, wavelength: float
    ) -> Warp:
        """Displacements of ``amplitude`` mm root mean square along each axis.

        Args:
            draws: (k, 7), standard normal, for k waves.
            amplitude: mm.
            wavelength: mm, of a typical wave.
        """
        size = amplitude * (2 / len(draws)) ** 0.5
        waves = draws[:, :3] * (2 * np.pi / wavelength / 3**0.5)
        return cls(waves, np.pi * draws[:, 3], size * draws[:, 4:])

    def apply(self, points: Points) -> Points:
        """Points (..., 3), mm, displaced."""
        phases = product(points, self.waves.T) + self.phases
        return points + product(jnp.sin(phases), self.shifts)


def turns(angles: Float[Array, "*k 3"]) -> Float[Array, "*k 3 3"]:
    """Rotations by angles (radians) about the fixed x, then y, then z axis."""
    (cx, cy, cz), (sx, sy, sz) = (
        jnp.moveaxis(f(angles), -1, 0) for f in (jnp.cos, jnp.sin)
    )
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def with_radii(points: Points, radii: ArrayLike) -> Float[Array, "*batch 4"]:
    """Rows of (x, y, z, radius)."""
    radii = jnp.broadcast_to(jnp.asarray(radii, points.dtype), points.shape[:-1])
    return jnp.concatenate([points, radii[..., None]], axis=-1)


def smooth_minimum(a: Array, b: Array, width: float) -> Array:
    """The smaller of two distances, rounded where they differ by under ``width``."""
    h = jnp.clip(0.5 + 0.5 * (b - a) / width, 0.0, 1.0)
    return b + h * (a - b) - width * h * (1 - h)


def step_between(low: float, high: float, x: Array | Scalar) -> Array:
    """0 below ``low``, 1 above ``high``, a cubic between them."""
    t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)
