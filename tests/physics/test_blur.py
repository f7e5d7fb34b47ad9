import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthex_jax.physics.blur import Blur, blurred

PITCH = jnp.array([0.2, 0.3])


def point(shape=(65, 81)):
    return jnp.zeros(shape).at[shape[0] // 2, shape[1] // 2].set(1.0)


def test_a_gaussian_is_scipys(rng):
    image = rng.random((40, 52))
    found = blurred(jnp.asarray(image, jnp.float32), Blur.create(0.36), PITCH)
    expected = gaussian_filter(
        image, (0.36 / 0.2, 0.36 / 0.3), mode="reflect", truncate=8
    )
    # A sampled Gaussian of 1.2 pixels is the continuous one to 1e-3.
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_light_is_neither_lost_nor_made(rng):
    image = jnp.asarray(rng.random((33, 50)), jnp.float32).at[0, 0].set(100.0)
    for blur in (Blur.create(0.5), Blur.create(0.1, tail=0.6, tail_width=20.0)):
        found = blurred(image, blur, PITCH)
        np.testing.assert_allclose(found.sum(), image.sum(), rtol=1e-5)
    flat = jnp.full((30, 31), 7.0)
    np.testing.assert_allclose(blurred(flat, blur, PITCH), flat, rtol=1e-5)


def test_the_tail_is_an_exponential_over_the_radius(x64):
    """Seibert's point spread function, far from the middle and from the edges."""
    blur = Blur.create(0.3, tail=0.5, tail_width=4.0)
    image = blurred(point((401, 401)), blur, jnp.array([0.125, 0.125]))
    radius = 0.125 * np.array([64, 128])
    expected = 0.5 * np.exp(-radius / 4) / (2 * np.pi * 4 * radius) * 0.125**2
    # The core smooths the tail: half its variance times the tail's curvature, 0.5 %.
    found = image[200, 200 + np.array([64, 128])]
    np.testing.assert_allclose(found, expected, rtol=0.01)
    np.testing.assert_allclose(image[264, 200], expected[0], rtol=0.01)


def test_mtf_of_a_sine():
    """A grating between the edges keeps the share of its contrast that mtf says."""
    blur = Blur.scintillator()
    cols = 128
    cycles = 20
    phase = np.pi * (np.arange(cols) + 0.5) * 2 * cycles / cols
    image = jnp.asarray(np.broadcast_to(1 + np.cos(phase), (16, cols)), jnp.float32)
    frequency = cycles / (cols * 0.3)
    contrast = np.ptp(blurred(image, blur, PITCH)) / np.ptp(image)
    np.testing.assert_allclose(contrast, blur.mtf(frequency), rtol=1e-4)
    # Granfors & Aufrichtig 2000, as the description has it.
    expected = [1.0, 0.84, 0.65, 0.38, 0.27]
    np.testing.assert_allclose(
        blur.mtf(np.array([0, 0.5, 1, 2, 2.5])), expected, atol=5e-3
    )


def test_blurred_white_noise_has_the_autocorrelation_of_the_mtf():
    """Wiener and Khinchin: the transform of the MTF's square, 3e5 pixels."""
    blur = Blur.create(0.25, tail=0.3, tail_width=0.8)
    noise = jax.random.normal(jax.random.key(0), (600, 500))
    found = np.asarray(blurred(noise, blur, PITCH), np.float64)[20:-20, 20:-20]
    down = np.fft.fftfreq(512)[:, None] / 0.2
    across = np.fft.fftfreq(512) / 0.3
    power = np.asarray(blur.mtf(np.hypot(down, across))) ** 2
    expected = np.real(np.fft.ifft2(power))
    np.testing.assert_allclose(found.var(), expected[0, 0], rtol=0.02)
    for i, j in [(1, 0), (0, 1), (1, 1), (2, 0), (0, 3)]:
        covariance = np.mean(found[: 560 - i, : 460 - j] * found[i:, j:])
        np.testing.assert_allclose(
            covariance, expected[i, j], atol=0.02 * expected[0, 0]
        )
    # A Gaussian's in closed form: exp(-d^2 / 4 sigma^2).
    found = np.asarray(blurred(noise, Blur.create(0.4), PITCH), np.float64)
    correlation = np.mean(found[:-2] * found[2:]) / found.var()
    np.testing.assert_allclose(correlation, np.exp(-(0.4**2) / (4 * 0.4**2)), atol=0.02)


def test_derivatives(x64):
    image = jax.random.uniform(jax.random.key(0), (12, 14))
    weights = jax.random.normal(jax.random.key(1), (12, 14))

    def total(sigma, tail, width, pitch):
        blur = Blur.create(sigma, tail=tail, tail_width=width)
        return jnp.sum(weights * blurred(image, blur, jnp.array([pitch, 0.3])))

    point = (0.15, 0.3, 1.2, 0.25)
    for i, slope in enumerate(jax.grad(total, argnums=(0, 1, 2, 3))(*point)):
        step = 1e-5 * np.eye(4)[i]
        up, down = (total(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-3)
    at_zero = jax.grad(total, argnums=(0, 1, 2))(0.0, 0.0, 0.0, 0.25)
    assert np.all(np.isfinite(at_zero))


def test_transformations():
    images = jax.random.uniform(jax.random.key(0), (3, 9, 10))
    blur = Blur.create(0.3)
    batch = jax.vmap(blurred, in_axes=(0, None, None))(images, blur, PITCH)
    for image, found in zip(images, batch, strict=True):
        np.testing.assert_allclose(found, blurred(image, blur, PITCH), atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"sigma must not be negative \(mm\), got -0"):
        Blur.create(-0.1)
    with pytest.raises(ValueError, match=r"tail_width must not be negative \(mm\)"):
        Blur.create(0.1, tail=0.1, tail_width=np.nan)
    with pytest.raises(ValueError, match="tail must be a share of the light from 0 to"):
        Blur.create(0.1, tail=10.0)
