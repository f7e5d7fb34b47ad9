"""Automatic exposure: as many photons as the body in the beam needs."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import require_positive
from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import at_least
from synthex_jax.physics.signal import Signal
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.siddon import Siddon
from synthex_jax.rendering import signal
from synthex_jax.scene import Scene
from synthex_jax.simulation import Simulation
from synthex_jax.typing import ArrayLike, Image, PRNGKey, Scalar
from synthex_jax.volumes.composition import Composition

# The part of each side of the image that sets the exposure, as the middle chamber of a
# radiography unit does.
_FIELD = 0.5

# Behind the body, of the converter's range: room for lungs and bowel gas, while open
# beam may reach the end of the scale.
_LEVEL = 1 / 16


def automatic_exposure(
    body: Composition | Scene,
    camera: Camera,
    simulation: Simulation,
    *,
    quanta: ArrayLike = 1000.0,
    projector: Joseph | Siddon = Joseph(),
) -> Simulation:
    """The simulation with the photons, and the gain, that a body and a view need.

    Units regulate the dose at the detector, not that of the tube: behind 40 cm of
    tissue they send ten thousand times the photons that arrive. Differentiable, and
    one example: views of a batch get an exposure each under ``jax.vmap``.

    Args:
        body: substances, or a scene with them.
        camera: one view.
        simulation: its photons and its detector's gain are replaced.
        quanta: a pixel, as the noise counts them (mean squared over variance), median
            of the middle half of the field. At 30,000 photons a square millimeter and
            microgray, fluoroscopy has 20 to 300 in pixels of 0.4 mm, a radiograph
            some thousands.
        projector: how to integrate.

    Returns:
        A simulation in which the same field reads a sixteenth of the converter's range,
        or as before where the detector has no converter.

    Raises:
        ValueError: for quanta that are not positive.
    """
    require_positive("quanta", quanta, "(a pixel)")
    found = signal(body, camera, simulation, projector=projector)
    return _regulated(simulation, found, camera, jnp.asarray(quanta))[0]


def exposed(
    key: PRNGKey | None,
    body: Composition | Scene,
    camera: Camera,
    simulation: Simulation,
    *,
    quanta: ArrayLike = 1000.0,
    projector: Joseph | Siddon = Joseph(),
) -> tuple[Image, Simulation]:
    """An image under automatic exposure, of one projection for both.

    Args:
        key: for the noise; None for the mean image.
        body: substances, or a scene with them.
        camera: one view.
        simulation: as ``automatic_exposure`` takes it.
        quanta: a pixel, see there.
        projector: how to integrate.

    Returns:
        (rows, cols) raw values as ``render`` would give them, and the regulated
        simulation, whose flat field they are to be divided by.

    Raises:
        ValueError: for quanta that are not positive.
    """
    require_positive("quanta", quanta, "(a pixel)")
    found = signal(body, camera, simulation, projector=projector)
    regulated, factor = _regulated(simulation, found, camera, jnp.asarray(quanta))
    # Of photons, mean and variance grow alike.
    more = found.thinned(factor)
    return regulated.detector.read(key, more, camera.pitch), regulated


def _regulated(
    simulation: Simulation, found: Signal, camera: Camera, quanta: Scalar
) -> tuple[Simulation, Scalar]:
    """The simulation with its photons multiplied, and by what."""
    reading = simulation.detector.expected(found, camera.pitch)
    # Where nothing arrives, as outside of a collimator, nothing counts.
    now = _middle(found.mean**2 / at_least(found.variance, jnp.finfo(float).tiny))
    factor = quanta / now
    level, bits = _middle(reading), simulation.detector.bits
    wanted = level if bits is None else _LEVEL * (2.0**bits - 1)
    detector = simulation.detector
    regulated = replace(
        simulation,
        beam=replace(simulation.beam, photons=simulation.beam.photons * factor),
        detector=replace(  # a dataclass, which a protocol cannot ask for
            detector,  # pyright: ignore[reportArgumentType]
            gain=detector.gain * wanted / (level * factor),
        ),
    )
    return regulated, factor


def _middle(image: Image) -> Scalar:
    """The median of the middle of an image."""
    margins = [int(np.floor(n * (1 - _FIELD) / 2)) for n in image.shape]
    rows, cols = (slice(m, n - m) for m, n in zip(margins, image.shape, strict=True))
    return jnp.median(image[rows, cols])
