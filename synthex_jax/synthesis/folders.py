"""The folders of SyntheX's scaled hip, tool and chest sets (Gao et al. 2022).

``proj/00000.tiff`` are the images, ``seg/00000.png`` the labels and, where there are
landmarks, ``lands/00000.h5``; one folder each for training, validation and test.

    open_folder("nmd_hip/train_data", HIP)
    write_folder(examples, "train", replace(CHEST, structures=("consolidation",)))

The published networks are tested on images that are seen from the detector; files are
read and written as they are. See ``examples.Mirrored``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from synthex_jax.annotations.structures import HIP_STRUCTURES
from synthex_jax.checks import require
from synthex_jax.files import existing
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.examples import (
    Example,
    Examples,
    finite,
    first_with,
    in_image,
    names,
    numbered,
    position,
    structure_mask,
    visible,
)
from synthex_jax.synthesis.hdf5_files import array, opened
from synthex_jax.synthesis.outputs import new_folder
from synthex_jax.synthesis.pictures import (
    GrayScale,
    read_picture,
    write_picture,
)

Pixels: TypeAlias = Float[np.ndarray, "landmarks 2"]
Given: TypeAlias = Bool[np.ndarray, "landmarks"]


@dataclass(frozen=True)
class AxisLandmarks:
    """A file with data sets dim1 (x of all landmarks) and dim2 (y).

    Attributes:
        names: in the file's order.
    """

    names: tuple[str, ...]

    def read(self, path: Path) -> tuple[Pixels, Given]:
        """(row, column) and whether they are given: always."""
        x, y = _stored(path, ("dim1", "dim2"), len(self.names))
        return np.stack([y, x], axis=-1), np.ones(len(self.names), bool)

    def write(self, path: Path, pixels: Pixels, seen: Given) -> None:
        """Those out of the image too."""
        _store(path, {"dim1": pixels[:, 1], "dim2": pixels[:, 0]})


@dataclass(frozen=True)
class PairLandmarks:
    """A file with a data set (x, y) a landmark, ld1 and so on; -1 is "not visible".

    Attributes:
        names: in the file's order.
    """

    names: tuple[str, ...]

    def read(self, path: Path) -> tuple[Pixels, Given]:
        """(row, column) and whether they are given."""
        keys = tuple(f"ld{number + 1}" for number in range(len(self.names)))
        pixels = _stored(path, keys, 2)[:, ::-1]
        return pixels, ~(pixels == -1).any(axis=1)

    def write(self, path: Path, pixels: Pixels, seen: Given) -> None:
        """(-1, -1) for those that are not seen."""
        pairs = np.where(seen[:, None], pixels[:, ::-1], -1)
        _store(path, {f"ld{number}": pair for number, pair in enumerate(pairs, 1)})


@dataclass(frozen=True)
class FolderLayout:
    """What the files of a folder are.

    Attributes:
        image: suffix; .tiff holds float32, .png 8 bits.
        mask: suffix.
        white: what a mask holds where the structure is; 1 for class numbers.
        structures: names, in the order of their classes.
        landmarks: how a file of them is laid out; None where there are none.
    """

    image: Literal[".tiff", ".png"]
    mask: Literal[".tiff", ".png"]
    white: int
    structures: tuple[str, ...]
    landmarks: AxisLandmarks | PairLandmarks | None = None

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """In the files' order."""
        return () if self.landmarks is None else self.landmarks.names


HIP = FolderLayout(
    ".tiff", ".png", 1, HIP_STRUCTURES.names, AxisLandmarks(HIP_LANDMARKS)
)
"""Scaled hip: class numbers 1 to 6, 14 landmarks."""

_DEVICE = "continuum manipulator"
TOOL = FolderLayout(
    ".tiff",
    ".tiff",
    1,
    (_DEVICE,),
    PairLandmarks((f"{_DEVICE} base", f"{_DEVICE} tip")),
)
"""Continuum manipulator: where it is, the ends of its body's center line."""

CHEST = FolderLayout(".png", ".png", 255, ("lesion",))
"""COVID-19 lesions: 8 bits; no landmarks."""


@dataclass(frozen=True)
class FolderExamples:
    """Examples of one folder: ``image``, ``mask`` and, where there are, landmarks.

    Attributes:
        folder: with ``proj``, ``seg`` and ``lands``.
        layout: what the files are.
        stems: names of the files without suffix, in order.
        attributes: names of structures and landmarks.
    """

    folder: Path
    layout: FolderLayout
    stems: tuple[str, ...]
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> Example:
        index = position(index, len(self))
        at = _paths(self.folder, self.stems[index], self.layout)
        image, mask = read_picture(at["proj"]), read_picture(at["seg"])
        require(
            image.shape == mask.shape,
            f"{at['seg']} must have the size of its image, {image.shape}, got "
            f"{mask.shape}",
        )
        if len(self.layout.structures) == 1:
            mask = mask > self.layout.white // 2
        example = {"image": image, "mask": mask.astype(np.uint8)}
        if self.layout.landmarks is not None:
            landmarks, given = self.layout.landmarks.read(at["lands"])
            example["landmarks"] = landmarks
            example["visible"] = given & in_image(landmarks, image.shape)
        return example


def open_folder(folder: str | Path, layout: FolderLayout) -> FolderExamples:
    """The examples of a folder, in the order of their file names.

    Args:
        folder: with ``proj`` and ``seg``, and ``lands`` if the layout has landmarks.
        layout: HIP, TOOL, CHEST or one of your own.

    Raises:
        FileNotFoundError: if the folder or one of those in it is not there.
        ValueError: for a folder without images, or an image without labels.
    """
    folder = existing(folder, "a folder with proj and seg")
    images = existing(folder / "proj", "the folder of images").glob(f"*{layout.image}")
    stems = sorted((path.stem for path in images), key=lambda s: (len(s), s))
    require(
        len(stems) > 0,
        f"{folder / 'proj'} must hold images *{layout.image}, it holds none",
    )
    for kind, suffix in _suffixes(layout).items():
        there = {p.stem for p in existing(folder / kind, kind).glob(f"*{suffix}")}
        missing = [stem for stem in stems if stem not in there]
        require(
            not missing,
            f"{folder / kind} must hold a file *{suffix} for each image, "
            f"{len(missing)} of {len(stems)} are missing, the first is {missing[:1]}",
        )
    attributes = {
        "structure_names": list(layout.structures),
        "landmark_names": list(layout.landmark_names),
    }
    return FolderExamples(folder, layout, tuple(stems), attributes)


def write_folder(
    examples: Examples,
    out: str | Path,
    layout: FolderLayout,
    *,
    window: tuple[float, float] | None = None,
) -> Path:
    """Write examples in one of these layouts.

    Structures and landmarks are found by the layout's names among the examples'. A
    layout of one structure gets all of it, behind others too, if the examples hold
    ``hits``.

    Args:
        examples: with ``mask`` or ``hits`` and, if the layout has them, ``landmarks``;
            one at a time.
        out: a new or empty folder; it appears when all is written.
        layout: HIP, TOOL, CHEST or one of your own.
        window: for layouts of 8-bit images: values of black and of white; by default
            the least and the greatest of all images (8-bit images as they are).

    Returns:
        The folder.

    Raises:
        ValueError: for no examples, a field or a name that is missing, a folder that
            is not empty, images that are not finite, a window for TIFF images.
    """
    needed = ("image", "landmarks") if layout.landmarks else ("image",)
    first = first_with(examples, needed, "this layout")
    require(
        "mask" in first or (len(layout.structures) == 1 and "hits" in first),
        f"examples must hold mask for this layout, they hold {sorted(first)}",
    )
    structures = _found(examples, "structure_names", layout.structures)
    landmarks = _found(examples, "landmark_names", layout.landmark_names)
    require(
        window is None or layout.image == ".png",
        "window must be None for TIFF, which holds the values as they are",
    )
    scale = None
    if layout.image == ".png":
        scale = GrayScale.create(examples, window=window, bits=8)
    with new_folder(out) as folder:
        for kind in ("proj", *_suffixes(layout)):
            (folder / kind).mkdir()
        for index, example in numbered(examples):
            at = _paths(folder, f"{index:05d}", layout)
            image = finite(example, "image", index)
            gray = image.astype(np.float32) if scale is None else scale.gray(image)
            write_picture(at["proj"], gray)
            write_picture(at["seg"], _mask(example, structures, layout))
            if layout.landmarks is not None:
                pixels = finite(example, "landmarks", index)[landmarks]
                seen = visible(example)[landmarks]
                layout.landmarks.write(at["lands"], pixels, seen)
    return Path(out)


def _suffixes(layout: FolderLayout) -> dict[str, str]:
    return {"seg": layout.mask} | ({"lands": ".h5"} if layout.landmarks else {})


def _paths(folder: Path, stem: str, layout: FolderLayout) -> dict[str, Path]:
    suffixes = {"proj": layout.image, **_suffixes(layout)}
    return {kind: folder / kind / f"{stem}{end}" for kind, end in suffixes.items()}


def _found(examples: Examples, kind: str, wanted: tuple[str, ...]) -> list[int]:
    """Where the wanted names are among those of the examples."""
    if not wanted:
        return []
    known = names(examples, kind)
    missing = [name for name in wanted if name not in known]
    require(
        not missing,
        f"{kind} must include the layout's, {missing} are not among {list(known)}; "
        "name those you mean: dataclasses.replace(layout, ...)",
    )
    return [known.index(name) for name in wanted]


def _mask(example: Example, structures: list[int], layout: FolderLayout) -> np.ndarray:
    if len(structures) == 1:
        return structure_mask(example, structures[0]).astype(np.uint8) * layout.white
    mask = np.zeros(example["mask"].shape, np.uint8)
    for number, structure in enumerate(structures, start=1):
        mask[example["mask"] == structure + 1] = number
    return mask


def _stored(
    path: Path, keys: tuple[str, ...], length: int
) -> Float[np.ndarray, "keys length"]:
    """Data sets of ``length`` numbers each."""
    with opened(path) as file:
        found = [np.ravel(array(file, key)) for key in keys]
        lengths = [len(values) for values in found]
        require(
            set(lengths) == {length},
            f"{list(keys)} must have {length} numbers each, got {lengths}",
        )
        require(
            np.isfinite(found).all(),
            f"{list(keys)} must be finite, some of their numbers are not",
        )
    return np.asarray(found, np.float32)


def _store(path: Path, content: dict[str, np.ndarray]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for key, values in content.items():
            file[key] = values.astype(np.float32)
