"""The least squares optimizer, and what it is made of."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from synthex_jax.registration.covariance import uncertainty
from synthex_jax.registration.levenberg_marquardt import (
    LevenbergMarquardt,
    residual_jacobian,
)
from synthex_jax.registration.problem import metrics, movements
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.rigid_bodies import RigidBodies
from synthex_jax.registration.similarity import NCC
from synthex_jax.registration.status import Status
from tests.registration.blobs import MIDDLE, blobs, errors, radiograph, view

LEVEL = Level.create(40, 5.0, tolerance=0.02)
START = np.array([0.06, -0.05, 0.08, 8.0, -15.0, 9.0])


def prepared(camera, fixed):
    """A problem as the optimizer gets it, and its state."""
    cameras = ((camera,),)
    problem = RigidBodies.create([fixed], [blobs()], cameras)
    seen = problem.state_at(LEVEL, cameras)
    return problem.at_level(LEVEL).near(seen), seen


def improved(problem, cameras, iterations=20):
    return LevenbergMarquardt.create(iterations).improved(
        NCC(), problem, cameras, tolerance=LEVEL.tolerance
    )


def test_residuals_and_their_jacobian_match_differences(x64):
    truth = view()
    problem, cameras = prepared(truth.moved(START, about=MIDDLE), radiograph(truth))

    @jax.jit
    def residuals(twist):
        image = problem.images(problem.moved(cameras, twist))[0]
        x, y = (v - jnp.mean(v) for v in (image, problem.fixed[0]))
        return (x / jnp.linalg.norm(x) - y / jnp.linalg.norm(y)).ravel()

    found, jacobian, _ = jax.jit(residual_jacobian)(NCC(), problem, cameras)
    # 4000 samples a ray and slice: few cross a cell's border within such a step.
    steps = 1e-6 * np.diag([0.01, 0.01, 0.01, 1, 1, 1])
    columns = [(residuals(s) - residuals(-s)) / (2 * s.max()) for s in steps]
    np.testing.assert_allclose(found, residuals(np.zeros(6)), atol=1e-12)
    for i, column in enumerate(columns):
        scale = np.abs(column).max()
        np.testing.assert_allclose(jacobian[:, i], column, atol=1e-3 * scale)


def test_movements_are_those_of_projected_points(rng):
    truth = view()
    problem, cameras = prepared(truth, radiograph(truth))
    twist = np.array([2e-3, -1e-3, 3e-3, 0.3, -0.2, 0.5])
    camera = cameras[0][0]
    # Uniform in the body's box.
    half = np.asarray(problem.bodies[0].corners()) - MIDDLE
    points = jnp.asarray(MIDDLE + rng.uniform(-1, 1, (40000, 3)) * half.max(0), float)
    before, after = (
        np.asarray(c.camera_from_world.apply(points), float)
        for c in (camera, camera.moved(twist, about=MIDDLE))
    )
    depth = float(camera.depth(jnp.asarray(MIDDLE, float)))
    image = depth * (after[:, :2] / after[:, 2:] - before[:, :2] / before[:, 2:])
    in_depth = after[:, 2] - before[:, 2]
    for share in (0.0, 1.0):
        square = (image**2).sum(1) + (share * in_depth) ** 2
        found = metrics(movements(problem, cameras), depth=share)[0]
        # 40000 points give the mean to 1 %; perspective is not quite linear.
        assert twist @ np.asarray(found) @ twist == pytest.approx(
            square.mean(), rel=0.03
        )


def test_the_pose_of_a_closed_form_radiograph_is_found_in_a_batch():
    truth = view()
    problem, cameras = prepared(truth, radiograph(truth))
    twists = np.stack([START, -START, [0, 0, 0, 0, 900.0, 0]])
    starts = jax.vmap(lambda t: problem.moved(cameras, t))(twists)
    courses = jax.vmap(lambda start: improved(problem, start))(starts)
    assert courses.status.tolist() == [
        Status.CONVERGED,
        Status.CONVERGED,
        Status.NO_OVERLAP,
    ]
    first, second, aside = (
        jax.tree.map(lambda leaf, i=i: leaf[i], courses) for i in range(3)
    )
    for course in first, second:
        assert int(course.iterations) <= 12
        across, along = errors(course.state[0][0], truth)
        # Interpolated, the blobs are up to 1 % wider than they are.
        assert across < 0.1
        assert along < 1.0
        costs = np.asarray(course.trace.costs[: int(course.iterations)])
        assert np.all(np.diff(costs) <= 0)
    assert int(aside.iterations) == 1
    expected = truth.moved(twists[2], about=MIDDLE)
    np.testing.assert_allclose(aside.state[0][0].source, expected.source, rtol=1e-6)


def test_covariance_is_the_scatter_of_noisy_registrations(rng):
    truth = view()
    problem, cameras = prepared(truth, radiograph(truth))
    best = improved(problem, cameras).state
    mean = best[0][0].world_from_camera
    twists, covariances, depths = [], [], []
    for _ in range(80):
        noise = jnp.asarray(0.05 * rng.standard_normal(problem.fixed[0].shape), float)
        noisy = replace(problem, fixed=(problem.fixed[0] + noise,))
        course = improved(noisy, best)
        unsure = uncertainty(NCC(), noisy, course.state)
        twists.append(_twist(mean, course.state[0][0]))
        covariances.append(np.asarray(unsure.covariance, float))
        depths.append(float(unsure.depth[0, 0]))
    twists = np.stack(twists)
    squares = [
        t @ np.linalg.solve(c, t) for t, c in zip(twists, covariances, strict=True)
    ]
    # A binomial share of 80 has a standard deviation of 0.034 about 0.9.
    inside = np.array(squares) < scipy.stats.chi2.ppf(0.9, 6)
    assert 0.8 < inside.mean() < 0.99
    along = twists[:, 3:] @ np.asarray(mean.rotation[:, 2])
    assert along.std() == pytest.approx(np.mean(depths), rel=0.3)
    # What varies slowly, as scatter does, is no noise.
    rows, cols = np.indices(problem.fixed[0].shape) / 40
    trend = jnp.asarray(0.3 * np.cos(2 * rows) * np.sin(2 * cols), float)
    bent = replace(noisy, fixed=(noisy.fixed[0] + trend,))
    still = uncertainty(NCC(), bent, best)
    assert float(still.depth[0, 0]) == pytest.approx(np.mean(depths), rel=0.2)


def _twist(mean, camera):
    """The small twist about the body's center from one pose to another."""
    motion = camera.world_from_camera @ mean.inverse
    turn, shift = np.asarray(motion.rotation, float), np.asarray(motion.translation)
    turned = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
    return np.concatenate([np.array(turned) / 2, turn @ MIDDLE + shift - MIDDLE])


def test_iterations_must_be_positive():
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        LevenbergMarquardt.create(0)
