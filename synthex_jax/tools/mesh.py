"""Mesh: the closed triangle surface of a rigid thing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synthex_jax.checks import is_concrete, require, require_finite
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Points, Scalar

# Of mm. What float32 tells apart at 10 cm.
_PLACE_DECIMALS = 5
# Enough to tell where a surface lies.
_SURFACE_POINTS = 128


@noun
@dataclass(frozen=True)
class Mesh:
    """Triangles that close up, counterclockwise seen from outside.

    Where bodies of one mesh overlap, their material counts as often as they do; a body
    that is turned inside out within another is a cavity.

    Attributes:
        vertices: (v, 3), mm.
        faces: (f, 3), three vertices each.
    """

    vertices: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]

    @classmethod
    def create(cls, vertices: ArrayLike, faces: ArrayLike) -> Mesh:
        """From vertices in mm and faces, checked; turned if it is inside out.

        Traced values are not checked, nor turned.

        Raises:
            ValueError: for arrays of another shape, vertices that are not finite,
                indices of no vertex, a face with the same vertex twice, a surface
                that is open or whose faces do not run in one sense, and one that
                encloses nothing.
        """
        vertices = jnp.asarray(vertices, float)
        faces = jnp.asarray(faces)
        for name, value in (("vertices", vertices), ("faces", faces)):
            require(
                value.ndim == 2 and value.shape[1] == 3 and len(value) > 0,
                f"{name} must have shape (n, 3) with n > 0, got {value.shape}",
            )
        require(
            jnp.issubdtype(faces.dtype, jnp.integer),
            f"faces must be whole numbers, got {faces.dtype}",
        )
        require_finite("vertices", vertices)
        mesh = cls(vertices, faces.astype(jnp.int32))
        if not is_concrete(mesh):
            return mesh
        _require_closed(np.asarray(vertices), np.asarray(faces))
        enclosed = _enclosed(np.asarray(vertices, np.float64)[np.asarray(faces)])
        require(
            enclosed != 0,
            "vertices and faces must enclose a volume, this surface has both of its "
            "sides on one another",
        )
        return mesh if enclosed > 0 else replace(mesh, faces=mesh.faces[:, ::-1])

    @classmethod
    def from_corners(cls, corners: ArrayLike) -> Mesh:
        """From the corners of each triangle, (f, 3, 3) in mm.

        Corners at one place become one vertex, and triangles that have two of them
        there are dropped.

        Raises:
            ValueError: as ``create``, and for traced corners, which cannot be compared.
        """
        require(
            is_concrete(corners),
            "corners must be known values, got traced ones; make the mesh outside of "
            "jit, grad and vmap, and move it or replace its vertices inside",
        )
        corners = np.asarray(corners, np.float64)
        require(
            corners.ndim == 3 and corners.shape[1:] == (3, 3) and len(corners) > 0,
            f"corners must have shape (f, 3, 3) with f > 0, got {corners.shape}",
        )
        require_finite("corners", corners)
        places = np.round(corners.reshape(-1, 3), _PLACE_DECIMALS) + 0.0
        vertices, faces = np.unique(places, axis=0, return_inverse=True)
        faces = faces.reshape(-1, 3)
        return cls.create(vertices, faces[~_has_twice(faces)])

    @property
    def corners(self) -> Float[Array, "f 3 3"]:
        """The three vertices of each face, mm."""
        return self.vertices[self.faces]

    def volume(self) -> Scalar:
        """(), mm^3 enclosed."""
        middle = jnp.mean(self.vertices, axis=0)
        a, b, c = jnp.moveaxis(self.corners - middle, 1, 0)
        return jnp.sum(a * jnp.cross(b, c)) / 6

    def bounds(self) -> Float[Array, "2 3"]:
        """The lowest and the highest coordinates, mm."""
        return jnp.stack([jnp.min(self.vertices, 0), jnp.max(self.vertices, 0)])

    def moved(self, transform: RigidTransform) -> Mesh:
        """The mesh in another frame: ``mesh_in_b.moved(a_from_b)``."""
        return replace(self, vertices=transform.apply(self.vertices))

    def surface_points(self) -> Points:
        """(n, 3), mm: vertices, of many every so many only."""
        return self.vertices[:: max(1, len(self.vertices) // _SURFACE_POINTS)]


def _require_closed(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Every edge must be passed as often in one direction as in the other.

    Two faces do that, and four where bodies touch along an edge.
    """
    least, most = int(faces.min()), int(faces.max())
    require(
        least >= 0 and most < len(vertices),
        f"faces must count the {len(vertices)} vertices from 0 to {len(vertices) - 1}, "
        f"got indices from {least} to {most}",
    )
    twice = int(np.sum(_has_twice(faces)))
    require(
        twice == 0,
        f"faces must have three vertices each, {twice} have the same one twice; "
        "drop them",
    )
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64)
    direction = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    low, high = edges.min(axis=1), edges.max(axis=1)
    keys, inverse = np.unique(low * len(vertices) + high, return_inverse=True)
    balance = np.bincount(inverse, weights=direction)
    if not balance.any():
        return
    uses = np.bincount(inverse)
    first, second = np.divmod(keys, len(vertices))
    middles = (vertices[first] + vertices[second]) / 2
    is_open, is_turned = uses % 2 == 1, balance != 0
    require(
        not is_open.any(),
        f"faces must close up, {_listed(is_open, middles)} are open; fill the holes "
        "(trimesh.repair.fill_holes) and merge vertices that are at one place "
        "(Mesh.from_corners) first",
    )
    require(
        not is_turned.any(),
        f"faces must all run in one sense, {_listed(is_turned, middles)} are passed "
        "in one direction only; turn the faces (trimesh.repair.fix_normals) first",
    )


def _listed(chosen: np.ndarray, middles: np.ndarray) -> str:
    where = ", ".join(f"{x:.4g}" for x in middles[np.argmax(chosen)])
    return f"{chosen.sum()} of {len(chosen)} edges, the first near ({where}) mm,"


def _has_twice(faces: np.ndarray) -> np.ndarray:
    return np.any(faces == np.roll(faces, 1, axis=1), axis=1)


def _enclosed(corners: np.ndarray) -> float:
    """Signed volume of (f, 3, 3) corners, in float64; 0 within rounding."""
    a, b, c = np.moveaxis(corners - corners.mean(axis=(0, 1)), 1, 0)
    pieces = np.sum(a * np.cross(b, c), axis=-1) / 6
    total = float(pieces.sum())
    # Coordinates come in float32: 24 bits.
    return total if abs(total) > 1e-6 * float(np.abs(pieces).sum()) else 0.0
