"""Data sets from the command line: made, completed, checked, exported, refused."""

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from synthex_jax.synthesis.reader import Dataset
from synthex_jax.volumes.landmark_files import write_landmarks

# Small and naive: the physics has tests of its own.
QUICK = ("--tier", "naive", "--size", 24, "--batch", 2, "--shard-size", 2)


@pytest.fixture
def volumes(tmp_path_factory):
    """Two hips as blocks of bone in a block of tissue."""
    folder = tmp_path_factory.mktemp("cts")
    affine = np.diag([12.0, 12.0, 12.0, 1.0])
    affine[:3, 3] = -120
    for name in ("anna", "bert"):
        hu = np.full((20, 18, 16), -1000, np.int16)
        hu[2:18, 2:16, 1:15] = 0
        labels = np.zeros(hu.shape, np.uint8)
        for number, (x, z) in {
            77: (3, 8),
            78: (13, 8),
            75: (3, 3),
            76: (13, 3),
        }.items():
            labels[x : x + 4, 6:12, z : z + 4] = number
        hu[labels > 0] = 700
        nibabel.save(nibabel.Nifti1Image(hu, affine), folder / f"{name}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image(labels, affine), folder / f"{name}.labels.nii.gz"
        )
        marks = {"FH-l": (-60.0, 0.0, -60.0), "FH-r": (60.0, 0.0, -60.0)}
        write_landmarks(folder / f"{name}.landmarks.fcsv", marks)
    return folder


def test_hips_of_a_folder(run, volumes, tmp_path):
    options = ("--volumes", volumes, "-n", 10, "--spacing", 10, *QUICK)
    part = run("synthesize", "hip", "-o", "hip", *options, "--shard", "1/2")
    assert part.code == 0, part.error
    assert "are left to the other parts" in part.out
    early = run("export", "hip", "-o", "early")
    assert early.code == 2
    assert "not finished, 4 of 10" in early.error
    whole = run("synthesize", "hip", "-o", "hip", *options)
    assert whole.code == 0, whole.error
    assert "4 images were there" in whole.out
    assert "hip: 10 images, complete" in whole.out
    with Image.open(tmp_path / "hip" / "preview.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5

    dataset = Dataset.open(tmp_path / "hip")
    assert dataset.attributes["specimen_names"] == ["anna", "bert"]
    assert dataset.attributes["landmark_names"] == ["FH-l", "FH-r"]
    assert dataset[9]["image"].shape == (24, 24)
    assert run("check", "hip").out.strip() == "hip: 5 shards, all whole"

    for layout, name in (("coco", "annotations.json"), ("png", "landmarks.csv")):
        result = run("export", "hip", "-o", layout, "--layout", layout)
        assert result.code == 0, result.error
        assert (tmp_path / layout / name).is_file()
    with open(tmp_path / "coco" / "annotations.json", encoding="utf-8") as file:
        assert len(json.load(file)["images"]) == 10
    missing = run("export", "hip", "-o", "paper", "--layout", "hip")
    assert missing.code == 2
    assert "landmark" in missing.error
    assert not (tmp_path / "paper").exists()

    other = run("synthesize", "hip", "-o", "hip", *options, "--seed", 1)
    assert other.code == 2
    assert "seed: 0 there, 1 here" in other.error


def test_damage_is_named_and_repaired(run, volumes, tmp_path):
    command = ("synthesize", "tool", "-o", "set", "--volumes", volumes, "-n", 2,
               "--spacing", 10, *QUICK)  # fmt: skip
    assert run(*command).code == 0
    victim = tmp_path / "set" / "image" / "c.0.0.0"
    victim.write_bytes(victim.read_bytes()[:-1])
    found = run("check", "set", "--forget")
    assert found.code == 2
    assert "image/c.0.0.0" in found.out
    assert run(*command).code == 0
    assert run("check", "set").code == 0


@pytest.mark.slow
def test_lesions_are_grown_in_phantoms(run, tmp_path):
    result = run("synthesize", "chest", "-o", "chest", "-n", 2, "--phantoms", 1,
                 "--spacing", 8, *QUICK)  # fmt: skip
    assert result.code == 0, result.error
    dataset = Dataset.open(tmp_path / "chest")
    assert dataset.attributes["structure_names"] == ["lesion"]
    assert max(int(dataset[i]["mask"].max()) for i in range(2)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("hip", "--shard", "2/2"), "--shard must be I/N with I from 0 to N - 1"),
        (("tool", "--views", "clinical"), "--views clinical is for the hip task"),
        (("hip", "--volumes", "nowhere"), "nowhere does not exist"),
        (("hip", "--num", 0), "--num must be at least 1"),
        (("hip", "--size", 4), "--size must be at least 16"),
        (("chest", "--spacing", 0.01), "--spacing must be from 0.2 to 10 mm"),
    ],
)
def test_bad_options(run, tmp_path, options, message):
    result = run("synthesize", *options, "--out", "set")
    assert result.code == 2
    assert message in result.error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_lacks_what_the_task_needs(run, volumes):
    (volumes / "bert.landmarks.fcsv").unlink()
    result = run("synthesize", "hip", "-o", "set", "--volumes", volumes, *QUICK)
    assert result.code == 2
    assert "bert.landmarks.* does not exist" in result.error
    for path in volumes.iterdir():
        path.unlink()
    result = run("synthesize", "hip", "-o", "set", "--volumes", volumes, *QUICK)
    assert "must hold CTs as NAME.nii.gz" in result.error
