"""Collimators: what part of the detector the beam reaches, with soft edges.

The focal spot is not a point, so that a leaf's edge casts a penumbra; its width also
carries the gradient with respect to the collimator's own parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import require, require_positive, require_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import safe_norm
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.typing import ArrayLike, Image, Scalar, Vector2

# Mm on the detector. A focal spot of 0.6 mm behind leaves a third of the way to the
# detector casts a penumbra of 0.6 * 2/3 / (1/3) mm; its standard deviation is a fourth.
_PENUMBRA = 0.3


@runtime_checkable
class Collimator(Protocol):
    """What a Beam asks of a collimator."""

    def transmission(self, plane: DetectorPlane) -> Image:
        """(rows, cols), the share of the photons that gets through."""
        ...


@noun
@dataclass(frozen=True)
class CircularCollimator:
    """A round field, as of an image intensifier or an iris of many leaves.

    Attributes:
        radius: (), mm on the detector.
        center: (2,), mm on the detector, (x, y) from the central ray.
        penumbra: (), mm, standard deviation of the soft edge.
    """

    radius: Scalar
    center: Vector2
    penumbra: Scalar

    @classmethod
    def create(
        cls,
        radius: ArrayLike,
        *,
        center: ArrayLike = (0.0, 0.0),
        penumbra: ArrayLike = _PENUMBRA,
    ) -> CircularCollimator:
        """From the field's size on the detector, mm.

        Raises:
            ValueError: for a radius or a penumbra that is not positive.
        """
        require_positive("radius", radius, "(mm on the detector)")
        return cls(jnp.asarray(radius, float), *_placed(center, penumbra))

    def transmission(self, plane: DetectorPlane) -> Image:
        """(rows, cols), from 0 to 1."""
        offset = jnp.stack([plane.x - self.center[0], plane.y - self.center[1]], -1)
        return _inside(self.radius - safe_norm(offset), self.penumbra)


@noun
@dataclass(frozen=True)
class RectangularCollimator:
    """Two pairs of parallel leaves.

    Attributes:
        size: (2,), mm on the detector, (width along x, height along y).
        center: (2,), mm on the detector, (x, y) from the central ray.
        rotation: (), radians, from the detector's x axis towards its y axis.
        penumbra: (), mm, standard deviation of the soft edge.
    """

    size: Vector2
    center: Vector2
    rotation: Scalar
    penumbra: Scalar

    @classmethod
    def create(
        cls,
        size: ArrayLike,
        *,
        center: ArrayLike = (0.0, 0.0),
        rotation: ArrayLike = 0.0,
        penumbra: ArrayLike = _PENUMBRA,
    ) -> RectangularCollimator:
        """From the field's size on the detector, mm, one number or (width, height).

        Raises:
            ValueError: for a size or a penumbra that is not positive.
        """
        require_positive("size", size, "(mm on the detector)")
        center, penumbra = _placed(center, penumbra)
        size = jnp.broadcast_to(jnp.asarray(size, float), (2,))
        return cls(size, center, jnp.asarray(rotation, float), penumbra)

    def transmission(self, plane: DetectorPlane) -> Image:
        """(rows, cols), from 0 to 1."""
        x, y = plane.x - self.center[0], plane.y - self.center[1]
        cosine, sine = jnp.cos(self.rotation), jnp.sin(self.rotation)
        along, across = x * cosine + y * sine, y * cosine - x * sine
        return _between(along, self.size[0], self.penumbra) * _between(
            across, self.size[1], self.penumbra
        )


@noun
@dataclass(frozen=True)
class IrisCollimator:
    """Leaves that close in on a regular polygon.

    Attributes:
        radius: (), mm on the detector, of the circle within the polygon.
        center: (2,), mm on the detector, (x, y) from the central ray.
        rotation: (), radians, of the first leaf from the x axis towards the y axis.
        penumbra: (), mm, standard deviation of the soft edge.
        leaves: how many, static.
    """

    radius: Scalar
    center: Vector2
    rotation: Scalar
    penumbra: Scalar
    leaves: int = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        radius: ArrayLike,
        *,
        leaves: int = 8,
        center: ArrayLike = (0.0, 0.0),
        rotation: ArrayLike = 0.0,
        penumbra: ArrayLike = _PENUMBRA,
    ) -> IrisCollimator:
        """From the field's size on the detector, mm.

        Raises:
            ValueError: for a radius or a penumbra that is not positive, or fewer than
                three leaves.
        """
        require_positive("radius", radius, "(mm on the detector)")
        require(
            leaves >= 3, f"leaves must be at least 3 to close a field, got {leaves}"
        )
        center, penumbra = _placed(center, penumbra)
        radius, rotation = jnp.asarray(radius, float), jnp.asarray(rotation, float)
        return cls(radius, center, rotation, penumbra, leaves)

    def transmission(self, plane: DetectorPlane) -> Image:
        """(rows, cols), from 0 to 1."""
        x, y = plane.x - self.center[0], plane.y - self.center[1]
        share = jnp.ones_like(x)
        for turn in np.arange(self.leaves) * (2 * np.pi / self.leaves):
            angle = self.rotation + turn
            outward = x * jnp.cos(angle) + y * jnp.sin(angle)
            share *= _inside(self.radius - outward, self.penumbra)
        return share


def _placed(center: ArrayLike, penumbra: ArrayLike) -> tuple[Vector2, Scalar]:
    center = jnp.asarray(center, float)
    require_shape("center", center, (2,))
    require_positive("penumbra", penumbra, "(mm on the detector)")
    return center, jnp.asarray(penumbra, float)


def _inside(
    depth: Float[Array, "rows cols"], penumbra: Scalar
) -> Float[Array, "rows cols"]:
    """What a straight edge lets through at a depth in mm inside of it."""
    return jax.scipy.stats.norm.cdf(depth / penumbra)


def _between(position: Image, width: Scalar, penumbra: Scalar) -> Image:
    return _inside(width / 2 - position, penumbra) * _inside(
        width / 2 + position, penumbra
    )
