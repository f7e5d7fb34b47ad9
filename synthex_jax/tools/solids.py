"""Solids in closed form: where rays enter and leave them.

Every solid first brings the ray's origin near itself, so that a source at a meter costs
few digits: float32 places a ray to about 1e-4 mm, and an end to that over the sine of
the angle between ray and surface. Derivatives are exact where a solid is hit, zero
where it is missed, and finite everywhere.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    positive_scalar,
    require,
    require_finite,
    require_not_negative,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.transform import RigidTransform, require_rotation
from synthex_jax.nouns import noun
from synthex_jax.numerics import product, safe_norm
from synthex_jax.tools.chords import (
    Chord,
    ball_chord,
    box_chord,
    cone_chord,
    hull_chord,
)
from synthex_jax.typing import ArrayLike, Matrix3, Points, Scalar, Vector3

Distances = Float[Array, "*batch k"]

AnyAxial = TypeVar("AnyAxial", bound="_Axial")


@runtime_checkable
class Solid(Protocol):
    """What a projector asks of a solid, and a tool too."""

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, mm from their origin.

        Args:
            origin: (3,), mm.
            directions: (..., 3), unit vectors.

        Returns:
            Two arrays (..., k) for the k pieces of a ray, in order; both are the same
            where a piece is empty. They may be negative, behind the origin.
        """
        ...

    def moved(self, transform: RigidTransform) -> Solid:
        """The solid in another frame: ``solid_in_b.moved(a_from_b)``."""
        ...

    def surface_points(self) -> Points:
        """(n, 3), mm: a few points that tell where its surface lies."""
        ...


@noun
@dataclass(frozen=True)
class Sphere:
    """A ball.

    Attributes:
        center: (3,), mm.
        radius: (), mm.
    """

    center: Vector3
    radius: Scalar

    @classmethod
    def create(cls, center: ArrayLike, radius: ArrayLike) -> Sphere:
        """From center and radius in mm.

        Raises:
            ValueError: for a center that is no point, a radius that is not positive.
        """
        return cls(_point("center", center), positive_scalar("radius", radius, "mm"))

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, (..., 1) each, mm from their origin."""
        return _single(ball_chord(self.center, self.radius, origin, directions))

    def moved(self, transform: RigidTransform) -> Sphere:
        """The sphere in another frame."""
        return replace(self, center=transform.apply(self.center))

    def surface_points(self) -> Points:
        """(6, 3), mm, along the frame's axes."""
        return self.center + self.radius * np.concatenate([np.eye(3), -np.eye(3)])


@noun
@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        center: (3,), mm.
        size: (3,), mm along its own axes.
        rotation: (3, 3), columns are its axes.
    """

    center: Vector3
    size: Vector3
    rotation: Matrix3

    @classmethod
    def create(
        cls,
        center: ArrayLike,
        size: ArrayLike,
        *,
        rotation: RigidTransform | ArrayLike | None = None,
    ) -> Box:
        """From center and size in mm, by default along the frame's axes.

        Raises:
            ValueError: for a center that is no point, a size that is not positive, and
                a matrix that is no rotation.
        """
        if isinstance(rotation, RigidTransform):
            rotation = rotation.rotation
        turn = jnp.eye(3) if rotation is None else jnp.asarray(rotation, float)
        require_shape("rotation", turn, (3, 3))
        require_rotation("rotation", turn)
        size = jnp.broadcast_to(jnp.asarray(size, float), (3,))
        require_positive("size", size, "mm")
        return cls(_point("center", center), size, turn)

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, (..., 1) each, mm from their origin."""
        return _single(
            box_chord(self.center, self.size, self.rotation, origin, directions)
        )

    def moved(self, transform: RigidTransform) -> Box:
        """The box in another frame."""
        turned = product(transform.rotation, self.rotation)
        return replace(self, center=transform.apply(self.center), rotation=turned)

    def surface_points(self) -> Points:
        """(8, 3), mm, its corners."""
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
        return self.center + product(signs * self.size, self.rotation.T)


@dataclass(frozen=True)
class _Axial:
    """What lies about a line between two points."""

    start: Vector3
    end: Vector3

    @property
    def _radii(self) -> tuple[Scalar, Scalar]:
        """At start and end."""
        raise NotImplementedError

    def moved(self: AnyAxial, transform: RigidTransform) -> AnyAxial:
        """The solid in another frame: ``solid_in_b.moved(a_from_b)``."""
        start, end = transform.apply(self.start), transform.apply(self.end)
        return replace(self, start=start, end=end)

    def surface_points(self) -> Points:
        """(8, 3), mm, four about each end."""
        axis = (self.end - self.start) / safe_norm(self.end - self.start)
        # The frame's axis that is most across: what it turns about does not matter.
        side = jnp.cross(axis, jnp.eye(3)[jnp.argmin(jnp.abs(axis))])
        side = side / safe_norm(side)
        ring = jnp.stack([side, -side, jnp.cross(axis, side), -jnp.cross(axis, side)])
        ends = zip((self.start, self.end), self._radii, strict=True)
        return jnp.concatenate([end + radius * ring for end, radius in ends])


@noun
@dataclass(frozen=True)
class Cylinder(_Axial):
    """A round bar with flat ends.

    Attributes:
        start, end: (3,), mm, the centers of its ends.
        radius: (), mm.
    """

    radius: Scalar

    @property
    def _radii(self) -> tuple[Scalar, Scalar]:
        return self.radius, self.radius

    @classmethod
    def create(cls, start: ArrayLike, end: ArrayLike, radius: ArrayLike) -> Cylinder:
        """From the centers of its ends and its radius in mm.

        Raises:
            ValueError: for ends that are no points, or the same; a radius that is not
                positive.
        """
        return cls(*_ends(start, end), positive_scalar("radius", radius, "mm"))

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, (..., 1) each, mm from their origin."""
        return _single(
            cone_chord(self.start, self.end, *self._radii, origin, directions)
        )


@noun
@dataclass(frozen=True)
class Capsule(_Axial):
    """A round bar with ends rounded off to half balls.

    Attributes:
        start, end: (3,), mm, the centers of the half balls.
        radius: (), mm.
    """

    radius: Scalar

    @property
    def _radii(self) -> tuple[Scalar, Scalar]:
        return self.radius, self.radius

    @classmethod
    def create(cls, start: ArrayLike, end: ArrayLike, radius: ArrayLike) -> Capsule:
        """From the centers of its half balls and its radius in mm.

        Raises:
            ValueError: for ends that are no points, or the same; a radius that is not
                positive.
        """
        return cls(*_ends(start, end), positive_scalar("radius", radius, "mm"))

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, (..., 1) each, mm from their origin."""
        r, ray = self.radius, (origin, directions)
        return _single(
            hull_chord(
                cone_chord(self.start, self.end, r, r, *ray),
                ball_chord(self.start, r, *ray),
                ball_chord(self.end, r, *ray),
            )
        )


@noun
@dataclass(frozen=True)
class Cone(_Axial):
    """A cone with flat ends, whole or truncated.

    Attributes:
        start, end: (3,), mm, the centers of its ends.
        start_radius, end_radius: (), mm; one of them may be zero.
    """

    start_radius: Scalar
    end_radius: Scalar

    @property
    def _radii(self) -> tuple[Scalar, Scalar]:
        return self.start_radius, self.end_radius

    @classmethod
    def create(
        cls,
        start: ArrayLike,
        end: ArrayLike,
        start_radius: ArrayLike,
        end_radius: ArrayLike,
    ) -> Cone:
        """From the centers of its ends and their radii in mm.

        Raises:
            ValueError: for ends that are no points, or the same; radii that are
                negative, or both zero.
        """
        first, second = jnp.asarray(start_radius, float), jnp.asarray(end_radius, float)
        require_not_negative("start_radius", first, "mm")
        require_not_negative("end_radius", second, "mm")
        if is_concrete(first, second):
            require(
                bool(first + second > 0),
                "start_radius and end_radius must not both be zero: nothing is left",
            )
        return cls(*_ends(start, end), first, second)

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave, (..., 1) each, mm from their origin."""
        return _single(
            cone_chord(self.start, self.end, *self._radii, origin, directions)
        )


@noun
@dataclass(frozen=True)
class Tube(_Axial):
    """A round bar with a round bore from end to end.

    Attributes:
        start, end: (3,), mm, the centers of its ends.
        radius: (), mm, outside.
        bore_radius: (), mm, inside.
    """

    radius: Scalar
    bore_radius: Scalar

    @property
    def _radii(self) -> tuple[Scalar, Scalar]:
        return self.radius, self.radius

    @classmethod
    def create(
        cls,
        start: ArrayLike,
        end: ArrayLike,
        radius: ArrayLike,
        bore_radius: ArrayLike,
    ) -> Tube:
        """From the centers of its ends and its radii in mm.

        Raises:
            ValueError: for ends that are no points, or the same; radii that are not
                positive; a bore as wide as the bar.
        """
        outer, inner = (
            positive_scalar("radius", radius, "mm"),
            positive_scalar("bore_radius", bore_radius, "mm"),
        )
        if is_concrete(outer, inner):
            require(
                bool(inner < outer),
                f"bore_radius must be below radius, got {inner:g} and {outer:g} mm",
            )
        return cls(*_ends(start, end), outer, inner)

    def intervals(
        self, origin: Vector3, directions: Points
    ) -> tuple[Distances, Distances]:
        """Where rays enter and leave its walls, (..., 2) each, mm from their origin."""
        ends, ray = (self.start, self.end), (origin, directions)
        outer = cone_chord(*ends, self.radius, self.radius, *ray)
        inner = cone_chord(*ends, self.bore_radius, self.bore_radius, *ray)
        # A ray that misses the bore has one piece, and its second is empty.
        leave = jnp.where(inner.is_hit, inner.near, outer.far)
        enter = jnp.where(inner.is_hit, inner.far, outer.far)
        near = jnp.stack([outer.near, enter], axis=-1)
        far = jnp.stack([leave, outer.far], axis=-1)
        return near, far


def _single(chord: Chord) -> tuple[Distances, Distances]:
    return chord.near[..., None], chord.far[..., None]


def _point(name: str, value: ArrayLike) -> Vector3:
    point = jnp.asarray(value, float)
    require_shape(name, point, (3,))
    require_finite(name, point)
    return point


def _ends(start: ArrayLike, end: ArrayLike) -> tuple[Vector3, Vector3]:
    first, second = _point("start", start), _point("end", end)
    if is_concrete(first, second):
        require(
            bool(jnp.any(first != second)),
            f"start and end must be two places, both are {first.tolist()} mm",
        )
    return first, second
