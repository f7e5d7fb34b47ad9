"""Distributions made of others: mixtures, and vectors of independent numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.nouns import noun
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.distributions import (
    Distribution,
    Shape,
    as_distribution,
    checked_weights,
)
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar


@noun
@dataclass(frozen=True)
class Mixture(Describable):
    """One of several distributions a draw. Gradients reach them, not their weights.

    Attributes:
        members: the distributions.
        weights: (n,), probabilities, or in proportion to them.
    """

    members: tuple[Distribution, ...]
    weights: Float[Array, "n"]

    @classmethod
    def create(
        cls,
        members: Sequence[Distribution | ArrayLike],
        weights: ArrayLike | None = None,
    ) -> Mixture:
        """From distributions, or numbers; all are as probable by default.

        Raises:
            ValueError: for no members, negative weights or none above 0.
        """
        found = tuple(as_distribution("members", member) for member in members)
        require(len(found) > 0, "members must be one distribution or more, got none")
        return cls(found, checked_weights(weights, len(found)))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape"]:
        """Independent draws."""
        choice, *keys = jax.random.split(key, 1 + len(self.members))
        index = jax.random.categorical(choice, jnp.log(self.weights), -1, shape)
        draws = jnp.stack(
            [m.sample(k, shape) for m, k in zip(self.members, keys, strict=True)]
        )
        return jnp.take_along_axis(draws, index[None], axis=0)[0]

    def support(self) -> tuple[Scalar, Scalar]:
        """The least and the largest value of any member."""
        lows, highs = zip(*(m.support() for m in self.members), strict=True)
        return jnp.stack(lows).min(), jnp.stack(highs).max()


@noun
@dataclass(frozen=True)
class Independent(Describable):
    """A vector of independent numbers: a translation, angles about axes.

    Attributes:
        members: the distributions of its components.
    """

    members: tuple[Distribution, ...]

    @classmethod
    def create(cls, *members: Distribution | ArrayLike) -> Independent:
        """From the distribution of each component, or its value.

        Raises:
            ValueError: for no members, or one that is neither.
        """
        require(len(members) > 0, "members must be one distribution or more, got none")
        return cls(tuple(as_distribution("members", member) for member in members))

    def sample(self, key: PRNGKey, shape: Shape = ()) -> Float[Array, "*shape n"]:
        """Independent draws, (..., n)."""
        keys = jax.random.split(key, len(self.members))
        draws = [m.sample(k, shape) for m, k in zip(self.members, keys, strict=True)]
        return jnp.stack(draws, axis=-1)


def three(name: str, members: Sequence[Distribution | ArrayLike]) -> Independent:
    """Three distributions or numbers, as one of a vector.

    Raises:
        ValueError: for another count of them.
    """
    require(len(members) == 3, f"{name} must have three members, got {len(members)}")
    return Independent.create(*members)
