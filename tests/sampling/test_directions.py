"""Random directions against the areas of spherical caps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synthex_jax.sampling.directions import (
    cap_direction,
    frame_about,
    uniform_direction,
)

KEYS = jax.random.split(jax.random.key(3), 4000)
# The key is fixed, and so is the p-value.
LEAST_P = 0.01


@pytest.mark.parametrize("half_angle", [0.2, 2.0, np.pi])
def test_directions_fill_a_cap_alike(half_angle):
    draw = jax.jit(jax.vmap(lambda k: cap_direction(k, jnp.asarray(half_angle, float))))
    x, y, z = np.asarray(draw(KEYS), float).T
    np.testing.assert_allclose(x**2 + y**2 + z**2, 1.0, atol=1e-6)
    # Archimedes: the area of a zone is that of its height.
    height = 1 - np.cos(half_angle)
    assert stats.kstest(z, stats.uniform(1 - height, height).cdf).pvalue > LEAST_P
    azimuth = np.arctan2(y, x)
    uniform = stats.uniform(-np.pi, 2 * np.pi)
    assert stats.kstest(azimuth, uniform.cdf).pvalue > LEAST_P
    # Float32 of 1 - z resolves angles to 3e-4.
    assert np.arccos(np.minimum(z, 1.0)).max() <= half_angle + 5e-4


def test_no_direction_is_preferred():
    draws = np.asarray(jax.jit(jax.vmap(uniform_direction))(KEYS))
    for axis in draws.T:
        assert stats.kstest(axis, stats.uniform(-1, 2).cdf).pvalue > LEAST_P


def test_cone_of_no_width_has_its_axis_and_a_finite_slope(x64):
    at = jax.jit(lambda angle: cap_direction(KEYS[0], jnp.asarray(angle)))
    slope = jax.jit(jax.jacfwd(at))
    np.testing.assert_allclose(at(0.0), [0, 0, 1], atol=1e-12)
    for angle in (0.0, 1.0):
        expected = (at(angle + 1e-6) - at(angle - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope(angle), expected, rtol=1e-6, atol=1e-9)


def test_frames_are_rotations_about_the_direction(rng, x64):
    directions = rng.normal(size=(50, 3))
    directions[:4] = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [1e-9, 0, -1]]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frames = np.asarray(jax.jit(jax.vmap(frame_about))(jnp.asarray(directions)))
    identity = np.broadcast_to(np.eye(3), frames.shape)
    np.testing.assert_allclose(frames @ frames.swapaxes(1, 2), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, rtol=1e-12)
    np.testing.assert_allclose(frames[..., 2], directions, atol=1e-12)
    slopes = jax.jit(jax.vmap(jax.jacfwd(frame_about)))(jnp.asarray(directions))
    assert np.isfinite(slopes).all()
