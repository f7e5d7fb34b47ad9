"""A pose found, in words and to files."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from synthex_jax._version import __version__
from synthex_jax.files import written_whole
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.radiographs.radiograph import Radiograph
from synthex_jax.registration.register import Registration
from synthex_jax.registration.status import Status
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import Scalar, Vector3
from synthex_jax.viz.orientation import view_name
from synthex_jax.volumes.volume import Volume

_WORDS = {
    Status.CONVERGED: "converged",
    Status.LIMIT: "not converged, the iterations ran out: judge by overlay.png",
    Status.DIVERGED: "diverged: less similar than at the start, this is no pose",
    Status.NO_OVERLAP: "no overlap: the body left the image, this is no pose",
}


def write_pose(
    path: Path,
    found: Registration,
    *,
    center: Vector3,
    mirrored: bool,
    options: Mapping[str, object],
) -> None:
    """Write a registration's result as JSON, whole or not at all; unknown is null.

    Args:
        path: ends in .json.
        found: of one body in one view.
        center: (3,), world mm, of the body, which its covariance is about.
        mirrored: whether the camera is that of the file's image with its columns
            reversed.
        options: of the run.
    """
    camera = found.camera
    contents = {
        "status": Status(int(found.status)).name.lower(),
        "world_from_camera": camera.world_from_camera.matrix,
        "camera_from_world": camera.camera_from_world.matrix,
        "K": camera.K,
        "projection_matrix": camera.projection_matrix,
        "source_to_detector_mm": camera.source_to_detector,
        "pitch_mm": camera.pitch,
        "shape": camera.shape,
        "columns_reversed": mirrored,
        "carm": carm_pose(camera, camera.depth(center)),
        "similarity": found.similarity,
        "iterations": found.iterations,
        "in_plane_std_mm": found.in_plane_std[0, 0],
        "depth_std_mm": found.depth_std[0, 0],
        "covariance": found.covariance,
        "covariance_about_mm": center,
        "conventions": "World: RAS+ mm of the CT. Camera: source at the origin, +z to "
        "the detector, +x along columns, +y down the rows; K and projection_matrix "
        "give (column, row, 1), pixel centers at integers, counted from 0; with "
        "columns_reversed, of the image after its columns are reversed. Covariance: "
        "of a twist of the world (3 radians, 3 mm) about covariance_about_mm.",
        "options": options,
        "versions": {
            "synthex_jax": __version__,
            "jax": jax.__version__,
            "python": platform.python_version(),
        },
    }
    text = json.dumps(_plain(contents), indent=1, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_pictures(
    folder: Path,
    radiograph: Radiograph,
    body: Volume,
    found: Registration,
    *,
    animate: bool,
) -> list[str]:
    """Write overlay.png, convergence.png and, on request, run.gif; their names."""
    from synthex_jax.viz.registration import (
        convergence,
        registration_animation,
        registration_overlay,
    )

    moving = line_integrals(body, found.camera)
    figures = {
        "overlay.png": registration_overlay(
            radiograph.image, moving, found.camera, weights=radiograph.weights
        )
    }
    history = found.history.taken()
    if found.iterations:
        figures["convergence.png"] = convergence(history)
    for name, figure in figures.items():
        with written_whole(folder / name) as temporary:
            figure.savefig(temporary)
    if not (animate and found.iterations):
        return list(figures)
    movie = registration_animation(
        folder / "run.gif", radiograph.image, body, found.camera, history
    )
    return [*figures, movie.name]


def is_pose(found: Registration) -> bool:
    """Whether a registration ended at a pose that can be one."""
    return int(found.status) in (Status.CONVERGED, Status.LIMIT)


def described(path: Path, radiograph: Radiograph, camera: Camera) -> str:
    """What was read, in a line."""
    rows, cols = radiograph.shape
    pitch = " x ".join(sorted({f"{mm:.3g}" for mm in camera.pitch.tolist()}))
    counted = float((radiograph.weights > 0).mean())
    return (
        f"{path}: {rows} x {cols} pixels of {pitch} mm, "
        f"{float(camera.source_to_detector):.0f} mm from the source; "
        f"{counted:.0%} of them count"
        + ("; columns reversed" if radiograph.mirrored else "")
    )


def result(found: Registration, similarity: str) -> str:
    """What was found, in a line, or two with the pose."""
    line = (
        f"{_WORDS[Status(int(found.status))]}; {found.iterations} iterations, "
        f"{similarity} {float(found.similarity):.3f}"
    )
    if not is_pose(found):
        return line
    return (
        f"{line}\npose: {view_name(found.camera)}; by noise alone "
        f"{float(found.in_plane_std[0, 0]):.2g} mm uncertain in plane and "
        f"{float(found.depth_std[0, 0]):.2g} mm in depth"
    )


def carm_pose(camera: Camera, source_to_isocenter: Scalar) -> dict[str, object]:
    """Angles and isocenter at which ``CArm.at`` has the camera's pose.

    Of the two solutions the one with the smaller angular is taken.
    """
    rotation = np.asarray(camera.world_from_camera.rotation, dtype=np.float64)
    # CArm.at puts the source at (-sin o, cos o cos a, cos o sin a) of the isocenter.
    right, anterior, superior = -rotation[:, 2]
    side = 1.0 if anterior >= 0 else -1.0
    orbital = np.arctan2(-right, side * np.hypot(anterior, superior))
    angular = np.arctan2(side * superior, side * anterior)
    carm = CArm.create(
        source_to_detector=2.0, source_to_isocenter=1.0, pitch=1.0, shape=(1, 1)
    )
    unrolled = np.asarray(carm.at(orbital, angular).world_from_camera.rotation)
    turn = unrolled.T @ rotation
    source = np.asarray(camera.source, dtype=np.float64)
    return {
        "orbital_deg": np.rad2deg(orbital),
        "angular_deg": np.rad2deg(angular),
        "roll_deg": np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0])),
        "isocenter_mm": source + rotation[:, 2] * float(source_to_isocenter),
        "source_to_isocenter_mm": source_to_isocenter,
    }


def _plain(value: object) -> object:
    """As JSON has it: lists and numbers, null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
