"""Course: the way of one optimization, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PyTree

from synthex_jax.nouns import noun
from synthex_jax.registration.problem import Problem
from synthex_jax.registration.similarity import Similarity
from synthex_jax.typing import Scalar


@noun
@dataclass(frozen=True)
class Trace:
    """What was seen on the way; entries beyond the iterations taken are zero.

    Attributes:
        costs: (n,), dissimilarity after each iteration.
        movements: (n,), mm that things would move by the next step.
        states: as the problem's, with n first.
    """

    costs: Float[Array, "n"]
    movements: Float[Array, "n"]
    states: PyTree

    @classmethod
    def empty(cls, n: int, state: PyTree, dtype: DTypeLike) -> Trace:
        """For n iterations."""
        none = lambda leaf: jnp.zeros((n, *jnp.shape(leaf)), jnp.result_type(leaf))
        zeros = jnp.zeros(n, dtype)
        return cls(zeros, zeros, jax.tree.map(none, state))

    def noted(
        self, i: Int[Array, ""], cost: Scalar, movement: Scalar, state: PyTree
    ) -> Trace:
        """With iteration i filled in."""
        return Trace(
            self.costs.at[i].set(cost),
            self.movements.at[i].set(movement),
            jax.tree.map(lambda all_, one: all_.at[i].set(one), self.states, state),
        )


@noun
@dataclass(frozen=True)
class Course:
    """The way of one optimization, and where it ended.

    Attributes:
        state: the best.
        status: (), a ``Status``.
        iterations: (), how many were taken.
        cost: (), dissimilarity of the best state, infinite where nothing is seen.
        trace: the way.
    """

    state: PyTree
    status: Int[Array, ""]
    iterations: Int[Array, ""]
    cost: Scalar
    trace: Trace


@runtime_checkable
class Optimizer(Protocol):
    """What a registration asks of its optimizer."""

    def improved(
        self,
        similarity: Similarity,
        problem: Problem,
        state: PyTree,
        *,
        tolerance: float,
    ) -> Course:
        """From a state to a better one nearby, at one resolution."""
        ...
