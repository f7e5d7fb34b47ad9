r"""Similarity of two radiographs: protocols, and those that compare whole images.

A similarity is a value that is called: ``NCC()(moving, fixed, weights)``; higher is
better. Where its dissimilarity is a sum of squares it has ``residuals`` as well, for
Gauss-Newton. Weights say how much each pixel counts: 0 where collimated, saturated or
masked, anything in between, and any overall scale. They are those of the fixed image
and stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import require, require_not_negative
from synthex_jax.nouns import noun
from synthex_jax.numerics import safe_sqrt
from synthex_jax.typing import Image, Scalar

# In units of rounding: below it a root mean square about the mean is what rounding
# leaves of a constant image, whose sums over 1e6 pixels are right to a few units.
_CONSTANT_BELOW = 16.0


@runtime_checkable
class Similarity(Protocol):
    """How alike two images are; a pytree, one example at a time, differentiable."""

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), higher is better.

        Args:
            moving: (rows, cols), rendered.
            fixed: (rows, cols), measured.
            weights: (rows, cols), not negative; all equal by default.

        Raises:
            ValueError: for images or weights of different shapes, and for weights
                below zero.
        """
        ...


@runtime_checkable
class LeastSquares(Similarity, Protocol):
    """A similarity whose dissimilarity is a sum of squares."""

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(n,), whose squares sum to the dissimilarity; arguments as of the call."""
        ...


@noun
@dataclass(frozen=True)
class NCC:
    r"""Normalized cross-correlation: the weighted correlation of all pixels.

    From -1 to 1, the same for any gain above zero and any offset of either image; 0,
    with derivative 0, where one of them is constant or no pixel counts.

    The residuals are the difference of the images, each with mean 0 and norm 1; their
    squares sum to $2 (1 - \mathrm{NCC})$.
    """

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from -1 to 1; see ``Similarity``."""
        return _ncc(moving, fixed, checked_weights(moving, fixed, weights))

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(rows * cols,); see ``LeastSquares``."""
        return _ncc_residuals(moving, fixed, checked_weights(moving, fixed, weights))


@noun
@dataclass(frozen=True)
class SSD:
    r"""Minus the mean squared difference after the best gain and offset.

    With gain $g$ and offset $o$ fitted to the moving image $m$ in closed form,

    $$ -\min_{g, o} \sum_i w_i (f_i - g m_i - o)^2 / \sum_i w_i
       = -\mathrm{var}(f) (1 - \mathrm{NCC}^2), $$

    in the fixed image's unit, squared: from minus its variance to 0. The gain may be
    below zero, so that a negative of the image is as good as the image. Where the
    moving image is constant the value is minus the variance, with derivative 0; where
    no pixel counts it is 0.

    The residuals are the weighted differences; their squares sum to minus the value.
    """

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), at most 0; see ``Similarity``."""
        r = _ssd_residuals(moving, fixed, checked_weights(moving, fixed, weights))
        return -jnp.sum(r**2)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(rows * cols,), in the fixed image's unit; see ``LeastSquares``."""
        return _ssd_residuals(moving, fixed, checked_weights(moving, fixed, weights))


def checked_weights(moving: Image, fixed: Image, weights: Image | None) -> Image:
    """The weights, 1 by default.

    Raises:
        ValueError: for images or weights of different shapes, and for weights below
            zero.
    """
    require(
        moving.shape == fixed.shape and moving.ndim == 2,
        f"moving must have the shape (rows, cols) of fixed, {fixed.shape}, got "
        f"{moving.shape}; camera.resized gives the camera of a resized image",
    )
    if weights is None:
        return jnp.ones_like(fixed)
    require(
        weights.shape == fixed.shape,
        f"weights must have the shape of the images, {fixed.shape}, got "
        f"{weights.shape}",
    )
    require_not_negative("weights", weights)
    return weights


def standardized(
    values: Float[Array, "*pixels"], weights: Float[Array, "*pixels"]
) -> tuple[Float[Array, "*pixels"], Bool[Array, ""]]:
    """With weighted mean 0 and weighted mean square 1.

    Returns:
        The values in their shape, and whether they vary at all; all zero, with
        derivative 0, where they do not.
    """
    square = jnp.sum(relative(weights) * values**2)
    least = rounding(values.dtype) * square
    return scaled(centered(values, weights), weights, least=least)


def centered(
    values: Float[Array, "*pixels"], weights: Float[Array, "*pixels"]
) -> Float[Array, "*pixels"]:
    """Less their weighted mean; as they are where all weights are zero."""
    return values - jnp.sum(relative(weights) * values)


def scaled(
    values: Float[Array, "*pixels"],
    weights: Float[Array, "*pixels"],
    *,
    least: Scalar | float = 0.0,
) -> tuple[Float[Array, "*pixels"], Bool[Array, ""]]:
    """With weighted mean square 1, unless their mean square is ``least`` or less.

    Returns:
        As ``standardized``.
    """
    square = jnp.sum(relative(weights) * values**2)
    enough = square > least
    length = jnp.sqrt(jnp.where(enough, square, 1.0))
    return jnp.where(enough, values / length, 0.0), enough


def rounding(dtype: DTypeLike) -> float:
    """The share of a mean square that rounding may leave of what should be zero."""
    return (_CONSTANT_BELOW * float(jnp.finfo(dtype).eps)) ** 2


def relative(weights: Float[Array, "*pixels"]) -> Float[Array, "*pixels"]:
    """Weights that sum to 1; all zero where they are."""
    total = jnp.sum(weights)
    return weights / jnp.where(total > 0, total, 1.0)


def difference(
    moving: tuple[Float[Array, "*pixels"], Bool[Array, ""]],
    fixed: tuple[Float[Array, "*pixels"], Bool[Array, ""]],
    weights: Float[Array, "*pixels"],
) -> Float[Array, "n"]:
    """(n,), residuals of two standardized images; their squares sum to 2 - 2 NCC.

    Where one of the images does not vary, so that NCC is 0, the residuals are constants
    of the same sum.
    """
    (a, a_varies), (b, b_varies) = moving, fixed
    uncorrelated = jnp.asarray((2 / a.size) ** 0.5, a.dtype)
    found = safe_sqrt(relative(weights)) * (a - b)
    return jnp.where(a_varies & b_varies, found, uncorrelated).ravel()


@jax.jit
def _ncc(moving: Image, fixed: Image, weights: Image) -> Scalar:
    (a, _), (b, _) = standardized(moving, weights), standardized(fixed, weights)
    return jnp.sum(relative(weights) * a * b)


@jax.jit
def _ncc_residuals(moving: Image, fixed: Image, weights: Image) -> Float[Array, "n"]:
    a, b = standardized(moving, weights), standardized(fixed, weights)
    return difference(a, b, weights)


@jax.jit
def _ssd_residuals(moving: Image, fixed: Image, weights: Image) -> Float[Array, "n"]:
    roots = safe_sqrt(relative(weights))
    unit = roots * standardized(moving, weights)[0]
    target = roots * centered(fixed, weights)
    return (target - jnp.sum(unit * target) * unit).ravel()
