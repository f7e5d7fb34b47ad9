import numpy as np
import pytest
from PIL import Image

from synthex_jax.radiographs.field import field_of_view
from synthex_jax.radiographs.reader import read_radiograph
from synthex_jax.radiographs.values import BoneDark, Transmission


def tissue(shape, rng):
    """Something smooth with noise, from 0.4 to 1."""
    rows, cols = np.indices(shape)
    waves = np.sin(rows / 31.0) * np.cos(cols / 17.0)
    return 0.7 + 0.25 * waves + 0.01 * rng.normal(size=shape)


@pytest.mark.parametrize("side", [100, 256, 700])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_round_field_is_found(rng, side, sign):
    rows, cols = np.indices((side, side)) - (side - 1) / 2
    radius = np.hypot(rows, cols)
    image = np.where(radius < 0.46 * side, tissue((side, side), rng), 0.0)
    field = field_of_view(sign * image)
    # To the edge's blur: two pixels of 256, and one of rounding.
    margin = 4 * max(1, side / 256)
    assert field[radius < 0.46 * side - margin].all()
    assert not field[radius >= 0.46 * side].any()


def test_a_collimated_rectangle_with_penumbra_is_found(rng):
    from scipy.ndimage import gaussian_filter

    free = np.zeros((300, 400))
    free[40:250, 100:390] = 1.0
    image = gaussian_filter(free, 2.0) * tissue(free.shape, rng)
    field = field_of_view(image)
    assert field[55:235, 115:375].all()
    assert not field[:35].any()
    assert not field[:, :95].any()


def test_air_beside_a_body_belongs_to_the_image(rng):
    cols = np.arange(300) - 150.0
    chord = 2 * np.sqrt(np.maximum(110.0**2 - cols**2, 0)) * np.ones((200, 1))
    body = chord / chord.max() + 0.002 * rng.normal(size=chord.shape)
    assert field_of_view(body).all()
    assert field_of_view(np.exp(-4 * body)).all()


def test_degenerate_images_are_all_field():
    for image in (np.zeros((5, 7)), np.eye(3), np.arange(12.0).reshape(3, 4)):
        assert field_of_view(image).all()
        assert field_of_view(image).shape == image.shape


def test_real_round_and_collimated_fields(shared_data):
    paths = sorted((shared_data / "hip-fluoro").glob("*.png"))
    if not paths:
        pytest.skip("the frames are not here")
    for path in paths[::4]:
        with Image.open(path) as picture:
            stored = np.asarray(picture)
        found = read_radiograph(path, values=BoneDark())
        weights = np.asarray(found.weights)
        # The corners are black; what is bright is in the field, but at its rim.
        assert weights[[0, 0, -1, -1], [0, -1, 0, -1]].sum() == 0
        assert 0.5 < weights.mean() < 0.7
        assert weights[stored > 100].mean() > 0.97
        assert stored[weights > 0].min() >= 0
        assert (stored[weights > 0] < 5).mean() < 0.01


def test_a_real_flat_panel_radiograph(shared_data):
    path = shared_data / "loopx" / "loopx1.png"
    if not path.is_file():
        pytest.skip("the radiograph is not here")
    found = read_radiograph(path, values=Transmission(saturation=1.0))
    with Image.open(path) as picture:
        counts = np.asarray(picture).astype(float)
    # Read to all 16 bits, and the whole panel counts: it has no collimator in view.
    expected = np.log(counts.max() / counts)
    np.testing.assert_allclose(found.image, expected, atol=1e-5)
    assert float(found.weights.mean()) == 1.0
    # The lumbar spine is brighter than the flanks on either side.
    strip = np.asarray(found.image)[200:400].mean(0)
    assert strip[650:730].mean() > strip[[300, 1050]].max() + 0.2
