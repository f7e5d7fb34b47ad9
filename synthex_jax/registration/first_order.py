"""Adam: the optimizer for similarities that are no sum of squares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

from synthex_jax.checks import require
from synthex_jax.numerics import product
from synthex_jax.registration.course import Course, Trace
from synthex_jax.registration.problem import (
    Problem,
    Step,
    length,
    metrics,
    movements,
    no_step,
    whitening,
)
from synthex_jax.registration.similarity import Similarity
from synthex_jax.registration.status import Status
from synthex_jax.typing import Image, Scalar

# By the last iteration steps are so much shorter than at first: xvr divides by 64.
_LAST_RATE = 1 / 64
# As in Levenberg-Marquardt: what a mm in depth counts for in the image.
_DEPTH_SHARE = 0.05


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba's (2015) method, on steps measured in mm in the image.

    Steps are taken from the present state and shorten exponentially. The best state on
    the way is the result.

    Attributes:
        rate: mm in the image, about the length of the first steps in each direction.
        iterations: at most so many a level, static.
    """

    rate: float = 1.0
    iterations: int = 150

    @classmethod
    def create(cls, rate: float = 1.0, *, iterations: int = 150) -> Adam:
        """Checked.

        Raises:
            ValueError: for a rate that is not positive, or less than one iteration.
        """
        require(rate > 0, f"rate must be positive mm, got {rate}")
        require(iterations >= 1, f"iterations must be at least 1, got {iterations}")
        return cls(rate, iterations)

    def improved(
        self,
        similarity: Similarity,
        problem: Problem,
        state: PyTree,
        *,
        tolerance: float,
    ) -> Course:
        """From a state to a better one nearby; see ``Course``."""
        return _improved(self, similarity, problem, state, tolerance)


class _State(NamedTuple):
    present: PyTree
    best: PyTree
    cost: Scalar
    memory: PyTree
    movement: Scalar
    taken: Array
    trace: Trace


@partial(jax.jit, static_argnums=0)
def _improved(
    settings: Adam,
    similarity: Similarity,
    problem: Problem,
    start: PyTree,
    tolerance: Scalar | float,
) -> Course:
    import optax

    n = settings.iterations
    adam = optax.adam(optax.exponential_decay(settings.rate, n, _LAST_RATE))
    dtype = problem.fixed[0].dtype

    def dissimilarity(step: Step, state: PyTree) -> tuple[Scalar, tuple[Image, ...]]:
        moved = problem.moved(state, step)
        images = problem.images(moved)
        values = [
            similarity(*triple)
            for triple in zip(images, problem.fixed, problem.weights, strict=True)
        ]
        held = problem.prior_weight * jnp.sum(problem.prior(moved) ** 2)
        return held - sum(values[1:], start=values[0]), images

    def advanced(state: _State) -> _State:
        (cost, images), slope = jax.value_and_grad(dissimilarity, has_aux=True)(
            no_step(problem), state.present
        )
        cost = jnp.where(problem.overlaps(images), cost, jnp.inf)
        better = cost < state.cost
        best = jax.tree.map(partial(jnp.where, better), state.present, state.best)
        moves = movements(problem, state.present)
        white = whitening(metrics(moves, depth=_DEPTH_SHARE))
        slope = product(white.T, slope)
        update, memory = adam.update(slope, state.memory)
        step = product(white, jnp.asarray(update))
        movement = length(metrics(moves, depth=1.0), step)
        return _State(
            present=problem.moved(state.present, step),
            best=best,
            cost=jnp.where(better, cost, state.cost),
            memory=memory,
            movement=movement,
            taken=state.taken + 1,
            trace=state.trace.noted(state.taken, cost, movement, state.present),
        )

    def going(state: _State) -> Bool[Array, ""]:
        seen = jnp.isfinite(state.cost) | (state.taken == 0)
        return (state.taken < n) & (state.movement >= tolerance) & seen

    first = _State(
        present=start,
        best=start,
        cost=jnp.asarray(jnp.inf, dtype),
        memory=adam.init(no_step(problem)),
        movement=jnp.asarray(jnp.inf, dtype),
        taken=jnp.zeros((), int),
        trace=Trace.empty(n, start, dtype),
    )
    end = lax.while_loop(going, advanced, first)
    status = jnp.select(
        [~jnp.isfinite(end.cost), end.movement < tolerance],
        [int(Status.NO_OVERLAP), int(Status.CONVERGED)],
        int(Status.LIMIT),
    )
    return Course(end.best, status, end.taken, end.cost, end.trace)
