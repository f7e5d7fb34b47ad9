"""Curves in space: splines through points, and frames along them."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.numerics import at_least, safe_norm
from synthex_jax.typing import Scalar, Vector3

# Mm^2: keeps what is traced and degenerate finite; neighbors that a float32 tells
# apart a meter away are 6e-5 mm apart or more.
_TINY = 1e-12


@jax.jit
def natural_spline(
    values: Float[Array, "knots *channels"], positions: Float[Array, "samples"]
) -> Float[Array, "samples *channels"]:
    """The natural cubic spline through evenly spaced values.

    The interpolating curve of least bending: its second derivative is continuous, and
    zero at both ends. It is linear in the values, and differentiable in the positions
    too. Of two values it is a line, of one a constant.

    Args:
        values: at 0, 1 / (knots - 1), ..., 1.
        positions: from 0 to 1.

    Raises:
        ValueError: for no value at all.
    """
    knots = len(values)
    require(knots >= 1, "values must hold at least one knot, got none")
    if knots == 1:
        return jnp.broadcast_to(values, (len(positions), *values.shape[1:]))
    pieces = jnp.asarray(_spline_pieces(knots), values.dtype)
    cubics = jnp.tensordot(pieces, values, axes=1, precision=lax.Precision.HIGHEST)
    place = positions * (knots - 1)
    piece = jnp.clip(place.astype(jnp.int32), 0, knots - 2)
    local = (place - piece).reshape(-1, *(1,) * (values.ndim - 1))
    a, b, c, d = cubics[:, piece]
    return ((a * local + b) * local + c) * local + d


@jax.jit
def rotation_minimizing_frames(
    centerline: Float[Array, "n 3"],
) -> Float[Array, "n 3 3"]:
    """Frames along a curve that turn about it as little as they can.

    The double reflection method of Wang, Juettler, Zheng and Liu, "Computation of
    rotation minimizing frames", ACM Transactions on Graphics 27(1), 2008, table I. The
    error falls with the square of the step, as that of the tangents, which are here
    those of the circles through three neighboring points each.

    The first normal is the axis that lies most across the curve, made orthogonal to it.

    Args:
        centerline: (n, 3), mm, n >= 2, neighbors apart.

    Returns:
        Rotations whose columns are normal, binormal and tangent.
    """
    tangents = _tangents(centerline)
    start = jnp.eye(3, dtype=centerline.dtype)[jnp.argmin(jnp.abs(tangents[0]))]
    normal = _unit(start - jnp.sum(start * tangents[0]) * tangents[0])

    def carry(
        normal: Vector3, here: tuple[Vector3, Vector3, Vector3]
    ) -> tuple[Vector3, Vector3]:
        step, tangent, ahead = here
        mirror = ahead - _reflected(tangent, step)
        normal = _reflected(_reflected(normal, step), mirror)
        return normal, normal

    steps = jnp.diff(centerline, axis=0)
    _, rest = lax.scan(carry, normal, (steps, tangents[:-1], tangents[1:]))
    normals = jnp.concatenate([normal[None], rest])
    return jnp.stack([normals, jnp.cross(tangents, normals), tangents], axis=-1)


def _tangents(centerline: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """Unit tangents: exact on straight lines and circles, however spaced."""
    steps = jnp.diff(centerline, axis=0)
    lengths = safe_norm(steps)[:, None]
    chords = _unit(steps)
    if len(chords) == 1:
        return jnp.concatenate([chords, chords])
    inner = _unit(chords[:-1] * lengths[1:] + chords[1:] * lengths[:-1])
    ends = [
        2 * jnp.sum(chord * tangent) * chord - tangent
        for chord, tangent in ((chords[0], inner[0]), (chords[-1], inner[-1]))
    ]
    return jnp.concatenate([ends[0][None], inner, ends[1][None]])


def _unit(vectors: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    return vectors / at_least(safe_norm(vectors), _TINY)[..., None]


def _reflected(vector: Vector3, along: Vector3) -> Vector3:
    """Mirrored in the plane across ``along``."""
    square: Scalar = at_least(jnp.sum(along**2), _TINY)
    return vector - 2 * jnp.sum(along * vector) / square * along


@lru_cache
def _spline_pieces(knots: int) -> Float[np.ndarray, "4 pieces knots"]:
    """Coefficients of each piece, the cube's first, from the values at the knots."""
    from scipy.interpolate import CubicSpline

    return CubicSpline(np.arange(knots), np.eye(knots), bc_type="natural").c
