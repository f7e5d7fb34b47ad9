"""Random placements: where a tool is.

A placement gives ``world_from_tool`` from an anchor in the body, as a landmark or the
isocenter, and the camera that will look at the tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.geometry.transform import RigidTransform, axis_rotation
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.sampling.combinations import Independent, three
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.directions import (
    cap_direction,
    frame_about,
    require_at_most_half_turn,
)
from synthex_jax.sampling.distributions import (
    Distribution,
    Uniform,
    as_distribution,
)
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar, Vector3


@runtime_checkable
class Placement(Protocol):
    """What puts a tool somewhere."""

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> RigidTransform:
        """``world_from_tool``, for an anchor (3,) in world mm."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@noun
@dataclass(frozen=True)
class Insertion(Describable):
    """A tool that points a given way at the anchor, as a drill at its entry point.

    The camera makes no difference.

    Attributes:
        direction: (3,), unit vector in the world that the tool's axis points along.
        tool_axis: (3,), unit vector in the tool's frame: its axis.
        half_angle: (), radians, of the cone about ``direction`` within which every
            direction is as probable as any other.
        roll: radians about the tool's axis.
        depth: mm that the tool's origin is beyond the entry point, along its axis.
        entry: mm from the anchor to the entry point, to the right, anterior and
            superior.
    """

    direction: Vector3
    tool_axis: Vector3
    half_angle: Scalar
    roll: Distribution
    depth: Distribution
    entry: Independent

    @classmethod
    def create(
        cls,
        direction: ArrayLike,
        *,
        tool_axis: ArrayLike = (0.0, 0.0, -1.0),
        half_angle: ArrayLike = 0.0,
        roll: Distribution | ArrayLike | None = None,
        depth: Distribution | ArrayLike = 0.0,
        entry: Sequence[Distribution | ArrayLike] = (0.0, 0.0, 0.0),
    ) -> Insertion:
        """From directions of any length, and distributions or numbers.

        Args:
            direction: (3,), world; from an entry point to a target, say.
            tool_axis: (3,), tool's frame; by default of a tool with the tip at its
                origin and its base at +z.
            half_angle: radians, 0 to pi; 0 for exactly ``direction``.
            roll: radians; None for every one alike, all the way round.
            depth: mm.
            entry: mm along x, y and z.

        Raises:
            ValueError: for a direction of no length, a half angle outside 0 to pi, or
                what is no distribution.
        """
        require_not_negative("half_angle", half_angle, "radians")
        require_at_most_half_turn("half_angle", half_angle)
        return cls(
            _unit("direction", direction),
            _unit("tool_axis", tool_axis),
            jnp.asarray(half_angle, float),
            _any_turn() if roll is None else as_distribution("roll", roll),
            as_distribution("depth", depth),
            three("entry", entry),
        )

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> RigidTransform:
        """``world_from_tool``.

        Args:
            key: consumed here.
            camera: not looked at.
            anchor: (3,), world mm.
        """
        return _insertion(self, key, _point(anchor))


@noun
@dataclass(frozen=True)
class CameraFacing(Describable):
    """A tool at given angles to the camera, wherever the camera is.

    The tool's frame is to the camera as a patient's: at zero angles the camera sees it
    from +y with +z up in the image and +x to the left, and the angles are those at
    which a C-arm would have to stand about the tool for the view that results.

    Attributes:
        orbital: radians, positive towards LAO; as in ``CArm.at``.
        angular: radians, positive towards CRAN.
        roll: radians.
        shift: mm of the tool's origin from the anchor, along the camera's x (columns),
            y (rows) and z (away from the source).
    """

    orbital: Distribution
    angular: Distribution
    roll: Distribution
    shift: Independent

    @classmethod
    def create(
        cls,
        *,
        orbital: Distribution | ArrayLike = 0.0,
        angular: Distribution | ArrayLike = 0.0,
        roll: Distribution | ArrayLike = 0.0,
        shift: Sequence[Distribution | ArrayLike] = (0.0, 0.0, 0.0),
    ) -> CameraFacing:
        """From distributions, or numbers for what is always the same.

        Args:
            orbital: radians.
            angular: radians.
            roll: radians.
            shift: mm along the camera's x, y and z.

        Raises:
            ValueError: for what is no distribution.
        """
        return cls(
            as_distribution("orbital", orbital),
            as_distribution("angular", angular),
            as_distribution("roll", roll),
            three("shift", shift),
        )

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> RigidTransform:
        """``world_from_tool``.

        Args:
            key: consumed here.
            camera: that the tool is to face.
            anchor: (3,), world mm. With the camera's ``source``, the third shift is
                the distance from the source.
        """
        return _facing(self, key, camera, _point(anchor))


@jax.jit
def _insertion(placement: Insertion, key: PRNGKey, anchor: Vector3) -> RigidTransform:
    for_direction, for_roll, for_depth, for_entry = jax.random.split(key, 4)
    direction = product(
        frame_about(placement.direction),
        cap_direction(for_direction, placement.half_angle),
    )
    turned = product(
        frame_about(direction), axis_rotation("z", placement.roll.sample(for_roll))
    )
    rotation = product(turned, frame_about(placement.tool_axis).T)
    entry = anchor + placement.entry.sample(for_entry)
    return RigidTransform(
        rotation, entry + placement.depth.sample(for_depth) * direction
    )


@jax.jit
def _facing(
    placement: CameraFacing, key: PRNGKey, camera: Camera, anchor: Vector3
) -> RigidTransform:
    keys = jax.random.split(key, 4)
    orbital, angular, roll, shift = (
        part.sample(k)
        for part, k in zip(
            (placement.orbital, placement.angular, placement.roll, placement.shift),
            keys,
            strict=True,
        )
    )
    # Of any C-arm only the rotation is wanted, which depends on the angles alone.
    tool_from_camera = CArm.generic().at(orbital, angular, roll).world_from_camera
    pose = camera.world_from_camera
    return RigidTransform(
        product(pose.rotation, tool_from_camera.rotation.T), anchor + pose.rotate(shift)
    )


def _any_turn() -> Uniform:
    return Uniform.create(-jnp.pi, jnp.pi)


def _point(anchor: ArrayLike) -> Vector3:
    point = jnp.asarray(anchor, float)
    require_shape("anchor", point, (3,))
    return point


def _unit(name: str, vector: ArrayLike) -> Vector3:
    vector = jnp.asarray(vector, float)
    require_shape(name, vector, (3,))
    require_finite(name, vector)
    length = jnp.linalg.norm(vector)
    if is_concrete(length):
        require(float(length) > 0, f"{name} must have a length above 0, got zeros")
    return vector / length
