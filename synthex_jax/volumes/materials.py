r"""From Hounsfield units to linear attenuation at a photon energy.

A CT number states the attenuation at the CT's own (effective) energy $E_0$,

$$ \mu(E_0) = \mu_w(E_0) + \frac{HU}{1000} (\mu_w(E_0) - \mu_a(E_0)), $$

with water $w$ and air $a$. To carry it to another energy one has to say what the voxel
is made of. Here it is a mixture by volume of two neighbors in a row of substances, each
at its own density and with the CT number that the line above gives it at $E_0$ (at 70
keV):

    air -1000, inflated lung -742, adipose -77, water 0, soft tissue 53,
    spongy bone 295, cortical bone 1561.

Attenuation is then linear in HU between neighbors at every energy, beyond cortical bone
the last line goes on, and below air there is air. It follows that

* at $E_0$ the definition above holds exactly, whatever the substances are;
* each substance of the row is right at any energy;
* attenuation is continuous, never falls with HU, and has a derivative everywhere but at
  the substances themselves, where it has one on each side.

Air, water and bone alone would take fat for thin water and muscle for water with a
little bone: 19 and 9 % too much attenuation at 30 keV. Metal and contrast agents are
not bone; for them the change with energy is only a guess.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require_shape
from synthex_jax.physics.tables import linear_attenuation, require_energy
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.calibration import (
    AIR,
    CT_KEV,
    TISSUES,
    WATER,
    hounsfield,
    piecewise_linear,
    require_hounsfield,
)
from synthex_jax.volumes.volume import Volume


def attenuation(
    volume: Volume, energy: ArrayLike, *, ct_energy: ArrayLike = CT_KEV
) -> Volume:
    """A CT in HU turned into linear attenuation at a photon energy.

    Differentiable in HU and in both energies; see the module for the formula.

    Args:
        volume: HU, any real dtype, with or without channels.
        energy: (), keV, what the X-ray image is taken with.
        ct_energy: (), keV, the effective energy of the CT's beam: 56, 64, 70 and 79 for
            80, 100, 120 and 140 kVp.

    Returns:
        The same grid in 1/mm; floating dtypes are kept (the computation is at
        least in float32), integers become the default float.

    Raises:
        ValueError: for an energy outside 5 to 160 keV, or voxels that cannot be HU: NaN
            or infinite, or all within 0 and 1 (and not all 0) as probabilities, labels
            and attenuation are. A crop of HU that happens to be so narrow needs an
            offset below 0 somewhere.
    """
    for name, value in (("energy", energy), ("ct_energy", ct_energy)):
        require_shape(name, value, ())
        require_energy(name, value)
    require_hounsfield(volume.data)
    knots, values = _calibration(energy, ct_energy)
    return replace(volume, data=piecewise_linear(volume.data, knots, values))


@jax.jit
def _calibration(
    energy: ArrayLike, ct_energy: ArrayLike
) -> tuple[Float[Array, "substances"], Float[Array, "substances"]]:
    """CT numbers of the tissues, HU, and their attenuation at energy, 1/mm."""
    energies = jnp.stack([jnp.asarray(ct_energy, float), jnp.asarray(energy, float)])
    at_ct, at_energy = jnp.stack(
        [linear_attenuation(substance, energies) for substance in TISSUES], axis=1
    )
    return hounsfield(at_ct, at_ct[AIR], at_ct[WATER]), at_energy
