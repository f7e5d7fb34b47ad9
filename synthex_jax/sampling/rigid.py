r"""Random rotations and rigid motions.

The uniform measure on rotations is Haar's: turned by any rotation it stays the same.
Its angle $\theta$ about an axis uniform on the sphere has the density
$(1 - \cos\theta)/\pi$ on $[0, \pi]$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.checks import (
    require,
    require_not_negative,
    require_positive,
)
from synthex_jax.geometry.lie import rotation_from_quaternion, so3_exp
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.sampling.combinations import Independent, three
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.directions import (
    require_at_most_half_turn,
    uniform_direction,
)
from synthex_jax.sampling.distributions import Distribution
from synthex_jax.typing import ArrayLike, Matrix3, PRNGKey, Scalar, Vector3

# Power series of (t - sin t) / t^3 in -t^2; 12 terms are exact to 1e-16 up to t = pi.
_THIRD = np.array([1 / math.factorial(2 * k + 3) for k in range(12)])
# From a start at most 18 % off; each step squares the error.
_NEWTON_STEPS = 5


@runtime_checkable
class RotationDistribution(Protocol):
    """What a sampler asks of the distribution of a rotation."""

    def sample(self, key: PRNGKey) -> Matrix3:
        """One rotation matrix."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@runtime_checkable
class MotionDistribution(Protocol):
    """What a sampler asks of the distribution of a rigid motion."""

    def sample(self, key: PRNGKey) -> RigidTransform:
        """One motion."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@noun
@dataclass(frozen=True)
class UniformRotation(Describable):
    """Every rotation alike (Shoemake 1992, Graphics Gems III, pp. 124-132)."""

    def sample(self, key: PRNGKey) -> Matrix3:
        """One rotation matrix."""
        share, *turns = jax.random.uniform(key, (3,))
        phase_a, phase_b = (2 * jnp.pi * turn for turn in turns)
        a, b = jnp.sqrt(1 - share), jnp.sqrt(share)
        return rotation_from_quaternion(
            jnp.stack(
                [
                    b * jnp.cos(phase_b),
                    a * jnp.sin(phase_a),
                    a * jnp.cos(phase_a),
                    b * jnp.sin(phase_b),
                ]
            )
        )


@noun
@dataclass(frozen=True)
class RotationBall(Describable):
    r"""Every rotation by at most a given angle alike: a geodesic ball.

    The angle's cumulative probability is
    $(\theta - \sin\theta) / (\theta_m - \sin\theta_m)$.

    Attributes:
        largest: (), radians.
    """

    largest: Scalar

    @classmethod
    def create(cls, largest: ArrayLike) -> RotationBall:
        """From the largest angle in radians.

        Raises:
            ValueError: for an angle that is not above 0 and at most pi.
        """
        require_positive("largest", largest, "radians")
        require_at_most_half_turn("largest", largest)
        return cls(jnp.asarray(largest, float))

    @classmethod
    def degrees(cls, largest: float) -> RotationBall:
        """From the largest angle in degrees."""
        return cls.create(np.deg2rad(largest))

    def sample(self, key: PRNGKey) -> Matrix3:
        """One rotation matrix; its derivative with respect to the angle is exact."""
        for_angle, for_axis = jax.random.split(key)
        dtype = self.largest.dtype
        least = jnp.finfo(dtype).eps
        share = jax.random.uniform(for_angle, (), dtype, minval=least)

        # With s = angle / largest: s^3 third(s m) / third(m) = share, by Newton's
        # method. The left side is convex and the start at or above its root.
        def nearer(s: Scalar, largest: Scalar) -> Scalar:
            whole = _third(largest)
            value = s**3 * _third(s * largest) / whole
            half = jnp.sin(s * largest / 2) / largest
            return s - (value - share) / (2 * half**2 / whole)

        constant = lax.stop_gradient(self.largest)
        root = lax.fori_loop(
            0, _NEWTON_STEPS, lambda _, s: nearer(s, constant), jnp.cbrt(share)
        )
        # At the root one more step has the derivative of the implicit function.
        s = nearer(root, self.largest)
        return so3_exp(s * self.largest * uniform_direction(for_axis, dtype))


@noun
@dataclass(frozen=True)
class EulerRotation(Describable):
    """Angles about three axes, independent of each other.

    Attributes:
        angles: radians, three distributions, in the order of the axes.
        axes: as in ``RigidTransform.from_euler``, static.
    """

    angles: Independent
    axes: str = field(metadata={"static": True})

    @classmethod
    def create(
        cls, angles: Sequence[Distribution | ArrayLike], *, axes: str = "xyz"
    ) -> EulerRotation:
        """From three distributions of angles, or angles, in radians.

        Args:
            angles: in the order of the axes.
            axes: three of ``"xyz"``, about the fixed axes, or of ``"XYZ"``, about the
                carried ones.

        Raises:
            ValueError: for other axes, or another number of angles.
        """
        require(
            len(axes) == len(angles) == 3,
            f"angles and axes must be three each, got {len(angles)} and {axes!r}",
        )
        RigidTransform.from_euler(axes, (0.0, 0.0, 0.0))  # its check of the letters
        return cls(Independent.create(*angles), axes)

    def sample(self, key: PRNGKey) -> Matrix3:
        """One rotation matrix."""
        return RigidTransform.from_euler(self.axes, self.angles.sample(key)).rotation


@noun
@dataclass(frozen=True)
class RandomMotion(Describable):
    """A rotation and a translation, independent of each other.

    Attributes:
        rotation: its distribution.
        translation: mm along x, y and z, applied after the rotation.
    """

    rotation: RotationDistribution
    translation: Independent

    @classmethod
    def create(
        cls,
        rotation: RotationDistribution,
        translation: Sequence[Distribution | ArrayLike] = (0.0, 0.0, 0.0),
    ) -> RandomMotion:
        """From a rotation and three distributions of mm, or mm.

        Raises:
            ValueError: for another number of components.
        """
        return cls(rotation, three("translation", translation))

    def sample(self, key: PRNGKey) -> RigidTransform:
        """One motion."""
        for_rotation, for_translation = jax.random.split(key)
        return RigidTransform(
            self.rotation.sample(for_rotation), self.translation.sample(for_translation)
        )


@noun
@dataclass(frozen=True)
class TwistNormal(Describable):
    """The exponential of a Gaussian twist: small errors of a pose about the identity.

    The concentrated Gaussian of Barfoot and Furgale 2014 (IEEE Trans. Robotics 30(3),
    section III) with a diagonal covariance.

    Attributes:
        std_rotation: (3,), radians about x, y and z.
        std_translation: (3,), mm along x, y and z.
    """

    std_rotation: Vector3
    std_translation: Vector3

    @classmethod
    def create(cls, std_rotation: ArrayLike, std_translation: ArrayLike) -> TwistNormal:
        """From standard deviations, one number for all three axes or three.

        Args:
            std_rotation: radians.
            std_translation: mm.

        Raises:
            ValueError: for deviations that are negative or not finite.
        """
        require_not_negative("std_rotation", jnp.asarray(std_rotation), "radians")
        require_not_negative("std_translation", jnp.asarray(std_translation), "mm")
        rotation, translation = (
            jnp.broadcast_to(jnp.asarray(std, float), (3,))
            for std in (std_rotation, std_translation)
        )
        return cls(rotation, translation)

    def sample(self, key: PRNGKey) -> RigidTransform:
        """One motion."""
        std = jnp.concatenate([self.std_rotation, self.std_translation])
        return RigidTransform.from_twist(std * jax.random.normal(key, (6,), std.dtype))


def _third(angle: Scalar) -> Float[Array, ""]:
    """(t - sin t) / t^3 for angles up to pi, 0 included."""
    return jnp.polyval(jnp.asarray(_THIRD[::-1], angle.dtype), -(angle**2))
