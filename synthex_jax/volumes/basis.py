r"""Basis substances: tissues written as sums of two or three others.

Below their K edges all light elements attenuate by the same two functions of energy, a
photoelectric and a Compton one (Alvarez & Macovski 1976, Phys. Med. Biol. 21(5)). Two
substances are therefore a basis for all tissues: from 20 to 140 keV water and cortical
bone give soft tissue, muscle, blood, lung and spongy bone within 0.4 %, fat within
1.3 % (0.3 % above 50 keV). One projection of two channels then does for any tissue.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.tables import mass_attenuation

# KeV: where radiographs and CTs have their photons; equal steps of the logarithm, as
# attenuation goes with powers of the energy.
_FIT_KEV = np.geomspace(20.0, 140.0, 40)

# A basis is for tissues. Metals and what has a K edge in the range are off by 2 to
# 200 %; plastics and all tissues by less than this.
_WITHIN = 0.015


def in_basis(
    substances: tuple[Material, ...], basis: tuple[Material, ...]
) -> Float[Array, "substances basis"]:
    """Shares of the basis that attenuate like each substance, all with densities.

    A substance of the basis is itself; the others are fitted by least squares of the
    relative error between 20 and 140 keV. Differentiable in the densities.

    Raises:
        ValueError: for a substance that the basis misses by more than 1.5 %.
    """
    shares = np.stack([_fitted(substance, basis) for substance in substances])
    ours, theirs = (
        jnp.stack([jnp.asarray(one.density, float) for one in group])
        for group in (substances, basis)
    )
    return jnp.asarray(shares, ours.dtype) * ours[:, None] / theirs


def _fitted(
    substance: Material, basis: tuple[Material, ...]
) -> Float[np.ndarray, "basis"]:
    """Shares by mass."""
    compositions = [b.composition for b in basis]
    if substance.composition in compositions:
        return np.eye(len(basis))[compositions.index(substance.composition)]
    spectra = np.stack([_mass_attenuation(c) for c in compositions], axis=1)
    relative = spectra / _mass_attenuation(substance.composition)[:, None]
    shares = np.linalg.lstsq(relative, np.ones(len(_FIT_KEV)))[0]
    worst = float(np.abs(relative @ shares - 1).max())
    require(
        worst < _WITHIN,
        f"basis must be able to stand for {substance.name!r} within {100 * _WITHIN:g} "
        f"%, but {', '.join(b.name for b in basis)} miss it by {100 * worst:.1f} %; "
        "water and cortical bone can stand for all tissues",
    )
    return shares


@cache
def _mass_attenuation(
    composition: tuple[tuple[str, float], ...],
) -> Float[np.ndarray, "energies"]:
    """Cm^2/g where bases are fitted."""
    with jax.ensure_compile_time_eval():
        found = mass_attenuation(Material("", composition), _FIT_KEV)
    return np.asarray(found, np.float64)
