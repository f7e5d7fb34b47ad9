"""Poses from points against the truth, SciPy's least squares and Monte Carlo."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import synthex_jax as sx
from synthex_jax.registration.pnp import (
    PnPStatus,
    pose_from_landmarks,
    ransac_pose_from_landmarks,
)

N, PROBLEMS, SIGMA = 10, 200, 2.0
# Oblong pixels, an axis that misses the center, and a detector that is not square.
CARM = sx.CArm.generic().resized((300, 400))
LIKE = replace(
    CARM.at(isocenter=(0.0, 0.0, 0.0)),
    pitch=jnp.array([1.1, 0.9]),
    principal_point=jnp.array([140.0, 215.0]),
    skew=jnp.array(0.02),
)
SOLVE = jax.jit(
    jax.vmap(
        lambda points, pixels, weights: pose_from_landmarks(
            points, pixels, LIKE, weights=weights, sigma=SIGMA
        )
    )
)


def solve(points, pixels, weights=None):
    """All problems at once, so that the tests share one compilation."""
    weights = np.ones((PROBLEMS, N)) if weights is None else weights
    arrays = [
        jnp.asarray(
            np.broadcast_to(x, (PROBLEMS, *np.shape(x)[-2 + (i == 2) :])), float
        )
        for i, x in enumerate((points, pixels, weights))
    ]
    return SOLVE(*arrays)


@jax.jit
@jax.vmap
def posed(angles, isocenter):
    pose = CARM.at(*angles, isocenter=isocenter).world_from_camera
    return replace(LIKE, world_from_camera=pose)


def problems(seed, scale=(60.0, 50.0, 70.0)):
    rng = np.random.default_rng(seed)
    cameras = posed(
        jnp.asarray(rng.uniform(-3, 3, (PROBLEMS, 3)) * [1, 0.3, 1], float),
        jnp.asarray(rng.normal(size=(PROBLEMS, 3)) * 20, float),
    )
    points = rng.normal(size=(PROBLEMS, N, 3)) * scale
    return cameras, points, np.array(images(cameras, jnp.asarray(points, float)))


@jax.jit
@jax.vmap
def images(camera, points):
    return camera.project(points)


def apart(cameras, others, points):
    """(problems,), mm, mean distance in the camera's frame."""
    places = [
        np.einsum("nij,nkj->nki", np.swapaxes(pose.rotation, 1, 2), points)
        - np.einsum("nji,nj->ni", pose.rotation, pose.translation)[:, None]
        for pose in (cameras.world_from_camera, others.world_from_camera)
    ]
    return np.linalg.norm(places[0] - places[1], axis=-1).mean(1)


@pytest.mark.parametrize("scale", [(60.0, 50.0, 70.0), (60.0, 0.0, 70.0)])
def test_without_noise_every_pose_is_found(scale):
    """In space and in a plane; 0.01 mm is 1e-5 of the distance, in single precision."""
    cameras, points, pixels = problems(1, scale)
    found = solve(points, pixels)
    assert np.all(found.status == PnPStatus.SOLVED)
    assert np.max(apart(found.camera, cameras, points)) < 1e-2
    assert np.max(found.rms) < 1e-2
    assert np.all(found.inliers)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_four_points_are_enough(weight):
    """What weighs nothing does not matter: here six points, seen anywhere."""
    cameras, points, pixels = problems(2)
    weights = np.ones((PROBLEMS, N))
    if weight == 0:
        weights[:, 4:] = 0
        pixels[:, 4:] += 1000
    found = solve(points, pixels, weights)
    assert np.all(found.status == PnPStatus.SOLVED)
    # Four points may lie nearly on a line, and then tell little.
    assert np.mean(np.asarray(apart(found.camera, cameras, points)) < 0.1) > 0.98
    np.testing.assert_array_equal(found.inliers, weights > 0)


def test_the_minimum_is_scipys():
    """In double precision, from the true pose, with weights."""
    cameras, points, pixels = problems(3)
    rng = np.random.default_rng(3)
    pixels = pixels + SIGMA * rng.normal(size=pixels.shape)
    weights = rng.uniform(0.1, 2.0, (PROBLEMS, N))
    found = solve(points, pixels, weights)
    intrinsics = np.asarray(LIKE.K, float)
    for i in range(3):

        def residuals(x, i=i):
            rotation = scipy.spatial.transform.Rotation.from_rotvec(x[:3]).as_matrix()
            seen = (points[i] @ rotation.T + x[3:]) @ intrinsics.T
            off = seen[:, 1::-1] / seen[:, 2:] - pixels[i]
            return (np.sqrt(weights[i])[:, None] * off).ravel()

        pose = lambda cameras, i=i: np.asarray(
            jax.tree.map(lambda leaf: leaf[i], cameras).camera_from_world.matrix, float
        )
        pack = lambda m: np.concatenate(
            [
                scipy.spatial.transform.Rotation.from_matrix(m[:3, :3]).as_rotvec(),
                m[:3, 3],
            ]
        )
        best = scipy.optimize.least_squares(
            residuals, pack(pose(cameras)), x_scale=[1e-2] * 3 + [1.0] * 3, xtol=1e-12
        )
        np.testing.assert_allclose(
            pack(pose(found.camera)), best.x, rtol=1e-3, atol=1e-2
        )
        ours = np.sum(residuals(pack(pose(found.camera))) ** 2)
        np.testing.assert_allclose(ours, 2 * best.cost, rtol=1e-5)


def test_covariance_is_the_scatter():
    """Of one problem, seen with other noise each time.

    The share within the 90 % ellipsoid has a standard deviation of 2 % over 200 trials.
    """
    cameras, points, pixels = problems(4)
    points, pixels = points[0], pixels[0]
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.3, 2.0, N)
    noise = SIGMA / np.sqrt(weights)[:, None] * rng.normal(size=(PROBLEMS, N, 2))
    found = solve(points, pixels + noise, weights)
    center = np.average(points, axis=0, weights=weights)
    np.testing.assert_allclose(found.center[0], center, atol=1e-3)
    true = jax.tree.map(lambda leaf: leaf[0], cameras)

    # camera = true.moved(twist, about=center); of so small a rotation the translation
    # of the twist is the movement of the center.
    rotations = np.asarray(found.camera.world_from_camera.rotation, float)
    rotations = rotations @ np.asarray(true.world_from_camera.rotation, float).T
    sources = np.asarray(found.camera.world_from_camera.translation, float)
    arm = np.asarray(true.source, float) - center
    errors = np.concatenate(
        [
            scipy.spatial.transform.Rotation.from_matrix(rotations).as_rotvec(),
            sources - center - rotations @ arm,
        ],
        axis=1,
    )
    covariances = np.asarray(found.covariance, float)
    scatter = np.sqrt(np.diag(np.cov(errors.T)))
    expected = np.sqrt(np.diag(covariances.mean(0)))
    np.testing.assert_allclose(scatter, expected, rtol=0.2)
    squared = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(covariances), errors)
    within = np.mean(squared < scipy.stats.chi2(6).ppf(0.9))
    assert 0.84 < within < 0.96


def test_what_determines_no_pose():
    """Points on a line, at one place, or three: a status, and the camera as it was."""
    _, points, pixels = problems(5)
    line = points[:, :1] + np.linspace(-1, 1, N)[:, None] * [30.0, 50.0, 20.0]
    points[:50] = line[:50]
    points[50:100] = points[50:100, :1]
    weights = np.ones((PROBLEMS, N))
    weights[100:150, 3:] = 0
    weights[150:] = 0
    found = solve(points, pixels, weights)
    status = np.asarray(found.status)
    assert np.all(status[100:] == PnPStatus.TOO_FEW)
    assert np.all(np.isin(status[:100], [PnPStatus.DEGENERATE, PnPStatus.BEHIND]))
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(found))
    np.testing.assert_array_equal(np.diagonal(found.covariance, 0, 1, 2), np.inf)
    np.testing.assert_array_equal(
        found.camera.world_from_camera.translation[7], LIKE.source
    )


def test_wrong_points_are_told():
    cameras, points, pixels = problems(6)
    rng = np.random.default_rng(6)
    few = slice(0, 8)
    pixels = pixels[few] + rng.uniform(-0.5, 0.5, pixels[few].shape)
    wrong = np.zeros((8, N), bool)
    wrong[:, :4] = True
    pixels[wrong] += rng.choice([-1, 1], (8 * 4, 2)) * rng.uniform(30, 90, (8 * 4, 2))
    robust = partial(ransac_pose_from_landmarks, threshold=4.0, hypotheses=100)
    found = jax.jit(jax.vmap(lambda key, p, x: robust(key, p, x, LIKE, sigma=0.3)))(
        jax.random.split(jax.random.key(0), 8),
        jnp.asarray(points[few], float),
        jnp.asarray(pixels, float),
    )
    assert np.all(found.status == PnPStatus.SOLVED)
    np.testing.assert_array_equal(found.inliers, ~wrong)
    # The same as without the wrong ones, but for single precision.
    all_points, all_pixels = points.copy(), np.zeros((PROBLEMS, N, 2))
    all_pixels[few] = pixels
    weights = np.ones((PROBLEMS, N))
    weights[few] = ~wrong
    alone = jax.tree.map(lambda leaf: leaf[few], solve(all_points, all_pixels, weights))
    assert np.max(apart(found.camera, alone.camera, points[few])) < 0.05
    truth = jax.tree.map(lambda leaf: leaf[few], cameras)
    assert np.max(apart(found.camera, truth, points[few])) < 10


def test_errors():
    points, pixels = np.eye(5, 3) * 50, np.ones((5, 2))
    with pytest.raises(
        ValueError, match="points must be at least 4 for one pose, got 3"
    ):
        pose_from_landmarks(points[:3], pixels[:3], LIKE)
    with pytest.raises(ValueError, match=r"points must have shape \(n, 3\)"):
        pose_from_landmarks(points[:, :2], pixels, LIKE)
    with pytest.raises(ValueError, match=r"pixels must have shape \(5, 2\)"):
        pose_from_landmarks(points, pixels[:4], LIKE)
    with pytest.raises(ValueError, match="weights must be above zero for at least 4"):
        pose_from_landmarks(points, pixels, LIKE, weights=[1, 1, 1, 0, 0])
    with pytest.raises(ValueError, match="weights must not be negative"):
        pose_from_landmarks(points, pixels, LIKE, weights=-np.ones(5))
    with pytest.raises(ValueError, match="pixels must be finite"):
        pose_from_landmarks(points, pixels * np.nan, LIKE)
    with pytest.raises(ValueError, match="sigma must be positive"):
        pose_from_landmarks(points, pixels, LIKE, sigma=0.0)
    with pytest.raises(ValueError, match="threshold must be positive"):
        ransac_pose_from_landmarks(
            jax.random.key(0), points, pixels, LIKE, threshold=-1.0
        )
    with pytest.raises(ValueError, match="hypotheses must be at least 1"):
        ransac_pose_from_landmarks(
            jax.random.key(0), points, pixels, LIKE, threshold=1.0, hypotheses=0
        )
