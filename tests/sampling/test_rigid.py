"""Random rotations against Haar's measure, SciPy and closed forms."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from synthex_jax.geometry.lie import so3_log
from synthex_jax.numerics import safe_norm
from synthex_jax.sampling.distributions import Normal, Uniform
from synthex_jax.sampling.rigid import (
    EulerRotation,
    MotionDistribution,
    RandomMotion,
    RotationBall,
    RotationDistribution,
    TwistNormal,
    UniformRotation,
)

KEYS = jax.random.split(jax.random.key(11), 4000)
# The key is fixed, and so is the p-value.
LEAST_P = 0.01


@jax.jit
def drawn(distribution):
    return jax.vmap(distribution.sample)(KEYS)


def rotations(distribution):
    return np.asarray(drawn(distribution), float)


def within(largest):
    """Cumulative probability of Haar's angle in a ball: (t - sin t) scaled to 1."""
    return lambda t: (t - np.sin(t)) / (largest - np.sin(largest))


@pytest.mark.parametrize(
    ("distribution", "largest"),
    [
        (UniformRotation(), np.pi),
        (RotationBall.create(jnp.pi), np.pi),
        (RotationBall.degrees(100.0), np.deg2rad(100.0)),
        (RotationBall.create(0.05), 0.05),
    ],
)
def test_angles_and_axes_are_those_of_haars_measure(distribution, largest):
    matrices = rotations(distribution)
    identity = np.broadcast_to(np.eye(3), matrices.shape)
    # A dozen roundings of float32.
    np.testing.assert_allclose(matrices @ matrices.swapaxes(1, 2), identity, atol=2e-6)
    vectors = Rotation.from_matrix(matrices).as_rotvec()
    angles = np.linalg.norm(vectors, axis=1)
    assert stats.kstest(angles, within(largest)).pvalue > LEAST_P
    # A quarter of the matrix's rounding is the most that its angle is off.
    assert angles.max() <= largest + 1e-5
    for axis in (vectors / angles[:, None]).T:
        assert stats.kstest(axis, stats.uniform(-1, 2).cdf).pvalue > LEAST_P


def test_uniform_rotations_take_a_vector_everywhere_and_have_no_mean():
    matrices = rotations(UniformRotation())
    for image in matrices[:, :, 0].T:
        assert stats.kstest(image, stats.uniform(-1, 2).cdf).pvalue > LEAST_P
    # Entries have mean 0 and variance 1/3; five standard errors.
    assert np.abs(matrices.mean(axis=0)).max() < 5 * (1 / 3 / len(KEYS)) ** 0.5
    np.testing.assert_allclose(matrices.var(axis=0), 1 / 3, atol=0.03)


def test_ball_solves_keplers_equation_to_the_last_digit(x64):
    key = KEYS[5]
    share = jax.random.uniform(
        jax.random.split(key)[0], (), minval=np.finfo(float).eps, dtype=float
    )
    angle = jax.jit(lambda m: safe_norm(so3_log(RotationBall.create(m).sample(key))))
    # By a series of its own where the closed form cancels.
    cubic = lambda t: t**3 / 6 - t**5 / 120 if t < 0.01 else t - np.sin(t)
    for largest in (1e-3, 1.0, np.pi):
        ratio = cubic(float(angle(largest))) / cubic(largest)
        np.testing.assert_allclose(ratio, share, rtol=1e-9)


def test_ball_has_the_derivative_of_its_angle(x64):
    def total(largest):
        rotation = RotationBall.create(largest).sample(KEYS[0])
        return jnp.sum(jnp.sin(jnp.arange(9.0)) * jnp.ravel(rotation))

    value_and_slope = jax.jit(jax.value_and_grad(total))
    for largest in (0.01, 1.0, 3.0):
        (high, _), (low, _) = (value_and_slope(largest + d) for d in (1e-6, -1e-6))
        expected = (high - low) / 2e-6
        np.testing.assert_allclose(value_and_slope(largest)[1], expected, rtol=1e-6)


def test_twists_have_the_deviations_asked_for():
    distribution = TwistNormal.create((0.02, 0.01, 0.03), (5.0, 1.0, 3.0))
    motions = drawn(distribution)
    turns = Rotation.from_matrix(np.asarray(motions.rotation)).as_rotvec()
    # The inverse of the left Jacobian to second order; angles are below 0.15.
    shifts = np.asarray(motions.translation, float)
    once = np.cross(turns, shifts)
    shifts = shifts - once / 2 + np.cross(turns, once) / 12
    twists = np.concatenate([turns, shifts], axis=1)
    for numbers, std in zip(twists.T, (0.02, 0.01, 0.03, 5.0, 1.0, 3.0), strict=True):
        assert stats.kstest(numbers, stats.norm(0, std).cdf).pvalue > LEAST_P


def test_motions_have_independent_angles_and_shifts():
    half = np.deg2rad(45.0)
    turn = Uniform.degrees(-45.0, 45.0)
    shift = (Uniform.create(-1.0, 1.0), 5.0, Normal.create(0.0, 2.0))
    motions = drawn(RandomMotion.create(EulerRotation.create((turn,) * 3), shift))
    angles = Rotation.from_matrix(np.asarray(motions.rotation)).as_euler("xyz")
    x, y, z = np.asarray(motions.translation, float).T
    for angle in angles.T:
        assert stats.kstest(angle, stats.uniform(-half, 2 * half).cdf).pvalue > LEAST_P
    assert stats.kstest(x, stats.uniform(-1, 2).cdf).pvalue > LEAST_P
    assert (y == 5.0).all()
    assert stats.kstest(z, stats.norm(0, 2).cdf).pvalue > LEAST_P
    together = np.corrcoef([*angles.T, x, z])
    assert np.abs(together - np.eye(5)).max() < 5 / len(KEYS) ** 0.5


def test_descriptions_are_json():
    euler = EulerRotation.create((Uniform.create(-1.0, 1.0), 0.0, 0.0), axes="ZXY")
    motion = RandomMotion.create(euler)
    assert isinstance(euler, RotationDistribution)
    assert isinstance(motion, MotionDistribution)
    described = json.loads(json.dumps(motion.describe()))
    assert described["rotation"]["axes"] == "ZXY"
    assert described["rotation"]["angles"]["members"][0]["low"] == -1.0
    assert UniformRotation().describe() == {"kind": "UniformRotation"}


def test_errors():
    with pytest.raises(ValueError, match=r"largest must be at most pi .* degrees"):
        RotationBall.create(45.0)
    with pytest.raises(ValueError, match="largest must be positive radians, got 0"):
        RotationBall.create(0.0)
    with pytest.raises(ValueError, match="three each, got 2 and 'xyz'"):
        EulerRotation.create((0.0, 0.0))
    with pytest.raises(ValueError, match="axes must be one to three"):
        EulerRotation.create((0.0, 0.0, 0.0), axes="abc")
    with pytest.raises(ValueError, match="translation must have three members, got 1"):
        RandomMotion.create(UniformRotation(), (1.0,))
    with pytest.raises(ValueError, match="std_rotation must not be negative radians"):
        TwistNormal.create(-0.1, 1.0)
