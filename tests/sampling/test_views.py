"""Views against the angles that made them, moved bodies against moved points."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from synthex_jax.geometry.carm import CArm
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.sampling.distributions import Choice, Normal, TruncatedNormal, Uniform
from synthex_jax.sampling.rigid import EulerRotation, RandomMotion, TwistNormal
from synthex_jax.sampling.views import BodyMotion, CArmViews, ViewSampler, under_motion

pytestmark = pytest.mark.usefixtures("x64")
CENTER = np.array([10.0, -20.0, 300.0])
KEYS = jax.random.split(jax.random.key(5), 500)
LEAST_P = 0.01  # The key is fixed, and so is the p-value.
# AP: right is to the left, anterior towards the source, the head up.
CAMERA_FROM_WORLD = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])


def carm():
    return CArm.create(
        source_to_detector=1000.0, source_to_isocenter=600.0, pitch=0.5, shape=(64, 80)
    )


@jax.jit
def many(views):
    return jax.vmap(lambda key: views.sample(key, carm(), CENTER))(KEYS)


def test_angles_offsets_and_distances_are_those_drawn():
    views = CArmViews.create(
        orbital=Uniform.create(-0.5, 0.5),
        angular=Normal.create(0.1, 0.1),
        roll=Uniform.create(-3.0, 3.0),
        offset=(Uniform.create(-5.0, 5.0), 7.0, -3.0),
        source_to_isocenter=Uniform.create(500.0, 700.0),
        source_to_detector=Uniform.create(900.0, 1100.0),
    )
    cameras = many(views)
    # R = Rx(angular) Rz(orbital) W Rz(roll), with W of the AP view.
    rotations = np.asarray(cameras.world_from_camera.rotation)
    turns = Rotation.from_matrix(rotations @ CAMERA_FROM_WORLD)
    # W Rz(roll) W^-1 is a turn about -y.
    angular, orbital, roll = turns.as_euler("XZY").T
    for drawn, theirs in (
        (orbital, stats.uniform(-0.5, 1.0)),
        (angular, stats.norm(0.1, 0.1)),
        (-roll, stats.uniform(-3, 6)),
        (cameras.source_to_detector, stats.uniform(900, 200)),
    ):
        assert stats.kstest(np.asarray(drawn), theirs.cdf).pvalue > LEAST_P
    # The isocenter lies on the line x = CENTER + (-5..5), y + 7, z - 3.
    start = np.asarray(cameras.world_from_camera.translation)
    way = rotations[:, :, 2]
    distance = (CENTER[1] + 7 - start[:, 1]) / way[:, 1]
    isocenters = start + distance[:, None] * way
    assert stats.kstest(distance, stats.uniform(500, 200).cdf).pvalue > LEAST_P
    across = isocenters[:, 0] - CENTER[0]
    assert stats.kstest(across, stats.uniform(-5, 10).cdf).pvalue > LEAST_P
    np.testing.assert_allclose(isocenters[:, 2], CENTER[2] - 3, atol=1e-9)


def test_without_distributions_it_is_the_devices_own_view():
    camera = CArmViews.create(orbital=0.3).sample(KEYS[0], carm(), CENTER)
    expected = carm().at(0.3, isocenter=CENTER)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), camera, expected
    )


def test_a_moved_body_looks_like_one_at_rest_to_the_moved_camera(rng):
    points = CENTER + rng.normal(scale=40.0, size=(20, 3))
    rotation = Rotation.from_euler("xyz", [0.4, -0.7, 0.2])
    shift = np.array([30.0, -80.0, 15.0])
    moved = CENTER + rotation.apply(points - CENTER) + shift
    motion = RigidTransform.from_rotation(rotation.as_matrix(), shift)
    at_rest = carm().at(isocenter=CENTER)
    camera = under_motion(at_rest, motion, about=CENTER)
    # The AP pinhole of 2000 pixels' focal length, by hand.
    x, y, z = CAMERA_FROM_WORLD @ (moved - CENTER).T + [[0], [0], [600]]
    expected = np.stack([31.5 + 2000 * y / z, 39.5 + 2000 * x / z], axis=-1)
    np.testing.assert_allclose(camera.project(jnp.asarray(points)), expected, rtol=1e-9)
    np.testing.assert_allclose(camera.depth(jnp.asarray(points)), z, rtol=1e-12)


def test_body_motion_draws_motions_about_the_center():
    turn = Uniform.create(-0.6, 0.6)
    motion = RandomMotion.create(
        EulerRotation.create((turn, turn, turn)),
        (Uniform.create(-50.0, 50.0), Uniform.create(-100.0, 100.0), 5.0),
    )
    views = BodyMotion.create(motion, source_to_isocenter=Uniform.create(500.0, 700.0))
    cameras = many(views)
    # camera = M^-1 W, so that the body's rotation is W camera^-1.
    rotations = np.swapaxes(np.asarray(cameras.world_from_camera.rotation), 1, 2)
    angles = Rotation.from_matrix(CAMERA_FROM_WORLD.T @ rotations).as_euler("xyz")
    for angle in angles.T:
        assert stats.kstest(angle, stats.uniform(-0.6, 1.2).cdf).pvalue > LEAST_P
    # Where the center of the body comes to lie, seen from the source.
    seen = jax.vmap(lambda c: c.camera_from_world.apply(jnp.asarray(CENTER)))(cameras)
    right, down, depth = np.asarray(seen).T
    assert stats.kstest(-right, stats.uniform(-50, 100).cdf).pvalue > LEAST_P
    np.testing.assert_allclose(down, -5.0, atol=1e-9)
    sums = stats.uniform(-100, 200).rvs(20_000, random_state=1)
    sums = 600 - sums + stats.uniform(-100, 200).rvs(20_000, random_state=2)
    assert stats.ks_2samp(depth, sums).pvalue > LEAST_P


def test_derivatives_reach_the_parameters():
    point = jnp.asarray(CENTER) + jnp.asarray([30.0, 40.0, -20.0])

    def total(p):
        views = BodyMotion.create(
            TwistNormal.create(p[0], p[1]),
            source_to_isocenter=Uniform.create(p[2], 700.0),
        )
        camera = views.sample(KEYS[0], carm(), CENTER)
        return jnp.sum(jnp.sin(camera.project(point) / 50))

    value_and_slope = jax.jit(jax.value_and_grad(total))
    p = jnp.asarray([0.1, 4.0, 500.0])
    expected = [
        (value_and_slope(p + s)[0] - value_and_slope(p - s)[0]) / 2e-5
        for s in 1e-5 * jnp.eye(3)
    ]
    np.testing.assert_allclose(value_and_slope(p)[1], expected, rtol=1e-5)


def test_descriptions_are_json():
    views = CArmViews.create(orbital=Uniform.create(-1.0, 1.0))
    assert isinstance(views, ViewSampler)
    described = json.loads(json.dumps(views.describe()))
    assert described["orbital"] == {"kind": "Uniform", "low": -1.0, "high": 1.0}
    assert described["source_to_detector"] is None
    body = BodyMotion.create(TwistNormal.create(0.5, 4.0))
    assert isinstance(body, ViewSampler)
    assert body.describe()["motion"]["std_rotation"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CArmViews.create(orbital="left"),
            "orbital must be a number or a distribution of numbers, got 'left'",
        ),
        (lambda: CArmViews.create(offset=(1.0, 2.0)), "offset must have three members"),
        (
            lambda: CArmViews.create(source_to_isocenter=Normal.create(700.0, 20.0)),
            "source_to_isocenter must be positive and bounded.* -inf to inf; a Trunc",
        ),
        (
            lambda: BodyMotion.create(
                TwistNormal.create(0.1, 1.0), source_to_isocenter=Choice.create([0, 9])
            ),
            "source_to_isocenter must be positive and bounded, .* is 0 to 9",
        ),
        (
            lambda: CArmViews.create(
                source_to_isocenter=TruncatedNormal.create(800, 99, low=600, high=1000)
            ).sample(KEYS[0], carm(), CENTER),
            "must stay below source_to_detector, but it can be 1000 mm .* is 1000 mm",
        ),
        (
            lambda: BodyMotion.create(
                TwistNormal.create(0.1, 1.0), source_to_isocenter=1200.0
            ).sample(KEYS[0], carm(), CENTER),
            "must stay below source_to_detector, but it can be 1200 mm",
        ),
        (
            lambda: CArmViews.create(
                source_to_detector=Uniform.create(500, 900)
            ).sample(KEYS[0], carm(), CENTER),
            "it can be 600 mm where the other is 500 mm",
        ),
        (
            lambda: CArmViews.create().sample(KEYS[0], carm(), (0.0, 1.0)),
            r"center must have shape \(3,\), got \(2,\)",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_of_devices():
    near, far = (
        replace(carm(), source_to_isocenter=jnp.asarray(d)) for d in (500.0, 700.0)
    )
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), near, far)
    sample = jax.vmap(lambda c: CArmViews.create().sample(KEYS[0], c, CENTER))
    depth = jax.vmap(lambda camera: camera.depth(jnp.asarray(CENTER)))(sample(both))
    np.testing.assert_allclose(depth, [500.0, 700.0], rtol=1e-6)
