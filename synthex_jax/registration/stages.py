"""Stages: a search where wanted, then level after level, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from synthex_jax.checks import require
from synthex_jax.registration.course import Course, Optimizer
from synthex_jax.registration.covariance import Uncertainty, uncertainty
from synthex_jax.registration.first_order import Adam
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.problem import Problem, mean_similarity
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.search import Search
from synthex_jax.registration.similarity import LeastSquares, Similarity
from synthex_jax.registration.status import Status


class Way(NamedTuple):
    """What all levels saw, one after the other; -1 and zeros where none was taken.

    Attributes:
        level: (n,), counted from 0; -1 beyond the iterations that a level took.
        costs: (n,), dissimilarity.
        movements: (n,), mm.
        states: at the levels' resolutions, n first; one a level.
    """

    level: Int[Array, "n"]
    costs: Float[Array, "n"]
    movements: Float[Array, "n"]
    states: list[PyTree]


class Outcome(NamedTuple):
    """Where the stages ended.

    Attributes:
        state: the best, at full resolution.
        status: (), a ``Status``.
        unsure: how sure it is, at the last level.
        way: how it was found.
    """

    state: PyTree
    status: Int[Array, ""]
    unsure: Uncertainty
    way: Way


def solved(
    problem: Problem,
    start: PyTree,
    *,
    similarity: Similarity,
    levels: Sequence[Level],
    optimizer: Optimizer | None,
    search: Search | None,
) -> Outcome:
    """The best state near the start, or near the best that a search finds.

    Raises:
        ValueError: for no levels, and a similarity that the optimizer or the search
            cannot take.
    """
    require(len(levels) > 0, "levels must hold at least one, got none")
    starts = [start]
    if search is not None:
        starts = search.optima(problem, start, _squares(search, similarity))
    courses: list[Course] = []
    small, measure = problem, similarity
    for level in levels:
        small, measure = problem.at_level(level), level.similarity or similarity
        begun = [problem.state_at(level, s) for s in starts]
        runs = [_improved(small, s, measure, optimizer, level.tolerance) for s in begun]
        courses.append(_best(runs))
        starts = [problem.with_state_of(start, courses[-1].state)]
    last, first = courses[-1], problem.state_at(levels[-1], start)
    unsure = uncertainty(measure, small.near(last.state), last.state)
    worse = unsure.similarity < mean_similarity(measure, small.near(first), first)
    status = jnp.where(worse, int(Status.DIVERGED), last.status)
    return Outcome(starts[0], status, unsure, _way(courses))


def _squares(search: Search, similarity: Similarity) -> LeastSquares:
    similarity = search.level.similarity or similarity
    require(
        isinstance(similarity, LeastSquares),
        "similarity must be a sum of squares for a search, with residuals, got "
        f"{similarity}; give the search's level one of its own",
    )
    assert isinstance(similarity, LeastSquares)
    return similarity


def _improved(
    problem: Problem,
    start: PyTree,
    similarity: Similarity,
    optimizer: Optimizer | None,
    tolerance: float,
) -> Course:
    if optimizer is None:
        squares = isinstance(similarity, LeastSquares)
        optimizer = LevenbergMarquardt() if squares else Adam()
    near = problem.near(start)
    return optimizer.improved(similarity, near, start, tolerance=tolerance)


def _best(courses: list[Course]) -> Course:
    best = jnp.argmin(jnp.stack([course.cost for course in courses]))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves)[best], *courses)


def _way(courses: list[Course]) -> Way:
    levels = []
    for i, course in enumerate(courses):
        taken = jnp.arange(len(course.trace.costs)) < course.iterations
        levels.append(jnp.where(taken, i, -1))
    traces = [course.trace for course in courses]
    return Way(
        jnp.concatenate(levels),
        jnp.concatenate([trace.costs for trace in traces]),
        jnp.concatenate([trace.movements for trace in traces]),
        [trace.states for trace in traces],
    )
