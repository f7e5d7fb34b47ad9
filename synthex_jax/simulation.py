"""Simulation: how an X-ray image is made, from naive to realistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.physics.antiscatter import AntiscatterGrid
from synthex_jax.physics.beam import Beam, Side
from synthex_jax.physics.collimators import Collimator
from synthex_jax.physics.detectors import Detector, FlatPanel, IdealDetector
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.shaped_filters import ShapedFilter
from synthex_jax.physics.signal import Illumination, Signal
from synthex_jax.physics.spectra import Filter
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.typing import ArrayLike, ChannelImage, Shape2
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.thresholds import SingleMaterial, Thresholds
from synthex_jax.volumes.tissues import Tissues
from synthex_jax.volumes.volume import Volume

# A body scatters some light into the open field; the panel is not to clip there.
_HEADROOM = 1.5

# Peak voltage and mm of aluminum by DeepDRR's names of its spectra.
_DEEPDRR_BEAMS = {
    "60KV_AL35": (60.0, 3.5),
    "90KV_AL40": (90.0, 4.0),
    "120KV_AL43": (120.0, 4.3),
}


@runtime_checkable
class Decomposition(Protocol):
    """What a Simulation asks of its way from HU to substances."""

    def composition(self, ct: Volume) -> Composition:
        """What a CT in HU consists of."""
        ...


@runtime_checkable
class Scatter(Protocol):
    """What a Simulation asks of a model of scattered photons.

    Attributes:
        shape: pixels of the coarse detector that it computes on.
    """

    @property
    def shape(self) -> Shape2:
        """(rows, cols) of the coarse detector."""
        ...

    def signal(
        self,
        composition: Composition,
        camera: Camera,
        illumination: Illumination,
        absorber: Absorber,
        path_lengths: ChannelImage,
    ) -> Signal:
        """The scattered signal in the camera's pixels."""
        ...


@noun
@dataclass(frozen=True)
class Simulation:
    """How an X-ray image is made; all of it differentiable.

    ``naive``, ``heuristic``, ``realistic`` and ``deepdrr`` make the common ones, and
    ``dataclasses.replace`` exchanges a part.

    Attributes:
        tissues: from HU to substances.
        beam: the photons, and where they go.
        scatter: the model of scattered photons, or None.
        detector: from photons to the image.
    """

    tissues: Decomposition
    beam: Beam
    scatter: Scatter | None
    detector: Detector


def naive(energy: ArrayLike = 60.0) -> Simulation:
    """One energy, one material, no noise: the image is the transmission.

    Args:
        energy: keV.

    Raises:
        ValueError: for an energy outside 5 to 160 keV.
    """
    return _monochromatic(energy, SingleMaterial.create())


def heuristic(energy: ArrayLike = 60.0, *, lowest: ArrayLike = -130.0) -> Simulation:
    """As ``naive`` with nothing left of what is below a threshold.

    Args:
        energy: keV.
        lowest: HU; xReg's simulated fluoroscopy of the hip takes -130.

    Raises:
        ValueError: for an energy outside 5 to 160 keV.
    """
    return _monochromatic(energy, SingleMaterial.create(lowest=lowest))


def _monochromatic(energy: ArrayLike, tissues: SingleMaterial) -> Simulation:
    beam = Beam.monochromatic(energy, falloff=0.0)
    detector = IdealDetector.create(gain=1 / beam.spectrum.energies[0])
    return Simulation(tissues, beam, None, detector)


def realistic(
    kvp: ArrayLike = 90.0,
    *,
    photons: ArrayLike = 2e4,
    filtration: Sequence[Filter] = (Filter("Al", 4.0),),
    anode: Side | None = "top",
    shaped: Sequence[ShapedFilter] = (),
    collimator: Collimator | None = None,
    bins: int = 16,
    tissues: Decomposition | None = None,
    scatter: Scatter | None = KernelScatter(),
    detector: Detector | None = None,
) -> Simulation:
    """A tube's spectrum, tissues, scatter, and a detector with noise.

    Args:
        kvp: (), peak tube voltage, 40 to 150.
        photons: a pixel on the central ray without a body.
        filtration: flat sheets in the beam.
        anode: the side of the image that dims by the heel effect; C-arms have their
            tube along the patient.
        shaped: bow-ties and wedges.
        collimator: what limits the field.
        bins: of the spectrum, static.
        tissues: from HU to substances; by default ``Tissues.create()``.
        scatter: ``KernelScatter`` is fast, ``SingleScatter`` accurate, None leaves
            scatter out.
        detector: by default a flat panel of cesium iodide behind a grid, whose scale
            ends at one and a half times the unattenuated beam.

    Raises:
        ValueError: as ``Beam.tungsten``.
    """
    beam = Beam.tungsten(
        kvp,
        photons=photons,
        filtration=filtration,
        anode=anode,
        shaped=shaped,
        collimator=collimator,
        bins=bins,
    )
    if detector is None:
        detector = _panel(beam)
    return Simulation(tissues or Tissues.create(), beam, scatter, detector)


def _panel(beam: Beam) -> FlatPanel:
    """One whose scale fits a beam."""
    grid = AntiscatterGrid.typical()
    panel = FlatPanel.csi(full_scale=1.0, grid=grid)
    left = panel.response(beam.spectrum.energies).first
    full = beam.photons * jnp.sum(beam.spectrum.fluence * left) * grid.primary
    return FlatPanel.csi(full_scale=_HEADROOM * full, grid=grid)


def deepdrr(
    spectrum: str = "90KV_AL40",
    *,
    photons: ArrayLike = 1e4,
) -> Simulation:
    """The settings of DeepDRR (Unberath et al. 2018), for those who come from there.

    The image is its intensity, keV a photon; ``deepdrr_normalized`` makes its default
    picture. Its materials and densities by threshold are ``Thresholds.deepdrr()``.
    Three things differ: the spectra are SpekPy's of the same voltage and filter, whose
    half-value layers are 2 to 5 % less than those of DeepDRR's tables; noise has the
    variance of photons of many energies; and voxels lie where the affine says.

    Args:
        spectrum: tube voltage and mm of aluminum, by DeepDRR's names.
        photons: a pixel without a body.

    Raises:
        ValueError: for another spectrum, photons that are not positive.
    """
    require(
        spectrum in _DEEPDRR_BEAMS,
        f"spectrum must be one of {', '.join(_DEEPDRR_BEAMS)}, got {spectrum!r}; "
        "realistic() takes any voltage and filter",
    )
    kvp, aluminum = _DEEPDRR_BEAMS[spectrum]
    beam = Beam.tungsten(
        kvp, photons=photons, filtration=(Filter("Al", aluminum),), falloff=0.0
    )
    detector = IdealDetector.create(gain=1 / beam.photons)
    return Simulation(Thresholds.deepdrr(), beam, None, detector)
