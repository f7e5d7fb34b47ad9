from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.blur import Blur
from synthex_jax.physics.intensifier import ImageIntensifier
from synthex_jax.physics.signal import Signal

PITCH = jnp.array([0.5, 0.5])
KEY = jax.random.key(0)
SHAPE = (241, 241)


def uniform(mean, variance, shape=SHAPE):
    return Signal(jnp.full(shape, mean), jnp.full(shape, variance))


def clear(**kwargs):
    """One keV is one unit, and only what a test asks for is not ideal."""
    values = {"diameter": 100.0, "full_scale": 1.0, "bits": None, "camera_noise": 0.0}
    values |= {"distortion": 0.0, "vignetting": 0.0, "blur": Blur.create(0.0)}
    return ImageIntensifier.create(**(values | kwargs))


def radii():
    axis = 0.5 * (np.arange(241) - 120)
    return np.hypot(axis[:, None], axis)


def test_the_field_is_round():
    image = np.asarray(clear().read(None, uniform(8.0, 0.0), PITCH))
    np.testing.assert_allclose(image[radii() < 47], 8.0, rtol=1e-4)
    np.testing.assert_allclose(image[radii() > 53], 0.0, atol=1e-4)
    # What light there is, is that of the disc: the rim is soft to both sides. Screen
    # and camera both have one, which makes it a tenth of a millimeter smaller or so.
    np.testing.assert_allclose(image.sum() / 8 * 0.25, np.pi * 50**2, rtol=0.02)


def test_vignetting_falls_with_the_square():
    image = np.asarray(clear(vignetting=0.3).read(None, uniform(1.0, 0.0), PITCH))
    inside = radii() < 46
    expected = 1 - 0.3 * (radii() / 50) ** 2
    np.testing.assert_allclose(image[inside], expected[inside], rtol=1e-3)


def test_the_pincushion_moves_points_outward():
    """A point seen at r comes from r / (1 + d (r / R)^2)."""
    down, across = np.mgrid[:241, :241]
    blob = lambda row, col: np.exp(-((down - row) ** 2 + (across - col) ** 2) / 18)
    tube = clear(distortion=0.2)
    for seen in (0.0, 20.0, -40.0):
        origin = seen / (1 + 0.2 * (seen / 50) ** 2)
        source = jnp.asarray(blob(120, 120 + origin / 0.5), jnp.float32)
        image = np.asarray(tube.read(None, Signal(source, 0 * source), PITCH))
        peak = np.unravel_index(image.argmax(), image.shape)
        np.testing.assert_allclose(peak, (120, 120 + seen / 0.5), atol=0.51)
    # At the field's own middle nothing moves, and a plain field stays plain.
    image = tube.read(None, uniform(5.0, 0.0), PITCH)
    np.testing.assert_allclose(image[radii() < 46], 5.0, rtol=1e-3)


def test_glare_fills_shadows():
    """Behind a lead disc a tenth of the field's diameter glare is left."""
    open_field = uniform(100.0, 0.0)
    mean = jnp.where(radii() < 5, 0.0, 100.0)
    tube = clear(blur=Blur.create(0.1, tail=0.2, tail_width=20.0))
    shadow, light = (
        tube.read(None, Signal(m, 0 * m), PITCH)[120, 120]
        for m in (mean, open_field.mean)
    )
    # By the integral of the point spread function from 5 to 50 mm; mirrors beyond the
    # rim, which is in the image, see nothing.
    share = 0.2 * (np.exp(-5 / 20) - np.exp(-50 / 20))
    np.testing.assert_allclose(shadow, 100 * share, rtol=0.03)
    np.testing.assert_allclose(light, 100 * (1 - 0.2 * np.exp(-50 / 20)), rtol=0.01)
    # The contrast ratio that data sheets give is 10 to 30 for such a disc.
    typical = ImageIntensifier.create(diameter=100.0, full_scale=1.0, bits=None)
    dark = typical.expected(Signal(mean, 0 * mean), PITCH)[120, 120]
    assert 8 < typical.expected(open_field, PITCH)[120, 120] / dark < 35


def test_noise_is_the_same_all_over_a_distorted_field():
    tube = clear(distortion=0.1, camera_noise=20.0)
    image = np.asarray(tube.read(KEY, uniform(6000.0, 3.6e5), PITCH))
    for ring in ((0, 20), (20, 35), (35, 46)):
        values = image[(radii() >= ring[0]) & (radii() < ring[1])]
        np.testing.assert_allclose(values.mean(), 6000.0, rtol=0.01)
        # 5,000 to 12,000 pixels: 2 % of statistics, one standard deviation.
        np.testing.assert_allclose(values.var(), 3.6e5 + 400, rtol=0.06)
    outside = image[radii() > 55]
    np.testing.assert_allclose(outside.std(), 20.0, rtol=0.03)


def test_reading_and_expectation_agree():
    tube = ImageIntensifier.create(diameter=100.0, full_scale=1e4)
    signal = uniform(4000.0, 2e5)
    expected = tube.expected(signal, PITCH)
    image = tube.read(None, signal, PITCH)
    np.testing.assert_allclose(image, expected, atol=0.5)
    np.testing.assert_array_equal(image, np.rint(image))
    noisy = tube.read(KEY, signal, PITCH)
    inside = radii() < 46
    assert abs(np.mean(np.asarray(noisy - expected)[inside])) < 0.5
    assert tube.read(None, uniform(1e6, 0.0), PITCH).max() == 1023
    assert tube.response(60.0).first > 20
    assert tube.grid is None


def test_derivatives(x64):
    shape = (20, 22)
    weights = jax.random.normal(jax.random.key(1), shape)
    base = 500 + 100 * jax.random.uniform(jax.random.key(2), shape)
    names = ("diameter", "edge", "distortion", "vignetting", "gain", "camera_noise")

    def total(*values):
        tube = replace(
            clear(blur=Blur.create(0.6, tail=values[7], tail_width=5.0)),
            **dict(zip(names, values[:6], strict=True)),
        )
        signal = Signal(values[6] * base, values[6] * 50 * base)
        return jnp.sum(weights * tube.read(KEY, signal, PITCH))

    point = (9.3, 0.6, 0.06, 0.2, 0.5, 9.0, 1.1, 0.15)
    point = tuple(jnp.asarray(x) for x in point)
    value = jax.jit(total)
    slopes = jax.jit(jax.grad(total, argnums=tuple(range(8))))(*point)
    for i, slope in enumerate(slopes):
        step = 1e-6 * np.eye(8)[i]
        up, down = (value(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-3)


def test_transformations():
    tube = ImageIntensifier.create(diameter=8.0, full_scale=1e4)
    keys = jax.random.split(KEY, 2)
    signal = uniform(4000.0, 2e5, (16, 18))
    batch = jax.vmap(tube.read, in_axes=(0, None, None))(keys, signal, PITCH)
    for key, image in zip(keys, batch, strict=True):
        # Sums in another order may round the other way: one unit.
        np.testing.assert_allclose(image, tube.read(key, signal, PITCH), atol=1.0)


def test_errors():
    create = lambda **kwargs: ImageIntensifier.create(
        **({"diameter": 230.0, "full_scale": 1e4} | kwargs)
    )
    for name in ("diameter", "full_scale", "edge"):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            create(**{name: 0.0})
    with pytest.raises(ValueError, match=r"distortion must be from -0.3 to 0.5"):
        create(distortion=5.0)
    with pytest.raises(ValueError, match="vignetting must be a share of the light"):
        create(vignetting=-0.1)
    with pytest.raises(ValueError, match="camera_noise must not be negative"):
        create(camera_noise=-1.0)
    with pytest.raises(ValueError, match="bits must be from 8 to 16"):
        create(bits=32)
