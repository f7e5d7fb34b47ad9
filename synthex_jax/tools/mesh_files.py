"""Meshes in files: STL, OBJ and PLY, through trimesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthex_jax.checks import require, require_positive
from synthex_jax.files import existing, naming, written_whole
from synthex_jax.tools.mesh import Mesh

READABLE = (".stl", ".obj", ".ply")
WRITABLE = (".stl", ".ply")

# Mm. Files name no unit; what is smaller or larger is hardly a tool, but one in meters
# or micrometers.
_SMALLEST, _LARGEST = 0.5, 3000.0


def read_mesh(path: str | Path, *, unit_mm: float = 1.0) -> Mesh:
    """A closed mesh from an STL, OBJ or PLY file.

    Corners at one place become one vertex; all objects of a file become one mesh.

    Args:
        path: .stl, .obj or .ply.
        unit_mm: mm in the file's unit; 1000 for a file in meters.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path, for a file of another type, broken or without
            faces; a surface that ``Mesh.create`` refuses, such as an open one; and a
            size that no tool has, from 0.5 mm to 3 m.
    """
    import trimesh

    path = existing(path, f"a mesh ({', '.join(READABLE)})")
    require(
        path.is_file() and path.suffix.lower() in READABLE,
        f"{path} must be a file of type {', '.join(READABLE)}",
    )
    require_positive("unit_mm", unit_mm)
    try:
        loaded = trimesh.load_mesh(path, process=False)
    except Exception as error:  # its parsers raise whatever they stumble over
        raise ValueError(
            f"{path} cannot be read as a mesh ({type(error).__name__}: {error}); is it "
            "of another type, cut short or corrupt?"
        ) from error
    require(
        len(loaded.faces) > 0,
        f"{path} holds no faces; is it empty, cut short, or no mesh?",
    )
    with naming(path):
        corners = np.asarray(loaded.vertices)[loaded.faces] * unit_mm
        _require_size(np.ptp(corners, axis=(0, 1)))
        return Mesh.from_corners(corners)


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh as binary STL or PLY, in mm.

    Raises:
        ValueError: for a path of another type.
        FileNotFoundError: if its folder does not exist.
    """
    import trimesh

    suffix = Path(path).suffix.lower()
    require(suffix in WRITABLE, f"path must end in {' or '.join(WRITABLE)}, got {path}")
    surface = trimesh.Trimesh(
        np.asarray(mesh.vertices), np.asarray(mesh.faces), process=False
    )
    with written_whole(path) as temporary:
        surface.export(temporary, file_type=suffix[1:])


def _require_size(size: np.ndarray) -> None:
    require(
        bool(_SMALLEST <= size.max() <= _LARGEST),
        f"unit_mm must make the mesh between {_SMALLEST:g} and {_LARGEST:g} mm large, "
        f"it is {' x '.join(f'{x:.4g}' for x in size)} mm; give unit_mm=1000 for a "
        "file in meters, 25.4 for inches, 0.001 for micrometers",
    )
