"""Adam: the optimizer for similarities that are no sum of squares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from synthex_jax.checks import require
from synthex_jax.numerics import product
from synthex_jax.registration.course import Course, Trace
from synthex_jax.registration.problem import (
    Axes,
    Cameras,
    Problem,
    Twists,
    length,
    metrics,
    moved,
    movements,
    overlaps,
    projections,
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
    """Kingma and Ba's (2015) method, on twists measured in mm in the image.

    Steps are taken from the present pose and shorten exponentially. The best pose on
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
        cameras: Cameras,
        *,
        axes: Axes,
        tolerance: float,
    ) -> Course:
        """From a pose to a better one nearby; see ``Course``."""
        return _improved(axes, self, similarity, problem, cameras, tolerance)


class _State(NamedTuple):
    cameras: Cameras
    best: Cameras
    cost: Scalar
    memory: PyTree
    movement: Scalar
    taken: Array
    trace: Trace


@partial(jax.jit, static_argnums=(0, 1))
def _improved(
    axes: Axes,
    settings: Adam,
    similarity: Similarity,
    problem: Problem,
    cameras: Cameras,
    tolerance: Scalar | float,
) -> Course:
    import optax

    n = settings.iterations
    adam = optax.adam(optax.exponential_decay(settings.rate, n, _LAST_RATE))
    dtype = problem.fixed[0].dtype

    def dissimilarity(
        twists: Twists, cameras: Cameras
    ) -> tuple[Scalar, tuple[Image, ...]]:
        images = projections(problem, moved(problem, cameras, twists), axes)
        values = [
            similarity(*triple)
            for triple in zip(images, problem.fixed, problem.weights, strict=True)
        ]
        return -sum(values[1:], start=values[0]), images

    def advanced(state: _State) -> _State:
        still = jnp.zeros((len(problem.bodies), 6), dtype)
        (cost, images), slope = jax.value_and_grad(dissimilarity, has_aux=True)(
            still, state.cameras
        )
        cost = jnp.where(overlaps(problem, images), cost, jnp.inf)
        better = cost < state.cost
        best = jax.tree.map(partial(jnp.where, better), state.cameras, state.best)
        moves = movements(problem, state.cameras)
        white = whitening(metrics(moves, depth=_DEPTH_SHARE))
        slope = product(white.T, slope.ravel())
        update, memory = adam.update(slope, state.memory)
        step = product(white, jnp.asarray(update)).reshape(-1, 6)
        movement = length(metrics(moves, depth=1.0), step)
        return _State(
            cameras=moved(problem, state.cameras, step),
            best=best,
            cost=jnp.where(better, cost, state.cost),
            memory=memory,
            movement=movement,
            taken=state.taken + 1,
            trace=state.trace.noted(state.taken, cost, movement, state.cameras),
        )

    def going(state: _State) -> Bool[Array, ""]:
        seen = jnp.isfinite(state.cost) | (state.taken == 0)
        return (state.taken < n) & (state.movement >= tolerance) & seen

    start = _State(
        cameras=cameras,
        best=cameras,
        cost=jnp.asarray(jnp.inf, dtype),
        memory=adam.init(_nothing(problem)),
        movement=jnp.asarray(jnp.inf, dtype),
        taken=jnp.zeros((), int),
        trace=Trace.empty(n, cameras, dtype),
    )
    end = lax.while_loop(going, advanced, start)
    status = jnp.select(
        [~jnp.isfinite(end.cost), end.movement < tolerance],
        [int(Status.NO_OVERLAP), int(Status.CONVERGED)],
        int(Status.LIMIT),
    )
    return Course(end.best, status, end.taken, end.cost, end.trace)


def _nothing(problem: Problem) -> Float[Array, "n"]:
    return jnp.zeros(6 * len(problem.bodies), problem.fixed[0].dtype)
