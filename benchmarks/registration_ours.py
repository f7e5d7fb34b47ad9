"""The method under test, and what only it can tell: iterations and covariance."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from registration_problems import Problem, Settings, load_body

import synthex_jax as sx
from synthex_jax.registration.register import Registration, register
from synthex_jax.registration.search import Search

# Of starts that are nearly right, a few others nearby are enough, and a few steps from
# each: plain cross-correlation takes a blurred image for a change of depth.
NEARBY = Search.create(
    rotation=float(np.deg2rad(5)), translation=10.0, starts=8, kept=3, iterations=7
)
# An optimum is reached where all targets stay within this of it in the mean, mm.
_REACHED = 0.1


def _ours(problem: Problem, body: sx.Volume) -> Registration:
    """The method under test: all that is known is in the problem."""
    search = NEARBY if problem.level == "easy" else Search.create()
    return register(
        jnp.asarray(problem.image),
        body,
        camera_of(problem),
        weights=jnp.asarray(problem.weights),
        search=search,
    )


def camera_of(problem: Problem) -> sx.Camera:
    """The start."""
    return camera_at(
        problem.start, problem.source_to_detector, problem.pitch, problem.image.shape
    )


def camera_at(
    pose: np.ndarray, distance: float, pitch: np.ndarray, shape: tuple[int, ...]
) -> sx.Camera:
    """A camera with the principal point in the middle of the image."""
    return sx.Camera.create(
        sx.RigidTransform.from_matrix(pose),
        source_to_detector=distance,
        pitch=pitch,
        shape=(shape[0], shape[1]),
    )


@dataclass
class Ours:
    """A contender: see ``registration_cell.Contender``."""

    folder: Path
    settings: Settings
    about: dict = field(init=False)

    def __post_init__(self) -> None:
        self._bodies: dict[str, sx.Volume] = {}
        self._compiled = 0
        jax.monitoring.register_event_duration_secs_listener(self._count)
        device = jax.devices()[0]
        self.about = {
            "platform": device.platform,
            "device": device.device_kind,
            "versions": {"synthex_jax": sx.__version__, "jax": jax.__version__},
        }

    def _count(self, event: str, duration_secs: float, **_: str | int) -> None:
        del duration_secs
        self._compiled += event.endswith("backend_compile_duration")

    def compilations(self) -> int:
        """Programs compiled so far in this process."""
        return self._compiled

    def body(self, ct: str) -> sx.Volume:
        """As it is registered."""
        if ct not in self._bodies:
            arrays = load_body(self.folder, ct, self.settings)
            self._bodies[ct] = sx.Volume.from_array(arrays.attenuation, arrays.affine)
        return self._bodies[ct]

    def render(self, problem: Problem) -> np.ndarray:
        """Line integrals at the start."""
        return np.asarray(sx.line_integrals(self.body(problem.ct), camera_of(problem)))

    def register(self, problem: Problem) -> Registration:
        """The pose found, when it is there."""
        return jax.block_until_ready(_ours(problem, self.body(problem.ct)))

    def line(self, problem: Problem, found: Registration) -> dict:
        """What of the result goes into the results' file."""
        points = load_body(self.folder, problem.ct, self.settings).points
        return {
            "world_from_camera": np.asarray(
                found.camera.world_from_camera.matrix, float
            ).tolist(),
            "status": int(found.status),
            "similarity": float(found.similarity),
            "covariance": np.asarray(found.covariance, float).tolist(),
            "center": np.asarray(self.body(problem.ct).center, float).tolist(),
            **reaching(found, points),
        }


def reaching(found: Registration, points: np.ndarray) -> dict:
    """Iterations in all, and up to where the pose stays close to the last one.

    The second by level too, in each of which the optimum is another.
    """
    history = found.history.taken()
    poses = np.linalg.inv(np.asarray(history.world_from_camera[:, 0], float))
    levels = np.asarray(history.level)
    placed = points @ poses[:, :3, :3].mT + poses[:, None, :3, 3]

    def count(places: np.ndarray) -> int:
        apart = np.linalg.norm(places - places[-1], axis=-1).mean(-1)
        far = np.flatnonzero(apart > _REACHED)
        return int(far[-1]) + 2 if len(far) else 1

    finest = placed[levels == levels[-1]] if len(levels) else placed
    return {
        "iterations": len(levels),
        "iterations_to_optimum": count(placed) if len(levels) else 0,
        "iterations_to_optimum_finest": count(finest) if len(levels) else 0,
    }


def build(name: str, folder: Path, settings: Settings, spec: dict) -> Ours:
    """See ``registration_cell``."""
    del name, spec
    return Ours(folder, settings)
