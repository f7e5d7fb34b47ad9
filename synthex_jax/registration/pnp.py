"""Pose from points: landmarks in space and where they are seen in one radiograph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.registration.perspective import (
    Landmarks,
    PointWeights,
    Seen,
    best_pose,
    candidate_poses,
    or_one,
    refined_pose,
    reprojection,
    scaled_normal,
    squared_distances,
    weighted_mean,
)
from synthex_jax.typing import ArrayLike, Matrix6, PRNGKey, Scalar, Vector3

# Three points leave up to four poses, four in general one.
_LEAST = 4
# Pixels, root mean square, that a further step would move the images: a hundredth of
# what landmarks are found to.
_CONVERGED_BELOW = 1e-2
# Times rounding, of the least eigenvalue of the normal equations, scaled to a unit
# diagonal: below it the inverse has no digit left.
_DEGENERATE_BELOW = 30.0


class PnPStatus(IntEnum):
    """How it ended; compares equal to the integers in results.

    Attributes:
        SOLVED: a pose was found.
        LIMIT: a further step would still move the images; the covariance may be off.
        DEGENERATE: the points do not determine a pose, as those on a line do not.
        TOO_FEW: less than four points count.
        BEHIND: no pose has all points before the source.
    """

    SOLVED = 0
    LIMIT = 1
    DEGENERATE = 2
    TOO_FEW = 3
    BEHIND = 4


@noun
@dataclass(frozen=True)
class PnPResult:
    """A pose from points, and how sure it is.

    Attributes:
        camera: the given camera at the pose found; where it was, if none was.
        covariance: (6, 6), radians and mm, of the twist of ``camera.moved(twist,
            about=center)``; infinite on the diagonal where the status is not SOLVED or
            LIMIT.
        center: (3,), world mm, that the twist turns about.
        inliers: (n,), which points counted.
        rms: (), pixels, root mean square distance of the points that counted.
        status: (), a ``PnPStatus``.
    """

    camera: Camera
    covariance: Matrix6
    center: Vector3
    inliers: Bool[Array, "n"]
    rms: Scalar
    status: Int[Array, ""]


def pose_from_landmarks(
    points: ArrayLike,
    pixels: ArrayLike,
    camera_like: Camera,
    *,
    weights: ArrayLike | None = None,
    sigma: ArrayLike = 1.0,
    about: ArrayLike | None = None,
) -> PnPResult:
    """The pose with the least squared distances between landmarks and their images.

    No start is needed: the best of all minima is found. Works under ``jit`` and
    ``vmap``.

    Args:
        points: (n, 3), world mm, at least four, not all on a line.
        pixels: (n, 2), (row, column), where they are seen.
        camera_like: the intrinsics; its pose does not matter.
        weights: (n,), not negative, 0 for points that are not seen; booleans serve.
        sigma: standard deviation in pixels of the coordinates of points of weight 1;
            the covariance is proportional to its square.
        about: (3,), world mm, what the twist of the covariance turns about; the mean of
            the points that count by default.

    Returns:
        See ``PnPResult``.

    Raises:
        ValueError: for less than four points (or weights above zero), values that are
            not finite, negative weights and a sigma that is not positive.
    """
    points, pixels, weights, sigma = _checked(points, pixels, weights, sigma)
    camera, center = _like(points, camera_like, about)
    return _pose(points, pixels, camera, weights, sigma, center)


def ransac_pose_from_landmarks(
    key: PRNGKey,
    points: ArrayLike,
    pixels: ArrayLike,
    camera_like: Camera,
    *,
    threshold: ArrayLike,
    hypotheses: int = 256,
    weights: ArrayLike | None = None,
    sigma: ArrayLike = 1.0,
    about: ArrayLike | None = None,
) -> PnPResult:
    """As ``pose_from_landmarks``, where some of the landmarks may be wrong.

    Each of a fixed number of hypotheses is a pose from four points at random. The one
    with the least sum of squared distances, each at most the threshold's (MSAC: Torr
    and Zisserman 2000, CVIU 78(1):138), is refined on the points within it.

    Args:
        key: for the drawing.
        points: (n, 3), world mm; four and more should be right.
        pixels: (n, 2), (row, column), where they are seen.
        camera_like: the intrinsics; its pose does not matter.
        threshold: pixels, beyond which a point is wrong; about 3 sigma.
        hypotheses: 256 find a sample without wrong points with a probability of 99.9 %
            if 40 % are right.
        weights: as of ``pose_from_landmarks``; points of weight 0 are never drawn.
        sigma: as of ``pose_from_landmarks``.
        about: as of ``pose_from_landmarks``; here the mean of all points that weigh.

    Returns:
        See ``PnPResult``; with few inliers, the pose may be an accident.

    Raises:
        ValueError: as ``pose_from_landmarks``, for a threshold that is not positive and
            for less than one hypothesis.
    """
    points, pixels, weights, sigma = _checked(points, pixels, weights, sigma)
    require_positive("threshold", threshold, "pixels")
    require(hypotheses >= 1, f"hypotheses must be at least 1, got {hypotheses}")
    camera, center = _like(points, camera_like, about)
    limit = jnp.asarray(threshold, points.dtype)
    return _ransac(
        hypotheses, key, points, pixels, camera, weights, sigma, limit, center
    )


@jax.jit
def _pose(
    points: Landmarks,
    pixels: Seen,
    camera: Camera,
    weights: PointWeights,
    sigma: Scalar,
    center: Vector3 | None,
) -> PnPResult:
    starts = candidate_poses(points, pixels, camera, weights)
    refine = jax.vmap(
        partial(refined_pose, points, pixels, weights, weighted_mean(points, weights))
    )
    refined = refine(starts)
    best = best_pose(refined, points, pixels, weights)
    return _judged(points, pixels, camera, best, weights, sigma, center)


@partial(jax.jit, static_argnums=0)
def _ransac(
    hypotheses: int,
    key: PRNGKey,
    points: Landmarks,
    pixels: Seen,
    camera: Camera,
    weights: PointWeights,
    sigma: Scalar,
    threshold: Scalar,
    center: Vector3 | None,
) -> PnPResult:
    usable = weights > 0

    def hypothesis(key: PRNGKey) -> tuple[Camera, Scalar]:
        # The four highest of random numbers: a sample without repetition.
        order = jnp.where(usable, jax.random.uniform(key, usable.shape), -1.0)
        _, four = lax.top_k(order, _LEAST)
        sample = points[four], pixels[four], jnp.ones(_LEAST, points.dtype)
        found = best_pose(candidate_poses(*sample[:2], camera, sample[2]), *sample)
        squares = squared_distances(found, points, pixels)
        capped = jnp.where(squares < threshold**2, squares, threshold**2)
        return found, jnp.sum(jnp.where(usable, capped, 0.0))

    found, scores = jax.vmap(hypothesis)(jax.random.split(key, hypotheses))
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(scores)], found)
    middle = weighted_mean(points, weights)

    def right(pose: Camera) -> PointWeights:
        near = squared_distances(pose, points, pixels) < threshold**2
        return jnp.where(near, weights, 0.0)

    # Once with the points near the hypothesis, once with those near the result.
    best = lax.fori_loop(
        0, 2, lambda _, it: refined_pose(points, pixels, right(it), middle, it), best
    )
    center = middle if center is None else center
    return _judged(points, pixels, camera, best, right(best), sigma, center)


def _judged(
    points: Landmarks,
    pixels: Seen,
    camera: Camera,
    found: Camera,
    weights: PointWeights,
    sigma: Scalar,
    center: Vector3 | None,
) -> PnPResult:
    """The result, of whatever quality."""
    center = weighted_mean(points, weights) if center is None else center
    residuals = lambda twist: reprojection(
        found.moved(twist, about=center), points, pixels, weights
    )
    still = jnp.zeros(6, points.dtype)
    r, jacobian = residuals(still), jax.jacfwd(residuals)(still)
    normal, scale = scaled_normal(jacobian)
    eigenvalues, vectors = jnp.linalg.eigh(normal)
    vectors = scale[:, None] * vectors
    inverse = product(vectors / eigenvalues, vectors.T)
    step = -product(jacobian, product(inverse, product(jacobian.T, r)))
    count = jnp.sum(weights > 0)
    movement = jnp.sqrt(jnp.sum(step**2) / or_one(jnp.sum(weights)))
    status = jnp.select(
        [
            count < _LEAST,
            ~jnp.all((found.depth(points) > 0) | (weights == 0)),
            ~(eigenvalues[0] > _DEGENERATE_BELOW * jnp.finfo(r.dtype).eps),
            ~(movement < _CONVERGED_BELOW),
        ],
        [PnPStatus.TOO_FEW, PnPStatus.BEHIND, PnPStatus.DEGENERATE, PnPStatus.LIMIT],
        int(PnPStatus.SOLVED),
    )
    good = (status == PnPStatus.SOLVED) | (status == PnPStatus.LIMIT)
    covariance = jnp.where(good, sigma**2 * inverse, jnp.diag(jnp.full(6, jnp.inf)))
    chosen = jax.tree.map(partial(jnp.where, good), found, camera)
    inliers = weights > 0
    squares = squared_distances(chosen, points, pixels)
    rms = jnp.sqrt(jnp.sum(jnp.where(inliers, squares, 0.0)) / jnp.maximum(count, 1))
    return PnPResult(chosen, covariance, center, inliers, rms, status)


def _checked(
    points: ArrayLike, pixels: ArrayLike, weights: ArrayLike | None, sigma: ArrayLike
) -> tuple[Landmarks, Seen, PointWeights, Scalar]:
    points, pixels = jnp.asarray(points, float), jnp.asarray(pixels, float)
    require(
        points.ndim == 2 and points.shape[1] == 3,
        f"points must have shape (n, 3), got {points.shape}",
    )
    n = len(points)
    require_shape("pixels", pixels, (n, 2))
    require(n >= _LEAST, f"points must be at least {_LEAST} for one pose, got {n}")
    weights = jnp.ones(n) if weights is None else jnp.asarray(weights, float)
    require_shape("weights", weights, (n,))
    require_finite("points", points)
    require_finite("pixels", pixels)
    require_not_negative("weights", weights)
    require_positive("sigma", sigma, "pixels")
    if is_concrete(weights):
        counted = int(np.sum(np.asarray(weights) > 0))
        require(
            counted >= _LEAST,
            f"weights must be above zero for at least {_LEAST} points, got {counted}",
        )
    return points, pixels, weights, jnp.asarray(sigma, points.dtype)


def _like(
    points: Landmarks, camera: Camera, about: ArrayLike | None
) -> tuple[Camera, Vector3 | None]:
    """In the precision of the points, which the loops must keep."""
    cast = partial(jnp.asarray, dtype=points.dtype)
    return jax.tree.map(cast, camera), None if about is None else cast(about)
