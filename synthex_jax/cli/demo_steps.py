"""The steps of the demonstration: each makes its pictures and rows of the table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synthex_jax import viz
from synthex_jax.cli.demo_derivatives import (
    along_one_axis,
    derivatives,
    image_and_jacobian,
)
from synthex_jax.cli.demo_physics import tiers
from synthex_jax.cli.demo_registration import registration
from synthex_jax.cli.demo_scenes import data_set, labels, tools
from synthex_jax.cli.stage import Outcome, Row, Stage
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.phantoms import analytic
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import Image, Scalar, Twist
from synthex_jax.volumes.volume import Volume, centered_affine


class Step(NamedTuple):
    """One part of the demonstration.

    Attributes:
        title: what it shows.
        run: writes its pictures and returns their names and its rows.
    """

    title: str
    run: Callable[[Stage], Outcome]


def radiographs(stage: Stage) -> Outcome:
    """Three views of each body on one sheet, and one view with its scale."""
    images, titles, cameras = [], [], []
    for name, body in stage.bodies.items():
        for camera in stage.views(body):
            images.append(line_integrals(body, camera))
            titles.append(f"{name}, {viz.view_name(camera)}")
            cameras.append(camera)
    sheet = viz.contact_sheet(images, titles, cameras=cameras, columns=3)
    one = viz.radiograph(images[0], cameras[0], isocenter=stage.pelvis.center)
    return Outcome(
        [stage.save(sheet, "radiographs.png"), stage.save(one, "pelvis_ap.png")]
    )


def geometry(stage: Stage) -> Outcome:
    """Sources, detectors and rays of the three views in 3-D."""
    cameras = stage.views(stage.pelvis)
    images = [line_integrals(stage.pelvis, camera) for camera in cameras]
    names = ["AP", "lateral", "oblique"]
    figure = viz.geometry(stage.pelvis, cameras, images=images, names=names)
    return Outcome([stage.save(figure, "geometry.png")])


def sweep(stage: Stage) -> Outcome:
    """An orbital sweep as an animation."""
    body = stage.pelvis
    angles = np.deg2rad(np.linspace(-60, 60, 25))
    carm = stage.carm(stage.size)
    images = (
        line_integrals(body, carm.at(orbital=angle, isocenter=body.center))
        for angle in angles
    )
    return Outcome([viz.sweep(stage.out / "sweep.gif", images)])


def accuracy(stage: Stage) -> Outcome:
    """Errors where the answer is known: a closed form, differences, the adjoint."""
    return Outcome(
        [],
        [
            *(
                Row(
                    f"Gaussian of 3 voxels, against its closed form{also}",
                    _gaussian_error(projector),
                    "of the maximum",
                )
                for also, projector in (
                    ("", Joseph()),
                    (", with prefilter", Joseph(prefilter=True)),
                )
            ),
            Row(
                "pose Jacobian, against differences in float64",
                _jacobian_error(stage),
                "of the maximum",
            ),
            Row(
                "adjoint, <Ax, y> against <x, A'y>", _adjoint_error(stage), "of |Ax||y|"
            ),
        ],
    )


def timings(stage: Stage) -> Outcome:
    """Seconds of a view and of its derivatives, compiled."""
    body = stage.pelvis
    camera = stage.views(body)[0]
    projector = along_one_axis(body, camera)
    twists = jnp.zeros((8, 6)).at[:, 2].set(jnp.deg2rad(jnp.linspace(-20, 20, 8)))
    eight = jax.vmap(partial(_moved_image, projector), in_axes=(None, None, 0))
    shape = " x ".join(map(str, body.shape))
    what = f"one view, {shape} voxels to {camera.shape[0]} x {camera.shape[1]} pixels"
    timed = {
        f"{what}, {jax.devices()[0].device_kind}": _seconds(
            jax.jit(partial(_moved_image, projector)), body, camera, jnp.zeros(6)
        ),
        "one view and its pose gradient": _seconds(
            jax.jit(jax.value_and_grad(partial(_total, projector), argnums=2)),
            *(body, camera, jnp.zeros(6)),
        ),
        "one view and its pose Jacobian of 6 columns": _seconds(
            image_and_jacobian, body, camera
        ),
        "each of eight views in a batch": _seconds(jax.jit(eight), body, camera, twists)
        / len(twists),
    }
    return Outcome([], [Row(name, value, "s") for name, value in timed.items()])


def _moved_image(
    projector: Joseph, body: Volume, camera: Camera, twist: Twist
) -> Image:
    moved = camera.moved(twist, about=body.center)
    return line_integrals(body, moved, projector=projector)


def _total(projector: Joseph, body: Volume, camera: Camera, twist: Twist) -> Scalar:
    return jnp.sum(_moved_image(projector, body, camera, twist))


def _seconds(function: Callable, *arguments: object) -> float:
    """Of one call, the median of three after the one that compiles."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _gaussian_error(projector: Joseph) -> float:
    """Largest error of a Gaussian body's image, over its largest value."""
    # Off the grid's center, and seen askew, lest symmetry hide anything.
    body = analytic.Gaussian.create((3.0, -2.0, 1.0), 6.0)
    shape = (48, 48, 48)
    volume = analytic.rasterized([body], shape, centered_affine(shape, 2.0))
    camera = CArm.generic().resized((96, 96)).at(orbital=0.3, angular=0.2)
    exact = analytic.image([body], camera)
    error = line_integrals(volume, camera, projector=projector) - exact
    return float(jnp.max(jnp.abs(error)) / jnp.max(exact))


def _jacobian_error(stage: Stage) -> float:
    """Largest difference of a directional derivative, over its largest value."""
    direction = jnp.array([0.01, -0.02, 0.015, 3.0, -2.0, 1.0])
    # Small enough to stay on one side of the kinks of nearly all rays, and far above
    # the rounding of float64.
    step = 1e-7
    with jax.enable_x64(True):
        body = stage.pelvis.astype(jnp.float64)
        # Oblique: with a view along the grid whole sheets of rays lie on its kinks.
        camera = stage.views(body, 64)[2]
        projector = along_one_axis(body, camera)
        move = jax.jit(partial(_moved_image, projector, body, camera))
        along = lambda t: move(t * jnp.asarray(direction))
        _, slope = jax.jvp(along, (0.0,), (1.0,))
        differences = (along(step) - along(-step)) / (2 * step)
        return float(jnp.max(jnp.abs(slope - differences)) / jnp.max(jnp.abs(slope)))


def _adjoint_error(stage: Stage) -> float:
    body = stage.pelvis
    camera = stage.views(body, 64)[0]
    project = lambda data: line_integrals(replace(body, data=data), camera)
    image, back_project = jax.vjp(project, body.data)
    other = jax.random.normal(jax.random.key(2), image.shape)
    (volume,) = back_project(other)
    # Summed in float64, so that the error is the projector's.
    in_image = np.vdot(np.asarray(image, np.float64), np.asarray(other, np.float64))
    in_volume = np.vdot(
        np.asarray(body.data, np.float64), np.asarray(volume, np.float64)
    )
    size = np.linalg.norm(image) * np.linalg.norm(other)
    return float(abs(in_image - in_volume) / size)


STEPS = (
    Step("radiographs", radiographs),
    Step("naive, heuristic and realistic X-rays", tiers),
    Step("labels and landmarks", labels),
    Step("tools in the body", tools),
    Step("a data set", data_set),
    Step("the geometry", geometry),
    Step("a sweep", sweep),
    Step("derivatives in the pose", derivatives),
    Step("a registration", registration),
    Step("errors where the answer is known", accuracy),
    Step("timings", timings),
)
"""In the order that they run in."""
