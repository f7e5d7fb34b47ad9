"""Crossings of a closed mesh with the rays of an image, found along its rows.

The rays of one row of pixels lie in a plane. It cuts edges of the mesh in nodes and
faces in segments from node to node, which form closed polygons; a ray crosses the
segments whose nodes lie on either side of it. On which side a node lies is decided once
for both segments that share it, as is on which side of a plane a vertex lies for all
its edges: a ray enters as often as it leaves, however anything is rounded and wherever
it meets an edge or a vertex.

Vertices come in homogeneous coordinates, (column, row, 1) times depth, in which rays,
planes and segments are straight on both sides of the source.

With the crossings of a ray at depths z, the depth that it spends inside the mesh before
it reaches d is the sum of s min(z, d), with s = 1 where it leaves and -1 where it
enters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Never

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from synthex_jax.numerics import at_least, at_most, away_from_zero, between
from synthex_jax.typing import Image, Shape2

Vertices = Float[Array, "v 3"]
Faces = Int[Array, "f 3"]
Depths = Float[Array, "rows cols n"]
Nodes = Float[Array, "cuts up_down=2 column_depth=2"]

# Cuts and runs that are worked on at once: enough to share among threads, few enough
# to stay in a processor's cache.
_CHUNK = 4096
# Pixels of a run: few segments are longer.
_RUN = 8
# Pixels by which rows and columns are searched beyond a face's own, for what rounding
# does to coordinates of some thousands; the exact test follows.
_SLACK = 0.01
# Depth, mm, from which on a projection can be trusted.
_SHALLOW = 1e-3
# Mm of depth by which a crossing is told from the next one, in a derivative.
_NEXT = 1e-2


@jax.custom_jvp
def depth_inside(vertices: Vertices, faces: Faces, depths: Depths) -> Depths:
    """How much depth each ray spends inside the mesh before it reaches given depths.

    Differentiable in the vertices and the depths.

    Args:
        vertices: (v, 3), homogeneous.
        faces: (f, 3), counterclockwise from outside, closed.
        depths: (rows, cols, n), mm from the source, not negative.

    Returns:
        (rows, cols, n), mm of depth.
    """
    return _sums(vertices, faces, depths)


@depth_inside.defjvp
def _depth_inside_jvp(primals: tuple, tangents: tuple) -> tuple[Depths, Depths]:
    vertices, faces, depths = primals
    vertices_dot, _, depths_dot = tangents
    # The sum grows with a depth that lies inside the mesh.
    total, is_inside = jax.jvp(
        lambda d: _sums(vertices, faces, d), (depths,), (jnp.ones_like(depths),)
    )
    moved = _moved(vertices, faces, depths, vertices_dot)
    return total, is_inside * depths_dot + moved


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def depth_range(vertices: Vertices, faces: Faces, shape: Shape2) -> tuple[Image, Image]:
    """Depths of the first and the last crossing of each ray, both 0 where it misses.

    Differentiable in the vertices.

    Args:
        vertices: (v, 3), homogeneous.
        faces: (f, 3), counterclockwise from outside, closed.
        shape: (rows, cols).
    """
    canvas = _flat(jnp.zeros(shape, vertices.dtype))
    unseen = jnp.full_like(canvas, jnp.inf), canvas

    def visit(ends: tuple, cut: _Cut) -> tuple:
        return _over_runs(cut, cut.nodes(vertices), shape[1], _widened, ends)

    near, far = _over_cuts(vertices, faces, shape[0], visit, unseen)
    near = jnp.where(jnp.isfinite(near), near, 0.0)
    return _unflat(near, shape), _unflat(far, shape)


@depth_range.defjvp
def _depth_range_jvp(
    shape: Shape2, primals: tuple, tangents: tuple
) -> tuple[tuple[Image, Image], tuple[Image, Image]]:
    vertices, faces = primals
    near, far = depth_range(vertices, faces, shape)
    # Up to just behind the first crossing the sum moves with it alone; from just before
    # the last one on, with that.
    step = at_most((far - near) / 2, _NEXT)
    depths = jnp.stack([near + step, far - step, jnp.full_like(far, jnp.inf)], axis=-1)
    first, most, whole = jnp.moveaxis(
        _moved(vertices, faces, depths, tangents[0]), -1, 0
    )
    return (near, far), (-first, whole - most)


@jax.custom_jvp
def _once(values: Any) -> Any:
    """The values, for what can not be differentiated again."""
    return values


@_once.defjvp
def _refuse_second_derivative(primals: object, tangents: object) -> Never:
    raise NotImplementedError(
        "second derivatives of lengths in a mesh with respect to vertices, pose or "
        "camera are not implemented. Use the Gauss-Newton product J.T @ J of "
        "jax.jacfwd, or differences of the gradient"
    )


def _moved(
    vertices: Vertices, faces: Faces, depths: Depths, vertices_dot: Vertices
) -> Depths:
    """Change of the sums as the vertices move: linear, with a transpose of its own.

    JAX cannot transpose loops whose length it does not know. It is told how as the
    solution of a linear system, (v, x - J v) = (vertices_dot, 0), whose transpose
    gives J^T x.
    """
    vertices, depths = _once((vertices, depths))

    def push(_: Callable, right: tuple) -> tuple:
        v, x = right
        change = jax.jvp(lambda vs: _sums(vs, faces, depths), (vertices,), (v,))[1]
        return v, x + change

    def pull(_: Callable, right: tuple) -> tuple:
        v, x = right
        return v + _pulled(vertices, faces, depths, x), x

    # All of the right side must be linear in the tangent, zeros too.
    zeros = jnp.broadcast_to(0.0 * vertices_dot[0, 0], depths.shape)
    right = vertices_dot, zeros.astype(depths.dtype)
    return lax.custom_linear_solve(lambda x: x, right, push, pull)[1]


def _sums(vertices: Vertices, faces: Faces, depths: Depths) -> Depths:
    (rows, cols), depths = depths.shape[:2], _flat(depths)

    def visit(total: Array, cut: _Cut) -> Array:
        return _over_runs(cut, cut.nodes(vertices), cols, add, total)

    def add(total: Array, run: _Run) -> Array:
        terms = _terms(run.nodes, run.column, _windows(depths, run.start))
        return _scattered(lax.scatter_add, total, run.start, terms)

    total = _over_cuts(vertices, faces, rows, visit, jnp.zeros_like(depths))
    return _unflat(total, (rows, cols))


def _pulled(vertices: Vertices, faces: Faces, depths: Depths, bar: Depths) -> Vertices:
    """Cotangents of the sums taken back to the vertices."""
    (rows, cols), depths, bar = depths.shape[:2], _flat(depths), _flat(bar)

    def visit(vertices_bar: Vertices, cut: _Cut) -> Vertices:
        nodes, pull_nodes = jax.vjp(cut.nodes, vertices)
        nodes_bar = _over_runs(cut, nodes, cols, add, jnp.zeros_like(nodes))
        return vertices_bar + pull_nodes(nodes_bar)[0]

    def add(nodes_bar: Nodes, run: _Run) -> Nodes:
        window = _windows(depths, run.start)
        _, pull = jax.vjp(lambda nodes: _terms(nodes, run.column, window), run.nodes)
        return nodes_bar.at[run.owner].add(pull(_windows(bar, run.start))[0])

    return _over_cuts(vertices, faces, rows, visit, jnp.zeros_like(vertices))


def _widened(ends: tuple[Array, Array], run: _Run) -> tuple[Array, Array]:
    near, far = ends
    sign, depth = _crossings(run.nodes, run.column)
    depth = at_least(depth, 0.0)
    first, last = (jnp.where(sign == 0, miss, depth) for miss in (jnp.inf, 0.0))
    return (
        _scattered(lax.scatter_min, near, run.start, first),
        _scattered(lax.scatter_max, far, run.start, last),
    )


def _terms(
    nodes: Nodes, column: Int[Array, "runs"], depths: Float[Array, "runs _ n"]
) -> Float[Array, "runs _ n"]:
    """What each pixel of each run adds to the sums."""
    sign, depth = _crossings(nodes, column)
    # What lies behind the source is passed before the ray begins.
    depth = at_least(depth, 0.0)[..., None]
    return sign[..., None] * at_most(depth, depths)


def _crossings(
    nodes: Nodes, column: Int[Array, "runs"]
) -> tuple[Float[Array, "runs _"], Float[Array, "runs _"]]:
    """For runs of pixels: 1 where a ray leaves, -1 where it enters, else 0; depths."""
    columns = (column[:, None] + jnp.arange(_RUN)).astype(nodes.dtype)
    x, z = nodes[..., 0], nodes[..., 1]
    up, down = (x[:, i, None] - columns * z[:, i, None] for i in (0, 1))
    sign = (up >= 0).astype(nodes.dtype) - (down >= 0).astype(nodes.dtype)
    span = jnp.where(sign == 0, 1.0, down - up)
    return sign, (z[:, :1] * down - z[:, 1:] * up) / span


class _Cut(NamedTuple):
    """Faces where rows of pixels cut them.

    Attributes:
        corner: (cuts, 3), vertices of the face.
        row: (cuts,).
        is_there: (cuts,), false for the padding.
    """

    corner: Int[Array, "cuts 3"]
    row: Int[Array, "cuts"]
    is_there: Bool[Array, "cuts"]

    def nodes(self, vertices: Vertices) -> Nodes:
        """Column times depth, and depth, where the edge up and that down is cut.

        All zero where the row misses the face.
        """
        here = self.corner
        after = jnp.roll(here, -1, axis=1)
        # Counted from the same end for both faces of an edge: they must agree.
        low, high = (vertices[f(here, after)] for f in (jnp.minimum, jnp.maximum))
        below, above = (v[..., 1] - self.row[:, None] * v[..., 2] for v in (low, high))
        is_cut = (below >= 0) != (above >= 0)
        share = below / jnp.where(is_cut, below - above, 1.0)
        node = (low + share[..., None] * (high - low))[..., ::2]
        is_up = (above >= 0) == (here < after)
        return jnp.stack(
            [
                jnp.sum(jnp.where((is_cut & chosen)[..., None], node, 0.0), axis=1)
                for chosen in (is_up, ~is_up)
            ],
            axis=1,
        )


class _Run(NamedTuple):
    """Runs of pixels that cuts may cover.

    Attributes:
        owner: (runs,), which cut.
        nodes: (runs, 2, 2), of the cut.
        column: (runs,), the first one.
        start: (runs,), the first pixel in a flat image.
    """

    owner: Int[Array, "runs"]
    nodes: Nodes
    column: Int[Array, "runs"]
    start: Int[Array, "runs"]


def _over_cuts(
    vertices: Vertices, faces: Faces, rows: int, visit: Callable, carry: Any
) -> Any:
    """``visit(carry, cut)`` for all rows of all faces."""
    corners = vertices[faces]
    first, count = _covered(corners[..., 1], corners[..., 2], rows)

    def step(carry: Any, face: Array, index: Array, is_there: Array) -> Any:
        return visit(carry, _Cut(faces[face], first[face] + index, is_there))

    return _over(count, step, carry)


def _over_runs(cut: _Cut, nodes: Nodes, cols: int, visit: Callable, carry: Any) -> Any:
    """``visit(carry, run)`` for all pixels of all cuts."""
    first, count = _covered(nodes[..., 0], nodes[..., 1], cols)
    is_cut = cut.is_there & jnp.any(nodes != 0, axis=(1, 2))
    count = jnp.where(is_cut, -(-count // _RUN), 0)

    def step(carry: Any, owner: Array, index: Array, is_there: Array) -> Any:
        column = jnp.where(is_there, first[owner] + _RUN * index, 0)
        start = jnp.where(is_there, cut.row[owner] * (cols + _RUN) + column, 0)
        own = jnp.where(is_there[:, None, None], nodes[owner], 0.0)
        return visit(carry, _Run(owner, own, column, start))

    return _over(count, step, carry)


def _over(counts: Int[Array, "owners"], step: Callable, carry: Any) -> Any:
    """``step(carry, owner, index, is_there)`` for chunks of ``counts`` items each."""
    ends = jnp.cumsum(counts)
    starts = ends - counts

    def chunk(state: tuple) -> tuple:
        begin, carry = state
        item = begin + jnp.arange(_CHUNK, dtype=ends.dtype)
        owner = jnp.searchsorted(ends, item, side="right")
        owner = jnp.minimum(owner, len(counts) - 1)
        carry = step(carry, owner, item - starts[owner], item < ends[-1])
        return begin + _CHUNK, carry

    begin = jnp.zeros((), ends.dtype)
    return lax.while_loop(lambda state: state[0] < ends[-1], chunk, (begin, carry))[1]


def _covered(
    position: Float[Array, "n k"], depth: Float[Array, "n k"], size: int
) -> tuple[Int[Array, "n"], Int[Array, "n"]]:
    """First of the pixels between points, and how many; all if one may be behind."""
    pixel = position / away_from_zero(depth, _SHALLOW)
    is_seen = jnp.all(depth > _SHALLOW, axis=1) | jnp.all(depth < -_SHALLOW, axis=1)
    low = jnp.where(is_seen, jnp.min(pixel, axis=1), -jnp.inf)
    high = jnp.where(is_seen, jnp.max(pixel, axis=1), jnp.inf)
    first = between(jnp.ceil(low - _SLACK), 0, size).astype(jnp.int32)
    last = between(jnp.floor(high + _SLACK), -1, size - 1).astype(jnp.int32)
    return first, jnp.maximum(last - first + 1, 0)


def _flat(image: Float[Array, "rows cols *n"]) -> Float[Array, "pixels *n"]:
    """Rows with room for a run behind them, one after the other."""
    padding = [(0, 0), (0, _RUN), *[(0, 0)] * (image.ndim - 2)]
    return jnp.pad(image, padding).reshape(-1, *image.shape[2:])


def _unflat(
    flat: Float[Array, "pixels *n"], shape: Shape2
) -> Float[Array, "rows cols *n"]:
    rows, cols = shape
    return flat.reshape(rows, cols + _RUN, *flat.shape[1:])[:, :cols]


def _windows(
    flat: Float[Array, "pixels *n"], start: Int[Array, "runs"]
) -> Float[Array, "runs _ *n"]:
    cut = partial(lax.dynamic_slice_in_dim, slice_size=_RUN)
    return jax.vmap(cut, in_axes=(None, 0))(flat, start)


def _scattered(
    scatter: Callable,
    flat: Float[Array, "pixels *n"],
    start: Int[Array, "runs"],
    windows: Float[Array, "runs _ *n"],
) -> Float[Array, "pixels *n"]:
    """Windows put into the flat image by ``lax.scatter_add``, ``_min`` or ``_max``."""
    dimensions = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(range(1, windows.ndim)),
        inserted_window_dims=(),
        scatter_dims_to_operand_dims=(0,),
    )
    return scatter(flat, start[:, None], windows, dimensions, mode="promise_in_bounds")
