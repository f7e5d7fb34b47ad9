"""The front door: from a body, or a scene, and a camera to an image."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.beam import coarse_illumination
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.signal import Illumination, Signal, detected, transmitted
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.projectors.insertion import inserted
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.siddon import Siddon
from synthex_jax.scene import Scene
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


class Paths(NamedTuple):
    """What the rays of a view meet.

    Attributes:
        tissue: (rows, cols, substances), mm through each substance of the body, less
            what tools replace.
        tools: (rows, cols, parts), mm through the parts of the tools.
    """

    tissue: ChannelImage
    tools: Float[Array, "rows cols parts"]


def path_lengths(
    scene: Scene, camera: Camera, *, projector: Joseph | Siddon = Joseph()
) -> Paths:
    """Mm of each ray in the body's substances and in the tools.

    Args:
        scene: with substances, as ``Scene.prepared`` makes it.
        camera: one view.
        projector: how to integrate.
    """
    body = _substances_of(scene)
    tissue = line_integrals(body.fractions, camera, projector=projector)
    if not scene.tools:
        return Paths(tissue, jnp.zeros((*camera.shape, 0), tissue.dtype))
    shapes = [part.shape for part in scene.parts()]
    insertion = inserted(body.fractions, shapes, camera)
    return Paths(tissue - insertion.replaced, insertion.lengths)


def render(
    body: Volume | Composition | Scene,
    camera: Camera,
    simulation: Simulation | None = None,
    *,
    projector: Joseph | Siddon = Joseph(),
    key: PRNGKey | None = None,
) -> Image:
    """An X-ray image as the detector reads it.

    All substances are projected in one pass. Differentiable in everything but the key:
    poses of camera and tools, voxels, spectrum, filters, photons, detector.

    Args:
        body: a CT in HU, which the simulation turns into substances, or the substances
            themselves: ``simulation.tissues.composition(ct)``, worth keeping where
            many views of one CT follow; or a scene with either, and tools.
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
    scene = body if isinstance(body, Scene) else Scene.create(body)
    scene = scene.prepared(simulation.tissues)
    paths = path_lengths(scene, camera, projector=projector)
    return _reading(simulation, scene, camera, paths, key)


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
    body: Composition | Scene,
    camera: Camera,
    simulation: Simulation,
    *,
    projector: Joseph | Siddon = Joseph(),
) -> Signal:
    """The energy that all photons leave in the detector, before it is read.

    Photons scatter in the body; the tools' shadow is in the primary image alone.

    Args:
        body: substances, or a scene with them.
        camera: one view.
        simulation: how the image is made.
        projector: how to integrate.
    """
    scene = body if isinstance(body, Scene) else Scene.create(body)
    paths = path_lengths(scene, camera, projector=projector)
    return _signal(simulation, scene, camera, paths)


@jax.jit
def _signal(
    simulation: Simulation, scene: Scene, camera: Camera, paths: Paths
) -> Signal:
    detector, model = simulation.detector, simulation.scatter
    body = _substances_of(scene)
    light = _light(simulation, camera)
    mu = body.linear_attenuation(light.energies)
    metals = [linear_attenuation(p.material, light.energies) for p in scene.parts()]
    mu = jnp.concatenate([mu, *(metal[:, None] for metal in metals)], axis=-1)
    crossed = jnp.concatenate(paths, axis=-1)
    primary = _straight(
        simulation, replace(light, photons=transmitted(light.photons, crossed, mu))
    )
    if model is None:
        return primary
    coarse = coarse_illumination(simulation.beam, camera, model.shape)
    scattered = model.signal(body, camera, coarse, detector, paths.tissue)
    if detector.grid is not None:
        scattered = scattered.thinned(detector.grid.scatter)
    return primary + scattered


@jax.jit
def _reading(
    simulation: Simulation,
    scene: Scene,
    camera: Camera,
    paths: Paths,
    key: PRNGKey | None,
) -> Image:
    found = _signal(simulation, scene, camera, paths)
    return simulation.detector.read(key, found, camera.pitch)


@jax.jit
def _flat_field(simulation: Simulation, camera: Camera) -> Image:
    simulation = replace(simulation, beam=replace(simulation.beam, collimator=None))
    found = _straight(simulation, _light(simulation, camera))
    return simulation.detector.expected(found, camera.pitch)


def _substances_of(scene: Scene) -> Composition:
    require(
        isinstance(scene.body, Composition),
        "scene must hold substances, this one's body is a CT in HU; prepare it: "
        "scene.prepared(simulation.tissues)",
    )
    assert isinstance(scene.body, Composition)
    return scene.body


def _light(simulation: Simulation, camera: Camera) -> Illumination:
    return simulation.beam.illumination(DetectorPlane.from_camera(camera))


def _straight(simulation: Simulation, light: Illumination) -> Signal:
    """The signal of photons that come straight from the source."""
    detector = simulation.detector
    found = detected(light.photons, detector.response(light.energies))
    return found if detector.grid is None else found.thinned(detector.grid.primary)
