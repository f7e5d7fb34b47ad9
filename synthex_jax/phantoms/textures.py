"""Smooth random textures, fixed in the world and not to the grid."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.phantoms.grid import Axes, Nodes
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar

# Lattice nodes along each side before the texture repeats: a wavelength of 60 mm after
# 1.9 m, one of 3 mm after 96 mm.
_NODES = 64
# Root mean square of cubic B-spline interpolated white noise in 3-D: the squares of
# the weights sum to 151/315 on average along each axis.
_RMS = (151 / 315) ** 1.5


def octaves(
    key: PRNGKey,
    axes: Axes,
    wavelengths: Sequence[float],
    *,
    voxel: ArrayLike,
    count: int = 3,
    gain: float = 0.6,
) -> Float[Array, "k nx ny nz"]:
    """Independent textures of mean 0 and variance 1, smooth and with detail.

    Each is a sum of octaves: random numbers on lattices of half the wavelength, a
    quarter and so on, interpolated by cubic B-splines. The lattices are fixed in the
    axes' frame: two grids see the same texture. Octaves that a grid cannot hold are
    faded out, between four voxels and two a wavelength.

    Args:
        key: what to draw from.
        axes: coordinates of the nodes along each axis, mm.
        wavelengths: mm, of the coarsest octave of each texture.
        voxel: mm, the longest edge of a voxel.
        count: how many octaves.
        gain: strength of an octave relative to the one before.
    """
    waves = jnp.asarray(wavelengths, jnp.float32)[:, None] / 2.0 ** np.arange(count)
    fade = jnp.clip(waves / jnp.asarray(voxel, jnp.float32) / 2 - 1, 0, 1)
    strength = gain ** np.arange(count)
    weights = fade * (strength / np.linalg.norm(strength) / _RMS)
    # Drawn flat: the program for five axes takes a second longer to compile.
    lattices = jax.random.normal(key, (waves.size * _NODES**3,), jnp.float32)
    lattices = lattices.reshape(*waves.shape, _NODES, _NODES, _NODES)
    nx, ny, nz = (a.size for a in axes)

    def texture(args: tuple) -> Nodes:
        total = jnp.zeros((nx, ny, nz), jnp.float32)
        return lax.scan(lambda t, a: (t + _interpolated(axes, *a), None), total, args)[
            0
        ]

    steps, weights = (a.astype(jnp.float32) for a in (waves / 2, weights))
    return lax.map(texture, (lattices, steps, weights))


def _interpolated(
    axes: Axes, lattice: Float[Array, "n n n"], step: Scalar, weight: Scalar
) -> Nodes:
    wx, wy, wz = (_spline_weights(a.reshape(-1) / step, _NODES) for a in axes)
    values = jnp.einsum("xa,abc->xbc", wx * weight, lattice)
    values = jnp.einsum("yb,xbc->xyc", wy, values)
    return jnp.einsum("zc,xyc->xyz", wz, values)


def _spline_weights(u: Float[Array, "n"], nodes: int) -> Float[Array, "n nodes"]:
    """Cubic B-spline weights of a periodic lattice's nodes at lattice coordinates u."""
    away = u[:, None] - jnp.arange(nodes)
    away = jnp.abs(away - nodes * jnp.round(away / nodes))
    near = 2 / 3 - away**2 * (1 - away / 2)
    far = jnp.maximum(2 - away, 0.0) ** 3 / 6
    return jnp.where(away < 1, near, far)
