"""Composition: what the voxels of a volume consist of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.nouns import noun
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.volume import Volume


@noun
@dataclass(frozen=True)
class Composition:
    """A volume as a mixture of a few substances, one channel each.

    A voxel attenuates like the sum over its substances of share times linear
    attenuation. One projection of the channels gives the path length in mm through
    each substance, and with these the image at every energy.

    The substances may be a basis (water and cortical bone, say, in which all tissues
    can be written): a share may then be negative, or larger than 1, and only sums over
    the substances mean something.

    Attributes:
        fractions: (nx, ny, nz, substances), the share of a voxel's volume that each
            fills at its own density.
        substances: in the order of the channels, each with a density.
    """

    fractions: Volume
    substances: tuple[Material, ...]

    @classmethod
    def create(
        cls, fractions: Volume, substances: tuple[str | Material, ...]
    ) -> Composition:
        """From shares, (nx, ny, nz, substances), and what they are shares of.

        Raises:
            ValueError: for an unknown substance or one without a density, and where
                the channels are not as many as the substances.
        """
        found = tuple(material(substance) for substance in substances)
        for substance in found:
            require(
                substance.density is not None,
                f"substances must have a density, {substance.name!r} has none; give it "
                f"one: material({substance.name!r}, density=...) in g/cm^3",
            )
        shape = fractions.data.shape
        require(
            len(found) > 0 and shape[3:] == (len(found),),
            f"fractions must have one channel a substance, (nx, ny, nz, {len(found)}), "
            f"got {shape}",
        )
        return cls(fractions, found)

    def linear_attenuation(
        self, energies: Float[Array, "bins"]
    ) -> Float[Array, "bins substances"]:
        """That of the substances, 1/mm, by energy in keV."""
        return jnp.stack([linear_attenuation(s, energies) for s in self.substances], -1)

    def attenuation(self, energy: ArrayLike) -> Volume:
        """The volume's linear attenuation at one energy in keV, 1/mm."""
        energies = jnp.reshape(jnp.asarray(energy, float), 1)
        return self._summed(self.linear_attenuation(energies)[0])

    def density(self) -> Volume:
        """The volume's mass density, g/cm^3."""
        return self._summed(
            jnp.stack([jnp.asarray(s.density) for s in self.substances])
        )

    def _summed(self, weights: Float[Array, "substances"]) -> Volume:
        return replace(self.fractions, data=self.fractions.data @ weights)
