"""The HDF5 layout of the controlled hip study, and of DeepFluoro's small files.

One group a specimen: ``01/projs`` (N, rows, cols), ``01/segs`` (N, rows, cols) and
``01/lands`` (N, 2, landmarks), x (column) before y (row); ``land-names/land-00`` and so
on. SyntheX (Gao et al. 2022) keeps images and labels in two files, since its simulated
sets share the labels; DeepFluoro (Grupp et al. 2020, doi:10.7281/T1/IFSXNV, CC BY-NC
4.0) keeps both in one.

These images are seen from the detector; they are read and written as they are. To put
them beside images of this library's cameras, which see from the source, use
``examples.Mirrored``.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthex_jax.annotations.structures import HIP_STRUCTURES
from synthex_jax.checks import require
from synthex_jax.files import written_whole
from synthex_jax.synthesis.examples import (
    Example,
    Examples,
    finite,
    first_with,
    in_image,
    names,
    numbered,
    position,
)
from synthex_jax.synthesis.hdf5_files import (
    Group,
    array,
    holds,
    listed,
    member,
    number,
    opened,
    text,
)


@dataclass(frozen=True)
class ControlledHip:
    """Examples of one file, or of one with images and one with labels.

    Files are opened for each example and closed again. An example holds ``image``
    (float32) and ``specimen``; where there are labels, ``mask``, ``landmarks`` and
    ``visible`` (whether a landmark lies in the image).

    Attributes:
        images: the file with ``projs``.
        labels: the file with ``segs`` and ``lands``; may be the same.
        specimens: names of the groups, in order.
        counts: how many examples each has.
        attributes: names of landmarks, structures and specimens.
    """

    images: Path
    labels: Path
    specimens: tuple[str, ...]
    counts: tuple[int, ...]
    attributes: dict[str, Any]

    @classmethod
    def open(
        cls, images: str | Path, labels: str | Path | None = None
    ) -> ControlledHip:
        """From a file, or from two of the same specimens.

        Args:
            images: with ``projs``, and with the labels if they are in no other file.
            labels: with ``segs`` and ``lands``, for images in a file of their own.

        Raises:
            FileNotFoundError: if a file is not there.
            ValueError: for a file of another layout, specimens or counts that do not
                match, landmarks that are not finite.
        """
        apart = labels is not None
        labels = images if labels is None else labels
        with opened(images) as file:
            specimens = _specimens(file)
            counts = tuple(len(file[name]["projs"]) for name in specimens)
            require(
                sum(counts) > 0, "must hold at least one image, all projs are empty"
            )
            landmarks = _landmark_names(file)
        with opened(labels) as file:
            landmarks = landmarks or _landmark_names(file)
            for name, count in zip(specimens, counts, strict=True):
                group = member(file, name)
                require(
                    not apart or "segs" in group or "lands" in group,
                    f"/{name} must hold segs or lands, it holds {listed(group)}",
                )
                _check_labels(group, count, landmarks)
        attributes = {
            "landmark_names": list(landmarks),
            "structure_names": list(HIP_STRUCTURES.names),
            "specimen_names": list(specimens),
        }
        return cls(Path(images), Path(labels), specimens, counts, attributes)

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, index: int) -> Example:
        index = position(index, len(self))
        ends = np.cumsum(self.counts)
        specimen = int(np.searchsorted(ends, index, side="right"))
        row = index - int(ends[specimen]) + self.counts[specimen]
        name = self.specimens[specimen]
        with opened(self.images) as file:
            image = np.asarray(file[name]["projs"][row], np.float32)
        example = {"image": image, "specimen": np.asarray(specimen, np.int32)}
        with opened(self.labels) as file:
            group = file[name]
            if "segs" in group:
                example["mask"] = np.asarray(group["segs"][row], np.uint8)
            if "lands" in group:
                x, y = np.asarray(group["lands"][row], np.float32)
                example["landmarks"] = np.stack([y, x], axis=-1)
                example["visible"] = in_image(example["landmarks"], image.shape)
        return example


def write_controlled_hip(
    examples: Examples, images: str | Path, labels: str | Path | None = None
) -> None:
    """Write examples in this layout, one group a specimen.

    Groups are named after ``specimen_names`` or, without these, "01" and so on, by the
    examples' ``specimen``. Images become float32. The layout is for images seen from
    the detector: pass ``Mirrored(examples)`` for those of this library's cameras.

    Args:
        examples: with ``mask`` and ``landmarks``, one at a time, all of one size.
        images: the file to write, replaced when all is written.
        labels: a second file, for the labels; by default they go into the first.

    Raises:
        ValueError: for no examples, a field or names that are missing, images of
            another size than the first or not finite, one path for both files.
    """
    import h5py

    first = first_with(examples, ("image", "mask", "landmarks"), "this layout")
    landmarks = names(examples, "landmark_names", len(first["landmarks"]))
    paths = [Path(images)] if labels is None else [Path(images), Path(labels)]
    require(
        len({path.absolute() for path in paths}) == len(paths),
        f"labels must be another file than images, both are {images}; leave it out to "
        "have all in one",
    )
    with ExitStack() as stack:
        temporary = [stack.enter_context(written_whole(path)) for path in paths]
        files = [stack.enter_context(h5py.File(path, "w")) for path in temporary]
        for file in files:
            file["land-names/num-lands"] = len(landmarks)
            for number_, name in enumerate(landmarks):
                file[f"land-names/land-{number_:02d}"] = name
        for index, example in numbered(examples):
            image = finite(example, "image", index)
            require(
                image.shape == first["image"].shape,
                f"image of example {index} must have the size of the first, "
                f"{first['image'].shape}, got {image.shape}",
            )
            group = _group_name(examples, example)
            _append(files[0], f"{group}/projs", image.astype(np.float32))
            _append(files[-1], f"{group}/segs", example["mask"].astype(np.uint8))
            pixels = finite(example, "landmarks", index).astype(np.float32)
            _append(files[-1], f"{group}/lands", pixels[:, ::-1].T)


def _specimens(file: Group) -> tuple[str, ...]:
    found = [name for name, group in file.items() if holds(group, "projs")]
    hint = ""
    if any(holds(group, "vol", "projections") for group in file.values()):
        hint = (
            "; this looks like DeepFluoro's full-resolution file (synthesis.deepfluoro)"
        )
    require(
        bool(found),
        "must hold a group with projs for each specimen, as 01/projs; it holds "
        f"{listed(file)}{hint}",
    )
    return tuple(sorted(found))


def _landmark_names(file: Group) -> tuple[str, ...]:
    """In order; none where the file does not name them."""
    if "land-names" not in file:
        return ()
    group = file["land-names"]
    keys = sorted(key for key in group if key != "num-lands")
    count = int(number(group, "num-lands")) if "num-lands" in group else len(keys)
    require(
        count == len(keys),
        f"land-names must hold as many names as num-lands says, {count}, it holds "
        f"{len(keys)}",
    )
    return tuple(text(group, key) for key in keys)


def _check_labels(group: Group, count: int, landmarks: tuple[str, ...]) -> None:
    for name in ("segs", "lands"):
        if name in group:
            found = len(group[name])
            require(
                found == count,
                f"{group.name}/{name} must hold one label an image, {count}, it holds "
                f"{found}",
            )
    if "lands" not in group:
        return
    lands = array(group, "lands")
    where = f"{group.name}/lands"
    require(
        lands.shape == (count, 2, len(landmarks)),
        f"{where} must have the shape (images, 2, landmarks) = "
        f"{(count, 2, len(landmarks))}, with the landmarks that land-names lists, got "
        f"{lands.shape}",
    )
    for image, landmark in np.argwhere(~np.isfinite(lands).all(axis=1)):
        raise ValueError(
            f"{where} must be finite, {landmarks[landmark]} of image {image} is "
            "not; a landmark out of view has coordinates outside the image"
        )


def _group_name(examples: Examples, example: Example) -> str:
    specimen = int(example.get("specimen", np.zeros(())))
    listed_names = examples.attributes.get("specimen_names")
    return listed_names[specimen] if listed_names else f"{specimen + 1:02d}"


def _append(file: Group, path: str, row: np.ndarray) -> None:
    """Add a row to a data set that grows; one chunk a row, for random access."""
    if path not in file:
        options = {"compression": "gzip"} if row.dtype == np.uint8 else {}
        file.create_dataset(
            path,
            shape=(0, *row.shape),
            maxshape=(None, *row.shape),
            chunks=(1, *row.shape),
            dtype=row.dtype,
            **options,
        )
    dataset = file[path]
    dataset.resize(len(dataset) + 1, axis=0)
    dataset[-1] = row
