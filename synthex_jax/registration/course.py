"""Course: the way of one optimization, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from synthex_jax.nouns import noun
from synthex_jax.registration.problem import Axes, Cameras, Problem
from synthex_jax.registration.similarity import Similarity
from synthex_jax.typing import Scalar


@noun
@dataclass(frozen=True)
class Trace:
    """What was seen on the way; entries beyond the iterations taken are zero.

    Attributes:
        costs: (n,), dissimilarity after each iteration.
        movements: (n,), mm that the body would move by the next step.
        poses: (n, bodies, 4, 4), world from camera of the first view of each body.
    """

    costs: Float[Array, "n"]
    movements: Float[Array, "n"]
    poses: Float[Array, "n bodies 4 4"]

    @classmethod
    def empty(cls, n: int, cameras: Cameras, dtype: DTypeLike) -> Trace:
        """For n iterations."""
        bodies = len(cameras)
        return cls(
            jnp.zeros(n, dtype),
            jnp.zeros(n, dtype),
            jnp.zeros((n, bodies, 4, 4), dtype),
        )

    def noted(
        self, i: Int[Array, ""], cost: Scalar, movement: Scalar, cameras: Cameras
    ) -> Trace:
        """With iteration i filled in."""
        poses = jnp.stack([views[0].world_from_camera.matrix for views in cameras])
        return Trace(
            self.costs.at[i].set(cost),
            self.movements.at[i].set(movement),
            self.poses.at[i].set(poses.astype(self.poses.dtype)),
        )


@noun
@dataclass(frozen=True)
class Course:
    """The way of one optimization, and where it ended.

    Attributes:
        cameras: the best pose.
        status: (), a ``Status``.
        iterations: (), how many were taken.
        cost: (), dissimilarity of the best pose, infinite where nothing is seen.
        trace: the way.
    """

    cameras: Cameras
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
        cameras: Cameras,
        *,
        axes: Axes,
        tolerance: float,
    ) -> Course:
        """From a pose to a better one nearby, at one resolution."""
        ...
