"""Other grids for the same body: resampled, cropped, padded, turned.

Every function keeps the world in place: what lay at a point in mm still lies there.
The grids themselves (affines, spacings, indices) must be known values, since they set
array shapes; derivatives pass through the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Num

from synthex_jax.checks import require, require_positive
from synthex_jax.typing import ArrayLike, Matrix4, Scalar, Shape3, Voxels
from synthex_jax.volumes.volume import Volume

Width: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]

# Shells of tables are 1 to 3 mm thick, and vanish in blocks of this size; fingers do
# not.
_BLOCK_MM = 4.0
# Blocks to peel off from all sides to find what is thick: 2 on each side and one
# between make 20 mm. A wrist is thicker, the edge of a table is not.
_PEELED_BLOCKS = 2


def resampled(
    volume: Volume,
    *,
    spacing: ArrayLike | None = None,
    like: Volume | None = None,
    order: int = 1,
    outside: ArrayLike | None = None,
) -> Volume:
    """The volume sampled on another grid.

    Samples are taken at points: a grid more than about twice as coarse misses what
    lies between them.

    Args:
        volume: any affine, with or without channels.
        spacing: mm, one number or one an axis: the new grid has the old directions
            and center and covers the old voxels to within half a new one.
        like: instead, a volume whose grid is taken over, however it lies; its samples
            do not matter.
        order: 1 for linear interpolation, 0 for the nearest sample (label maps).
        outside: value beyond the outer faces of the outermost voxels; the volume's
            smallest sample by default: air in HU, nothing in 1/mm, background in
            labels.

    Returns:
        The same dtype for order 0 and for floats; integers become floats for order 1.

    Raises:
        ValueError: unless exactly one of ``spacing`` and ``like`` is given, for a
            spacing that is not positive, and for another order.
    """
    require(
        (spacing is None) != (like is None),
        "give either spacing (mm) or like (a volume), and not both",
    )
    require(order in (0, 1), f"order must be 0 (nearest) or 1 (linear), got {order}")
    old = np.asarray(volume.affine, dtype=np.float64)
    if like is not None:
        shape, new = like.shape, np.asarray(like.affine, dtype=np.float64)
    else:
        shape, new = _respaced(volume.shape, old, spacing)
    data = volume.data
    if order == 1 and not jnp.issubdtype(data.dtype, jnp.floating):
        data = data.astype(volume.affine.dtype)
    fill = jnp.min(data) if outside is None else jnp.asarray(outside, data.dtype)
    old_from_new = jnp.asarray(np.linalg.solve(old, new), dtype=float)
    sampled = _sampled(data, old_from_new, shape, order, fill)
    return Volume(sampled, jnp.asarray(new, dtype=volume.affine.dtype))


def cropped(volume: Volume, lower: Sequence[int], upper: Sequence[int]) -> Volume:
    """The box of voxels from ``lower`` up to, not including, ``upper``.

    Args:
        volume: with or without channels.
        lower: three voxel indices, x, y and z.
        upper: three voxel indices.

    Raises:
        ValueError: for a box that is empty or reaches out of the volume.
    """
    low, high = (tuple(int(i) for i in ends) for ends in (lower, upper))
    require(
        len(low) == len(high) == 3
        and all(
            0 <= a < b <= n for a, b, n in zip(low, high, volume.shape, strict=True)
        ),
        "lower and upper must be three voxel indices each with "
        f"0 <= lower < upper <= shape {volume.shape}, got {low} and {high}; padded "
        "makes a volume larger",
    )
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Volume(volume.data[box], _shifted(volume, low))


def padded(volume: Volume, width: Width, value: ArrayLike) -> Volume:
    """The volume with voxels of one value around it.

    Args:
        volume: with or without channels.
        width: voxels on every side; or three numbers, one an axis; or three pairs
            (before, after).
        value: of the new voxels: -1000 in HU, 0 in 1/mm and in labels.

    Raises:
        ValueError: for widths of another form, negative or broken.
    """
    pairs = _pairs(width)
    channels = ((0, 0),) * (volume.data.ndim - 3)
    data = jnp.pad(volume.data, (*pairs, *channels), constant_values=value)
    return Volume(data, _shifted(volume, [-before for before, _ in pairs]))


def cropped_to_body(
    volume: Volume, *, threshold: float = -300.0, margin_mm: float = 10.0
) -> Volume:
    """The volume without the air around the body, and without a table apart from it.

    The body is what lies above the threshold and hangs together with something
    thicker than about 2 cm, seen in blocks of about 4 mm: specks, noise, cables and
    the shells of a table do not count, unless they touch the body. Of a volume with
    nothing so thick, all above the threshold counts.

    Args:
        volume: HU, without channels.
        threshold: HU; -300 lies between fat (-100) and lung or foam (-700).
        margin_mm: kept around the body where the volume has it.

    Raises:
        ValueError: for a volume with channels, or with nothing above the threshold.
    """
    require(
        volume.data.ndim == 3,
        f"volume must have no channels, its data has shape {volume.data.shape}",
    )
    is_dense = np.asarray(volume.data > threshold)
    require(
        bool(is_dense.any()),
        f"volume must hold voxels above the threshold of {threshold:g}, its largest is "
        f"{float(volume.data.max()):g}; it must be in HU",
    )
    spacing = np.asarray(volume.spacing, dtype=np.float64)
    block = np.maximum(1, np.rint(_BLOCK_MM / spacing)).astype(int)
    is_body = _thick_parts(_in_blocks(is_dense, block))
    if not is_body.any():
        is_body, block = is_dense, np.ones(3, dtype=int)
    occupied = np.argwhere(is_body)
    margin = np.ceil(margin_mm / spacing).astype(int)
    lower = np.maximum(0, occupied.min(axis=0) * block - margin)
    upper = np.minimum(volume.shape, (occupied.max(axis=0) + 1) * block + margin)
    return cropped(volume, lower.tolist(), upper.tolist())


def flipped(volume: Volume, axis: int) -> Volume:
    """The same body with an array axis stored in the other direction."""
    last = [0, 0, 0]
    last[axis] = volume.shape[axis] - 1
    affine = _shifted(volume, last).at[:, axis].multiply(-1)
    return Volume(jnp.flip(volume.data, axis), affine)


def canonical(volume: Volume) -> Volume:
    """The same body with axes ordered and directed as near to RAS+ as they can be.

    Nothing is interpolated: axes are permuted and flipped. Afterwards x grows to the
    patient's right, y to the front and z to the head, up to the grid's own tilt.
    """
    directions = np.asarray(volume.affine, dtype=np.float64)[:3, :3]
    directions = directions / np.linalg.norm(directions, axis=0)
    axes: Shape3 = max(
        ((a, b, c) for a, b, c in permutations(range(3))),
        key=lambda axes: sum(abs(directions[w, a]) for w, a in enumerate(axes)),
    )
    turned = volume.permuted(axes)
    for world, axis in enumerate(axes):
        if directions[world, axis] < 0:
            turned = flipped(turned, world)
    return turned


def _respaced(
    shape: Shape3, affine: np.ndarray, spacing: ArrayLike | None
) -> tuple[Shape3, np.ndarray]:
    wanted = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
    require_positive("spacing", wanted, "mm")
    ratio = wanted / np.linalg.norm(affine[:3, :3], axis=0)
    old_shape = np.asarray(shape)
    nx, ny, nz = (max(1, int(n)) for n in np.rint(old_shape / ratio))
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] * ratio
    middle = affine[:3, :3] @ ((old_shape - 1) / 2) + affine[:3, 3]
    new[:3, 3] = middle - new[:3, :3] @ ((np.array([nx, ny, nz]) - 1) / 2)
    return (nx, ny, nz), new


@partial(jax.jit, static_argnames=("shape", "order"))
def _sampled(
    data: Voxels, old_from_new: Matrix4, shape: Shape3, order: int, fill: Array
) -> Num[Array, "new_x new_y new_z *channels"]:
    """Samples at every new voxel, one plane at a time to bound the memory.

    The origin of the sums is a corner of the new grid, near the volume, so float32
    places samples to about 1e-4 voxels.
    """
    ny, nz = shape[1:]
    j = jnp.arange(ny, dtype=old_from_new.dtype)[:, None]
    k = jnp.arange(nz, dtype=old_from_new.dtype)[None, :]

    def plane(i: Scalar) -> Num[Array, "..."]:
        # Sums, not a product of matrices, which accelerators round to ten bits.
        at = [m[0] * i + m[1] * j + m[2] * k + m[3] for m in old_from_new[:3]]
        return sampled(data, at, order, fill)

    return jax.lax.map(plane, jnp.arange(shape[0], dtype=old_from_new.dtype))


def sampled(
    data: Voxels, at: Sequence[Float[Array, "*points"]], order: int, fill: Array
) -> Num[Array, "..."]:
    """A volume's samples at voxel coordinates, of the volume's own dtype.

    Args:
        data: (nx, ny, nz), with or without channels.
        at: x, y and z, each of one shape.
        order: 1 for linear interpolation, 0 for the nearest sample.
        fill: beyond the outer faces of the outermost voxels.
    """
    inside = jnp.ones(at[0].shape, dtype=bool)
    for coordinate, size in zip(at, data.shape, strict=False):
        inside &= (coordinate >= -0.5) & (coordinate <= size - 0.5)
    sample = partial(map_coordinates, coordinates=list(at), order=order, mode="nearest")
    if data.ndim == 4:
        values = jax.vmap(sample, in_axes=-1, out_axes=-1)(data)
        inside = inside[..., None]
    else:
        values = sample(data)
    return jnp.where(inside, values, fill).astype(data.dtype)


def _in_blocks(mask: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Whether at least half of each block is set; edges are repeated to fill blocks."""
    spare = -np.asarray(mask.shape) % block
    whole = np.pad(mask, [(0, int(n)) for n in spare], mode="edge")
    nx, ny, nz = np.asarray(whole.shape) // block
    split = whole.reshape(nx, block[0], ny, block[1], nz, block[2])
    return split.mean(axis=(1, 3, 5), dtype=np.float32) >= 0.5


def _thick_parts(mask: np.ndarray) -> np.ndarray:
    """The connected parts of which something is left when peeled."""
    kept = mask
    for _ in range(_PEELED_BLOCKS):
        kept = kept & _peeled(kept)
    size = -1
    while kept.sum() > size:
        size = kept.sum()
        for axis in range(3):
            kept = _along_runs(kept, mask, axis)
    return kept


def _peeled(mask: np.ndarray) -> np.ndarray:
    """Set where all six neighbors are; the body goes on beyond the volume's faces."""
    peeled = np.ones_like(mask)
    padded = np.pad(mask, 1, mode="edge")
    core = (slice(1, -1),) * 3
    for axis in range(3):
        for shift in (-1, 1):
            peeled &= np.roll(padded, shift, axis)[core]
    return peeled


def _along_runs(seeds: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """Every run of set voxels along an axis that holds a seed, whole."""
    grown = seeds
    for step in (1, -1):
        s, m = (np.flip(a, axis) if step < 0 else a for a in (grown, mask))
        index = np.arange(1, s.shape[axis] + 1, dtype=np.int32)
        index = index.reshape([-1 if a == axis else 1 for a in range(3)])
        last_seed = np.maximum.accumulate(np.where(s, index, 0), axis)
        last_gap = np.maximum.accumulate(np.where(m, 0, index), axis)
        reached = last_seed > last_gap
        grown = np.flip(reached, axis) if step < 0 else reached
    return grown


def _shifted(volume: Volume, voxels: Sequence[int]) -> Matrix4:
    """The affine with its origin moved to another voxel."""
    affine = volume.affine
    steps = sum(affine[:3, a] * n for a, n in enumerate(voxels))
    return affine.at[:3, 3].add(steps)


def _pairs(width: Width) -> tuple[tuple[int, int], ...]:
    widths = np.asarray(width)
    require(
        widths.shape in ((), (3,), (3, 2))
        and np.issubdtype(widths.dtype, np.integer)
        and bool((widths >= 0).all()),
        "width must be a whole number of voxels, three of them, or three pairs "
        f"(before, after), none negative, got {width}; cropped makes a volume smaller",
    )
    if widths.ndim < 2:
        widths = np.broadcast_to(widths, (3,))[:, None].repeat(2, axis=1)
    return tuple((int(before), int(after)) for before, after in widths)
