r"""Mass attenuation of elements and mixtures between 5 and 160 keV.

Between two nodes $E_i \le E < E_{i+1}$ of the table each process is a power law,

$$ (\mu/\rho)(E) = v_i (E / E_i)^{p_i}, $$

continuous except at absorption edges, where two nodes coincide and the upper one
counts. Mixtures add by mass fraction. ``physics.bake`` makes the table from xraylib,
which carries the data of NIST's XCOM.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.elements import ELEMENTS
from synthex_jax.typing import ArrayLike

LOWEST_KEV, HIGHEST_KEV = 5.0, 160.0


def mass_attenuation(
    substance: str | Material, energy: ArrayLike
) -> Float[Array, "*energies"]:
    """Total attenuation per mass, with coherent scattering.

    Traced energies are not checked; outside the table the outermost power law goes on.

    Args:
        substance: a Material, or what ``material`` takes: a name ("cortical bone"), an
            element ("Ti"), a formula ("Gd2O2S"). Static under ``jit``.
        energy: any shape, keV.

    Returns:
        cm^2/g, in the shape of ``energy``.

    Raises:
        ValueError: for an unknown substance, or an energy outside 5 to 160 keV.
    """
    return jnp.sum(_by_process(substance, energy), axis=-1)


def photoelectric(
    substance: str | Material, energy: ArrayLike
) -> Float[Array, "*energies"]:
    """Photoelectric absorption per mass, cm^2/g; see ``mass_attenuation``."""
    return _by_process(substance, energy)[..., 0]


def compton(substance: str | Material, energy: ArrayLike) -> Float[Array, "*energies"]:
    """Incoherent scattering per mass, cm^2/g; see ``mass_attenuation``."""
    return _by_process(substance, energy)[..., 1]


def rayleigh(substance: str | Material, energy: ArrayLike) -> Float[Array, "*energies"]:
    """Coherent scattering per mass, cm^2/g; see ``mass_attenuation``."""
    return _by_process(substance, energy)[..., 2]


def linear_attenuation(
    substance: str | Material, energy: ArrayLike
) -> Float[Array, "*energies"]:
    """Total attenuation per length: ``mass_attenuation`` times density.

    Returns:
        1/mm, in the shape of ``energy``.

    Raises:
        ValueError: as ``mass_attenuation``, and for a substance without a density.
    """
    substance = material(substance)
    if substance.density is None:
        raise ValueError(
            f"substance must have a density, {substance.name!r} has none; "
            f"give it one: material({substance.name!r}, density=...) in g/cm^3"
        )
    per_cm = mass_attenuation(substance, energy) * jnp.asarray(substance.density)
    return per_cm / 10


def element_nodes(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (keV), edges twice, and cm^2/g by process there."""
    first, energies, values = _attenuation_file()
    number = ELEMENTS[symbol].number
    rows = slice(first[number - 1], first[number])
    return energies[rows], values[rows].astype(float)


def require_energy(name: str, energy: ArrayLike) -> None:
    """Refuse concrete photon energies outside the table."""
    if not is_concrete(energy):
        return
    concrete = np.asarray(energy, dtype=float)
    inside = (concrete >= LOWEST_KEV) & (concrete <= HIGHEST_KEV)
    require(
        bool(np.all(inside)),
        f"{name} must be between {LOWEST_KEV:g} and {HIGHEST_KEV:g} keV, got "
        f"{concrete[~inside].ravel()[:3].tolist()}; is it in eV or MeV?",
    )


# Tables are filled up to multiples of this, so that most share one compiled function.
_INTERVALS = 256


class _PowerLaws(NamedTuple):
    """Attenuation of one substance on consecutive intervals of energy.

    Attributes:
        start: (intervals,), keV, where each begins; infinity where there are no more.
        value: (intervals, 3), cm^2/g there, by process.
        exponent: (intervals, 3).
    """

    start: Float[Array | np.ndarray, "intervals"]
    value: Float[Array | np.ndarray, "intervals 3"]
    exponent: Float[Array | np.ndarray, "intervals 3"]


def _by_process(
    substance: str | Material, energy: ArrayLike
) -> Float[Array, "*energies 3"]:
    """Photoelectric absorption, Compton and Rayleigh scattering, cm^2/g."""
    laws = _power_laws(material(substance).composition)
    energies = jnp.asarray(energy, dtype=float)
    require_energy("energy", energies)
    return _evaluate(jax.tree.map(jnp.asarray, laws), energies)


@jax.jit
def _evaluate(
    laws: _PowerLaws, energies: Float[Array, "*energies"]
) -> Float[Array, "*energies 3"]:
    interval = jnp.searchsorted(laws.start, energies, side="right") - 1
    interval = jnp.maximum(interval, 0)
    ratio = energies / laws.start[interval]
    return laws.value[interval] * ratio[..., None] ** laws.exponent[interval]


@cache
def _power_laws(composition: tuple[tuple[str, float], ...]) -> _PowerLaws:
    """Those of a mixture, on the union of its elements' nodes."""
    tables = [(element_nodes(symbol), fraction) for symbol, fraction in composition]
    nodes = np.unique(np.concatenate([table[0] for table, _ in tables]))
    low, high = nodes[:-1], nodes[1:]
    at_low = np.zeros((len(low), 3))
    at_high = np.zeros((len(low), 3))
    for table, fraction in tables:
        at_low += fraction * _within(table, low, high, low)
        at_high += fraction * _within(table, low, high, high)
    exponent = np.log(at_high / at_low) / np.log(high / low)[:, None]
    fill = -len(low) % _INTERVALS
    return _PowerLaws(
        np.pad(low, (0, fill), constant_values=np.inf),
        np.pad(at_low, ((0, fill), (0, 0))),
        np.pad(exponent, ((0, fill), (0, 0))),
    )


def _within(
    table: tuple[np.ndarray, np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    energy: np.ndarray,
) -> np.ndarray:
    """An element's values at energies, by the laws of the intervals [low, high]."""
    energies, values = table
    left = np.searchsorted(energies, (low * high) ** 0.5) - 1
    width = np.log(energies[left + 1] / energies[left])
    share = (np.log(energy / energies[left]) / width)[:, None]
    return values[left] ** (1 - share) * values[left + 1] ** share


@cache
def _attenuation_file() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "attenuation.npz") as file:
        return file["first"], file["energies"], file["values"]
