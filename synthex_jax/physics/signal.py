r"""From photons at a detector to the mean and the variance of what it reads.

In a pixel arrive, independently, Poisson numbers of photons of each energy, of mean
$n_k$. A photon leaves a random energy $q$ behind. The sum is compound Poisson:

$$ \mathrm{E}[S] = \sum_k n_k \mathrm{E}[q_k], \qquad
   \mathrm{Var}[S] = \sum_k n_k \mathrm{E}[q_k^2]. $$

A detector that counts photons' energy is thus noisier than one that counts photons, by
the spread of the energies: for a 90 kVp beam by 9 % in variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Image


@noun
@dataclass(frozen=True)
class Illumination:
    """The photons that a tube sends to the pixels of a detector.

    Attributes:
        energies: (bins,), keV.
        photons: (rows, cols, bins), the mean numbers a pixel, without a body.
    """

    energies: Float[Array, "bins"]
    photons: Float[Array, "rows cols bins"]


@noun
@dataclass(frozen=True)
class Response:
    """What one photon that arrives at a detector leaves behind, by its energy.

    Attributes:
        first: keV, in the shape of the energies asked for: the mean of the energy left;
            photons that pass through leave nothing and count.
        second: keV^2, likewise: the mean of its square.
    """

    first: Float[Array, "*energies"]
    second: Float[Array, "*energies"]


@noun
@dataclass(frozen=True)
class Signal:
    """Energy left in the pixels of a detector.

    Attributes:
        mean: (rows, cols), keV.
        variance: (rows, cols), keV^2, of the quantum noise.
    """

    mean: Image
    variance: Image

    def __add__(self, other: Signal) -> Signal:
        """Of photons that arrive independently."""
        return Signal(self.mean + other.mean, self.variance + other.variance)

    def thinned(self, share: ArrayLike) -> Signal:
        """Of the photons that get through where each does with that probability."""
        share = jnp.asarray(share)
        return Signal(self.mean * share, self.variance * share)


def detected(photons: Float[Array, "rows cols bins"], response: Response) -> Signal:
    """The signal of Poisson numbers of photons.

    Args:
        photons: mean numbers a pixel, by energy.
        response: of the detector, at the same energies.
    """
    return Signal(
        jnp.sum(photons * response.first, axis=-1),
        jnp.sum(photons * response.second, axis=-1),
    )


def transmitted(
    photons: Float[Array, "rows cols bins"],
    path_lengths: Float[Array, "rows cols substances"],
    attenuation: Float[Array, "bins substances"],
) -> Float[Array, "rows cols bins"]:
    """Photons left behind a body: Beer and Lambert's law at each energy.

    Args:
        photons: mean numbers a pixel without the body.
        path_lengths: mm through each substance.
        attenuation: of the substances, 1/mm.
    """
    # A sum of products, not a matrix product: XLA fuses it with the exponential and
    # with the sum over energies that follows, and no (rows, cols, bins) array is made.
    depth = sum(
        path_lengths[..., None, m] * attenuation[:, m]
        for m in range(attenuation.shape[-1])
    )
    return photons * jnp.exp(-depth)
