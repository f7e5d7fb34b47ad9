"""DeepFluoro's full-resolution file: six specimens' CTs and their registered X-rays.

Grupp et al. 2020, IJCARS 15:759; data: doi:10.7281/T1/IFSXNV, CC BY-NC 4.0. The smaller
files of that set are read by ``hdf5.ControlledHip``.

The file is in LPS mm, and its X-rays are seen from the detector. Here everything is in
RAS mm and, like this library's cameras, seen from the source: columns of images, labels
and landmarks are reversed as they are read. ``matched.MatchedViews`` prepares them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from synthex_jax.annotations.structures import HIP_STRUCTURES, Structure
from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.convert import from_deepfluoro
from synthex_jax.geometry.frames import ras_affine_from_lps, ras_from_lps
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
from synthex_jax.typing import Vector3
from synthex_jax.volumes.volume import Volume

BONES = ("pelvis", "left-femur", "right-femur")
"""What each X-ray is registered to; the femurs moved between CT and X-ray."""

SPECIMEN_STRUCTURES = replace(
    HIP_STRUCTURES,
    members=tuple(
        Structure(name, (number,))
        for number, name in enumerate(HIP_STRUCTURES.names, start=1)
    ),
)
"""The six structures by the numbers that they have in ``Specimen.labels``; there is a
seventh number, which the labels of the X-rays leave out."""


@dataclass(frozen=True)
class Specimen:
    """A CT with what is known about it.

    Attributes:
        name: of its group in the file, as "17-1882".
        ct: HU.
        labels: uint8 numbers on a grid of their own; see ``SPECIMEN_STRUCTURES``.
        label_names: number to name, as 1: "left-hemipelvis".
        landmarks: name to (3,), RAS mm.
    """

    name: str
    ct: Volume
    labels: Volume
    label_names: dict[int, str]
    landmarks: dict[str, Vector3]


@dataclass(frozen=True)
class Projection:
    """An X-ray and how it was taken, seen from the source; pixels are read on demand.

    Attributes:
        path: the file.
        specimen: name of the specimen's group.
        name: of the X-ray's group, as "007".
        upside_down: whether the patient's head is down.
        landmarks: name to (2,), (row, column); may lie outside the image.
        cameras: bone ("pelvis", "left-femur", "right-femur") to the camera by which
            the CT's bone projects onto the image. The image's camera is the pelvis's.
        good_fov: femur to whether enough of it is seen to be registered.
    """

    path: Path
    specimen: str
    name: str
    upside_down: bool
    landmarks: dict[str, Float[np.ndarray, "2"]]
    cameras: dict[str, Camera]
    good_fov: dict[str, bool]

    def image(self) -> Float[np.ndarray, "rows cols"]:
        """Readings of the detector, dark behind bone."""
        return self._pixels("image").astype(np.float32)

    def mask(self) -> UInt8[np.ndarray, "rows cols"]:
        """Class numbers, 1 to 6 in the order of ``HIP_STRUCTURES``."""
        return self._pixels("gt-seg").astype(np.uint8)

    def _pixels(self, kind: str) -> np.ndarray:
        with opened(self.path) as file:
            group = f"{self.specimen}/projections/{self.name}/{kind}/pixels"
            pixels = array(file, group)
            require(
                pixels.shape == self.cameras["pelvis"].shape,
                f"/{group} must have the shape that proj-params gives, "
                f"{self.cameras['pelvis'].shape}, got {pixels.shape}",
            )
        return np.ascontiguousarray(pixels[:, ::-1])


@dataclass(frozen=True)
class FullResolution:
    """The file, opened and closed again for each thing that is read.

    Attributes:
        path: of the file.
        projections: specimen to the names of its X-rays, in order.
    """

    path: Path
    projections: dict[str, tuple[str, ...]]

    @classmethod
    def open(cls, path: str | Path) -> FullResolution:
        """From the path of ``ipcai_2020_full_res_data.h5``.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: for a file of another layout, or without X-rays.
        """
        with opened(path) as file:
            found = {
                name: tuple(sorted(group["projections"]))
                for name, group in file.items()
                if holds(group, "vol", "projections")
            }
            small = any(holds(group, "projs") for group in file.values())
            hint = "; this is one of the small files (hdf5.ControlledHip)"
            require(
                bool(found),
                "must hold a group with vol and projections for each specimen; it "
                f"holds {listed(file)}{hint if small else ''}",
            )
            require(any(found.values()), "must hold at least one X-ray, it holds none")
            member(file, "proj-params/intrinsic")
        return cls(Path(path), found)

    def specimen(self, name: str) -> Specimen:
        """CT, labels and landmarks of a specimen.

        Raises:
            ValueError: for an unknown name or a file that lacks a part.
        """
        self._require_specimen(name)
        with opened(self.path) as file:
            group = member(file, name)
            labels = _volume(member(group, "vol-seg/image"))
            definitions = member(group, "vol-seg/labels-def")
            landmarks = member(group, "vol-landmarks")
            return Specimen(
                name,
                _volume(member(group, "vol")),
                labels.astype(jnp.uint8),
                {int(key): text(definitions, key) for key in definitions},
                {key: ras_from_lps(_point(landmarks, key, 3)) for key in landmarks},
            )

    def projection(self, specimen: str, name: str) -> Projection:
        """An X-ray of a specimen.

        Raises:
            ValueError: for unknown names or a file that lacks a part.
        """
        self._require_specimen(specimen)
        known = self.projections[specimen]
        require(
            name in known,
            f"projection must be one of {specimen}'s {len(known)}, {known[0]} to "
            f"{known[-1]}, got {name!r}",
        )
        with opened(self.path) as file:
            group = member(file, f"{specimen}/projections/{name}")
            poses = member(group, "gt-poses")
            parameters = member(file, "proj-params")
            cameras = {
                bone: _camera(parameters, array(poses, f"cam-to-{bone}-vol"))
                for bone in BONES
                if f"cam-to-{bone}-vol" in poses
            }
            require(
                "pelvis" in cameras,
                f"{poses.name} must hold cam-to-pelvis-vol, it holds {listed(poses)}",
            )
            last = cameras["pelvis"].shape[1] - 1
            landmarks = {}
            pixels = member(group, "gt-landmarks")
            for key in pixels:
                col, row = _point(pixels, key, 2)
                landmarks[key] = np.array([row, last - col])
            return Projection(
                self.path,
                specimen,
                name,
                bool(number(group, "rot-180-for-up")),
                landmarks,
                cameras,
                {
                    bone: bool(number(poses, f"{bone}-good-fov"))
                    for bone in BONES
                    if f"{bone}-good-fov" in poses
                },
            )

    def _require_specimen(self, name: str) -> None:
        require(
            name in self.projections,
            f"specimen must be one of {list(self.projections)}, got {name!r}",
        )


def _volume(group: Group) -> Volume:
    """An image as ITK stores it: pixels [z, y, x], the rest about (x, y, z) in LPS."""
    pixels = array(group, "pixels")
    require(
        pixels.ndim == 3,
        f"{group.name}/pixels must be a volume, got the shape {pixels.shape}",
    )
    spacing = np.ravel(array(group, "spacing"))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(array(group, "dir-mat"), (3, 3)) * spacing
    affine[:3, 3] = np.ravel(array(group, "origin"))
    return Volume.from_array(pixels.T, ras_affine_from_lps(affine))


def _point(group: Group, key: str, length: int) -> Float[np.ndarray, "length"]:
    point = np.ravel(array(group, key)).astype(float)
    require(
        len(point) == length and bool(np.isfinite(point).all()),
        f"{group.name}/{key} must be {length} finite numbers, got {point.tolist()}",
    )
    return point


def _camera(parameters: Group, cam_to_volume: np.ndarray) -> Camera:
    """Of the image as stored, with its columns reversed."""
    rows, cols, row_pitch, col_pitch = (
        number(parameters, key)
        for key in ("num-rows", "num-cols", "pixel-row-spacing", "pixel-col-spacing")
    )
    return from_deepfluoro(
        array(parameters, "intrinsic"),
        array(parameters, "extrinsic"),
        cam_to_volume,
        shape=(int(rows), int(cols)),
        pitch=(row_pitch, col_pitch),
    )
