r"""Where scattered photons go: Compton and Rayleigh scattering by angle.

Atoms scatter independently. With the momentum transfer $q = (E / hc) \sin(\theta / 2)$,
the form factor $F$ and the incoherent scattering function $S$ of each element,

$$ \frac{d\sigma_R}{d\Omega} \propto \frac{1 + \cos^2\theta}{2} \sum_i
   \frac{w_i}{A_i} F_i(q)^2, \qquad
   \frac{d\sigma_C}{d\Omega} \propto \Big(\frac{E'}{E}\Big)^2
   \Big(\frac{E'}{E} + \frac{E}{E'} - \sin^2\theta\Big) \sum_i
   \frac{w_i}{A_i} S_i(q), $$

$w_i$ being mass fractions and $A_i$ atomic weights: Thomson's and Klein and Nishina's
cross sections of an electron, times what the electrons of an atom make of them.

Only these shapes are taken from the table of $F$ and $S$ (``physics.bake_scattering``
makes it from xraylib; the data are those of Hubbell et al. 1975, J. Phys. Chem. Ref.
Data 4(3):471). Sizes are the totals of ``physics.tables``, so that what scatters is
what is attenuated. Unscaled, integrals of the shapes differ from those totals by 0.4 %
in water, 0.9 % in titanium and up to 4 % (Rayleigh) and 1 % (Compton) in iodine.

Interference between molecules, which moves Rayleigh scattering of liquids from within
2 degrees to about 4 at 60 keV, is left out.
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
from synthex_jax.physics.tables import (
    HIGHEST_KEV,
    LOWEST_KEV,
    compton,
    rayleigh,
    require_energy,
)
from synthex_jax.typing import ArrayLike

ELECTRON_KEV = 510.99895
"""Rest energy of the electron, keV (CODATA 2018)."""

_HC = 12.398419843  # keV angstrom (CODATA 2018, exact)

BEND = 0.25
"""1/angstrom^2: the table holds S (q^2 + BEND) / q^2, which has no zero: S goes as q^2
where q is small and tends to Z."""

# Nodes of the table lie at equal steps of log(1 + q^2 / _KNEE): smooth in q^2, and so
# in the cosine, down to 0. At 0.02 / angstrom every form factor is within 0.3 % of Z.
_KNEE = 0.02**2
_NODES = 256
_HIGHEST_SQUARE = (1.01 * HIGHEST_KEV / _HC) ** 2

# Integrals over the sphere are tabulated at this many energies, at equal ratios.
_ENERGIES = 64
_POLAR_NODES = 16
_POLAR_PANELS = 32


def rayleigh_differential(
    substance: str | Material, energy: ArrayLike, cosine: ArrayLike
) -> Float[Array, "*points"]:
    """Coherent scattering per mass and solid angle.

    Differentiable in energy and cosine. Traced values are not checked.

    Args:
        substance: a Material, or what ``material`` takes. Static under ``jit``.
        energy: keV, of a shape that broadcasts with that of ``cosine``.
        cosine: of the angle between the directions before and after.

    Returns:
        cm^2/g/sr; integrates over the sphere to ``tables.rayleigh``.

    Raises:
        ValueError: for an unknown substance, an energy outside 5 to 160 keV, a cosine
            outside -1 to 1.
    """
    return rayleigh(substance, energy) * rayleigh_phase(substance, energy, cosine)


def compton_differential(
    substance: str | Material, energy: ArrayLike, cosine: ArrayLike
) -> Float[Array, "*points"]:
    """Incoherent scattering per mass and solid angle; see ``rayleigh_differential``.

    Returns:
        cm^2/g/sr; integrates over the sphere to ``tables.compton``.
    """
    return compton(substance, energy) * compton_phase(substance, energy, cosine)


def rayleigh_phase(
    substance: str | Material, energy: ArrayLike, cosine: ArrayLike
) -> Float[Array, "*points"]:
    """Where a coherently scattered photon goes, 1/sr: integrates to 1 over the sphere.

    Arguments and errors as ``rayleigh_differential``.
    """
    energy, cosine = _checked(energy, cosine)
    return _rayleigh_phase(_curves(material(substance)), energy, cosine)


def compton_phase(
    substance: str | Material, energy: ArrayLike, cosine: ArrayLike
) -> Float[Array, "*points"]:
    """Where an incoherently scattered photon goes, 1/sr: integrates to 1.

    Arguments and errors as ``rayleigh_differential``.
    """
    energy, cosine = _checked(energy, cosine)
    return _compton_phase(_curves(material(substance)), energy, cosine)


def compton_energy(energy: ArrayLike, cosine: ArrayLike) -> Float[Array, "*points"]:
    """The energy of a photon after Compton scattering by an electron at rest.

    Args:
        energy: keV, before.
        cosine: of the angle between the directions before and after.

    Returns:
        keV, in the shape that the two broadcast to.
    """
    energy, cosine = jnp.asarray(energy, float), jnp.asarray(cosine, float)
    return energy / (1 + energy / ELECTRON_KEV * (1 - cosine))


def element_factors(
    number: int,
) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """F, and S (q^2 + BEND) / q^2, of an element by atomic number, as tabulated."""
    form, incoherent = _scattering_file()
    return form[number - 1].astype(float), incoherent[number - 1].astype(float)


def momentum_nodes() -> Float[np.ndarray, "nodes"]:
    """Momentum transfers of the table, 1/angstrom, rising from 0."""
    steps = np.linspace(0.0, np.log1p(_HIGHEST_SQUARE / _KNEE), _NODES)
    return np.sqrt(_KNEE * np.expm1(steps))


class _Curve(NamedTuple):
    """The logarithm of a smooth function, by cubics between nodes one step apart.

    Attributes:
        coefficients: (nodes - 1, 4), constant first.
    """

    coefficients: Float[Array | np.ndarray, "intervals 4"]

    def __call__(self, place: Float[Array, "*points"]) -> Float[Array, "*points"]:
        """Values of the function at places counted in nodes, within the outermost."""
        count = len(self.coefficients)
        place = jnp.clip(place, 0, count)
        interval = jnp.minimum(place.astype(jnp.int32), count - 1)
        share = place - interval
        a, b, c, d = jnp.moveaxis(jnp.asarray(self.coefficients)[interval], -1, 0)
        return jnp.exp(a + share * (b + share * (c + share * d)))


class _Curves(NamedTuple):
    """What ``_rayleigh_phase`` and ``_compton_phase`` read of one substance.

    Attributes:
        form: F^2 per mass, by momentum transfer.
        incoherent: S (q^2 + BEND) / q^2 per mass, by momentum transfer.
        form_integral: of the shape of Rayleigh scattering over the sphere, by energy.
        incoherent_integral: likewise of Compton scattering.
    """

    form: _Curve
    incoherent: _Curve
    form_integral: _Curve
    incoherent_integral: _Curve


@jax.jit
def _rayleigh_phase(
    curves: _Curves, energy: Float[Array, "*points"], cosine: Float[Array, "*points"]
) -> Float[Array, "*points"]:
    integral = curves.form_integral(_energy_place(energy))
    return _rayleigh_shape(curves.form, energy, cosine) / integral


@jax.jit
def _compton_phase(
    curves: _Curves, energy: Float[Array, "*points"], cosine: Float[Array, "*points"]
) -> Float[Array, "*points"]:
    integral = curves.incoherent_integral(_energy_place(energy))
    return _compton_shape(curves.incoherent, energy, cosine) / integral


def _rayleigh_shape(
    form: _Curve, energy: Float[Array, "*points"], cosine: Float[Array, "*points"]
) -> Float[Array, "*points"]:
    """Thomson's cross section over r_e^2, times F^2 per mass."""
    square = _squared_transfer(energy, cosine)
    return (1 + cosine**2) / 2 * form(_transfer_place(square))


def _compton_shape(
    incoherent: _Curve, energy: Float[Array, "*points"], cosine: Float[Array, "*points"]
) -> Float[Array, "*points"]:
    """Klein and Nishina's cross section over r_e^2, times S per mass."""
    square = _squared_transfer(energy, cosine)
    bound = square / (square + BEND) * incoherent(_transfer_place(square))
    ratio = 1 / (1 + energy / ELECTRON_KEV * (1 - cosine))
    return ratio**2 * (ratio + 1 / ratio - (1 - cosine**2)) / 2 * bound


def _squared_transfer(
    energy: Float[Array, "*points"], cosine: Float[Array, "*points"]
) -> Float[Array, "*points"]:
    """q^2, 1/angstrom^2."""
    return (energy / _HC) ** 2 * (1 - cosine) / 2


def _transfer_place(square: Float[Array, "*points"]) -> Float[Array, "*points"]:
    steps_per_unit = (_NODES - 1) / np.log1p(_HIGHEST_SQUARE / _KNEE)
    return jnp.log1p(square / _KNEE) * steps_per_unit


def _energy_place(energy: Float[Array, "*points"]) -> Float[Array, "*points"]:
    steps_per_unit = (_ENERGIES - 1) / np.log(HIGHEST_KEV / LOWEST_KEV)
    return jnp.log(energy / LOWEST_KEV) * steps_per_unit


def _checked(
    energy: ArrayLike, cosine: ArrayLike
) -> tuple[Float[Array, "*points"], Float[Array, "*points"]]:
    """The two as arrays of one shape."""
    energies, cosines = jnp.asarray(energy, float), jnp.asarray(cosine, float)
    require_energy("energy", energies)
    if is_concrete(cosines):
        concrete = np.asarray(cosines)
        inside = np.abs(concrete) <= 1 + 1e-6  # dot products of float32 unit vectors
        require(
            bool(np.all(inside)),
            "cosine must be between -1 and 1, got "
            f"{concrete[~inside].ravel()[:3].tolist()}; is it an angle?",
        )
    energies, cosines = jnp.broadcast_arrays(energies, cosines)
    return energies, cosines


def _curves(substance: Material) -> _Curves:
    return jax.tree.map(jnp.asarray, _tabulated(substance.composition))


@cache
def _tabulated(composition: tuple[tuple[str, float], ...]) -> _Curves:
    """Curves of a mixture, in double precision."""
    form, incoherent = np.zeros(_NODES), np.zeros(_NODES)
    for symbol, fraction in composition:
        factor, function = element_factors(ELEMENTS[symbol].number)
        form += fraction / ELEMENTS[symbol].weight * factor**2
        incoherent += fraction / ELEMENTS[symbol].weight * function
    shapes = _Curve(_cubics(np.log(form))), _Curve(_cubics(np.log(incoherent)))
    energies = np.geomspace(LOWEST_KEV, HIGHEST_KEV, _ENERGIES)
    cosines, weights = _sphere()
    grid = np.meshgrid(energies, cosines, indexing="ij")
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        points = [jnp.asarray(values) for values in grid]
        values = (
            np.asarray(_rayleigh_shape(shapes[0], *points)),
            np.asarray(_compton_shape(shapes[1], *points)),
        )
    integrals = [_Curve(_cubics(np.log(value @ weights))) for value in values]
    return _Curves(*shapes, *integrals)


def _sphere() -> tuple[np.ndarray, np.ndarray]:
    """Cosines and solid angles whose weighted sum integrates over the sphere.

    Gauss's nodes within panels at equal ratios of 1 - cosine, down to 1e-6, within
    which the shapes, functions of q^2 smooth at the scale of _KNEE, hardly change.
    """
    nodes, shares = np.polynomial.legendre.leggauss(_POLAR_NODES)
    borders = np.concatenate([[0.0], np.geomspace(1e-6, 2.0, _POLAR_PANELS)])
    half = np.diff(borders)[:, None] / 2
    fall = borders[:-1, None] + half * (1 + nodes)
    return 1 - fall.ravel(), (2 * np.pi * half * shares).ravel()


def _cubics(values: np.ndarray) -> np.ndarray:
    """Coefficients (nodes - 1, 4) of Hermite's cubics, with slopes by differences."""
    slopes = np.gradient(values, edge_order=2)
    low, high, rise = slopes[:-1], slopes[1:], np.diff(values)
    return np.stack(
        [values[:-1], low, 3 * rise - 2 * low - high, low + high - 2 * rise], -1
    )


@cache
def _scattering_file() -> tuple[np.ndarray, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "scattering.npz") as file:
        return file["form"], file["incoherent"]
