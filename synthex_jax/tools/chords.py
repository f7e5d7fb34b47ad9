"""Chords of rays in convex solids: balls, boxes, truncated cones."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from synthex_jax.numerics import (
    at_least,
    at_most,
    away_from_zero,
    between,
    product,
    safe_norm,
    safe_sqrt,
)
from synthex_jax.typing import Matrix3, Points, Scalar, Vector3

# A ray that drifts by less than this per mm towards a face or an axis is parallel to
# it: over the length of a tool it drifts less than float32 tells at a meter (1e-4 mm).
_PARALLEL = 1e-7

# Mm^2. Of a radius' square minus that of the distance from the axis: below, the ray
# grazes and the chord's slope is without bound.
_GRAZING = 1e-8

# Mm, beyond all solids. Its square has to be finite.
_FAR = 1e9


class Chord(NamedTuple):
    """Where rays enter and leave a convex solid, mm along them; both 0 if missed."""

    is_hit: Bool[Array, "*batch"]
    near: Float[Array, "*batch"]
    far: Float[Array, "*batch"]


def ball_chord(
    center: Vector3, radius: Scalar, origin: Vector3, directions: Points
) -> Chord:
    """Chords in a ball; directions (..., 3) are unit vectors."""
    shift, local = _brought_near(center, origin, directions)
    along = jnp.sum(local * directions, axis=-1)
    distance = safe_norm(local - along[..., None] * directions)
    square = (radius - distance) * (radius + distance)
    is_hit = square > _GRAZING
    half = jnp.sqrt(jnp.where(is_hit, square, 1.0))
    middle = shift - along
    return _chord(is_hit, middle - half, middle + half)


def box_chord(
    center: Vector3,
    size: Vector3,
    rotation: Matrix3,
    origin: Vector3,
    directions: Points,
) -> Chord:
    """Chords in a box whose axes are the columns of ``rotation``."""
    shift, local = _brought_near(center, origin, directions)
    near, far = _between_planes(
        product(local, rotation), product(directions, rotation), size / 2
    )
    near = at_least(at_least(near[..., 0], near[..., 1]), near[..., 2])
    far = at_most(at_most(far[..., 0], far[..., 1]), far[..., 2])
    return _chord(far > near, shift + near, shift + far)


def cone_chord(
    start: Vector3,
    end: Vector3,
    start_radius: Scalar,
    end_radius: Scalar,
    origin: Vector3,
    directions: Points,
) -> Chord:
    """Chords in a cone, whole or truncated, or a cylinder.

    Across the axis, the point at a distance u along a ray is m + u p, and the radius
    there r + u k: within is where |m + u p|^2 <= (r + u k)^2, a quadratic in u, of
    which the branch with a radius above zero counts.
    """
    length = safe_norm(end - start)
    axis = (end - start) / length
    growth = (end_radius - start_radius) / length
    shift, local = _brought_near((start + end) / 2, origin, directions)
    along, slope = product(local, axis), product(directions, axis)
    m, p = local - along[..., None] * axis, directions - slope[..., None] * axis

    # From the point nearest to the axis b, below, vanishes and no digits are lost; as
    # for all shifts, the result does not depend on it, nor do its derivatives.
    steepness = at_least(jnp.sum(p**2, axis=-1), _PARALLEL**2)
    reach = length + start_radius + end_radius
    nearest = -jnp.sum(m * p, axis=-1) / steepness
    step = lax.stop_gradient(between(nearest, -reach, reach))
    m, along = m + step[..., None] * p, along + step * slope

    radius = (start_radius + end_radius) / 2 + growth * along
    widening, distance = growth * slope, safe_norm(m)
    across = jnp.sum(m * p, axis=-1)
    a = away_from_zero(steepness - widening**2, _PARALLEL**2)
    b = across - radius * widening
    c = (distance - radius) * (distance + radius)
    discriminant = across * (across - 2 * radius * widening)
    discriminant += steepness * (radius - distance) * (radius + distance)
    discriminant += (widening * distance) ** 2
    is_hit = (a < 0) | (discriminant > _GRAZING * a)
    root = safe_sqrt(jnp.where(is_hit, at_least(discriminant, 0.0), 0.0))
    q = away_from_zero(-jnp.where(b < 0, b - root, b + root), _PARALLEL**2)
    low, high = _in_order(q / a, jnp.where(is_hit, c, 0.0) / q)
    # A ray steeper than the cone is within from one root on, or up to one.
    near = jnp.where(a > 0, low, jnp.where(widening > 0, high, -_FAR))
    far = jnp.where(a > 0, high, jnp.where(widening > 0, _FAR, low))

    first, last = _between_planes(along, slope, length / 2)
    near, far = at_least(near, first), at_most(far, last)
    middle = shift + step
    return _chord(is_hit & (far > near), middle + near, middle + far)


def hull_chord(*chords: Chord) -> Chord:
    """From the first to the last point of chords that together are convex."""
    is_hit, near, far = chords[0]
    for chord in chords[1:]:
        only = chord.is_hit & ~is_hit
        both = chord.is_hit & is_hit
        near = jnp.where(only | (both & (chord.near < near)), chord.near, near)
        far = jnp.where(only | (both & (chord.far > far)), chord.far, far)
        is_hit = is_hit | chord.is_hit
    return Chord(is_hit, near, far)


def _brought_near(
    center: Vector3, origin: Vector3, directions: Points
) -> tuple[Float[Array, "*batch"], Points]:
    """Distance to the point of each ray nearest to a center, and where it is from it.

    The distance is taken as a constant: it only says where to count from.
    """
    shift = lax.stop_gradient(product(directions, center - origin))
    return shift, (origin - center) + shift[..., None] * directions


def _between_planes(
    position: Float[Array, "*batch"],
    slope: Float[Array, "*batch"],
    half: Float[Array, "..."],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Where a coordinate that grows by ``slope`` a mm lies between -half and half."""
    slope = away_from_zero(slope, _PARALLEL)
    return _in_order((-half - position) / slope, (half - position) / slope)


def _in_order(
    first: Float[Array, "*batch"], second: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    return at_most(first, second), at_least(first, second)


def _chord(
    is_hit: Bool[Array, "*batch"],
    near: Float[Array, "*batch"],
    far: Float[Array, "*batch"],
) -> Chord:
    return Chord(is_hit, jnp.where(is_hit, near, 0.0), jnp.where(is_hit, far, 0.0))
