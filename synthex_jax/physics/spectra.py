r"""X-ray tube spectra: tungsten anodes from 40 to 150 kVp, filters, half-value layers.

The table holds, by tube voltage $U$ and take-off angle $\theta$, the logarithm of
$\phi(E) / (U - E)$, which is interpolated linearly in $U$ and in $1 / \sin\theta$ (the
way out of the anode). ``physics.bake_spectra`` makes it with SpekPy.

The heel effect is in the take-off angle: a ray at angle $\beta$ to the central one,
towards the cathode, leaves the anode at $\theta + \beta$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import is_concrete, require, require_not_negative
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, at_most, safe_sqrt
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.tables import linear_attenuation, require_energy
from synthex_jax.typing import ArrayLike, Scalar

LOWEST_KVP, HIGHEST_KVP = 40.0, 150.0
LOWEST_TAKEOFF_DEG, HIGHEST_TAKEOFF_DEG = 1.0, 30.0

BIN_KEV = np.arange(5.5, HIGHEST_KVP)
"""(145,), keV: centers of the 1 keV bins of a tube's spectrum."""

# Of the fullest bin's photons: far below what any body would tell.
_LEAST_SHARE = 1e-12

# Newton's method on a convex function, from below: 12 steps from 0 are converged to
# float64 for any spectrum, most after 6.
_NEWTON_STEPS = 12


@noun
@dataclass(frozen=True)
class Spectrum:
    """How many photons at which energies.

    Attributes:
        energies: (bins,), keV.
        fluence: (bins,), photons in the bin: of a tube per cm^2 and mAs, 1 m from the
            focal spot without air; elsewhere in any unit.
    """

    energies: Float[Array, "bins"]
    fluence: Float[Array, "bins"]

    @classmethod
    def create(cls, energies: ArrayLike, fluence: ArrayLike) -> Spectrum:
        """From a table of one's own.

        Raises:
            ValueError: for energies outside 5 to 160 keV, arrays of two lengths, a
                fluence that is negative somewhere or zero everywhere.
        """
        spectrum = cls(
            jnp.asarray(energies, dtype=float), jnp.asarray(fluence, dtype=float)
        )
        require_energy("energies", spectrum.energies)
        require(
            spectrum.energies.ndim == 1
            and spectrum.energies.shape == spectrum.fluence.shape,
            "energies and fluence must be (bins,), got shapes "
            f"{spectrum.energies.shape} and {spectrum.fluence.shape}",
        )
        if is_concrete(spectrum.fluence):
            counts = np.asarray(spectrum.fluence)
            require(
                bool(
                    np.isfinite(counts).all() and (counts >= 0).all() and counts.any()
                ),
                "fluence must be finite, not negative, and not zero everywhere, got "
                f"values from {counts.min()} to {counts.max()}",
            )
        return spectrum

    @classmethod
    def monochromatic(cls, energy: ArrayLike) -> Spectrum:
        """One photon of one energy, keV."""
        return cls.create(jnp.reshape(jnp.asarray(energy, dtype=float), 1), np.ones(1))

    @property
    def mean_energy(self) -> Scalar:
        """(), keV, of a photon."""
        return jnp.sum(self.energies * self.fluence) / jnp.sum(self.fluence)

    def normalized(self) -> Spectrum:
        """The same quality with a fluence that sums to 1."""
        return replace(self, fluence=self.fluence / jnp.sum(self.fluence))

    def binned(self, count: int) -> Spectrum:
        """The same beam in a few bins of equal fluence.

        The spectrum is cut into ``count / 2`` groups of equal fluence, and each becomes
        two bins, one standard deviation of the group's energies below and above their
        mean: Gauss's quadrature of two nodes, which is exact for cubic functions where
        the energies within a group lie symmetrically. Behind up to 30 cm of water and
        3 cm of cortical bone 16 bins carry the energy of the whole spectrum within
        0.2 % from 50 to 140 kVp; one bin a group, at its mean, is 2 % off.

        Differentiable in energies and fluence.

        Args:
            count: of bins, even, static.

        Raises:
            ValueError: for a count that is not even or below 2.
        """
        require(
            count >= 2 and count % 2 == 0,
            f"count must be an even number of bins, at least 2, got {count}",
        )
        return _binned(self, count)

    def photons_per_pixel(
        self, *, mas: ArrayLike, distance: ArrayLike, pitch: ArrayLike
    ) -> Scalar:
        """The photons of a tube's exposure on a pixel at right angles to the beam.

        Args:
            mas: tube current times time, mAs.
            distance: mm from the focal spot to the pixel.
            pitch: mm, one number for square pixels or (height, width).
        """
        sides = jnp.broadcast_to(jnp.asarray(pitch, float), (2,)) / 10
        at_one_meter = jnp.sum(self.fluence) * jnp.asarray(mas) * jnp.prod(sides)
        return at_one_meter * (1000.0 / jnp.asarray(distance)) ** 2

    def filtered(self, *filters: Filter) -> Spectrum:
        """What is left behind filters that the rays cross at right angles.

        Raises:
            ValueError: for a thickness that is negative.
        """
        return replace(
            self, fluence=self.fluence * jnp.exp(-filter_depth(filters, self.energies))
        )


@noun
@dataclass(frozen=True)
class Filter:
    """A sheet in the beam.

    Attributes:
        substance: a Material, or a name, symbol or formula that has a density; static.
        thickness: mm.
    """

    substance: str | Material = field(metadata={"static": True})
    thickness: ArrayLike

    @property
    def name(self) -> str:
        """Of the substance."""
        return (
            self.substance if isinstance(self.substance, str) else self.substance.name
        )


def tungsten(
    kvp: ArrayLike,
    *,
    anode_angle_deg: ArrayLike = 12.0,
    off_axis_deg: ArrayLike = 0.0,
    filtration: Sequence[Filter] = (),
) -> Spectrum:
    """The spectrum of a tube with a tungsten anode.

    Differentiable in voltage, angles and thicknesses. Photons below 5 keV, which no
    tube housing lets out, are left out.

    Args:
        kvp: (), peak tube voltage, 40 to 150.
        anode_angle_deg: (), between the anode's face and the central ray.
        off_axis_deg: (), of the ray from the central one, towards the cathode; towards
            the anode negative, where the heel effect dims and hardens the beam.
        filtration: sheets in the beam, crossed at right angles.

    Raises:
        ValueError: for a voltage outside 40 to 150 kVp, a take-off angle (the sum of
            the two angles) outside 1 to 30 degrees, a negative thickness.
    """
    require_tube(kvp, anode_angle_deg, off_axis_deg, filtration)
    return _behind_filters(
        jnp.asarray(kvp, float),
        jnp.asarray(anode_angle_deg, float) + jnp.asarray(off_axis_deg, float),
        tuple(filtration),
    )


def require_tube(
    kvp: ArrayLike,
    anode_angle_deg: ArrayLike,
    off_axis_deg: ArrayLike,
    filtration: Sequence[Filter],
) -> None:
    """Refuse concrete settings of a tube that ``tungsten`` does not have."""
    _require_between("kvp", kvp, LOWEST_KVP, HIGHEST_KVP, "kVp")
    if is_concrete(anode_angle_deg, off_axis_deg):
        _require_between(
            "anode_angle_deg + off_axis_deg",
            np.asarray(anode_angle_deg) + np.asarray(off_axis_deg),
            LOWEST_TAKEOFF_DEG,
            HIGHEST_TAKEOFF_DEG,
            "degrees",
        )
    for one in filtration:
        material(one.substance)
        thickness = f"thickness of filter {one.name!r}"
        require_not_negative(thickness, one.thickness, "(mm)")


@jax.jit
def _behind_filters(
    kvp: Scalar, takeoff_deg: Scalar, filtration: tuple[Filter, ...]
) -> Spectrum:
    fluence = _unfiltered(kvp, jnp.deg2rad(takeoff_deg))
    energies = jnp.asarray(BIN_KEV, fluence.dtype)
    return Spectrum(energies, fluence).filtered(*filtration)


@partial(jax.jit, static_argnums=1)
def _binned(spectrum: Spectrum, count: int) -> Spectrum:
    fluence = spectrum.fluence
    moved = fluence[:, None] * equal_shares(fluence, count // 2)
    fluence = jnp.sum(moved, axis=0)
    mean = jnp.sum(moved * spectrum.energies[:, None], axis=0) / fluence
    spread = (spectrum.energies[:, None] - mean) ** 2
    deviation = safe_sqrt(jnp.sum(moved * spread, axis=0) / fluence)
    energies = jnp.stack([mean - deviation, mean + deviation], axis=-1)
    return Spectrum(energies.reshape(-1), jnp.repeat(fluence / 2, 2))


def half_value_layer(spectrum: Spectrum, substance: str | Material = "Al") -> Scalar:
    """The thickness that halves the beam's air kerma, differentiable in the spectrum.

    Returns:
        (), mm of the substance.
    """
    mu = linear_attenuation(substance, spectrum.energies)
    kerma = spectrum.fluence * spectrum.energies * _air_absorption(spectrum.energies)

    def newton_step(thickness: Scalar) -> Scalar:
        left = kerma * jnp.exp(-mu * thickness)
        excess = jnp.log(2 * jnp.sum(left) / jnp.sum(kerma))
        slope = jnp.sum(mu * left) / jnp.sum(left)
        return thickness + excess / lax.stop_gradient(slope)

    start = jnp.zeros((), mu.dtype)
    root = lax.fori_loop(0, _NEWTON_STEPS, lambda _, t: newton_step(t), start)
    # One more step from a constant: its derivative is that of the implicit function.
    return newton_step(lax.stop_gradient(root))


def filter_depth(
    filters: Sequence[Filter], energies: Float[Array, "bins"]
) -> Float[Array, "bins"]:
    """Optical depth of filters that the rays cross at right angles.

    Raises:
        ValueError: for a thickness that is negative.
    """
    depth = jnp.zeros_like(energies)
    for one in filters:
        require_not_negative(f"thickness of filter {one.name!r}", one.thickness, "(mm)")
        mu = linear_attenuation(one.substance, energies)
        depth += mu * jnp.asarray(one.thickness)
    return depth


def is_occupied(fluence: Float[Array, "bins"]) -> Bool[Array, "bins"]:
    """Whether a bin counts: the squares of what is less underflow in derivatives."""
    return fluence > _LEAST_SHARE * jnp.max(fluence)


def equal_shares(
    fluence: Float[Array, "bins"], count: int
) -> Float[Array, "bins groups"]:
    """The share of each bin that falls into each of ``count`` groups of equal fluence.

    Groups are consecutive; a bin on a border is split.
    """
    above = jnp.cumsum(fluence)
    below = jnp.concatenate([jnp.zeros_like(above[:1]), above[:-1]])
    borders = above[-1] * jnp.arange(count + 1, dtype=fluence.dtype) / count
    inside = at_most(above[:, None], borders[1:]) - at_least(
        below[:, None], borders[:-1]
    )
    occupied = is_occupied(fluence)
    return jnp.where(
        occupied[:, None],
        at_least(inside, 0.0) / jnp.where(occupied, fluence, 1.0)[:, None],
        0.0,
    )


def _unfiltered(kvp: Scalar, takeoff: Scalar) -> Float[Array, "145"]:
    """Photons a bin, cm^2 and mAs at 1 m, by bilinear interpolation of the table."""
    file = _tungsten_file()
    inverse_sines = jnp.asarray(1 / np.sin(file["takeoffs"]))[::-1]
    row, across = _cell(jnp.asarray(file["voltages"], kvp.dtype), kvp)
    column, along = _cell(inverse_sines, 1 / jnp.sin(takeoff))
    table = jnp.asarray(file["log_ramps"][:, ::-1], kvp.dtype)
    cell = lax.dynamic_slice_in_dim(
        lax.dynamic_slice_in_dim(table, row, 2), column, 2, axis=1
    )
    at_voltage = (1 - across) * cell[0] + across * cell[1]
    log_ramp = (1 - along) * at_voltage[0] + along * at_voltage[1]
    # The part of the ramp U - E that lies in each bin, the last one's being cut.
    above = at_least(kvp - (BIN_KEV - 0.5), 0.0)
    ramp = jnp.where(above < 1, above**2 / 2, above - 0.5)
    return ramp * jnp.exp(log_ramp)


def _cell(nodes: Float[Array, "n"], position: Scalar) -> tuple[Array, Scalar]:
    """The interval of rising nodes that holds a position, and where in it."""
    index = jnp.clip(jnp.searchsorted(nodes, position) - 1, 0, len(nodes) - 2)
    width = nodes[index + 1] - nodes[index]
    return index, (position - nodes[index]) / width


def _air_absorption(energies: Float[Array, "bins"]) -> Float[Array, "bins"]:
    """Mass energy-absorption coefficient of dry air, cm^2/g (NIST)."""
    table = jnp.asarray(np.log(_tungsten_file()["air_absorption"]), energies.dtype)
    nodes = jnp.asarray(np.log(BIN_KEV), energies.dtype)
    return jnp.exp(jnp.interp(jnp.log(energies), nodes, table))


def _require_between(
    name: str, value: ArrayLike, low: float, high: float, unit: str
) -> None:
    if not is_concrete(value):
        return
    concrete = np.asarray(value)
    require(
        concrete.shape == () and bool(low <= concrete <= high),
        f"{name} must be one number between {low:g} and {high:g} {unit}, got "
        f"{concrete.tolist()}",
    )


@cache
def _tungsten_file() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "tungsten.npz") as file:
        return dict(file)
