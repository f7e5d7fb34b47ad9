"""Closed meshes: what is refused, what is turned, and volumes in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

import synthex_jax as sx
from synthex_jax.tools.mesh import Mesh

box = trimesh.creation.box((20.0, 30.0, 40.0))


def test_volume_bounds_and_motion():
    mesh = Mesh.create(box.vertices, box.faces)
    pose = sx.RigidTransform.from_euler("xyz", [0.3, -0.4, 2.0], [500.0, 20.0, -900.0])
    for placed in (mesh, mesh.moved(pose)):
        # A meter away, float32 places vertices to 6e-5 mm.
        assert float(placed.volume()) == pytest.approx(24_000, rel=1e-5)
    np.testing.assert_allclose(mesh.bounds(), [[-10, -15, -20], [10, 15, 20]])
    np.testing.assert_allclose(
        mesh.moved(pose).vertices,
        box.vertices @ np.asarray(pose.rotation).T + np.asarray(pose.translation),
        atol=1e-4,
    )


def test_inside_out_is_turned():
    mesh = Mesh.create(box.vertices, box.faces[:, ::-1])
    assert mesh.volume() > 0
    np.testing.assert_array_equal(mesh.faces, box.faces)


def test_a_cavity_is_kept():
    inner = trimesh.creation.box((2.0, 3.0, 4.0))
    vertices = np.concatenate([box.vertices, inner.vertices])
    faces = np.concatenate([box.faces, inner.faces[:, ::-1] + len(box.vertices)])
    assert float(Mesh.create(vertices, faces).volume()) == pytest.approx(24_000 - 24)


def test_from_corners_merges_what_is_at_one_place():
    sliver = box.vertices[[0, 0, 1]][None]
    corners = np.concatenate([box.triangles, sliver])
    mesh = Mesh.from_corners(corners)
    assert mesh.vertices.shape == (8, 3)
    assert mesh.faces.shape == (12, 3)
    assert float(mesh.volume()) == pytest.approx(24_000)


def test_boxes_that_touch_along_an_edge():
    beside = box.vertices + np.array([20.0, 30.0, 0.0])
    mesh = Mesh.from_corners(np.concatenate([box.triangles, beside[box.faces]]))
    assert mesh.vertices.shape == (14, 3)
    assert float(mesh.volume()) == pytest.approx(48_000)


def test_open_surface_is_refused():
    message = r"3 of 18 edges, the first near \(-10, .*\) mm, are open"
    with pytest.raises(ValueError, match=message):
        Mesh.create(box.vertices, box.faces[1:])


def test_turned_face_is_refused():
    faces = np.concatenate([box.faces[:1, ::-1], box.faces[1:]])
    with pytest.raises(ValueError, match="one sense, 3 of 18 edges"):
        Mesh.create(box.vertices, faces)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (box.vertices[:, :2], box.faces, "vertices must have shape"),
        (box.vertices, box.faces[:0], "faces must have shape"),
        (box.vertices, box.faces * 1.0, "faces must be whole numbers"),
        (box.vertices * np.nan, box.faces, "vertices must be finite"),
        (box.vertices, box.faces + 1, "from 0 to 7, got indices from 1 to 8"),
        (box.vertices, np.maximum(box.faces, 1), "same one twice"),
        (box.vertices * [1, 1, 0], box.faces, "must enclose a volume"),
    ],
)
def test_bad_input_is_named(vertices, faces, message):
    with pytest.raises(ValueError, match=message):
        Mesh.create(vertices, faces)


def test_traced_vertices_pass_but_do_not_merge():
    volume = jax.jit(lambda v: Mesh.create(v, box.faces).volume())
    assert float(volume(jnp.asarray(box.vertices))) == pytest.approx(24_000)
    with pytest.raises(ValueError, match="corners must be known"):
        jax.jit(Mesh.from_corners)(box.triangles)
