"""The front door: from radiographs and a start to the pose, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.registration.correlation_ratio import GradientCorrelationRatio
from synthex_jax.registration.course import Optimizer
from synthex_jax.registration.history import History
from synthex_jax.registration.intrinsics import Intrinsics
from synthex_jax.registration.problem import Weights
from synthex_jax.registration.pyramid import LEVELS, Level
from synthex_jax.registration.rigid_bodies import Cameras, RigidBodies
from synthex_jax.registration.search import Search
from synthex_jax.registration.similarity import Similarity
from synthex_jax.registration.stages import solved
from synthex_jax.typing import ArrayLike, Image, Scalar
from synthex_jax.volumes.volume import Volume


@noun
@dataclass(frozen=True)
class BodyHistory(History):
    """The way of bodies.

    Attributes:
        world_from_camera: (n, bodies, 4, 4), pose of the first view of each body.
    """

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
        covariance: (n, n), of the twists of all bodies in turn, and of what else was
            unknown (``Intrinsics``): the true camera is ``camera.moved(twist,
            about=body.center)`` with a twist of mean zero and this covariance, as far
            as noise goes. Infinite where unknown.
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
    history: BodyHistory

    @property
    def camera(self) -> Camera:
        """Of the first body in the first view: the only one of ``register``."""
        return self.cameras[0][0]

    @property
    def iterations(self) -> Int[Array, ""]:
        """(): projections with derivatives, all levels together, without a search's."""
        return jnp.sum(self.history.level >= 0)


def register(
    fixed: Image,
    body: Volume,
    start: Camera,
    *,
    similarity: Similarity = GradientCorrelationRatio(),
    weights: Weights | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
    projector: Joseph = Joseph(),
    unknown: Intrinsics = Intrinsics(),
) -> Registration:
    """The pose of a body from one radiograph.

    Pure, and traceable in the radiograph, its weights and the start: ``jax.vmap`` over
    them registers a batch of problems. The body stays outside, and its principal axis
    is then best given: ``projector=Joseph(axis=1)`` for views from the front.

    Args:
        fixed: (rows, cols), attenuation (``log_image``), up to a gain and an offset.
        body: 1/mm: ``ct.attenuation()``.
        start: the radiograph's camera, at a pose near the true one.
        similarity: what to maximize, where the level has none of its own. The default
            fits the contrast of tissues with the pose: beam hardening and scatter
            would otherwise move the depth by millimeters.
        weights: (rows, cols), not negative; 0 where pixels do not count, as behind
            collimators and tools.
        levels: resolutions, coarse to fine.
        optimizer: by default Levenberg-Marquardt where the similarity is a sum of
            squares, Adam where it is not.
        search: the global stage, for starts that are far off.
        projector: how to integrate.
        unknown: what of the lens is found with the pose.

    Returns:
        The pose. Its status tells whether it can be one at all.

    Raises:
        ValueError: for radiographs that show nothing or are not finite, shapes that do
            not agree, a body in HU, a start without the body in the beam, and a
            similarity that the optimizer or the search cannot take.

    Example:
        >>> import jax, synthex_jax as sx
        >>> from synthex_jax.registration.pyramid import LEVELS
        >>> shape = (26, 18, 22)
        >>> pelvis = sx.phantoms.pelvis(jax.random.key(0), shape=shape, spacing=16.0)
        >>> body = pelvis.ct.attenuation()
        >>> truth = sx.CArm.generic().resized((24, 24)).at(isocenter=body.center)
        >>> start = truth.moved([0.05, 0.05, -0.05, 5.0, 10.0, 5.0], about=body.center)
        >>> fixed = sx.line_integrals(body, truth)
        >>> found = sx.register(fixed, body, start, levels=LEVELS[-1:])
        >>> bool(abs(found.camera.source - truth.source).max() < 0.1)
        True
    """
    views = None if weights is None else [weights]
    cameras = ((start,),)
    problem = RigidBodies.create(
        [fixed], [body], cameras, views, projector=projector, unknown=unknown
    )
    return _registration(problem, cameras, similarity, levels, optimizer, search)


def register_views(
    fixed: Sequence[Image],
    body: Volume,
    starts: Sequence[Camera],
    *,
    similarity: Similarity = GradientCorrelationRatio(),
    weights: Sequence[Weights] | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
    projector: Joseph = Joseph(),
    unknown: Intrinsics = Intrinsics(),
) -> Registration:
    """The pose of a body from several radiographs, as of a biplane device.

    The cameras' poses to one another are known and stay as they are in ``starts``. All
    else is as in ``register``, with an image and a camera a view.
    """
    cameras = (tuple(starts),)
    problem = RigidBodies.create(
        fixed, [body], cameras, weights, projector=projector, unknown=unknown
    )
    return _registration(problem, cameras, similarity, levels, optimizer, search)


def register_bodies(
    fixed: Image,
    bodies: Sequence[Volume],
    starts: Sequence[Camera],
    *,
    starts_std: ArrayLike | None = 20.0,
    similarity: Similarity = GradientCorrelationRatio(),
    weights: Weights | None = None,
    levels: Sequence[Level] = LEVELS,
    optimizer: Optimizer | None = None,
    search: Search | None = None,
    projector: Joseph = Joseph(),
    unknown: Intrinsics = Intrinsics(),
) -> Registration:
    """The poses of several rigid bodies in one radiograph, as of femurs and a pelvis.

    Each body has a camera of its own: the radiograph's, as the body's frame has it. The
    bodies' line integrals add up. All else is as in ``register``.

    A body that shows little would run off in depth or out of the image while the others
    find their places. Each is held near its start, by less the more pixels a level has:
    a start off by ``starts_std``, mm, in the root mean square over a body counts as one
    standard deviation. The default is what 5 degrees and 10 mm about and along each
    axis make of a femur; None holds nothing. Where starts are off by that much, a
    ``Search`` of a few others nearby tells the optima apart.
    """
    views = None if weights is None else [weights]
    cameras = tuple((start,) for start in starts)
    problem = RigidBodies.create(
        [fixed],
        bodies,
        cameras,
        views,
        projector=projector,
        starts_std=starts_std,
        unknown=unknown,
    )
    return _registration(problem, cameras, similarity, levels, optimizer, search)


def _registration(
    problem: RigidBodies,
    start: Cameras,
    similarity: Similarity,
    levels: Sequence[Level],
    optimizer: Optimizer | None,
    search: Search | None,
) -> Registration:
    found = solved(
        problem,
        start,
        similarity=similarity,
        levels=levels,
        optimizer=optimizer,
        search=search,
    )
    way = found.way
    poses = [
        jnp.stack([_matrices(views[0]) for views in cameras], axis=1)
        for cameras in way.states
    ]
    return Registration(
        cameras=found.state,
        status=found.status,
        similarity=found.unsure.similarity,
        covariance=found.unsure.covariance,
        in_plane_std=found.unsure.in_plane,
        depth_std=found.unsure.depth,
        history=BodyHistory(
            way.level, way.costs, way.movements, jnp.concatenate(poses)
        ),
    )


def _matrices(camera: Camera) -> Float[Array, "n 4 4"]:
    return jax.vmap(lambda pose: pose.matrix)(camera.world_from_camera)
