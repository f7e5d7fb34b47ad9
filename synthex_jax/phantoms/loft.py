"""Loft: a solid given by its radius around an upright axis, level by level."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.phantoms.grid import Grid, Nodes
from synthex_jax.typing import Vector2


@noun
@dataclass(frozen=True)
class Loft:
    """A solid that is star-shaped around a vertical axis at every level.

    Between the rows the radius runs along Catmull-Rom splines, around the axis along
    the trigonometric interpolation of a row. Beyond the first and last level it stays
    as it is there.

    Attributes:
        axis: (2,), world mm: x and y of the axis.
        levels: (m,), world mm: rising z of the rows, evenly spaced.
        radii: (m, n), mm: radius at n angles, the first towards +x (the right), the
            next ones towards +y (anterior); n is even.
    """

    axis: Vector2
    levels: Float[Array, "m"]
    radii: Float[Array, "m n"]

    def distance(self, grid: Grid) -> Nodes:
        """About the signed distance in mm (negative inside) at every node.

        The difference of radii over the slope: right to first order near the surface.
        """
        x, y, z = grid.axes()
        dx, dy = (x - self.axis[0])[..., 0], (y - self.axis[1])[..., 0]
        away = jnp.sqrt(dx**2 + dy**2 + 1e-6)
        around, turning = _harmonics(jnp.arctan2(dy, dx), self.radii.shape[1])
        rows, rising = _spline_rows(z.reshape(-1), self.levels, len(self.radii))
        waves = _coefficients(self.radii)
        surface = jnp.einsum("xyk,zk->xyz", around, rows @ waves)
        twist = jnp.einsum("xyk,zk->xyz", turning, rows @ waves)
        slope = jnp.einsum("xyk,zk->xyz", around, rising @ waves)
        steep = 1 + (twist / jnp.maximum(away, 5.0)[..., None]) ** 2 + slope**2
        return (away[..., None] - surface) / jnp.sqrt(steep)


def superellipse_rows(
    half_width: Float[Array, "m"],
    front: Float[Array, "m"],
    back: Float[Array, "m"],
    exponent: Float[Array, "m"],
    angles: int = 32,
) -> Float[Array, "m n"]:
    """Rows of radii of ellipses with their corners filled, (m,) each in mm.

    Args:
        half_width: from the axis to the side.
        front: from the axis to the anterior side.
        back: from the axis to the posterior side.
        exponent: 2 for an ellipse, larger for a fuller outline.
        angles: how many radii a row.
    """
    angle = np.arange(angles) * 2 * np.pi / angles
    c, s = jnp.abs(jnp.cos(angle)) + 1e-6, jnp.abs(jnp.sin(angle)) + 1e-6
    depth = jnp.where(np.sin(angle) >= 0, front[:, None], back[:, None])
    p = exponent[:, None]
    return ((c / half_width[:, None]) ** p + (s / depth) ** p) ** (-1 / p)


def _coefficients(radii: Float[Array, "m n"]) -> Float[Array, "m k"]:
    """Real Fourier coefficients: mean, then cosines, then sines."""
    n = radii.shape[1]
    spectrum = jnp.fft.rfft(radii, axis=1) / n
    cosines = 2 * spectrum.real[:, 1 : n // 2]
    sines = -2 * spectrum.imag[:, 1 : n // 2]
    parts = [spectrum.real[:, :1], cosines, sines]
    return jnp.concatenate(parts, axis=1).astype(jnp.float32)


def _harmonics(
    angle: Float[Array, "nx ny"], count: int
) -> tuple[Float[Array, "nx ny k"], Float[Array, "nx ny k"]]:
    """The waves at given angles, in the order of the coefficients, and their slopes."""
    order = jnp.arange(1, count // 2)
    c, s = jnp.cos(angle[..., None] * order), jnp.sin(angle[..., None] * order)
    flat = jnp.ones_like(angle)[..., None]
    values = jnp.concatenate([flat, c, s], axis=-1)
    return values, jnp.concatenate([0 * flat, -order * s, order * c], axis=-1)


def _spline_rows(
    z: Float[Array, "nz"], levels: Float[Array, "m"], count: int
) -> tuple[Float[Array, "nz m"], Float[Array, "nz m"]]:
    """Catmull-Rom weights of each row at each z, and their derivative by z."""
    step = (levels[-1] - levels[0]) / (count - 1)
    u = jnp.clip((z - levels[0]) / step, 0.0, count - 1.0)
    away = u[:, None] - jnp.arange(-1, count + 1)
    t = jnp.abs(away)
    near, far = 1 + t**2 * (1.5 * t - 2.5), 2 + t * (-4 + t * (2.5 - 0.5 * t))
    weights = jnp.where(t < 1, near, jnp.where(t < 2, far, 0.0))
    near, far = t * (4.5 * t - 5), -4 + t * (5 - 1.5 * t)
    slopes = jnp.where(t < 1, near, jnp.where(t < 2, far, 0.0)) * jnp.sign(away) / step
    return _ends_folded(weights), _ends_folded(slopes)


def _ends_folded(weights: Float[Array, "nz p"]) -> Float[Array, "nz m"]:
    """Weights of the rows before the first and after the last given to those two."""
    inner = weights[:, 1:-1].at[:, 0].add(weights[:, 0])
    return inner.at[:, -1].add(weights[:, -1])
