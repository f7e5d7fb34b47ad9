"""Soft masks: values, their limit, and their slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.annotations.masks import path_lengths
from synthex_jax.annotations.soft import soft_masks
from synthex_jax.annotations.structures import Structures


def test_values_and_composition(rng, x64):
    lengths = jnp.asarray(rng.uniform(0, 20, (4, 5, 2)))
    p, q = jnp.moveaxis(soft_masks(lengths, scale=3.0), -1, 0)
    np.testing.assert_allclose(p, 1 - np.exp(-np.asarray(lengths[..., 0]) / 3))
    union = soft_masks(lengths.sum(-1), scale=3.0)
    np.testing.assert_allclose(1 - (1 - p) * (1 - q), union)
    sharp = soft_masks(jnp.array([-1e-3, 0.0, 0.01, 50.0]), scale=1e-4)
    np.testing.assert_allclose(sharp, [0, 0, 1, 1])


def test_slopes_are_finite_everywhere():
    slope = jax.vmap(jax.grad(lambda length: soft_masks(length, scale=2.0)))
    np.testing.assert_allclose(
        slope(jnp.array([-1.0, 0.0, 2.0, 1e6])), [0, 0, 0.5 * np.exp(-1), 0], rtol=1e-6
    )


def test_slopes_in_pose_and_scale(x64):
    """Of a ball's soft area weighed by columns, against central differences."""
    places = np.moveaxis(np.indices((18, 18, 18)), 0, -1) - 8.5
    ball = np.linalg.norm(places - [1, 0, -1], axis=-1) < 6
    labels = sx.Volume.from_array(ball.astype(np.uint8), spacing=4.0)
    carm = sx.CArm.create(
        source_to_detector=1000.0, source_to_isocenter=700.0, pitch=5.0, shape=(16, 18)
    )
    camera = carm.at(0.2, -0.1, isocenter=labels.center)
    made = Structures.create({"ball": 1})

    @jax.jit
    @jax.value_and_grad
    def moment(parameters):
        twist, scale = parameters[:6], parameters[6]
        lengths = path_lengths(
            labels, camera.moved(twist), made, projector=sx.Joseph(axis=1)
        )
        mask = soft_masks(lengths, scale=scale)[..., 0]
        return jnp.sum(mask * (jnp.arange(18.0) + jnp.arange(16.0)[:, None] ** 1.5))

    at = np.array([0.01, 0.02, -0.03, 0.7, -0.4, 0.9, 6.0])
    slope = np.asarray(moment(at)[1])
    # Steps that stay within the cells that the rays cross.
    ahead, back = (
        np.array([moment(at + step)[0] for step in sign * 1e-6 * np.eye(7)])
        for sign in (1, -1)
    )
    np.testing.assert_allclose(slope, (ahead - back) / 2e-6, rtol=1e-3)
    assert np.all(np.abs(slope) > 1)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="scale must be positive mm"):
        soft_masks(jnp.ones(3), scale=scale)
