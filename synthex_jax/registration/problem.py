"""Problem: radiographs, the bodies in them, and how steps of a pose are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.registration.similarity import Similarity
from synthex_jax.typing import Image, Points, Scalar
from synthex_jax.volumes.volume import Volume

Cameras: TypeAlias = tuple[tuple[Camera, ...], ...]
"""For each body one camera a view: the view as the body's own frame has it."""

Axes: TypeAlias = tuple[tuple[int | None, ...], ...]
"""The principal axis of each body in each view, None where it is chosen in the call."""

Weights: TypeAlias = Float[Array, "_ _"]
"""(rows, cols) as the image's, which ``Problem.create`` checks."""

Twists: TypeAlias = Float[Array, "bodies 6"]
Movements: TypeAlias = Float[Array, "bodies points 3 6"]
"""Derivatives of box points by twists: mm in the image at the center's depth (two), and
mm in depth. Their squares sum to the mean square over the box and the views."""

Metrics: TypeAlias = Float[Array, "bodies 6 6"]

# Water has 0.02 / mm and tungsten 15 / mm at 60 keV: a body beyond is in HU.
_MOST_ATTENUATION = 20.0
# Noise of a reconstruction swings around 0 by a tenth of water.
_LEAST_ATTENUATION = -0.02

# A view in which less than this share of the weighted pixels lies behind the body says
# nothing about the pose.
_LEAST_OVERLAP = 0.01


@noun
@dataclass(frozen=True)
class Problem:
    """Radiographs, and the rigid bodies that they show.

    Attributes:
        fixed: one (rows, cols) a view: attenuation, up to a gain and an offset.
        weights: one (rows, cols) a view, not negative.
        bodies: volumes in 1/mm, whose projections add up.
    """

    fixed: tuple[Image, ...]
    weights: tuple[Image, ...]
    bodies: tuple[Volume, ...]

    @classmethod
    def create(
        cls,
        fixed: Sequence[Image],
        bodies: Sequence[Volume],
        cameras: Cameras,
        weights: Sequence[Weights] | None = None,
    ) -> Problem:
        """With all that can be wrong checked.

        Raises:
            ValueError: for images that are constant, not finite or of another shape
                than their camera; for weights of another shape, negative or all zero;
                for bodies in HU or with channels; and for bodies that are not between
                source and detector.
        """
        require(len(fixed) > 0, "fixed must hold at least one image, got none")
        require(len(bodies) > 0, "bodies must hold at least one volume, got none")
        require(
            len(cameras) == len(bodies)
            and all(len(views) == len(fixed) for views in cameras),
            f"start must have one camera for each of {len(fixed)} images and "
            f"{len(bodies)} bodies, got {[len(views) for views in cameras]}",
        )
        images = tuple(jnp.asarray(image, dtype=float) for image in fixed)
        if weights is None:
            weights = tuple(jnp.ones_like(image) for image in images)
        require(
            len(weights) == len(images),
            f"weights must be one image for each of {len(images)} views, got "
            f"{len(weights)}",
        )
        weights = tuple(jnp.asarray(image, dtype=float) for image in weights)
        for image, weight, camera in zip(images, weights, cameras[0], strict=True):
            _require_image(image, weight, camera)
        for body, views in zip(bodies, cameras, strict=True):
            _require_body(body)
            for camera in views:
                _require_between(body, camera)
        return cls(images, weights, tuple(bodies))


def moved(problem: Problem, cameras: Cameras, twists: Twists) -> Cameras:
    """Each body's cameras after its twist about its center, views moving together."""
    return tuple(
        tuple(camera.moved(twist, about=body.center) for camera in views)
        for body, views, twist in zip(problem.bodies, cameras, twists, strict=True)
    )


def projections(problem: Problem, cameras: Cameras, axes: Axes) -> tuple[Image, ...]:
    """One (rows, cols) a view: the sum of the bodies' line integrals."""
    images = []
    for view in range(len(problem.fixed)):
        parts = [
            Joseph(axis=along[view]).project(body, views[view])
            for body, views, along in zip(problem.bodies, cameras, axes, strict=True)
        ]
        images.append(sum(parts[1:], start=parts[0]))
    return tuple(images)


def mean_similarity(
    similarity: Similarity, problem: Problem, cameras: Cameras, axes: Axes
) -> Scalar:
    """(): the mean over the views."""
    images = projections(problem, cameras, axes)
    values = map(similarity, images, problem.fixed, problem.weights)
    return jnp.mean(jnp.stack(list(values)))


def overlaps(problem: Problem, images: tuple[Image, ...]) -> Array:
    """(): whether every view shows enough of the bodies where weights are not zero."""
    shares = [
        jnp.sum(jnp.where(image > 0, weight, 0)) / jnp.sum(weight)
        for image, weight in zip(images, problem.weights, strict=True)
    ]
    return jnp.min(jnp.stack(shares)) > _LEAST_OVERLAP


def principal_axes(problem: Problem, cameras: Cameras) -> Axes:
    """The axes that concrete poses have."""
    return tuple(
        tuple(int(principal_axis(body, camera)) for camera in views)
        for body, views in zip(problem.bodies, cameras, strict=True)
    )


def movements(problem: Problem, cameras: Cameras) -> Movements:
    """How the bodies' boxes move by twists, as all views see it."""
    return jnp.stack(
        [
            jnp.concatenate([_movements(body, camera) for camera in views])
            / np.sqrt(len(views))
            for body, views in zip(problem.bodies, cameras, strict=True)
        ]
    )


def metrics(moves: Movements, *, depth: float) -> Metrics:
    """(bodies, 6, 6) M, with t @ M @ t the mean square movement in mm^2 by a twist t.

    Args:
        moves: from ``movements``.
        depth: what a mm in depth counts for; 1 makes it the movement in space.
    """
    weighted = moves * jnp.asarray([1.0, 1.0, depth], moves.dtype)[:, None]
    return jnp.einsum("bpki,bpkj->bij", weighted, weighted)


def whitening(metric: Metrics) -> Float[Array, "n n"]:
    """W with W.T @ M @ W = 1, M the bodies' metrics as blocks: from mm to twists."""
    inverses = jnp.linalg.inv(jnp.linalg.cholesky(metric))
    return jax.scipy.linalg.block_diag(*(m.T for m in inverses))


def length(metric: Metrics, twists: Twists) -> Scalar:
    """(): the root mean square movement in mm, that of the body that moves most."""
    squares = jnp.einsum("bi,bij,bj->b", twists, metric, twists)
    return jnp.sqrt(jnp.max(jnp.where(squares > 0, squares, 0)))


def distance(problem: Problem, cameras: Cameras, others: Cameras) -> Scalar:
    """(): mm between two poses: root mean square, of the body that is most apart."""
    squares = []
    for body, views, other in zip(problem.bodies, cameras, others, strict=True):
        points = _box_points(body)
        here = views[0].camera_from_world.apply(points)
        there = other[0].camera_from_world.apply(points)
        squares.append(jnp.mean(jnp.sum((here - there) ** 2, axis=-1)))
    return jnp.sqrt(jnp.max(jnp.stack(squares)))


def _movements(body: Volume, camera: Camera) -> Float[Array, "8 3 6"]:
    """By twists, of points with the box's mean square: mm in the image, mm in depth.

    A camera that turns and shifts by a twist sees points move the opposite way.
    """
    points = _box_points(body)
    spokes = points - body.center
    units = jnp.eye(3, dtype=points.dtype)
    turned = jnp.cross(units, spokes[:, None])
    shifted = jnp.broadcast_to(units, turned.shape)
    camera_from_world = camera.camera_from_world
    x, y, z = jnp.moveaxis(camera_from_world.apply(points)[:, None], -1, 0)
    motions = -camera_from_world.rotate(jnp.concatenate([turned, shifted], axis=1))
    dx, dy, dz = jnp.moveaxis(motions, -1, 0)
    scale = camera.depth(body.center) / z
    across, down = scale * (dx - x / z * dz), scale * (dy - y / z * dz)
    return jnp.stack([across, down, dz], axis=1) / np.sqrt(len(points))


def _box_points(body: Volume) -> Points:
    """(8, 3), world mm, with the mean and the second moments of the body's box.

    A uniform distribution of half width h has the variance h^2 / 3.
    """
    center = body.center
    return center + (body.corners() - center) / np.sqrt(3)


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


def _require_body(body: Volume) -> None:
    require(
        body.data.ndim == 3,
        f"body must have shape (nx, ny, nz), without channels, got {body.data.shape}",
    )
    require(
        jnp.issubdtype(body.data.dtype, jnp.floating),
        f"body must hold floats in 1/mm, got {body.data.dtype}; a CT in HU becomes "
        "that by ct.attenuation()",
    )
    if not is_concrete(body):
        return
    low, high = float(jnp.min(body.data)), float(jnp.max(body.data))
    require(
        low >= _LEAST_ATTENUATION and high <= _MOST_ATTENUATION,
        f"body must be in 1/mm, but its values go from {low:.6g} to {high:.6g}; a CT "
        "in HU becomes that by ct.attenuation()",
    )
    require(high > 0, "body must attenuate somewhere, but all its voxels are 0")


def _require_between(body: Volume, camera: Camera) -> None:
    if not is_concrete(body.affine, camera):
        return
    depth, far = float(camera.depth(body.center)), float(camera.source_to_detector)
    require(
        0 < depth < far,
        "start must have the body between source and detector, but its center is at "
        f"{depth:.6g} mm from the source, the detector at {far:.6g} mm",
    )
