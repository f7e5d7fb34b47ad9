"""Subtraction: what a radiograph shows beyond a body that is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synthex_jax.numerics import product
from synthex_jax.registration.trends import trends
from synthex_jax.typing import Image

# Of the curve: what beam hardening and scatter make of line integrals.
_DEGREE = 3
# Of how contrast and scatter vary over the image; see ``correlation_ratio``.
_TREND = 2
# Weights of outliers, as a tool's pixels are, have settled by then.
_ITERATIONS = 10
# Cauchy's weights, 95 % efficient for normal noise: Holland and Welsch 1977, Commun.
# Stat. A 6(9):813. The second turns a median absolute deviation into a standard one.
_TUNING, _NORMAL = 2.385, 1.4826


@jax.jit
def subtracted(fixed: Image, background: Image, weights: Image) -> Image:
    """(rows, cols), the radiograph less the curve of the background that fits it.

    The curve is a cubic; contrast, and what scatter adds, may vary over the image as
    quadratics do. They are fitted by reweighted least squares: pixels that a tool
    covers do not bend them.

    Args:
        fixed: (rows, cols), attenuation.
        background: (rows, cols), line integrals of all that is known.
        weights: (rows, cols), not negative; pixels of weight 0 do not count.
    """
    low, high = jnp.min(background), jnp.max(background)
    span = jnp.where(high > low, high - low, 1)
    base = 2 * (background - low) / span - 1
    powers = [base**k for k in range(_DEGREE + 1)]
    slow = trends(base, _TREND)
    terms = [*powers, *slow, *(base * trend for trend in slow)]
    columns = jnp.stack(terms, axis=-1).reshape(base.size, -1)
    target, counts = fixed.ravel(), weights.ravel()

    def left_over(shares: Float[Array, "n"]) -> Float[Array, "n"]:
        root = jnp.sqrt(shares)
        found = jnp.linalg.lstsq(columns * root[:, None], target * root)[0]
        return target - product(columns, found)

    def refined(_: Int[Array, ""], left: Float[Array, "n"]) -> Float[Array, "n"]:
        seen = jnp.where(counts > 0, jnp.abs(left), jnp.nan)
        scale = _TUNING * _NORMAL * jnp.nanmedian(seen)
        outlying = left / jnp.where(scale > 0, scale, 1)
        return left_over(counts / (1 + outlying**2))

    left = jax.lax.fori_loop(0, _ITERATIONS, refined, left_over(counts))
    return left.reshape(fixed.shape)
