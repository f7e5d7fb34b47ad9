"""Distributions of numbers, with parameters that gradients reach.

Samples are reparametrized: noise that does not depend on the parameters goes through a
smooth map that does, so that the derivative of a sample with respect to a parameter is
the map's (Kingma and Welling 2014, arXiv 1312.6114, section 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_positive,
    require_shape,
)
from synthex_jax.nouns import noun
from synthex_jax.numerics import between
from synthex_jax.sampling.description import Describable
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar

Shape: TypeAlias = tuple[int, ...]

# Standard deviations. Beyond, float32 has no probabilities to tell values apart by.
_FARTHEST_TAIL = 12.0


@runtime_checkable
class Distribution(Protocol):
    """What a sampler asks of the distribution of a number."""

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        ...

    def support(self) -> tuple[Scalar, Scalar]:
        """The least and the largest value that a draw can have."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@noun
@dataclass(frozen=True)
class Constant(Describable):
    """Always the same value.

    Attributes:
        value: ().
    """

    value: Scalar

    @classmethod
    def create(cls, value: ArrayLike) -> Constant:
        """From the value.

        Raises:
            ValueError: for a value that is no finite number.
        """
        return cls(_number("value", value))

    @classmethod
    def degrees(cls, value: float) -> Constant:
        """From an angle in degrees; the value is in radians."""
        return cls.create(np.deg2rad(value))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """The value, in the shape; the key makes no difference."""
        return jnp.broadcast_to(self.value, shape)

    def support(self) -> tuple[Scalar, Scalar]:
        """The value, twice."""
        return self.value, self.value


@noun
@dataclass(frozen=True)
class Uniform(Describable):
    """All values between two limits alike.

    Attributes:
        low: ().
        high: ().
    """

    low: Scalar
    high: Scalar

    @classmethod
    def create(cls, low: ArrayLike, high: ArrayLike) -> Uniform:
        """From the limits, which may be equal.

        Raises:
            ValueError: for limits that are not finite or in the wrong order.
        """
        return cls(*_limits(low, high))

    @classmethod
    def degrees(cls, low: float, high: float) -> Uniform:
        """From limits in degrees; samples are in radians."""
        return cls.create(np.deg2rad(low), np.deg2rad(high))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        share = jax.random.uniform(key, shape, self.low.dtype)
        return self.low + (self.high - self.low) * share

    def support(self) -> tuple[Scalar, Scalar]:
        """The limits."""
        return self.low, self.high


@noun
@dataclass(frozen=True)
class Normal(Describable):
    """Gauss's bell.

    Attributes:
        mean: ().
        std: (), the standard deviation.
    """

    mean: Scalar
    std: Scalar

    @classmethod
    def create(cls, mean: ArrayLike, std: ArrayLike) -> Normal:
        """From mean and standard deviation, which may be 0.

        Raises:
            ValueError: for parameters that are not finite, or a negative deviation.
        """
        require_not_negative("std", std)
        return cls(_number("mean", mean), _number("std", std))

    @classmethod
    def degrees(cls, mean: float, std: float) -> Normal:
        """From degrees; samples are in radians."""
        return cls.create(np.deg2rad(mean), np.deg2rad(std))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        return self.mean + self.std * jax.random.normal(key, shape, self.mean.dtype)

    def support(self) -> tuple[Scalar, Scalar]:
        """Without bounds."""
        endless = jnp.full_like(self.mean, jnp.inf)
        return -endless, endless


@noun
@dataclass(frozen=True)
class TruncatedNormal(Describable):
    """Gauss's bell between two limits.

    Attributes:
        mean: (), of the bell before it is cut.
        std: (), of the bell before it is cut.
        low: ().
        high: ().
    """

    mean: Scalar
    std: Scalar
    low: Scalar
    high: Scalar

    @classmethod
    def create(
        cls, mean: ArrayLike, std: ArrayLike, *, low: ArrayLike, high: ArrayLike
    ) -> TruncatedNormal:
        """From the bell and the limits, all in the same unit.

        Raises:
            ValueError: for a deviation that is not positive, for limits that are not
                finite or do not rise, or both over 12 deviations on one side of the
                mean, where float32 cannot tell probabilities from 0.
        """
        require_positive("std", std)
        mean, std = _number("mean", mean), _number("std", std)
        low, high = _limits(low, high)
        if is_concrete(mean, std, low, high):
            require(
                bool(low < high),
                f"low must be below high, got {low} and {high}; use Constant",
            )
            nearest = max(float((low - mean) / std), float((mean - high) / std))
            require(
                nearest <= _FARTHEST_TAIL,
                f"low and high must come within {_FARTHEST_TAIL:g} std of the mean, "
                f"the nearer is {nearest:.3g} away; use Uniform or another std",
            )
        return cls(mean, std, low, high)

    @classmethod
    def degrees(
        cls, mean: float, std: float, *, low: float, high: float
    ) -> TruncatedNormal:
        """From degrees; samples are in radians."""
        mean, std, low, high = np.deg2rad([mean, std, low, high]).tolist()
        return cls.create(mean, std, low=low, high=high)

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws, by the inverse of the cumulative probability."""
        low, high = (
            (self.low - self.mean) / self.std,
            (self.high - self.mean) / self.std,
        )
        # The left tail has digits where the right one rounds to 1.
        side = jnp.where(low + high > 0, -1.0, 1.0).astype(low.dtype)
        low, high = jnp.where(side > 0, low, -high), jnp.where(side > 0, high, -low)
        least = jnp.finfo(low.dtype).tiny
        share = jax.random.uniform(key, shape, low.dtype, minval=least)
        below = ndtr(low)
        offset = side * ndtri(below + share * (ndtr(high) - below))
        return between(self.mean + self.std * offset, self.low, self.high)

    def support(self) -> tuple[Scalar, Scalar]:
        """The limits."""
        return self.low, self.high


@noun
@dataclass(frozen=True)
class LogUniform(Describable):
    """All ratios alike: the logarithm is uniform between two positive limits.

    Attributes:
        low: ().
        high: ().
    """

    low: Scalar
    high: Scalar

    @classmethod
    def create(cls, low: ArrayLike, high: ArrayLike) -> LogUniform:
        """From the limits, which may be equal.

        Raises:
            ValueError: for limits that are not positive or in the wrong order.
        """
        require_positive("low", low)
        return cls(*_limits(low, high))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        share = jax.random.uniform(key, shape, self.low.dtype)
        return self.low * jnp.exp(share * jnp.log(self.high / self.low))

    def support(self) -> tuple[Scalar, Scalar]:
        """The limits."""
        return self.low, self.high


@noun
@dataclass(frozen=True)
class Choice(Describable):
    """One of several numbers. Gradients reach the numbers, not their weights.

    Attributes:
        values: (n,).
        weights: (n,), probabilities, or in proportion to them.
    """

    values: Float[Array, "n"]
    weights: Float[Array, "n"]

    @classmethod
    def create(cls, values: ArrayLike, weights: ArrayLike | None = None) -> Choice:
        """From the numbers; all are as probable by default.

        Raises:
            ValueError: for no values, for values or weights that are not finite,
                negative weights or none above 0.
        """
        values = jnp.asarray(values, float)
        require(
            values.ndim == 1 and len(values) > 0,
            f"values must be one number or more in a row, got shape {values.shape}",
        )
        require_finite("values", values)
        return cls(values, checked_weights(weights, len(values)))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        return self.values[
            jax.random.categorical(key, jnp.log(self.weights), -1, shape)
        ]

    def support(self) -> tuple[Scalar, Scalar]:
        """The least and the largest of the numbers."""
        return self.values.min(), self.values.max()


def as_distribution(name: str, value: Distribution | ArrayLike) -> Distribution:
    """A distribution as it is; a number as the distribution that is always it.

    Args:
        name: of the argument, for the error.
        value: the distribution or the number.

    Raises:
        ValueError: for anything else.
    """
    return value if isinstance(value, Distribution) else Constant(_number(name, value))


def checked_weights(weights: ArrayLike | None, count: int) -> Float[Array, "n"]:
    """Weights of ``count`` choices; all the same by default.

    Raises:
        ValueError: for another count of them, negative ones or none above 0.
    """
    found = jnp.ones(count) if weights is None else jnp.asarray(weights, float)
    require_shape("weights", found, (count,))
    require_not_negative("weights", found)
    if is_concrete(found):
        require(bool(found.sum() > 0), "weights must not all be 0")
    return found


def _number(name: str, value: ArrayLike) -> Scalar:
    try:
        number = jnp.asarray(value, float)
    except (TypeError, ValueError) as error:
        message = f"{name} must be a number or a distribution of numbers, got {value!r}"
        raise ValueError(message) from error
    require_shape(name, number, ())
    require_finite(name, number)
    return number


def _limits(low: ArrayLike, high: ArrayLike) -> tuple[Scalar, Scalar]:
    low, high = _number("low", low), _number("high", high)
    if is_concrete(low, high):
        require(bool(low <= high), f"low must not be above high, got {low} and {high}")
    return low, high
