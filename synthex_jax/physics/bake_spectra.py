"""Makes ``data/tungsten.npz``: ``python -m synthex_jax.physics.bake_spectra``.

SpekPy's unfiltered spectra of a tungsten anode (model "casim") by tube voltage and
take-off angle, divided by the distance to the tube voltage: a spectrum ends there like
a ramp, so what is left is smooth in voltage. The air's energy absorption, which
half-value layers need, comes with it.

SpekPy: R. Bujila, A. Omar, G. Poludniowski, Physica Medica 75 (2020) 44.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthex_jax.physics.spectra import BIN_KEV

# Finer at the low end, where a step of voltage changes the most.
VOLTAGES_KV = (*range(40, 54, 2), 55, 58, 61, *range(65, 151, 5))
# Self-absorption goes with the inverse sine, and so do the steps.
TAKEOFFS_DEG = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 17.0, 22.0, 30.0)


def main() -> None:
    """Write the table beside this file."""
    ramps = np.ones((len(VOLTAGES_KV), len(TAKEOFFS_DEG), len(BIN_KEV)))
    for column, takeoff in enumerate(TAKEOFFS_DEG):
        for row, voltage in reversed(list(enumerate(VOLTAGES_KV))):
            below = voltage > BIN_KEV
            ramps[row, column, below] = _fluence(voltage, takeoff) / (
                voltage - BIN_KEV[below]
            )
            if row + 1 < len(VOLTAGES_KV):  # above its end, as at the next voltage
                ramps[row, column, ~below] = ramps[row + 1, column, ~below]
    path = Path(__file__).parent / "data" / "tungsten.npz"
    np.savez_compressed(
        path,
        voltages=np.array(VOLTAGES_KV, float),
        takeoffs=np.deg2rad(TAKEOFFS_DEG),
        log_ramps=np.log(ramps).astype(np.float32),
        air_absorption=_air_absorption().astype(np.float32),
    )
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def _fluence(voltage: float, takeoff_deg: float) -> np.ndarray:
    """Photons a keV, cm^2 and mAs at 1 m, in the bins below the voltage."""
    import spekpy  # pyright: ignore[reportMissingImports]

    tube = spekpy.Spek(kvp=voltage, th=takeoff_deg, dk=1.0, physics="casim")
    energies, fluence = tube.get_spectrum(edges=False)
    return np.interp(BIN_KEV[voltage > BIN_KEV], energies, fluence)


def _air_absorption() -> np.ndarray:
    """Mass energy-absorption coefficient of air in the bins, cm^2/g."""
    import spekpy  # pyright: ignore[reportMissingImports]

    tube = spekpy.Spek(mu_data_source="nist")
    return tube.muen_air_data.get_muen_over_rho_air(BIN_KEV)


if __name__ == "__main__":
    main()
