"""Acquisition: the geometry that the header of a DICOM radiograph tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.convert.dicom import from_dicom_angles
from synthex_jax.geometry.frames import ANTERIOR, LEFT, SUPERIOR
from synthex_jax.geometry.transform import RigidTransform, axis_rotation
from synthex_jax.typing import ArrayLike, Shape2, Vector2

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Letters of PatientOrientation (0020,0020), PS3.3 section C.7.6.1.1.1.
_DIRECTIONS = {
    "L": LEFT,
    "R": -LEFT,
    "A": ANTERIOR,
    "P": -ANTERIOR,
    "H": SUPERIOR,
    "F": -SUPERIOR,
}
# Each further letter of "LA" is a smaller part of the direction.
_SMALLER = 0.5
# Cosines of rows and columns, summed; 2 is perfect. A quarter turn away is 0 or 1, an
# oblique view named by one letter has 1.7.
_AGREES_FROM = 1.2

# Primary angle, degrees, of ViewPosition (0018,5101). At zero the source is behind the
# patient, which is PA; 90 has the detector at the left.
_VIEW_POSITIONS = {"PA": 0.0, "AP": 180.0, "LL": 90.0, "RL": -90.0}
# How a film is hung: as if its viewer stood before the patient.
_HUNG = ("L", "F")

_TAGS = {
    "source_to_detector": "DistanceSourceToDetector",
    "source_to_patient": "DistanceSourceToPatient",
    "pitch": "ImagerPixelSpacing",
    "angles": "PositionerPrimaryAngle and PositionerSecondaryAngle, or ViewPosition",
}


@dataclass(frozen=True)
class Acquisition:
    """How a radiograph was taken; None for what is not known.

    ``dataclasses.replace`` puts in what a file lacks.

    Attributes:
        source_to_detector: mm.
        source_to_patient: mm, to the isocenter.
        pitch: mm on the detector, (row, column).
        angles: positioner's (primary, secondary), radians, in DICOM's sense: see
            ``geometry.convert.from_dicom_angles``.
        offset: mm on the detector, (row, column) of the stored image: its center from
            where the central ray ends.
        orientation: letters of the patient's direction along the stored image's rows
            (to the right) and columns (down). Without them the image is taken to be
            what an observer at the detector sees, as in angiography.
    """

    source_to_detector: float | None = None
    source_to_patient: float | None = None
    pitch: tuple[float, float] | None = None
    angles: tuple[float, float] | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    orientation: tuple[str, str] | None = None

    @classmethod
    def from_header(cls, header: Dataset) -> Acquisition:
        """From the tags of a CR, DX, XA or RF image.

        ImagerPixelSpacing is the pitch on the detector. PixelSpacing serves where it is
        missing: as it is, or, where PixelSpacingCalibrationType says that it holds at
        the patient's depth, times EstimatedRadiographicMagnificationFactor. Angles go
        before ViewPosition in XA and RF, after it elsewhere, where stands write angles
        of their own. Angles that move during a run are not known for its frames.
        """
        orientation = _letters(header)
        angles, hung = _angles(header)
        return cls(
            source_to_detector=_positive(header, "DistanceSourceToDetector"),
            source_to_patient=_positive(header, "DistanceSourceToPatient"),
            pitch=_pitch(header),
            angles=angles,
            offset=_offset(header),
            orientation=orientation or hung,
        )

    def missing(self) -> dict[str, str]:
        """Fields that a camera needs and that are None, and the tags they come from."""
        return {name: tag for name, tag in _TAGS.items() if getattr(self, name) is None}

    def camera(
        self, shape: Shape2, *, isocenter: ArrayLike = (0.0, 0.0, 0.0)
    ) -> tuple[Camera, bool]:
        """The camera, and whether its image is the stored one mirrored.

        Args:
            shape: (rows, cols), as stored.
            isocenter: (3,), world mm.

        Returns:
            The camera of the stored image, or of it with its columns reversed
            (``np.fliplr``) where the second is True.

        Raises:
            ValueError: for what is missing, by the names of its tags; values that are
                impossible; an orientation that the line of sight contradicts.
        """
        missing = self.missing()
        if (
            self.source_to_detector is None
            or self.source_to_patient is None
            or self.pitch is None
            or self.angles is None
        ):
            raise ValueError(
                f"the header must have {'; '.join(missing.values())}; give what it "
                f"lacks as {', '.join(missing)}"
            )
        camera = from_dicom_angles(
            *self.angles,
            source_to_detector=self.source_to_detector,
            source_to_patient=self.source_to_patient,
            pitch=self.pitch,
            shape=shape,
            isocenter=isocenter,
        )
        turns, mirrored = 0, True
        if self.orientation is not None:
            turns, mirrored = stored_as(camera, self.orientation)
        turn = RigidTransform.from_rotation(axis_rotation("z", turns * np.pi / 2))
        return replace(
            camera,
            world_from_camera=camera.world_from_camera @ turn,
            principal_point=self.principal_point(shape, mirrored=mirrored),
        ), mirrored

    def principal_point(self, shape: Shape2, *, mirrored: bool) -> Vector2:
        """(2,), pixel (row, column) that the central ray hits.

        Args:
            shape: (rows, cols).
            mirrored: whether the stored image's columns are reversed.
        """
        row, col = np.asarray(self.offset) / np.asarray(self.pitch or (1.0, 1.0))
        shift = np.array([row, -col if mirrored else col])
        return jnp.asarray((np.asarray(shape) - 1) / 2 - shift, float)


def stored_as(camera: Camera, orientation: tuple[str, str]) -> tuple[int, bool]:
    """How an image whose rows and columns have known directions relates to a camera's.

    Args:
        camera: of the line of sight; only its rotation matters.
        orientation: letters of the patient's direction to the right and down.

    Returns:
        Quarter turns about the camera's z, and whether the columns are to be reversed,
        that make the image the camera's.

    Raises:
        ValueError: for directions that no turn brings to the camera's.
    """
    right, down = (_direction(text) for text in orientation)
    x, y, _ = np.asarray(camera.world_from_camera.rotation, dtype=float).T
    scores = {}
    for turns, (cos, sin) in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
        turned_x, turned_y = cos * x + sin * y, cos * y - sin * x
        for mirrored in (False, True):
            sign = -1.0 if mirrored else 1.0
            scores[turns, mirrored] = sign * right @ turned_x + down @ turned_y
    best = max(scores, key=lambda pair: scores[pair])
    require(
        scores[best] >= _AGREES_FROM,
        f"PatientOrientation must fit the line of sight, {' and '.join(orientation)} "
        "do not: rows or columns would run along the rays",
    )
    return best


def _direction(text: str) -> np.ndarray:
    total = np.zeros(3)
    for i, letter in enumerate(text):
        total += _SMALLER**i * np.asarray(_DIRECTIONS[letter], dtype=float)
    return total / np.linalg.norm(total)


def _letters(header: Dataset) -> tuple[str, str] | None:
    """PatientOrientation, if it says something that can be used."""
    words = header.get("PatientOrientation", None) or ()
    if len(words) != 2 or not all(w and set(w) <= _DIRECTIONS.keys() for w in words):
        return None
    return str(words[0]), str(words[1])


def _angles(
    header: Dataset,
) -> tuple[tuple[float, float] | None, tuple[str, str] | None]:
    """Primary and secondary angle, and how the film of a named view is hung."""
    told = None
    primary = _number(header, "PositionerPrimaryAngle")
    if primary is not None and header.get("PositionerMotion", "") != "DYNAMIC":
        secondary = _number(header, "PositionerSecondaryAngle") or 0.0
        told = float(np.deg2rad(primary)), float(np.deg2rad(secondary))
    view = header.get("ViewPosition", None)
    is_stand = header.get("Modality", None) not in ("XA", "RF")
    if view in _VIEW_POSITIONS and (is_stand or told is None):
        hung = _HUNG if view in ("AP", "PA") else None
        return (float(np.deg2rad(_VIEW_POSITIONS[view])), 0.0), hung
    return told, None


def _pitch(header: Dataset) -> tuple[float, float] | None:
    found = _pair(header, "ImagerPixelSpacing")
    if found is None:
        found, factor = _pair(header, "PixelSpacing"), 1.0
        if header.get("PixelSpacingCalibrationType", None):
            factor = _positive(header, "EstimatedRadiographicMagnificationFactor")
        if found is None or factor is None:
            return None
        found = found * factor
    return (float(found[0]), float(found[1])) if (found > 0).all() else None


def _offset(header: Dataset) -> tuple[float, float]:
    """Of a field that is read out of the detector beside its middle.

    The active area's middle is taken to lie on the central ray. FieldOfViewOrigin
    counts before the rotation, clockwise, and the flip that follows it.
    """
    origin = _pair(header, "FieldOfViewOrigin")
    active = _pair(header, "DetectorActiveDimensions")
    element = _pair(header, "DetectorElementSpacing")
    if element is None:
        element = _pair(header, "DetectorElementPhysicalSize")
    pitch = _pitch(header)
    if origin is None or active is None or element is None or pitch is None:
        return 0.0, 0.0
    active_origin = _pair(header, "DetectorActiveOrigin")
    start = origin - (0.0 if active_origin is None else active_origin)
    turns = round((_number(header, "FieldOfViewRotation") or 0.0) / 90) % 4
    size = np.array([header.Rows, header.Columns]) * pitch
    size = size[::-1] if turns % 2 else size
    row, col = start * element + size / 2 - active / 2
    for _ in range(turns):
        row, col = col, -row
    if header.get("FieldOfViewHorizontalFlip", "NO") == "YES":
        col = -col
    return float(row), float(col)


def _number(header: Dataset, keyword: str) -> float | None:
    value = header.get(keyword, None)
    return None if value is None or value == "" else float(value)


def _positive(header: Dataset, keyword: str) -> float | None:
    """None for zero as well, which files write for what they do not know."""
    value = _number(header, keyword)
    return value if value is not None and value > 0 else None


def _pair(header: Dataset, keyword: str) -> np.ndarray | None:
    value = header.get(keyword, None)
    if value is None or value == "":
        return None
    numbers = np.atleast_1d(np.asarray(value, dtype=float))
    return np.broadcast_to(numbers, (2,)) if numbers.size in (1, 2) else None
