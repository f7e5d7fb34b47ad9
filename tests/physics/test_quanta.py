import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from synthex_jax.physics.quanta import sampled
from synthex_jax.physics.scintillators import Scintillator
from synthex_jax.physics.signal import Signal, detected


def uniform(mean, variance, shape=(400, 400)):
    return Signal(jnp.full(shape, mean), jnp.full(shape, variance))


def moments_over_deviates(monkeypatch, quanta):
    """Mean and variance of the sample, by quadrature over its normal deviate."""
    deviates = np.linspace(-9, 9, 200_001)
    monkeypatch.setattr(jax.random, "normal", lambda *_: jnp.asarray(deviates[None]))
    signal = uniform(50.0 * quanta, 2500.0 * quanta, (1, len(deviates)))
    with jax.disable_jit():
        values = np.asarray(sampled(jax.random.key(0), signal))[0]
    weights = norm.pdf(deviates) * (deviates[1] - deviates[0])
    mean = np.sum(weights * values)
    return mean, np.sum(weights * (values - mean) ** 2)


@pytest.mark.parametrize("quanta", [0.002, 0.05, 0.3, 1.0, 3.0, 30.0, 1e3, 1e6])
def test_mean_and_variance_are_exact(x64, monkeypatch, quanta):
    """Without chance: by integrals over the deviate."""
    mean, variance = moments_over_deviates(monkeypatch, quanta)
    np.testing.assert_allclose(mean, 50.0 * quanta, rtol=1e-6)
    np.testing.assert_allclose(variance, 2500.0 * quanta, rtol=5e-3)


@pytest.mark.parametrize("quanta", [0.05, 1.0, 20.0, 1e4])
def test_mean_and_variance_of_samples(quanta):
    values = np.asarray(
        sampled(jax.random.key(3), uniform(60.0 * quanta, 3600.0 * quanta))
    )
    assert values.min() >= 0
    # 160,000 samples: standard errors are below 0.3 % of the noise, and, with the
    # fourth moment of rare events, 2 % of the variance at 0.05 quanta.
    error = 4 * np.sqrt(3600.0 * quanta / values.size)
    np.testing.assert_allclose(values.mean(), 60 * quanta, atol=error)
    np.testing.assert_allclose(
        values.var(), 3600 * quanta, rtol=0.08 / (1 + 4 * quanta) + 0.014
    )


def test_agrees_with_photons_drawn_one_by_one(rng):
    """Mean, variance and skewness of a compound Poisson number, 40 photons a pixel."""
    energies = np.array([30.0, 45.0, 60.0, 75.0])
    rates = np.array([8.0, 15.0, 12.0, 5.0])
    layer = Scintillator.csi(swank=1.0)
    response = layer.response(energies)
    # Photons leave their mean energy, or the K line's less: two values a photon.
    efficiency = np.asarray(layer.efficiency(energies))
    mean = np.asarray(response.first) / efficiency
    spread = np.sqrt(np.maximum(np.asarray(response.second) / efficiency - mean**2, 0))
    drawn = np.zeros(100_000)
    for rate, value, width in zip(rates * efficiency, mean, spread, strict=True):
        for sign in (-1, 1):
            drawn += rng.poisson(rate / 2, drawn.size) * (value + sign * width)
    photons = jnp.broadcast_to(jnp.asarray(rates), (320, 320, 4))
    ours = np.asarray(sampled(jax.random.key(0), detected(photons, response)))
    np.testing.assert_allclose(ours.mean(), drawn.mean(), rtol=3e-3)
    np.testing.assert_allclose(ours.var(), drawn.var(), rtol=0.02)
    skewness = lambda x: np.mean((x - x.mean()) ** 3) / x.std() ** 3
    # Gamma's skewness is twice that of Poisson numbers: the right sign, no more.
    assert skewness(drawn) < skewness(ours) < 2.5 * skewness(drawn)


def test_derivatives_pass_through_the_sample(x64):
    weights = jax.random.normal(jax.random.key(5), (20, 20))

    def total(mean, variance):
        signal = uniform(mean, variance, (20, 20))
        return jnp.sum(weights * sampled(jax.random.key(1), signal))

    for point in [(3.0, 100.0), (80.0, 4000.0), (1e5, 6e6)]:
        slopes = jax.grad(total, argnums=(0, 1))(*point)
        for i, slope in enumerate(slopes):
            step = 1e-5 * point[i] * np.eye(2)[i]
            up, down = (total(*np.add(point, s * step)) for s in (1, -1))
            expected = (up - down) / (2e-5 * point[i])
            np.testing.assert_allclose(slope, expected, rtol=1e-3)


@pytest.mark.parametrize("quanta", [0.3, 5.0, 1e3])
def test_derivatives_have_no_bias(quanta):
    """Of mean and variance, with respect to the number of photons."""
    keys = jax.random.split(jax.random.key(0), 2)

    def moments(number):
        first, second = (
            sampled(key, uniform(60 * number, 3600 * number, (600, 600)))
            for key in keys
        )
        # A product of independent samples is no bias either.
        return jnp.mean(first) / 60, jnp.mean(first**2) / 3600, jnp.mean(first * second)

    mean, square, product = jax.jacobian(moments)(jnp.asarray(quanta))
    np.testing.assert_allclose(mean, 1.0, rtol=0.02)
    np.testing.assert_allclose(square, 1 + 2 * quanta, rtol=0.03)
    np.testing.assert_allclose(product, 7200 * quanta, rtol=0.02)


def test_darkness_is_finite():
    total = lambda mean, variance: jnp.sum(
        sampled(jax.random.key(0), Signal(mean, variance))
    )
    for mean in (0.0, 1e-30, 1e-8, 1.0):
        for variance in (0.0, 1e-30, 1e-6, 50.0):
            signal = uniform(mean, variance, (8, 8))
            value, slopes = jax.value_and_grad(total, argnums=(0, 1))(
                signal.mean, signal.variance
            )
            assert np.isfinite(value)
            assert all(np.all(np.isfinite(slope)) for slope in slopes)
    assert total(jnp.zeros((8, 8)), jnp.zeros((8, 8))) == 0
    # No variance, no noise, but for the thousandth of a keV that keeps slopes finite.
    still = sampled(jax.random.key(0), uniform(100.0, 0.0))
    np.testing.assert_allclose(still, 100.0, atol=6e-3)


def test_transformations():
    keys = jax.random.split(jax.random.key(0), 3)
    signal = uniform(1e3, 5e4, (16, 16))
    batch = jax.vmap(sampled, in_axes=(0, None))(keys, signal)
    for key, image in zip(keys, batch, strict=True):
        np.testing.assert_allclose(image, sampled(key, signal), rtol=1e-5)


def test_the_expected_cube_is_in_closed_form():
    """The formula in the module's description, by quadrature."""
    for shift in (-2.0, 0.3, 4.0):
        cube = lambda z, r=shift: max(r + z, 0) ** 3 * norm.pdf(z)
        found = quad(cube, -shift, 12)[0]
        expected = (shift**3 + 3 * shift) * norm.cdf(shift)
        expected += (shift**2 + 2) * norm.pdf(shift)
        np.testing.assert_allclose(found, expected, rtol=1e-8)
