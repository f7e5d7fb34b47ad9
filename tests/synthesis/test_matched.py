import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.convert import from_deepfluoro
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.deepfluoro import FullResolution
from synthex_jax.synthesis.examples import Examples
from synthex_jax.synthesis.matched import (
    MatchedViews,
    Preparation,
    matched,
    matched_views,
)
from tests.synthesis import deepfluoro_file as source


@pytest.fixture
def made(rng, tmp_path):
    path = tmp_path / "full.h5"
    source.make(path, rng)
    return path


def center(weights):
    weights = np.asarray(weights, float)
    row, col = np.indices(weights.shape)
    return np.array([(weights * row).sum(), (weights * col).sum()]) / weights.sum()


def test_camera_landmarks_image_and_mask_agree(made):
    examples = MatchedViews.open(made, ds_factor=4)
    assert isinstance(examples, Examples)
    assert len(examples) == 3
    assert examples.attributes["specimen_names"] == list(source.PROJECTIONS)
    file = FullResolution.open(made)
    for view in matched_views(file, 4):
        example = examples[view.index]
        names = list(source.PROJECTIONS)
        assert names[example["specimen"]] == view.specimen
        points = file.specimen(view.specimen).landmarks
        points = jnp.stack([points[name] for name in HIP_LANDMARKS])
        # The file's own landmarks, 2-D and 3-D; float32 rounds 1000 mm to 0.0001 mm.
        found = view.camera.project(points)
        np.testing.assert_allclose(found, example["landmarks"], atol=1e-3)
        # The dark spot is round and far from the border; its attenuation is centered
        # on FH-l up to what the rest of a pixel leaves.
        np.testing.assert_allclose(
            center(example["image"]), example["landmarks"][0], atol=0.05
        )
        # A label is that of one point of its pixel, and these discs have few pixels.
        np.testing.assert_allclose(
            center(example["mask"] == 5), example["landmarks"][0], atol=0.25
        )
        # K [R | t] as OpenCV reads it.
        in_camera = points @ example["camera_from_world"][:3, :3].T
        in_camera += example["camera_from_world"][:3, 3]
        col_row = in_camera @ example["intrinsics"].T
        col_row = col_row[:, :2] / col_row[:, 2:]
        np.testing.assert_allclose(col_row[:, ::-1], example["landmarks"], atol=1e-3)
        assert example["image"].shape == view.camera.shape == example["mask"].shape
        inside = ((found > -0.5) & (found < np.array(view.camera.shape) - 0.5)).all(1)
        np.testing.assert_array_equal(example["visible"], inside)


def test_half_a_turn_is_that_of_the_converter(made):
    projection = FullResolution.open(made).projection(*source.UPSIDE_DOWN)
    pose = source.cam_to_volume(np.random.default_rng(3))
    plain, turned = (
        from_deepfluoro(
            source.INTRINSIC,
            source.EXTRINSIC,
            pose,
            shape=source.SHAPE,
            pitch=source.PITCH,
            rot_180=rot_180,
        )
        for rot_180 in (False, True)
    )
    assert projection.upside_down
    found = Preparation(source.SHAPE, 1, True, border=0).camera(plain)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(turned), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)  # float32 at 1000 mm


def test_sizes_are_those_of_the_published_sets():
    sizes = [Preparation((1536, 1536), n).final_shape[0] for n in (8, 4, 3, 2, 16)]
    assert sizes == [180, 360, 480, 718, 90]


def test_pixels_are_averaged_by_area(rng):
    attenuation = rng.uniform(0.0, 2.0, (18, 24))
    attenuation[3, 3] = 0.0  # the brightest reading
    preparation = Preparation((18, 24), 4, border=0)
    assert preparation.final_shape == (6, 6)
    preparation = Preparation((18, 24), 2, border=1)
    assert preparation.final_shape == (8, 12)
    inner = attenuation[1:-1, 1:-1]
    # Every pixel cut in 12 x 12 parts, which the new pixels hold whole.
    parts = np.repeat(np.repeat(inner, 12, 0), 12, 1)
    expected = parts.reshape(8, 24, 12, 22).mean(axis=(1, 3))
    found = preparation.image(5000 * np.exp(-attenuation))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    turned = Preparation((18, 24), 2, True, 1).image(5000 * np.exp(-attenuation))
    np.testing.assert_allclose(turned, np.rot90(expected, 2), atol=1e-5)


def test_dead_pixels_stay_finite():
    readings = np.full((4, 4), 9000.0)
    readings[1, 1] = 0
    image = Preparation((4, 4), 1, border=0).image(readings)
    np.testing.assert_allclose(image[1, 1], np.log(65535), rtol=1e-6)


def test_what_cannot_be_prepared_is_refused(made):
    projection = FullResolution.open(made).projection("17-1882", "000")
    with pytest.raises(ValueError, match="ds_factor must be at least 1, got 0"):
        matched(projection, 0)
    with pytest.raises(ValueError, match="ds_factor must be at least 1, got 0"):
        MatchedViews.open(made, ds_factor=0)
    small = Preparation((4, 4), 1, border=0)
    with pytest.raises(ValueError, match=r"must have shape \(4, 4\), got \(4, 5\)"):
        small.image(np.ones((4, 5)))
    with pytest.raises(ValueError, match="readings must be above 0 somewhere"):
        small.image(np.zeros((4, 4)))
    with pytest.raises(IndexError, match="index 3 is out of range for 3 examples"):
        MatchedViews.open(made)[3]
