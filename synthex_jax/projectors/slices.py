r"""The sum over slices behind Joseph's projector, and its derivatives.

With the principal axis a and the others b and c, the ray of a pixel crosses slice k
at $y_k = y_0 + (k - k_0) m_b$, $x_k = x_0 + (k - k_0) m_c$, and

$$ I = \ell \sum_k w_k V_k(y_k, x_k), $$

with $V_k$ the bilinear interpolant of the slice, zero beyond its edge; $\ell$ the
length in mm of the ray between two slices; and $w_k \in [0, 1]$ the share of the slab
$[k - 1/2, k + 1/2]$ that lies between source and detector.

The derivative with respect to everything geometric follows from four moment images,

$$ dI_0 = S_b\,dy_0 + T_b\,dm_b + S_c\,dx_0 + T_c\,dm_c, \quad
   S_b = \sum_k w_k \partial_y V_k, \quad T_b = \sum_k (k - k_0) w_k \partial_y V_k, $$

(and two samples for the ends of the ray), which are summed in the same pass from the
same four loads. Pose, intrinsics and affine enter before the sum, in algebra over
(rows, cols) that JAX differentiates: one pass serves a gradient, a directional
derivative or all columns of a Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Never

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from synthex_jax.nouns import noun
from synthex_jax.projectors.axes import along_axis, linearly_along_axis, other_axes
from synthex_jax.typing import Voxels

# Slices get a border of zeros; two voxels, so that a sample clamped to the rim of the
# border is zero and so is its slope.
_BORDER = 2


PerRay = Float[Array, "rows *one cols"]


@noun
@dataclass(frozen=True)
class Lines:
    """Rays as lines over the slice number k, which counts from the middle slice.

    Arrays are (rows, cols), and (rows, 1, cols) for a volume with channels.

    Attributes:
        y0, x0: where the ray meets the middle slice, voxels along b and c.
        my, mx: voxels along b and c a slice.
        low, high: slice numbers of the ray's two ends, low <= high.
        traced_axis: the principal axis where it is not known before the call.
        static_axis: the principal axis where it is.
        prefilter: whether slices are sharpened before they are sampled.
    """

    y0: PerRay
    my: PerRay
    x0: PerRay
    mx: PerRay
    low: PerRay
    high: PerRay
    traced_axis: Int[Array, ""] | None
    static_axis: int | None = field(metadata={"static": True})
    prefilter: bool = field(metadata={"static": True})


Sum = Float[Array, "rows *channels cols"]
"""Channels go in the middle: XLA shares work among threads by rows, and vectorizes
along columns."""


@jax.custom_jvp
def sum_over_slices(data: Voxels, lines: Lines) -> Sum:
    """Weighted sum of one bilinear sample a slice."""
    return along_axis(_sum, data, lines)


def _sum_over_slices_jvp(primals: tuple, tangents: tuple) -> tuple[Sum, Sum]:
    (data, lines), (data_dot, lines_dot) = primals, tangents
    moving = [
        name
        for name in ("y0", "my", "x0", "mx", "low", "high")
        if not isinstance(getattr(lines_dot, name), SymbolicZero)
    ]
    if moving:
        total, moments = _moments_once(data, lines)
        total_dot = sum(moments[name] * getattr(lines_dot, name) for name in moving)
    else:
        total, total_dot = sum_over_slices(data, lines), 0.0
    if not isinstance(data_dot, SymbolicZero):
        total_dot = total_dot + linearly_along_axis(_linear_sum, data_dot, lines)
    return total, jnp.broadcast_to(total_dot, total.shape).astype(total.dtype)


sum_over_slices.defjvp(_sum_over_slices_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _moments_once(data: Voxels, lines: Lines) -> tuple[Sum, dict[str, Sum]]:
    """The sum and its derivatives with respect to each field of the lines."""
    return along_axis(_moments, data, lines)


@_moments_once.defjvp
def _refuse_second_derivative(primals: object, tangents: object) -> Never:
    raise NotImplementedError(
        "second derivatives of Joseph's projector with respect to pose, intrinsics or "
        "affine do not exist: its slope is piecewise constant along a ray. Use the "
        "Gauss-Newton product J.T @ J of jax.jacfwd, or differences of the gradient"
    )


class _Sample(NamedTuple):
    weight: PerRay
    value: Sum
    slope_y: Sum
    slope_x: Sum


@partial(jax.jit, static_argnums=0)
def _sum(axis: int, data: Voxels, lines: Lines) -> Sum:
    def add(total: Sum, k: Int[Array, ""]) -> tuple[Sum, None]:
        sample = _sample_slice(axis, data.shape, _slice(axis, data, lines, k), lines, k)
        return total + sample.weight * sample.value, None

    return lax.scan(add, _zeros(data, lines), jnp.arange(data.shape[axis]))[0]


@partial(jax.jit, static_argnums=0)
def _moments(axis: int, data: Voxels, lines: Lines) -> tuple[Sum, dict[str, Sum]]:
    """The sum and its derivatives, view by view under ``vmap``.

    Five images are added to at every slice. Those of one view fit a processor's cache;
    of many views side by side they do not, and each view takes half as long again.
    """
    single = jax.custom_batching.sequential_vmap(partial(_moments_of_view, axis))
    return single(data, lines)


def _moments_of_view(
    axis: int, data: Voxels, lines: Lines
) -> tuple[Sum, dict[str, Sum]]:
    middle = (data.shape[axis] - 1) / 2

    def add(totals: tuple, k: Int[Array, ""]) -> tuple[tuple, None]:
        sample = _sample_slice(axis, data.shape, _slice(axis, data, lines, k), lines, k)
        along = k.astype(lines.y0.dtype) - middle
        dy, dx = sample.weight * sample.slope_y, sample.weight * sample.slope_x
        terms = (sample.weight * sample.value, dy, along * dy, dx, along * dx)
        return tuple(t + term for t, term in zip(totals, terms, strict=True)), None

    zeros = (_zeros(data, lines),) * 5
    total, y0, my, x0, mx = lax.scan(add, zeros, jnp.arange(data.shape[axis]))[0]
    low, high = (_value_at_end(axis, data, lines, e) for e in (lines.low, lines.high))
    return total, {"y0": y0, "my": my, "x0": x0, "mx": mx, "low": -low, "high": high}


@partial(jax.jit, static_argnums=0)
def _linear_sum(axis: int, data: Voxels, lines: Lines) -> Sum:
    """The sum in the form whose transpose JAX derives well.

    Slices are scanned over, not indexed: the transpose then writes each slice of the
    gradient once. Cells are computed again on the way back instead of being kept.
    """

    @jax.checkpoint
    def add(total: Sum, step: tuple) -> tuple[Sum, None]:
        k, plane = step
        sample = _sample_slice(
            axis, data.shape, _prepared(plane, lines.prefilter), lines, k
        )
        return total + sample.weight * sample.value, None

    planes = jnp.moveaxis(data, axis, 0).astype(_dtype(data, lines))
    return lax.scan(add, _zeros(data, lines), (jnp.arange(len(planes)), planes))[0]


def _dtype(data: Voxels, lines: Lines) -> jnp.dtype:
    if jnp.issubdtype(data.dtype, jnp.floating):
        return jnp.promote_types(data.dtype, lines.y0.dtype)
    return lines.y0.dtype


def _zeros(data: Voxels, lines: Lines) -> Sum:
    rows, cols = lines.y0.shape[0], lines.y0.shape[-1]
    return jnp.zeros((rows, *data.shape[3:], cols), _dtype(data, lines))


def _slice(
    axis: int, data: Voxels, lines: Lines, k: Int[Array, ""]
) -> Float[Array, "flat"]:
    plane = lax.dynamic_index_in_dim(data, k, axis, keepdims=False)
    plane = plane.astype(_dtype(data, lines))
    # Copying the slice out first streams it from memory; gathering from the volume
    # would wait for each cache line. The barrier keeps XLA from fusing the two.
    return lax.optimization_barrier(_prepared(plane, lines.prefilter))


def _prepared(
    plane: Float[Array, "nb nc *channels"], prefilter: bool
) -> Float[Array, "flat"]:
    """Channels first, sharpened if wanted, with a border of zeros, flat."""
    if plane.ndim == 3:
        plane = jnp.moveaxis(plane, -1, 0)
    if prefilter:
        plane = _sharpened(_sharpened(plane, -1), -2)
    border = [(0, 0)] * (plane.ndim - 2) + [(_BORDER, _BORDER)] * 2
    return jnp.pad(plane, border).reshape(-1)


def _sharpened(
    plane: Float[Array, "*channels nb nc"], axis: int
) -> Float[Array, "*channels nb nc"]:
    """Less 1/12 of the second difference along one axis, edges repeated.

    Linear interpolation at a share t of the cell adds t (1 - t) / 2 of the second
    derivative, 1/12 on average. Nothing is taken off along the principal axis: there
    the samples are summed, not interpolated.
    """
    plane = jnp.moveaxis(plane, axis, 0)
    before = jnp.concatenate([plane[:1], plane[:-1]])
    after = jnp.concatenate([plane[1:], plane[-1:]])
    return jnp.moveaxis(plane - (before + after - 2 * plane) / 12, 0, axis)


def _sample_slice(
    axis: int,
    shape: tuple[int, ...],
    plane: Float[Array, "flat"],
    lines: Lines,
    k: Int[Array, ""],
) -> _Sample:
    """Bilinear sample of slice k at every ray, with its slopes along b and c."""
    nb, nc = (shape[other] for other in other_axes(axis))
    stride = nc + 2 * _BORDER
    along = k.astype(lines.y0.dtype) - (shape[axis] - 1) / 2
    row, y = _cell(lines.y0 + along * lines.my, nb)
    col, x = _cell(lines.x0 + along * lines.mx, nc)
    first = row * stride + col
    if len(shape) == 4:
        first = first + jnp.arange(shape[3])[:, None] * (plane.size // shape[3])
    corner = partial(_take, plane, first)
    v00, v01, v10, v11 = (corner(o) for o in (0, 1, stride, stride + 1))
    across_0, across_1 = v01 - v00, v11 - v10
    at_0, at_1 = v00 + x * across_0, v10 + x * across_1
    slope_y = at_1 - at_0
    slab = along - 0.5
    weight = jnp.clip(lines.high - slab, 0, 1) - jnp.clip(lines.low - slab, 0, 1)
    return _Sample(
        weight=weight,
        value=at_0 + y * slope_y,
        slope_y=slope_y,
        slope_x=across_0 + y * (across_1 - across_0),
    )


def _cell(position: PerRay, size: int) -> tuple[Int[Array, "rows *one cols"], PerRay]:
    """Cell of the bordered slice that a position lies in, and where within it."""
    last = size + 2 * _BORDER - 2
    inside = jnp.clip(position + _BORDER, 0, last)
    cell = jnp.floor(inside)
    return cell.astype(jnp.int32), inside - cell


def _take(
    plane: Float[Array, "flat"], first: Int[Array, "..."], offset: int
) -> Float[Array, "..."]:
    return plane.at[first + offset].get(mode="promise_in_bounds")


def _value_at_end(axis: int, data: Voxels, lines: Lines, end: PerRay) -> Sum:
    """The sample of the slice in whose slab the ray ends, zero outside the volume."""
    middle = (data.shape[axis] - 1) / 2
    k = jnp.floor(end + middle + 0.5)
    y = lines.y0 + (k - middle) * lines.my
    x = lines.x0 + (k - middle) * lines.mx
    total = jnp.zeros((), _dtype(data, lines))
    volume = jnp.moveaxis(data, axis, 0)
    for dy in (0, 1):
        for dx in (0, 1):
            row, col = jnp.floor(y) + dy, jnp.floor(x) + dx
            weight = (1 - jnp.abs(y - row)) * (1 - jnp.abs(x - col))
            inside = _within(k, volume.shape[0]) & _within(row, volume.shape[1])
            inside &= _within(col, volume.shape[2])
            index = tuple(
                jnp.where(inside, i, 0).astype(jnp.int32) for i in (k, row, col)
            )
            corner = volume[index]
            if data.ndim == 4:
                corner = jnp.moveaxis(corner[:, 0], -1, 1)
            total = total + jnp.where(inside, weight, 0) * corner
    return total


def _within(index: PerRay, size: int) -> Bool[Array, "rows *one cols"]:
    return (index >= 0) & (index < size)
