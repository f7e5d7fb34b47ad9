"""Whether the covariance covers the true error where noise is all that is wrong.

Radiographs by the renderer that registers, with the noise of a number of photons: the
90 % ellipsoid should hold 90 % of the true poses.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from registration_ours import camera_at, camera_of
from registration_problems import Settings, Target, load_body, load_problem

import synthex_jax as sx
from synthex_jax.registration.register import LEVELS, register

LEVEL = 0.9
# A pixel behind the middle of the body. Fluoroscopy has 20 to 300 quanta in pixels of
# 0.4 mm (``exposure``), of which 29 go into one of 2.15 mm; a target has 4000.
QUANTA = (600.0, 4000.0)

_START = "easy"
# The last one at the CT's own resolution, as the radiograph: noise is all that differs.
# It goes on to the optimum that the covariance is about: noise moves it by 3 um.
_LEVELS = (*LEVELS[:-1], replace(LEVELS[-1], spacing=0.5, tolerance=1e-3))


def measure(target: Target, quanta: float, folder: Path, settings: Settings) -> dict:
    """A line: the squared Mahalanobis distance of the truth, and the errors' size."""
    arrays = load_body(folder, target.ct, settings)
    body = sx.Volume.from_array(arrays.attenuation, arrays.affine)
    problem = load_problem(folder, target, _START, settings)
    with np.load(target.path(folder, settings)) as kept:
        pose = kept["world_from_camera"]
    truth = camera_at(
        pose, problem.source_to_detector, problem.pitch, problem.image.shape
    )
    key = jax.random.fold_in(jax.random.key(target.number), int(quanta))
    image = _noisy(key, sx.line_integrals(body, truth), quanta)
    found = register(image, body, camera_of(problem), levels=_LEVELS)
    twist = error_twist(found.camera, truth, np.asarray(body.center))
    covariance = np.asarray(found.covariance, float)
    return {
        "key": name(target, quanta),
        "mahalanobis": mahalanobis(twist, covariance),
        "status": int(found.status),
        "twist": twist.tolist(),
        "std": np.sqrt(np.diag(covariance)).tolist(),
    }


def name(target: Target, quanta: float) -> str:
    """Of a result."""
    return f"{target.name} noise-{quanta:g}"


def _noisy(key: jax.Array, image: jax.Array, photons: float) -> jax.Array:
    """As many photons as asked for in the median of the middle half of the field."""
    margin = [n // 4 for n in image.shape]
    middle = image[margin[0] : -margin[0], margin[1] : -margin[1]]
    sent = photons * jnp.exp(jnp.median(middle))
    # In the open field there are so many that a Poisson number is a normal one.
    mean = sent * jnp.exp(-image)
    counts = mean + jnp.sqrt(mean) * jax.random.normal(key, image.shape)
    return jnp.log(sent / jnp.maximum(counts, 1.0))


def error_twist(found: sx.Camera, truth: sx.Camera, center: np.ndarray) -> np.ndarray:
    """(6,): ``truth`` is ``found.moved(twist, about=center)``; float64."""
    motion = np.asarray(truth.world_from_camera.matrix, float) @ np.linalg.inv(
        np.asarray(found.world_from_camera.matrix, float)
    )
    shift = np.eye(4)
    shift[:3, 3] = center
    about = np.linalg.inv(shift) @ motion @ shift
    return np.asarray(sx.RigidTransform.from_matrix(about).twist, float)


def mahalanobis(twist: np.ndarray, covariance: np.ndarray) -> float:
    """Squared; infinite where the covariance says nothing."""
    if not np.all(np.isfinite(covariance)):
        return float("inf")
    return float(twist @ np.linalg.solve(covariance, twist))
