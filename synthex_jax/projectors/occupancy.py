"""Occupancy: which structures the rays meet, and which first.

Each ray looks at one place of every slice along the principal axis, as Joseph's
projector does. A structure is met there if the bilinear interpolant of its indicator
is at least 1/2, so that outlines follow level lines and not the faces of voxels.

All structures are decided on at once, by logic on bits. With the place in the quarter
of a cell that is nearest to corner N, and the other corners A, B and C, the bilinear
weight of N and any one other corner is at least 1/2 (their sums are 1 - y, 1 - x, and
1 - x - y + 2 x y with x, y <= 1/2), and hence that of the other two at most 1/2. So a
structure is met if N is of it, in case N's weight is 1/2 or more, and else if N and
another corner are, or all three others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Integer, UInt, UInt32

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.projectors.axes import along_axis, other_axes
from synthex_jax.projectors.joseph import lines_along
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.projectors.slices import Lines
from synthex_jax.typing import Image
from synthex_jax.volumes.volume import Volume

Flags = UInt[Array, "rows cols"]
Groups = tuple[tuple[int, ...], ...]


@noun
@dataclass(frozen=True)
class Hits:
    """What the rays of a view meet: images of flags, bit s for structure s.

    Attributes:
        flags: (rows, cols), all structures that a ray meets.
        first: (rows, cols), the same, but of each group only what is met first from
            the source.
    """

    flags: Flags
    first: Flags


def hits(
    flags: Volume, camera: Camera, *, groups: Sequence[Sequence[int]] = ()
) -> Hits:
    """The structures that the ray of each pixel meets between source and detector.

    Not differentiable: derivatives are zero. A structure that reaches the outermost
    voxels ends at their faces within slices, and along the principal axis, as any
    structure, at the middle of its last slice. Outlines of labels cut from a smooth
    body lie about 1/4 voxel outside of it: the outermost of the slices' jagged ones
    counts. Memory beside the flags is 4 bytes a voxel for every 8 structures.

    Args:
        flags: (nx, ny, nz) of uint8, uint16 or uint32: bit s where structure s is.
        camera: one view; ``jax.vmap`` over cameras for a batch.
        groups: static; numbers of structures of which only the nearest counts for
            ``first``. Two members of a group that share voxels may both be first.

    Returns:
        Images of the type of ``flags``.

    Raises:
        ValueError: for flags of another type or with channels; for groups of numbers
            that are no bits of the flags, or that share one.
    """
    _require_flags(flags)
    wanted = _checked_groups(groups, flags.data.dtype.itemsize * 8)
    affine, camera = lax.stop_gradient((flags.affine, camera))
    flags = Volume(flags.data, affine)
    axis = principal_axis(flags, camera)
    if isinstance(axis, int):
        return _hits_along(axis, wanted, flags, camera)
    lines = jax.jit(_directed_lines)(axis, flags, camera)
    return along_axis(partial(_first_and_all, wanted), flags.data, lines)


@partial(jax.jit, static_argnums=(0, 1))
def _hits_along(axis: int, groups: Groups, flags: Volume, camera: Camera) -> Hits:
    lines = _directed_lines(axis, flags, camera)
    return _first_and_all(groups, axis, flags.data, lines)


@noun
@dataclass(frozen=True)
class _DirectedLines(Lines):
    """Lines that know their direction.

    Attributes:
        forward: whether slice numbers grow from source to detector.
    """

    forward: Bool[Array, ""]


def _directed_lines(
    axis: int | Integer[Array, ""], flags: Volume, camera: Camera
) -> _DirectedLines:
    """Joseph's lines, and the direction that they share along the principal axis."""
    lines, _ = lines_along(axis, flags, camera, False)
    rows, cols = camera.shape
    middle = jnp.array([(rows - 1) / 2, (cols - 1) / 2], camera.pitch.dtype)
    toward = camera.back_project(middle) - camera.source
    along = product(flags.voxel_from_world[:3, :3], toward)[axis]
    return _DirectedLines(**vars(lines), forward=along > 0)


@partial(jax.jit, static_argnums=(0, 1))
def _first_and_all(
    groups: Groups,
    axis: int,
    data: UInt[Array, "nx ny nz"],
    lines: _DirectedLines,
) -> Hits:
    """A scan over the slices from source to detector.

    Eight structures make a lane: one word of memory a cell, and one a ray, which holds
    what was met in its lowest byte and what was met first in the next. One image a
    lane, since XLA would look at the voxels again for each image that it carries.
    """
    count, lanes = data.shape[axis], range(data.dtype.itemsize)
    sizes = [data.shape[other] for other in other_axes(axis)]
    words = [_words(axis, data >> 8 * lane) for lane in lanes]
    bits = [sum(1 << member for member in group) for group in groups]

    def meet(met: tuple, step: Integer[Array, ""]) -> tuple[tuple, None]:
        k = jnp.where(lines.forward, step, count - 1 - step)
        along = k.astype(lines.y0.dtype) - (count - 1) / 2
        row, y = _cell(lines.y0 + along * lines.my, sizes[0])
        col, x = _cell(lines.x0 + along * lines.mx, sizes[1])
        index = row * (sizes[1] + 2) + col
        on_ray = (along >= lines.low) & (along <= lines.high)
        passed = [
            sum((met[lane] & (_lane(b, lane) << 8) for lane in lanes), _ZERO) != 0
            for b in bits
        ]
        after = []
        for lane in lanes:
            plane = lax.dynamic_index_in_dim(words[lane], k, keepdims=False)
            word = plane.at[index].get(mode="promise_in_bounds")
            found = jnp.where(on_ray, _majority(word, y, x), _ZERO)
            hidden = _ZERO
            for b, is_passed in zip(bits, passed, strict=True):
                hidden |= jnp.where(is_passed, _lane(b, lane), _ZERO)
            after.append(met[lane] | found | (found & ~hidden) << 8)
        return tuple(after), None

    nothing = (jnp.zeros(lines.y0.shape, jnp.uint32),) * len(lanes)
    met, _ = lax.scan(meet, nothing, jnp.arange(count))
    return Hits(_joined(met, 0, data.dtype), _joined(met, 8, data.dtype))


_ZERO = np.uint32(0)


def _lane(bits: int, lane: int) -> np.uint32:
    """The byte of a lane."""
    return np.uint32(bits >> 8 * lane & 0xFF)


def _joined(met: tuple, shift: int, dtype: jnp.dtype) -> Flags:
    """One byte of each lane's words, side by side."""
    lanes = [(m >> shift & 0xFF).astype(dtype) << 8 * i for i, m in enumerate(met)]
    return reduce(jnp.bitwise_or, lanes)


def _words(axis: int, data: UInt[Array, "nx ny nz"]) -> UInt32[Array, "slices cells"]:
    """The lowest bytes of each cell's four corners in one word, for one gather a ray.

    Cells begin one voxel before the slice and end one behind, for places beyond it.
    """
    border = [(1, 2)] * 3
    border[axis] = (0, 0)
    plane = jnp.moveaxis(jnp.pad(data, border), axis, 0).astype(jnp.uint32) & 0xFF
    word = (
        plane[:, :-1, :-1]
        | plane[:, :-1, 1:] << 8
        | plane[:, 1:, :-1] << 16
        | plane[:, 1:, 1:] << 24
    )
    return word.reshape(len(word), -1)


def _cell(position: Image, size: int) -> tuple[Integer[Array, "rows cols"], Image]:
    """Cell that a position lies in, and where within it."""
    inside = jnp.clip(position + 1, 0, size + 1)
    cell = jnp.floor(inside)
    return cell.astype(jnp.int32), inside - cell


def _majority(
    word: UInt32[Array, "rows cols"], y: Image, x: Image
) -> UInt32[Array, "rows cols"]:
    """The structures whose corners have at least half of the bilinear weight."""
    other_row = word >> 16
    either, both = word | other_row, word & other_row
    at_least_2 = both | both >> 8 | either & either >> 8
    at_least_3 = both & either >> 8 | both >> 8 & either
    nearest = word >> (jnp.where(x >= 0.5, 8, 0) + jnp.where(y >= 0.5, 16, 0)).astype(
        jnp.uint32
    )
    weight = (0.5 + jnp.abs(x - 0.5)) * (0.5 + jnp.abs(y - 0.5))
    return jnp.where(weight >= 0.5, nearest, nearest & at_least_2 | at_least_3) & 0xFF


def _require_flags(flags: Volume) -> None:
    require(
        flags.data.ndim == 3
        and flags.data.dtype in (jnp.uint8, jnp.uint16, jnp.uint32),
        "flags must be (nx, ny, nz) of uint8, uint16 or uint32, a bit a structure, got "
        f"{flags.data.dtype} of shape {flags.data.shape}; "
        "annotations.structures.flags makes them from labels",
    )


def _checked_groups(groups: Sequence[Sequence[int]], bits: int) -> Groups:
    """As tuples, without those of one member, which hide nothing."""
    found = tuple(tuple(int(member) for member in group) for group in groups)
    members = [member for group in found for member in group]
    require(
        all(0 <= member < bits for member in members)
        and len(set(members)) == len(members),
        f"groups must hold numbers of structures from 0 to {bits - 1}, each in one "
        f"group, got {found}",
    )
    return tuple(group for group in found if len(group) > 1)
