import io

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import synthex_jax as sx
from synthex_jax import viz
from synthex_jax.viz.pictures import round_length


@pytest.fixture
def camera() -> sx.Camera:
    return sx.CArm.generic().resized((48, 64)).view("AP")


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.uniform(0, 5, (48, 64))


def drawn(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_radiograph_has_letters_and_a_scale(image, camera):
    figure = viz.radiograph(image, camera, title="AP")
    assert drawn(figure)[..., :3].std() > 5
    assert words(figure)[:4] == ["R", "L", "H", "F"]
    assert words(figure)[4].endswith("mm at the detector")


def test_scale_bar_has_the_length_it_says(image, camera):
    isocenter = jnp.zeros(3)
    for where, magnification in ((None, 1.0), (isocenter, 1200 / 900)):
        figure = viz.radiograph(image, camera, isocenter=where)
        (bar,) = figure.axes[0].lines
        start, end = bar.get_xdata()
        length = float(words(figure)[4].split(" mm")[0])
        in_pixels = length * magnification / float(camera.pitch[1])
        assert end - start == pytest.approx(in_pixels)


def test_flipped_radiographs_have_flipped_letters(image, camera):
    assert words(viz.radiograph(image, camera, flip=True))[:2] == ["L", "R"]


def test_radiograph_refuses_another_shape(image, camera):
    with pytest.raises(ValueError, match="the camera's shape"):
        viz.radiograph(image.T, camera)


def test_contact_sheet(image, camera):
    images = [image, image[:20], viz.signed(image - 2)]
    figure = viz.contact_sheet(images, ["a", "b", "c"], heading="three")
    assert drawn(figure).ndim == 3
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    with pytest.raises(ValueError, match="titles must be as many"):
        viz.contact_sheet(images, ["a"])
    with pytest.raises(ValueError, match="at least one image"):
        viz.contact_sheet([])


def test_geometry_draws_every_camera(camera, image):
    volume = sx.Volume.from_array(np.eye(4 * 3).reshape(12, 3, 4), spacing=20.0)
    cameras = [camera, sx.CArm.generic().resized((48, 64)).view("left lateral")]
    figure = viz.geometry(volume, cameras, images=[image] * 2, names=["AP", "lat"])
    assert {"R", "A", "S", "\nAP", "\nlat"} <= set(words(figure))
    pixels = drawn(figure)[..., :3]
    # All that is drawn lies inside: the rim is background throughout.
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (rim == pixels[0, 0]).all()
    with pytest.raises(ValueError, match="names must be as many"):
        viz.geometry(volume, cameras, names=["AP"])


def test_signed_is_black_at_zero_and_tells_the_signs():
    blue, zero, orange = viz.signed(np.array([[-1.0, 0.0, 1.0]]), scale=1.0)[0].astype(
        int
    )
    assert zero.max() < 12
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert not viz.signed(np.zeros((3, 3))).astype(bool).any() or zero.max() < 12


def test_overlay_leaves_the_image_where_the_layer_is_zero(image):
    gray = np.repeat(viz.to_uint8(image)[..., None], 3, axis=2)
    mask = np.zeros(image.shape, dtype=bool)
    mask[:10] = True
    for layer in (mask, mask.astype(np.int32) * 9):
        colors = viz.overlay(image, layer)
        np.testing.assert_array_equal(colors[10:], gray[10:])
        # Color: the channels differ.
        assert np.ptp(colors[:10].astype(int), axis=2).min() > 20
    heat = viz.overlay(image, np.where(mask, -1.0, 0.0)).astype(int)
    assert (heat[:10, :, 2] > heat[:10, :, 0]).all()
    assert (np.ptp(heat[10:], axis=2) == 0).all()
    with pytest.raises(ValueError, match="layer must have the image's shape"):
        viz.overlay(image, mask[:5])


def test_sweep(tmp_path, image):
    path = viz.sweep(tmp_path / "a.gif", (image * s for s in (1, 0.5, 0.2)))
    with Image.open(path) as gif:
        # There and back: 1 2 3 2.
        assert (gif.n_frames, gif.size) == (4, (64, 48))
        assert gif.info["duration"] == 80
    with pytest.raises(ValueError, match=r"path must end in \.gif"):
        viz.sweep(tmp_path / "a.png", [image])
    with pytest.raises(ValueError, match="of one size"):
        viz.sweep(tmp_path / "b.gif", [image, image[:9]])
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_figures_save_without_pyplot(image, camera):
    target = io.BytesIO()
    viz.radiograph(image, camera).savefig(target)
    with Image.open(target) as picture:
        assert picture.size[0] == 720


@pytest.mark.parametrize(
    ("at_most", "length"), [(99.0, 50.0), (100.0, 100.0), (23.0, 20.0), (0.7, 0.5)]
)
def test_round_length(at_most, length):
    assert round_length(at_most) == pytest.approx(length)
