"""A tool in view: the problem of its pose and its joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import (
    positive_scalar,
    require,
    require_finite,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.projectors.surface import path_lengths
from synthex_jax.registration.problem import (
    Sightings,
    Step,
    Weights,
    checked_images,
    least_share,
    require_between,
    sighted,
)
from synthex_jax.registration.pyramid import Level, binned, binned_camera, factor_of
from synthex_jax.registration.subtraction import subtracted
from synthex_jax.tools.tool import Tool
from synthex_jax.typing import ArrayLike, Image, Points, Scalar, Vector3

Joints: TypeAlias = Float[Array, "joints"]
"""What bends or opens a tool, as its maker takes it."""

# Along a side of a pixel: with one, edges move in steps, and the cost with them.
_RAYS = 2
# What a standard deviation off costs, of a similarity up to 1: what a view's noise and
# a background's errors are worth.
_PRIOR_WEIGHT = 1e-3
# Share of the weighted pixels: a wire along the beam covers some ten of 200 x 200.
_LEAST_SEEN = 1e-4


@runtime_checkable
class Articulated(Protocol):
    """What makes a tool from its joints: a pytree, as ``ContinuumManipulator``."""

    def tool(self, joints: Joints, /) -> Tool:
        """The tool in its own frame, differentiable in the joints."""
        ...


@noun
@dataclass(frozen=True)
class Rigid:
    """A tool without joints.

    Attributes:
        body: whose own pose does not count.
    """

    body: Tool

    def tool(self, joints: Joints, /) -> Tool:
        """The same, whatever the joints."""
        del joints
        return self.body


@noun
@dataclass(frozen=True)
class Configuration:
    """Where a tool is, and how it is bent.

    Attributes:
        world_from_tool: pose.
        joints: (joints,).
    """

    world_from_tool: RigidTransform
    joints: Joints


@noun
@dataclass(frozen=True)
class ToolInView:
    """Radiographs, and the tool that they show; the state is its configuration.

    The unknowns are a twist of the tool in its own frame about the middle of its
    surface, then the joints. Tools are sharp and dense: a pixel counts the light of
    several rays.

    Attributes:
        fixed: one (rows, cols) a view: attenuation, less that of all else where it is
            known, up to a gain and an offset.
        weights: one (rows, cols) a view, not negative.
        cameras: one a view, at full resolution.
        maker: of the tool.
        energy: (), keV, at which its materials attenuate.
        expected: what the unknowns are held near, as far as images do not show them.
        surface_std: (), mm, how far from there the tool's surface may be, root mean
            square.
        joints_std: (), how far the joints may be from there.
        turns: whether a turn about the tool's z axis is an unknown, static.
        factors: pixels along a side that are binned in each view, static.
    """

    fixed: tuple[Image, ...]
    weights: tuple[Image, ...]
    cameras: tuple[Camera, ...]
    maker: Articulated
    energy: Scalar
    expected: Configuration
    surface_std: Scalar
    joints_std: Scalar
    turns: bool = field(metadata={"static": True})
    factors: tuple[int, ...] = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        fixed: Sequence[Image],
        maker: Articulated,
        cameras: Sequence[Camera],
        start: Configuration,
        weights: Sequence[Weights] | None = None,
        *,
        background: Sequence[Weights] | None = None,
        energy: ArrayLike = 60.0,
        surface_std: ArrayLike = 20.0,
        joints_std: ArrayLike = 0.05,
        turns: bool = True,
    ) -> ToolInView:
        """With all that can be wrong checked.

        Raises:
            ValueError: for images that are constant, not finite or of another shape
                than their camera; for weights and backgrounds of another shape; and
                for a start that is not between source and detector.
        """
        require(len(fixed) > 0, "fixed must hold at least one image, got none")
        require(
            len(cameras) == len(fixed),
            f"cameras must be one for each of {len(fixed)} images, got {len(cameras)}",
        )
        images, weights = checked_images(fixed, weights, cameras)
        if background is not None:
            images = _less(images, background, weights)
        require(
            start.joints.ndim == 1,
            f"joints must have shape (joints,), got {start.joints.shape}",
        )
        require_finite("joints", start.joints)
        problem = cls(
            images,
            weights,
            tuple(cameras),
            maker,
            positive_scalar("energy", energy, "keV"),
            start,
            positive_scalar("surface_std", surface_std, "mm"),
            positive_scalar("joints_std", joints_std),
            turns,
            (1,) * len(images),
        )
        for camera in cameras:
            center = problem._center(start)
            require_between("world_from_tool", "the tool", center, camera)
        return problem

    @property
    def size(self) -> int:
        """Six, or five where it does not turn, and the joints."""
        return len(self._free) + len(self.expected.joints)

    @property
    def _free(self) -> np.ndarray:
        """Of a twist: which components are unknowns."""
        return np.array([0, 1, 2, 3, 4, 5] if self.turns else [0, 1, 3, 4, 5])

    def images(self, state: Configuration) -> tuple[Image, ...]:
        """One (rows, cols) a view: the tool's attenuation."""
        tool = self.posed(state)
        images = []
        for camera, factor in zip(self.cameras, self.factors, strict=True):
            small = binned_camera(camera, factor)
            rows, cols = (_RAYS * n for n in small.shape)
            shown = attenuation_of(tool, small.resized((rows, cols)), self.energy)
            light = jnp.exp(-shown)
            images.append(-jnp.log(binned(light, jnp.ones_like(light), _RAYS)[0]))
        return tuple(images)

    def overlaps(self, images: tuple[Image, ...]) -> Bool[Array, ""]:
        """Whether every view shows something of the tool."""
        return least_share(images, self.weights) > _LEAST_SEEN

    def prior(self, state: Configuration) -> Float[Array, "_"]:
        """How far surface and joints are from where they are expected."""
        seen, expected = self.sightings(state)[0], self.sightings(self.expected)[0]
        off = (seen - expected).ravel() / self.surface_std
        bent = (state.joints - self.expected.joints) / self.joints_std
        return jnp.concatenate([off, bent])

    @property
    def prior_weight(self) -> float:
        """The same at all levels: what a tool's model lacks grows with the pixels."""
        return _PRIOR_WEIGHT

    def spread(self, rotation: float, translation: float) -> Step:
        """Of the pose, and of the joints as much as the prior allows."""
        pose = np.repeat([rotation, translation], 3)[self._free]
        joints = jnp.full(len(self.expected.joints), self.joints_std)
        return jnp.concatenate([jnp.asarray(pose, float), joints])

    def moved(self, state: Configuration, step: Step) -> Configuration:
        """The tool moved in its own frame, and bent."""
        free = len(self._free)
        twist = jnp.zeros(6, step.dtype).at[self._free].set(step[:free])
        about = _middle(self.maker.tool(state.joints))
        motion = RigidTransform.from_twist(twist, about=about)
        return Configuration(state.world_from_tool @ motion, state.joints + step[free:])

    def posed(self, state: Configuration) -> Tool:
        """The tool in the world."""
        return self.maker.tool(state.joints).at(state.world_from_tool)

    def sightings(self, state: Configuration) -> Sightings:
        """Of points on the surface of each part, all parts alike."""
        parts = _surface_points(self.maker.tool(state.joints))
        center = self._center(state)
        seen = []
        for points in parts:
            share = np.sqrt(len(points) * len(parts) * len(self.cameras))
            world = state.world_from_tool.apply(points)
            seen += [sighted(world, center, camera) / share for camera in self.cameras]
        return (jnp.concatenate(seen),)

    def centers(self, state: Configuration) -> Float[Array, "landmarks views 3"]:
        """Mm, of each landmark, in the order of names, in each view's camera frame."""
        landmarks = self.posed(state).world_landmarks()
        points = [landmarks[name] for name in sorted(landmarks)]
        world = jnp.stack(points or [self._center(state)])
        views = [camera.camera_from_world.apply(world) for camera in self.cameras]
        return jnp.stack(views, axis=1)

    def at_level(self, level: Level) -> ToolInView:
        """The problem with binned images."""
        factors = tuple(factor_of(image, level) for image in self.fixed)
        pairs = map(binned, self.fixed, self.weights, factors)
        fixed, weights = zip(*pairs, strict=True)
        return replace(self, fixed=fixed, weights=weights, factors=factors)

    def state_at(self, level: Level, state: Configuration) -> Configuration:
        """The same at all levels."""
        del level
        return state

    def near(self, state: Configuration) -> ToolInView:
        """The same: nothing is spared."""
        del state
        return self

    def with_state_of(
        self, state: Configuration, small: Configuration
    ) -> Configuration:
        """That of the lower resolution."""
        del state
        return small

    def _center(self, state: Configuration) -> Vector3:
        return state.world_from_tool.apply(_middle(self.maker.tool(state.joints)))


def attenuation_of(tool: Tool, camera: Camera, energy: Scalar) -> Image:
    """(rows, cols), line integrals of a tool's attenuation at one energy in keV.

    Parts that overlap count twice, and so does the tissue that the tool displaces:
    of metal some percent.
    """
    parts = [
        linear_attenuation(part.material, energy) * path_lengths(part.shape, camera)
        for part in tool.world_parts()
    ]
    return sum(parts[1:], start=parts[0])


def _surface_points(tool: Tool) -> list[Points]:
    """Of each part, mm in the tool's frame."""
    return [part.shape.surface_points() for part in tool.parts]


def _middle(tool: Tool) -> Vector3:
    """(3,), mm in the tool's frame, all parts alike."""
    return jnp.mean(jnp.stack([jnp.mean(p, 0) for p in _surface_points(tool)]), 0)


def _less(
    images: Sequence[Image], background: Sequence[Weights], weights: Sequence[Image]
) -> tuple[Image, ...]:
    require(
        len(background) == len(images),
        f"background must be one image for each of {len(images)} views, got "
        f"{len(background)}",
    )
    known = tuple(jnp.asarray(image, dtype=float) for image in background)
    for behind, image in zip(known, images, strict=True):
        require_shape("background", behind, image.shape)
        require_finite("background", behind)
    return tuple(map(subtracted, images, known, weights))
