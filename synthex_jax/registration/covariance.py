r"""Covariance of a pose: from the noise of the radiograph through the optimum's slope.

At the optimum the cost C of the rendering m and the radiograph f, half the squares of
the residuals r, has no slope in the pose. To first order, noise n in f moves the pose
by $t = H^{-1} G n$, with

$$ H = J^T \frac{\partial r}{\partial m}^T \frac{\partial r}{\partial m} J, \quad
   G = -J^T \frac{\partial^2 C}{\partial m \partial f}, $$

and J the image's Jacobian: as Gauss and Newton do, without the residuals' curvature,
which where the model is wrong takes more from H than the images' curvature, unknown,
gives back. Of a similarity without residuals C is its negative, and
$H = J^T (\partial^2 C / \partial m^2) J$.

The noise is what is left of f after the best gain and offset of m, less its mean over
the pixels around: what scatter and beam hardening leave varies slowly, and is an error
of the model, not noise. Its standard deviation is that of the pixels around, and
neighbors are as correlated as they are on average, which a detector's blur makes them
(kernel weights of Newey and West 1987, Econometrica 55).

A prior of weight w and Jacobian P adds its curvature $L = w P^T P$ to H. It is off by
as much as it says, so that $t = (H + L)^{-1} (G n + e)$ with e of covariance w L: where
images show nothing, the prior's own covariance is what is left.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.signal import convolve
from jaxtyping import Array, Float, PyTree

from synthex_jax.numerics import at_least, product
from synthex_jax.registration.problem import (
    Problem,
    Step,
    metrics,
    movements,
    no_step,
    whitening,
)
from synthex_jax.registration.similarity import LeastSquares, Similarity
from synthex_jax.typing import Image, Scalar

# Pixels: noise is correlated over less than this; detectors blur over two or three.
_REACH = 4
# Pixels along the window in which the noise's standard deviation is taken.
_WINDOW = 9
# Least curvature over the largest, both for mm in the image, at which float32 still
# tells a direction from one that the images do not show.
_SINGULAR_BELOW = 1e-6

Square = Float[Array, "n n"]


class Uncertainty(NamedTuple):
    """How far off a state may be by noise; infinite where images do not show it.

    Attributes:
        similarity: (), mean over the views.
        covariance: (n, n), of the unknowns.
        in_plane: (things, views), mm, standard deviation of a thing's center along a
            direction of the detector's plane: the root mean square of the two.
        depth: (things, views), mm, that along the view's principal direction.
    """

    similarity: Scalar
    covariance: Square
    in_plane: Float[Array, "things views"]
    depth: Float[Array, "things views"]


@jax.jit
def uncertainty(similarity: Similarity, problem: Problem, state: PyTree) -> Uncertainty:
    """Of the unknowns at an optimum, by the noise that the radiographs show there."""

    def images_at(step: Step) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
        images = problem.images(problem.moved(state, step))
        return images, images

    jacobians, images = jax.jacfwd(images_at, has_aux=True)(no_step(problem))
    n = problem.size
    total = jnp.zeros(())
    curvature, meat = jnp.zeros((n, n)), jnp.zeros((n, n))
    for jacobian, image, fixed, weights in zip(
        jacobians, images, problem.fixed, problem.weights, strict=True
    ):
        columns = jnp.moveaxis(jacobian, -1, 0)
        h, g = _second_derivatives(similarity, columns, image, fixed, weights)
        noise = _left_over(image, fixed, weights)
        total = total + similarity(image, fixed, weights)
        curvature = curvature + h
        meat = meat + _noise_through(g, noise, (weights > 0).astype(noise.dtype))
    # C is half the squares, or the negative of what has none.
    weight = problem.prior_weight * (1 if isinstance(similarity, LeastSquares) else 2)
    held = weight * _prior_curvature(problem, state)
    white = whitening(metrics(movements(problem, state), depth=1.0))
    covariance = _sandwich(curvature + held, meat + weight * held, white)
    mean = total / len(images)
    return Uncertainty(mean, covariance, *_spreads(covariance, problem, state))


def _prior_curvature(problem: Problem, state: PyTree) -> Square:
    expected = lambda step: problem.prior(problem.moved(state, step))
    slopes = jax.jacfwd(expected)(no_step(problem))
    return product(slopes.T, slopes)


def _second_derivatives(
    similarity: Similarity,
    columns: Float[Array, "n rows cols"],
    image: Image,
    fixed: Image,
    weights: Image,
) -> tuple[Square, Float[Array, "n rows cols"]]:
    """H, and the images G."""
    squares = isinstance(similarity, LeastSquares)

    def residuals(m: Image, f: Image) -> Float[Array, "_"]:
        assert isinstance(similarity, LeastSquares)
        return similarity.residuals(m, f, weights)

    def cost(m: Image, f: Image) -> Scalar:
        if squares:
            return jnp.sum(residuals(m, f) ** 2) / 2
        return -similarity(m, f, weights)

    def along(column: Image) -> tuple[Array, Image]:
        def slope(m: Image, f: Image) -> Scalar:
            return jax.jvp(lambda x: cost(x, f), (m,), (column,))[1]

        by_image, by_fixed = jax.grad(slope, argnums=(0, 1))(image, fixed)
        if squares:
            by_image = jax.jvp(lambda m: residuals(m, fixed), (image,), (column,))[1]
        return by_image, -by_fixed

    by_image, by_fixed = jax.lax.map(along, columns)
    n = len(columns)
    left = by_image if squares else columns
    h = product(left.reshape(n, -1), by_image.reshape(n, -1).T)
    return (h + h.T) / 2, by_fixed


def _left_over(image: Image, fixed: Image, weights: Image) -> Image:
    """The radiograph less the best gain and offset of the rendering, without trends."""
    total = jnp.sum(weights)
    x = image - jnp.sum(weights * image) / total
    y = fixed - jnp.sum(weights * fixed) / total
    square = jnp.sum(weights * x * x)
    flat = square == 0
    gain = jnp.sum(weights * x * y) / jnp.where(flat, 1, square)
    left = y - jnp.where(flat, 0, gain) * x
    seen = (weights > 0).astype(left.dtype)
    return left - _sum_around(seen * left) / at_least(_sum_around(seen), 1.0)


def _sum_around(image: Image) -> Image:
    window = jnp.ones((_WINDOW, _WINDOW), image.dtype)
    return convolve(image, window, mode="same")


def _noise_through(
    slopes: Float[Array, "n rows cols"], noise: Image, seen: Image
) -> Square:
    """Covariance of the sums of slopes times noise; seen is 0 where it is unknown."""
    variance = _sum_around(seen * noise**2) / at_least(_sum_around(seen), 1.0)
    silent = variance == 0
    deviation = jnp.where(silent, 0, jnp.sqrt(jnp.where(silent, 1, variance)))
    kernel = _correlation(seen * noise / jnp.where(silent, 1, deviation))
    scaled = slopes * deviation
    blurred = jax.vmap(lambda image: convolve(image, kernel, mode="same"))(scaled)
    n = len(slopes)
    found = product(scaled.reshape(n, -1), blurred.reshape(n, -1).T)
    return (found + found.T) / 2


def _correlation(noise: Image) -> Float[Array, "lags lags"]:
    """Of pixels so far apart, falling to 0 at the reach; about 1 in the middle.

    Noise less its mean over n pixels has lost 1/n of its correlations' sum at each lag
    within; it is given back.
    """
    rows, cols = noise.shape
    spectrum = jnp.fft.rfft2(noise, (2 * rows, 2 * cols))
    products = jnp.fft.irfft2(jnp.abs(spectrum) ** 2, (2 * rows, 2 * cols))
    lags = np.arange(1 - _REACH, _REACH)
    taper = 1 - np.abs(lags) / _REACH
    tapers = jnp.asarray(np.outer(taper, taper), noise.dtype)
    power = products[0, 0]
    near = products[lags[:, None], lags] / jnp.where(power > 0, power, 1)
    around = _WINDOW**2
    total = jnp.sum(tapers * near) / (1 - jnp.sum(tapers) / around)
    return (tapers * (near + total / around)).astype(noise.dtype)


def _sandwich(curvature: Square, meat: Square, white: Square) -> Square:
    """H^-1 S H^-1, infinite unless H is positive definite."""
    inner = product(white.T, product(curvature, white))
    values, vectors = jnp.linalg.eigh(inner)
    shown = values[0] > _SINGULAR_BELOW * jnp.abs(values[-1])
    inverse = product(vectors / jnp.where(shown, values, 1), vectors.T)
    inverse = product(white, product(inverse, white.T))
    covariance = product(inverse, product(meat, inverse))
    unknown = jnp.diag(jnp.full(len(meat), jnp.inf, meat.dtype))
    return jnp.where(shown, (covariance + covariance.T) / 2, unknown)


def _spreads(
    covariance: Square, problem: Problem, state: PyTree
) -> tuple[Float[Array, "things views"], Float[Array, "things views"]]:
    centers = lambda step: problem.centers(problem.moved(state, step))
    slopes = jax.jacfwd(centers)(no_step(problem))
    known = jnp.all(jnp.isfinite(covariance))
    finite = jnp.where(known, covariance, 0)
    variances = jnp.einsum("tvij,jk,tvik->tvi", slopes, finite, slopes)
    deviations = jnp.sqrt(jnp.abs(variances))
    across = jnp.sqrt(jnp.mean(deviations[..., :2] ** 2, axis=-1))
    along = deviations[..., 2]
    return jnp.where(known, across, jnp.inf), jnp.where(known, along, jnp.inf)
