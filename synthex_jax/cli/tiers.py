"""From the options of a command to a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from synthex_jax.checks import require
from synthex_jax.exposure import automatic_exposure
from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.spectra import Filter
from synthex_jax.processing import display, log_image
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.rendering import flat_field, render
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.scatter.single import SingleScatter
from synthex_jax.simulation import Simulation, heuristic, naive, realistic
from synthex_jax.volumes.tissues import Tissues, holds_metal
from synthex_jax.volumes.volume import Volume

DEFAULT_KEV, DEFAULT_KVP, DEFAULT_FILTRATION = 60.0, 90.0, ("Al 4",)

# Below what any body lets through, and above the smallest float32.
_LEAST_TRANSMISSION = 1e-30


@dataclass(frozen=True)
class Tier:
    """Options of a simulation that were given; None where they were not.

    Attributes:
        name: naive, heuristic or realistic.
        energy: keV, of the first two.
        kvp, filtration, photons, scatter, metal: of the last.
        seed: of the noise of the last.
    """

    name: str
    energy: float | None
    kvp: float | None
    filtration: Sequence[str] | None
    photons: float | None
    scatter: str | None
    metal: str | None
    seed: int | None

    def require_consistent(self) -> None:
        """Refuse options of another tier.

        Raises:
            ValueError: that names them.
        """
        real = ("kvp", "filtration", "photons", "scatter", "metal", "seed")
        options, others = (
            (("energy",), "naive and heuristic")
            if self.name == "realistic"
            else (real, "realistic")
        )
        given = [f"--{name}" for name in options if getattr(self, name) is not None]
        require(
            not given,
            f"{', '.join(given)} is for --tier {others}, not for --tier {self.name}",
        )
        parse_filters(self.filtration or ())

    def simulation(self, ct: Volume) -> Simulation:
        """What the options ask for, before any automatic exposure.

        Raises:
            ValueError: for values that the simulation refuses.
        """
        energy = DEFAULT_KEV if self.energy is None else self.energy
        if self.name == "naive":
            return naive(energy)
        if self.name == "heuristic":
            return heuristic(energy)
        metal = self.metal
        if metal is None:
            metal = "titanium" if holds_metal(ct) else "none"
        models = {None: None, "kernel": KernelScatter(), "single": SingleScatter()}
        return realistic(
            DEFAULT_KVP if self.kvp is None else self.kvp,
            filtration=parse_filters(self.filtration or DEFAULT_FILTRATION),
            photons=1e4 if self.photons is None else self.photons,
            scatter=models[self.scatter],
            tissues=Tissues.create(metal=None if metal == "none" else metal),
        )

    def image(
        self, ct: Volume, camera: Camera, projector: Joseph, step: str
    ) -> tuple[np.ndarray, str]:
        """The image after a step of processing, and a line that says how it was made.

        Args:
            ct: HU.
            camera: the view.
            projector: how to integrate.
            step: "raw", "log" or "display".
        """
        simulation = self.simulation(ct)
        body = simulation.tissues.composition(ct)
        key, floor = None, _LEAST_TRANSMISSION
        if self.name == "realistic":
            key, floor = jax.random.key(self.seed or 0), 1.0
            if self.photons is None:
                simulation = automatic_exposure(
                    body, camera, simulation, projector=projector
                )
        raw = render(body, camera, simulation, projector=projector, key=key)
        line = self._described(simulation, [s.name for s in body.substances])
        if step == "raw":
            return np.asarray(raw), line
        image = log_image(raw, flat_field(camera, simulation), floor=floor)
        return np.asarray(display(image) if step == "display" else image), line

    def _described(self, simulation: Simulation, substances: Sequence[str]) -> str:
        beam = simulation.beam
        mean = f"{float(beam.spectrum.mean_energy):.1f} keV"
        if self.name != "realistic":
            return f"{self.name}: {mean}, {', '.join(substances)}"
        exposure = "automatic exposure" if self.photons is None else "as asked"
        return (
            f"realistic: {DEFAULT_KVP if self.kvp is None else self.kvp:g} kVp behind "
            f"{', '.join(self.filtration or DEFAULT_FILTRATION)} mm, mean {mean}; "
            f"{float(beam.photons):.3g} photons a pixel ({exposure}); "
            f"{', '.join(substances)}; scatter: {self.scatter or 'none'}"
        )


def parse_filters(texts: Sequence[str]) -> tuple[Filter, ...]:
    """Filters from texts like "Al 4": a substance and mm.

    Raises:
        ValueError: for a text of another form.
    """
    filters = []
    for text in texts:
        substance, _, thickness = text.strip().rpartition(" ")
        try:
            mm = float(thickness)
        except ValueError:
            mm = float("nan")
        require(
            bool(substance) and np.isfinite(mm),
            "--filtration must be substances with mm, as 'Al 4' 'Cu 0.1', got "
            f"{text!r}",
        )
        filters.append(Filter(substance.strip(), mm))
    return tuple(filters)
