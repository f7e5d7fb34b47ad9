import jax.numpy as jnp
import numpy as np

from synthex_jax.geometry import frames


def test_lps_and_ras_are_half_a_turn_apart(rng):
    points = rng.normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(frames.ras_from_lps(points), points * [-1, -1, 1])
    np.testing.assert_array_equal(
        frames.ras_from_lps(frames.ras_from_lps(points)), points
    )
    np.testing.assert_allclose(np.linalg.det(frames.RAS_FROM_LPS), 1)


def test_affines_and_points_agree(rng):
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3] = rng.normal(size=(3, 4))
    voxel = np.array([3.0, -2.0, 5.0], np.float32)
    ras_from_voxel = frames.ras_affine_from_lps(lps_from_voxel)
    in_lps = lps_from_voxel[:3, :3] @ voxel + lps_from_voxel[:3, 3]
    found = frames.transform_points(ras_from_voxel, jnp.asarray(voxel))
    np.testing.assert_allclose(found, frames.ras_from_lps(in_lps), rtol=1e-5)


def test_directions_form_the_axes_of_ras():
    axes = np.stack([frames.RIGHT, frames.ANTERIOR, frames.SUPERIOR])
    np.testing.assert_array_equal(axes, np.eye(3))
    opposite = np.stack([frames.LEFT, frames.POSTERIOR, frames.INFERIOR])
    np.testing.assert_array_equal(opposite, -np.eye(3))
