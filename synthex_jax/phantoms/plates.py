"""Distances to balls, tapered rods and plates of varying thickness."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.phantoms.grid import Axes, Nodes

# mm^2: twice the area below which a triangle counts as a rod or a ball.
_FLAT = 0.5


@noun
@dataclass(frozen=True)
class Rods:
    """Rods between two points with a radius at each end; leaves may be batched.

    Attributes:
        start: (..., 3), mm.
        along: (..., 3), mm: from start to end.
        scale: (...), 1 / mm^2: one over the squared length.
        radius: (...), mm at the start.
        taper: (...), mm by which the radius grows to the end.
    """

    start: Float[Array, "*batch 3"]
    along: Float[Array, "*batch 3"]
    scale: Float[Array, "*batch"]
    radius: Float[Array, "*batch"]
    taper: Float[Array, "*batch"]

    @classmethod
    def between(cls, a: Float[Array, "*batch 4"], b: Float[Array, "*batch 4"]) -> Rods:
        """From two ends (x, y, z, radius); equal ends make a ball."""
        along = (b - a)[..., :3]
        # 1e-4 mm^2: a rod this short is a ball, and the division stays finite.
        scale = 1 / jnp.maximum(jnp.sum(along**2, axis=-1), 1e-4)
        return cls(a[..., :3], along, scale, a[..., 3], (b - a)[..., 3])

    def distance(self, axes: Axes) -> Nodes:
        """Distance in mm of one rod, negative inside."""
        p = _relative(axes, self.start)
        t = jnp.clip(_dot(p, self.along) * self.scale, 0.0, 1.0)
        square = sum((p[i] - t * self.along[i]) ** 2 for i in range(3))
        return jnp.sqrt(square + 1e-8) - (self.radius + t * self.taper)


@noun
@dataclass(frozen=True)
class Plates:
    """Triangles with a radius at each corner; leaves are batched, (m, ...).

    Attributes:
        edges: (m, 3), the rods around each.
        normal: (m, 3), unit.
        across: (m, 2, 3), 1 / mm: take a point to the weights of corners 2 and 3.
        offset: (m,), added to the weights: 0, or -1 where the corners are in line.
    """

    edges: Rods
    normal: Float[Array, "*m 3"]
    across: Float[Array, "*m 2 3"]
    offset: Float[Array, "*m"]

    @classmethod
    def create(cls, corners: Float[Array, "m 3 4"]) -> Plates:
        """From corners (x, y, z, radius); repeated corners make rods and balls."""
        edges = Rods.between(corners, jnp.roll(corners, -1, axis=1))
        ab, ca = edges.along[:, 0], edges.along[:, 2]
        normal = jnp.cross(ab, -ca)
        area = jnp.sqrt(jnp.sum(normal**2, axis=-1) + 1e-12)
        flat = area < _FLAT
        safe = jnp.where(flat, 1.0, area)
        unit = normal / safe[:, None]
        across = jnp.stack([jnp.cross(-ca, unit), jnp.cross(unit, ab)], axis=1)
        return cls(
            edges, unit, across / safe[:, None, None], -flat.astype(corners.dtype)
        )

    def distance(self, axes: Axes) -> Nodes:
        """Distance in mm of one plate, negative inside."""
        rods = [jax.tree.map(lambda leaf, i=i: leaf[i], self.edges) for i in range(3)]
        near = jnp.minimum(rods[0].distance(axes), rods[1].distance(axes))
        near = jnp.minimum(near, rods[2].distance(axes))
        p = _relative(axes, rods[0].start)
        v = _dot(p, self.across[0]) + self.offset
        w = _dot(p, self.across[1]) + self.offset
        radius = rods[0].radius + v * rods[0].taper - w * rods[2].taper
        plane = jnp.abs(_dot(p, self.normal)) - radius
        over = (v >= 0) & (w >= 0) & (v + w <= 1)
        return jnp.where(over, jnp.minimum(plane, near), near)


def _relative(axes: Axes, point: Float[Array, "3"]) -> Axes:
    return axes[0] - point[0], axes[1] - point[1], axes[2] - point[2]


def _dot(p: Axes, direction: Float[Array, "3"]) -> Nodes:
    return p[0] * direction[0] + p[1] * direction[1] + p[2] * direction[2]
