"""Search: the global stage, from many starts at a low resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from synthex_jax.checks import require
from synthex_jax.registration.course import Course
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.problem import Problem, Step, distance
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.similarity import NCC, LeastSquares

# Of the quasi-random starts; any number gives as good a set.
_SEED = 0

COARSEST = Level(pixels=25, spacing=16.0, tolerance=1.0, similarity=NCC())
"""The level of a search. Plain cross-correlation finds its way from farthest off; what
it mistakes for depth, the registration's levels mend."""


@dataclass(frozen=True)
class Search:
    """Starts all around the given one, improved at a low resolution.

    Images of a few hundred pixels still tell one pose from another where a body fills
    them, and cost less than a millisecond: the optima that many starts run into are
    found, and the best few that differ go on to the registration's levels.

    Attributes:
        rotation: radians, standard deviation of the starts about each axis.
        translation: mm, standard deviation along each axis.
        starts: how many, the given one included.
        kept: how many different optima go on at most.
        level: the resolution; its similarity, or else the registration's, must be a
            sum of squares.
        iterations: of Levenberg-Marquardt, for each start.
    """

    rotation: float
    translation: float
    starts: int = 64
    kept: int = 5
    level: Level = COARSEST
    iterations: int = 15

    @classmethod
    def create(
        cls,
        *,
        rotation: float = float(np.deg2rad(30.0)),
        translation: float = 60.0,
        starts: int = 64,
        kept: int = 5,
        level: Level = COARSEST,
        iterations: int = 15,
    ) -> Search:
        """Checked; spreads as wide as a C-arm that nobody has lined up.

        Raises:
            ValueError: for spreads that are negative, and counts below one.
        """
        require(rotation >= 0, f"rotation must not be negative, got {rotation}")
        require(
            translation >= 0, f"translation must not be negative, got {translation}"
        )
        for name, count in (
            ("starts", starts),
            ("kept", kept),
            ("iterations", iterations),
        ):
            require(count >= 1, f"{name} must be at least 1, got {count}")
        return cls(rotation, translation, starts, kept, level, iterations)

    def optima(
        self, problem: Problem, state: PyTree, similarity: LeastSquares
    ) -> list[PyTree]:
        """The best different states, best first; the start where nothing overlaps.

        Args:
            problem: at full resolution.
            state: the start, at full resolution.
            similarity: where the level has none of its own.

        Raises:
            ValueError: for a similarity that is no sum of squares.
        """
        small = problem.at_level(self.level)
        courses = _tried(
            LevenbergMarquardt(self.iterations),
            self.level.similarity or similarity,
            small,
            problem.state_at(self.level, state),
            self._steps(problem.spread(self.rotation, self.translation)),
            self.level.tolerance,
        )
        best = _different(small, courses, self.kept, self.level.spacing)
        chosen = [jax.tree.map(lambda leaf, i=i: leaf[i], courses.state) for i in best]
        return [problem.with_state_of(state, one) for one in chosen]

    def _steps(self, spread: Step) -> Float[Array, "starts n"]:
        """Quasi-random, normally distributed, zero first."""
        from scipy.stats import norm, qmc

        uniform = qmc.Halton(len(spread), rng=_SEED).random(self.starts - 1)
        normal = np.vstack([np.zeros(len(spread)), norm.ppf(uniform)])
        return jnp.asarray(normal, float) * spread


@partial(jax.jit, static_argnums=(0, 5))
def _tried(
    optimizer: LevenbergMarquardt,
    similarity: LeastSquares,
    problem: Problem,
    start: PyTree,
    steps: Float[Array, "starts n"],
    tolerance: float,
) -> Course:
    """One after the other: a batch would last as long as its longest."""

    def tried(step: Float[Array, "n"]) -> Course:
        begun = problem.moved(start, step)
        return optimizer.improved(similarity, problem, begun, tolerance=tolerance)

    return jax.lax.map(tried, steps)


@partial(jax.jit, static_argnums=(2, 3))
def _different(
    problem: Problem, courses: Course, most: int, apart: float
) -> Int[Array, "most"]:
    """The best, none within a distance in mm of a better one, while there are any."""
    from_one = jax.vmap(partial(distance, problem), in_axes=(None, 0))
    costs, best = courses.cost, []
    for _ in range(most):
        best.append(jnp.argmin(costs))
        chosen = jax.tree.map(lambda leaf: leaf[best[-1]], courses.state)
        near = from_one(chosen, courses.state) <= apart
        costs = jnp.where(near, jnp.inf, costs)
    return jnp.stack(best)
