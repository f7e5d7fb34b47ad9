"""The lungs of a chest CT, found by their air."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from synthex_jax.checks import require
from synthex_jax.volumes.calibration import require_hounsfield
from synthex_jax.volumes.volume import Volume

LEFT_LUNG, RIGHT_LUNG = 10, 12
"""Labels of the lungs: those that TotalSegmentator (version 2, task "total") gives
their upper lobes."""

# HU: halfway between tissue (50) and lung (-850), where Hu et al., "Automatic lung
# segmentation" (IEEE Transactions on Medical Imaging 20, 2001) put their threshold.
_AIR_BELOW = -400.0
# Cores are where a Gaussian of 10 mm sees mostly air: in lungs in spite of their
# vessels, but not in a trachea; one 25 mm wide, the most in men (Breatnach et al., AJR
# 142, 1984), fills 0.54 of it. Higher shares part lungs that touch.
_WIDTH = 10.0
_SHARES = (0.7, 0.8, 0.9)
# Mm^3 and share of the larger one: the cores of lungs have more, bowel gas has not.
_LEAST_CORE, _LEAST_SHARE = 1e5, 0.1
# Mm from a core within which air is the lung's, whatever else it joins: a lobar
# bronchus, but not a main bronchus (20 mm on the right, 50 mm on the left).
_REACH = 12.0
# Mm: vessels twice as thick are filled, as in segmentations by hand.
_CLOSING = 4.0

Mask = Bool[np.ndarray, "nx ny nz"]
Parts = Int[np.ndarray, "nx ny nz"]
Spacing = Float[np.ndarray, "3"]


def lungs(ct: Volume) -> Volume:
    """Left and right lung of a chest CT, without the trachea and the main bronchi.

    Air that does not reach the sides of its slice is inside of the body. Where most of
    it is lie the cores of the lungs, and what hangs together with one is its lung's:
    all but the airways, which, away from the cores, join both lungs or reach higher
    than all else. Vessels are filled in.

    Consolidations at the chest wall are missed, having no air. Runs on the host, in
    seconds for a chest in voxels of 1.5 mm.

    Args:
        ct: HU, without channels, however it lies.

    Returns:
        uint8 on the same grid: ``LEFT_LUNG`` (10), ``RIGHT_LUNG`` (12), elsewhere 0.

    Raises:
        ValueError: for a volume with channels, one that is not in HU, and one in which
            there are no two lungs.
    """
    require(
        ct.data.ndim == 3,
        f"ct must have no channels, its data has shape {ct.data.shape}",
    )
    require_hounsfield(ct.data)
    affine = np.asarray(ct.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    upright = int(np.argmax(np.abs(affine[2, :3]) / spacing))
    inner = _inner_air(np.asarray(ct.data) < _AIR_BELOW, upright)
    box = _box(inner)
    cores = _cores(inner[box], spacing)
    air = _joined(inner[box], cores > 0)
    parts = np.where(air, _nearest(cores, spacing), 0)
    top = -1 if affine[2, upright] > 0 else 0
    parts[_airways(parts, cores, spacing, upright, top)] = 0
    first, second = (np.argwhere(parts == part).mean(axis=0) for part in (1, 2))
    is_rightward = affine[0, :3] @ (second - first) > 0
    found = np.zeros(ct.shape, dtype=np.uint8)
    for part, label in enumerate((LEFT_LUNG, RIGHT_LUNG), start=1):
        lung = _filled(parts == (part if is_rightward else 3 - part), spacing)
        found[box][lung & (found[box] == 0)] = label
    return replace(ct, data=jnp.asarray(found))


def _inner_air(air: Mask, upright: int) -> Mask:
    """Air that does not reach the volume's sides within its slice."""
    within_slices = np.moveaxis(np.zeros((3, 3, 3), dtype=bool), 0, upright)
    middle = np.moveaxis(within_slices, upright, 0)[1]
    middle[1, :] = middle[:, 1] = True
    regions = _regions(air, within_slices)
    is_inner = np.arange(regions.max() + 1) > 0
    for axis in {0, 1, 2} - {upright}:
        for side in (0, -1):
            is_inner[np.take(regions, side, axis)] = False
    return is_inner[regions]


def _cores(air: Mask, spacing: Spacing) -> Parts:
    """The two largest places deep in air: 1 and 2."""
    from scipy.ndimage import gaussian_filter

    seen = air.astype(np.float32)
    gaussian_filter(seen, _WIDTH / spacing, output=seen, truncate=3)
    for share in _SHARES:
        regions = _regions(seen > share)
        sizes = np.bincount(regions.ravel(), minlength=3) * np.prod(spacing)
        first, second = 1 + np.argsort(-sizes[1:])[:2]
        if sizes[second] > max(_LEAST_CORE, _LEAST_SHARE * sizes[first]):
            return np.where(regions == first, 1, 2 * (regions == second))
    raise ValueError(
        f"ct must show two lungs, each with {_LEAST_CORE / 1e3:g} ml of air (below "
        f"{_AIR_BELOW:g} HU) deep inside of the body; in all this one has "
        f"{air.sum() * np.prod(spacing) / 1e3:.0f} ml inside of a body. Is it a chest, "
        "in HU, with its affine in mm?"
    )


def _joined(mask: Mask, seeds: Mask) -> Mask:
    """The regions of a mask that hold a seed."""
    regions = _regions(mask)
    is_kept = np.zeros(regions.max() + 1, dtype=bool)
    is_kept[regions[seeds]] = True
    is_kept[0] = False
    return is_kept[regions]


def _nearest(parts: Parts, spacing: Spacing) -> Parts:
    """The part nearest to each voxel."""
    from scipy.ndimage import distance_transform_edt

    index = np.empty((3, *parts.shape), dtype=np.int32)
    distance_transform_edt(
        parts == 0, spacing, return_distances=False, return_indices=True, indices=index
    )
    return parts[tuple(index)]


def _airways(
    parts: Parts, cores: Parts, spacing: Spacing, upright: int, top: int
) -> Mask:
    """What joins both parts or is highest, away from the cores."""
    air = parts > 0
    steps = max(1, round(_REACH / float(spacing.mean())))
    around = _grown((cores > 0) & air, air, steps)
    regions = _regions(air & ~around)
    is_airway = np.ones(regions.max() + 1, dtype=bool)
    for part in (1, 2):
        beside = _grown(around & (parts == part), air, 1)
        is_airway &= np.isin(np.arange(len(is_airway)), regions[beside])
    slices = np.moveaxis(regions, upright, 0)[_extent(air, upright)]
    is_airway[slices[top]] = True
    is_airway[0] = False
    return is_airway[regions]


def _filled(lung: Mask, spacing: Spacing) -> Mask:
    """Closed by a ball, without holes."""
    box = _box(lung)
    margin = [int(n) + 2 for n in np.ceil(_CLOSING / spacing)]
    small = np.pad(lung[box], [(n, n) for n in margin])
    grown = _depth(~small, spacing) <= _CLOSING
    closed = _depth(grown, spacing) > _CLOSING
    outside = _regions(~(closed | small))
    filled = np.zeros_like(lung)
    x, y, z = (slice(n, -n) for n in margin)
    filled[box] = (outside != outside[0, 0, 0])[x, y, z]
    return filled


def _regions(mask: Mask, neighbors: Bool[np.ndarray, "3 3 3"] | None = None) -> Parts:
    """Numbers from 1 on for what hangs together, by faces unless told otherwise."""
    from scipy.ndimage import label

    regions = np.empty(mask.shape, dtype=np.int32)
    label(mask, neighbors, output=regions)
    return regions


def _depth(mask: Mask, spacing: Spacing) -> Float[np.ndarray, "nx ny nz"]:
    """Mm from each voxel within a mask to the nearest without."""
    from scipy.ndimage import distance_transform_edt

    depth = np.empty(mask.shape, dtype=np.float64)
    distance_transform_edt(mask, spacing, distances=depth)
    return depth


def _grown(seeds: Mask, within: Mask, steps: int) -> Mask:
    """Seeds and what is that many steps, faces or edges on, from them."""
    from scipy.ndimage import binary_dilation, generate_binary_structure

    neighbors = generate_binary_structure(3, 2)
    grown = np.empty(seeds.shape, dtype=bool)
    binary_dilation(seeds, neighbors, iterations=steps, mask=within, output=grown)
    return grown


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """The box around what is set; the whole where nothing is."""
    x, y, z = (_extent(mask, axis) for axis in range(3))
    return x, y, z


def _extent(mask: Mask, axis: int) -> slice:
    index = np.flatnonzero(np.moveaxis(mask, axis, 0).any(axis=(1, 2)))
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) else slice(None)
