from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.antiscatter import AntiscatterGrid
from synthex_jax.physics.blur import Blur
from synthex_jax.physics.detectors import (
    FlatPanel,
    IdealDetector,
    corrected,
    defective_gain,
)
from synthex_jax.physics.scintillators import PerfectAbsorber, Scintillator
from synthex_jax.physics.signal import Signal, detected

PITCH = jnp.array([0.2, 0.2])
KEY = jax.random.key(0)


def uniform(mean, variance, shape=(320, 320)):
    return Signal(jnp.full(shape, mean), jnp.full(shape, variance))


def plain(**kwargs):
    return FlatPanel.create(PerfectAbsorber(), blur=Blur.create(0.15), **kwargs)


def test_an_ideal_detector_counts_all():
    detector = IdealDetector.create(gain=2.0)
    energies = jnp.array([40.0, 80.0])
    signal = detected(jnp.full((300, 300, 2), 50.0), detector.response(energies))
    np.testing.assert_allclose(detector.expected(signal, PITCH), 2 * 6000.0, rtol=1e-6)
    np.testing.assert_array_equal(
        detector.read(None, signal, PITCH), detector.expected(signal, PITCH)
    )
    image = np.asarray(detector.read(KEY, signal, PITCH))
    np.testing.assert_allclose(image.mean(), 12_000.0, rtol=1e-3)
    # Compound Poisson: 4 * 50 * (40^2 + 80^2); 90,000 samples.
    np.testing.assert_allclose(image.var(), 1.6e6, rtol=0.02)
    assert detector.grid is None


def test_noise_of_a_panel_is_blurred_quanta_and_white_electronics():
    """Mean, variance and autocorrelation of 1e5 pixels."""
    panel = plain(gain=0.5, electronic_noise=30.0, offset=10.0)
    signal = uniform(6000.0, 3.6e5)
    image = np.asarray(panel.read(KEY, signal, PITCH), np.float64)
    frequency = np.fft.fftfreq(256) / 0.2
    power = np.asarray(panel.blur.mtf(np.hypot(frequency[:, None], frequency))) ** 2
    expected = 0.25 * 3.6e5 * np.real(np.fft.ifft2(power))
    expected[0, 0] += 0.25 * 900.0
    np.testing.assert_allclose(image.mean(), 3010.0, rtol=1e-3)
    np.testing.assert_allclose(image.var(), expected[0, 0], rtol=0.02)
    noise = image - image.mean()
    for i, j in [(0, 1), (1, 0), (1, 1), (2, 0), (0, 3)]:
        covariance = np.mean(noise[: 320 - i, : 320 - j] * noise[i:, j:])
        np.testing.assert_allclose(
            covariance, expected[i, j], atol=0.02 * expected[0, 0]
        )


def test_without_a_key_there_is_no_noise():
    panel = plain(gain=0.5, electronic_noise=30.0, offset=10.0)
    signal = uniform(6000.0, 3.6e5, (20, 20))
    np.testing.assert_allclose(panel.read(None, signal, PITCH), 3010.0, rtol=1e-6)
    np.testing.assert_array_equal(
        panel.read(None, signal, PITCH), panel.expected(signal, PITCH)
    )


def test_a_converter_limits_and_rounds():
    panel = plain(gain=1.0, bits=8)
    ramp = jnp.broadcast_to(jnp.linspace(-100.0, 400.0, 64), (64, 64))
    signal = Signal(ramp, jnp.zeros((64, 64)))
    panel = replace(panel, blur=Blur.create(0.0))
    image = panel.read(None, signal, PITCH)
    # Half a unit beyond rounding for what the transform does to values near a half.
    np.testing.assert_allclose(image, np.clip(np.rint(ramp), 0, 255), atol=1.0)
    np.testing.assert_array_equal(image, np.rint(image))
    assert image.min() == 0
    assert image.max() == 255
    slope = jax.grad(
        lambda gain: jnp.sum(replace(panel, gain=gain).read(None, signal, PITCH))
    )(jnp.asarray(1.0))
    inside = (ramp > 0) & (ramp < 255)
    np.testing.assert_allclose(slope, jnp.sum(jnp.where(inside, ramp, 0)), rtol=1e-3)


def test_a_typical_panel_behaves():
    """Quantum-limited in use: electronics add little to 1000 photons, much to one."""
    panel = FlatPanel.csi(full_scale=1e5, grid=AntiscatterGrid.typical())
    assert panel.bits == 14
    np.testing.assert_allclose(panel.gain, (2**14 - 1) / 1e5, rtol=1e-6)
    response = panel.response(60.0)
    assert 1000 * response.second > 100 * panel.electronic_noise**2
    assert 0.3 * response.second < panel.electronic_noise**2
    full = uniform(1e5, 0.0, (16, 16))
    np.testing.assert_array_equal(panel.read(None, full, PITCH), 2**14 - 1)
    assert panel.grid is not None
    assert panel.grid.primary > panel.grid.scatter
    unrounded = FlatPanel.csi(full_scale=1e5, bits=None)
    np.testing.assert_allclose(unrounded.read(None, full, PITCH), 1.0, rtol=1e-5)


def test_derivatives(x64):
    """Of everything that is a leaf, through noise, blur and limits."""
    weights = jax.random.normal(jax.random.key(1), (18, 20))
    energies = jnp.array([45.0, 61.3])

    def total(thickness, swank, sigma, gain, noise, offset, photons):
        panel = FlatPanel.create(
            Scintillator.create("CsI", thickness=thickness, swank=swank),
            blur=Blur.create(sigma, tail=0.4, tail_width=0.5),
            gain=gain,
            electronic_noise=noise,
            offset=offset,
        )
        light = jnp.broadcast_to(photons * jnp.array([1.0, 0.5]), (18, 20, 2))
        signal = detected(light, panel.response(energies))
        return jnp.sum(weights * panel.read(KEY, signal, PITCH))

    point = (0.5, 0.9, 0.15, 0.7, 50.0, 100.0, 60.0)
    value = jax.jit(total)
    slopes = jax.jit(jax.grad(total, argnums=tuple(range(7))))(*point)
    for i, slope in enumerate(slopes):
        step = 1e-5 * np.eye(7)[i]
        up, down = (value(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-3)


def test_defects_and_their_correction():
    gain = np.asarray(defective_gain(KEY, (400, 400), gain=3.0, spread=0.05, dead=0.01))
    is_dead = gain == 0
    # 160,000 pixels: 1600 dead, give or take 40.
    np.testing.assert_allclose(is_dead.mean(), 0.01, rtol=0.1)
    np.testing.assert_allclose(gain[~is_dead].mean(), 3.0, rtol=1e-3)
    np.testing.assert_allclose(gain[~is_dead].std(), 0.15, rtol=0.02)
    panel = plain(gain=gain, bits=14)
    image = panel.read(None, uniform(1000.0, 0.0, (400, 400)), PITCH)
    assert np.all(np.asarray(image)[is_dead] == 0)
    down, across = np.mgrid[:20, :30]
    ramp = jnp.asarray(3.0 + 2 * down + across)
    dead = jnp.zeros((20, 30)).at[[3, 7, 7, 19], [4, 8, 9, 29]].set(1.0)
    filled = corrected(ramp * (1 - dead), dead)
    # A single defect in a ramp is exact; one of a pair is off by a seventh of a step.
    np.testing.assert_allclose(filled[3, 4], ramp[3, 4], rtol=1e-6)
    np.testing.assert_allclose(filled[7, 8:10], ramp[7, 8:10], atol=0.2)
    np.testing.assert_array_equal(filled[dead == 0], ramp[dead == 0])
    nothing = jnp.ones((4, 4))
    np.testing.assert_array_equal(corrected(2 * nothing, nothing), 2 * nothing)


def test_transformations():
    panel = FlatPanel.csi(full_scale=1e5)
    signal = uniform(3e4, 1.5e6, (16, 16))
    keys = jax.random.split(KEY, 3)
    batch = jax.vmap(panel.read, in_axes=(0, None, None))(keys, signal, PITCH)
    assert batch.shape == (3, 16, 16)
    for key, image in zip(keys, batch, strict=True):
        # Sums in another order may round the other way: one unit.
        np.testing.assert_allclose(image, panel.read(key, signal, PITCH), atol=1.0)
    noises = jax.vmap(lambda n: replace(panel, electronic_noise=n))(jnp.ones(3))
    assert noises.electronic_noise.shape == (3,)


def test_errors():
    with pytest.raises(ValueError, match=r"bits must be from 8 to 16, or .* got 7"):
        FlatPanel.csi(full_scale=1e5, bits=7)
    with pytest.raises(ValueError, match=r"full_scale must be positive \(keV in a pix"):
        FlatPanel.csi(full_scale=0.0)
    with pytest.raises(ValueError, match="gain must not be negative"):
        plain(gain=-1.0)
    with pytest.raises(ValueError, match=r"gain must be one number or \(rows, cols\)"):
        plain(gain=np.ones(3))
    with pytest.raises(ValueError, match="electronic_noise must not be negative"):
        plain(electronic_noise=-1.0)
    with pytest.raises(ValueError, match="gain must be positive"):
        IdealDetector.create(0.0)
    with pytest.raises(ValueError, match="dead must be a share of the pixels"):
        defective_gain(KEY, (4, 4), gain=1.0, dead=1.5)
