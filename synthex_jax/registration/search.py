"""Search: the global stage, from many starts at a low resolution."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.registration.course import Course
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.problem import (
    Cameras,
    Problem,
    distance,
    moved,
)
from synthex_jax.registration.pyramid import Level, at_level, with_poses
from synthex_jax.registration.similarity import NCC

# Of the quasi-random starts; any number gives as good a set.
_SEED = 0

COARSEST = Level(pixels=25, spacing=16.0, tolerance=1.0, similarity=NCC())
"""The level of a search."""


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
        level: the resolution, and a similarity that is a sum of squares.
        iterations: of Levenberg-Marquardt, for each start.
    """

    rotation: float
    translation: float
    starts: int = 32
    kept: int = 3
    level: Level = COARSEST
    iterations: int = 15

    @classmethod
    def create(
        cls,
        *,
        rotation: float = float(np.deg2rad(30.0)),
        translation: float = 60.0,
        starts: int = 32,
        kept: int = 3,
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

    def optima(self, problem: Problem, cameras: Cameras) -> list[Cameras]:
        """The best different poses, best first; none where nothing overlaps.

        Args:
            problem: at full resolution.
            cameras: the given start, at full resolution.
        """
        small, seen = at_level(problem, cameras, self.level)
        similarity = self.level.similarity or NCC()
        optimizer = LevenbergMarquardt(self.iterations)
        # Poses all around have different principal axes.
        axes = tuple(tuple(None for _ in views) for views in cameras)
        courses = [
            optimizer.improved(
                similarity,
                small,
                _moved(small, seen, twists),
                axes=axes,
                tolerance=self.level.tolerance,
            )
            for twists in self._twists(len(problem.bodies))
        ]
        best = _different(small, courses, self.kept, apart=self.level.spacing)
        return [with_poses(cameras, course.cameras) for course in best]

    def _twists(self, bodies: int) -> Float[Array, "starts bodies 6"]:
        """Quasi-random, normally distributed, zero first."""
        from scipy.stats import norm, qmc

        uniform = qmc.Halton(6 * bodies, rng=_SEED).random(self.starts - 1)
        scale = np.repeat([self.rotation, self.translation], 3)
        twists = norm.ppf(uniform).reshape(-1, bodies, 6) * scale
        return jnp.concatenate([jnp.zeros((1, bodies, 6)), jnp.asarray(twists, float)])


_moved = jax.jit(moved)
_distance = jax.jit(distance)


def _different(
    problem: Problem, courses: list[Course], most: int, *, apart: float
) -> list[Course]:
    """The best, none within a distance in mm of a better one."""
    kept: list[Course] = []
    costs = np.array([float(course.cost) for course in courses])
    for i in np.argsort(costs):
        if len(kept) == most or not np.isfinite(costs[i]):
            break
        if all(
            float(_distance(problem, courses[i].cameras, other.cameras)) > apart
            for other in kept
        ):
            kept.append(courses[i])
    return kept
