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
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.physics.tables import linear_attenuation, require_energy
from synthex_jax.typing import ArrayLike, Voxels
from synthex_jax.volumes.volume import Volume

# In the order of their attenuation, which holds at all energies of the table.
_SUBSTANCES = (
    "air",
    "lung",
    "adipose",
    "water",
    "soft tissue",
    "spongy bone",
    "cortical bone",
)
_AIR, _WATER = _SUBSTANCES.index("air"), _SUBSTANCES.index("water")


def attenuation(
    volume: Volume, energy: ArrayLike, *, ct_energy: ArrayLike = 70.0
) -> Volume:
    """A CT in HU turned into linear attenuation at a photon energy.

    Differentiable in HU and in both energies; see the module for the formula.

    Args:
        volume: HU, any real dtype, with or without channels.
        energy: (), keV, what the X-ray image is taken with.
        ct_energy: (), keV, the effective energy of the CT's beam. 70 stands for a CT
            at 120 kVp: dual-energy CTs offer monochromatic images at 70 keV in its
            place (Rassouli et al., European Journal of Radiology 95, 2017). Tungsten
            spectra (SpekPy, 6 mm Al) behind 20 cm of water attenuate like 56, 64, 71
            and 79 keV at 80, 100, 120 and 140 kVp.

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
    _require_hounsfield(volume.data)
    knots, values = _calibration(energy, ct_energy)
    return replace(volume, data=_piecewise_linear(volume.data, knots, values))


@jax.jit
def _calibration(
    energy: ArrayLike, ct_energy: ArrayLike
) -> tuple[Float[Array, "substances"], Float[Array, "substances"]]:
    """CT numbers of the substances, HU, and their attenuation at energy, 1/mm."""
    energies = jnp.stack([jnp.asarray(ct_energy, float), jnp.asarray(energy, float)])
    at_ct, at_energy = jnp.stack(
        [linear_attenuation(substance, energies) for substance in _SUBSTANCES], axis=1
    )
    air, water = at_ct[_AIR], at_ct[_WATER]
    return 1000 * (at_ct - water) / (water - air), at_energy


@jax.jit
def _piecewise_linear(
    hounsfield: Voxels, knots: Float[Array, "knots"], values: Float[Array, "knots"]
) -> Voxels:
    """Through the knots, constant before the first, the last line going on.

    As a sum of ramps: elementwise, where a search of the interval would gather.
    """
    dtype = hounsfield.dtype
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else values.dtype
    hounsfield = hounsfield.astype(jnp.promote_types(dtype, jnp.float32))
    slopes = jnp.diff(values) / jnp.diff(knots)
    bends = jnp.diff(slopes, prepend=0.0)
    total = values[0] + sum(
        bend * jnp.maximum(hounsfield - knot, 0.0)
        for bend, knot in zip(bends, knots, strict=False)
    )
    return total.astype(dtype)


def _require_hounsfield(data: Voxels) -> None:
    """Refuse concrete voxels that cannot be HU."""
    if not is_concrete(data):
        return
    low, high = float(data.min()), float(data.max())
    require(
        bool(np.isfinite([low, high]).all()),
        f"volume must hold finite HU, but its values run from {low} to {high}",
    )
    require(
        low < 0 or high == 0 or high > 1,
        "volume must be in HU (air -1000, water 0), but its values run from "
        f"{low:g} to {high:g} like probabilities, labels or attenuation; "
        "pass attenuation in 1/mm to the projector as it is",
    )
