"""The precisely matched set: where the file says, and as the paper's files hold it."""

import shutil

import h5py
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.deepfluoro import FullResolution
from synthex_jax.synthesis.examples import Mirrored
from synthex_jax.synthesis.hdf5 import ControlledHip, write_controlled_hip
from synthex_jax.synthesis.matched import MatchedViews
from synthex_jax.synthesis.matched_source import MatchedSource
from synthex_jax.synthesis.reader import Dataset
from synthex_jax.synthesis.writer import synthesize
from tests.synthesis import deepfluoro_file


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("deepfluoro") / "full.h5"
    deepfluoro_file.make(path, np.random.default_rng(0))
    return path


@pytest.fixture(scope="module")
def dataset(path, tmp_path_factory):
    source = MatchedSource.create(FullResolution.open(path), sx.naive())
    out = tmp_path_factory.mktemp("matched") / "naive"
    synthesize(source, out, num=len(source), batch=2, shard=2)
    return Dataset.open(out)


def test_each_x_ray_is_rendered_where_it_was_taken(path, dataset):
    real = MatchedViews.open(path)
    assert len(dataset) == len(real) == 3
    assert tuple(dataset.attributes["landmark_names"]) == HIP_LANDMARKS
    for i in range(3):
        ours, theirs = dataset[i], real[i]
        assert ours["image"].shape == theirs["image"].shape
        np.testing.assert_allclose(ours["landmarks"], theirs["landmarks"], atol=0.01)
        np.testing.assert_array_equal(ours["visible"], theirs["visible"])
        assert ours["specimen"] == theirs["specimen"]


def test_image_and_mask_show_the_marked_block(path, tmp_path):
    shutil.copy(path, tmp_path / "block.h5")
    with h5py.File(tmp_path / "block.h5", "r+") as file:
        for name in deepfluoro_file.PROJECTIONS:
            for part, value in (("vol", 700), ("vol-seg/image", 5)):
                pixels = file[f"{name}/{part}/pixels"]
                pixels[...] = -1000 if part == "vol" else 0
                pixels[1:-1, 1:-1, 1:-1] = value
                group = file[f"{name}/{part}"]
                spacing = 4 * deepfluoro_file.SPACING
                half = np.array(pixels.shape[::-1]) - 1
                half = deepfluoro_file.DIRECTIONS @ (half * spacing / 2)
                # About where the poses of the file look.
                middle = deepfluoro_file.ORIGIN + np.array([3.0, -4.0, 6.0])
                group["spacing"][...] = spacing.reshape(group["spacing"].shape)
                group["origin"][...] = (middle - half).reshape(group["origin"].shape)
    file = FullResolution.open(tmp_path / "block.h5")
    source = MatchedSource.create(file, sx.naive(), ds_factor=1)
    made = source.batch(0, np.arange(3, dtype=np.int32))
    for i in range(3):
        pose, intrinsics, image, mask = (
            np.asarray(made[name][i])
            for name in ("camera_from_world", "intrinsics", "image", "mask")
        )
        view = source.views[i]
        middle = np.asarray(file.specimen(view.specimen).ct.center)
        x, y, z = pose[:3, :3] @ middle + pose[:3, 3]
        col, row, _ = intrinsics @ np.array([x / z, y / z, 1.0])
        rows, cols = np.indices(image.shape)
        for grid, expected in ((rows, row), (cols, col)):
            # A symmetric block of a few pixels; perspective and the raster move its
            # middle by less than half of one.
            assert np.average(grid, weights=image) == pytest.approx(expected, abs=0.5)
            assert grid[mask == 5].mean() == pytest.approx(expected, abs=0.5)


def test_it_is_written_as_the_paper_stores_it(dataset, tmp_path):
    write_controlled_hip(Mirrored(dataset), tmp_path / "naive.h5")
    back = ControlledHip.open(tmp_path / "naive.h5")
    assert len(back) == 3
    stored, ours = back[0], dataset[0]
    np.testing.assert_array_equal(stored["mask"], ours["mask"][:, ::-1])
    columns = ours["image"].shape[1] - 1 - ours["landmarks"][:, 1]
    np.testing.assert_allclose(stored["landmarks"][:, 1], columns, atol=1e-3)


def test_quanta_must_be_positive(path):
    with pytest.raises(ValueError, match="quanta must be positive"):
        MatchedSource.create(FullResolution.open(path), sx.naive(), quanta=-1.0)
