"""Rigid bodies: the problem of poses, from radiographs that show the bodies' sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import is_concrete, positive_scalar, require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.registration.intrinsics import Intrinsics
from synthex_jax.registration.problem import (
    Sightings,
    Step,
    Weights,
    checked_images,
    least_share,
    require_between,
    sighted,
)
from synthex_jax.registration.pyramid import (
    Level,
    binned,
    binned_camera,
    coarsened,
    factor_of,
    full_camera,
)
from synthex_jax.typing import ArrayLike, Image, Points, Scalar
from synthex_jax.volumes.volume import Volume

Cameras: TypeAlias = tuple[tuple[Camera, ...], ...]
"""For each body one camera a view: the view as the body's own frame has it."""

# Water has 0.02 / mm and tungsten 15 / mm at 60 keV: a body beyond is in HU.
_MOST_ATTENUATION = 20.0
# A view in which less than this share of the weighted pixels lies behind the bodies
# says nothing about their poses.
_LEAST_OVERLAP = 0.01
# What a standard deviation off costs, in single pixels' shares of the similarity: a
# thousandth where images have 50 by 50 of them.
_PRIOR_PIXELS = 2.5
# Noise of a reconstruction swings around 0 by a tenth of water.
_LEAST_ATTENUATION = -0.02


@noun
@dataclass(frozen=True)
class RigidBodies:
    """Radiographs, and the rigid bodies that they show; the state is the cameras.

    The unknowns are each body's twist about its center, (6,), then the intrinsics of
    each view. All views of a body move together.

    Attributes:
        fixed: one (rows, cols) a view: attenuation, up to a gain and an offset.
        weights: one (rows, cols) a view, not negative.
        bodies: volumes in 1/mm, whose projections add up.
        projector: how to integrate.
        expected: what the bodies are held near, as far as images do not show them.
        starts_std: (), mm, how far from there a body's box may be, root mean square;
            None where nothing is expected.
        unknown: what of the lenses is unknown, static.
        axes: principal axis of each body in each view, None where it is chosen in the
            call, static.
    """

    fixed: tuple[Image, ...]
    weights: tuple[Image, ...]
    bodies: tuple[Volume, ...]
    projector: Joseph
    expected: Cameras
    starts_std: Scalar | None
    unknown: Intrinsics = field(metadata={"static": True})
    axes: tuple[tuple[int | None, ...], ...] = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        fixed: Sequence[Image],
        bodies: Sequence[Volume],
        cameras: Cameras,
        weights: Sequence[Weights] | None = None,
        *,
        projector: Joseph = Joseph(),
        starts_std: ArrayLike | None = None,
        unknown: Intrinsics = Intrinsics(),
    ) -> RigidBodies:
        """With all that can be wrong checked; bodies are expected where they start.

        Raises:
            ValueError: for images that are constant, not finite or of another shape
                than their camera; for weights of another shape, negative or all zero;
                for bodies in HU or with channels; for bodies that are not between
                source and detector; and for a ``starts_std`` that is not positive.
        """
        require(len(fixed) > 0, "fixed must hold at least one image, got none")
        require(len(bodies) > 0, "bodies must hold at least one volume, got none")
        require(
            len(cameras) == len(bodies)
            and all(len(views) == len(fixed) for views in cameras),
            f"start must have one camera for each of {len(fixed)} images and "
            f"{len(bodies)} bodies, got {[len(views) for views in cameras]}",
        )
        images, weights = checked_images(fixed, weights, cameras[0])
        for body, views in zip(bodies, cameras, strict=True):
            _require_body(body)
            for camera in views:
                require_between("start", "the body", body.center, camera)
        axes = tuple(tuple(projector.axis for _ in views) for views in cameras)
        if starts_std is not None:
            starts_std = positive_scalar("starts_std", starts_std, "mm")
        return cls(
            images,
            weights,
            tuple(bodies),
            projector,
            cameras,
            starts_std,
            unknown,
            axes,
        )

    @property
    def size(self) -> int:
        """Six a body, and those of the lenses."""
        return 6 * len(self.bodies) + self.unknown.size * len(self.fixed)

    def images(self, state: Cameras) -> tuple[Image, ...]:
        """One (rows, cols) a view: the sum of the bodies' line integrals."""
        images = []
        for view in range(len(self.fixed)):
            parts = [
                replace(self.projector, axis=along[view]).project(body, views[view])
                for body, views, along in zip(
                    self.bodies, state, self.axes, strict=True
                )
            ]
            images.append(sum(parts[1:], start=parts[0]))
        return tuple(images)

    def overlaps(self, images: tuple[Image, ...]) -> Bool[Array, ""]:
        """Whether every view shows enough of the bodies' sum."""
        return least_share(images, self.weights) > _LEAST_OVERLAP

    def prior(self, state: Cameras) -> Float[Array, "_"]:
        """How far the points of each body's box are from where they are expected.

        In the first view's frame: the others move with it.
        """
        if self.starts_std is None:
            return jnp.zeros(0, self.fixed[0].dtype)
        parts = []
        for body, views, expected in zip(
            self.bodies, state, self.expected, strict=True
        ):
            points = _box_points(body)
            seen = views[0].camera_from_world.apply(points)
            off = seen - expected[0].camera_from_world.apply(points)
            parts.append(off.ravel() / (self.starts_std * np.sqrt(len(points))))
        return jnp.concatenate(parts)

    @property
    def prior_weight(self) -> float:
        """Less the more pixels there are, as noise goes that each has of its own."""
        return _PRIOR_PIXELS / max(image.size for image in self.fixed)

    def spread(self, rotation: float, translation: float) -> Step:
        """Of the twists; lenses are not spread."""
        twists = np.tile(np.repeat([rotation, translation], 3), len(self.bodies))
        return jnp.asarray(np.pad(twists, (0, self.size - len(twists))), float)

    def moved(self, state: Cameras, step: Step) -> Cameras:
        """Each body's cameras after its twist about its center, and their lenses."""
        twists = step[: 6 * len(self.bodies)].reshape(-1, 6)
        lenses = step[6 * len(self.bodies) :].reshape(len(self.fixed), -1)
        return tuple(
            tuple(
                self.unknown.changed(camera.moved(twist, about=body.center), lens)
                for camera, lens in zip(views, lenses, strict=True)
            )
            for body, views, twist in zip(self.bodies, state, twists, strict=True)
        )

    def sightings(self, state: Cameras) -> Sightings:
        """Of points with the mean and the second moments of each body's box."""
        found = []
        for body, views in zip(self.bodies, state, strict=True):
            points = _box_points(body)
            seen = [sighted(points, body.center, camera) for camera in views]
            found.append(jnp.concatenate(seen) / np.sqrt(len(points) * len(views)))
        if self.unknown.size == 0:
            return tuple(found)
        center = self.bodies[0].center
        lenses = [self.unknown.sightings(c, c.depth(center)) for c in state[0]]
        return (*found, jnp.concatenate(lenses))

    def centers(self, state: Cameras) -> Float[Array, "bodies views 3"]:
        """Mm, of each body's box in each view's camera frame."""
        return jnp.stack(
            [
                jnp.stack([c.camera_from_world.apply(body.center) for c in views])
                for body, views in zip(self.bodies, state, strict=True)
            ]
        )

    def at_level(self, level: Level) -> RigidBodies:
        """The problem at a lower resolution.

        Pixels weigh by their weights; a remainder of the rows or columns is cut off at
        the end.
        """
        bodies = tuple(coarsened(body, level.spacing) for body in self.bodies)
        pairs = map(binned, self.fixed, self.weights, self._factors(level))
        fixed, weights = zip(*pairs, strict=True)
        return replace(self, fixed=fixed, weights=weights, bodies=bodies)

    def state_at(self, level: Level, state: Cameras) -> Cameras:
        """The cameras of the binned images."""
        factors = self._factors(level)
        return tuple(tuple(map(binned_camera, views, factors)) for views in state)

    def near(self, state: Cameras) -> RigidBodies:
        """The problem for poses that share the principal axes of a concrete state's.

        Bodies are laid out in memory for their first view.
        """
        if self.projector.axis is not None or not is_concrete(self.bodies, state):
            return self
        bodies = tuple(
            body.facing(views[0])
            for body, views in zip(self.bodies, state, strict=True)
        )
        axes = tuple(
            tuple(int(principal_axis(body, camera)) for camera in views)
            for body, views in zip(bodies, state, strict=True)
        )
        return replace(self, bodies=bodies, axes=axes)

    def with_state_of(self, state: Cameras, small: Cameras) -> Cameras:
        """Cameras of this resolution with the poses and lenses of a lower one's."""
        return jax.tree.map(
            full_camera, state, small, is_leaf=lambda node: isinstance(node, Camera)
        )

    def _factors(self, level: Level) -> list[int]:
        return [factor_of(image, level) for image in self.fixed]


def _box_points(body: Volume) -> Points:
    """(8, 3), world mm, with the mean and the second moments of the body's box.

    A uniform distribution of half width h has the variance h^2 / 3.
    """
    center = body.center
    return center + (body.corners() - center) / np.sqrt(3)


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
