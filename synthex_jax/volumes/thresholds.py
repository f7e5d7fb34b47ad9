"""From Hounsfield units to what voxels consist of, by thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.typing import ArrayLike, Scalar, Voxels
from synthex_jax.volumes.calibration import (
    CT_KEV,
    as_floating,
    checked_energy,
    require_hounsfield,
)
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume


@noun
@dataclass(frozen=True)
class SingleMaterial:
    r"""Everything is one substance, denser or thinner.

    Its share of a voxel is $\max(0, HU - HU_0) (1 - \mu_a / \mu_w) / 1000$. With $HU_0$
    = -1000 this is the definition of the CT number, less the air. A higher $HU_0$ takes
    away all that is below it and so raises the contrast of what is left: simulators
    that set a threshold before they cast rays do so (xReg: Grupp et al., IEEE TBME
    67(2), 2020).

    Attributes:
        substance: water, or what is to stand for it; with its density.
        lowest: (), HU, below which there is nothing.
        ct_energy: (), keV, the effective energy of the CT's beam.
    """

    substance: Material
    lowest: Scalar
    ct_energy: Scalar

    @classmethod
    def create(
        cls,
        substance: str | Material = "water",
        *,
        lowest: ArrayLike = -1000.0,
        ct_energy: ArrayLike = CT_KEV,
    ) -> SingleMaterial:
        """From a substance and a threshold.

        Raises:
            ValueError: for an unknown substance, an energy outside 5 to 160 keV.
        """
        return cls(
            material(substance), jnp.asarray(lowest, float), checked_energy(ct_energy)
        )

    def composition(self, ct: Volume) -> Composition:
        """What a CT in HU consists of: one channel.

        Raises:
            ValueError: for voxels that cannot be HU.
        """
        require_hounsfield(ct.data)
        share = _single_share(ct.data, self.lowest, self.ct_energy)
        return Composition.create(replace(ct, data=share), (self.substance,))


@jax.jit
def _single_share(
    data: Voxels, lowest: Scalar, ct_energy: Scalar
) -> Float[Array, "nx ny nz 1"]:
    air, water = (linear_attenuation(s, ct_energy) for s in ("air", "water"))
    share = at_least(as_floating(data) - lowest, 0.0) * (1 - air / water) / 1000
    return share[..., None]


@noun
@dataclass(frozen=True)
class Thresholds:
    """One substance a voxel, by CT number, with a jump from each to the next.

    By default the density of the substance is the one that gives the voxel its CT
    number, so that nothing jumps at the CT's own energy. ``deepdrr`` has densities
    from a curve instead.

    Attributes:
        borders: (substances - 1,), HU, rising.
        substances: with their densities.
        ct_energy: (), keV, the effective energy of the CT's beam.
        density_lines: (lines, 2), slope (g/cm^3 a HU) and intercept (g/cm^3): density
            is the least of the lines; or None.
    """

    borders: Float[Array, "borders"]
    substances: tuple[Material, ...]
    ct_energy: Scalar
    density_lines: Float[Array, "lines 2"] | None = None

    @classmethod
    def create(
        cls,
        borders: ArrayLike = (-800.0, 350.0),
        substances: tuple[str | Material, ...] = (
            "air",
            "soft tissue",
            "cortical bone",
        ),
        *,
        ct_energy: ArrayLike = CT_KEV,
        density_lines: ArrayLike | None = None,
    ) -> Thresholds:
        """From CT numbers and the substances below, between and above them.

        Raises:
            ValueError: for an unknown substance, borders that do not rise or are not
                one fewer than the substances.
        """
        found = tuple(material(s) for s in substances)
        borders = jnp.asarray(borders, float)
        require_shape("borders", borders, (len(found) - 1,))
        if is_concrete(borders):
            require(
                bool(np.all(np.diff(np.asarray(borders)) > 0)),
                f"borders must rise, got {borders.tolist()} HU",
            )
        lines = None if density_lines is None else jnp.asarray(density_lines, float)
        return cls(borders, found, checked_energy(ct_energy), lines)

    @classmethod
    def deepdrr(cls) -> Thresholds:
        """DeepDRR's borders and densities (Unberath et al. 2018, and its code).

        Its water is 3 % too dense, and attenuation jumps by a third at 350 HU.
        """
        return cls.create(density_lines=[[0.001029, 1.03], [0.0005886, 1.03]])

    def composition(self, ct: Volume) -> Composition:
        """What a CT in HU consists of: a channel a substance.

        Raises:
            ValueError: for voxels that cannot be HU.
        """
        require_hounsfield(ct.data)
        return Composition.create(
            replace(ct, data=_by_threshold(ct.data, self)), self.substances
        )


@jax.jit
def _by_threshold(
    data: Voxels, rule: Thresholds
) -> Float[Array, "nx ny nz substances"]:
    hu = as_floating(data)[..., None]
    never = jnp.array([jnp.inf], rule.borders.dtype)
    low = jnp.concatenate([-never, rule.borders])
    high = jnp.concatenate([rule.borders, never])
    chosen = (hu > low) & (hu <= high)
    if rule.density_lines is None:
        air, water = (linear_attenuation(s, rule.ct_energy) for s in ("air", "water"))
        mu = water + at_least(hu, -1000.0) * (water - air) / 1000
        share = mu / jnp.stack(
            [linear_attenuation(s, rule.ct_energy) for s in rule.substances]
        )
    else:
        slope, intercept = rule.density_lines.T
        lines = hu * slope + intercept
        lowest = jnp.argmin(lines, axis=-1, keepdims=True)
        density = at_least(jnp.take_along_axis(lines, lowest, axis=-1), 0.0)
        share = density / jnp.stack([jnp.asarray(s.density) for s in rule.substances])
    return jnp.where(chosen, share, 0.0)
