"""synthex_jax: a differentiable X-ray simulator, from CT to labelled radiographs.

The names below are the front door; heavy modules load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from synthex_jax._version import __version__

if TYPE_CHECKING:
    from synthex_jax import phantoms as phantoms
    from synthex_jax import processing as processing
    from synthex_jax import viz as viz
    from synthex_jax.annotations.annotate import annotate as annotate
    from synthex_jax.annotations.landmarks import Landmarks as Landmarks
    from synthex_jax.annotations.structures import Structures as Structures
    from synthex_jax.exposure import automatic_exposure as automatic_exposure
    from synthex_jax.geometry import convert as convert
    from synthex_jax.geometry import frames as frames
    from synthex_jax.geometry.camera import Camera as Camera
    from synthex_jax.geometry.carm import CArm as CArm
    from synthex_jax.geometry.transform import RigidTransform as RigidTransform
    from synthex_jax.physics.antiscatter import AntiscatterGrid as AntiscatterGrid
    from synthex_jax.physics.beam import Beam as Beam
    from synthex_jax.physics.collimators import CircularCollimator as CircularCollimator
    from synthex_jax.physics.collimators import IrisCollimator as IrisCollimator
    from synthex_jax.physics.collimators import (
        RectangularCollimator as RectangularCollimator,
    )
    from synthex_jax.physics.compounds import Material as Material
    from synthex_jax.physics.compounds import material as material
    from synthex_jax.physics.detectors import FlatPanel as FlatPanel
    from synthex_jax.physics.detectors import IdealDetector as IdealDetector
    from synthex_jax.physics.intensifier import ImageIntensifier as ImageIntensifier
    from synthex_jax.physics.shaped_filters import BowTie as BowTie
    from synthex_jax.physics.shaped_filters import Wedge as Wedge
    from synthex_jax.physics.spectra import Filter as Filter
    from synthex_jax.physics.spectra import Spectrum as Spectrum
    from synthex_jax.physics.spectra import half_value_layer as half_value_layer
    from synthex_jax.physics.spectra import tungsten as tungsten
    from synthex_jax.physics.tables import linear_attenuation as linear_attenuation
    from synthex_jax.physics.tables import mass_attenuation as mass_attenuation
    from synthex_jax.processing import display as display
    from synthex_jax.processing import log_image as log_image
    from synthex_jax.projectors.joseph import Joseph as Joseph
    from synthex_jax.projectors.siddon import Siddon as Siddon
    from synthex_jax.radiographs.reader import read_radiograph as read_radiograph
    from synthex_jax.registration.correlation_ratio import (
        GradientCorrelationRatio as GradientCorrelationRatio,
    )
    from synthex_jax.registration.first_order import Adam as Adam
    from synthex_jax.registration.gradients import GradientNCC as GradientNCC
    from synthex_jax.registration.gradients import (
        GradientOrientation as GradientOrientation,
    )
    from synthex_jax.registration.information import (
        MutualInformation as MutualInformation,
    )
    from synthex_jax.registration.levenberg_marquardt import (
        LevenbergMarquardt as LevenbergMarquardt,
    )
    from synthex_jax.registration.patches import MultiscaleNCC as MultiscaleNCC
    from synthex_jax.registration.patches import PatchNCC as PatchNCC
    from synthex_jax.registration.pnp import (
        pose_from_landmarks as pose_from_landmarks,
    )
    from synthex_jax.registration.register import register as register
    from synthex_jax.registration.register import register_bodies as register_bodies
    from synthex_jax.registration.register import register_views as register_views
    from synthex_jax.registration.register_tool import register_tool as register_tool
    from synthex_jax.registration.search import Search as Search
    from synthex_jax.registration.similarity import NCC as NCC
    from synthex_jax.registration.similarity import SSD as SSD
    from synthex_jax.rendering import flat_field as flat_field
    from synthex_jax.rendering import line_integrals as line_integrals
    from synthex_jax.rendering import render as render
    from synthex_jax.scatter.kernel import KernelScatter as KernelScatter
    from synthex_jax.scatter.single import SingleScatter as SingleScatter
    from synthex_jax.scene import Scene as Scene
    from synthex_jax.simulation import Simulation as Simulation
    from synthex_jax.simulation import deepdrr as deepdrr
    from synthex_jax.simulation import heuristic as heuristic
    from synthex_jax.simulation import naive as naive
    from synthex_jax.simulation import realistic as realistic
    from synthex_jax.synthesis import recipes as recipes
    from synthex_jax.synthesis.live import live as live
    from synthex_jax.synthesis.reader import Dataset as Dataset
    from synthex_jax.synthesis.source import SceneSource as SceneSource
    from synthex_jax.synthesis.writer import synthesize as synthesize
    from synthex_jax.tools import instruments as instruments
    from synthex_jax.tools.tool import Tool as Tool
    from synthex_jax.volumes import samples as samples
    from synthex_jax.volumes.composition import Composition as Composition
    from synthex_jax.volumes.grids import canonical as canonical
    from synthex_jax.volumes.grids import cropped as cropped
    from synthex_jax.volumes.grids import cropped_to_body as cropped_to_body
    from synthex_jax.volumes.grids import padded as padded
    from synthex_jax.volumes.grids import resampled as resampled
    from synthex_jax.volumes.io import read_labels as read_labels
    from synthex_jax.volumes.io import read_volume as read_volume
    from synthex_jax.volumes.io import write_nifti as write_nifti
    from synthex_jax.volumes.landmark_files import read_landmarks as read_landmarks
    from synthex_jax.volumes.materials import attenuation as attenuation
    from synthex_jax.volumes.thresholds import SingleMaterial as SingleMaterial
    from synthex_jax.volumes.thresholds import Thresholds as Thresholds
    from synthex_jax.volumes.tissues import Tissues as Tissues
    from synthex_jax.volumes.volume import Volume as Volume

_HOME = {
    "Camera": "geometry.camera",
    "CArm": "geometry.carm",
    "RigidTransform": "geometry.transform",
    "Volume": "volumes.volume",
    "attenuation": "volumes.materials",
    "Material": "physics.compounds",
    "material": "physics.compounds",
    "mass_attenuation": "physics.tables",
    "linear_attenuation": "physics.tables",
    "Spectrum": "physics.spectra",
    "Filter": "physics.spectra",
    "tungsten": "physics.spectra",
    "half_value_layer": "physics.spectra",
    "read_volume": "volumes.io",
    "read_labels": "volumes.io",
    "write_nifti": "volumes.io",
    "resampled": "volumes.grids",
    "cropped": "volumes.grids",
    "padded": "volumes.grids",
    "cropped_to_body": "volumes.grids",
    "canonical": "volumes.grids",
    "Joseph": "projectors.joseph",
    "Siddon": "projectors.siddon",
    "line_integrals": "rendering",
    "Composition": "volumes.composition",
    "Tissues": "volumes.tissues",
    "Thresholds": "volumes.thresholds",
    "SingleMaterial": "volumes.thresholds",
    "Beam": "physics.beam",
    "BowTie": "physics.shaped_filters",
    "Wedge": "physics.shaped_filters",
    "CircularCollimator": "physics.collimators",
    "RectangularCollimator": "physics.collimators",
    "IrisCollimator": "physics.collimators",
    "AntiscatterGrid": "physics.antiscatter",
    "FlatPanel": "physics.detectors",
    "ImageIntensifier": "physics.intensifier",
    "IdealDetector": "physics.detectors",
    "KernelScatter": "scatter.kernel",
    "SingleScatter": "scatter.single",
    "Scene": "scene",
    "Structures": "annotations.structures",
    "Landmarks": "annotations.landmarks",
    "read_landmarks": "volumes.landmark_files",
    "Tool": "tools.tool",
    "annotate": "annotations.annotate",
    "SceneSource": "synthesis.source",
    "synthesize": "synthesis.writer",
    "Dataset": "synthesis.reader",
    "live": "synthesis.live",
    "read_radiograph": "radiographs.reader",
    "register": "registration.register",
    "register_views": "registration.register",
    "register_bodies": "registration.register",
    "register_tool": "registration.register_tool",
    "Search": "registration.search",
    "LevenbergMarquardt": "registration.levenberg_marquardt",
    "Adam": "registration.first_order",
    "pose_from_landmarks": "registration.pnp",
    "GradientCorrelationRatio": "registration.correlation_ratio",
    "GradientNCC": "registration.gradients",
    "GradientOrientation": "registration.gradients",
    "NCC": "registration.similarity",
    "SSD": "registration.similarity",
    "PatchNCC": "registration.patches",
    "MultiscaleNCC": "registration.patches",
    "MutualInformation": "registration.information",
    "Simulation": "simulation",
    "naive": "simulation",
    "heuristic": "simulation",
    "realistic": "simulation",
    "deepdrr": "simulation",
    "render": "rendering",
    "flat_field": "rendering",
    "automatic_exposure": "exposure",
    "log_image": "processing",
    "display": "processing",
}
_MODULES = {
    "convert": "geometry.convert",
    "frames": "geometry.frames",
    "instruments": "tools.instruments",
    "phantoms": "phantoms",
    "processing": "processing",
    "recipes": "synthesis.recipes",
    "samples": "volumes.samples",
    "viz": "viz",
}

__all__ = ["__version__", *_HOME, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _HOME:
        module = importlib.import_module(f"{__name__}.{_HOME[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
