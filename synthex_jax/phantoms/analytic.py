"""Bodies whose line integrals have closed forms, for tests and for teaching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from synthex_jax.checks import require, require_positive, require_shape
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import transform_points
from synthex_jax.geometry.transform import RigidTransform, require_rotation
from synthex_jax.nouns import noun
from synthex_jax.numerics import away_from_zero, safe_norm
from synthex_jax.typing import (
    ArrayLike,
    Image,
    Matrix3,
    Points,
    Scalar,
    Shape3,
    Vector3,
)
from synthex_jax.volumes.volume import Volume, require_affine

# Half-widths a mm of a segment below which it counts as parallel to a box's face; at a
# ten-thousand-fold of it float32 still tells where the planes are crossed.
_PARALLEL = 1e-9

AnyBody = TypeVar("AnyBody", bound="Body")


@dataclass(frozen=True)
class Body:
    """What the bodies share: a place, a size, a density.

    ``values`` and ``chord`` are each kind's own. They work in the body's frame in units
    of its half-widths: the unit ball, the cube from -1 to 1, the standard normal.

    Attributes:
        center: (3,), world mm.
        half_widths: (3,), mm along its own axes.
        rotation: (3, 3), columns are its axes in the world.
        density: (), 1/mm.
    """

    center: Vector3
    half_widths: Vector3
    rotation: Matrix3
    density: Scalar

    @classmethod
    def create(
        cls: type[AnyBody],
        center: ArrayLike,
        half_widths: ArrayLike,
        *,
        rotation: RigidTransform | ArrayLike | None = None,
        density: ArrayLike = 1.0,
    ) -> AnyBody:
        """From center and half-widths in mm, and density in 1/mm.

        Args:
            center: (3,), world.
            half_widths: half-axes of an ellipsoid, half the edges of a box, standard
                deviations of a Gaussian; one number or three.
            rotation: from the body's axes to the world's.
            density: within an ellipsoid or a box, at the center of a Gaussian.

        Raises:
            ValueError: for a width that is not positive or a matrix that is no
                rotation.
        """
        return cls(*_checked(center, half_widths, rotation, density))

    def values(self, points: Points) -> Float[Array, "*batch"]:
        """Share of the density at points in the body's units."""
        raise NotImplementedError

    def chord(self, start: Points, along: Points) -> Float[Array, "*batch"]:
        """Integral of ``values`` over t from 0 to 1 at ``start + t * along``."""
        raise NotImplementedError


@noun
@dataclass(frozen=True)
class Ellipsoid(Body):
    """An ellipsoid of even density; its half-widths are its half-axes."""

    def values(self, points: Points) -> Float[Array, "*batch"]:
        """1 inside, 0 outside."""
        return (jnp.sum(points**2, axis=-1) <= 1).astype(points.dtype)

    def chord(self, start: Points, along: Points) -> Float[Array, "*batch"]:
        """Length of the segment within the unit ball, as a share of its length."""
        # A segment without length meets nothing; 1e-12 keeps its slopes finite.
        a = jnp.maximum(jnp.sum(along**2, axis=-1), 1e-12)
        middle = -jnp.sum(start * along, axis=-1) / a
        nearest = start + middle[..., None] * along
        inside = 1 - jnp.sum(nearest**2, axis=-1)
        # The root's slope is infinite where a ray is tangent: both branches guarded.
        hit = inside > 0
        half = jnp.where(hit, jnp.sqrt(jnp.where(hit, inside, 1.0) / a), 0.0)
        return _overlap(middle - half, middle + half)


@noun
@dataclass(frozen=True)
class Box(Body):
    """A box of even density; its half-widths are half its edges."""

    def values(self, points: Points) -> Float[Array, "*batch"]:
        """1 inside, 0 outside."""
        return jnp.all(jnp.abs(points) <= 1, axis=-1).astype(points.dtype)

    def chord(self, start: Points, along: Points) -> Float[Array, "*batch"]:
        """Length of the segment within the cube, as a share of its length."""
        step = away_from_zero(along, _PARALLEL)
        first, second = (-1 - start) / step, (1 - start) / step
        enter = jnp.max(jnp.minimum(first, second), axis=-1)
        leave = jnp.min(jnp.maximum(first, second), axis=-1)
        return _overlap(enter, leave)


@noun
@dataclass(frozen=True)
class Gaussian(Body):
    """A density like a normal distribution's, ``half_widths`` its deviations."""

    def values(self, points: Points) -> Float[Array, "*batch"]:
        """exp(-r^2 / 2)."""
        return jnp.exp(-jnp.sum(points**2, axis=-1) / 2)

    def chord(self, start: Points, along: Points) -> Float[Array, "*batch"]:
        """The error function between the segment's ends."""
        # A segment without length has no integral; 1e-12 keeps its slope finite.
        a = safe_norm(along)
        length = jnp.maximum(a, 1e-12)
        middle = jnp.sum(start * along, axis=-1) / length
        nearest = start - (middle / length)[..., None] * along
        peak = jnp.exp(-jnp.sum(nearest**2, axis=-1) / 2)
        ends = erf((middle + length) / 2**0.5) - erf(middle / 2**0.5)
        return peak * (np.pi / 2) ** 0.5 * ends / length


def line_integral(body: Body, start: Points, end: Points) -> Float[Array, "*batch"]:
    """Integral of a body's density along the segments from ``start`` to ``end``.

    Args:
        body: an ``Ellipsoid``, a ``Box`` or a ``Gaussian``.
        start: (..., 3), world mm; it may lie inside the body.
        end: (..., 3), world mm.

    Returns:
        (...), without unit. Its derivatives are finite everywhere; at a tangent ray,
        where the ellipsoid's has no limit, they are zero.

    Example:
        >>> import jax.numpy as jnp
        >>> ball = Ellipsoid.create(jnp.zeros(3), 10.0, density=0.02)
        >>> start, end = jnp.array([-50.0, 0, 0]), jnp.array([50.0, 0, 0])
        >>> round(float(line_integral(ball, start, end)), 4)
        0.4
    """
    start, end = jnp.broadcast_arrays(start, end)
    share = body.chord(_in_body(body, start), _turned(body, end - start))
    return body.density * share * safe_norm(end - start)


def sample(body: Body, points: Points) -> Float[Array, "*batch"]:
    """Density of a body, 1/mm, at world points (..., 3) in mm."""
    return body.density * body.values(_in_body(body, points))


def image(bodies: Sequence[Body], camera: Camera) -> Image:
    """The radiograph in closed form: integrals from the source to each pixel center.

    Args:
        bodies: their densities add up.
        camera: one view.

    Returns:
        (rows, cols), without unit.
    """
    ends = camera.back_project(camera.pixel_grid())
    starts = jnp.broadcast_to(camera.source, ends.shape)
    return sum(
        (line_integral(body, starts, ends) for body in bodies), jnp.zeros(camera.shape)
    )


def rasterized(
    bodies: Sequence[Body], shape: Shape3, affine: ArrayLike, *, supersample: int = 1
) -> Volume:
    """The bodies' density on a grid.

    Args:
        bodies: their densities add up.
        shape: (nx, ny, nz).
        affine: (4, 4), world from voxel, mm.
        supersample: points along each edge of a voxel whose mean it gets. With 1 a
            voxel gets the value at its center: right for Gaussians, while the edges
            of boxes and ellipsoids want 3 or more.

    Raises:
        ValueError: for an affine that is no grid's or a count below 1.
    """
    require(supersample >= 1, f"supersample must be at least 1, got {supersample}")
    affine = jnp.asarray(affine, dtype=float)
    require_affine(affine)
    nodes = jnp.stack(
        jnp.meshgrid(
            *(jnp.arange(n, dtype=affine.dtype) for n in shape), indexing="ij"
        ),
        axis=-1,
    )
    offsets = (np.arange(supersample) + 0.5) / supersample - 0.5
    corners = np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3)

    def add(total: Array, offset: Array) -> tuple[Array, None]:
        points = transform_points(affine, nodes + offset)
        return total + sum(sample(body, points) for body in bodies), None

    start = jnp.zeros(shape, affine.dtype)
    total, _ = jax.lax.scan(add, start, jnp.asarray(corners, affine.dtype))
    return Volume(total / len(corners), affine)


def _checked(
    center: ArrayLike,
    half_widths: ArrayLike,
    rotation: RigidTransform | ArrayLike | None,
    density: ArrayLike,
) -> tuple[Vector3, Vector3, Matrix3, Scalar]:
    if rotation is None:
        rotation = jnp.eye(3)
    elif isinstance(rotation, RigidTransform):
        rotation = rotation.rotation
    center, rotation, density = (
        jnp.asarray(value, dtype=float) for value in (center, rotation, density)
    )
    require_shape("center", center, (3,))
    require_shape("rotation", rotation, (3, 3))
    require_rotation("rotation", rotation)
    require_shape("density", density, ())
    require(
        np.shape(half_widths) in ((), (3,)),
        f"half_widths must be one number or three, got shape {np.shape(half_widths)}",
    )
    widths = jnp.broadcast_to(jnp.asarray(half_widths, dtype=float), (3,))
    require_positive("half_widths", widths, "mm")
    return center, widths, rotation, density


def _turned(body: Body, directions: Points) -> Points:
    return directions @ body.rotation / body.half_widths


def _in_body(body: Body, points: Points) -> Points:
    return _turned(body, points - body.center)


def _overlap(
    enter: Float[Array, "*batch"], leave: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Length that an interval shares with the one from 0 to 1."""
    return jnp.maximum(jnp.clip(leave, 0.0, 1.0) - jnp.clip(enter, 0.0, 1.0), 0.0)
