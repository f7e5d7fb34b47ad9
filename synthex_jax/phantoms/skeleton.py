"""Skeleton: a solid as balls, tapered rods and plates that melt into one another."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np
from jaxtyping import Float, Int

from synthex_jax.typing import ArrayLike

BLEND = 1.2
"""mm over which neighboring parts melt; the tables in ``data/`` were fitted with it,
so that another value would swell or shrink them."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A table of vertices with radii, and the parts that they span; on the host.

    A face of three vertices is a plate whose thickness runs linearly between its
    corners' radii, one that repeats its last vertex a tapered rod, one that names a
    single vertex a ball. The solid is their smooth union: a medial axis with linear
    interpolation, as in Li et al., "Q-MAT" (2015).

    Attributes:
        points: (n, 3), mm, in the body's own frame, x towards the patient's right.
        radii: (n,), mm.
        faces: (m, 3), indices of vertices.
    """

    points: Float[np.ndarray, "n 3"]
    radii: Float[np.ndarray, "n"]
    faces: Int[np.ndarray, "m 3"]

    @property
    def extent(self) -> Float[np.ndarray, "3"]:
        """(3,), mm: size of the box around the solid."""
        low = (self.points - self.radii[:, None]).min(axis=0)
        return (self.points + self.radii[:, None]).max(axis=0) - low

    @property
    def part_extent(self) -> float:
        """mm: the longest side of the box around any one part."""
        corners, radii = self.points[self.faces], self.radii[self.faces][..., None]
        sizes = (corners + radii).max(axis=1) - (corners - radii).min(axis=1)
        return float(sizes.max())

    @classmethod
    def chain(cls, points: ArrayLike, radii: ArrayLike) -> Skeleton:
        """A tube through points, (n, 3), with one radius or a radius at each."""
        points = np.asarray(points, dtype=float)
        first = np.arange(len(points) - 1)
        faces = np.stack([first, first + 1, first + 1], axis=1)
        return cls(points, np.broadcast_to(radii, len(points)).astype(float), faces)

    @classmethod
    def balls(cls, points: ArrayLike, radii: ArrayLike) -> Skeleton:
        """Balls about points, (n, 3), with one radius or a radius each."""
        points = np.asarray(points, dtype=float)
        faces = np.repeat(np.arange(len(points))[:, None], 3, axis=1)
        return cls(points, np.broadcast_to(radii, len(points)).astype(float), faces)

    def thickened(self, by: float) -> Skeleton:
        """The same parts with radii larger by some mm."""
        return replace(self, radii=self.radii + by)

    def reaching(self, tables: Iterable[ArrayLike]) -> Skeleton:
        """The same parts, stretched to the longest sides of several bodies' boxes.

        For bodies that share their parts but not their sizes.

        Args:
            tables: (n, 3) each, mm: where each body's vertices lie.
        """
        sides = np.max([np.ptp(np.asarray(table), axis=0) for table in tables], axis=0)
        own = np.maximum(np.ptp(self.points, axis=0), 1e-6)
        return replace(self, points=self.points * np.maximum(sides / own, 1.0))


@cache
def measured(name: str) -> Skeleton:
    """A bone's skeleton from ``data/skeletons.json``."""
    path = resources.files("synthex_jax.phantoms") / "data" / "skeletons.json"
    table = json.loads(path.read_text())["bones"][name]
    vertices = np.asarray(table["vertices"], dtype=float)
    faces = np.asarray(table["faces"], dtype=int)
    return Skeleton(vertices[:, :3], vertices[:, 3], faces)
