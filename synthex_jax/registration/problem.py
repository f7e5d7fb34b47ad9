"""Problem: what an optimizer asks of a registration, and how its steps are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.similarity import Similarity
from synthex_jax.typing import Image, Points, Scalar, Vector3

Weights: TypeAlias = Float[Array, "_ _"]
"""(rows, cols) as the image's, which the problem checks."""

Step: TypeAlias = Float[Array, "n"]
"""A change of all unknowns: twists (radians, mm) and what else is unknown."""

Sightings: TypeAlias = tuple[Float[Array, "_ 3"], ...]
"""Of each thing that moves: points in mm across, down the image and in depth."""

Movements: TypeAlias = tuple[Float[Array, "_ 3 _"], ...]
"""Their derivatives by the unknowns."""

Metrics: TypeAlias = Float[Array, "things n n"]

State = TypeVar("State", bound=Any)


@runtime_checkable
class Problem(Protocol[State]):
    """Radiographs, and a state, a pytree, that renders as they should look.

    Attributes:
        fixed: one (rows, cols) a view: attenuation, up to a gain and an offset.
        weights: one (rows, cols) a view, not negative.
    """

    @property
    def fixed(self) -> tuple[Image, ...]:
        """The radiographs."""
        ...

    @property
    def weights(self) -> tuple[Image, ...]:
        """How much each pixel counts."""
        ...

    @property
    def size(self) -> int:
        """How many unknowns there are."""
        ...

    def images(self, state: State) -> tuple[Image, ...]:
        """One (rows, cols) a view, differentiable."""
        ...

    def overlaps(self, images: tuple[Image, ...]) -> Bool[Array, ""]:
        """Whether every view shows enough of the things where weights are not zero."""
        ...

    def prior(self, state: State) -> Float[Array, "_"]:
        """How far from where it is expected, in standard deviations.

        None where nothing is expected. ``prior_weight`` times their squares adds to
        the dissimilarity, which holds what images do not show.
        """
        ...

    @property
    def prior_weight(self) -> float:
        """What a standard deviation off costs, of a similarity up to 1."""
        ...

    def moved(self, state: State, step: Step) -> State:
        """The state after a step."""
        ...

    def spread(self, rotation: float, translation: float) -> Step:
        """Standard deviations of the unknowns where poses are spread so much.

        Args:
            rotation: radians about each axis.
            translation: mm along each axis.
        """
        ...

    def sightings(self, state: State) -> Sightings:
        """Where points of each thing are seen, mm at the depth of its center.

        The mean square of their distance is the sum over the points: they come divided
        by the root of their number.
        """
        ...

    def centers(self, state: State) -> Float[Array, "things views 3"]:
        """Mm, in each view's camera frame."""
        ...

    def at_level(self, level: Level) -> Problem[State]:
        """The problem at a lower resolution."""
        ...

    def state_at(self, level: Level, state: State) -> State:
        """A state of this problem as one at a lower resolution."""
        ...

    def near(self, state: State) -> Problem[State]:
        """The problem made ready for states near this one, where that spares work."""
        ...

    def with_state_of(self, state: State, small: State) -> State:
        """A state of this resolution with the unknowns of one of a lower."""
        ...


def movements(problem: Problem[State], state: State) -> Movements:
    """How the sightings move by small steps."""
    seen = lambda step: problem.sightings(problem.moved(state, step))
    return jax.jacfwd(seen)(no_step(problem))


def metrics(moves: Movements, *, depth: float) -> Metrics:
    """(things, n, n) M, with t @ M @ t the mean square movement in mm^2 by a step t.

    Args:
        moves: from ``movements``.
        depth: what a mm in depth counts for; 1 makes it the movement in space.
    """
    share = np.array([1.0, 1.0, depth])
    weighted = [m * jnp.asarray(share, m.dtype)[:, None] for m in moves]
    return jnp.stack([jnp.einsum("pki,pkj->ij", m, m) for m in weighted])


def whitening(metric: Metrics) -> Float[Array, "n n"]:
    """W with W.T @ M @ W = 1, M the sum over the things: from mm to unknowns."""
    return jnp.linalg.inv(jnp.linalg.cholesky(jnp.sum(metric, axis=0))).T


def length(metric: Metrics, step: Step) -> Scalar:
    """(): the root mean square movement in mm, that of the thing that moves most."""
    squares = jnp.einsum("i,bij,j->b", step, metric, step)
    return jnp.sqrt(jnp.max(jnp.where(squares > 0, squares, 0)))


def distance(problem: Problem[State], state: State, other: State) -> Scalar:
    """(): mm between two states: root mean square, of the thing that is most apart."""
    pairs = zip(problem.sightings(state), problem.sightings(other), strict=True)
    return jnp.sqrt(jnp.max(jnp.stack([jnp.sum((a - b) ** 2) for a, b in pairs])))


def mean_similarity(
    similarity: Similarity, problem: Problem[State], state: State
) -> Scalar:
    """(): the mean over the views."""
    images = problem.images(state)
    values = map(similarity, images, problem.fixed, problem.weights)
    return jnp.mean(jnp.stack(list(values)))


def least_share(images: Sequence[Image], weights: Sequence[Image]) -> Float[Array, ""]:
    """(): share of the weighted pixels above 0, in the view that has the least."""
    shares = [
        jnp.sum(jnp.where(image > 0, weight, 0)) / jnp.sum(weight)
        for image, weight in zip(images, weights, strict=True)
    ]
    return jnp.min(jnp.stack(shares))


def no_step(problem: Problem[State]) -> Step:
    """Zeros."""
    return jnp.zeros(problem.size, problem.fixed[0].dtype)


def sighted(points: Points, center: Vector3, camera: Camera) -> Float[Array, "_ 3"]:
    """Points as a camera sees them: mm at the center's depth, and mm in depth.

    The scale stays what it is where derivatives are taken: a lens that gets longer
    moves the points in the image.
    """
    depth = jax.lax.stop_gradient(camera.depth(center))
    lens = jax.lax.stop_gradient(camera.pitch / camera.source_to_detector)
    in_image = camera.project(points) * lens * depth
    return jnp.concatenate([in_image, camera.depth(points)[..., None]], axis=-1)


def checked_images(
    fixed: Sequence[Image], weights: Sequence[Weights] | None, cameras: Sequence[Camera]
) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    """Radiographs and their weights, 1 by default, as floats.

    Raises:
        ValueError: for images that are constant, not finite or of another shape than
            their camera; for weights of another shape, negative or all zero.
    """
    images = tuple(jnp.asarray(image, dtype=float) for image in fixed)
    if weights is None:
        weights = tuple(jnp.ones_like(image) for image in images)
    require(
        len(weights) == len(images),
        f"weights must be one image for each of {len(images)} views, got "
        f"{len(weights)}",
    )
    weights = tuple(jnp.asarray(image, dtype=float) for image in weights)
    for image, weight, camera in zip(images, weights, cameras, strict=True):
        _require_image(image, weight, camera)
    return images, weights


def require_between(name: str, thing: str, center: Vector3, camera: Camera) -> None:
    """Refuse a thing that the beam cannot meet."""
    if not is_concrete(center, camera):
        return
    depth, far = float(camera.depth(center)), float(camera.source_to_detector)
    require(
        0 < depth < far,
        f"{name} must have {thing} between source and detector, but its center is at "
        f"{depth:.6g} mm from the source, the detector at {far:.6g} mm",
    )


def _require_image(image: Image, weight: Weights, camera: Camera) -> None:
    require(
        image.shape == camera.shape,
        f"fixed must have the shape of its camera, {camera.shape}, got {image.shape}; "
        "camera.resized and camera.cropped follow an image",
    )
    require_shape("weights", weight, image.shape)
    require_finite("fixed", image)
    require_finite("weights", weight)
    require_not_negative("weights", weight)
    if not is_concrete(image, weight):
        return
    counted = np.asarray(image)[np.asarray(weight) > 0]
    require(
        counted.size > 0, "weights must be above zero somewhere, they are 0 everywhere"
    )
    require(
        bool(np.ptp(counted) > 0),
        "fixed must show something, but it is constant where weights are above zero",
    )
