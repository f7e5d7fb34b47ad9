"""Grid: the nodes that a phantom is evaluated at, and blocks of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from synthex_jax.checks import require
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Matrix4, Scalar, Shape3, Vector3
from synthex_jax.volumes.volume import centered_affine

Axes = tuple[Float[Array, "nx 1 1"], Float[Array, "1 ny 1"], Float[Array, "1 1 nz"]]
"""World x, y and z of a block's nodes, mm, each along its own axis: they broadcast."""

Nodes = Float[Array, "nx ny nz"]
"""A value at every node of a block or of the whole grid."""


@dataclass(frozen=True)
class Grid:
    """Nodes parallel to the world's axes and centered on its origin; static, hashable.

    Attributes:
        shape: (nx, ny, nz).
        spacing: mm between nodes along x, y and z.
    """

    shape: Shape3
    spacing: tuple[float, float, float]

    @classmethod
    def create(cls, shape: Shape3, spacing: ArrayLike) -> Grid:
        """From a shape and a spacing, one number or (x, y, z) in mm.

        Raises:
            ValueError: for a size below 2 or a spacing that is not positive.
        """
        sizes = tuple(int(n) for n in shape)
        require(
            len(sizes) == 3 and min(sizes) >= 2 and sizes == tuple(shape),
            "shape must be three whole numbers (nx, ny, nz) of at least 2, "
            f"got {shape}",
        )
        require(
            np.ndim(spacing) in (0, 1) and np.size(spacing) in (1, 3),
            "spacing must be one number or (x, y, z) in mm, got an array of shape "
            f"{np.shape(spacing)}",
        )
        steps = np.broadcast_to(np.asarray(spacing, dtype=float), (3,))
        require(
            bool(np.all(np.isfinite(steps) & (steps > 0))),
            f"spacing must be positive mm, got {spacing}",
        )
        dx, dy, dz = (float(step) for step in steps)
        return cls((sizes[0], sizes[1], sizes[2]), (dx, dy, dz))

    @property
    def affine(self) -> Matrix4:
        """(4, 4), world from voxel."""
        return centered_affine(self.shape, self.spacing)

    @property
    def voxel(self) -> float:
        """mm: the edge of a cube of a voxel's volume, the width of soft boundaries."""
        return math.prod(self.spacing) ** (1 / 3)

    def axes(
        self, start: Int[Array, "3"] | Shape3 = (0, 0, 0), shape: Shape3 | None = None
    ) -> Axes:
        """Coordinates of a block's nodes; of all nodes by default."""
        shape = self.shape if shape is None else shape
        coordinates = []
        for i in range(3):
            index = start[i] + jnp.arange(shape[i])
            middle = (self.shape[i] - 1) / 2
            along = (index - middle).astype(jnp.float32) * self.spacing[i]
            coordinates.append(along.reshape([-1 if a == i else 1 for a in range(3)]))
        return tuple(coordinates)  # pyright: ignore[reportReturnType]

    def block_shape(self, size: ArrayLike) -> Shape3:
        """The number of nodes that a box of the given size in mm can cover."""
        counts = np.ceil(np.broadcast_to(size, (3,)) / self.spacing).astype(int) + 1
        nx, ny, nz = (min(int(a), b) for a, b in zip(counts, self.shape, strict=True))
        return nx, ny, nz

    def block_start(self, middle: Vector3, shape: Shape3) -> Int[Array, "3"]:
        """First index of the block nearest to being centered on a world point."""
        steps, sizes = jnp.asarray(self.spacing), jnp.asarray(self.shape)
        first = middle / steps + (sizes - jnp.asarray(shape)) / 2
        last = sizes - jnp.asarray(shape)
        return jnp.clip(jnp.round(first).astype(jnp.int32), 0, last)


@noun
@dataclass(frozen=True)
class Block:
    """Values at a box of a grid's nodes.

    Attributes:
        start: (3,), index of the first node.
        values: (bx, by, bz).
    """

    start: Int[Array, "3"]
    values: Nodes

    def cut(self, whole: Array) -> Array:
        """The same nodes' values in an array over the whole grid."""
        return lax.dynamic_slice(whole, tuple(self.start), self.values.shape)

    def pasted(self, whole: Array, values: Array) -> Array:
        """The whole grid's array with this block's nodes replaced."""
        return lax.dynamic_update_slice(whole, values, tuple(self.start))


def occupancy(distance: Nodes, width: float | Scalar) -> Nodes:
    """The share of a voxel that lies inside: a ramp as wide as a voxel.

    A ramp of any width keeps the mass of plates thicker than it. As wide as a voxel it
    is the average of a half-space over a box that faces it; the square root of two
    more, as over a box on edge, leaves no steps in a projection.

    Args:
        distance: mm, negative inside.
        width: mm, of a voxel.
    """
    return jnp.clip(0.5 - distance / (2**0.5 * width), 0.0, 1.0)
