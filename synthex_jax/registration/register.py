"""The front door: from radiographs and a start to the pose, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.registration.course import Course, Optimizer
from synthex_jax.registration.covariance import uncertainty
from synthex_jax.registration.first_order import Adam
from synthex_jax.registration.gradients import GradientNCC
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.problem import (
    Cameras,
    Problem,
    Weights,
    mean_similarity,
    principal_axes,
)
from synthex_jax.registration.pyramid import LEVELS, Level, at_level, with_poses
from synthex_jax.registration.search import Search
from synthex_jax.registration.similarity import LeastSquares, Similarity
from synthex_jax.registration.status import Status
from synthex_jax.typing import Image, Scalar
from synthex_jax.volumes.volume import Volume


@noun
@dataclass(frozen=True)
class History:
    """The way of a registration, iteration by iteration, from coarse to fine.

    Attributes:
        level: (n,), which level, counted from 0.
        cost: (n,), dissimilarity of the best pose so far at this level.
        movement: (n,), mm that the body would move by the next step.
        world_from_camera: (n, bodies, 4, 4), pose of the first view of each body.
    """

    level: Int[Array, "n"]
    cost: Float[Array, "n"]
    movement: Float[Array, "n"]
    world_from_camera: Float[Array, "n bodies 4 4"]


@noun
@dataclass(frozen=True)
class Registration:
    """Where the bodies are, and how sure that is.

    Attributes:
        cameras: the poses found: for each body one camera a view, at the full
            resolution of the radiographs.
        status: (), a ``Status``.
        similarity: (), mean over the views, at the last level.
        covariance: (n, n), of the twists of all bodies in turn: the true camera is
            ``camera.moved(twist, about=body.center)`` with a twist of mean zero and
            this covariance, as far as noise goes. Infinite where unknown.
        in_plane_std: (bodies, views), mm, of each body's center along a direction of
            the detector's plane.
        depth_std: (bodies, views), mm, of it along the view.
        history: the way there.
    """

    cameras: Cameras
    status: Int[Array, ""]
    similarity: Scalar
    covariance: Float[Array, "n n"]
    in_plane_std: Float[Array, "bodies views"]
    depth_std: Float[Array, "bodies views"]
    history: History

    @property
    def camera(self) -> Camera:
        """Of the first body in the first view: the only one of ``register``."""
        return self.cameras[0][0]

    @property
    def iterations(self) -> int:
        """Projections with derivatives, all levels together, without the search's."""
        return len(self.history.cost)


def register(
    fixed: Image,
    body: Volume,
    start: Camera,
    *,
    similarity: Similarity = GradientNCC(),
    weights: Weights | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
) -> Registration:
    """The pose of a body from one radiograph.

    Args:
        fixed: (rows, cols), attenuation (``log_image``), up to a gain and an offset.
        body: 1/mm: ``ct.attenuation()``.
        start: the radiograph's camera, at a pose near the true one.
        similarity: what to maximize, where the level has none of its own. Edges are
            the default: scatter and beam hardening, which vary slowly, move the depth
            that plain cross-correlation finds by millimeters.
        weights: (rows, cols), not negative; 0 where pixels do not count, as behind
            collimators and tools.
        levels: resolutions, coarse to fine.
        optimizer: by default Levenberg-Marquardt where the similarity is a sum of
            squares, Adam where it is not.
        search: the global stage, for starts that are far off.

    Returns:
        The pose. Its status tells whether it can be one at all.

    Raises:
        ValueError: for radiographs that show nothing or are not finite, shapes that do
            not agree, a body in HU, a start without the body in the beam.

    Example:
        >>> import jax, synthex_jax as sx
        >>> from synthex_jax.registration.register import LEVELS, register
        >>> shape = (52, 36, 44)
        >>> pelvis = sx.phantoms.pelvis(jax.random.key(0), shape=shape, spacing=8.0)
        >>> body = pelvis.ct.attenuation()
        >>> truth = sx.CArm.generic().resized((32, 32)).at(isocenter=body.center)
        >>> start = truth.moved([0.05, 0.05, -0.05, 5.0, 10.0, 5.0], about=body.center)
        >>> fixed = sx.line_integrals(body, truth)
        >>> found = register(fixed, body, start, levels=LEVELS[-1:])
        >>> bool(abs(found.camera.source - truth.source).max() < 0.1)
        True
    """
    views = None if weights is None else [weights]
    return _register(
        [fixed], [body], ((start,),), similarity, views, levels, optimizer, search
    )


def register_views(
    fixed: Sequence[Image],
    body: Volume,
    starts: Sequence[Camera],
    *,
    similarity: Similarity = GradientNCC(),
    weights: Sequence[Weights] | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
) -> Registration:
    """The pose of a body from several radiographs, as of a biplane device.

    The cameras' poses to one another are known and stay as they are in ``starts``. All
    else is as in ``register``, with an image and a camera a view.
    """
    return _register(
        fixed, [body], (tuple(starts),), similarity, weights, levels, optimizer, search
    )


def register_bodies(
    fixed: Image,
    bodies: Sequence[Volume],
    starts: Sequence[Camera],
    *,
    similarity: Similarity = GradientNCC(),
    weights: Weights | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
) -> Registration:
    """The poses of several rigid bodies in one radiograph, as of femurs and a pelvis.

    Each body has a camera of its own: the radiograph's, as the body's frame has it. The
    bodies' line integrals add up. All else is as in ``register``.
    """
    views = None if weights is None else [weights]
    cameras = tuple((start,) for start in starts)
    return _register(
        [fixed], bodies, cameras, similarity, views, levels, optimizer, search
    )


def _register(
    fixed: Sequence[Image],
    bodies: Sequence[Volume],
    cameras: Cameras,
    similarity: Similarity,
    weights: Sequence[Weights] | None,
    levels: Sequence[Level],
    optimizer: Optimizer | None,
    search: Search | None,
) -> Registration:
    require(len(levels) > 0, "levels must hold at least one, got none")
    problem = Problem.create(fixed, bodies, cameras, weights)
    starts = (
        [cameras] if search is None else search.optima(problem, cameras) or [cameras]
    )
    runs: list[tuple[Problem, Course]] = []
    for level in levels:
        begun = [_at(level, problem, s, similarity, optimizer) for s in starts]
        runs.append(min(begun, key=lambda run: float(run[1].cost)))
        starts = [with_poses(cameras, runs[-1][1].cameras)]
        if int(runs[-1][1].status) == Status.NO_OVERLAP:
            break
    last = levels[len(runs) - 1].similarity or similarity
    small = runs[-1][0]
    return _result(small, last, cameras, starts[0], [course for _, course in runs])


def _at(
    level: Level,
    problem: Problem,
    cameras: Cameras,
    similarity: Similarity,
    optimizer: Optimizer | None,
) -> tuple[Problem, Course]:
    similarity = level.similarity or similarity
    if optimizer is None:
        optimizer = _fitting(similarity)
    small, start = at_level(problem, cameras, level)
    course = optimizer.improved(
        similarity,
        small,
        start,
        axes=principal_axes(small, start),
        tolerance=level.tolerance,
    )
    return small, course


def _fitting(similarity: Similarity) -> Optimizer:
    squares = isinstance(similarity, LeastSquares)
    return LevenbergMarquardt() if squares else Adam()


def _result(
    problem: Problem,
    similarity: Similarity,
    start: Cameras,
    found: Cameras,
    courses: list[Course],
) -> Registration:
    last = courses[-1]
    axes = principal_axes(problem, last.cameras)
    unsure = uncertainty(axes, similarity, problem, last.cameras)
    before = with_poses(last.cameras, start)
    begun = mean_similarity(
        similarity, problem, before, principal_axes(problem, before)
    )
    status = jnp.where(unsure.similarity < begun, int(Status.DIVERGED), last.status)
    return Registration(
        cameras=found,
        status=status,
        similarity=unsure.similarity,
        covariance=unsure.covariance,
        in_plane_std=unsure.in_plane,
        depth_std=unsure.depth,
        history=_history(courses),
    )


def _history(courses: Sequence[Course]) -> History:
    taken = [int(course.iterations) for course in courses]
    pairs = list(zip(courses, taken, strict=True))
    return History(
        level=jnp.concatenate([jnp.full(n, i) for i, n in enumerate(taken)]),
        cost=jnp.concatenate([c.trace.costs[:n] for c, n in pairs]),
        movement=jnp.concatenate([c.trace.movements[:n] for c, n in pairs]),
        world_from_camera=jnp.concatenate([c.trace.poses[:n] for c, n in pairs]),
    )
