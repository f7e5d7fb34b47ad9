"""Read back with Pillow, csv and json alone."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from synthex_jax.synthesis.examples import InMemory
from synthex_jax.synthesis.export import export_images

ATTRIBUTES = {
    "seed": 7,
    "landmark_names": ["tip", "base"],
    "structure_names": ["left hemipelvis", "right, hemipelvis"],
}


def some_examples(rng, dtype=np.float32, count=2):
    def one(number):
        image = rng.normal(size=(5, 7)) * 3 if dtype == np.float32 else None
        if image is None:
            image = rng.integers(0, np.iinfo(dtype).max, (5, 7))
        return {
            "image": image.astype(dtype),
            "mask": rng.integers(0, 3, (5, 7)).astype(np.uint8),
            "hits": rng.integers(0, 4, (5, 7)).astype(np.uint8),
            "landmarks": np.array([[1.1, 2.2], [-30.3, 4.4]], np.float32),
            "visible": np.array([True, False]),
            "boxes": np.array([[0.5, 1.5, 2.5, 3.5], [0, 0, 0, 0]], np.float32),
            "present": np.array([True, False]),
            "intrinsics": np.arange(9, dtype=np.float32).reshape(3, 3) / 7,
            "camera_from_world": np.eye(4, dtype=np.float32),
            "pitch": np.array([0.1, 0.2], np.float32),
            "specimen": np.asarray(number, np.int32),
            "kvp": np.asarray(70.1, np.float32),
            "depth_map": np.zeros((5, 7), np.float32),
        }

    return InMemory(tuple(one(number) for number in range(count)), ATTRIBUTES)


def picture(path):
    with Image.open(path) as file:
        return np.array(file)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_floating_images_as_png_share_one_scale_that_is_written_down(rng, tmp_path):
    examples = some_examples(rng)
    out = export_images(examples, tmp_path / "out")
    attributes = json.loads((out / "attributes.json").read_text())
    assert attributes["seed"] == 7
    scale = attributes["export"]["image"]
    grays = []
    for index in range(2):
        gray = picture(out / f"images/{index:05d}.png")
        assert gray.dtype == np.uint16
        value = scale["offset"] + scale["step"] * gray.astype(float)
        # Half a gray level, and what float32 rounds off a value of 10.
        np.testing.assert_allclose(
            value, examples[index]["image"], atol=scale["step"] / 2 + 1e-6
        )
        grays.append(gray)
    assert (np.min(grays), np.max(grays)) == (0, 65535)  # all of the range is used


def test_a_window_cuts_off_what_lies_outside(rng, tmp_path):
    examples = some_examples(rng)
    out = export_images(examples, tmp_path / "out", window=(-1.0, 2.0))
    gray = picture(out / "images/00001.png")
    expected = (np.clip(examples[1]["image"], -1, 2) + 1) / 3 * 65535
    np.testing.assert_allclose(gray, expected, atol=0.51)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_integers_are_kept(rng, tmp_path, dtype, format):
    examples = some_examples(rng, dtype)
    out = export_images(examples, tmp_path / "out", format=format)
    found = picture(out / f"images/00000.{format}")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, examples[0]["image"])


def test_tiff_keeps_every_value(rng, tmp_path):
    examples = some_examples(rng)
    out = export_images(examples, tmp_path / "out", format="tiff")
    found = picture(out / "images/00001.tiff")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, examples[1]["image"])


def test_labels_and_tables(rng, tmp_path):
    examples = some_examples(rng)
    wide = {**examples[0], "hits": np.full((5, 7), 1 << 31, np.uint32)}
    out = export_images(InMemory((wide,), ATTRIBUTES), tmp_path / "wide")
    found = picture(out / "hits/00000.tiff").view(np.uint32)
    np.testing.assert_array_equal(found, wide["hits"])
    out = export_images(examples, tmp_path / "out")
    for kind, name in (("masks", "mask"), ("hits", "hits")):
        found = picture(out / f"{kind}/00001.png")
        np.testing.assert_array_equal(found, examples[1][name])
    landmarks = table(out / "landmarks.csv")
    assert landmarks[3] == {
        "index": "1",
        "name": "base",
        "row": "-30.3",
        "col": "4.4",
        "visible": "0",
    }
    boxes = table(out / "boxes.csv")
    assert boxes[1]["name"] == "right, hemipelvis"
    assert [boxes[0][edge] for edge in ("top", "left", "bottom", "right")] == [
        "0.5",
        "1.5",
        "2.5",
        "3.5",
    ]
    poses = table(out / "poses.csv")
    assert poses[1]["specimen"] == "1"
    assert np.float32(poses[1]["intrinsics_1_2"]) == examples[1]["intrinsics"][1, 2]
    assert np.float32(poses[0]["kvp"]) == np.float32(70.1)
    export = json.loads((out / "attributes.json").read_text())["export"]
    assert export["left_out"] == ["depth_map"]


def test_images_alone_are_enough(rng, tmp_path):
    examples = InMemory(({"image": np.zeros((2, 3), np.float32)},), {})
    out = export_images(examples, tmp_path / "out")
    assert sorted(os.listdir(out)) == ["attributes.json", "images"]
    assert not picture(out / "images/00000.png").any()


def test_bad_input_leaves_nothing_behind(rng, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    good = some_examples(rng)
    with pytest.raises(ValueError, match="out must be a new or an empty folder"):
        export_images(good, full)
    with pytest.raises(FileNotFoundError, match="create it first"):
        export_images(good, tmp_path / "nowhere" / "out")
    broken = dict(good[0], image=np.full((5, 7), np.nan, np.float32))
    broken = InMemory((good[0], broken), ATTRIBUTES)
    for format in ("png", "tiff"):
        with pytest.raises(ValueError, match="image of example 1 must be finite"):
            export_images(broken, tmp_path / "out", format=format)
    lost = dict(good[0], landmarks=np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="landmarks of example 0 must be finite"):
        export_images(InMemory((lost,), ATTRIBUTES), tmp_path / "out")
    with pytest.raises(ValueError, match="window must be two finite values that rise"):
        export_images(good, tmp_path / "out", window=(2.0, 1.0))
    with pytest.raises(ValueError, match="window must be None for TIFF"):
        export_images(good, tmp_path / "out", format="tiff", window=(0.0, 1.0))
    with pytest.raises(ValueError, match="must list the landmark_names"):
        export_images(InMemory(good.examples, {}), tmp_path / "out")
    with pytest.raises(ValueError, match="must not be empty"):
        export_images(InMemory((), ATTRIBUTES), tmp_path / "out")
    assert os.listdir(tmp_path) == ["full"]
