"""Scatter models beside the package's Monte Carlo, on phantoms of water, bone and air.

    python benchmarks/scatter.py                       # some five minutes on two cores
    python benchmarks/scatter.py --histories 500000    # quick, and noisy

A C-arm's geometry: 1020 mm from source to detector, the phantom's middle at 600 mm, a
detector of 300 mm with 16 x 16 pixels; 60 keV, and 90 kVp behind 4 mm of aluminum.
NRMSE is the root mean square of the difference over the Monte Carlo's mean; "noise" is
that of the Monte Carlo itself, which is part of it. "first / MC 1" compares the first
order alone. Prints a table and writes it as JSON where asked to.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import synthex_jax as sx
from synthex_jax.physics.beam import coarse_illumination
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.scintillators import PerfectAbsorber
from synthex_jax.physics.signal import Illumination
from synthex_jax.scatter.monte_carlo import Tally, monte_carlo

# Mm a voxel of the phantoms. The Monte Carlo takes voxels for boxes, the models
# interpolate: at 10 mm half a voxel of water in the open beam is a quarter of what the
# half slab scatters.
_SPACING = 5.0
_WIDE, _DEEP = 68, 48  # voxels


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Scatter models beside Monte Carlo.")
    parser.add_argument("--histories", type=int, default=4_000_000, help="a case (4e6)")
    parser.add_argument("--out", type=Path, help="JSON file; its folder must exist")
    options = parser.parse_args()
    print(
        f"{'phantom':28s} {'beam':7s} {'SPR':>5s} {'noise':>6s} {'first / MC 1':>13s} "
        f"{'NRMSE 1':>8s} {'single':>7s} {'kernels':>8s}"
    )
    rows = []
    for beam_name, beam in beams().items():
        for name, body in phantoms().items():
            row = compared(body, beam, options.histories)
            rows.append({"phantom": name, "beam": beam_name, **row})
            print(
                f"{name:28s} {beam_name:7s} {row['spr']:5.2f} {row['noise']:6.1%} "
                f"{row['first_ratio']:13.3f} {row['first_nrmse']:8.1%} "
                f"{row['single_nrmse']:7.1%} {row['kernel_nrmse']:8.1%}"
            )
    seconds = {name: cost(model) for name, model in models().items()}
    print("\nseconds a view, 4 energies, 16 x 16 pixels, compiled")
    for name, taken in seconds.items():
        print(f"  {name:8s} {taken:.3f}")
    if options.out:
        record = {"device": jax.devices()[0].device_kind, "rows": rows}
        record |= {"histories": options.histories, "seconds": seconds}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def camera() -> sx.Camera:
    """The view of all cases."""
    return sx.CArm.create(
        source_to_detector=1020.0,
        source_to_isocenter=600.0,
        pitch=300.0 / 16,
        shape=(16, 16),
    ).at()


def beams() -> dict[str, sx.Beam]:
    """One energy, and a spectrum in eight."""
    aluminum = [sx.Filter("Al", 4.0)]
    return {
        "60 keV": sx.Beam.monochromatic(60.0),
        "90 kVp": sx.Beam.tungsten(90.0, photons=1.0, filtration=aluminum, bins=8),
    }


def models() -> dict[str, sx.SingleScatter | sx.KernelScatter]:
    """As they come."""
    return {"single": sx.SingleScatter(), "kernels": sx.KernelScatter()}


def phantoms() -> dict[str, sx.Composition]:
    """Bodies of water (1), bone (2) and air (0), across the beam along y."""
    counts = np.array([_WIDE, _DEEP, _WIDE])
    x, y, z = (np.indices(counts) - (counts - 1).reshape(3, 1, 1, 1) / 2) * _SPACING

    def body(*parts: tuple[np.ndarray, float]) -> sx.Composition:
        """Later parts replace what earlier ones put there; 0.26 is lung."""
        kinds = np.zeros(counts)
        for where, kind in parts:
            kinds[where] = kind
        shares = np.stack([np.where(kinds == 2, 0.0, kinds), kinds == 2], -1)
        volume = sx.Volume.from_array(shares.astype(np.float32), spacing=_SPACING)
        return sx.Composition.create(volume, ("water", "cortical bone"))

    slab = np.abs(y) < 100
    trunk = (x / 160) ** 2 + (y / 105) ** 2 < 1
    rod = (np.abs(x - 55) < 20) & (np.abs(y) < 30)
    hole = (np.abs(x + 55) < 20) & (np.abs(y) < 40)
    spine = (np.abs(x) < 20) & (np.abs(y + 60) < 25)
    lungs = ((np.abs(x) - 75) / 45) ** 2 + (y / 70) ** 2 < 1
    hips = (np.abs(np.abs(x) - 90) < 25) & (np.abs(y) < 30) & (z < 40)
    bowel = ((x - 20) / 30) ** 2 + ((y - 40) / 20) ** 2 < 1
    return {
        "slab 20 cm": body((slab, 1)),
        "step 10 / 20 cm": body((slab & ((x > 0) | (np.abs(y) < 50)), 1)),
        "half a slab, edge in field": body((slab & (x < 0), 1)),
        "trunk": body((trunk, 1)),
        "slab with bone and air": body((slab, 1), (rod, 2), (hole, 0)),
        "chest: lungs and spine": body((trunk, 1), (lungs, 0.26), (spine, 2)),
        "pelvis: hips and bowel gas": body((trunk, 1), (hips, 2), (bowel, 0)),
    }


def compared(body: sx.Composition, beam: sx.Beam, histories: int) -> dict[str, float]:
    """Errors of the models on one phantom."""
    view = camera()
    light = beam.illumination(DetectorPlane.from_camera(view))
    tally = monte_carlo(
        jax.random.key(0), body, view, light, PerfectAbsorber(), histories=histories
    )
    truth, first = (np.asarray(i) for i in (tally.signal.mean, tally.by_order[0]))
    once = scattered(sx.SingleScatter(orders=1), body, beam)
    found = {name: scattered(model, body, beam) for name, model in models().items()}
    return {
        "spr": spr(body, light, truth),
        "noise": noise(tally),
        "first_ratio": float(once.sum() / first.sum()),
        "first_nrmse": nrmse(once, first),
        "single_nrmse": nrmse(found["single"], truth),
        "kernel_nrmse": nrmse(found["kernels"], truth),
    }


def scattered(
    model: sx.SingleScatter | sx.KernelScatter, body: sx.Composition, beam: sx.Beam
) -> np.ndarray:
    """A model's image, keV a pixel."""
    return np.asarray(image_of(model, body, beam)())


def image_of(
    model: sx.SingleScatter | sx.KernelScatter, body: sx.Composition, beam: sx.Beam
) -> Callable[[], jax.Array]:
    """What computes a model's image."""
    view = camera()
    lengths = sx.line_integrals(body.fractions, view)
    light = coarse_illumination(beam, view, model.shape)
    return lambda: model.signal(body, view, light, PerfectAbsorber(), lengths).mean


def spr(body: sx.Composition, light: Illumination, truth: np.ndarray) -> float:
    """Scatter to primary in the middle of the detector, by energy."""
    lengths = sx.line_integrals(body.fractions, camera())
    mu = body.linear_attenuation(light.energies)
    left = light.photons * np.exp(-np.asarray(lengths) @ np.asarray(mu).T)
    primary = np.asarray((left * light.energies).sum(-1))
    middle = (slice(6, 10), slice(6, 10))
    return float(truth[middle].mean() / primary[middle].mean())


def noise(tally: Tally) -> float:
    """Root mean square of the Monte Carlo's standard error over its mean."""
    error = np.asarray(tally.standard_error)
    return float(np.sqrt(np.mean(error**2)) / np.asarray(tally.signal.mean).mean())


def nrmse(image: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the difference over the mean."""
    return float(np.sqrt(np.mean((image - truth) ** 2)) / truth.mean())


def cost(model: sx.SingleScatter | sx.KernelScatter) -> float:
    """Seconds of a view, the least of three after the one that compiles."""
    beam = sx.Beam.tungsten(90.0, photons=1.0, bins=4)
    call = image_of(model, phantoms()["trunk"], beam)
    jax.block_until_ready(call())
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
