import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from synthex_jax.models.pose_regressor import (
    PoseRegressor,
    cholesky_factor,
    pose_regressor_of,
    weights_of,
)

SIZES = ((10, 13), (8, 16), 12)


@pytest.fixture(scope="module")
def weights():
    """None zero, as after training."""
    shapes = jax.eval_shape(lambda: weights_of(PoseRegressor(*SIZES, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    return {
        name: jnp.asarray(rng.standard_normal(leaf.shape) / len(leaf.shape), float)
        for name, leaf in shapes.items()
    }


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(2), (3, 10, 13, 1))


@pytest.fixture(scope="module")
def predicted():
    return jax.jit(lambda weights, x: pose_regressor_of(*SIZES, weights)(x))


def test_gain_and_offset_of_each_image_do_not_matter(predicted, weights, images):
    gain = jnp.asarray([3.0, 0.01, 40.0])[:, None, None, None]
    before = predicted(weights, images)
    after = predicted(weights, gain * images - 7 * gain)
    for x, y in zip(before, after, strict=True):
        # float32 after an offset of 7 standard deviations.
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4 * np.ptp(x))
    assert float(jnp.ptp(before[0], axis=0).max()) > 0.1


def test_where_something_is_seen_matters(predicted, weights, images):
    mean, moved = (
        predicted(weights, jnp.roll(images, shift, axis=2))[0] for shift in (0, 4)
    )
    assert float(jnp.abs(moved - mean).max()) > 0.1 * float(jnp.ptp(mean))


def test_an_image_of_one_value_gives_numbers(predicted, weights, images):
    for values in predicted(weights, jnp.full_like(images, 2.5)):
        assert np.isfinite(values).all()


def test_without_heads_it_says_what_was_drawn_from(predicted, weights, images):
    heads = ("mean/kernel", "mean/bias", "factor/kernel", "factor/bias")
    still = {n: 0 * w if n in heads else w for n, w in weights.items()}
    mean, factor = predicted(still, images)
    np.testing.assert_array_equal(mean, 0.0)
    np.testing.assert_allclose(factor, np.tile(np.eye(6), (3, 1, 1)), rtol=1e-6)


def test_factors_are_cholesky_factors(rng):
    values = jnp.asarray(3 * rng.standard_normal((5, 21)), float)
    factors = np.asarray(cholesky_factor(values), float)
    np.testing.assert_allclose(
        np.linalg.cholesky(factors @ factors.swapaxes(1, 2)), factors, atol=1e-4
    )
    # Row by row below the diagonal, where numbers stay as they are.
    np.testing.assert_allclose(factors[:, 2, :2], values[:, 3:5], rtol=1e-6)
    assert np.all(factors[:, np.arange(6), np.arange(6)] > 0)


def test_a_network_comes_back_from_its_weights(weights):
    again = weights_of(pose_regressor_of(*SIZES, weights))
    assert again.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(again[name], value)
    with pytest.raises(ValueError, match=r"these differ: \['dense/kernel'\]"):
        pose_regressor_of((30, 13), *SIZES[1:], weights)
    with pytest.raises(ValueError, match=r"these differ.*mean/bias"):
        pose_regressor_of(*SIZES, {k: v for k, v in weights.items() if "b" not in k})


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"widths must be one multiple of 8.*\(12,\)"):
        PoseRegressor((8, 8), (12,), 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"widths must be.*got \(\)"):
        PoseRegressor((8, 8), (), 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        PoseRegressor((8, 8), (8,), 0, rngs=nnx.Rngs(0))
