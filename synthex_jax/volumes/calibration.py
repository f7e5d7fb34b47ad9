"""CT numbers of substances, and functions of HU that are lines between them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.numerics import at_least
from synthex_jax.physics.tables import require_energy
from synthex_jax.typing import ArrayLike, Scalar, Voxels

# In the order of their attenuation, which holds at all energies of the table.
TISSUES = (
    "air",
    "lung",
    "adipose",
    "water",
    "soft tissue",
    "spongy bone",
    "cortical bone",
)
"""Substances of a body by rising CT number."""

AIR, WATER = TISSUES.index("air"), TISSUES.index("water")

# 120 kVp: dual-energy CTs offer monochromatic images at 70 keV in its place (Rassouli
# et al., European Journal of Radiology 95, 2017). Tungsten spectra (SpekPy, 6 mm Al)
# behind 20 cm of water attenuate like 56, 64, 71 and 79 keV at 80, 100, 120, 140 kVp.
CT_KEV = 70.0
"""The effective energy of a CT's beam, keV, where nothing else is known."""


def hounsfield(
    attenuation: Float[Array, "*substances"], air: Scalar, water: Scalar
) -> Float[Array, "*substances"]:
    """CT numbers, HU, of linear attenuation, that of air and water given, 1/mm."""
    return 1000 * (attenuation - water) / (water - air)


@jax.jit
def piecewise_linear(
    data: Voxels, knots: Float[Array, "knots"], values: Float[Array, "knots *outputs"]
) -> Float[Array, "..."]:
    """Through the knots, constant before the first, the last line going on.

    Returns the data's shape with that of one knot's values after it.

    As a sum of ramps: elementwise, where a search of the interval would gather.
    Floating dtypes are kept (the computation is at least in float32), integers become
    that of the values.
    """
    dtype = data.dtype
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else values.dtype
    data = data.astype(jnp.promote_types(dtype, jnp.float32))
    data = data.reshape(data.shape + (1,) * (values.ndim - 1))
    widths = jnp.diff(knots).reshape((-1,) + (1,) * (values.ndim - 1))
    slopes = jnp.diff(values, axis=0) / widths
    bends = jnp.diff(slopes, axis=0, prepend=jnp.zeros_like(slopes[:1]))
    total = values[0] + sum(
        bend * at_least(data - knot, 0.0)
        for bend, knot in zip(bends, knots, strict=False)
    )
    return total.astype(dtype)


def as_floating(data: Voxels) -> Float[Array, "nx ny nz *channels"]:
    """Voxels in the default float, or in their own where it is wider."""
    floating = jnp.issubdtype(data.dtype, jnp.floating)
    dtype = data.dtype if floating else jnp.result_type(float)
    return data.astype(jnp.promote_types(dtype, jnp.float32))


def checked_energy(ct_energy: ArrayLike) -> Scalar:
    """The effective energy of a CT's beam; refuses what is outside the tables."""
    require_shape("ct_energy", ct_energy, ())
    require_energy("ct_energy", ct_energy)
    return jnp.asarray(ct_energy, float)


def require_hounsfield(data: Voxels) -> None:
    """Refuse concrete voxels that cannot be HU."""
    if not is_concrete(data):
        return
    with jax.ensure_compile_time_eval():  # a constant within a compiled function
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
