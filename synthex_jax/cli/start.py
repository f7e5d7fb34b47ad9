"""Where a registration starts: detector and first pose, from options and files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import require
from synthex_jax.cli.arguments import VIEWS
from synthex_jax.files import existing, naming
from synthex_jax.geometry import convert
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.geometry.transform import RigidTransform, axis_rotation
from synthex_jax.radiographs.acquisition import Acquisition, stored_as
from synthex_jax.radiographs.radiograph import Radiograph
from synthex_jax.registration.pnp import PnPStatus, pose_from_landmarks
from synthex_jax.typing import ArrayLike, Shape2
from synthex_jax.viz.orientation import view_name

# Of pixels' sides, one to the other: a device's panel binned to whole pixels.
_SAME_WITHIN = 0.01
# Of the image's longer side, root mean square: landmarks set by hand are far nearer.
_MISFIT = 0.05
_LEAST_LANDMARKS = 4

# Which option gives what a DICOM header lacks.
_OPTIONS = {
    "source_to_detector": "--source-to-detector",
    "source_to_patient": "--source-to-isocenter",
    "pitch": "--pitch",
    "angles": "--view or --orbital and --angular",
}


@dataclass(frozen=True)
class Setup:
    """Options about the device and its pose; None where they were not given.

    Attributes:
        device: a C-arm's name.
        pitch, source_to_detector, source_to_isocenter: mm.
        view: a view's name.
        orbital, angular, roll: degrees.
        isocenter: world mm.
    """

    device: str | None
    pitch: float | None
    source_to_detector: float | None
    source_to_isocenter: float | None
    view: str | None
    orbital: float | None
    angular: float | None
    roll: float | None
    isocenter: tuple[float, float, float] | None

    @property
    def has_angles(self) -> bool:
        """Whether a view or an angle was given."""
        return any(
            given is not None
            for given in (self.view, self.orbital, self.angular, self.roll)
        )

    def require_consistent(self) -> None:
        """Refuse a view together with angles, and what is not positive."""
        angles = (self.orbital, self.angular, self.roll)
        require(
            self.view is None or angles == (None, None, None),
            f"--view {self.view} sets the angles; leave out --orbital, --angular and "
            "--roll, or --view",
        )
        for name in ("pitch", "source_to_detector", "source_to_isocenter"):
            value = getattr(self, name)
            require(
                value is None or (np.isfinite(value) and value > 0),
                f"--{name.replace('_', '-')} must be positive mm, got {value}",
            )

    def completed(self, told: Acquisition) -> Acquisition:
        """What a header tells, with the options in place of what they say otherwise."""
        device = self._device()
        given = {
            "source_to_detector": self.source_to_detector
            or (device and float(device.source_to_detector)),
            "source_to_patient": self.source_to_isocenter
            or (device and float(device.source_to_isocenter)),
            "pitch": self.pitch and (self.pitch, self.pitch),
        }
        return replace(told, **{k: v for k, v in given.items() if v is not None})

    def detector(self, name: str, radiograph: Radiograph, told: Acquisition) -> Camera:
        """The radiograph's camera, but for its pose.

        Args:
            name: of the radiograph, for the errors.
            radiograph: with a camera, if its file tells one.
            told: by a DICOM header, completed.

        Raises:
            ValueError: where neither file nor options tell the distance or the pitch,
                and for an image of another shape than the device's.
        """
        shape = radiograph.shape
        pitch, distance = told.pitch, told.source_to_detector
        principal_point = told.principal_point(shape, mirrored=radiograph.mirrored)
        if self.device is not None and self.pitch is None:
            pitch = self._panel(name, shape).pitch
        elif radiograph.camera is not None:
            camera = radiograph.camera
            pitch = camera.pitch if pitch is None else pitch
            distance = camera.source_to_detector if distance is None else distance
            principal_point = camera.principal_point
        missing = [
            option
            for option, value in (
                ("--pitch", pitch),
                ("--source-to-detector", distance),
            )
            if value is None
        ]
        if pitch is None or distance is None:
            raise ValueError(
                f"{name} does not tell how it was taken; give {' and '.join(missing)}, "
                "or --device"
            )
        return Camera.create(
            RigidTransform.identity(),
            source_to_detector=distance,
            pitch=pitch,
            shape=shape,
            principal_point=principal_point,
        )

    def require_pose(
        self, name: str, radiograph: Radiograph, told: Acquisition
    ) -> None:
        """Refuse, before the CT is read, a start that nothing tells."""
        known = radiograph.camera is not None
        if known and not self.has_angles:
            require(
                self.isocenter is None or told.angles is not None,
                f"{name} tells the pose; --isocenter goes with --view or angles",
            )
            return
        needed = set(_OPTIONS)  # of a header's own pose; else the detector is there
        if known:
            needed = set()
        elif self.has_angles:
            needed = {"source_to_patient"}
        elif told.angles is None:
            needed = {"angles", "source_to_patient"}
        lacks = {k: tag for k, tag in told.missing().items() if k in needed}
        options = ", ".join(_OPTIONS[field] for field in lacks)
        marks = ", or --landmarks-3d and --landmarks-2d" if "angles" in lacks else ""
        require(
            not lacks,
            f"{name} does not tell {'; '.join(lacks.values())}: give {options}{marks}",
        )

    def start(
        self,
        detector: Camera,
        radiograph: Radiograph,
        told: Acquisition,
        center: ArrayLike,
    ) -> tuple[Camera, Radiograph]:
        """The first pose, and the radiograph as that camera sees it.

        Args:
            detector: see ``detector``.
            radiograph: with a camera, if its file tells one.
            told: by a DICOM header, completed.
            center: of the CT, world mm.
        """
        isocenter = jnp.asarray(center if self.isocenter is None else self.isocenter)
        known = radiograph.camera
        if known is not None and not self.has_angles:
            if told.angles is not None:  # a header's, about the patient
                known = known.moved(jnp.concatenate([jnp.zeros(3), isocenter]))
            return replace(detector, world_from_camera=known.world_from_camera), (
                radiograph
            )
        away = told.source_to_patient
        if away is None and known is not None:
            away = known.depth(isocenter)
        carm = CArm.create(
            source_to_detector=detector.source_to_detector,
            source_to_isocenter=0.0 if away is None else away,
            pitch=detector.pitch,
            shape=detector.shape,
        )
        if self.view is not None:
            pose = carm.view(VIEWS[self.view], isocenter=isocenter)
        else:
            angles = (self.orbital, self.angular, self.roll)
            pose = carm.at(*(np.deg2rad(a or 0.0) for a in angles), isocenter=isocenter)
        camera = replace(detector, world_from_camera=pose.world_from_camera)
        if told.orientation is None:
            return camera, radiograph
        turns, mirrored = stored_as(camera, told.orientation)
        if self.roll is None:
            turn = RigidTransform.from_rotation(axis_rotation("z", turns * np.pi / 2))
            pose = camera.world_from_camera @ turn
            camera = replace(camera, world_from_camera=pose)
        if not mirrored:
            return camera, radiograph
        middle = told.principal_point(detector.shape, mirrored=True)
        return replace(camera, principal_point=middle), radiograph.flipped()

    def _device(self) -> CArm | None:
        if self.device is None:
            return None
        return getattr(CArm, self.device.replace("-", "_"))()

    def _panel(self, name: str, shape: Shape2) -> CArm:
        device = self._device()
        assert device is not None
        panel = device.resized(shape)
        stretch = (panel.pitch / device.pitch) / (panel.pitch / device.pitch)[::-1]
        rows, cols = device.shape
        require(
            abs(float(stretch[0]) - 1) < _SAME_WITHIN,
            f"{name} is {shape[0]} x {shape[1]} pixels, of another shape than the "
            f"detector of --device {self.device}, {rows} x {cols}; give the --pitch of "
            "its pixels if it was cropped",
        )
        return panel


def read_pixels(path: Path) -> dict[str, np.ndarray]:
    """Where landmarks are seen: name to (row, column), from a table.

    Args:
        path: .csv with a header that holds name, row and column (or col).

    Raises:
        FileNotFoundError, ValueError: that name the path and the line.
    """
    path = existing(path, "a table of landmarks in the image (name,row,column)")
    with naming(path), open(path, newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        columns = {c.strip().lower(): c for c in table.fieldnames or ()}
        column = columns.get("column", columns.get("col"))
        require(
            {"name", "row"} <= columns.keys() and column is not None,
            "line 1 must name the columns: name,row,column; got "
            f"{','.join(table.fieldnames or ())!r}",
        )
        found = {}
        for line in table:
            where = f"line {table.line_num}"
            name = (line[columns["name"]] or "").strip()
            require(
                bool(name) and name not in found,
                f"{where} must have a name of its own, got {name!r}",
            )
            try:
                texts = (line[columns["row"]], line[str(column)])
                pixel = np.array([float(text) for text in texts])
            except (TypeError, ValueError):
                pixel = np.full(2, np.nan)
            require(
                bool(np.isfinite(pixel).all()),
                f"{where} must have numbers for row and column",
            )
            found[name] = pixel
    return found


def matched(
    points: Mapping[str, np.ndarray], pixels: Mapping[str, np.ndarray]
) -> list[str]:
    """The names that both have.

    Raises:
        ValueError: for less than four.
    """
    names = [name for name in points if name in pixels]
    require(
        len(names) >= _LEAST_LANDMARKS,
        f"--landmarks-3d and --landmarks-2d must share {_LEAST_LANDMARKS} names or "
        f"more, they share {', '.join(names) or 'none'}; the first has "
        f"{', '.join(points)}, the second {', '.join(pixels)}",
    )
    return names


def from_landmarks(
    points: Mapping[str, np.ndarray],
    pixels: Mapping[str, np.ndarray],
    detector: Camera,
    *,
    mirrored: bool,
) -> tuple[Camera, str]:
    """The pose that landmarks give, and a line about it.

    Args:
        points: name to (3,), world mm.
        pixels: name to (row, column) in the file's image.
        detector: intrinsics.
        mirrored: whether the file's columns are reversed in the radiograph.

    Raises:
        ValueError: where they give none, or do not fit it.
    """
    names = matched(points, pixels)
    seen = jnp.asarray(np.stack([pixels[name] for name in names]), float)
    if mirrored:
        seen = convert.mirrored(seen, detector.shape)
    found = pose_from_landmarks(
        np.stack([points[name] for name in names]), seen, detector
    )
    status = PnPStatus(int(found.status))
    require(
        status in (PnPStatus.SOLVED, PnPStatus.LIMIT),
        "the landmarks do not determine a pose "
        f"({status.name.lower()}); give more, spread in depth",
    )
    rms = float(found.rms)
    require(
        rms < _MISFIT * max(detector.shape),
        f"the landmarks fit no pose, the best leaves {rms:.0f} pixels rms; are names "
        "exchanged, or is the picture mirrored (--flip)?",
    )
    return found.camera, (
        f"start: {view_name(found.camera)}, from {len(names)} landmarks that fit to "
        f"{rms:.1f} pixels rms"
    )
