import numpy as np
import pytest

from synthex_jax import viz


@pytest.fixture
def ramp() -> np.ndarray:
    return np.linspace(0, 10, 12 * 10, dtype=np.float32).reshape(12, 10)


def test_high_is_bright_and_the_window_is_black_to_white(ramp):
    gray = viz.to_display(ramp, window=(2.0, 8.0))
    np.testing.assert_allclose(gray, np.clip((ramp - 2) / 6, 0, 1), atol=1e-6)


def test_invert_and_flip(ramp):
    plain = viz.to_display(ramp, window=(0.0, 10.0))
    inverted = viz.to_display(ramp, window=(0.0, 10.0), invert=True)
    flipped = viz.to_display(ramp, window=(0.0, 10.0), flip=True)
    np.testing.assert_allclose(inverted, 1 - plain)
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


@pytest.mark.parametrize(
    ("convert", "dtype", "white"),
    [(viz.to_uint8, np.uint8, 255), (viz.to_uint16, np.uint16, 65535)],
)
def test_depths_use_their_whole_range(ramp, convert, dtype, white):
    pixels = convert(ramp, window=(0.0, 10.0))
    assert pixels.dtype == dtype
    assert (pixels.min(), pixels.max()) == (0, white)
    # 120 values, all apart at 8 bits already.
    assert len(np.unique(pixels)) == ramp.size


def test_robust_window_ignores_air_and_a_metal_pixel(rng):
    image = np.zeros((100, 100))
    image[20:80, 20:80] = rng.uniform(3, 6, (60, 60))
    low, high = viz.robust_window(image)
    assert 3 <= low < 3.2
    assert 5.9 < high <= 6
    image[50, 50] = 20.0
    assert viz.robust_window(image)[1] <= 6


def test_an_image_of_one_value_is_black():
    assert not viz.to_uint8(np.full((3, 4), 7.0)).any()


@pytest.mark.parametrize("window", [(5.0, 2.0), (1.0, 1.0), (0.0, np.nan)])
def test_refuses_a_window_without_width(ramp, window):
    with pytest.raises(ValueError, match="window must be"):
        viz.to_display(ramp, window=window)


def test_refuses_channels_and_nan(ramp):
    with pytest.raises(ValueError, match="image must have shape"):
        viz.to_display(np.zeros((3, 4, 2)))
    ramp[0, 0] = np.nan
    with pytest.raises(ValueError, match="image must be finite"):
        viz.to_display(ramp)
