"""Stacks of parallel slices: their order, their affine, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthex_jax.checks import require

# Positions are written with a few decimals, and tables move by fits and starts. Below
# a tenth of a voxel neither matters to linear interpolation.
_STRAY_VOXELS = 0.1
# Two slices closer than this, mm, are two images of one place: no CT is finer.
_SAME_PLACE_MM = 0.01
# Direction cosines in files carry six digits, rarely only four.
_SAME_DIRECTION = 1e-3
# Sine of the tilt above which Volume refuses an affine as sheared.
_SHEAR_SINE = 0.01
_NAMED_AT_MOST = 4


@dataclass(frozen=True)
class Slice:
    """Where one slice lies, in the frame of the file (DICOM: LPS), mm.

    Attributes:
        name: the file, and the frame in it, for messages.
        position: (3,), center of the first pixel.
        directions: (2, 3), unit vectors along which the column and the row index grow
            (the order of DICOM's ImageOrientationPatient).
        spacing: (2,), mm between rows, between columns (the order of PixelSpacing).
        shape: (rows, cols).
    """

    name: str
    position: np.ndarray
    directions: np.ndarray
    spacing: np.ndarray
    shape: tuple[int, int]


def stacked(
    slices: Sequence[Slice], thickness: float | None = None
) -> tuple[list[int], np.ndarray]:
    """Order slices along their normal and find the grid they make.

    Args:
        slices: in any order.
        thickness: mm, of a single slice, which shows no step.

    Returns:
        The indices of ``slices`` in order of growing position along the normal
        (columns cross rows), and the (4, 4) affine from voxel (column, row, slice) to
        the frame of the positions.

    Raises:
        ValueError: for slices of several sizes, orientations or spacings, duplicates,
            gaps, uneven steps or a tilt, each with the positions and names.
    """
    _require_same("sizes (rows, columns)", slices, [s.shape for s in slices], 0.0)
    _require_same(
        "orientations", slices, [s.directions.ravel() for s in slices], _SAME_DIRECTION
    )
    _require_same("pixel spacings", slices, [s.spacing for s in slices], 1e-4)
    columns, rows = slices[0].directions
    gram = slices[0].directions @ slices[0].directions.T
    require(
        bool(np.allclose(gram, np.eye(2), atol=_SAME_DIRECTION)),
        "the orientation must be two unit vectors at right angles, got "
        f"{slices[0].directions.tolist()} in {slices[0].name}",
    )
    normal = np.cross(columns, rows)
    positions = np.array([s.position for s in slices])
    order = [int(i) for i in np.argsort(positions @ normal, kind="stable")]
    ordered = [slices[i] for i in order]
    step = _step(ordered, normal, thickness)
    affine = np.eye(4)
    affine[:3, 0] = columns * slices[0].spacing[1]
    affine[:3, 1] = rows * slices[0].spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = ordered[0].position
    return order, affine


def _step(
    ordered: Sequence[Slice], normal: np.ndarray, thickness: float | None
) -> np.ndarray:
    """(3,), from slice to slice; refuses what is no even, straight stack."""
    if len(ordered) == 1:
        require(
            thickness is not None and thickness > 0,
            f"{ordered[0].name} is the only slice and states no thickness; a volume "
            "needs the other slices, or SliceThickness",
        )
        return normal * thickness
    positions = np.array([s.position for s in ordered])
    depths = positions @ normal
    _require_distinct(ordered, depths)
    _require_complete(ordered, depths)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    along = float(step @ normal)
    across = step - along * normal
    angle = float(np.rad2deg(np.arctan2(np.linalg.norm(across), along)))
    require(
        angle < np.rad2deg(np.arcsin(_SHEAR_SINE)),
        f"the slices are stacked at {angle:.2f} degrees from their normal, each "
        f"{np.linalg.norm(across):.3f} mm aside of the last: a gantry tilt. Resample "
        "the series to a straight grid first (dcm2niix and 3D Slicer do)",
    )
    even = positions[0] + np.arange(len(ordered))[:, None] * step
    stray = np.linalg.norm(positions - even, axis=1)
    voxel = max(along, float(ordered[0].spacing.max()))
    worst = int(stray.argmax())
    require(
        bool(stray[worst] <= _STRAY_VOXELS * voxel),
        f"the slices must lie in even steps of {along:.3f} mm, but "
        f"{ordered[worst].name} at {depths[worst]:.3f} mm is {stray[worst]:.3f} mm "
        "off; resample the series to an even grid first",
    )
    return step


def _require_distinct(ordered: Sequence[Slice], depths: np.ndarray) -> None:
    twins = np.flatnonzero(np.diff(depths) < _SAME_PLACE_MM)
    named = [
        f"{depths[i]:.3f} mm ({ordered[i].name} and {ordered[i + 1].name})"
        for i in twins[:_NAMED_AT_MOST]
    ]
    require(
        twins.size == 0,
        f"{twins.size} positions along the normal hold two slices: "
        f"{_listed(named, twins.size)}; remove the copies, or keep one phase of a "
        "series taken over time",
    )


def _require_complete(ordered: Sequence[Slice], depths: np.ndarray) -> None:
    steps = np.diff(depths)
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step)
    missing = [
        f"{round(float(steps[i]) / step) - 1} between {depths[i]:.3f} mm "
        f"({ordered[i].name}) and {depths[i + 1]:.3f} mm ({ordered[i + 1].name})"
        for i in gaps[:_NAMED_AT_MOST]
    ]
    require(
        gaps.size == 0,
        f"slices are missing, most are {step:.3f} mm apart: "
        f"{_listed(missing, gaps.size)}; add the files, or keep the slices on one side "
        "of the gap",
    )


def _require_same(
    what: str, slices: Sequence[Slice], values: Sequence, tolerance: float
) -> None:
    """Refuse slices that differ from most, where most means the median."""
    table = np.asarray(values, dtype=float)
    usual = np.median(table, axis=0)
    odd = np.flatnonzero(np.abs(table - usual).max(axis=1) > tolerance)
    if odd.size == 0:
        return
    same = [i for i in range(len(slices)) if i not in odd] or [int(odd[0])]
    named = [
        f"{slices[i].name} has {np.round(table[i], 4).tolist()}"
        for i in odd[:_NAMED_AT_MOST]
    ]
    raise ValueError(
        f"slices must agree in their {what}, but {_listed(named, odd.size)}, and "
        f"{slices[same[0]].name} has {np.round(table[same[0]], 4).tolist()}; keep the "
        "slices of one kind in the folder"
    )


def _listed(named: Sequence[str], count: int) -> str:
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return ", ".join(named) + more
