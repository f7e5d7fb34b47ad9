"""Placed tools against cones, depths and the cameras that they face."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synthex_jax.geometry.carm import CArm
from synthex_jax.sampling.distributions import Normal, Uniform
from synthex_jax.sampling.placements import CameraFacing, Insertion, Placement

pytestmark = pytest.mark.usefixtures("x64")
ANCHOR = np.array([40.0, 20.0, -30.0])
KEYS = jax.random.split(jax.random.key(9), 1000)
LEAST_P = 0.01  # The key is fixed, and so is the p-value.


def camera():
    return CArm.cios_fusion().at(0.4, -0.3, 0.8, isocenter=ANCHOR)


@jax.jit
def many(placement):
    return jax.vmap(lambda key: placement.sample(key, camera(), ANCHOR))(KEYS)


def test_insertions_point_within_the_cone():
    direction = np.array([1.0, -2.0, 0.5])
    poses = many(
        Insertion.create(
            direction,
            tool_axis=(0.0, 1.0, 0.0),
            half_angle=np.deg2rad(20.0),
            depth=Uniform.create(-10.0, 40.0),
            entry=(0.0, 0.0, Normal.create(0.0, 0.0)),
        )
    )
    direction /= np.linalg.norm(direction)
    rotations = np.asarray(poses.rotation)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, rtol=1e-12)
    axes = rotations[:, :, 1]
    # The area of a cap is that of its height.
    height = 1 - np.cos(np.deg2rad(20.0))
    cosines = axes @ direction
    assert stats.kstest(cosines, stats.uniform(1 - height, height).cdf).pvalue > LEAST_P
    # The origin lies on the axis through the anchor, by the depth.
    offset = np.asarray(poses.translation) - ANCHOR
    depth = np.sum(offset * axes, axis=1)
    assert stats.kstest(depth, stats.uniform(-10, 50).cdf).pvalue > LEAST_P
    np.testing.assert_allclose(offset, depth[:, None] * axes, atol=1e-9)


def test_insertions_turn_about_their_axis():
    poses = many(
        Insertion.create(
            (0.0, 0.0, 3.0),
            depth=Uniform.create(0.0, 0.0),
            entry=(0.0, 0.0, Normal.create(0.0, 2.0)),
        )
    )
    # By default the tool's -z points along the direction; its x goes all the way round.
    np.testing.assert_allclose(poses.rotation[:, :, 2], [[0, 0, -1]] * 1000, atol=1e-12)
    x, y, _ = np.asarray(poses.rotation[:, :, 0]).T
    turn = stats.uniform(-np.pi, 2 * np.pi)
    assert stats.kstest(np.arctan2(y, x), turn.cdf).pvalue > LEAST_P
    offset = np.asarray(poses.translation) - ANCHOR
    assert stats.kstest(offset[:, 2], stats.norm(0, 2).cdf).pvalue > LEAST_P


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.5, -0.2, 1.0)])
def test_a_facing_tool_is_seen_as_a_patient_by_a_carm_at_its_angles(angles):
    points = jnp.asarray([[0.0, 0, 0], [10, 0, 0], [0, 20, 0], [3, -4, 30]])
    orbital, angular, roll = angles
    placement = CameraFacing.create(
        orbital=orbital, angular=angular, roll=roll, shift=(5.0, -7.0, 650.0)
    )
    pose = placement.sample(KEYS[0], camera(), camera().source)
    about_tool = CArm.cios_fusion().at(*angles)
    in_camera = about_tool.world_from_camera.rotation.T @ points.T
    expected = in_camera.T + jnp.asarray([5.0, -7.0, 650.0])
    seen = camera().camera_from_world.apply(pose.apply(points))
    np.testing.assert_allclose(seen, expected, atol=1e-9)
    if angles == (0.0, 0.0, 0.0):
        # +z up in the image, +x to the left, +y towards the source.
        np.testing.assert_allclose(
            pose.rotation.T @ camera().world_from_camera.rotation,
            [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
            atol=1e-12,
        )


def test_derivatives_reach_the_parameters():
    def total(p):
        insertion = Insertion.create(
            p[:3], half_angle=p[3], depth=Uniform.create(0.0, p[4])
        )
        pose = insertion.sample(KEYS[0], camera(), ANCHOR)
        return jnp.sum(jnp.sin(pose.apply(jnp.asarray([[30.0, 2.0, 3.0]])) / 20))

    value_and_slope = jax.jit(jax.value_and_grad(total))
    p = jnp.asarray([1.0, -2.0, 0.5, 0.3, 20.0])
    expected = [
        (value_and_slope(p + s)[0] - value_and_slope(p - s)[0]) / 2e-6
        for s in 1e-6 * jnp.eye(len(p))
    ]
    np.testing.assert_allclose(value_and_slope(p)[1], expected, rtol=1e-5, atol=1e-9)


def test_descriptions_are_json():
    for placement in (Insertion.create((0.0, 0.0, 2.0)), CameraFacing.create(roll=1.0)):
        assert isinstance(placement, Placement)
        assert json.loads(json.dumps(placement.describe())) == placement.describe()
    assert Insertion.create((0.0, 0.0, 2.0)).describe()["direction"] == [0.0, 0.0, 1.0]


def test_errors():
    with pytest.raises(ValueError, match="direction must have a length above 0"):
        Insertion.create((0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"tool_axis must have shape \(3,\)"):
        Insertion.create((0.0, 0.0, 1.0), tool_axis=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"half_angle must be at most pi .* degrees\?"):
        Insertion.create((0.0, 0.0, 1.0), half_angle=20.0)
    with pytest.raises(ValueError, match="half_angle must not be negative radians"):
        Insertion.create((0.0, 0.0, 1.0), half_angle=-0.1)
    with pytest.raises(ValueError, match="shift must have three members, got 2"):
        CameraFacing.create(shift=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"anchor must have shape \(3,\), got \(2,\)"):
        CameraFacing.create().sample(KEYS[0], camera(), (0.0, 0.0))
