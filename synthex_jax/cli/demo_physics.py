"""The demonstration's physics: three tiers of one view, and numbers behind them."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from synthex_jax import viz
from synthex_jax.cli.stage import Outcome, Row, Stage
from synthex_jax.exposure import automatic_exposure
from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.spectra import Filter, half_value_layer, tungsten
from synthex_jax.processing import display, log_image
from synthex_jax.rendering import flat_field, render, signal
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.simulation import Simulation, heuristic, naive, realistic
from synthex_jax.typing import Image

_KVP, _ALUMINUM = 90.0, (Filter("Al", 4.0),)
# A pixel behind the body: of a radiograph at a low dose.
_QUANTA = 800.0


def tiers(stage: Stage) -> Outcome:
    """Naive, heuristic and realistic images of the pelvis side by side."""
    camera = stage.views(stage.pelvis)[0]
    images = {}
    for name, simulation in (("naive", naive()), ("heuristic", heuristic())):
        raw = render(stage.patient.ct, camera, simulation)
        images[name] = log_image(raw, flat_field(camera, simulation), floor=1e-30)
    logged, simulation = radiograph(stage, camera)
    images["realistic"] = logged
    images["realistic, as displayed"] = display(logged)
    sheet = viz.contact_sheet(list(images.values()), list(images), columns=2)

    body = simulation.tissues.composition(stage.patient.ct)
    both = signal(body, camera, simulation)
    primary = signal(body, camera, replace(simulation, scatter=None))
    ratio = jnp.median((both.mean - primary.mean) / primary.mean)
    beam = tungsten(_KVP, filtration=_ALUMINUM)
    rows = [
        Row("physics: mean energy, 90 kVp, 4 mm Al", float(beam.mean_energy), "keV"),
        Row("physics: half-value layer", float(half_value_layer(beam)), "mm Al"),
        Row(
            "physics: photons without a body", float(simulation.beam.photons), "a pixel"
        ),
        Row("physics: scatter to primary behind the grid", float(ratio), ""),
    ]
    return Outcome([stage.save(sheet, "tiers.png")], rows)


def radiograph(stage: Stage, camera: Camera) -> tuple[Image, Simulation]:
    """(rows, cols), attenuation of the pelvis as a detector sees it; how it was made.

    With a tube's spectrum, scatter, noise and automatic exposure.
    """
    simulation = realistic(_KVP, filtration=_ALUMINUM, scatter=KernelScatter())
    body = simulation.tissues.composition(stage.patient.ct)
    simulation = automatic_exposure(body, camera, simulation, quanta=_QUANTA)
    raw = render(body, camera, simulation, key=jax.random.key(0))
    return log_image(raw, flat_field(camera, simulation), floor=1.0), simulation
