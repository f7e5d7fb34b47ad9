r"""Scattering as multiple scattering sees it: by moments of the angle.

The distribution of angles is replaced by a forward peak and a parabola in the cosine,

$$ p(\cos\theta) \approx f\,\delta(1 - \cos\theta) + \frac{1}{4\pi} \sum_{l=0}^{2}
   (2l + 1)(\chi_l - f) P_l(\cos\theta), $$

with the Legendre moments $\chi_l$ and $f = \chi_3$ of Rayleigh scattering, 0 of Compton
scattering (delta-M method: Wiscombe 1977, J. Atmos. Sci. 34:1408). Photons in the peak
count as not scattered.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import compton_phase, rayleigh_phase
from synthex_jax.physics.tables import compton, linear_attenuation, rayleigh

# Gauss-Legendre nodes in sin(theta / 2): moments within 0.1 %.
_NODES = 32


class Moments(NamedTuple):
    """Coefficients of substances, 1/mm.

    Attributes:
        attenuation: (energies, substances), without the forward peak.
        scattering: (3, energies, substances), moments 0 to 2 of the rest.
        forward: (energies, substances), the peak.
    """

    attenuation: Float[Array, "energies substances"]
    scattering: Float[Array, "3 energies substances"]
    forward: Float[Array, "energies substances"]

    @classmethod
    def create(
        cls, substances: tuple[Material, ...], energies: Float[Array, "energies"]
    ) -> Moments:
        """At energies in keV."""
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        half = jnp.asarray((nodes + 1) / 2, energies.dtype)[:, None]
        # d(solid angle) = 8 pi s ds, with s = sin(theta / 2).
        measure = 4 * np.pi * half * jnp.asarray(weights, energies.dtype)[:, None]
        cosine = 1 - 2 * half**2
        legendre = jnp.stack(
            [
                jnp.ones_like(cosine),
                cosine,
                (3 * cosine**2 - 1) / 2,
                (5 * cosine**3 - 3 * cosine) / 2,
            ]
        )
        attenuations, scatterings, peaks = [], [], []
        for substance in substances:
            scale = jnp.asarray(substance.density) / 10
            coherent, incoherent = (
                scale
                * total(substance, energies)
                * _normalized(measure * phase(substance, energies, cosine), legendre)
                for total, phase in (
                    (rayleigh, rayleigh_phase),
                    (compton, compton_phase),
                )
            )
            peak = coherent[3]
            attenuations.append(linear_attenuation(substance, energies) - peak)
            scatterings.append(coherent[:3] + incoherent[:3] - peak)
            peaks.append(peak)
        return cls(
            jnp.stack(attenuations, -1),
            jnp.stack(scatterings, -1),
            jnp.stack(peaks, -1),
        )


def _normalized(
    density: Float[Array, "nodes energies"], legendre: Float[Array, "4 nodes 1"]
) -> Float[Array, "4 energies"]:
    moments = jnp.sum(density * legendre, axis=1)
    return moments / moments[0]
