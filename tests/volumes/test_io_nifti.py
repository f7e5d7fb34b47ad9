"""NIfTI in and out, against nibabel and a function of the world."""

import os
import struct

import jax.numpy as jnp
import nibabel
import numpy as np
import pytest

from synthex_jax.volumes.io import read_labels, read_nifti, write_nifti
from synthex_jax.volumes.volume import Volume
from tests.volumes.worlds import SHAPE, oblique, oriented, world_function

ORIENTATIONS = ["RAS", "LPS", "LAS", "PIR", "SRA", "ILP", "ASL"]


def save(path, data, affine, **header):
    image = nibabel.Nifti1Image(data, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_any_orientation_keeps_its_world(tmp_path, codes):
    affine = oriented(codes)
    path = save(tmp_path / "ct.nii.gz", world_function(affine), affine)
    volume = read_nifti(path)
    assert nibabel.aff2axcodes(np.asarray(volume.affine)) == tuple(codes)
    # float32 holds 7 digits of values near 34,000.
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-6)
    np.testing.assert_allclose(
        volume.data, world_function(np.asarray(volume.affine)), atol=0.02
    )


@pytest.mark.parametrize("affine", [oriented("LPS"), oriented("SRA"), oblique()])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_is_read_by_nibabel_and_by_us(tmp_path, rng, affine, suffix):
    volume = Volume.from_array(rng.normal(size=SHAPE).astype(np.float32), affine)
    path = tmp_path / f"out{suffix}"
    write_nifti(path, volume)
    image = nibabel.load(path)
    np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
    np.testing.assert_allclose(image.header.get_qform(), affine, atol=1e-3)
    np.testing.assert_array_equal(image.get_fdata(), volume.data)
    assert image.header.get_xyzt_units()[0] == "mm"
    again = read_nifti(path)
    np.testing.assert_array_equal(again.data, volume.data)
    np.testing.assert_array_equal(again.affine, volume.affine)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("int16", "int16"), ("uint8", "uint8"), ("bool", "uint8"), ("float16", "float32")],
)
def test_types_on_the_disk(tmp_path, dtype, stored):
    data = jnp.asarray(np.arange(8).reshape(2, 2, 2) % 2, dtype)
    write_nifti(tmp_path / "x.nii", Volume.from_array(data, np.eye(4)))
    image = nibabel.load(tmp_path / "x.nii")
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(image.get_fdata(), data.astype(float))


def test_scaling_is_applied(tmp_path):
    path = save(tmp_path / "ct.nii", np.full(SHAPE, 100, np.int16), np.eye(4))
    raw = bytearray(path.read_bytes())
    raw[112:120] = struct.pack("<2f", 2.0, -1024.0)  # scl_slope, scl_inter in nifti1.h
    path.write_bytes(raw)
    volume = read_nifti(path)
    assert volume.data.dtype == jnp.float32
    np.testing.assert_array_equal(volume.data, 2 * 100 - 1024)


def test_a_trailing_axis_of_one_is_dropped(tmp_path):
    data = np.ones((*SHAPE, 1, 1), np.float32)
    assert read_nifti(save(tmp_path / "x.nii", data, np.eye(4))).data.shape == SHAPE


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_other_units_become_mm(tmp_path, unit, factor):
    affine = oblique()
    affine[:3] *= factor
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "x.nii")
    np.testing.assert_allclose(
        read_nifti(tmp_path / "x.nii").affine, oblique(), rtol=1e-5, atol=1e-5
    )


def test_a_pair_of_files(tmp_path):
    affine = oriented("LPS")
    nibabel.save(
        nibabel.Nifti1Pair(np.ones(SHAPE, np.int16), affine), tmp_path / "x.img"
    )
    for name in ("x.img", "x.hdr"):
        np.testing.assert_allclose(
            read_nifti(tmp_path / name).affine, affine, rtol=1e-6
        )


def test_no_orientation_is_warned_of(tmp_path):
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    nibabel.save(image, tmp_path / "x.nii")
    with pytest.warns(UserWarning, match="does not say how its axes lie"):
        volume = read_nifti(tmp_path / "x.nii")
    np.testing.assert_allclose(volume.spacing, [1.0, 2.0, 3.0])


# -- what is refused ------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.nii\.gz does not exist"):
        read_nifti(tmp_path / "nothing.nii.gz")


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder; read_dicom"):
        read_nifti(tmp_path)


def test_several_volumes_are_counted(tmp_path):
    path = save(tmp_path / "x.nii", np.ones((*SHAPE, 12), np.int16), np.eye(4))
    with pytest.raises(ValueError, match=r"x\.nii: a file must hold one .* holds 12"):
        read_nifti(path)


def test_a_single_picture(tmp_path):
    path = save(tmp_path / "x.nii", np.ones((4, 5), np.int16), np.eye(4))
    with pytest.raises(ValueError, match=r"must have three axes.*\(4, 5\)"):
        read_nifti(path)


def test_an_empty_volume(tmp_path):
    path = save(tmp_path / "x.nii", np.ones((4, 0, 5), np.int16), np.eye(4))
    with pytest.raises(ValueError, match=r"x\.nii.*none of them empty.*\(4, 0, 5\)"):
        read_nifti(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite(tmp_path, bad):
    data = np.ones(SHAPE, np.float32)
    data[1, 2, :2] = bad
    with pytest.raises(ValueError, match=r"x\.nii: data must be finite, 2 of its 210"):
        read_nifti(save(tmp_path / "x.nii", data, np.eye(4)))


@pytest.mark.parametrize(
    "dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]]
)
def test_voxels_that_are_no_real_numbers(tmp_path, dtype):
    path = save(tmp_path / "x.nii", np.zeros(SHAPE, dtype), np.eye(4))
    with pytest.raises(ValueError, match=r"x\.nii: voxels must be real numbers"):
        read_nifti(path)


def with_column(column, value):
    affine = np.eye(4)
    affine[:3, column] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (with_column(2, [0, 0, 0]), "must be invertible"),
        (with_column(2, [1, 0, 0]), "must be invertible"),
        (with_column(2, [0, 0.3, 1]), "must have axes at right angles"),
        (np.diag([1e-3, 1e-3, 1e-3, 1]), "must be in millimeters"),
        (np.diag([1e3, 1e3, 1e3, 1]), "must be in millimeters"),
    ],
)
def test_affines_that_are_none_of_ct(tmp_path, affine, message):
    path = save(tmp_path / "x.nii", np.ones(SHAPE, np.float32), np.eye(4))
    raw = bytearray(path.read_bytes())
    # srow_x to srow_z in nifti1.h; nibabel refuses to write some of these.
    raw[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=rf"x\.nii: affine {message}"):
        read_nifti(path)


def test_a_unit_that_does_not_exist(tmp_path):
    path = save(tmp_path / "x.nii", np.ones(SHAPE, np.int16), np.eye(4), xyzt_units=5)
    with pytest.raises(ValueError, match=r"xyzt_units must state .* got code 5"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, 0.6])
def test_a_truncated_file(tmp_path, rng, suffix, kept):
    path = save(tmp_path / f"x{suffix}", rng.normal(size=(20, 20, 20)), np.eye(4))
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"x\.nii.*(cut short|cannot be read)"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
def test_a_file_that_is_no_image(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_text("this is a letter, and no image, and long enough for a header" * 20)
    with pytest.raises(ValueError, match=r"must be a NIfTI image .* is it another"):
        read_nifti(path)


def test_a_corrupt_stream(tmp_path, rng):
    path = save(tmp_path / "x.nii.gz", rng.normal(size=(20, 20, 20)), np.eye(4))
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 200] = bytes(200)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"x\.nii\.gz is cut short or corrupt"):
        read_nifti(path)


def test_a_number_beyond_float32(tmp_path):
    path = save(tmp_path / "x.nii", np.full(SHAPE, 1e300), np.eye(4))
    with pytest.raises(ValueError, match="data must be finite, 210 of its 210"):
        read_nifti(path)


def test_an_image_of_another_format(tmp_path):
    nibabel.save(
        nibabel.MGHImage(np.ones(SHAPE, np.float32), np.eye(4)), tmp_path / "x.mgz"
    )
    with pytest.raises(ValueError, match="is a MGHImage; convert it"):
        read_nifti(tmp_path / "x.mgz")


def test_writing_elsewhere_than_nifti(tmp_path):
    volume = Volume.from_array(np.ones(SHAPE), np.eye(4))
    with pytest.raises(ValueError, match=r"path must end in \.nii"):
        write_nifti(tmp_path / "x.png", volume)
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_nifti(tmp_path / "no" / "x.nii", volume)


def test_writing_channels(tmp_path):
    volume = Volume.from_array(np.ones((*SHAPE, 2)), np.eye(4))
    with pytest.raises(ValueError, match="volume must have no channels"):
        write_nifti(tmp_path / "x.nii", volume)
    assert not os.listdir(tmp_path)


# -- labels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("uint8", "uint8"),
        (">i2", "int16"),
        ("uint16", "uint16"),
        ("uint32", "int32"),
        ("float32", "int32"),
        ("float64", "int32"),
    ],
)
def test_labels_stay_integers(tmp_path, rng, stored, read):
    labels = rng.integers(0, 118, SHAPE)
    image = nibabel.Nifti1Image(labels.astype(stored), oriented("PIR"))
    nibabel.save(image, tmp_path / "x.nii.gz")
    volume = read_labels(tmp_path / "x.nii.gz")
    assert volume.data.dtype == read
    np.testing.assert_array_equal(volume.data, labels)


def test_labels_that_were_interpolated(tmp_path):
    data = np.ones(SHAPE, np.float32)
    data[0, 0, :3] = 1.5
    path = save(tmp_path / "x.nii", data, np.eye(4))
    with pytest.raises(ValueError, match=r"x\.nii: labels must be whole.* 3 of 210"):
        read_labels(path)


def test_labels_that_are_too_large(tmp_path):
    path = save(tmp_path / "x.nii", np.full(SHAPE, 2.0**40), np.eye(4))
    with pytest.raises(ValueError, match="labels must fit int32"):
        read_labels(path)


def test_labels_of_another_format(tmp_path):
    with pytest.raises(ValueError, match="path must end in one of"):
        read_labels(tmp_path / "x.csv")


# -- real files -----------------------------------------------------------------------


def test_a_real_crop_with_an_odd_order_of_axes(shared_data):
    folder = shared_data / "tptbox-vertebra"
    volume = read_nifti(folder / "sub-ct_label-22_ct.nii.gz")
    labels = read_labels(folder / "sub-ct_seg-vert_label-22_msk.nii.gz")
    image = nibabel.load(folder / "sub-ct_label-22_ct.nii.gz")
    assert nibabel.aff2axcodes(np.asarray(volume.affine)) == ("P", "I", "R")
    np.testing.assert_allclose(volume.affine, image.affine, rtol=1e-6)
    np.testing.assert_array_equal(volume.data, image.get_fdata())
    assert labels.data.dtype == jnp.uint8
    # Vertebra is denser than what surrounds it, if the two grids agree.
    inside = np.asarray(labels.data) == 22
    assert np.asarray(volume.data)[inside].mean() > 150


def test_a_real_ct(shared_data):
    path = shared_data / "tcga-ov_abdomen-pelvis_1.03x1.03x3.nii.gz"
    volume = read_nifti(path)
    image = nibabel.load(path)
    assert volume.shape == image.shape
    np.testing.assert_allclose(volume.affine, image.affine, rtol=1e-6)
    np.testing.assert_array_equal(volume.data[:, :, 80], image.dataobj[:, :, 80])
