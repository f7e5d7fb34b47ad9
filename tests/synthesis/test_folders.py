"""Folders are made, and those written are read, by Pillow and h5py alone."""

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.examples import InMemory
from synthex_jax.synthesis.folders import CHEST, HIP, TOOL, open_folder, write_folder

SHAPE = (6, 8)


def make(folder, layout, count=3, stem="{:05d}".format):
    """A folder as the paper's, and what is in it."""
    rng = np.random.default_rng(1)
    for kind in ("proj", "seg", "lands"):
        (folder / kind).mkdir(parents=True)
    images, masks, points = [], [], []
    for number in range(count):
        if layout is CHEST:
            images.append(rng.integers(0, 256, SHAPE).astype(np.uint8))
        else:
            images.append(rng.normal(size=SHAPE).astype(np.float32))
        classes = 7 if layout is HIP else 2
        masks.append(rng.integers(0, classes, SHAPE).astype(np.uint8))
        points.append(rng.uniform(-3, 12, (14 if layout is HIP else 2, 2)))
        name = stem(number)
        stored = masks[-1] * np.uint8(255 if layout is CHEST else 1)
        suffix = {HIP: ("tiff", "png"), TOOL: ("tiff", "tiff"), CHEST: ("png", "png")}
        image_suffix, mask_suffix = suffix[layout]
        Image.fromarray(images[-1]).save(folder / f"proj/{name}.{image_suffix}")
        Image.fromarray(stored).save(folder / f"seg/{name}.{mask_suffix}")
        if layout is CHEST:
            continue
        x, y = points[-1].T
        with h5py.File(folder / f"lands/{name}.h5", "w") as file:
            if layout is HIP:
                file["dim1"], file["dim2"] = x, y
            else:
                file["ld1"], file["ld2"] = (x[0], y[0]), (x[1], y[1])
    return images, masks, points


@pytest.mark.parametrize("layout", [HIP, TOOL, CHEST], ids=["hip", "tool", "chest"])
def test_reads_the_papers_folders(tmp_path, layout):
    images, masks, points = make(tmp_path, layout)
    found = open_folder(tmp_path, layout)
    assert len(found) == 3
    for index in range(3):
        example = found[index]
        assert example["image"].dtype == images[index].dtype
        np.testing.assert_array_equal(example["image"], images[index])
        np.testing.assert_array_equal(example["mask"], masks[index])
        assert example["mask"].dtype == np.uint8
        if layout is CHEST:
            assert "landmarks" not in example
            continue
        x, y = points[index].T
        np.testing.assert_allclose(example["landmarks"], np.stack([y, x], 1), rtol=1e-6)
        inside = (x >= -0.5) & (x < 7.5) & (y >= -0.5) & (y < 5.5)
        np.testing.assert_array_equal(example["visible"], inside)
    assert found.attributes["landmark_names"] == list(layout.landmark_names)
    with pytest.raises(IndexError, match="index 3 is out of range"):
        found[3]


def test_minus_one_is_not_visible(tmp_path):
    make(tmp_path, TOOL, 1)
    with h5py.File(tmp_path / "lands/00000.h5", "w") as file:
        file["ld1"], file["ld2"] = [[3], [2]], [-1, -1]
    example = open_folder(tmp_path, TOOL)[0]
    assert example["visible"].tolist() == [True, False]
    assert example["landmarks"][0].tolist() == [2, 3]


def test_any_names_in_order_of_their_numbers(tmp_path):
    images, _, _ = make(tmp_path, CHEST, 12, "covid_{}".format)
    found = open_folder(tmp_path, CHEST)
    assert found.stems[2] == "covid_2"
    assert found.stems[11] == "covid_11"
    np.testing.assert_array_equal(found[11]["image"], images[11])


def a_data_set(rng):
    """Seven structures, one not in the paper's list, landmarks in another order."""
    structures = ["lesion", *HIP.structures, *TOOL.structures]
    landmarks = [*TOOL.landmark_names[::-1], *HIP_LANDMARKS[::-1]]

    def one():
        hits = rng.integers(0, 256, SHAPE).astype(np.uint8)
        return {
            "image": rng.normal(size=SHAPE).astype(np.float32),
            "mask": rng.integers(0, 9, SHAPE).astype(np.uint8),
            "hits": hits,
            "landmarks": rng.uniform(-3, 12, (16, 2)).astype(np.float32),
            "visible": rng.random(16) < 0.5,
        }

    attributes = {"structure_names": structures, "landmark_names": landmarks}
    return InMemory((one(), one()), attributes)


def test_writes_the_hip_layout_by_names(rng, tmp_path):
    examples = a_data_set(rng)
    out = write_folder(examples, tmp_path / "train_data", HIP)
    assert sorted(os.listdir(out)) == ["lands", "proj", "seg"]
    for index in range(2):
        with Image.open(out / f"proj/{index:05d}.tiff") as file:
            np.testing.assert_array_equal(np.array(file), examples[index]["image"])
        with Image.open(out / f"seg/{index:05d}.png") as file:
            found = np.array(file)
        # The lesion, 1, and the manipulator, 8, are background; the rest moves by one.
        table = np.array([0, 0, 1, 2, 3, 4, 5, 6, 0])
        np.testing.assert_array_equal(found, table[examples[index]["mask"]])
        with h5py.File(out / f"lands/{index:05d}.h5") as file:
            row, col = examples[index]["landmarks"][:1:-1].T
            np.testing.assert_array_equal(file["dim1"], col)
            np.testing.assert_array_equal(file["dim2"], row)


def test_writes_the_tool_layout(rng, tmp_path):
    examples = a_data_set(rng)
    out = write_folder(examples, tmp_path / "tool", TOOL)
    for index in range(2):
        with Image.open(out / f"seg/{index:05d}.tiff") as file:
            found = np.array(file)
        np.testing.assert_array_equal(found, examples[index]["hits"] >> 7)
        with h5py.File(out / f"lands/{index:05d}.h5") as file:
            for key, landmark in (("ld1", 1), ("ld2", 0)):
                pixel = examples[index]["landmarks"][landmark, ::-1]
                seen = examples[index]["visible"][landmark]
                np.testing.assert_array_equal(file[key], pixel if seen else [-1, -1])
    back = open_folder(out, TOOL)
    np.testing.assert_array_equal(back[1]["mask"], examples[1]["hits"] >> 7)


def test_writes_the_chest_layout(rng, tmp_path):
    examples = a_data_set(rng)
    out = write_folder(examples, tmp_path / "out", CHEST, window=(-2.0, 2.0))
    with Image.open(out / "proj/00001.png") as file:
        found = np.array(file)
    expected = (np.clip(examples[1]["image"], -2, 2) + 2) / 4 * 255
    np.testing.assert_allclose(found, expected, atol=0.51)
    with Image.open(out / "seg/00001.png") as file:
        np.testing.assert_array_equal(np.array(file), (examples[1]["hits"] & 1) * 255)
    assert sorted(os.listdir(out)) == ["proj", "seg"]
    other = write_folder(
        examples, tmp_path / "other", replace(CHEST, structures=("vertebrae",))
    )
    with Image.open(other / "seg/00000.png") as file:
        found = np.array(file) > 0
    np.testing.assert_array_equal(found, (examples[0]["hits"] >> 3) & 1 == 1)


def test_broken_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the path of a folder with proj"):
        open_folder(tmp_path / "nowhere", HIP)
    with pytest.raises(FileNotFoundError, match="the folder of images"):
        open_folder(tmp_path, HIP)
    make(tmp_path, HIP)
    with pytest.raises(ValueError, match=r"must hold images \*.png, it holds none"):
        open_folder(tmp_path, CHEST)
    os.remove(tmp_path / "lands/00001.h5")
    with pytest.raises(
        ValueError, match=r"lands must hold a file \*.h5 for each.*1 of"
    ):
        open_folder(tmp_path, HIP)
    for content, message in (
        ({"ld1": [1, 2]}, r"00001.h5: must hold /dim1; under / there is \['ld1'\]"),
        ({"dim1": [1.0], "dim2": [2.0]}, "must have 14 numbers each, got"),
        ({"dim1": [np.nan] * 14, "dim2": [2.0] * 14}, "must be finite"),
    ):
        with h5py.File(tmp_path / "lands/00001.h5", "w") as file:
            for key, values in content.items():
                file[key] = values
        with pytest.raises(ValueError, match=message):
            open_folder(tmp_path, HIP)[1]
    (tmp_path / "proj/00000.tiff").write_text("no picture")
    with pytest.raises(ValueError, match=r"00000.tiff cannot be read as a picture"):
        open_folder(tmp_path, HIP)[0]
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "proj/00000.tiff")
    with pytest.raises(ValueError, match=r"must be a gray picture"):
        open_folder(tmp_path, HIP)[0]
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "proj/00000.tiff")
    with pytest.raises(ValueError, match=r"00000.png must have the size of its image"):
        open_folder(tmp_path, HIP)[0]


def test_what_cannot_be_written_is_refused(rng, tmp_path):
    examples = a_data_set(rng)
    with pytest.raises(
        ValueError, match=r"\['continuum manipulator'\] are not among.*replace"
    ):
        write_folder(
            InMemory(examples.examples, {"structure_names": ["lesion"]}),
            tmp_path / "out",
            TOOL,
        )
    with pytest.raises(ValueError, match="window must be None for TIFF"):
        write_folder(examples, tmp_path / "out", HIP, window=(0.0, 1.0))
    only_hits = {k: v for k, v in examples[0].items() if k != "mask"}
    with pytest.raises(ValueError, match="must hold mask for this layout"):
        write_folder(InMemory((only_hits,), {}), tmp_path / "out", HIP)
    images = InMemory(({"image": examples[0]["image"]},), {})
    with pytest.raises(ValueError, match=r"they lack \['landmarks'\]"):
        write_folder(images, tmp_path / "out", HIP)
    assert os.listdir(tmp_path) == []
