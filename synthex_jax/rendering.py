"""The front door: from a volume and a camera to an image."""

from __future__ import annotations

from dataclasses import replace

import jax

from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.beam import coarse_illumination
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.signal import Illumination, Signal, detected, transmitted
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.siddon import Siddon
from synthex_jax.simulation import Simulation, naive
from synthex_jax.typing import ChannelImage, Image, PRNGKey
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume


def line_integrals(
    volume: Volume, camera: Camera, *, projector: Joseph | Siddon = Joseph()
) -> ChannelImage:
    """Integrals of a volume along the rays from the source to each pixel center.

    Differentiable in the volume's data and affine and in everything of the camera.

    Args:
        volume: (nx, ny, nz) or (nx, ny, nz, channels) samples a mm.
        camera: one view; ``jax.vmap`` over cameras for a batch.
        projector: how to integrate.

    Returns:
        (rows, cols) or (rows, cols, channels); for a volume in 1/mm without unit.
    """
    return projector.project(volume, camera)


def render(
    body: Volume | Composition,
    camera: Camera,
    simulation: Simulation | None = None,
    *,
    projector: Joseph | Siddon = Joseph(),
    key: PRNGKey | None = None,
) -> Image:
    """An X-ray image as the detector reads it.

    All substances are projected in one pass. Differentiable in everything but the key:
    pose, voxels, spectrum, filters, photons, detector.

    Args:
        body: a CT in HU, which the simulation turns into substances, or the substances
            themselves: ``simulation.tissues.composition(ct)``, worth keeping where
            many views of one CT follow.
        camera: one view; ``jax.vmap`` over cameras, and keys, for a batch.
        simulation: ``naive()`` by default; ``heuristic()``, ``realistic()``, ...
        projector: how to integrate.
        key: for the noise; without one the image is the mean that noise has.

    Returns:
        (rows, cols) raw values: transmission for ``naive()``, digital units of the
        panel for ``realistic()``. ``log_image`` and ``display`` go on from there.

    Raises:
        ValueError: for voxels that cannot be HU.

    Example:
        >>> import jax.numpy as jnp, synthex_jax as sx
        >>> water = sx.Volume.from_array(jnp.zeros((20, 20, 20)), spacing=10.0)
        >>> camera = sx.CArm.generic().resized((3, 3)).at()
        >>> round(float(sx.render(water, camera)[1, 1]), 4)  # exp(-200 mm of water)
        0.0164
    """
    simulation = naive() if simulation is None else simulation
    if isinstance(body, Volume):
        body = simulation.tissues.composition(body)
    path_lengths = line_integrals(body.fractions, camera, projector=projector)
    return _reading(simulation, body, camera, path_lengths, key)


def flat_field(camera: Camera, simulation: Simulation | None = None) -> Image:
    """The mean image without a body and without a collimator.

    As detectors are calibrated: ``log_image`` divides by it.

    Args:
        camera: one view; only its detector matters.
        simulation: ``naive()`` by default.

    Returns:
        (rows, cols), in the units of ``render``, neither clipped nor rounded.
    """
    return _flat_field(naive() if simulation is None else simulation, camera)


def signal(
    body: Composition,
    camera: Camera,
    simulation: Simulation,
    *,
    projector: Joseph | Siddon = Joseph(),
) -> Signal:
    """The energy that all photons leave in the detector, before it is read.

    Args:
        body: substances.
        camera: one view.
        simulation: how the image is made.
        projector: how to integrate.
    """
    path_lengths = line_integrals(body.fractions, camera, projector=projector)
    return _signal(simulation, body, camera, path_lengths)


@jax.jit
def _signal(
    simulation: Simulation,
    body: Composition,
    camera: Camera,
    path_lengths: ChannelImage,
) -> Signal:
    detector, model = simulation.detector, simulation.scatter
    light = _light(simulation, camera)
    mu = body.linear_attenuation(light.energies)
    left = transmitted(light.photons, path_lengths, mu)
    primary = _straight(simulation, replace(light, photons=left))
    if model is None:
        return primary
    coarse = coarse_illumination(simulation.beam, camera, model.shape)
    scattered = model.signal(body, camera, coarse, detector, path_lengths)
    if detector.grid is not None:
        scattered = scattered.thinned(detector.grid.scatter)
    return primary + scattered


@jax.jit
def _reading(
    simulation: Simulation,
    body: Composition,
    camera: Camera,
    path_lengths: ChannelImage,
    key: PRNGKey | None,
) -> Image:
    found = _signal(simulation, body, camera, path_lengths)
    return simulation.detector.read(key, found, camera.pitch)


@jax.jit
def _flat_field(simulation: Simulation, camera: Camera) -> Image:
    simulation = replace(simulation, beam=replace(simulation.beam, collimator=None))
    found = _straight(simulation, _light(simulation, camera))
    return simulation.detector.expected(found, camera.pitch)


def _light(simulation: Simulation, camera: Camera) -> Illumination:
    return simulation.beam.illumination(DetectorPlane.from_camera(camera))


def _straight(simulation: Simulation, light: Illumination) -> Signal:
    """The signal of photons that come straight from the source."""
    detector = simulation.detector
    found = detected(light.photons, detector.response(light.energies))
    return found if detector.grid is None else found.thinned(detector.grid.primary)
