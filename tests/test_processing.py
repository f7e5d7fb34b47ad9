import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.processing import (
    deepdrr_normalized,
    display,
    equalized,
    gamma_corrected,
    inverted,
    log_image,
    robust_window,
    tone_curve,
    windowed,
)


def radiograph(rows=96, cols=120):
    """Line integrals of two ellipses on a body, air around it, with some texture."""
    y, x = np.mgrid[:rows, :cols] / (rows, cols)[0] - 0.5
    x = x - 0.125
    chord = lambda a, b, u, v: (
        2 * np.sqrt(np.maximum(1 - ((x - u) / a) ** 2 - ((y - v) / b) ** 2, 0))
    )
    image = 1.5 * chord(0.55, 0.45, 0, 0) + 0.6 * chord(0.1, 0.3, 0.1, 0)
    texture = 0.05 * np.random.default_rng(1).normal(size=image.shape)
    return jnp.asarray(image + texture * (image > 0.5), jnp.float32)


def central(function, image, direction, step=1e-6):
    up, down = function(image + step * direction), function(image - step * direction)
    return (up - down) / (2 * step)


def reference_clahe(image, tiles, clip_limit, bins):
    """Zuiderveld's algorithm, pixel by pixel, from its description."""
    rows, cols = image.shape
    height, width = -(-rows // tiles[0]), -(-cols // tiles[1])
    extra = ((0, tiles[0] * height - rows), (0, tiles[1] * width - cols))
    padded = np.pad(image, extra, mode="symmetric")
    tables = np.empty((*tiles, bins))
    for i in range(tiles[0]):
        for j in range(tiles[1]):
            counts = np.zeros(bins)
            tile = padded[i * height : (i + 1) * height, j * width : (j + 1) * width]
            for gray in tile.ravel() * (bins - 1):
                lower = min(int(gray), bins - 2)
                counts[lower] += 1 - (gray - lower)
                counts[lower + 1] += gray - lower
            limit = clip_limit * counts.sum() / bins
            excess = np.maximum(counts - limit, 0).sum()
            counts = np.minimum(counts, limit) + excess / bins
            tables[i, j] = (np.cumsum(counts) - counts / 2) / counts.sum()
    out = np.empty_like(image)
    nodes = np.arange(bins)
    for r in range(rows):
        for c in range(cols):
            u = np.clip((r + 0.5) / height - 0.5, 0, tiles[0] - 1)
            v = np.clip((c + 0.5) / width - 0.5, 0, tiles[1] - 1)
            value = 0.0
            for i in {int(np.floor(u)), int(np.ceil(u))}:
                for j in {int(np.floor(v)), int(np.ceil(v))}:
                    share = max(1 - abs(u - i), 0) * max(1 - abs(v - j), 0)
                    gray = image[r, c] * (bins - 1)
                    value += share * np.interp(gray, nodes, tables[i, j])
            out[r, c] = value
    return out


def test_log_images_invert_beer_and_lambert():
    depth = radiograph()
    flat = 1000.0 * jnp.linspace(0.5, 1.5, 120) * jnp.ones((96, 1))
    found = log_image(flat * jnp.exp(-depth), flat, floor=1.0)
    np.testing.assert_allclose(found, depth, atol=1e-5)


def test_log_images_are_finite_in_dead_and_dark_pixels():
    raw = jnp.array([[-5.0, 0.0, 100.0], [0.0, 50.0, 1e6]])
    flat = jnp.array([[100.0, 100.0, 0.0], [0.0, 100.0, 100.0]])
    found = log_image(raw, flat, floor=2.0)
    expected = [[np.log(50), np.log(50), 0.0], [0.0, np.log(2), -np.log(1e4)]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for argument in (0, 1):
        slope = jax.grad(
            lambda *x: jnp.sum(log_image(*x, floor=2.0)), argnums=argument
        )(raw, flat)
        assert np.all(np.isfinite(slope))


def test_windows():
    image = jnp.array([[0.0, 2.0, 3.0], [4.0, 6.0, 9.0]])
    np.testing.assert_allclose(
        windowed(image, 2.0, 6.0), [[0, 0, 0.25], [0.5, 1, 1]], rtol=1e-6
    )
    np.testing.assert_allclose(inverted(windowed(image, 2, 6))[0], [1, 1, 0.75])


def test_the_robust_window_is_that_of_sorted_pixels():
    image = np.asarray(radiograph(), np.float64)
    least, most = image.min(), image.max()
    body = image[image >= least + 0.1 * (most - least)]
    for percentiles in ((2.0, 99.8), (10.0, 50.0)):
        found = robust_window(radiograph(), percentiles=percentiles)
        # Half a bin of 2048, and the step to the next of 9,000 pixels.
        np.testing.assert_allclose(
            found, np.percentile(body, percentiles), atol=2e-3 * (most - least)
        )
    low, high = robust_window(jnp.full((8, 8), 3.0))
    assert low == high == 3.0


def test_curves():
    gray = jnp.linspace(0.0, 1.0, 101)[None]
    for contrast in (0.1, 3.0, 10.0):
        curve = np.asarray(tone_curve(gray, contrast=contrast))[0]
        np.testing.assert_allclose(curve[[0, 50, 100]], [0, 0.5, 1], atol=1e-5)
        assert np.all(np.diff(curve) > 0)
    # The slopes that the description gives.
    for contrast, slope in ((2.0, 1.08), (4.5, 1.39), (8.0, 2.07)):
        middle = jax.grad(lambda x, c=contrast: tone_curve(x, contrast=c)[0, 0])
        found = middle(jnp.full((1, 1), 0.5))[0, 0]
        np.testing.assert_allclose(found, slope, atol=0.01)
    np.testing.assert_allclose(gamma_corrected(gray, 0.5)[0, 25], 0.5, rtol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(gamma_corrected(x, 0.5)))(gray)
    assert np.all(np.isfinite(slope))
    assert gamma_corrected(gray, 2.0)[0, 0] == 0


@pytest.mark.parametrize(
    ("tiles", "clip_limit", "bins"), [((3, 4), 2.0, 32), ((2, 3), 100.0, 64)]
)
def test_equalization_is_zuidervelds(tiles, clip_limit, bins):
    image = np.asarray(windowed(radiograph(41, 50), 0.0, 4.0), np.float64)
    found = equalized(
        jnp.asarray(image, jnp.float32), tiles=tiles, clip_limit=clip_limit, bins=bins
    )
    expected = reference_clahe(image, tiles, clip_limit, bins)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_equalization_agrees_with_scikit_image():
    """Without a limit, where the two definitions are the same but for the bins."""
    exposure = pytest.importorskip("skimage.exposure")
    # No air: counts of one value are above half for us, below for scikit-image.
    y, x = np.mgrid[:96, :128]
    image = 0.5 + 0.2 * np.sin(x / 17 + y / 29) * np.cos(y / 13)
    image += 0.05 * np.random.default_rng(0).normal(size=image.shape)
    image = np.clip(image, 0, 1)
    expected = exposure.equalize_adapthist(
        image, kernel_size=(24, 32), clip_limit=1.0, nbins=256
    )
    found = np.asarray(
        equalized(
            jnp.asarray(image, jnp.float32), tiles=(4, 4), clip_limit=1e3, bins=256
        )
    )
    # It rounds gray values to bins, counts the whole of a bin, stretches the result.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(found - expected).mean() < 0.01
    assert np.abs(found - expected).max() < 0.04


def test_equalization_leaves_what_is_even():
    """Uniform gray values are their own equalization; the limit bounds the slope."""
    rng = np.random.default_rng(0)
    even = jnp.asarray(rng.random((256, 256)), jnp.float32)
    found = equalized(even, tiles=(2, 2), clip_limit=50.0)
    # 16,384 pixels a tile: four standard deviations of a cumulative histogram.
    np.testing.assert_allclose(found, even, atol=4 * 0.5 / 128)
    narrow = 0.5 + 0.01 * (even - 0.5)
    wide = equalized(narrow, tiles=(1, 1), clip_limit=3.0)
    assert np.ptp(wide) < 0.01 * (3.0 + 1.0) + 1 / 128 * 4
    assert equalized(even, tiles=(1, 1), clip_limit=0.5).std() < 0.3


def test_equalization_brings_out_what_is_faint():
    image = windowed(radiograph(), *robust_window(radiograph()))
    found = equalized(image, tiles=(4, 4))
    local = lambda x: np.asarray(x)[40:56, 40:56].std()
    assert local(found) > 1.4 * local(image)
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_deepdrr_normalization():
    intensity = np.exp(-np.asarray(radiograph(), np.float64))
    values = -np.log(intensity + intensity.min() + 0.01)
    expected = (values - values.min()) / np.ptp(values)
    found = deepdrr_normalized(jnp.asarray(intensity, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for constant in (0.0, 0.7):
        flat = jnp.full((4, 5), constant)
        assert not np.any(deepdrr_normalized(flat))
        slope = jax.grad(lambda x: jnp.sum(deepdrr_normalized(x)))(flat)
        assert np.all(np.isfinite(slope))


def test_display_shows_bone_white():
    image = radiograph()
    found = np.asarray(display(image))
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[48, 72] > found[48, 40] > found[1, 1]
    nothing = jnp.zeros_like(image)
    value, slope = jax.jit(jax.value_and_grad(lambda x: jnp.sum(display(x))))(nothing)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    "step",
    [
        lambda x: log_image(jnp.exp(-x), 1 + 0.1 * x, floor=1e-3),
        lambda x: windowed(x, 0.4, 2.9),
        lambda x: tone_curve(x / 4, contrast=3.0, midpoint=0.4),
        lambda x: gamma_corrected(x / 4, 0.6),
        lambda x: equalized(x / 4, tiles=(2, 2), bins=16),
        lambda x: deepdrr_normalized(jnp.exp(-x)),
        display,
    ],
    ids=["log", "window", "tone", "gamma", "equalized", "deepdrr", "display"],
)
def test_derivatives(x64, step):
    image = jnp.asarray(radiograph(24, 30), jnp.float64)
    image = image + 0.05 * jax.random.uniform(jax.random.key(2), image.shape)
    weights, direction = (
        jax.random.normal(jax.random.key(i), image.shape) for i in (0, 1)
    )
    total = jax.jit(lambda x: jnp.sum(weights * step(x)))
    slope = jnp.sum(direction * jax.jit(jax.grad(total))(image))
    # Steps small enough for no pixel to change its bin on the way.
    expected = central(total, image, direction, step=1e-9)
    np.testing.assert_allclose(slope, expected, rtol=1e-3)


def test_derivatives_of_the_settings(x64):
    image = jnp.asarray(radiograph(24, 30), jnp.float64) / 4
    weights = jax.random.normal(jax.random.key(0), image.shape)

    def total(low, high, contrast, midpoint, clip_limit, gamma):
        gray = windowed(image, low, high)
        gray = equalized(gray, tiles=(2, 2), clip_limit=clip_limit, bins=16)
        gray = tone_curve(gray, contrast=contrast, midpoint=midpoint)
        return jnp.sum(weights * gamma_corrected(gray, gamma))

    point = (0.1, 0.9, 3.0, 0.5, 1.7, 0.8)
    value = jax.jit(total)
    slopes = jax.jit(jax.grad(total, argnums=tuple(range(6))))(*point)
    for i, slope in enumerate(slopes):
        step = 1e-7 * np.eye(6)[i]
        up, down = (value(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-7, rtol=1e-3)


def test_batches():
    images = jnp.stack([radiograph(), 2 * radiograph()])
    batch = jax.jit(jax.vmap(display))(images)
    for image, found in zip(images, batch, strict=True):
        np.testing.assert_allclose(found, display(image), atol=1e-4)


def test_errors():
    image = jnp.ones((16, 16))
    with pytest.raises(ValueError, match="floor must be positive"):
        log_image(image, image, floor=0.0)
    with pytest.raises(ValueError, match="low must be below high, got 2"):
        windowed(image, 2.0, 1.0)
    with pytest.raises(ValueError, match=r"percentiles must rise .* got \(90.0, 10.0"):
        robust_window(image, percentiles=(90.0, 10.0))
    with pytest.raises(ValueError, match="contrast must be positive"):
        tone_curve(image, contrast=0.0)
    with pytest.raises(ValueError, match="gamma must be positive"):
        gamma_corrected(image, -1.0)
    with pytest.raises(ValueError, match=r"tiles must number .* \(9, 8\) for an image"):
        equalized(image, tiles=(9, 8))
    with pytest.raises(ValueError, match="clip_limit must be positive"):
        equalized(image, clip_limit=0.0)
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        equalized(image, bins=1)
