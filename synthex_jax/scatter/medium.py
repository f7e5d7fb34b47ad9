"""What photons meet on their way: cross sections by energy, and the voxels."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from synthex_jax.numerics import product
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.signal import Response
from synthex_jax.physics.tables import (
    HIGHEST_KEV,
    LOWEST_KEV,
    compton,
    rayleigh,
)
from synthex_jax.typing import Matrix4, Shape3
from synthex_jax.volumes.composition import Composition

# A straight line over 0.25 keV is within 0.4 % of photoelectric absorption at 5 keV,
# within 0.1 % at 10 keV; absorption edges are smeared by as much.
ENERGIES = np.linspace(LOWEST_KEV, HIGHEST_KEV, 621)
"""(621,), keV: where cross sections are tabulated, at equal steps."""


class Medium(NamedTuple):
    """A composition as photons meet it: voxels are boxes of one mixture each.

    Attributes:
        fractions: (voxels, substances), the volume's, one voxel a row.
        shape: (nx, ny, nz).
        voxel_from_world: (4, 4).
        table: (621, 3 * substances + 3): at each of ``ENERGIES`` the columns of an
            ``Encounter``.
    """

    fractions: Float[Array, "voxels substances"]
    shape: Shape3
    voxel_from_world: Matrix4
    table: Float[Array, "energies columns"]

    @classmethod
    def create(cls, composition: Composition, response: Response) -> Medium:
        """From a body and a detector's response at ``ENERGIES``."""
        volume = composition.fractions
        count = len(composition.substances)
        fractions = volume.data.reshape(-1, count).astype(float)
        energies = jnp.asarray(ENERGIES, float)
        total = composition.linear_attenuation(energies)
        columns = [
            total,
            _per_mm(compton, composition.substances, energies),
            _per_mm(rayleigh, composition.substances, energies),
            lax.map(lambda mu: jnp.max(product(fractions, mu)), total)[:, None],
            response.first[:, None],
            response.second[:, None],
        ]
        table = jnp.concatenate([column.astype(float) for column in columns], axis=-1)
        return cls(fractions, volume.shape, volume.voxel_from_world, table)

    def at_energy(self, energy: Float[Array, "lanes"]) -> Encounter:
        """Cross sections at energies in keV, those below 5 keV as at 5 keV."""
        step = ENERGIES[1] - ENERGIES[0]
        place = jnp.clip((energy - ENERGIES[0]) / step, 0, len(ENERGIES) - 1)
        row = jnp.minimum(place.astype(jnp.int32), len(ENERGIES) - 2)
        share = (place - row)[:, None]
        below = self.table.at[row].get(mode="promise_in_bounds")
        above = self.table.at[row + 1].get(mode="promise_in_bounds")
        values = below + share * (above - below)
        count = self.fractions.shape[-1]
        parts = jnp.split(values, [count, 2 * count, 3 * count], axis=-1)
        return Encounter(*parts[:3], *jnp.moveaxis(parts[3], -1, 0))

    def at_place(self, places: Float[Array, "3 lanes"]) -> Float[Array, "lanes *"]:
        """Fractions of the voxels that hold places in voxel coordinates, or nearest."""
        voxels = [
            jnp.clip(jnp.round(place), 0, size - 1).astype(jnp.int32)
            for place, size in zip(places, self.shape, strict=True)
        ]
        return self.fractions.at[self._row(*voxels)].get(mode="promise_in_bounds")

    def _row(
        self, x: Int[Array, "lanes"], y: Int[Array, "lanes"], z: Int[Array, "lanes"]
    ) -> Int[Array, "lanes"]:
        return (x * self.shape[1] + y) * self.shape[2] + z


class Encounter(NamedTuple):
    """What photons of one energy each may meet.

    Attributes:
        total: (lanes, substances), 1/mm, attenuation.
        compton: (lanes, substances), 1/mm.
        rayleigh: (lanes, substances), 1/mm.
        majorant: (lanes,), 1/mm, the attenuation that no voxel exceeds.
        first: (lanes,), keV that the detector takes from such a photon on average.
        second: (lanes,), keV^2, the mean of the square of it.
    """

    total: Float[Array, "lanes substances"]
    compton: Float[Array, "lanes substances"]
    rayleigh: Float[Array, "lanes substances"]
    majorant: Float[Array, "lanes"]
    first: Float[Array, "lanes"]
    second: Float[Array, "lanes"]


def mixed(
    fractions: Float[Array, "lanes substances"],
    coefficients: Float[Array, "lanes substances"],
) -> Float[Array, "lanes"]:
    """Of a voxel: the sum over its substances, not below 0.

    A basis of substances may give air a slightly negative sum.
    """
    return jnp.maximum(jnp.sum(fractions * coefficients, axis=-1), 0.0)


def _per_mm(
    process, substances: tuple[Material, ...], energies: Float[Array, "energies"]
) -> Float[Array, "energies substances"]:
    return jnp.stack(
        [process(s, energies) * jnp.asarray(s.density) / 10 for s in substances], -1
    )
