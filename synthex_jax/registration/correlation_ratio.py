r"""Similarity of edges whose contrast is fitted: the correlation ratio of gradients.

Beam hardening and scatter turn the line integral $m$ of a ray into an attenuation that
follows it on a curve, $f \approx \phi(m)$: thick parts show less contrast than thin
ones. A similarity that allows for a gain alone takes the curve for a change of size,
and is wrong in depth by millimeters. The correlation ratio (Roche et al. 1998, MICCAI,
LNCS 1496:1115) allows for any curve; polynomials, as in Guimond et al. 2001 (IEEE TMI
20(1):58), make it a linear least squares problem, solved in closed form at each pose.
Gradients leave out what scatter adds slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.nouns import noun
from synthex_jax.numerics import safe_sqrt
from synthex_jax.registration.gradients import (
    checked_sigma,
    filter_size,
    image_gradient,
)
from synthex_jax.registration.similarity import (
    centered,
    checked_weights,
    relative,
    rounding,
    scaled,
    standardized,
)
from synthex_jax.registration.windows import require_room, window_minima
from synthex_jax.typing import Image, Scalar

_Edges = Float[Array, "2 down across"]

# What is left of a power beside those below it, as a share of its square: rounding
# in float32 leaves some 1e-12, images of bone a percent.
_DEPENDENT_BELOW = 1e-8


@noun
@dataclass(frozen=True)
class GradientCorrelationRatio:
    r"""How much of the fixed gradients a curve of the moving image explains.

    With the polynomial $\phi$ of the moving image $m$ that fits best,

    $$ 1 - \min_\phi \sum_i w_i |\nabla f_i - \nabla \phi(m)_i - c|^2 /
       \sum_i w_i |\nabla f_i - \bar{\nabla f}|^2, $$

    where $c$ allows for a slope across the image, as the heel effect makes it. From 0
    to 1, the same for any gain and any offset of either image, of either sign: a
    negative is as good as its positive. Where one of the images is constant or no
    pixel counts it is 0, with derivative 0.

    The residuals are the differences over the norm of the fixed image's gradients;
    their squares sum to $1 - \mathrm{value}$.

    Attributes:
        degree: of the polynomial, static; 1 is a gain.
        sigma: standard deviation of the smoothing before the gradients, pixels, static.
    """

    degree: int = field(default=3, metadata={"static": True})
    sigma: float = field(default=1.0, metadata={"static": True})

    @classmethod
    def create(cls, degree: int = 3, *, sigma: float = 1.0) -> GradientCorrelationRatio:
        """From the degree of the curve, and the width of the smoothing in pixels.

        Raises:
            ValueError: for a degree outside 1 to 5, and a width below zero.
        """
        require(1 <= degree <= 5, f"degree must be from 1 to 5, got {degree}")
        return cls(degree, checked_sigma(sigma))

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from 0 to 1; see ``Similarity``.

        Raises:
            ValueError: also for images smaller than the filter.
        """
        return 1 - jnp.sum(self.residuals(moving, fixed, weights) ** 2)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(2 * gradients,); see ``LeastSquares`` and the call."""
        weights = checked_weights(moving, fixed, weights)
        require_room(moving, filter_size(self.sigma), "gradients")
        return _residuals(self, moving, fixed, weights)


@jax.jit
def _residuals(
    rule: GradientCorrelationRatio, moving: Image, fixed: Image, weights: Image
) -> Float[Array, "n"]:
    inner = window_minima(weights, filter_size(rule.sigma))
    both = jnp.stack([inner, inner])
    shares = relative(both)
    edges = _edges(standardized(fixed, weights)[0], inner, rule.sigma)
    target, varies = scaled(edges, both, least=rounding(edges.dtype))
    base = standardized(moving, weights)[0]
    powers: list[_Edges] = []
    for degree in range(1, rule.degree + 1):
        edges = _edges(base**degree, inner, rule.sigma)
        square = jnp.sum(shares * edges**2)
        least = jnp.maximum(_DEPENDENT_BELOW * square, rounding(edges.dtype))
        powers.append(scaled(_without(edges, powers, shares), both, least=least)[0])
    residuals = safe_sqrt(shares) * _without(target, powers, shares)
    unexplained = jnp.asarray((1 / residuals.size) ** 0.5, residuals.dtype)
    return jnp.where(varies, residuals, unexplained).ravel()


def _edges(image: Image, inner: Float[Array, "down across"], sigma: float) -> _Edges:
    """Gradients about their means."""
    return jnp.stack([centered(g, inner) for g in image_gradient(image, sigma)])


def _without(edges: _Edges, units: list[_Edges], shares: _Edges) -> _Edges:
    """What is left of edges beside others that are orthogonal, of mean square 1."""
    for unit in units:
        edges = edges - jnp.sum(shares * edges * unit) * unit
    return edges
