r"""What one scattering does to photons, tabulated by angle.

The tables' nodes lie at equal steps of $\sin(\theta / 2)$, to which momentum transfer
is proportional: Rayleigh scattering, which is forward, is resolved, and between the
nodes all is a line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.numerics import at_least
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import (
    compton_differential,
    compton_energy,
    rayleigh_differential,
)
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.tables import linear_attenuation

# A step of 0.6 degrees of scattering angle at 0; with twice as many nodes the images of
# the tests' bodies change by less than 0.1 %.
_NODES = 192


class Scatterings(NamedTuple):
    """By angle (rows) and energy (cols), and what follows from them.

    Attributes:
        compton: (nodes, energies, substances), 1/mm/sr.
        rayleigh: likewise.
        after: (nodes, energies, substances), 1/mm, attenuation of photons that were
            Compton-scattered.
        first: (nodes, energies), keV that the detector takes from such a photon.
        second: (nodes, energies), keV^2, likewise.
        before: (energies, substances), 1/mm, attenuation of photons that were not.
    """

    compton: Float[Array, "nodes energies substances"]
    rayleigh: Float[Array, "nodes energies substances"]
    after: Float[Array, "nodes energies substances"]
    first: Float[Array, "nodes energies"]
    second: Float[Array, "nodes energies"]
    before: Float[Array, "energies substances"]

    @classmethod
    def create(
        cls,
        substances: tuple[Material, ...],
        energies: Float[Array, "energies"],
        absorber: Absorber,
    ) -> Scatterings:
        """Of photons of the given energies, keV."""
        cosines = 1 - 2 * jnp.linspace(0.0, 1.0, _NODES, dtype=energies.dtype) ** 2
        cosines = cosines[:, None]
        after = compton_energy(energies, cosines)
        response = absorber.response(after)

        def differential(of: Callable[..., Array]) -> Array:
            return jnp.stack(
                [
                    jnp.asarray(s.density) / 10 * of(s, energies, cosines)
                    for s in substances
                ],
                -1,
            )

        def attenuation(at: Array) -> Array:
            return jnp.stack([linear_attenuation(s, at) for s in substances], -1)

        return cls(
            differential(compton_differential),
            differential(rayleigh_differential),
            attenuation(after),
            response.first,
            response.second,
            attenuation(energies),
        )

    def seen_through(self, forward: Float[Array, "energies substances"]) -> Scatterings:
        """With less attenuation, where what is scattered forward counts as not."""
        return self._replace(after=self.after - forward, before=self.before - forward)

    def at(self, cosines: Float[Array, "*lines"]) -> Scatterings:
        """Interpolated: the nodes' axis becomes those of the cosines."""
        # The slope of the root is infinite at 0, where nothing depends on it.
        half = jnp.sqrt(at_least((1 - cosines) / 2, 1e-9))
        place = half * (_NODES - 1)
        low = jnp.clip(jnp.floor(place), 0, _NODES - 2)
        share = (place - low)[..., None]
        low = low.astype(jnp.int32)
        by_angle = self[:-1]
        table = jnp.concatenate([one.reshape(_NODES, -1) for one in by_angle], -1)
        rows = (1 - share) * table[low] + share * table[low + 1]
        ends = np.cumsum([one[0].size for one in by_angle])[:-1].tolist()
        columns = [
            part.reshape(*cosines.shape, *one.shape[1:])
            for part, one in zip(jnp.split(rows, ends, axis=-1), by_angle, strict=True)
        ]
        return Scatterings(*columns, before=self.before)
