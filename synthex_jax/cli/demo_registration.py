"""The demonstration's registration: a pose found from one realistic radiograph."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from synthex_jax.cli.demo_physics import radiograph
from synthex_jax.cli.stage import Outcome, Row, Stage
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.registration.metrics import (
    depth_error,
    in_plane_error,
    mean_target_registration_error,
)
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.register import BodyHistory, register
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import ArrayLike, Image, Points, Scalar
from synthex_jax.viz.edges import draw_edges, edges
from synthex_jax.viz.pairs import Pair
from synthex_jax.viz.pictures import BACKGROUND, TEXT
from synthex_jax.viz.registration import draw_convergence, registration_animation

# A twist about the center: 12 degrees and 25 mm, as far off as a C-arm set up by eye.
# The depth, along anterior in an AP view, shows least in the image.
_OFFSET = np.array([0.12, -0.10, 0.14, 10.0, -20.0, 11.0])

# The default's lower two, for speed: a pixel of 3 mm.
_LEVELS = (
    Level.create(64, 6.0, tolerance=0.3),
    Level.create(128, 2.5, tolerance=0.03),
)


def registration(stage: Stage) -> Outcome:
    """A pose that is 12 degrees and 25 mm off, found again."""
    body = stage.pelvis
    truth = stage.views(body)[0]
    fixed, _ = radiograph(stage, truth)
    start = truth.moved(_OFFSET, about=body.center)
    began = time.perf_counter()
    found = register(fixed, body, start, levels=_LEVELS)
    found.similarity.block_until_ready()
    seconds = time.perf_counter() - began

    history = found.history.taken()
    on_the_way = history.world_from_camera[:, 0]
    ends = [camera.world_from_camera.matrix[None] for camera in (start, found.camera)]
    poses = jnp.concatenate([ends[0], on_the_way, ends[1]])
    errors = _errors(poses, truth, stage.landmarks)
    picture = _picture(
        fixed,
        [line_integrals(body, camera) for camera in (start, found.camera)],
        history,
        {name: values[1:-1] for name, values in errors.items()},
    )
    movie = registration_animation(
        stage.out / "registration.gif", fixed, body, truth, history
    )
    rows = [
        Row("landmarks off at the start (mTRE)", float(errors["mTRE, mm"][0]), "mm"),
        *(
            Row(f"off at the end, {name.removesuffix(', mm')}", float(values[-1]), "mm")
            for name, values in errors.items()
        ),
        Row("expected by noise, in plane", float(found.in_plane_std[0, 0]), "mm"),
        Row("expected by noise, in depth", float(found.depth_std[0, 0]), "mm"),
        Row("iterations", float(found.iterations), ""),
        Row("time, with compilation", seconds, "s"),
    ]
    return Outcome(
        [stage.save(picture, "registration.png"), movie],
        [row._replace(what=f"registration: {row.what}") for row in rows],
    )


@jax.jit
def _errors(
    poses: Float[Array, "n 4 4"], truth: Camera, points: Points
) -> dict[str, Float[Array, "n"]]:
    """Of the landmarks, by name: in all, in the image's plane and in depth."""

    def errors(pose: Float[Array, "4 4"]) -> dict[str, Scalar]:
        moved = RigidTransform.from_matrix(pose)
        camera = replace(truth, world_from_camera=moved)
        return {
            "mTRE, mm": mean_target_registration_error(camera, truth, points),
            "in plane, mm": in_plane_error(camera, truth, points),
            "in depth, mm": depth_error(camera, truth, points),
        }

    return jax.vmap(errors)(poses)


def _picture(
    fixed: Image,
    images: Sequence[Image],
    history: BodyHistory,
    errors: Mapping[str, ArrayLike],
) -> Figure:
    """Edges and borders at the start and the end, and the way between."""
    figure = Figure(
        figsize=(12.0, 6.4), dpi=100, facecolor=BACKGROUND, layout="constrained"
    )
    grid = figure.add_gridspec(1, 2, width_ratios=(6.4, 5.6))
    left, right = (figure.add_subfigure(place) for place in grid)
    left.set_facecolor(BACKGROUND)
    for image, name, (upper, lower) in zip(
        images, ("at the start", "at the end"), left.subplots(2, 2).T, strict=True
    ):
        pair = Pair.create(fixed, image)
        upper.imshow(pair.gray()[0], cmap="gray")
        draw_edges(upper, edges(pair.moving))
        lower.imshow(pair.blend())
        upper.set_title(f"edges of the rendering, {name}", color=TEXT, fontsize=10)
        lower.set_title("radiograph orange, rendering blue", color=TEXT, fontsize=10)
        upper.set_axis_off()
        lower.set_axis_off()
    draw_convergence(right, history, levels=_LEVELS, errors=errors)
    return figure
