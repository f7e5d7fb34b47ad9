"""Files are made, and those written are read, by h5py alone."""

import os

import h5py
import numpy as np
import pytest

from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.examples import InMemory
from synthex_jax.synthesis.hdf5 import ControlledHip, write_controlled_hip

COUNTS = {"01": 3, "02": 1, "06": 2}
SHAPE = (6, 8)


@pytest.fixture
def content(rng):
    def one(count):
        return {
            "projs": rng.normal(size=(count, *SHAPE)).astype(np.float32),
            "segs": rng.integers(0, 7, (count, *SHAPE)).astype(np.uint8),
            "lands": rng.uniform(-2, 10, (count, 2, 14)).astype(np.float32),
        }

    return {name: one(count) for name, count in COUNTS.items()}


def write(path, content, fields=("projs", "segs", "lands"), encode=str):
    with h5py.File(path, "w") as file:
        for name, group in content.items():
            for field in fields:
                file[f"{name}/{field}"] = group[field]
        file["land-names/num-lands"] = 14
        for number, name in enumerate(HIP_LANDMARKS):
            file[f"land-names/land-{number:02d}"] = encode(name)
    return path


def assert_same(found, content, index, specimen, row):
    example, group = found[index], list(content.values())[specimen]
    assert example["specimen"] == specimen
    np.testing.assert_array_equal(example["image"], group["projs"][row])
    np.testing.assert_array_equal(example["mask"], group["segs"][row])
    x, y = group["lands"][row]
    np.testing.assert_array_equal(example["landmarks"][:, 0], y)
    np.testing.assert_array_equal(example["landmarks"][:, 1], x)
    inside = (x >= -0.5) & (x < 7.5) & (y >= -0.5) & (y < 5.5)
    np.testing.assert_array_equal(example["visible"], inside)


@pytest.mark.parametrize("encode", [str, str.encode, np.bytes_, lambda s: [s]])
@pytest.mark.parametrize("files", [1, 2])
def test_reads_one_file_or_two(content, tmp_path, encode, files):
    if files == 1:
        found = ControlledHip.open(write(tmp_path / "a.h5", content, encode=encode))
    else:
        images = write(tmp_path / "real.h5", content, ("projs",), encode)
        labels = write(tmp_path / "label.h5", content, ("segs", "lands"), encode)
        found = ControlledHip.open(images, labels)
    assert len(found) == 6
    assert found.attributes["landmark_names"] == list(HIP_LANDMARKS)
    assert found.attributes["structure_names"][4] == "left femur"
    assert found.attributes["specimen_names"] == ["01", "02", "06"]
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]
    for index, (specimen, row) in enumerate(places):
        assert_same(found, content, index, specimen, row)
    assert_same(found, content, -1, 2, 1)
    with pytest.raises(IndexError, match="index 6 is out of range for 6 examples"):
        found[6]


def test_images_without_labels(content, tmp_path):
    found = ControlledHip.open(write(tmp_path / "a.h5", content, ("projs",)))
    assert found[4].keys() == {"image", "specimen"}


@pytest.mark.parametrize("files", [1, 2])
def test_writes_the_layout(content, tmp_path, files):
    source = ControlledHip.open(write(tmp_path / "in.h5", content))
    paths = [tmp_path / "out.h5", tmp_path / "label.h5"][:files]
    write_controlled_hip(source, *paths)
    with h5py.File(paths[0]) as images, h5py.File(paths[-1]) as labels:
        for name, group in content.items():
            for file, field in ((images, "projs"), (labels, "segs"), (labels, "lands")):
                assert file[name][field].dtype == group[field].dtype
                np.testing.assert_array_equal(file[name][field], group[field])
        for file in (images, labels):
            assert file["land-names/num-lands"][()] == 14
            assert file["land-names/land-13"].asstr()[()] == "ASIS-r"
        assert ("segs" in images["01"]) == (files == 1)


def test_specimens_without_names_are_numbered(content, tmp_path):
    source = ControlledHip.open(write(tmp_path / "in.h5", content))
    attributes = {"landmark_names": list(HIP_LANDMARKS)}
    plain = dict(source[0])
    del plain["specimen"]
    write_controlled_hip(InMemory((source[5], plain), attributes), tmp_path / "out.h5")
    back = ControlledHip.open(tmp_path / "out.h5")
    assert back.specimens == ("01", "03")
    np.testing.assert_array_equal(back[1]["image"], source[5]["image"])


def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(FileNotFoundError, match=r"a\.h5 does not exist"):
        ControlledHip.open(path)
    with pytest.raises(ValueError, match="must be an HDF5 file, it is a folder"):
        ControlledHip.open(tmp_path)
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"a\.h5: is no HDF5 file"):
        ControlledHip.open(path)
    write(path, content)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cannot be read as HDF5.*copied in whole"):
        ControlledHip.open(path)
    write(path, {"01": {"images": content["01"]["projs"]}}, ("images",))
    with pytest.raises(ValueError, match=r"group with projs.*holds \['01', 'land-n"):
        ControlledHip.open(path)
    with h5py.File(path, "w") as file:
        file.create_group("17-1882/vol")
        file.create_group("17-1882/projections")
    with pytest.raises(ValueError, match="full-resolution file"):
        ControlledHip.open(path)
    write(path, {"01": {"projs": np.zeros((0, 4, 4))}}, ("projs",))
    with pytest.raises(ValueError, match="at least one image"):
        ControlledHip.open(path)


def test_labels_that_do_not_match_are_refused(content, tmp_path):
    images = write(tmp_path / "images.h5", content, ("projs",))
    with pytest.raises(
        ValueError, match=r"/01 must hold segs or lands, it.*\['projs'\]"
    ):
        ControlledHip.open(images, images)
    fewer = {**content, "02": content["06"]}
    labels = write(tmp_path / "labels.h5", fewer, ("segs", "lands"))
    with pytest.raises(
        ValueError, match="/02/segs must hold one label an image, 1, it"
    ):
        ControlledHip.open(images, labels)
    labels = write(tmp_path / "labels.h5", {"01": content["01"]}, ("segs", "lands"))
    with pytest.raises(
        ValueError, match=r"labels\.h5: must hold /02; under / there is"
    ):
        ControlledHip.open(images, labels)
    content["06"]["lands"][1, 0, 2] = np.nan
    with pytest.raises(ValueError, match="/06/lands must be finite, GSN-l of image 1"):
        ControlledHip.open(write(tmp_path / "a.h5", content))
    with h5py.File(write(tmp_path / "a.h5", content), "a") as file:
        del file["land-names/land-05"]
    with pytest.raises(
        ValueError, match=r"as many names as num-lands says, 14, it.*13"
    ):
        ControlledHip.open(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["land-names/num-lands"]
    with pytest.raises(ValueError, match=r"shape .* \(3, 2, 13\).* got \(3, 2, 14\)"):
        ControlledHip.open(tmp_path / "a.h5")


def test_a_failed_write_leaves_the_old_file(content, tmp_path):
    path = tmp_path / "a.h5"
    source = ControlledHip.open(write(path, content))
    before = path.read_bytes()
    good = source[0]
    attributes = source.attributes
    other = dict(good, image=np.zeros((3, 3), np.float32))
    with pytest.raises(
        ValueError, match="image of example 1 must have the size of the"
    ):
        write_controlled_hip(InMemory((good, other), attributes), path)
    bad = dict(good, image=np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(ValueError, match="image of example 1 must be finite"):
        write_controlled_hip(InMemory((good, bad), attributes), path)
    bad = dict(good, landmarks=np.full((14, 2), np.inf, np.float32))
    with pytest.raises(ValueError, match="landmarks of example 0 must be finite"):
        write_controlled_hip(InMemory((bad,), attributes), path)
    with pytest.raises(ValueError, match="labels must be another file than images"):
        write_controlled_hip(source, path, path)
    with pytest.raises(ValueError, match=r"for this layout, they lack \['mask'"):
        write_controlled_hip(InMemory(({"image": good["image"]},), {}), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]
