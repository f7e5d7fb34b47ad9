r"""Levenberg-Marquardt: least squares over poses, in one compiled loop.

The images and all columns of their Jacobian come from one projection; the residuals'
Jacobian J follows by the chain rule, and each step solves

$$ (J^T J + \lambda M) t = -J^T r, $$

where M measures how far a step t moves things in the image (``problem.metrics``): the
trust region is round in mm of image, so that depth, which shows little, is as free to
move as the rest. The damping follows Nielsen's rule (Madsen, Nielsen and Tingleff
2004, "Methods for non-linear least squares problems", section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from synthex_jax.checks import require
from synthex_jax.numerics import product
from synthex_jax.registration.course import Course, Trace
from synthex_jax.registration.problem import (
    Movements,
    Problem,
    Step,
    length,
    metrics,
    movements,
    no_step,
    whitening,
)
from synthex_jax.registration.similarity import LeastSquares, Similarity
from synthex_jax.registration.status import Status
from synthex_jax.typing import Image, Scalar

# Of the mean curvature; Nielsen's tau for a start that may be far from the end.
_FIRST_DAMPING = 1e-2
# A mm in depth counts as so many in the image: what keeps M regular where a body so
# small that its size in the image tells nothing would leave depth free.
_DEPTH_SHARE = 0.05
# mm in the image: linearization holds for about the width of a bone.
_LONGEST_STEP = 30.0
# A step that promises to lessen the cost by less than so many rounding errors of it
# cannot be told from none.
_ROUNDING_ERRORS = 8

Square = Float[Array, "n n"]
Column = Float[Array, "n"]
Residuals = Float[Array, "residuals"]


@dataclass(frozen=True)
class LevenbergMarquardt:
    """The optimizer for similarities that are sums of squares.

    Attributes:
        iterations: at most so many projections a level, static.
    """

    iterations: int = 20

    @classmethod
    def create(cls, iterations: int = 20) -> LevenbergMarquardt:
        """Checked.

        Raises:
            ValueError: for less than one iteration.
        """
        require(iterations >= 1, f"iterations must be at least 1, got {iterations}")
        return cls(iterations)

    def improved(
        self,
        similarity: Similarity,
        problem: Problem,
        state: PyTree,
        *,
        tolerance: float,
    ) -> Course:
        """From a state to a better one nearby; see ``Course``.

        Raises:
            ValueError: for a similarity without residuals.
        """
        require(
            isinstance(similarity, LeastSquares),
            "similarity must be a sum of squares for LevenbergMarquardt, with "
            f"residuals, got {similarity}; Adam takes any",
        )
        assert isinstance(similarity, LeastSquares)
        return _improved(
            self.iterations, similarity, problem, state, jnp.asarray(tolerance)
        )


class NormalEquations(NamedTuple):
    """A sum of squares about a state, to second order but for the residuals' curvature.

    Attributes:
        cost: (), the sum of squares; infinite where nothing is seen.
        curvature: (n, n), J^T J for all unknowns.
        slope: (n,), J^T r.
    """

    cost: Scalar
    curvature: Square
    slope: Column


def residual_jacobian(
    similarity: LeastSquares, problem: Problem, state: PyTree
) -> tuple[Residuals, Float[Array, "residuals n"], tuple[Image, ...]]:
    """Residuals of all views and the prior, their Jacobian, and the images."""

    def residuals(step: Step) -> tuple[Residuals, tuple[Residuals, tuple[Image, ...]]]:
        moved = problem.moved(state, step)
        images = problem.images(moved)
        parts = [
            similarity.residuals(image, fixed, weights)
            for image, fixed, weights in zip(
                images, problem.fixed, problem.weights, strict=True
            )
        ]
        prior = np.sqrt(problem.prior_weight) * problem.prior(moved)
        r = jnp.concatenate([*parts, prior])
        return r, (r, images)

    jacobian, (r, images) = jax.jacfwd(residuals, has_aux=True)(no_step(problem))
    return r, jacobian, images


def normal_equations(
    similarity: LeastSquares, problem: Problem, state: PyTree
) -> NormalEquations:
    """What a step needs to know."""
    r, jacobian, images = residual_jacobian(similarity, problem, state)
    cost = jnp.where(problem.overlaps(images), product(r, r), jnp.inf)
    return NormalEquations(cost, product(jacobian.T, jacobian), product(jacobian.T, r))


class _State(NamedTuple):
    best: PyTree
    equations: NormalEquations
    trial: PyTree
    predicted: Scalar
    damping: Scalar
    growth: Scalar
    rests: Bool[Array, ""]
    taken: Int[Array, ""]
    trace: Trace


@partial(jax.jit, static_argnums=0)
def _improved(
    iterations: int,
    similarity: LeastSquares,
    problem: Problem,
    start: PyTree,
    tolerance: Scalar,
) -> Course:
    def advanced(state: _State) -> _State:
        found = normal_equations(similarity, problem, state.trial)
        better = found.cost < state.equations.cost
        keep = partial(jnp.where, better)
        kept = jax.tree.map(keep, state.trial, state.best)
        equations = jax.tree.map(keep, found, state.equations)
        damping, growth = _damped(state, found, better)
        moves = movements(problem, kept)
        steps = _steps(moves, equations, damping)
        in_space = metrics(moves, depth=1.0)
        movement = length(in_space, steps.undamped)
        # Where no step improves, damping shortens them: an optimum as well.
        stuck = ~better & (length(in_space, steps.damped) < tolerance)
        rests = (movement < tolerance) | (steps.left < _least(equations.cost)) | stuck
        trace = state.trace.noted(state.taken, equations.cost, movement, kept)
        trial = problem.moved(kept, steps.damped)
        taken = state.taken + 1
        return _State(
            kept, equations, trial, steps.promised, damping, growth, rests, taken, trace
        )

    def going(state: _State) -> Bool[Array, ""]:
        # The first pass looks at the start itself, and must find the things there.
        seen = jnp.isfinite(state.equations.cost) | (state.taken == 0)
        return (state.taken < iterations) & ~state.rests & seen

    end = lax.while_loop(going, advanced, _at_start(problem, start, iterations))
    return Course(
        state=end.best,
        status=_status(end),
        iterations=end.taken,
        cost=end.equations.cost,
        trace=end.trace,
    )


def _at_start(problem: Problem, start: PyTree, iterations: int) -> _State:
    dtype = problem.fixed[0].dtype
    n = problem.size
    infinite, one = jnp.asarray(jnp.inf, dtype), jnp.ones((), dtype)
    nothing = NormalEquations(infinite, jnp.zeros((n, n), dtype), jnp.zeros(n, dtype))
    return _State(
        best=start,
        equations=nothing,
        trial=start,
        predicted=one,
        damping=jnp.asarray(_FIRST_DAMPING, dtype),
        growth=2 * one,
        rests=jnp.zeros((), bool),
        taken=jnp.zeros((), int),
        trace=Trace.empty(iterations, start, dtype),
    )


def _damped(
    state: _State, found: NormalEquations, better: Array
) -> tuple[Scalar, Scalar]:
    """Damping and its growth after a step whose gain is known."""
    gain = (state.equations.cost - found.cost) / state.predicted
    eased = jnp.clip(1 - (2 * jnp.clip(gain, 0, 1) - 1) ** 3, 1 / 3, 2)
    first = state.taken == 0
    factor = jnp.where(first, 1, jnp.where(better, eased, state.growth))
    growth = jnp.where(better, 2, 2 * state.growth)
    return state.damping * factor, growth


class _Steps(NamedTuple):
    """A damped step and the decrease of the cost it promises; those without damping."""

    damped: Step
    promised: Scalar
    undamped: Step
    left: Scalar


def _steps(moves: Movements, equations: NormalEquations, damping: Scalar) -> _Steps:
    white = whitening(metrics(moves, depth=_DEPTH_SHARE))
    curvature = product(white.T, product(equations.curvature, white))
    slope = product(white.T, equations.slope)
    n = len(slope)
    # The mean curvature is the unit of damping; nothing is seen where it is 0.
    mean = jnp.trace(curvature) / n
    unit = jnp.where(mean > 0, mean, 1)
    curvature, slope = curvature / unit, slope / unit
    damped = _solved(curvature, slope, damping)
    size = jnp.sqrt(jnp.sum(damped**2))
    damped = damped * jnp.where(size > _LONGEST_STEP, _LONGEST_STEP / size, 1)
    promised = -product(damped, 2 * slope + product(curvature, damped)) * unit
    # The least damping that rounding lets be solved.
    undamped = _solved(curvature, slope, n * float(jnp.finfo(slope.dtype).eps))
    left = -product(slope, undamped) * unit
    return _Steps(product(white, damped), promised, product(white, undamped), left)


def _solved(curvature: Square, slope: Column, damping: Scalar | float) -> Column:
    damped = curvature + damping * jnp.eye(len(slope), dtype=slope.dtype)
    return jax.scipy.linalg.solve(damped, -slope, assume_a="pos")


def _least(cost: Scalar) -> Scalar:
    """The smallest decrease of a cost that can be told from none."""
    return _ROUNDING_ERRORS * jnp.finfo(cost.dtype).eps * cost


def _status(end: _State) -> Int[Array, ""]:
    return jnp.select(
        [~jnp.isfinite(end.equations.cost), end.rests],
        [int(Status.NO_OVERLAP), int(Status.CONVERGED)],
        int(Status.LIMIT),
    )
