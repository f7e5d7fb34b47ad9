"""Specimens of a data set: CTs from a folder with what belongs to each, or phantoms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax

from synthex_jax import phantoms
from synthex_jax.annotations.structures import HIP_STRUCTURES, Structures
from synthex_jax.checks import require
from synthex_jax.files import existing, naming
from synthex_jax.phantoms.anatomy import LESIONS, Anatomy
from synthex_jax.phantoms.lesions import with_lesions
from synthex_jax.scene import Scene, landmarks_of
from synthex_jax.volumes.grids import cropped_to_body, resampled
from synthex_jax.volumes.io import read_labels, read_volume
from synthex_jax.volumes.landmark_files import read_landmarks
from synthex_jax.volumes.lungs import lungs
from synthex_jax.volumes.volume import Volume

# Mm: the phantoms' default fields of view.
_PELVIS_FIELD, _THORAX_FIELD = (416, 288, 352), (384, 288, 352)

_CT_SUFFIXES = (".nii.gz", ".nii", ".nrrd")
_LANDMARK_SUFFIXES = (".fcsv", ".mrk.json", ".json", ".csv")

LESION = Structures.create({"lesion": (1, 2)})
"""Ground glass and consolidation as the one class of the chest task."""

_PHANTOM_LESION = Structures.create(
    {"lesion": tuple(number for pair in LESIONS.values() for number in pair)}
)

Specimens = dict[str, Scene]


def from_folder(
    task: str, folder: Path, *, spacing: float, seed: int, told: Callable[[str], None]
) -> Specimens:
    """The CTs of a folder: NAME.nii.gz (or .nii, .nrrd), in the order of their names.

    Beside a CT lie NAME.labels.nii.gz, for hips TotalSegmentator's bones and for chests
    lesions (1 ground glass, 2 consolidation; grown where the file is missing), and
    NAME.landmarks.fcsv (or .mrk.json, .csv), needed for hips and optional elsewhere.

    Args:
        task: "hip", "tool" or "chest".
        folder: of the files.
        spacing: mm a voxel that CTs are resampled to.
        seed: of the lesions that are grown.
        told: called with what is being done.

    Raises:
        FileNotFoundError: if the folder, or a file that the task needs, is not there.
        ValueError: if it holds no CT, or a file cannot be used; it names the file.
    """
    names = _cts(existing(folder, "a folder of CTs"))
    found = {}
    for number, (name, path) in enumerate(names.items()):
        told(f"reading {name}")
        with naming(path):
            ct = resampled(cropped_to_body(read_volume(path)), spacing=spacing)
        found[name] = _scene(task, folder, name, ct, (seed, number))
    return found


def from_phantoms(
    task: str, number: int, *, spacing: float, seed: int, told: Callable[[str], None]
) -> Specimens:
    """Made-up patients, each of a key of its own.

    Args:
        task: "hip", "tool" or "chest".
        number: of patients.
        spacing: mm a voxel.
        seed: of the patients.
        told: called with what is being done.
    """
    make, field = {
        "hip": (phantoms.pelvis, _PELVIS_FIELD),
        "tool": (phantoms.pelvis, _PELVIS_FIELD),
        "chest": (phantoms.covid_thorax, _THORAX_FIELD),
    }[task]
    shape = tuple(round(mm / spacing) for mm in field)
    make = partial(make, shape=shape, spacing=spacing)
    found = {}
    for name, anatomy in phantoms.cohort(jax.random.key(seed), number, make):
        told(f"made {name}")
        found[name] = _phantom_scene(task, anatomy)
    return found


def _phantom_scene(task: str, anatomy: Anatomy) -> Scene:
    if task == "tool":
        return Scene.create(anatomy.ct, landmarks=landmarks_of(anatomy))
    if task == "chest":
        return Scene.from_anatomy(anatomy, structures=_PHANTOM_LESION)
    return Scene.from_anatomy(anatomy)


def _scene(
    task: str, folder: Path, name: str, ct: Volume, seeds: tuple[int, int]
) -> Scene:
    landmarks = _beside(folder, name, "landmarks", _LANDMARK_SUFFIXES)
    labels = _beside(folder, name, "labels", _CT_SUFFIXES)
    points = None if landmarks is None else read_landmarks(landmarks)
    if task == "tool":
        return Scene.create(ct, landmarks=points)
    if task == "hip":
        for what, path in (("labels", labels), ("landmarks", landmarks)):
            if path is None:
                raise FileNotFoundError(
                    f"{folder}/{name}.{what}.* does not exist; the hip task needs "
                    "labels (.nii.gz) and landmarks (.fcsv, .mrk.json or .csv) beside "
                    "each CT"
                )
        assert labels is not None
        with naming(labels):
            return Scene.create(
                ct,
                labels=read_labels(labels),
                structures=HIP_STRUCTURES,
                landmarks=points,
            )
    if labels is not None:
        with naming(labels):
            return Scene.create(ct, labels=read_labels(labels), structures=LESION)
    key = jax.random.fold_in(jax.random.key(seeds[0]), seeds[1])
    ct, grown = with_lesions(key, ct, lungs(ct))
    return Scene.create(ct, labels=grown, structures=LESION)


def _cts(folder: Path) -> dict[str, Path]:
    """The CTs by name: files that are not beside another as its labels."""
    found = {}
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in _CT_SUFFIXES if path.name.endswith(s)), None)
        if suffix is not None and not path.name.endswith(f".labels{suffix}"):
            found[path.name.removesuffix(suffix)] = path
    require(
        bool(found),
        f"{folder} must hold CTs as NAME.nii.gz, .nii or .nrrd, it holds none",
    )
    return found


def _beside(
    folder: Path, name: str, what: str, suffixes: tuple[str, ...]
) -> Path | None:
    paths = [folder / f"{name}.{what}{suffix}" for suffix in suffixes]
    return next((path for path in paths if path.is_file()), None)
