"""Random views: cameras of a C-arm about a body.

Two parametrizations of the same thing: the C-arm moves about the body, or the body
moves under a C-arm at rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.sampling.combinations import Independent, three
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.distributions import Distribution, as_distribution
from synthex_jax.sampling.rigid import MotionDistribution
from synthex_jax.typing import ArrayLike, PRNGKey, Vector3


@runtime_checkable
class ViewSampler(Protocol):
    """What makes random views of a body."""

    def sample(self, key: PRNGKey, carm: CArm, center: ArrayLike) -> Camera:
        """One view of a body about its center (3,), world mm."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@noun
@dataclass(frozen=True)
class CArmViews(Describable):
    """A C-arm at random angles about a point near the body's center.

    Attributes:
        orbital: radians, positive towards LAO; as in ``CArm.at``.
        angular: radians, positive towards CRAN.
        roll: radians.
        offset: mm of the isocenter from the body's center, to the right, to anterior
            and to superior.
        source_to_isocenter: mm; None for the device's own.
        source_to_detector: mm; None for the device's own.
    """

    orbital: Distribution
    angular: Distribution
    roll: Distribution
    offset: Independent
    source_to_isocenter: Distribution | None
    source_to_detector: Distribution | None

    @classmethod
    def create(
        cls,
        *,
        orbital: Distribution | ArrayLike = 0.0,
        angular: Distribution | ArrayLike = 0.0,
        roll: Distribution | ArrayLike = 0.0,
        offset: Sequence[Distribution | ArrayLike] = (0.0, 0.0, 0.0),
        source_to_isocenter: Distribution | ArrayLike | None = None,
        source_to_detector: Distribution | ArrayLike | None = None,
    ) -> CArmViews:
        """From distributions, or numbers for what is always the same.

        Args:
            orbital: radians.
            angular: radians.
            roll: radians.
            offset: mm along x (right), y (anterior) and z (superior).
            source_to_isocenter: mm.
            source_to_detector: mm.

        Raises:
            ValueError: for what is no distribution, or a distance that can be 0, less
                or endless (a ``Normal``: take ``TruncatedNormal``).
        """
        return cls(
            as_distribution("orbital", orbital),
            as_distribution("angular", angular),
            as_distribution("roll", roll),
            three("offset", offset),
            _distance("source_to_isocenter", source_to_isocenter),
            _distance("source_to_detector", source_to_detector),
        )

    def sample(self, key: PRNGKey, carm: CArm, center: ArrayLike) -> Camera:
        """One view.

        Args:
            key: consumed here.
            carm: the device.
            center: (3,), world mm, of the body.

        Raises:
            ValueError: where the detector could come before the isocenter.
        """
        _require_order(self.source_to_isocenter, self.source_to_detector, carm)
        return _carm_view(self, key, carm, _point("center", center))


@noun
@dataclass(frozen=True)
class BodyMotion(Describable):
    """A body that is turned about its center and shifted under a C-arm at rest.

    The C-arm stands in its AP pose with the isocenter at the body's center. The body
    stays where it is in the world, and the camera makes the opposite motion: see
    ``under_motion``.

    Attributes:
        motion: of the body, about its center; mm to the right, anterior and superior.
        source_to_isocenter: mm; None for the device's own.
    """

    motion: MotionDistribution
    source_to_isocenter: Distribution | None

    @classmethod
    def create(
        cls,
        motion: MotionDistribution,
        *,
        source_to_isocenter: Distribution | ArrayLike | None = None,
    ) -> BodyMotion:
        """From the motion, and the distance in mm.

        Raises:
            ValueError: for a distance that can be 0, less or endless.
        """
        return cls(motion, _distance("source_to_isocenter", source_to_isocenter))

    def sample(self, key: PRNGKey, carm: CArm, center: ArrayLike) -> Camera:
        """One view.

        Args:
            key: consumed here.
            carm: the device.
            center: (3,), world mm, of the body.

        Raises:
            ValueError: where the detector could come before the isocenter.
        """
        _require_order(self.source_to_isocenter, None, carm)
        return _motion_view(self, key, carm, _point("center", center))


def under_motion(
    camera: Camera, motion: RigidTransform, *, about: ArrayLike = (0.0, 0.0, 0.0)
) -> Camera:
    r"""The camera that sees a body at rest as ``camera`` sees it after a motion.

    A motion $(R, t)$ about $c$ takes a point of the body to
    $M(p) = c + R (p - c) + t$. The camera with ``world_from_camera`` $W$ has it at
    $W^{-1} M(p) = (M^{-1} W)^{-1} p$, so that the pose looked for is $M^{-1} W$.

    Args:
        camera: at rest.
        motion: of the body.
        about: (3,), world mm, the center that the motion's rotation leaves in place.
    """
    center = _point("about", about)
    moved = RigidTransform(
        motion.rotation, motion.translation + center - motion.rotate(center)
    )
    return replace(camera, world_from_camera=moved.inverse @ camera.world_from_camera)


@jax.jit
def _carm_view(views: CArmViews, key: PRNGKey, carm: CArm, center: Vector3) -> Camera:
    keys = iter(jax.random.split(key, 6))
    orbital, angular, roll, offset = (
        part.sample(next(keys))
        for part in (views.orbital, views.angular, views.roll, views.offset)
    )
    changes = {
        name: distance.sample(next(keys))
        for name, distance in (
            ("source_to_isocenter", views.source_to_isocenter),
            ("source_to_detector", views.source_to_detector),
        )
        if distance is not None
    }
    carm = replace(carm, **changes)
    return carm.at(orbital, angular, roll, isocenter=center + offset)


@jax.jit
def _motion_view(
    views: BodyMotion, key: PRNGKey, carm: CArm, center: Vector3
) -> Camera:
    for_motion, for_distance = jax.random.split(key)
    if views.source_to_isocenter is not None:
        distance = views.source_to_isocenter.sample(for_distance)
        carm = replace(carm, source_to_isocenter=distance)
    at_rest = carm.at(isocenter=center)
    return under_motion(at_rest, views.motion.sample(for_motion), about=center)


def _point(name: str, value: ArrayLike) -> Vector3:
    point = jnp.asarray(value, float)
    require_shape(name, point, (3,))
    return point


def _distance(name: str, value: Distribution | ArrayLike | None) -> Distribution | None:
    if value is None:
        return None
    distance = as_distribution(name, value)
    if is_concrete(distance):
        low, high = (float(limit) for limit in distance.support())
        require(
            low > 0 and high < np.inf,
            f"{name} must be positive and bounded, in mm, its support is {low:g} to "
            f"{high:g}; a TruncatedNormal has limits",
        )
    return distance


def _require_order(
    to_isocenter: Distribution | None, to_detector: Distribution | None, carm: CArm
) -> None:
    """Refuse distances that can put the detector before the isocenter."""
    if not is_concrete(to_isocenter, to_detector, carm):
        return
    farthest = carm.source_to_isocenter
    if to_isocenter is not None:
        farthest = to_isocenter.support()[1]
    nearest = carm.source_to_detector
    if to_detector is not None:
        nearest = to_detector.support()[0]
    require(
        float(farthest) < float(nearest),
        "source_to_isocenter must stay below source_to_detector, but it can be "
        f"{float(farthest):g} mm where the other is {float(nearest):g} mm",
    )
