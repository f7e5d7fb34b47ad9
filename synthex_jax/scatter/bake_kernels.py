"""Make data/kernels.npz: what a slab of water scatters of a thin beam.

    python -m synthex_jax.scatter.bake_kernels       # some minutes on two cores

For slabs of several thicknesses (1.6 times as wide, 40 cm long), photon energies and
distances of the slab's middle from the detector: Monte Carlo of a pencil beam at right
angles, and of the kernel, the scattered energy a mm^2 over the energy of the primary
beam behind the slab, the best sum of Gaussians, by least squares, none negative.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtr

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.physics.compounds import material
from synthex_jax.physics.scintillators import PerfectAbsorber
from synthex_jax.physics.signal import Illumination
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.scatter.monte_carlo import monte_carlo
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume

FILE = Path(__file__).parent / "data" / "kernels.npz"

THICKNESSES = np.array([25.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0])
ENERGIES = np.array([30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0])
DISTANCES = np.array([250.0, 350.0, 500.0, 700.0])
WIDTHS = np.array([0.04, 0.12, 0.3, 0.6, 1.2])
"""Standard deviations of the Gaussians over the slab's distance from the detector."""

# Slabs have the proportions of a trunk, and are as long as one, mm: of wider ones
# less scatter leaves at the sides. The source is far away.
_ASPECT, _LENGTH, _SOURCE = 1.6, 400.0, 3000.0
_PIXELS, _DETECTOR = 81, 1215.0
_HISTORIES = 400_000


def main() -> None:
    """Bake the table and say how well the Gaussians fit."""
    shape = (len(THICKNESSES), len(ENERGIES), len(DISTANCES), len(WIDTHS))
    shares = np.zeros(shape)
    residuals = np.zeros(shape[:-1])
    for number, index in enumerate(product(*map(range, shape[:-1]))):
        thickness, energy, distance = (
            float(values[i])
            for values, i in zip((THICKNESSES, ENERGIES, DISTANCES), index, strict=True)
        )
        image = _pencil_beam(jax.random.key(number), thickness, energy, distance)
        shares[index], residuals[index] = _fitted(image, distance)
    np.savez_compressed(
        FILE,
        thicknesses=THICKNESSES,
        energies=ENERGIES,
        distances=DISTANCES,
        widths=WIDTHS,
        shares=shares.astype(np.float32),
    )
    sys.stdout.write(
        f"{FILE}: residual of a kernel over its mean, median {np.median(residuals):.3f}"
        f", largest {residuals.max():.3f}\n"
    )


def _pencil_beam(
    key: jax.Array, thickness: float, energy: float, distance: float
) -> np.ndarray:
    """(rows, cols), energy scattered to a pixel over that behind the slab."""
    affine = np.diag([_ASPECT * thickness, _LENGTH, thickness, 1.0])
    water = Composition(
        Volume(jnp.ones((1, 1, 1, 1)), jnp.asarray(affine)), (material("water"),)
    )
    camera = Camera.create(
        RigidTransform.from_rotation(np.eye(3), [0.0, 0.0, distance - _SOURCE]),
        source_to_detector=_SOURCE,
        pitch=_DETECTOR / _PIXELS,
        shape=(_PIXELS, _PIXELS),
    )
    photons = np.zeros((_PIXELS, _PIXELS, 1))
    photons[_PIXELS // 2, _PIXELS // 2] = 1.0
    illumination = Illumination(jnp.array([energy]), jnp.asarray(photons))
    tally = monte_carlo(
        key, water, camera, illumination, PerfectAbsorber(), histories=_HISTORIES
    )
    depth = float(linear_attenuation("water", energy)) * thickness
    return np.asarray(tally.signal.mean, float) / (energy * np.exp(-depth))


def _fitted(image: np.ndarray, distance: float) -> tuple[np.ndarray, float]:
    """Shares of the Gaussians, and the residual over the kernel, root mean squares."""
    pitch = _DETECTOR / _PIXELS
    edges = (np.arange(_PIXELS + 1) - _PIXELS / 2) * pitch
    columns = []
    for width in WIDTHS * distance:
        inside = np.diff(ndtr(edges / width))
        columns.append(np.outer(inside, inside).ravel())
    basis = np.stack(columns, -1)
    # Noise is that of counts: its variance goes as the kernel, smoothed by symmetry.
    even = np.mean([np.rot90(image, k) for k in range(4)], axis=0)
    weight = 1 / np.sqrt(even.ravel() + 1e-3 * even.max())
    shares, _ = nnls(basis * weight[:, None], image.ravel() * weight)
    residual = np.sqrt(np.mean(((basis @ shares - image.ravel()) * weight) ** 2))
    return shares, float(residual / np.sqrt(np.mean((image.ravel() * weight) ** 2)))


if __name__ == "__main__":
    main()
