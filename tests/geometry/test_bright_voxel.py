"""A single bright voxel appears where the camera projects its center."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import synthex_jax as sx

SHAPE = (15, 13, 17)
# Off the middle in every axis, so that a wrong order or sign shows.
VOXEL = (4, 9, 11)
DEG = np.pi / 180


def affine(spacing, turn=None, flips=(1, 1, 1)):
    """Of a grid centered near the isocenter."""
    matrix = np.eye(4)
    rotation = np.eye(3) if turn is None else turn.as_matrix()
    matrix[:3, :3] = rotation @ np.diag(np.multiply(spacing, flips))
    matrix[:3, 3] = [5, -3, 8] - matrix[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return matrix


AFFINES = {
    "isotropic": affine((2.0, 2.0, 2.0)),
    "anisotropic": affine((1.5, 1.0, 3.0)),
    "LPS-like": affine((1.5, 1.0, 3.0), flips=(-1, -1, 1)),
    "left-handed": affine((1.5, 1.0, 3.0), flips=(1, -1, 1)),
    "oblique": affine((2.0, 1.5, 2.5), Rotation.from_euler("ZXY", [0.35, -0.2, 0.4])),
    "sideways": affine((2.0, 1.5, 2.5), Rotation.from_euler("xy", [1.6, -1.2])),
}
VIEWS = {
    "AP": (0.0, 0.0, 0.0),
    "PA": (np.pi, 0.0, 0.0),
    "lateral": (90 * DEG, 0.0, 0.0),
    "head": (0.0, 90 * DEG, 0.0),
    "oblique": (40 * DEG, -25 * DEG, 0.0),
    "rolled": (-30 * DEG, 15 * DEG, 70 * DEG),
}


def centroid(image):
    rows, cols = jnp.indices(image.shape)
    total = jnp.sum(image)
    return jnp.stack([jnp.sum(rows * image), jnp.sum(cols * image)]) / total


def device(pitch):
    return sx.CArm.create(
        source_to_detector=1000.0,
        source_to_isocenter=700.0,
        pitch=pitch,
        shape=(96, 112),
    )


@pytest.mark.parametrize("name", AFFINES)
def test_appears_where_it_projects(name):
    data = jnp.zeros(SHAPE).at[VOXEL].set(1.0)
    volume = sx.Volume.from_array(data, AFFINES[name])
    center = volume.affine[:3, :3] @ jnp.array(VOXEL, float) + volume.affine[:3, 3]

    @jax.jit
    def where(angles):
        camera = device((0.8, 0.7)).at(*angles, isocenter=(0.0, 0.0, 5.0))
        image = sx.line_integrals(volume, camera)
        return centroid(image), camera.project(center), jnp.sum(image)

    for view, angles in VIEWS.items():
        seen, expected, total = where(jnp.array(angles))
        assert total > 1, view
        # The magnification changes by 1e-3 across a voxel's own 2 mm, and so the
        # centroid by far less than the 0.1 pixel that would show half a voxel's shift
        # (1.4 pixels a mm).
        np.testing.assert_allclose(seen, expected, atol=0.1, err_msg=view)


@pytest.mark.parametrize("change", ["cropped", "resized", "binned", "off-center"])
def test_follows_the_detector(change):
    data = jnp.zeros(SHAPE).at[VOXEL].set(1.0)
    volume = sx.Volume.from_array(data, AFFINES["oblique"])
    center = volume.affine[:3, :3] @ jnp.array(VOXEL, float) + volume.affine[:3, 3]
    camera = device(0.5).at(0.3, 0.1, isocenter=(0.0, 0.0, 5.0))
    before = camera.project(center)
    if change == "cropped":
        other, expected = camera.cropped((5, 7), (70, 90)), before - jnp.array([5, 7])
    elif change == "resized":
        other = camera.resized((120, 84))
        expected = (before + 0.5) * jnp.array([120 / 96, 84 / 112]) - 0.5
    elif change == "binned":
        other, expected = camera.binned(2), (before + 0.5) / 2 - 0.5
    else:
        K = camera.K.at[:2, 2].add(jnp.array([9.25, -6.5]))
        other = sx.Camera.from_krt(
            K, camera.camera_from_world, shape=camera.shape, pitch=camera.pitch
        )
        expected = before + jnp.array([-6.5, 9.25])
    np.testing.assert_allclose(other.project(center), expected, atol=1e-3)
    found = centroid(sx.line_integrals(volume, other))
    np.testing.assert_allclose(found, expected, atol=0.1)
