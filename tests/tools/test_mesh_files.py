"""Meshes in files, written by trimesh and by makers of tools."""

import numpy as np
import pytest
import trimesh

from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.mesh_files import read_mesh, write_mesh

bolt = trimesh.creation.cylinder(radius=3.0, height=40.0, sections=12)


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply"])
def test_files_of_trimesh(tmp_path, suffix):
    path = tmp_path / f"bolt.{suffix}"
    bolt.export(path)
    mesh = read_mesh(path)
    assert mesh.vertices.shape == bolt.vertices.shape
    # Text files carry eight digits.
    assert float(mesh.volume()) == pytest.approx(bolt.volume, rel=1e-5)


@pytest.mark.parametrize("suffix", ["stl", "ply"])
def test_written_files_are_read_by_trimesh(tmp_path, suffix):
    path = tmp_path / f"bolt.{suffix}"
    write_mesh(path, Mesh.create(bolt.vertices, bolt.faces))
    found = trimesh.load_mesh(path)
    assert found.is_watertight
    assert found.volume == pytest.approx(bolt.volume, rel=1e-5)
    np.testing.assert_allclose(found.bounds, bolt.bounds, atol=1e-5)


def test_units(tmp_path):
    path = tmp_path / "bolt.stl"
    bolt.copy().apply_scale(1e-3).export(path)
    with pytest.raises(ValueError, match=r"bolt.stl: .* 0.04 mm; give unit_mm=1000"):
        read_mesh(path)
    assert float(read_mesh(path, unit_mm=1e3).volume()) == pytest.approx(
        bolt.volume, rel=1e-5
    )
    with pytest.raises(ValueError, match="unit_mm must be positive"):
        read_mesh(path, unit_mm=-1.0)


def test_open_mesh_is_refused(tmp_path):
    path = tmp_path / "open.stl"
    trimesh.Trimesh(bolt.vertices, bolt.faces[2:], process=False).export(path)
    with pytest.raises(ValueError, match=r"open.stl: faces must close up, 4 of 71"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.stl", b"", "holds no faces"),
        ("a.ply", b"ply\nfoo", "cannot be read as a mesh"),
        ("a.obj", b"v 0 0 0\nf 1 2 3\n", "cannot be read as a mesh"),
        ("a.step", b"", "must be a file of type .stl, .obj, .ply"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        read_mesh(path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.stl"):
        read_mesh(tmp_path / "a.stl")
    mesh = Mesh.create(bolt.vertices, bolt.faces)
    with pytest.raises(ValueError, match=r"must end in \.stl or \.ply"):
        write_mesh(tmp_path / "a.obj", mesh)


@pytest.mark.parametrize("name", ["6.5mmD_32mmThread_L130mm.STL", "Scalpel.stl"])
def test_real_tools(shared_data, name):
    path = shared_data / "tools-stl" / name
    # The scalpel's bodies touch along an edge; trimesh calls it open.
    expected = trimesh.load_mesh(path).volume
    assert float(read_mesh(path).volume()) == pytest.approx(expected, rel=1e-4)
