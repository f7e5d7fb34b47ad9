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
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.tables import linear_attenuation, require_energy
from synthex_jax.typing import ArrayLike, Scalar

LOWEST_KVP, HIGHEST_KVP = 40.0, 150.0
LOWEST_TAKEOFF_DEG, HIGHEST_TAKEOFF_DEG = 1.0, 30.0

BIN_KEV = np.arange(5.5, HIGHEST_KVP)
"""(145,), keV: centers of the 1 keV bins of a tube's spectrum."""

# Newton's method on a convex function, from below: 12 steps from 0 are converged to
# float64 for any spectrum, most after 6.
_NEWTON_STEPS = 12


@jax.tree_util.register_dataclass
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

    def filtered(self, *filters: Filter) -> Spectrum:
        """What is left behind filters that the rays cross at right angles.

        Raises:
            ValueError: for a thickness that is negative.
        """
        depth = jnp.zeros_like(self.energies)
        for one in filters:
            if is_concrete(one.thickness):
                require(
                    bool(np.all(np.asarray(one.thickness) >= 0)),
                    f"thickness of filter {one.name!r} must not be negative (mm), "
                    f"got {one.thickness}",
                )
            mu = linear_attenuation(one.substance, self.energies)
            depth += mu * jnp.asarray(one.thickness)
        return replace(self, fluence=self.fluence * jnp.exp(-depth))


@jax.tree_util.register_dataclass
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
    takeoff_deg = jnp.asarray(anode_angle_deg, float) + jnp.asarray(off_axis_deg, float)
    _require_between("kvp", kvp, LOWEST_KVP, HIGHEST_KVP, "kVp")
    _require_between(
        "anode_angle_deg + off_axis_deg",
        takeoff_deg,
        LOWEST_TAKEOFF_DEG,
        HIGHEST_TAKEOFF_DEG,
        "degrees",
    )
    fluence = _unfiltered(jnp.asarray(kvp, float), jnp.deg2rad(takeoff_deg))
    energies = jnp.asarray(BIN_KEV, fluence.dtype)
    return Spectrum(energies, fluence).filtered(*filtration)


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
    above = jnp.maximum(kvp - (BIN_KEV - 0.5), 0.0)
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
