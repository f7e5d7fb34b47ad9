"""Errors of poses against matrices in NumPy, and statistics against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.spatial.transform import Rotation

import synthex_jax as sx
from synthex_jax.registration.metrics import (
    capture_range,
    depth_error,
    geodesic_se3,
    in_plane_error,
    mean_target_registration_error,
    percentile_interval,
    reprojection_error,
    reprojection_error_pixels,
    success_rate,
    xvr_mtre,
)

# DiffDRR's AP view: the source 850 mm before the isocenter, which is the origin.
CARM = sx.CArm.create(
    source_to_detector=1020.0, source_to_isocenter=850.0, pitch=2.0, shape=(200, 200)
)
TRUTH = CARM.at(isocenter=(0.0, 0.0, 0.0))
POINTS = jnp.asarray(60 * np.random.default_rng(0).normal(size=(200, 3)), float)
DEGREE = np.pi / 180


def off(rotation=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    return TRUTH.moved([*rotation, *shift])


def test_the_two_mtres():
    """Figures of xvr's formula for such points, and of the usual one.

    In AP the world's y is the direction of the beam. Out of the plane, the source moves
    by 850 mm * 1 degree = 14.8 mm.
    """
    mtre = lambda camera: float(mean_target_registration_error(camera, TRUTH, POINTS))
    xvr = lambda camera: float(xvr_mtre(camera, TRUTH, POINTS))
    for axis in ((DEGREE, 0, 0), (0, 0, DEGREE)):
        np.testing.assert_allclose(xvr(off(axis)), 14.93, rtol=0.02)
        np.testing.assert_allclose(mtre(off(axis)), 1.3, rtol=0.1)
    in_plane = off((0, DEGREE, 0))
    np.testing.assert_allclose(xvr(in_plane), mtre(in_plane), rtol=0.1)
    for shift in ((1, 0, 0), (0, 5, 0), (0, 0, 2)):
        moved = off(shift=shift)
        np.testing.assert_allclose(mtre(moved), max(shift), rtol=1e-4)
        np.testing.assert_allclose(xvr(moved), max(shift), rtol=1e-4)


def test_mtre_is_that_of_matrices():
    camera = TRUTH.moved([0.1, -0.2, 0.3, 4.0, -5.0, 6.0], about=(10.0, 20.0, 30.0))
    points = np.concatenate([np.asarray(POINTS, float), np.ones((200, 1))], 1)
    matrices = [
        np.linalg.inv(np.asarray(c.world_from_camera.matrix, float))
        for c in (camera, TRUTH)
    ]
    apart = points @ (matrices[0] - matrices[1]).T
    expected = np.linalg.norm(apart[:, :3], axis=1).mean()
    found = mean_target_registration_error(camera, TRUTH, POINTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(
        depth_error(camera, TRUTH, POINTS), apart[:, 2].mean(), rtol=1e-3
    )


def test_xvr_mtre_is_diffdrrs_pose():
    """P maps (x, y, z) about the isocenter to the world: a shift at the AP view."""
    isocenter = np.array([30.0, -20.0, 10.0])
    truth = CARM.at(isocenter=isocenter)
    # Its Euler angles ZXY and a translation in the rotated frame.
    rotation = Rotation.from_euler("ZXY", [0.1, -0.2, 0.3]).as_matrix()
    source = isocenter + rotation @ [5.0, 850.0, -8.0]
    ap = np.asarray(truth.world_from_camera.rotation, float)
    pose = sx.RigidTransform(
        jnp.asarray(rotation @ ap, float), jnp.asarray(source, float)
    )
    estimate = sx.Camera.create(
        pose, source_to_detector=1020.0, pitch=2.0, shape=(200, 200)
    )
    points = np.asarray(POINTS, float)
    apart = points @ rotation.T + source - (points + isocenter + [0, 850, 0])
    found = xvr_mtre(
        estimate, truth, POINTS + jnp.asarray(isocenter, float), isocenter=isocenter
    )
    expected = np.linalg.norm(apart, axis=1).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_errors_in_the_image():
    """5 mm along x at the isocenter are 6 mm on the detector: 1020 / 850 = 1.2."""
    moved = off(shift=(5.0, 0.0, 0.0))
    center = jnp.zeros((1, 3))
    np.testing.assert_allclose(reprojection_error(moved, TRUTH, center), 6, rtol=1e-4)
    np.testing.assert_allclose(
        reprojection_error_pixels(moved, TRUTH, center), 3, rtol=1e-4
    )
    np.testing.assert_allclose(in_plane_error(moved, TRUTH, center), 5, rtol=1e-4)
    np.testing.assert_allclose(
        in_plane_error(moved, TRUTH, POINTS, isocenter=(0.0, 0.0, 0.0)), 5, rtol=0.05
    )
    # The world moves the camera to the front, +y: the body is then farther by as much.
    deep = off(shift=(0.0, 7.0, 0.0))
    np.testing.assert_allclose(depth_error(deep, TRUTH, POINTS), 7, rtol=1e-4)
    assert in_plane_error(deep, TRUTH, center) < 1e-3


def test_geodesics():
    turn = np.array([0.3, -0.2, 0.4])
    about = jnp.array([12.0, -30.0, 5.0])
    camera = TRUTH.moved([*turn, 0.0, 0.0, 0.0], about=about)
    found = geodesic_se3(camera, TRUTH, about=about)
    angle = np.linalg.norm(turn)
    np.testing.assert_allclose(found.rotation, angle, rtol=1e-4)
    # The center stays where it is, and the camera turns about it.
    np.testing.assert_allclose(found.translation, 0, atol=1e-3)
    np.testing.assert_allclose(found.double, 510 * angle, rtol=1e-4)
    shifted = geodesic_se3(off(shift=(3.0, 4.0, 12.0)), TRUTH)
    np.testing.assert_allclose(shifted.translation, 13, rtol=1e-4)
    np.testing.assert_allclose(shifted.double, 13, rtol=1e-4)


def test_slopes_are_finite_at_the_truth():
    def total(twist):
        camera = TRUTH.moved(twist)
        geodesic = geodesic_se3(camera, TRUTH)
        return (
            mean_target_registration_error(camera, TRUTH, POINTS)
            + xvr_mtre(camera, TRUTH, POINTS)
            + in_plane_error(camera, TRUTH, POINTS)
            + geodesic.double
        )

    assert np.all(np.isfinite(jax.jit(jax.grad(total))(jnp.zeros(6))))


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 7), (95, 100), (40, 40)])
def test_wilson_is_scipys(k, n):
    found = success_rate([True] * k + [False] * (n - k), confidence=0.9)
    expected = scipy.stats.binomtest(k, n).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose(
        [found.estimate, found.low, found.high],
        [k / n, expected.low, expected.high],
        atol=1e-9,
    )


def test_capture_range():
    errors = np.concatenate([np.arange(100) / 10 + 0.05, [25.0]])
    # All succeed below 6 mm; above, one of ten fails in each bin of 1 mm, and two of 40
    # from 4 to 8 mm; none starts from 10 to 25 mm.
    successes = np.ones(101, bool)
    successes[[63, 77, 88, 99]] = False
    assert capture_range(errors, successes) == 6.0
    assert capture_range(errors, successes, bin_width=4.0) == 8.0
    assert capture_range(errors, np.ones(101)) == 25.0
    assert capture_range(errors, np.zeros(101)) == 0.0
    assert capture_range([1e12], [True]) == 1e12


def test_bootstrap_is_scipys():
    values = np.random.default_rng(1).exponential(size=60)
    found = percentile_interval(values, 75.0, seed=3)
    expected = scipy.stats.bootstrap(
        (values,),
        lambda x, axis: np.percentile(x, 75, axis=axis),
        n_resamples=2000,
        method="percentile",
    ).confidence_interval
    np.testing.assert_allclose(found.estimate, np.percentile(values, 75))
    # Of 2000 resamples, the ends scatter by a few percent.
    np.testing.assert_allclose(found.low, expected.low, rtol=0.1)
    np.testing.assert_allclose(found.high, expected.high, rtol=0.1)
    assert found == percentile_interval(values, 75.0, seed=3)


def test_groups_widen_the_interval():
    """Of 10 patients with 20 equal values each there are 10 values, not 200."""
    patients = np.random.default_rng(2).normal(size=10)
    names = np.repeat([f"patient {i}" for i in range(10)], 20)
    alone = percentile_interval(patients)
    grouped = percentile_interval(np.repeat(patients, 20), groups=names)
    naive = percentile_interval(np.repeat(patients, 20))
    width = lambda interval: interval.high - interval.low
    np.testing.assert_allclose(width(grouped), width(alone), rtol=0.35)
    assert width(naive) < 0.6 * width(alone)


def test_failures_count_as_infinite():
    found = percentile_interval([1.0, 2.0, 3.0, 4.0, np.inf], 50.0)
    assert found.estimate == 3.0
    assert found.high in (4.0, np.inf)
    assert percentile_interval([1.0, np.inf, np.inf]).estimate == np.inf


def test_errors():
    with pytest.raises(ValueError, match="successes must hold at least one trial"):
        success_rate([])
    with pytest.raises(ValueError, match=r"confidence must be from 0 to 1, got 1\.5"):
        success_rate([True], confidence=1.5)
    with pytest.raises(ValueError, match="initial_errors must hold at least one"):
        capture_range([], [])
    with pytest.raises(ValueError, match="as many as initial_errors, 2, got 1"):
        capture_range([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="initial_errors must be finite"):
        capture_range([np.nan], [True])
    with pytest.raises(ValueError, match=r"bin_width must be positive mm, got -1\.0"):
        capture_range([1.0], [True], bin_width=-1.0)
    with pytest.raises(ValueError, match="values must hold at least one"):
        percentile_interval([])
    with pytest.raises(ValueError, match="values must not be NaN"):
        percentile_interval([np.nan])
    with pytest.raises(
        ValueError, match=r"percentile must be from 0 to 100, got 101\.0"
    ):
        percentile_interval([1.0], 101.0)
    with pytest.raises(ValueError, match="groups must be one a value, 2"):
        percentile_interval([1.0, 2.0], groups=[1])
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        percentile_interval([1.0], resamples=0)
