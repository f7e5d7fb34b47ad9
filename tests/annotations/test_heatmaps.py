import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from synthex_jax.annotations.heatmaps import (
    HEATMAP_SIGMA_MM,
    heatmaps,
    peaks,
    sigma_for,
)

SHAPE = (40, 30)


def test_is_the_normal_density(x64):
    pixels = jnp.array([[12.3, 20.7], [-4.0, 33.0]])
    grid = np.stack(np.meshgrid(range(40), range(30), indexing="ij"), -1)
    for sigma in (2.5, (2.5, 4.0)):
        found = heatmaps(pixels, SHAPE, sigma=sigma)
        for drawn, pixel in zip(found, pixels, strict=True):
            cov = np.diag(np.broadcast_to(sigma, 2) ** 2.0)
            expected = multivariate_normal(np.asarray(pixel), cov).pdf(grid)
            np.testing.assert_allclose(drawn, expected, atol=1e-12)


def test_published_widths():
    # 2.5, 5 and 20/3 pixels of images downsampled by 8, 4 and 3.
    pitches = 0.194 * np.array([8, 4, 3])
    np.testing.assert_allclose(sigma_for(pitches), [2.5, 5.0, 20 / 3], rtol=1e-6)
    np.testing.assert_allclose(HEATMAP_SIGMA_MM, 20 * 0.194)


def test_nothing_where_not_visible():
    pixels = jnp.array([[12.0, 20.0], [12.0, 20.0], [1e13, -1e13]])
    visible = jnp.array([True, False, True])
    found = heatmaps(pixels, SHAPE, sigma=2.0, visible=visible)
    assert found.shape == (3, *SHAPE)
    np.testing.assert_allclose(found[0].sum(), 1.0, rtol=1e-5)
    assert not found[1].any()
    assert not found[2].any()


def test_derivatives(x64):
    far = 1e13  # what a landmark in the source's plane is projected to
    weights = np.sin(np.arange(3 * 40 * 30)).reshape(3, *SHAPE)

    @jax.jit
    def loss(pixels, sigma):
        drawn = heatmaps(pixels, SHAPE, sigma=sigma, visible=jnp.ones(3, bool))
        return jnp.sum(weights * drawn)

    at = (jnp.array([[12.3, 20.7], [-2.0, 5.0], [far, far]]), jnp.array(2.5))
    slopes = jax.jit(jax.grad(loss, (0, 1)))(*at)
    np.testing.assert_array_equal(slopes[0][2], 0.0)
    for axis in range(2):
        step = np.zeros((3, 2))
        step[:2, axis] = 1e-5
        difference = (loss(at[0] + step, at[1]) - loss(at[0] - step, at[1])) / 2e-5
        np.testing.assert_allclose(slopes[0][:2, axis].sum(), difference, rtol=1e-3)
    difference = (loss(at[0], at[1] + 1e-5) - loss(at[0], at[1] - 1e-5)) / 2e-5
    np.testing.assert_allclose(slopes[1], difference, rtol=1e-3)


def test_peaks_of_gaussians_are_exact(rng):
    pixels = jnp.asarray(rng.uniform((0, 0), (39, 29), (20, 2)), jnp.float32)
    drawn = heatmaps(pixels, SHAPE, sigma=(2.0, 3.0))
    found, values = peaks(drawn)
    # float32 logarithms of neighbors differ by 0.1 to 0.4, to 1e-6.
    np.testing.assert_allclose(found, pixels, atol=1e-4)
    np.testing.assert_array_equal(values, drawn.max(axis=(1, 2)))
    # The height does not matter.
    np.testing.assert_allclose(peaks(1e4 * drawn)[0], pixels, atol=1e-4)


def test_peaks_stay_in_the_image():
    outside = jnp.array([[-0.4, 29.3], [-6.0, 45.0]])
    found, _ = peaks(heatmaps(outside, SHAPE, sigma=4.0))
    np.testing.assert_allclose(found[0], outside[0], atol=1e-4)
    np.testing.assert_allclose(found[1], [-0.5, 29.5])


@pytest.mark.parametrize("value", [0.0, -1.0, 2.0])
def test_peaks_of_flat_maps(value):
    found, values = peaks(jnp.full((1, 5, 6), value, float))
    np.testing.assert_array_equal(found, [[0.0, 0.0]])
    np.testing.assert_array_equal(values, [value])


def test_peaks_of_what_networks_draw():
    """Negative around the peak: the pixel's center; nothing is NaN, slopes neither."""
    drawn = jnp.full((1, 5, 6), -0.1).at[0, 2, 4].set(0.7)
    found, values = peaks(drawn)
    np.testing.assert_array_equal(found, [[2.0, 4.0]])
    np.testing.assert_allclose(values, [0.7])
    slope = jax.jit(jax.grad(lambda maps: peaks(maps)[0].sum()))
    for maps in (drawn, jnp.zeros((1, 5, 6))):
        assert np.isfinite(slope(maps)).all()


def test_batches():
    pixels = jnp.array([[[12.3, 20.7]], [[3.1, 4.2]]])
    draw = jax.vmap(lambda p, s: heatmaps(p, SHAPE, sigma=s))
    found, _ = jax.vmap(peaks)(jax.jit(draw)(pixels, jnp.array([2.0, 3.0])))
    np.testing.assert_allclose(found, pixels, atol=1e-4)


def test_refused():
    pixels = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match=r"sigma must be positive pixels, got 0\.0"):
        heatmaps(pixels, SHAPE, sigma=0.0)
    with pytest.raises(ValueError, match="shape must be two whole numbers"):
        heatmaps(pixels, (0, 3), sigma=1.0)
    with pytest.raises(ValueError, match="pitch must be positive"):
        sigma_for(-0.2)
    with pytest.raises(ValueError, match=r"at least 3 rows and columns, got \(2, 5\)"):
        peaks(jnp.zeros((1, 2, 5)))
