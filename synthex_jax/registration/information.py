"""Mutual information: what one image tells of the other, whatever its gray values."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, between, product
from synthex_jax.registration.similarity import (
    checked_weights,
    relative,
    standardized,
)
from synthex_jax.typing import Image, Scalar

# Standard deviations about the mean that the bins span; what lies beyond, as metal
# may, counts in the outermost. Of a normal distribution that is 0.3 %.
_REACH = 3.0


@noun
@dataclass(frozen=True)
class MutualInformation:
    r"""Mutual information of the intensities, in nats.

    $$ \sum_{ij} p_{ij} \log \frac{p_{ij}}{p_i p_j}, $$

    where each pixel adds to the joint distribution $p$ of bins by cubic B-splines
    (Parzen windows: Thevenaz and Unser 2000, IEEE TIP 9(12):2083; Mattes et al. 2003,
    IEEE TMI 22(1):120). From 0 to the logarithm of the number of bins; the same for
    any gain, of either sign, and any offset of either image. Where one of the images is
    constant or no pixel counts it is 0, with derivative 0. It is no sum of squares.

    Attributes:
        bins: along each axis of the joint distribution, static.
    """

    bins: int = field(default=32, metadata={"static": True})

    @classmethod
    def create(cls, bins: int = 32) -> MutualInformation:
        """From the number of bins an image.

        Raises:
            ValueError: for less than 5 bins: a B-spline spans four.
        """
        require(bins >= 5, f"bins must be at least 5, got {bins}")
        return cls(bins)

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), nats, not negative; see ``Similarity``."""
        weights = checked_weights(moving, fixed, weights)
        return _mutual_information(self, moving, fixed, weights)


@jax.jit
def _mutual_information(
    rule: MutualInformation, moving: Image, fixed: Image, weights: Image
) -> Scalar:
    share = relative(weights).reshape(-1, 1)
    (a, a_varies), (b, b_varies) = (
        standardized(image, weights) for image in (moving, fixed)
    )
    joint = product((share * _parzen(a, rule.bins)).T, _parzen(b, rule.bins))
    some = joint > jnp.finfo(joint.dtype).tiny
    safe = jnp.where(some, joint, 1.0)
    alone = [jnp.where(some, jnp.sum(joint, i, keepdims=True), 1.0) for i in (0, 1)]
    surprise = jnp.log(safe) - jnp.log(alone[0]) - jnp.log(alone[1])
    information = jnp.sum(joint * surprise)
    return jnp.where(a_varies & b_varies, at_least(information, 0.0), 0.0)


def _parzen(image: Image, bins: int) -> Float[Array, "pixels bins"]:
    """What each pixel of a standardized image adds to each bin; sums to 1."""
    # A B-spline reaches two bins to both sides, but is zero at the second.
    first, last = 1.0, bins - 2.0
    place = first + (image.reshape(-1, 1) / _REACH + 1) / 2 * (last - first)
    away = jnp.abs(between(place, first, last) - jnp.arange(bins, dtype=image.dtype))
    return (at_least(2 - away, 0.0) ** 3 - 4 * at_least(1 - away, 0.0) ** 3) / 6
