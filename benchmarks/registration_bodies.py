"""A pelvis and two femurs, each moved on its own, in one radiograph.

The true CT is made from the real one: each femur, by its labels, is taken out, soft
tissue fills its place, and it is put back turned about the hip. The bodies that are
registered are that CT without femurs, and the femurs less the soft tissue. Where the CT
ends in the thighs its last slice is repeated: a femur that turns stays whole. Views
turn about the middle between the femoral heads.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from registration_cts import Ct, load
from registration_ours import NEARBY, camera_at
from registration_problems import CLASSES, Settings, Target
from registration_targets import carm, radiograph, save

import synthex_jax as sx
from synthex_jax.registration.metrics import depth_error, geodesic_se3, in_plane_error
from synthex_jax.registration.register import register_bodies
from synthex_jax.volumes.volume import Volume

NAMES = ("pelvis", "femur_left", "femur_right")
_PELVIC_BONES = (25, 77, 78)
_FEMURS = (75, 76)
_SOFT_TISSUE = 53.0  # HU (``volumes.materials``)
# How a hip is turned against the CT: standard deviation about each axis.
_TURN_DEG = 5.0
# Height of a femoral head, mm: its uppermost part holds the joint's center.
_HEAD = 45.0
_MARGIN = 2  # voxels around a femur
# How far the thighs go on below the CT, mm: a femur of 100 mm that turns by 15 degrees
# about its head reaches 30 mm farther.
_THIGHS = 36.0
_POINTS = 120
_START = "easy"
# Of the radiographs: those of other code are other files.
_VERSION = 2


class Hips:
    """A CT that was taken apart.

    Attributes:
        about: (3,), world mm, what the views turn about.
        bodies: what is registered, 1/mm.
        points: (n, 3) world mm, of each body.
    """

    def __init__(self, ct: Ct) -> None:
        assert ct.labels is not None, "a pelvis and femurs are told apart by labels"
        hu, labels = np.asarray(ct.volume.data, np.float32), np.asarray(ct.labels.data)
        affine = np.asarray(ct.volume.affine, np.float64)
        assert affine[2, 2] > 0, "slices go up"
        slices = round(_THIGHS / affine[2, 2])
        below = ((0, 0), (0, 0), (slices, 0))
        affine[:3, 3] -= slices * affine[:3, 2]
        self._affine = affine
        femurs = np.isin(labels, _FEMURS)
        empty = np.where(femurs, np.float32(_SOFT_TISSUE), hu)
        self._filled = np.pad(empty, below, mode="edge")
        self._hu = np.where(np.pad(femurs, below), np.pad(hu, below), self._filled)
        labels = np.pad(labels, below)
        masks = [labels == femur for femur in _FEMURS]
        whole, filled = (
            Volume.from_array(data, affine).attenuation()
            for data in (self._hu, self._filled)
        )
        difference = np.asarray(whole.data - filled.data)
        self.bodies = (
            filled,
            *(self._cropped(np.where(mask, difference, 0), mask) for mask in masks),
        )
        self._masks = masks
        self.points = [
            self._sample(mask) for mask in (np.isin(labels, _PELVIC_BONES), *masks)
        ]
        self._heads = [self._head(mask) for mask in masks]
        self.about = np.mean(self._heads, axis=0)

    @classmethod
    def create(cls, name: str, data: Path | None) -> Hips:
        """Of one of ``registration_cts.CTS``."""
        return cls(load(name, data))

    def _world(self, voxels: np.ndarray) -> np.ndarray:
        return voxels @ self._affine[:3, :3].T + self._affine[:3, 3]

    def _cropped(self, data: np.ndarray, mask: np.ndarray) -> Volume:
        voxels = np.argwhere(mask)
        low = np.maximum(voxels.min(0) - _MARGIN, 0)
        high = np.minimum(voxels.max(0) + 1 + _MARGIN, mask.shape)
        volume = Volume.from_array(data.astype(np.float32), self._affine)
        return sx.cropped(volume, low.tolist(), high.tolist())

    def _sample(self, mask: np.ndarray) -> np.ndarray:
        voxels = np.argwhere(mask)
        chosen = np.random.default_rng(0).choice(len(voxels), _POINTS, replace=False)
        return self._world(voxels[chosen])

    def _head(self, mask: np.ndarray) -> np.ndarray:
        """About the center of the hip joint: the middle of the femur's upper end."""
        points = self._world(np.argwhere(mask))
        top = points[points[:, 2] > points[:, 2].max() - _HEAD]
        return top.mean(0)

    def moved(self, motions: list[np.ndarray]) -> Volume:
        """The CT in HU with each femur moved by a (4, 4) of the world."""
        from scipy.ndimage import affine_transform

        hu = self._filled.copy()
        inverse = np.linalg.inv(self._affine)
        for mask, motion in zip(self._masks, motions, strict=True):
            back = inverse @ np.linalg.inv(motion) @ self._affine
            excess = np.where(mask, self._hu - self._filled, 0)
            hu += affine_transform(excess, back[:3, :3], tuple(back[:3, 3]), order=1)
        return Volume.from_array(hu, self._affine)

    def motions(self, rng: np.random.Generator) -> list[np.ndarray]:
        """A turn of each femur about its head."""
        found = []
        for head in self._heads:
            twist = np.zeros(6)
            twist[:3] = rng.standard_normal(3) * np.deg2rad(_TURN_DEG)
            shift = np.eye(4)
            shift[:3, 3] = head
            turn = np.asarray(sx.RigidTransform.from_twist(twist).matrix, np.float64)
            found.append(shift @ turn @ np.linalg.inv(shift))
        return found


def path(target: Target, folder: Path, settings: Settings) -> Path:
    """The file of a radiograph: as a target's, with poses of three bodies."""
    whole = target.path(folder, settings)
    return whole.with_name(f"hips{_VERSION}-{whole.name}")


def render(hips: Hips, target: Target, folder: Path, settings: Settings) -> None:
    """The radiograph, if the cache does not have it yet."""
    if path(target, folder, settings).exists():
        return
    rng = target.generator()
    largest = (settings.orbital_deg, settings.angular_deg, settings.roll_deg)
    angles = np.deg2rad(rng.uniform(-1, 1, 3) * largest)
    truth = carm(settings).at(*angles, isocenter=hips.about)
    motions = hips.motions(rng)
    simulation = sx.realistic(settings.kvp, tissues=sx.Tissues.create(settings.basis))
    body = simulation.tissues.composition(hips.moved(motions))
    key = jax.random.key(int(rng.integers(2**31)))
    arrays = radiograph(body, truth, simulation, settings, key)
    pose = np.asarray(truth.world_from_camera.matrix, np.float64)
    truths = [pose, *(np.linalg.inv(motion) @ pose for motion in motions)]
    degrees, mm = CLASSES[_START]
    starts = []
    for own, volume in zip(truths, hips.bodies, strict=True):
        twist = rng.standard_normal(6) * np.repeat([np.deg2rad(degrees), mm], 3)
        camera = camera_at(
            own, float(truth.source_to_detector), np.asarray(truth.pitch), truth.shape
        )
        starts.append(camera.moved(twist, about=volume.center).world_from_camera.matrix)
    arrays |= {
        "world_from_camera": np.stack(truths),
        "start": np.stack(starts),
        "source_to_detector": np.asarray(truth.source_to_detector),
        "pitch": np.asarray(truth.pitch),
    }
    save(path(target, folder, settings), arrays)


def measure(hips: Hips, target: Target, folder: Path, settings: Settings) -> dict:
    """A line: the errors of each body."""
    with np.load(path(target, folder, settings)) as arrays:
        kept = dict(arrays)
    image, distance = kept["image"], float(kept["source_to_detector"])
    cameras = {
        name: [
            camera_at(pose, distance, kept["pitch"], image.shape) for pose in kept[name]
        ]
        for name in ("world_from_camera", "start")
    }
    found = register_bodies(
        jnp.asarray(image),
        hips.bodies,
        cameras["start"],
        weights=jnp.asarray(kept["weights"]),
        search=NEARBY,
    )
    line: dict = {"key": f"{target.name} hips", "status": int(found.status)}
    for i, name in enumerate(NAMES):
        estimate, truth = found.cameras[i][0], cameras["world_from_camera"][i]
        points = jnp.asarray(hips.points[i], float)
        line[name] = {
            "in_plane": float(in_plane_error(estimate, truth, points)),
            "depth": float(depth_error(estimate, truth, points)),
            "degrees": float(np.rad2deg(geodesic_se3(estimate, truth).rotation)),
        }
    return line
