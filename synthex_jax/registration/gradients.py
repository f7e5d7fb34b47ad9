r"""Similarity of edges: images are compared by their gradients.

Gradients are central differences of the image smoothed by a Gaussian, across as by
Sobel's operator; pixels nearer to the edge than the filter reaches have none. A
gradient weighs as the least of the pixels that it is made of, so that the edge of a
mask is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import require, require_positive
from synthex_jax.nouns import noun
from synthex_jax.registration.similarity import (
    centered,
    checked_weights,
    difference,
    relative,
    rounding,
    scaled,
    standardized,
)
from synthex_jax.registration.windows import require_room, window_minima
from synthex_jax.typing import ArrayLike, Image, Scalar

# Beyond so many standard deviations a Gaussian is cut off: 0.3 % of it.
_REACH = 3.0
# Of the root mean square gradient: gradients well above count as edges.
_FLOOR = 0.5

_Inner = Float[Array, "down across"]
_Gradient = Float[Array, "2 down across"]


@noun
@dataclass(frozen=True)
class GradientNCC:
    r"""Normalized cross-correlation of the derivatives along rows and columns.

    The mean of the two (gradient correlation: Penney et al. 1998, IEEE TMI
    17(4):586). From -1 to 1, the same for any gain above zero and any offset of either
    image; a derivative that is constant in one of the images, as in a constant image,
    counts as 0, and so do zero weights, with derivative 0.

    The residuals are those of ``NCC`` for both derivatives; their squares sum to
    $2 (1 - \mathrm{value})$.

    Attributes:
        sigma: standard deviation of the smoothing, pixels, static.
    """

    sigma: float = field(default=1.0, metadata={"static": True})

    @classmethod
    def create(cls, sigma: float = 1.0) -> GradientNCC:
        """From the width of the smoothing in pixels; 0 for none.

        Raises:
            ValueError: for a width below zero.
        """
        return cls(checked_sigma(sigma))

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from -1 to 1; see ``Similarity``.

        Raises:
            ValueError: also for images smaller than the filter.
        """
        weights = _checked(self.sigma, moving, fixed, weights)
        return _gradient_ncc(self, moving, fixed, weights)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(2 * gradients,); see ``LeastSquares`` and the call."""
        weights = _checked(self.sigma, moving, fixed, weights)
        return _gradient_residuals(self, moving, fixed, weights)


@noun
@dataclass(frozen=True)
class GradientOrientation:
    r"""Whether edges run the same way, whatever their contrast.

    Each gradient $\nabla m$ is divided by $\sqrt{|\nabla m|^2 + \eta^2}$, with $\eta$ a
    share of the root mean square gradient of its image: edges have about unit length,
    noise nearly none (normalized gradient fields: Haber and Modersitzki 2006, MICCAI,
    LNCS 4191:726). The value is the product of the two fields, summed and divided by
    their norms: from -1 to 1, the same for any gain above zero and any offset, and
    nearly so for any rising map of intensities. Opposite directions count as unlike.
    Where one of the images is constant or no pixel counts it is 0, with derivative 0.

    The residuals are the difference of the fields over their norms; their squares sum
    to $2 (1 - \mathrm{value})$.

    Attributes:
        floor: (), eta over the root mean square gradient.
        sigma: standard deviation of the smoothing, pixels, static.
    """

    floor: Scalar
    sigma: float = field(metadata={"static": True})

    @classmethod
    def create(
        cls, sigma: float = 1.0, *, floor: ArrayLike = _FLOOR
    ) -> GradientOrientation:
        """From the width of the smoothing in pixels; 0 for none.

        Args:
            sigma: pixels.
            floor: share of the root mean square gradient; much above 1 it makes strong
                edges count for more, near 0 it makes noise count as edges do.

        Raises:
            ValueError: for a width below zero, or a floor that is not above.
        """
        require_positive("floor", floor, "(share of the root mean square gradient)")
        return cls(jnp.asarray(floor, float), checked_sigma(sigma))

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from -1 to 1; see ``Similarity``.

        Raises:
            ValueError: also for images smaller than the filter.
        """
        weights = _checked(self.sigma, moving, fixed, weights)
        return _orientation(self, moving, fixed, weights)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(2 * gradients,); see ``LeastSquares`` and the call."""
        weights = _checked(self.sigma, moving, fixed, weights)
        return _orientation_residuals(self, moving, fixed, weights)


def image_gradient(image: Image, sigma: float) -> _Gradient:
    """Derivatives per pixel along rows' index and along columns', smoothed.

    Args:
        image: (rows, cols).
        sigma: standard deviation of the smoothing, pixels.

    Returns:
        (2, rows - 2 r, cols - 2 r) with r the reach of the filter: of the pixels that
        lie so far from all edges.
    """
    smooth = _gaussian(sigma)
    along = np.convolve(smooth, [-0.5, 0.0, 0.5])
    across = np.convolve(smooth, [0.25, 0.5, 0.25])
    return jnp.stack(
        [
            _filtered(_filtered(image, along, 0), across, 1),
            _filtered(_filtered(image, across, 0), along, 1),
        ]
    )


@jax.jit
def _gradient_ncc(
    rule: GradientNCC, moving: Image, fixed: Image, weights: Image
) -> Scalar:
    w = window_minima(weights, filter_size(rule.sigma))
    a, b = (_derivatives(image, weights, w, rule.sigma) for image in (moving, fixed))
    products = [
        jnp.sum(relative(w) * x * y) for (x, _), (y, _) in zip(a, b, strict=True)
    ]
    return (products[0] + products[1]) / 2


@jax.jit
def _gradient_residuals(
    rule: GradientNCC, moving: Image, fixed: Image, weights: Image
) -> Float[Array, "n"]:
    w = window_minima(weights, filter_size(rule.sigma))
    a, b = (_derivatives(image, weights, w, rule.sigma) for image in (moving, fixed))
    found = [difference(x, y, w) for x, y in zip(a, b, strict=True)]
    return jnp.concatenate(found) / np.sqrt(2.0)


def _derivatives(
    image: Image, weights: Image, inner: _Inner, sigma: float
) -> list[tuple[_Inner, Bool[Array, ""]]]:
    """Both derivatives, standardized; weights of the image and of its gradients."""
    gradient = image_gradient(standardized(image, weights)[0], sigma)
    return [
        scaled(centered(g, inner), inner, least=rounding(g.dtype)) for g in gradient
    ]


@jax.jit
def _orientation(
    rule: GradientOrientation, moving: Image, fixed: Image, weights: Image
) -> Scalar:
    w = window_minima(weights, filter_size(rule.sigma))
    (a, _), (b, _) = (_field(rule, image, weights, w) for image in (moving, fixed))
    return jnp.sum(relative(jnp.stack([w, w])) * a * b)


@jax.jit
def _orientation_residuals(
    rule: GradientOrientation, moving: Image, fixed: Image, weights: Image
) -> Float[Array, "n"]:
    w = window_minima(weights, filter_size(rule.sigma))
    a, b = (_field(rule, image, weights, w) for image in (moving, fixed))
    return difference(a, b, jnp.stack([w, w]))


def _field(
    rule: GradientOrientation, image: Image, weights: Image, inner: _Inner
) -> tuple[_Gradient, Bool[Array, ""]]:
    """Gradients of length about 1, with mean square 1, and whether there are any."""
    both = jnp.stack([inner, inner])
    gradient = image_gradient(standardized(image, weights)[0], rule.sigma)
    mean_square = 2 * jnp.sum(relative(both) * gradient**2)
    enough = mean_square > rounding(gradient.dtype)
    square = jnp.sum(gradient**2, axis=0) + rule.floor**2 * mean_square
    edges = gradient / jnp.sqrt(jnp.where(enough, square, 1.0))
    return scaled(jnp.where(enough, edges, 0.0), both)


def checked_sigma(sigma: float) -> float:
    """A width of smoothing in pixels, not negative."""
    require(
        np.isfinite(sigma) and sigma >= 0,
        f"sigma must be a number of pixels, not negative, got {sigma}",
    )
    return float(sigma)


def _checked(sigma: float, moving: Image, fixed: Image, weights: Image | None) -> Image:
    weights = checked_weights(moving, fixed, weights)
    require_room(moving, filter_size(sigma), f"gradients of sigma {sigma}")
    return weights


def _gaussian(sigma: float) -> np.ndarray:
    reach = int(np.ceil(_REACH * sigma))
    x = np.arange(-reach, reach + 1)
    kernel = np.exp(-(x**2) / (2 * max(sigma, 1e-6) ** 2))
    return kernel / kernel.sum()


def filter_size(sigma: float) -> int:
    """Pixels along the filter's support."""
    return len(_gaussian(sigma)) + 2


def _filtered(image: Float[Array, "..."], taps: np.ndarray, axis: int) -> Array:
    """Correlation along an axis, where the taps fit.

    Sums of shifted images: on CPUs twenty times as fast as XLA's convolution.
    """
    count = image.shape[axis] - len(taps) + 1
    parts = [
        float(tap) * jax.lax.slice_in_dim(image, i, i + count, axis=axis)
        for i, tap in enumerate(taps)
    ]
    return sum(parts[1:], start=parts[0])
