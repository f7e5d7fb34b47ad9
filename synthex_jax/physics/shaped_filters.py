"""Shaped filters: sheets whose thickness varies over the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from synthex_jax.checks import require_not_negative, require_positive
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_most, between
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.typing import ArrayLike, Image, Scalar


@runtime_checkable
class ShapedFilter(Protocol):
    """What a Beam asks of a shaped filter."""

    @property
    def substance(self) -> Material:
        """What it is made of, with a density."""
        ...

    def thickness(self, plane: DetectorPlane) -> Image:
        """(rows, cols), mm, across the sheet where a pixel's ray crosses it."""
        ...


@noun
@dataclass(frozen=True)
class BowTie:
    """Thin in the middle, thicker to the left and to the right, by the square.

    It evens out the exposure behind a round body.

    Attributes:
        substance: what it is made of.
        center: (), mm, its thickness on the central ray.
        edge: (), mm, its thickness at ``half_width``; constant further out.
        half_width: (), mm on the detector along x.
    """

    substance: Material
    center: Scalar
    edge: Scalar
    half_width: Scalar

    @classmethod
    def create(
        cls,
        substance: str | Material,
        *,
        center: ArrayLike,
        edge: ArrayLike,
        half_width: ArrayLike,
    ) -> BowTie:
        """From its profile.

        Raises:
            ValueError: for an unknown substance, a negative thickness, a width that
                is not positive.
        """
        require_positive("half_width", half_width, "(mm on the detector)")
        return cls(
            material(substance),
            _thickness("center", center),
            _thickness("edge", edge),
            jnp.asarray(half_width, float),
        )

    def thickness(self, plane: DetectorPlane) -> Image:
        """(rows, cols), mm."""
        share = at_most((plane.x / self.half_width) ** 2, 1.0)
        return self.center + (self.edge - self.center) * share


@noun
@dataclass(frozen=True)
class Wedge:
    """A half-transparent sheet pushed in from one side, its edge sloping.

    Angiography units dim the lung beside the heart with it.

    Attributes:
        substance: what it is made of.
        full: (), mm, thickness beyond the slope.
        offset: (), mm on the detector, from the central ray to where the slope begins.
        slope_width: (), mm on the detector, over which the thickness rises.
        direction: (), radians, into the sheet, from the detector's x axis towards y.
    """

    substance: Material
    full: Scalar
    offset: Scalar
    slope_width: Scalar
    direction: Scalar

    @classmethod
    def create(
        cls,
        substance: str | Material,
        *,
        full: ArrayLike,
        offset: ArrayLike,
        slope_width: ArrayLike = 20.0,
        direction: ArrayLike = 0.0,
    ) -> Wedge:
        """From its profile.

        Raises:
            ValueError: for an unknown substance, a negative thickness, a width that
                is not positive.
        """
        require_positive("slope_width", slope_width, "(mm on the detector)")
        return cls(
            material(substance),
            _thickness("full", full),
            jnp.asarray(offset, float),
            jnp.asarray(slope_width, float),
            jnp.asarray(direction, float),
        )

    def thickness(self, plane: DetectorPlane) -> Image:
        """(rows, cols), mm."""
        along = plane.x * jnp.cos(self.direction) + plane.y * jnp.sin(self.direction)
        return self.full * between((along - self.offset) / self.slope_width, 0.0, 1.0)


def _thickness(name: str, value: ArrayLike) -> Scalar:
    require_not_negative(name, value, "(mm)")
    return jnp.asarray(value, float)
