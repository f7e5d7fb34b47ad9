r"""Similarity of edges whose contrast is fitted: the correlation ratio of gradients.

Beam hardening and scatter turn the line integral $m$ of a ray into an attenuation that
follows it on a curve, $f \approx \phi(m)$: thick parts show less contrast than thin
ones. A similarity that allows for a gain alone takes the curve for a change of size,
and is wrong in depth by millimeters. The correlation ratio (Roche et al. 1998, MICCAI,
LNCS 1496:1115) allows for any curve; polynomials, as in Guimond et al. 2001 (IEEE TMI
20(1):58), make it a linear least squares problem, solved in closed form at each pose.

Scatter S on top of what passes straight, P, leaves of its gradients

$$ \nabla f = \frac{P}{P + S} \nabla (-\log P) - \frac{\nabla S}{P + S}, $$

and S depends on all that is around a ray. How much contrast is left, and what is added,
varies slowly over the image, as in Periaswamy and Farid 2003 (IEEE TMI 22(7):865): both
are polynomials of the place, and fitted with the curve. Without them a femur behind a
pelvis may turn by a degree.
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
    checked_weights,
    relative,
    rounding,
    scaled,
    standardized,
)
from synthex_jax.registration.trends import trend_gradients, trends
from synthex_jax.registration.windows import require_room, window_minima
from synthex_jax.typing import Image, Scalar

_Edges = Float[Array, "2 down across"]

# What is left of a term beside those before it, as a share of its square: rounding in
# float32 leaves some 1e-12, images of bone a percent.
_DEPENDENT_BELOW = 1e-8


@noun
@dataclass(frozen=True)
class GradientCorrelationRatio:
    r"""How much of the fixed gradients a curve of the moving image explains.

    With the polynomials that fit best, $\phi$ of the moving image $m$, and $g$ and $b$
    of a pixel's row and column,

    $$ 1 - \min_{\phi, g, b} \sum_i
       w_i |\nabla f_i - \nabla \phi(m)_i - g_i \nabla m_i - \nabla b_i|^2 /
       \min_b \sum_i w_i |\nabla f_i - \nabla b_i|^2, $$

    where $g$ is how the contrast varies over the image, and $b$, of the degree of $g$
    and at least a plane, what is added to it: scatter, and the heel effect. From 0 to
    1, the same for any gain and any offset of either image, of either sign: a negative
    is as good as its positive. Where one of the images is constant or no pixel counts
    it is 0, with derivative 0.

    The residuals are the differences over the root of the denominator; their squares
    sum to $1 - \mathrm{value}$.

    Attributes:
        degree: of the curve, static; 1 is a gain.
        sigma: standard deviation of the smoothing before the gradients, pixels, static.
        trend: degree of what varies over the image, static; 0 is a contrast that is
            the same everywhere.
    """

    degree: int = field(default=3, metadata={"static": True})
    sigma: float = field(default=1.0, metadata={"static": True})
    trend: int = field(default=2, metadata={"static": True})

    @classmethod
    def create(
        cls, degree: int = 3, *, sigma: float = 1.0, trend: int = 2
    ) -> GradientCorrelationRatio:
        """From the degrees of the curve and the trend, and the smoothing in pixels.

        Raises:
            ValueError: for a degree outside 1 to 5, a trend outside 0 to 3, and a width
                below zero.
        """
        require(1 <= degree <= 5, f"degree must be from 1 to 5, got {degree}")
        require(0 <= trend <= 3, f"trend must be from 0 to 3, got {trend}")
        return cls(degree, checked_sigma(sigma), trend)

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
    shares = relative(jnp.stack([inner, inner]))
    edges = image_gradient(standardized(fixed, weights)[0], rule.sigma)
    units: list[_Edges] = []
    for slope in trend_gradients(inner, max(rule.trend, 1)):
        units.append(_unit(jnp.asarray(slope), units, shares))
    target, varies = scaled(
        _without(edges, units, shares), shares, least=rounding(edges.dtype)
    )
    for term in _terms(rule, standardized(moving, weights)[0]):
        units.append(_unit(term, units, shares))
    residuals = safe_sqrt(shares) * _without(target, units, shares)
    unexplained = jnp.asarray((1 / residuals.size) ** 0.5, residuals.dtype)
    return jnp.where(varies, residuals, unexplained).ravel()


def _terms(rule: GradientCorrelationRatio, image: Image) -> list[_Edges]:
    """Gradients of the powers of an image, and those whose contrast varies."""
    powers = [
        image_gradient(image**degree, rule.sigma)
        for degree in range(1, rule.degree + 1)
    ]
    varying = [powers[0] * trend for trend in trends(powers[0][0], rule.trend)]
    return [*powers, *varying]


def _unit(edges: _Edges, units: list[_Edges], shares: _Edges) -> _Edges:
    """What is new in edges, of mean square 1; zero where hardly anything is."""
    square = jnp.sum(shares * edges**2)
    least = jnp.maximum(_DEPENDENT_BELOW * square, rounding(edges.dtype))
    return scaled(_without(edges, units, shares), shares, least=least)[0]


def _without(edges: _Edges, units: list[_Edges], shares: _Edges) -> _Edges:
    """What is left of edges beside others that are orthogonal, of mean square 1."""
    for unit in units:
        edges = edges - jnp.sum(shares * edges * unit) * unit
    return edges
