"""What the steps of the demonstration share: bodies, views, a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from synthex_jax.cli.sources import phantom
from synthex_jax.files import written_whole
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.phantoms.anatomy import Anatomy
from synthex_jax.typing import Points
from synthex_jax.volumes.materials import attenuation
from synthex_jax.volumes.volume import Volume

# Of the demonstration's beam, keV: about the mean of a 100 kVp beam behind a patient.
_ENERGY = 60.0


class Row(NamedTuple):
    """A line of the demonstration's table."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True)
class Outcome:
    """What a step wrote and found."""

    files: list[Path] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """Bodies in 1/mm and where pictures go.

    Attributes:
        out: folder.
        size: pixels a side of a radiograph.
        patient: the pelvis with labels and landmarks.
        pelvis, thorax: attenuation, 1/mm.
    """

    out: Path
    size: int
    patient: Anatomy
    pelvis: Volume
    thorax: Volume

    @property
    def landmarks(self) -> Points:
        """(n, 3), world mm, of the pelvis."""
        return jnp.stack(list(self.patient.landmarks.values()))

    @property
    def bodies(self) -> dict[str, Volume]:
        """Both, by name."""
        return {"pelvis": self.pelvis, "thorax": self.thorax}

    @classmethod
    def build(cls, out: Path, size: int, spacing: float, seed: int) -> Stage:
        """Make the bodies, at a spacing in mm."""
        keys = jax.random.split(jax.random.key(seed))
        pelvis = phantom("phantom-pelvis", spacing=spacing, key=keys[0])
        thorax = phantom("phantom-thorax", spacing=spacing, key=keys[1])
        return cls(
            out=out,
            size=size,
            patient=pelvis,
            pelvis=attenuation(pelvis.ct, _ENERGY),
            thorax=attenuation(thorax.ct, _ENERGY),
        )

    def carm(self, size: int) -> CArm:
        """The generic C-arm with a square detector of so many pixels a side."""
        return CArm.generic().resized((size, size))

    def views(self, body: Volume, size: int | None = None) -> list[Camera]:
        """AP, left lateral and an oblique view of a body."""
        carm, isocenter = self.carm(size or self.size), body.center
        oblique = jnp.deg2rad(jnp.array([35.0, 15.0]))
        return [
            carm.view("AP", isocenter=isocenter),
            carm.view("left lateral", isocenter=isocenter),
            carm.at(*oblique, isocenter=isocenter),
        ]

    def save(self, figure: Figure, name: str) -> Path:
        """Write a figure, whole or not at all."""
        path = self.out / name
        with written_whole(path) as temporary:
            figure.savefig(temporary, format="png")
        return path
