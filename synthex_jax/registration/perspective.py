r"""Poses that points and their images allow: all minima, and the best of them.

With rays $(u, v, 1)$ of the pixels, points $p$ are on their rays where $x - u z = 0$
and $y - v z = 0$ for $(x, y, z) = R p + t$. With $t$ eliminated, a quadratic form of
the nine entries of $R$ is left (SQPnP: Terzakis and Lourakis 2020, ECCV, LNCS
12346:478). It is minimized over rotations from those nearest to both signs of all nine
eigenvectors, which serves points in a plane as well. The distances in pixels are then
minimized from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve, solve_triangular
from jaxtyping import Array, Float, Int

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.lie import so3_exp
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.numerics import product, safe_sqrt
from synthex_jax.typing import Matrix3, Scalar, Vector3

# From the starts a step of Gauss-Newton gains two digits and more; single precision
# has seven. Pixels' distances are refined from close by.
_ITERATIONS = 10
# Of a curvature scaled to 1: nearly Gauss-Newton from the first step.
_FIRST_DAMPING = 1e-3

Landmarks: TypeAlias = Float[Array, "n 3"]
Seen: TypeAlias = Float[Array, "n 2"]
PointWeights: TypeAlias = Float[Array, "n"]
_State = TypeVar("_State")


def candidate_poses(
    points: Landmarks, pixels: Seen, camera: Camera, weights: PointWeights
) -> Camera:
    """The minima of the quadratic form: a camera with a leading axis of 18."""
    identity = RigidTransform(jnp.eye(3), jnp.zeros(3))
    rays = replace(camera, world_from_camera=identity).back_project(pixels)
    u, v = rays[:, 0] / rays[:, 2], rays[:, 1] / rays[:, 2]
    middle = weighted_mean(points, weights)
    centered = points - middle
    share = weights / or_one(jnp.sum(weights))
    size = jnp.sqrt(or_one(jnp.sum(share[:, None] * centered**2)))
    p = centered / size
    zero, one = jnp.zeros_like(p), jnp.ones_like(u)
    turned = jnp.concatenate(
        [
            jnp.concatenate([p, zero, -u[:, None] * p], axis=1),
            jnp.concatenate([zero, p, -v[:, None] * p], axis=1),
        ]
    )
    shifted = jnp.concatenate(
        [
            jnp.stack([one, 0 * one, -u], axis=1),
            jnp.stack([0 * one, one, -v], axis=1),
        ]
    )
    roots = safe_sqrt(jnp.concatenate([share, share]))[:, None]
    basis, triangle = jnp.linalg.qr(roots * shifted)
    along = product(basis.T, roots * turned)
    form = roots * turned - product(basis, along)

    def residuals(rotation: Matrix3, step: Vector3) -> Float[Array, "rows"]:
        return product(form, product(so3_exp(step), rotation).ravel())

    def moved(rotation: Matrix3, step: Vector3) -> Matrix3:
        return product(so3_exp(step), rotation)

    def pose(start: Matrix3) -> Camera:
        rotation = _minimized(residuals, moved, start, 3)
        # R p + t = R (middle + size p) + T
        shift = -size * solve_triangular(triangle, product(along, rotation.ravel()))
        translation = shift - product(rotation, middle)
        return replace(
            camera, world_from_camera=RigidTransform(rotation, translation).inverse
        )

    _, vectors = jnp.linalg.eigh(product(form.T, form))
    starts = jnp.concatenate([vectors.T, -vectors.T]).reshape(-1, 3, 3)
    return jax.vmap(lambda start: pose(_nearest_rotation(start)))(starts)


def best_pose(
    cameras: Camera, points: Landmarks, pixels: Seen, weights: PointWeights
) -> Camera:
    """Of cameras along a leading axis: least squares among those before the points."""

    def cost(camera: Camera) -> Scalar:
        squares = squared_distances(camera, points, pixels)
        total = jnp.sum(jnp.where(weights > 0, weights * squares, 0.0))
        before = jnp.all((camera.depth(points) > 0) | (weights == 0))
        return jnp.where(before & jnp.isfinite(total), total, jnp.inf)

    best = jnp.argmin(jax.vmap(cost)(cameras))
    return jax.tree.map(lambda leaf: leaf[best], cameras)


def refined_pose(
    points: Landmarks,
    pixels: Seen,
    weights: PointWeights,
    center: Vector3,
    camera: Camera,
) -> Camera:
    """The least squares in pixels nearby."""
    moved = lambda camera, twist: camera.moved(twist, about=center)
    residuals = lambda camera, twist: reprojection(
        moved(camera, twist), points, pixels, weights
    )
    return _minimized(residuals, moved, camera, 6)


def reprojection(
    camera: Camera, points: Landmarks, pixels: Seen, weights: PointWeights
) -> Float[Array, "rows"]:
    """(2 n,), pixels: distances along rows and columns, times the weights' roots."""
    apart = camera.project(points) - pixels
    return (safe_sqrt(weights)[:, None] * apart).ravel()


def squared_distances(camera: Camera, points: Landmarks, pixels: Seen) -> PointWeights:
    """In pixels; infinite behind the source."""
    squares = jnp.sum((camera.project(points) - pixels) ** 2, axis=-1)
    return jnp.where(camera.depth(points) > 0, squares, jnp.inf)


def scaled_normal(
    jacobian: Float[Array, "rows n"],
) -> tuple[Float[Array, "n n"], Float[Array, "n"]]:
    """J^T J with unit diagonal, and what J's columns were multiplied by."""
    lengths = jnp.sqrt(jnp.sum(jacobian**2, axis=0))
    scale = 1 / or_one(lengths)
    columns = jacobian * scale
    return product(columns.T, columns), scale


def weighted_mean(points: Landmarks, weights: PointWeights) -> Vector3:
    """(3,), zero where nothing weighs."""
    total = or_one(jnp.sum(weights))
    return jnp.sum(weights[:, None] * points, axis=0) / total


def or_one(divisor: Float[Array, "..."]) -> Float[Array, "..."]:
    """A divisor that is not negative: 1 where it is zero."""
    return jnp.where(divisor > 0, divisor, 1.0)


def _minimized(
    residuals: Callable[[_State, Array], Array],
    moved: Callable[[_State, Array], _State],
    state: _State,
    size: int,
) -> _State:
    """Levenberg-Marquardt: so many steps, each taken only if it is better."""

    def advanced(
        _: Int[Array, ""], carry: tuple[_State, Array]
    ) -> tuple[_State, Array]:
        state, damping = carry
        still = jnp.zeros(size, damping.dtype)
        at = partial(residuals, state)
        jacobian, r = jax.jacfwd(lambda step: (at(step),) * 2, has_aux=True)(still)
        normal, scale = scaled_normal(jacobian)
        slope = scale * product(jacobian.T, r)
        # Not a number where rounding leaves it singular: then no step is better.
        step = -scale * solve(normal + damping * jnp.eye(size), slope, assume_a="pos")
        trial = moved(state, step)
        better = jnp.sum(residuals(trial, still) ** 2) < jnp.sum(r**2)
        kept = jax.tree.map(partial(jnp.where, better), trial, state)
        return kept, damping * jnp.where(better, 0.1, 10.0)

    dtype = jax.tree.leaves(state)[0].dtype
    first = jnp.asarray(_FIRST_DAMPING, dtype)
    return lax.fori_loop(0, _ITERATIONS, advanced, (state, first))[0]


def _nearest_rotation(matrix: Matrix3) -> Matrix3:
    """The rotation with the least squared difference (Kabsch 1976)."""
    u, _, vt = jnp.linalg.svd(matrix)
    handed = jnp.linalg.det(product(u, vt))
    return product(u * jnp.stack([1.0 + 0 * handed, 1.0 + 0 * handed, handed]), vt)
