"""The CTs that are registered, and the points in them at which errors are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import synthex_jax as sx
from synthex_jax.volumes.volume import Volume

PELVIS_FILE = "tcga-ov_abdomen-pelvis_1.03x1.03x3.nii.gz"
PELVIS_LABELS_FILE = "tcga-ov_abdomen-pelvis_bone-pseudolabels.nii.gz"
CHEST_FILE = "cptac-pda_chest_1.5mm.nii.gz"

_POINTS = 120
# TotalSegmentator's sacrum and hip bones.
_PELVIS = (25, 77, 78)
# Spongy bone has 295 HU (``volumes.materials``); contrast agent in vessels may too.
_BONE_HU = 295.0


@dataclass(frozen=True)
class Ct:
    """What is registered.

    Attributes:
        volume: HU, without the air around the body.
        labels: TotalSegmentator's numbers on the same grid, or None.
        points: (n, 3), world mm, on bones.
        what: in words.
    """

    volume: Volume
    labels: Volume | None
    points: np.ndarray
    what: str

    @property
    def about(self) -> np.ndarray:
        """(3,), world mm, the middle of the points: views and starts turn about it."""
        return self.points.mean(0)


def load(name: str, data: Path | None) -> Ct:
    """One of ``CTS``; ``data`` is the folder of the files."""
    volume, labels, bones, what = CTS[name](data)
    if bones is None:
        is_bone = np.asarray(volume.data) >= _BONE_HU
    else:
        assert labels is not None
        is_bone = _surface(np.isin(np.asarray(labels.data), bones))
    voxels = np.argwhere(is_bone)
    chosen = np.random.default_rng(0).choice(len(voxels), _POINTS, replace=False)
    affine = np.asarray(volume.affine, np.float64)
    points = voxels[chosen] @ affine[:3, :3].T + affine[:3, 3]
    if labels is None:
        volume = sx.cropped_to_body(volume)
    return Ct(volume, labels, points, what)


def available(data: Path | None) -> list[str]:
    """The real CTs at hand."""
    files = {"pelvis": PELVIS_FILE, "chest": CHEST_FILE}
    found = [
        name
        for name, file in files.items()
        if data is not None and (data / file).exists()
    ]
    for name, load_sample in (
        ("sample-pelvis", sx.samples.pelvis),
        ("sample-chest", sx.samples.chest),
    ):
        try:
            load_sample()
        except (RuntimeError, ValueError) as error:
            print(f"{name}: {str(error).splitlines()[0]}")
            continue
        found.append(name)
    return found


Loaded = tuple[Volume, Volume | None, tuple[int, ...] | None, str]


def _pelvis(data: Path | None) -> Loaded:
    assert data is not None, "the pelvis lies in a folder: give --data"
    labels_file = data / PELVIS_LABELS_FILE
    labels = sx.read_labels(labels_file) if labels_file.exists() else None
    bones = None if labels is None else _PELVIS
    what = "abdomen and pelvis of TCGA-OV, 1.03 x 1.03 x 3 mm"
    return Volume.from_nifti(data / PELVIS_FILE), labels, bones, what


def _chest(data: Path | None) -> Loaded:
    assert data is not None, "the chest lies in a folder: give --data"
    what = "chest of CPTAC-PDA, 1.5 mm"
    return Volume.from_nifti(data / CHEST_FILE), None, None, what


def _sample_pelvis(data: Path | None) -> Loaded:
    del data
    labels = sx.samples.pelvis_labels()
    what = "example of TotalSegmentator, 3 mm"
    return sx.samples.pelvis(), labels, _PELVIS, what


def _sample_chest(data: Path | None) -> Loaded:
    del data
    what = "LIDC-IDRI-0001, 0.7 x 0.7 x 2.5 mm"
    return sx.samples.chest(), None, None, what


def _phantom(data: Path | None) -> Loaded:
    del data
    made = sx.phantoms.pelvis(jax.random.key(0), shape=(52, 36, 44), spacing=8.0)
    return made.ct, made.labels, _PELVIS, "phantom of a pelvis, 8 mm"


CTS: dict[str, Callable[[Path | None], Loaded]] = {
    "pelvis": _pelvis,
    "chest": _chest,
    "sample-pelvis": _sample_pelvis,
    "sample-chest": _sample_chest,
    "phantom": _phantom,
}


def _surface(inside: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a neighbor outside of it."""
    padded = np.pad(inside, 1)
    core = inside.copy()
    for axis in range(3):
        for step in (-1, 1):
            core &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return inside & ~core
