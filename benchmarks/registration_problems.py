"""What is registered, as files: NumPy only, so that every contender reads the same.

A radiograph, or target, is ``<ct>-s<seed>-v<digest>-<number>.npz`` in the cache folder,
the digest that of all settings:

=====================  =============================================================
``image``              (n, n) float32, attenuation: ``log_image`` of the reading
``weights``            (n, n) float32: 0 where a pixel's reading was clipped, else 1
``world_from_camera``  (4, 4), the truth
``start_<class>``      (4, 4), world from camera, of ``easy``, ``medium``, ``hard``
``twist_<class>``      (6,), from the truth to the start, about ``about``
``source_to_detector`` (), mm
``pitch``              (2,), mm; the principal point is the middle of the image
``cpu_seconds``        () that the rendering took
=====================  =============================================================

What is registered to it is ``<ct>-v<digest>.npz``:

=====================  =============================================================
``attenuation``        (nx, ny, nz) float32, 1/mm
``affine``             (4, 4), world from voxel
``points``             (n, 3), world mm, on bones: errors are measured at them
``about``              (3,), world mm, their middle, which views and starts turn about
``what``               in words
=====================  =============================================================
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

CLASSES = {"easy": (5.0, 10.0), "medium": (15.0, 30.0), "hard": (30.0, 60.0)}
"""Standard deviations of the starts about and along each axis: degrees, mm."""


@dataclass(frozen=True)
class Settings:
    """How targets are made.

    Attributes:
        pixels: a side of the image that is registered.
        oversampling: pixels of the target a pixel of it, each way.
        kvp: peak tube voltage.
        basis: the tissues.
        quanta: a pixel of the target, behind the middle of the body.
        orbital_deg: largest angle from AP.
        angular_deg: likewise.
        roll_deg: likewise.
        isocenter_mm: largest distance from ``about`` along each axis.
        version: of the code.
    """

    pixels: int = 200
    oversampling: int = 2
    kvp: float = 90.0
    basis: tuple[str, ...] = ("adipose", "soft tissue", "cortical bone")
    quanta: float = 1000.0
    orbital_deg: float = 45.0
    angular_deg: float = 20.0
    roll_deg: float = 10.0
    isocenter_mm: float = 20.0
    version: int = 1

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits."""
        text = json.dumps([asdict(self), CLASSES])
        return hashlib.sha256(text.encode()).hexdigest()[:8]


SETTINGS = {False: Settings(), True: Settings(pixels=64)}
"""By whether the run is a quick one."""


@dataclass(frozen=True)
class Target:
    """One radiograph of the set.

    Attributes:
        ct: key into ``registration_cts.CTS``.
        number: counted from 0 for each CT.
        seed: of the whole set.
    """

    ct: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """As results call it."""
        return f"{self.ct}-{self.number:04d}"

    def path(self, folder: Path, settings: Settings) -> Path:
        """Of its file."""
        name = f"{self.ct}-s{self.seed}-v{settings.digest}-{self.number:04d}.npz"
        return folder / name

    def generator(self) -> np.random.Generator:
        """Of its pose, its starts and its noise."""
        return np.random.default_rng(
            (self.seed, zlib.crc32(self.ct.encode()), self.number)
        )


def targets(cts: Sequence[str], num: int, seed: int) -> list[Target]:
    """As many as asked for, the CTs taking turns."""
    return [Target(cts[i % len(cts)], i // len(cts), seed) for i in range(num)]


def body_path(folder: Path, ct: str, settings: Settings) -> Path:
    """The file of what is registered."""
    return folder / f"{ct}-v{settings.digest}.npz"


@dataclass(frozen=True)
class Body:
    """What is registered.

    Attributes:
        attenuation: (nx, ny, nz) float32, 1/mm.
        affine: (4, 4), world from voxel.
        points: (n, 3), world mm.
        about: (3,), world mm.
        what: in words.
    """

    attenuation: np.ndarray
    affine: np.ndarray
    points: np.ndarray
    about: np.ndarray
    what: str


@dataclass(frozen=True)
class Problem:
    """What a contender is given.

    Attributes:
        key: of the result.
        level: class of the start.
        ct: of the body.
        image: (n, n), attenuation.
        weights: (n, n), 0 where a pixel was clipped.
        start: (4, 4), world from camera.
        source_to_detector: mm.
        pitch: (2,), mm.
    """

    key: str
    level: str
    ct: str
    image: np.ndarray
    weights: np.ndarray
    start: np.ndarray
    source_to_detector: float
    pitch: np.ndarray


@cache
def load_body(folder: Path, ct: str, settings: Settings) -> Body:
    """From the cache folder."""
    with np.load(body_path(folder, ct, settings)) as arrays:
        return Body(
            attenuation=arrays["attenuation"],
            affine=arrays["affine"],
            points=arrays["points"],
            about=arrays["about"],
            what=str(arrays["what"]),
        )


def load_problem(
    folder: Path, target: Target, level: str, settings: Settings
) -> Problem:
    """From the cache folder."""
    with np.load(target.path(folder, settings)) as arrays:
        return Problem(
            key=f"{target.name} {level}",
            level=level,
            ct=target.ct,
            image=arrays["image"],
            weights=arrays["weights"],
            start=arrays[f"start_{level}"],
            source_to_detector=float(arrays["source_to_detector"]),
            pitch=arrays["pitch"],
        )
