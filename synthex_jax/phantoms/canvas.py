"""Canvas: Hounsfield units and labels under construction, painted part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from synthex_jax.nouns import noun
from synthex_jax.phantoms.grid import Axes, Block, Grid, Nodes, occupancy
from synthex_jax.phantoms.plates import Plates
from synthex_jax.phantoms.skeleton import BLEND, Skeleton
from synthex_jax.typing import ArrayLike, Shape3

Index = Int[Array, ""]

# Beyond this many blends a part adds less than 2 % of itself, 0.02 mm, to the surface.
_REACH = 4 * BLEND
# Room for a posed and scaled solid, and for one of its parts, beyond its table's size.
_ROOM, _PART_ROOM = 1.3, 1.25


@dataclass(frozen=True)
class Solids:
    """Some solids of one skeleton's shape: where they are, and what they are made of.

    A shell of one value around a core of another, with a texture in the core.

    Attributes:
        skeleton: the parts and the size to expect.
        vertices: (k, n, 4), world mm: x, y, z and radius.
        labels: (k,), ids.
        shell: (k,), mm: thickness of the shell.
        compact: (k,), HU of the shell.
        spongy: (k,), HU of the core.
        texture: (k,), HU a unit of grain in the core.
        lumps: (k,), mm a unit of the canvas's lumps that the surface lies deeper.
        socket: (k, 4), a ball (x, y, z, radius) that is cut away.
    """

    skeleton: Skeleton
    vertices: Float[Array, "k n 4"]
    labels: UInt8[Array, "k"]
    shell: Float[Array, "k"]
    compact: Float[Array, "k"]
    spongy: Float[Array, "k"]
    texture: Float[Array, "k"]
    lumps: Float[Array, "k"]
    socket: Float[Array, "k 4"]

    @classmethod
    def create(
        cls,
        skeleton: Skeleton,
        vertices: Float[Array, "k n 4"],
        labels: ArrayLike,
        *,
        spongy: ArrayLike,
        compact: ArrayLike = 0.0,
        shell: ArrayLike = 0.0,
        texture: ArrayLike = 0.0,
        lumps: ArrayLike = 0.0,
        socket: ArrayLike = (0.0, 0.0, 0.0, -1.0),
    ) -> Solids:
        """With labels and materials given once for all or one a solid."""
        k = vertices.shape[0]
        shell, compact, spongy, texture, lumps = (
            jnp.broadcast_to(jnp.asarray(value, jnp.float32), (k,))
            for value in (shell, compact, spongy, texture, lumps)
        )
        labels = jnp.broadcast_to(jnp.asarray(labels, jnp.uint8), (k,))
        socket = jnp.broadcast_to(jnp.asarray(socket, jnp.float32), (k, 4))
        return cls(
            skeleton,
            vertices.astype(jnp.float32),
            labels,
            shell,
            compact,
            spongy,
            texture,
            lumps,
            socket,
        )


@noun
@dataclass(frozen=True)
class Canvas:
    """What has been painted so far; each painter returns the next canvas.

    Attributes:
        hu: (nx, ny, nz), Hounsfield units.
        labels: (nx, ny, nz), label ids.
        grain: (nx, ny, nz), noise of variance 1: the texture of spongy bone.
        lumps: (nx, ny, nz), coarser noise of variance 1: the irregular outlines.
        grid: where the nodes lie, static.
    """

    hu: Nodes
    labels: UInt8[Array, "nx ny nz"]
    grain: Nodes
    lumps: Nodes
    grid: Grid = field(metadata={"static": True})

    @classmethod
    def empty(cls, grid: Grid, grain: Nodes, lumps: Nodes) -> Canvas:
        """Air everywhere: -1000 HU, label 0."""
        hu = jnp.full(grid.shape, -1000.0, jnp.float32)
        return cls(hu, jnp.zeros(grid.shape, jnp.uint8), grain, lumps, grid)

    def filled(self, distance: Nodes, hu: ArrayLike, label: int) -> Canvas:
        """A region painted over the whole grid.

        Args:
            distance: (nx, ny, nz), mm, negative inside.
            hu: one value or one a node.
            label: id inside.
        """
        share = occupancy(distance, self.grid.voxel)
        labels = jnp.where(distance < 0, jnp.uint8(label), self.labels)
        mixed = self.hu + share * (jnp.asarray(hu) - self.hu)
        return replace(self, hu=mixed, labels=labels)

    def painted(self, groups: Sequence[Solids]) -> Canvas:
        """Solids painted one after another, each in a block of the grid around it.

        One loop serves all groups, in blocks as large as the largest solid needs:
        group solids of similar size.
        """
        layout = _Layout.of(groups, self.grid)
        corners = jnp.concatenate(
            [g.vertices[:, g.skeleton.faces].reshape(-1, 3, 4) for g in groups]
        )
        plates, middles = Plates.create(corners), _middle(corners)
        boxes = jnp.concatenate([_middle(g.vertices) for g in groups])
        rows = [
            jnp.concatenate([getattr(g, name) for g in groups])
            for name in (
                "labels",
                "shell",
                "compact",
                "spongy",
                "texture",
                "lumps",
                "socket",
            )
        ]
        first, last = jnp.asarray(layout.first), jnp.asarray(layout.last)

        def paint(k: Index, canvas: Canvas) -> Canvas:
            start = canvas.grid.block_start(boxes[k], layout.block)
            total = _summed(
                canvas.grid, layout, plates, middles, start, first[k], last[k]
            )
            block = Block(start, -BLEND * jnp.log(total))
            return canvas._blended(block, *(row[k] for row in rows))

        return lax.fori_loop(0, len(layout.first), paint, self)

    def _blended(
        self,
        block: Block,
        label: UInt8[Array, ""],
        shell: Float[Array, ""],
        compact: Float[Array, ""],
        spongy: Float[Array, ""],
        texture: Float[Array, ""],
        lumps: Float[Array, ""],
        socket: Float[Array, "4"],
    ) -> Canvas:
        width = self.grid.voxel
        nx, ny, nz = block.values.shape
        axes = self.grid.axes(block.start, (nx, ny, nz))
        distance = block.values + lumps * block.cut(self.lumps)
        distance = jnp.maximum(distance, socket[3] - _away(axes, socket))
        core = spongy + texture * block.cut(self.grain)
        hu = jnp.where(
            shell > 0,
            compact + occupancy(distance + shell, width) * (core - compact),
            core,
        )
        before, ids = block.cut(self.hu), block.cut(self.labels)
        hu = before + occupancy(distance, width) * (hu - before)
        ids = jnp.where(distance < 0, label, ids)
        return replace(
            self, hu=block.pasted(self.hu, hu), labels=block.pasted(self.labels, ids)
        )


@dataclass(frozen=True)
class _Layout:
    """Sizes known before the program runs.

    Attributes:
        block: nodes of the block around a solid.
        part: nodes of the block around one of its parts.
        first: of each solid, the index of its first part among all.
        last: of each solid, one past the index of its last part.
    """

    block: Shape3
    part: Shape3
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[Solids], grid: Grid) -> _Layout:
        margin = 2 * (_REACH + grid.voxel)
        extent = np.max([g.skeleton.extent for g in groups], axis=0)
        part_extent = max(g.skeleton.part_extent for g in groups)
        block = grid.block_shape(extent * _ROOM + margin)
        size = np.minimum(part_extent * _PART_ROOM, extent * _ROOM)
        part = grid.block_shape(size + margin)
        counts = [[len(g.skeleton.faces)] * len(g.vertices) for g in groups]
        last = np.cumsum(np.concatenate(counts))
        return cls(block, part, np.concatenate([[0], last[:-1]]), last)


def _summed(
    grid: Grid,
    layout: _Layout,
    plates: Plates,
    middles: Float[Array, "m 3"],
    start: Int[Array, "3"],
    first: Index,
    last: Index,
) -> Nodes:
    """Sum of exp(-distance / BLEND) over a solid's parts, at its block's nodes."""
    room = jnp.asarray(layout.block) - jnp.asarray(layout.part)

    def add(i: Index, total: Nodes) -> Nodes:
        plate = jax.tree.map(lambda leaf: leaf[i], plates)
        inner = jnp.clip(grid.block_start(middles[i], layout.part) - start, 0, room)
        distance = plate.distance(grid.axes(start + inner, layout.part))
        # e^80 is near the end of float32: 96 mm inside.
        here = Block(inner, jnp.exp(jnp.minimum(-distance / BLEND, 80.0)))
        return here.pasted(total, here.cut(total) + here.values)

    # Where no part reaches, 1e-20 makes the distance 55 mm.
    return lax.fori_loop(first, last, add, jnp.full(layout.block, 1e-20, jnp.float32))


def _middle(vertices: Float[Array, "k n 4"]) -> Float[Array, "k 3"]:
    """Middles of the boxes around groups of balls."""
    points, radii = vertices[..., :3], vertices[..., 3:]
    low, high = jnp.min(points - radii, axis=1), jnp.max(points + radii, axis=1)
    return (low + high) / 2


def _away(axes: Axes, point: Float[Array, "4"]) -> Nodes:
    return jnp.sqrt(sum((axes[i] - point[i]) ** 2 for i in range(3)))
