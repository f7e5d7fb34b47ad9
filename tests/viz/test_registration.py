from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import synthex_jax as sx
from synthex_jax import viz
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.register import BodyHistory
from synthex_jax.viz.edges import band_passed, draw_edges, edge_pixels, edges
from synthex_jax.viz.pairs import Pair

SHAPE = (48, 64)


def disk(row: float, col: float, radius: float = 12.0) -> np.ndarray:
    """A disk with a border two pixels wide."""
    rows, cols = np.indices(SHAPE)
    return 1 / (1 + np.exp(2 * (np.hypot(rows - row, cols - col) - radius)))


@pytest.fixture
def camera() -> sx.Camera:
    return sx.CArm.generic().resized(SHAPE).view("AP")


@pytest.fixture
def body() -> sx.Volume:
    x = np.moveaxis(np.indices((12, 12, 12)), 0, -1) * 20.0 - 110.0
    data = 0.02 * (np.linalg.norm(x, axis=-1) < 70)
    return sx.Volume.from_array(data.astype(np.float32), spacing=20.0)


@pytest.fixture
def history(camera) -> BodyHistory:
    """Five iterations at two of three levels, with room for eight."""
    cameras = [camera.moved([0, 0, 0, x, 0, 0]) for x in (20, 10, 4, 2, 0, 0, 0, 0)]
    poses = jnp.stack([each.world_from_camera.matrix for each in cameras])
    level = jnp.array([0, 0, 0, -1, 2, 2, -1, -1])
    cost = jnp.array([0.8, 0.3, 0.2, 0.0, 0.4, 0.3, 0.0, 0.0])
    movement = jnp.array([20.0, 5.0, 0.1, 0.0, 1.0, 0.01, 0.0, 0.0])
    return BodyHistory(level, cost, movement, poses[:, None])


def drawn(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def color_of(blend: np.ndarray) -> float:
    """How far from gray, in the mean over pixels."""
    return float(np.mean(np.ptp(blend.astype(int), axis=-1)))


def test_edges_lie_on_a_circle_to_a_fraction_of_a_pixel():
    figure = viz.contact_sheet([disk(23.3, 30.6)])
    (axes,) = figure.axes
    draw_edges(axes, edges(disk(23.3, 30.6)))
    (lines,) = axes.collections
    points = np.concatenate([path.vertices for path in lines.get_paths()])
    radii = np.hypot(points[:, 0] - 30.6, points[:, 1] - 23.3)
    # Smoothing over a pixel moves the edge of a circle of 12 inwards by 1/12 at most.
    assert len(points) > 50
    np.testing.assert_allclose(radii, 12.0, atol=0.2)


def test_edge_pixels_are_next_to_the_edge():
    rows, cols = np.nonzero(edge_pixels(edges(disk(24, 32))))
    assert len(rows) > 50
    np.testing.assert_allclose(np.hypot(rows - 24, cols - 32), 12.0, atol=1.0)


def test_a_flat_image_has_no_edges():
    found = edges(np.ones(SHAPE))
    assert not edge_pixels(found).any()
    figure = viz.contact_sheet([np.ones(SHAPE)])
    draw_edges(figure.axes[0], found)
    assert not figure.axes[0].collections


def test_a_band_has_neither_what_is_slow_nor_what_does_not_count():
    counts = np.ones(SHAPE, bool)
    counts[:, 50:] = False
    image = np.where(counts, disk(24, 25), 1e6)
    np.testing.assert_array_equal(
        band_passed(image, counts)[:, :40],
        band_passed(np.where(counts, image, -1e6), counts)[:, :40],
    )
    slow = np.linspace(0, 1, 64) + np.zeros(SHAPE)
    assert np.abs(band_passed(slow)[10:-10, 10:-10]).max() < 1e-3


def test_pairs_have_the_same_gain_and_offset():
    image = disk(24, 32)
    pair = Pair.create(image, 5 - 0.1 + 0.3 * image)
    np.testing.assert_allclose(pair.moving, pair.fixed, atol=1e-12)
    assert color_of(pair.blend()) < 1
    # A rendering that shows nothing stays nothing.
    assert np.ptp(Pair.create(image, np.zeros(SHAPE)).moving) == 0


def test_blends_tell_which_image_is_where():
    blend = Pair.create(disk(24, 24), disk(24, 40)).blend().astype(int)
    # Just inside of each disk's outer border.
    red, _, blue = blend[24, 13]
    assert red > blue + 50
    red, _, blue = blend[24, 51]
    assert blue > red + 50


def test_pixels_that_do_not_count_are_not_compared():
    weights = np.ones(SHAPE)
    weights[:, 40:] = 0
    image = disk(24, 20)
    pair = Pair.create(np.where(weights > 0, image, 50.0), image, weights)
    np.testing.assert_allclose(pair.moving[:, :40], pair.fixed[:, :40], atol=1e-12)
    blend = pair.blend()
    assert not blend[:, 40:].any()
    assert color_of(blend) < 1
    assert pair.window()[1] < 2


def test_the_magnified_part_lies_within_and_shows_edges():
    image = disk(24, 48, radius=6.0)
    rows, cols = Pair.create(image, image).part()
    assert 0 <= rows.start < rows.stop <= SHAPE[0]
    assert 0 <= cols.start < cols.stop <= SHAPE[1]
    assert edge_pixels(edges(image))[rows, cols].sum() > 10


def test_overlay(camera, rng):
    fixed = disk(24, 32) + 0.02 * rng.normal(size=SHAPE)
    figure = viz.registration_overlay(fixed, 7 * disk(24, 32), camera)
    assert titles(figure)[:2] == ["radiograph", "rendering"]
    letters = [text.get_text() for text in figure.axes[3].texts]
    assert letters == ["R", "L", "H", "F"]
    assert drawn(figure).std() > 5
    assert figure.axes[3].collections
    assert not viz.registration_overlay(fixed, fixed).axes[0].texts


def test_a_pixel_is_seen():
    at, off = (disk(24, 32 + shift) for shift in (0, 1))
    good, bad = (
        viz.registration_overlay(at, moving).axes[5].images[0].get_array()
        for moving in (at, off)
    )
    assert color_of(bad) > 10 * (color_of(good) + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moving": np.ones((3, 3))}, "moving must have the shape of fixed"),
        ({"moving": np.full(SHAPE, np.nan)}, "moving must"),
        ({"fixed": np.ones(5)}, r"fixed must have shape \(rows, cols\)"),
        ({"weights": np.ones((3, 3))}, "weights must have the shape"),
        ({"weights": np.zeros(SHAPE)}, "weights must be above zero somewhere"),
        ({"camera": sx.CArm.generic().view("AP")}, "camera must have the shape"),
    ],
)
def test_overlay_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        viz.registration_overlay(**{"fixed": disk(9, 9), "moving": disk(9, 9)} | change)


def test_convergence_draws_the_iterations_that_were_taken(history):
    figure = viz.convergence(history, errors={"mTRE, mm": [9, -3, 1, 0.5, np.inf]})
    assert drawn(figure).std() > 5
    cost, movement, error = figure.axes
    first, second = cost.lines
    np.testing.assert_allclose(first.get_ydata(), [0.8, 0.3, 0.2])
    np.testing.assert_array_equal(second.get_xdata(), [3, 4])
    assert [text.get_text() for text in cost.texts] == ["level 1", "level 3"]
    assert (movement.get_yscale(), error.get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(error.lines[0].get_ydata(), [9, 3, 1])
    (label,) = error.get_legend().get_texts()
    assert label.get_text() == "mTRE, mm"


def test_convergence_names_resolutions(history):
    levels = [Level.create(8 * n, 1.5, tolerance=0.1) for n in (1, 2, 3)]
    (cost, _) = viz.convergence(history, levels=levels).axes
    names = [text.get_text() for text in cost.texts]
    assert names == ["8 px, 1.5 mm", "24 px, 1.5 mm"]
    with pytest.raises(ValueError, match="levels must be as many"):
        viz.convergence(history, levels=levels[:2])
    with pytest.raises(ValueError, match="errors must have one value"):
        viz.convergence(history, errors={"mTRE, mm": [1.0]})


def test_animation(tmp_path, history, body, camera):
    fixed = sx.line_integrals(body, camera)
    path = viz.registration_animation(
        tmp_path / "run.gif", fixed, body, camera, history, seconds=1.0
    )
    with Image.open(path) as gif:
        # Two pictures beside each other below a line of text; equal frames are one.
        assert gif.size == (512, 192 + 18)
        assert gif.n_frames == 5
        assert gif.info["duration"] == 200
        first = np.asarray(gif.convert("RGB"))
        gif.seek(4)
        last = np.asarray(gif.convert("RGB"))
        assert gif.info["duration"] == 600
    # The end is at the true pose: nothing but gray in the blend, within a palette.
    assert color_of(first[18:, 256:]) > 5 * color_of(last[18:, 256:])


def test_animation_leaves_out_what_is_too_much(tmp_path, history, body, camera):
    fixed = sx.line_integrals(body, camera)
    many = replace(
        history,
        level=jnp.zeros(100, int),
        cost=jnp.linspace(1, 0, 100),
        movement=jnp.ones(100),
        world_from_camera=jnp.tile(history.world_from_camera[:1], (100, 1, 1, 1)),
    )
    path = viz.registration_animation(
        tmp_path / "run.gif", fixed, body, camera, many, seconds=0.25
    )
    with Image.open(path) as gif:
        assert gif.n_frames == 3


def test_animation_refuses(tmp_path, history, body, camera):
    fixed = sx.line_integrals(body, camera)
    draw = viz.registration_animation
    none = replace(history, level=jnp.full(8, -1))
    for path, image, way, seconds, message in (
        ("a.png", fixed, history, 1.0, r"path must end in \.gif"),
        ("a.gif", fixed[:9], history, 1.0, "fixed must have the camera's shape"),
        ("a.gif", fixed, none, 1.0, "history must hold at least one iteration"),
        ("a.gif", fixed, history, 0.0, "seconds must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            draw(tmp_path / path, image, body, camera, way, seconds=seconds)
    assert not list(tmp_path.iterdir())
