"""One reader for whatever holds a CT, and the constructors that lead to it."""

import nibabel
import nrrd
import numpy as np
import pytest

from synthex_jax.volumes import samples
from synthex_jax.volumes.io import read_volume
from synthex_jax.volumes.volume import Volume
from tests.volumes import test_io_dicom
from tests.volumes.worlds import SHAPE


@pytest.fixture
def nifti(tmp_path):
    path = tmp_path / "CT.NII.GZ"
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4)), path)
    return path


@pytest.fixture
def nrrd_file(tmp_path):
    path = tmp_path / "ct.nrrd"
    fields = {
        "space": "LPS",
        "space directions": np.eye(3),
        "space origin": np.zeros(3),
    }
    nrrd.write(str(path), np.full(SHAPE, 2, np.int16), fields)
    return path


@pytest.fixture
def series(tmp_path):
    return test_io_dicom.save(tmp_path / "series", test_io_dicom.slices()[0])


def test_the_suffix_picks_the_reader(nifti, nrrd_file, series):
    assert float(read_volume(nifti).data[0, 0, 0]) == 1
    assert float(read_volume(str(nrrd_file)).data[0, 0, 0]) == 2
    assert read_volume(series).shape == (5, 6, 7)


def test_the_constructors_lead_here(nifti, nrrd_file, series):
    assert Volume.from_nifti(nifti).shape == SHAPE
    assert Volume.from_nrrd(str(nrrd_file)).shape == SHAPE
    assert Volume.from_dicom(series).shape == (5, 6, 7)


def test_a_dicom_file_without_a_suffix(tmp_path):
    image, values = test_io_dicom.enhanced()
    image.save_as(tmp_path / "IM0001")
    np.testing.assert_array_equal(read_volume(tmp_path / "IM0001").data, values)


@pytest.mark.parametrize("name", ["chest", "pelvis"])
def test_a_name_of_a_sample(monkeypatch, name):
    volume = Volume.from_array(np.ones(SHAPE), np.eye(4))
    monkeypatch.setattr(samples, name, lambda: volume)
    assert read_volume(name) is volume


def test_a_path_goes_before_a_sample(series, monkeypatch):
    monkeypatch.chdir(series.parent)
    series.rename("chest")
    assert read_volume("chest").shape == (5, 6, 7)


def test_what_is_not_there_says_what_may_be_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"NIfTI .* NRRD .* DICOM .*pelvis"):
        read_volume(tmp_path / "thorax")


@pytest.mark.parametrize("name", ["ct.mha", "ct.png", "ct"])
def test_an_unknown_format_says_what_may_be_given(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 500)
    with pytest.raises(
        ValueError, match=r"no format that is known.*NIfTI .* SimpleITK"
    ):
        read_volume(tmp_path / name)
