import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from synthex_jax.tools.curves import natural_spline, rotation_minimizing_frames

CLIMB = 0.5


def helix(turns, points):
    """A helix of radius 1 that climbs CLIMB a radian."""
    t = np.linspace(0, 2 * np.pi * turns, points)
    return jnp.asarray(np.stack([np.cos(t), np.sin(t), CLIMB * t], axis=-1))


@pytest.mark.parametrize("knots", [2, 3, 6])
def test_spline_is_scipys(x64, rng, knots):
    values, at = rng.normal(size=(knots, 3)), np.r_[0.0, rng.uniform(size=20), 1.0]
    expected = CubicSpline(np.linspace(0, 1, knots), values, bc_type="natural")(at)
    np.testing.assert_allclose(natural_spline(jnp.asarray(values), jnp.asarray(at)),
        expected, atol=1e-12)  # fmt: skip


def test_spline_of_one_value_is_constant():
    np.testing.assert_array_equal(natural_spline(jnp.array([2.0]), jnp.zeros(3)), 2.0)


def test_spline_derivatives(x64, rng):
    values, at = rng.normal(size=5), rng.uniform(size=8)
    spline = CubicSpline(np.linspace(0, 1, 5), values, bc_type="natural")
    slope = jax.grad(lambda a: natural_spline(jnp.asarray(values), a).sum())
    np.testing.assert_allclose(slope(jnp.asarray(at)), spline(at, 1), atol=1e-10)
    weights = CubicSpline(np.linspace(0, 1, 5), np.eye(5), bc_type="natural")(at)
    np.testing.assert_allclose(
        jax.jacobian(natural_spline)(jnp.asarray(values), jnp.asarray(at)),
        weights,
        atol=1e-12,
    )


def test_frames_are_rotations_and_tangents_of_circles_are_exact(x64, rng):
    t = np.sort(rng.uniform(0, 5, 30))
    circle = np.stack([3 * np.cos(t), 3 * np.sin(t), 0 * t], axis=-1)
    frames = np.asarray(rotation_minimizing_frames(jnp.asarray(circle)))
    identity = np.broadcast_to(np.eye(3), frames.shape)
    np.testing.assert_allclose(frames @ frames.swapaxes(1, 2), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-12)
    tangents = np.stack([-np.sin(t), np.cos(t), 0 * t], axis=-1)
    np.testing.assert_allclose(frames[:, :, 2], tangents, atol=1e-12)
    # In a plane there is no torsion: the axis across it stays.
    across = frames[:, 2, :2]
    np.testing.assert_allclose(across, np.broadcast_to(across[0], (30, 2)), atol=1e-12)


def turn_about_the_tangent(points):
    """Radians by which the frames turn against Frenet's along a turn of the helix."""
    curve = helix(1, points)
    normals = np.asarray(rotation_minimizing_frames(curve))[:, :, 0]
    t = np.linspace(0, 2 * np.pi, points)
    principal = -np.stack([np.cos(t), np.sin(t), 0 * t], axis=-1)
    tangent = np.stack([-np.sin(t), np.cos(t), 0 * t + CLIMB], axis=-1)
    binormal = np.cross(tangent / np.sqrt(1 + CLIMB**2), principal)
    angle = np.arctan2(np.sum(normals * binormal, 1), np.sum(normals * principal, 1))
    return np.unwrap(angle)[-1] - np.unwrap(angle)[0]


def test_frames_turn_as_little_as_the_torsion_asks(x64):
    # Against Frenet's frames they turn back by the integral of the torsion, which is
    # climb / (1 + climb^2) over a length of sqrt(1 + climb^2) a radian.
    expected = -2 * np.pi * CLIMB / np.sqrt(1 + CLIMB**2)
    errors = [abs(turn_about_the_tangent(n) - expected) for n in (40, 80)]
    # Tangents from three points are right to the second power of the step.
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 3.5


def test_frames_of_two_points_and_derivatives(x64, rng):
    two = rotation_minimizing_frames(jnp.array([[0.0, 0, 0], [0, 0, 5.0]]))
    np.testing.assert_allclose(two[:, :, 2], [[0, 0, 1], [0, 0, 1]])
    curve, weights = helix(0.7, 6), rng.normal(size=(6, 3, 3))
    value_and_slope = jax.jit(
        jax.value_and_grad(lambda c: jnp.sum(weights * rotation_minimizing_frames(c)))
    )
    step = 1e-5 * rng.normal(size=curve.shape)
    (ahead, _), (behind, _) = (value_and_slope(curve + s) for s in (step, -step))
    _, slope = value_and_slope(curve)
    np.testing.assert_allclose(jnp.sum(slope * step), (ahead - behind) / 2, rtol=1e-6)
    # Neighbors at one place, traced, give nothing that is not finite.
    value, slope = value_and_slope(jnp.zeros((6, 3)))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
