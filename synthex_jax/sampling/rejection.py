"""Rejection sampling with an end, and scores of views to accept by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from synthex_jax.annotations.landmarks import in_image
from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import at_most
from synthex_jax.typing import Pixels, Points, PRNGKey, Scalar, Shape2, Vector3

Value = TypeVar("Value")


class Draw(NamedTuple):
    """What rejection sampling came to.

    Attributes:
        value: the first proposal that was accepted, else the first of those with the
            best score.
        accepted: (), whether it was accepted.
        tries: (), how many proposals were made.
    """

    value: Any
    accepted: Bool[Array, ""]
    tries: Int[Array, ""]


def rejected(
    key: PRNGKey,
    propose: Callable[[PRNGKey], Value],
    accept: Callable[[Value], Bool[Array, ""] | Float[Array, ""]],
    *,
    tries: int,
) -> Draw:
    """The first proposal that is accepted; where none is, the one with the best score.

    Try i is made with ``fold_in(key, i)``, so that it does not depend on ``tries``. It
    is pure and goes through ``jit`` and ``vmap`` (which runs as long as its slowest
    example). Gradients flow through the proposal returned, not through the choice of
    it.

    Args:
        key: consumed here.
        propose: makes a value, of any structure, from a key.
        accept: of a value. Either a bool, or a score: accepted where it is not
            negative, and the higher the better where none is.
        tries: at most so many.

    Raises:
        ValueError: for fewer than one try.

    Example:
        >>> import jax
        >>> from synthex_jax.sampling.rejection import rejected
        >>> key = jax.random.key(0)
        >>> draw = rejected(key, jax.random.normal, lambda x: x > 1, tries=99)
        >>> bool(draw.value > 1), bool(draw.accepted)
        (True, True)
    """
    require(tries >= 1, f"tries must be 1 or more, got {tries}")

    def score(index: Int[Array, ""]) -> Scalar:
        found = jnp.asarray(accept(propose(jax.random.fold_in(key, index))))
        if found.dtype == bool:
            found = jnp.where(found, 0.0, -1.0)
        return lax.stop_gradient(found)

    def is_open(state: tuple) -> Bool[Array, ""]:
        _, best, made = state
        return (made < tries) & ~(best >= 0)

    def step(state: tuple) -> tuple:
        index, best, made = state
        found = score(made).astype(best.dtype)
        is_better = found > best
        return (
            jnp.where(is_better, made, index),
            jnp.where(is_better, found, best),
            made + 1,
        )

    # Only the number of the try is carried: the value is made once more from it,
    # outside of the loop, where derivatives can follow.
    start = (jnp.asarray(0), jnp.asarray(-jnp.inf), jnp.asarray(0))
    index, best, made = lax.while_loop(is_open, step, start)
    return Draw(propose(jax.random.fold_in(key, index)), best >= 0, made)


def fraction_visible(pixels: Pixels, shape: Shape2) -> Scalar:
    """The share of pixel positions (..., 2) that lie on an image of a shape."""
    return jnp.mean(in_image(pixels, shape), dtype=pixels.dtype)


def edge_distance(pixels: Pixels, shape: Shape2) -> Float[Array, "*batch"]:
    """Pixels from positions (row, column) to the nearest edge line; negative outside.

    The image ends at the edges of its outer pixels, half a pixel beyond their centers.
    Outside it is the larger of the two overshoots.
    """
    row, col = jnp.moveaxis(pixels, -1, 0)
    of_row = at_most(row + 0.5, shape[0] - 0.5 - row)
    of_col = at_most(col + 0.5, shape[1] - 0.5 - col)
    return at_most(of_row, of_col)


def is_in_field(camera: Camera, points: Points) -> Bool[Array, "*batch"]:
    """Whether world points (..., 3) lie in the beam; as landmarks are visible.

    That is between source and detector, and on one of the pixels.
    """
    depth = camera.depth(points)
    in_beam = (depth > 0) & (depth <= camera.source_to_detector)
    return in_beam & in_image(camera.project(points), camera.shape)


def points_in_field(camera: Camera, points: Points, *, least: int) -> Scalar:
    """A score: how many of the points (n, 3) are in the field, beyond ``least``."""
    return jnp.sum(is_in_field(camera, points), dtype=points.dtype) - least


def center_in_field(camera: Camera, center: Vector3, *, border: float = 0.0) -> Scalar:
    """A score: pixels that a point lies within the field, beyond a ``border``.

    Behind the source it is minus infinity.
    """
    within = edge_distance(camera.project(center), camera.shape) - border
    return jnp.where(camera.depth(center) > 0, within, -jnp.inf)
