"""DICOM series written here slice by slice, against the grid they were cut from."""

import shutil

import jax.numpy as jnp
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from synthex_jax.volumes.io import read_dicom, read_volume
from tests.volumes.worlds import oblique, world_function

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXIAL = np.diag([0.7, 0.9, 2.5, 1.0])
COLUMNS, ROWS, COUNT = 5, 6, 7
SERIES = "1.2.826.0.1.3680043.8.498.1"
OTHER = "1.2.826.0.1.3680043.8.498.2"


def blank(sop_class=CTImageStorage, syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = SERIES
    dataset.Modality = "CT"
    return dataset


def with_pixels(dataset, stored):
    """Signed 16-bit pixels, (rows, cols) or (frames, rows, cols)."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = np.asarray(stored, "<i2").tobytes()
    return dataset


def slices(lps=AXIAL, count=COUNT, stored=None):
    """The slices of a grid in LPS, and what they store: (columns, rows, slices)."""
    if stored is None:
        stored = np.random.default_rng(1).integers(0, 2000, (COLUMNS, ROWS, count))
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    made = []
    for k in range(count):
        dataset = with_pixels(blank(), stored[:, :, k].T)
        dataset.ImagePositionPatient = [float(v) for v in lps[:3, 2] * k + lps[:3, 3]]
        directions = (lps[:3, :2] / spacing[:2]).T.ravel()
        dataset.ImageOrientationPatient = [round(float(v), 9) for v in directions]
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        dataset.SliceThickness = float(spacing[2])
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
        dataset.InstanceNumber = 1
        made.append(dataset)
    return made, stored


def save(folder, datasets, names=None):
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        name = names[number] if names else f"{number:03d}.dcm"
        dataset.save_as(folder / name)
    return folder


GRIDS = {
    "axial": AXIAL,
    "feet_first_prone": np.diag([-0.7, 0.9, -2.5, 1.0]),
    "coronal": np.array(
        [[0.7, 0, 0, -10], [0, 0, 2.5, 20], [0, -0.9, 0, 300], [0, 0, 0, 1.0]]
    ),
    "oblique": oblique(),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_shuffled_series_becomes_its_grid(tmp_path, rng, name):
    lps = GRIDS[name]
    datasets, stored = slices(lps)
    # Names and instance numbers say nothing; nor does the order of the folder.
    save(tmp_path, [datasets[i] for i in rng.permutation(COUNT)])
    volume = read_dicom(tmp_path)
    # Positions have 16 characters in DICOM, voxels here 24 bits.
    np.testing.assert_allclose(volume.affine, LPS @ lps, atol=2e-5)
    np.testing.assert_array_equal(volume.data, stored - 1024)
    assert volume.data.dtype == jnp.float32
    assert np.linalg.det(np.asarray(volume.affine)[:3, :3]) > 0


def test_a_left_handed_stack_is_turned_around(tmp_path):
    # Slices that run against columns x rows come out in the normal's direction.
    lps = np.diag([0.7, 0.9, -2.5, 1.0])
    datasets, stored = slices(lps)
    volume = read_dicom(save(tmp_path, datasets))
    np.testing.assert_array_equal(volume.data, stored[:, :, ::-1] - 1024)
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 2.5])
    np.testing.assert_allclose(volume.affine[2, 3], -2.5 * (COUNT - 1))


@pytest.mark.parametrize("name", GRIDS)
def test_values_lie_where_the_world_has_them(tmp_path, name):
    ras = LPS @ GRIDS[name]
    truth = world_function(ras, (COLUMNS, ROWS, COUNT))
    # 16 bits over the range of the function, undone by each slice's own rescaling.
    datasets, _ = slices(GRIDS[name])
    for k, dataset in enumerate(datasets):
        plane = truth[:, :, k]
        low, slope = plane.min(), max(np.ptp(plane) / 60000, 1e-4)
        with_pixels(dataset, np.rint((plane.T - low) / slope) - 30000)
        dataset.RescaleSlope = f"{slope:.9e}"
        dataset.RescaleIntercept = f"{low + 30000 * slope:.9e}"
        dataset.Modality = "OT"  # values outside the range of CT
    volume = read_dicom(save(tmp_path, datasets))
    np.testing.assert_allclose(
        volume.data, world_function(volume.affine, volume.shape), atol=0.05
    )


def test_files_without_a_suffix_in_folders_below(tmp_path):
    datasets, stored = slices()
    save(tmp_path / "a", datasets[:3], ["IM1", "IM2", "IM3"])
    save(tmp_path / "b", datasets[3:], ["IM1", "IM2", "IM3", "IM4"])
    np.testing.assert_array_equal(read_dicom(tmp_path).data, stored - 1024)


def test_what_is_no_slice_is_left_out(tmp_path):
    datasets, stored = slices()
    save(tmp_path, datasets)
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty").write_bytes(b"")
    report = blank("1.2.840.10008.5.1.4.1.1.88.33")  # Comprehensive SR
    report.Modality = "SR"
    report.save_as(tmp_path / "report.dcm")
    scout, _ = slices(count=1)
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout[0].SeriesInstanceUID = OTHER
    scout[0].save_as(tmp_path / "scout.dcm")
    np.testing.assert_array_equal(read_dicom(tmp_path).data, stored - 1024)


def test_a_series_is_chosen(tmp_path):
    first, stored = slices()
    second, other = slices(count=4)
    for dataset in second:
        dataset.SeriesInstanceUID, dataset.SeriesDescription = OTHER, "Lung 1.0"
    save(tmp_path / "a", first)
    save(tmp_path / "b", second)
    with pytest.raises(
        ValueError, match="holds 2 series, choose one with series=UID"
    ) as e:
        read_dicom(tmp_path)
    assert f"'{SERIES}' (CT, no description, 7 files)" in str(e.value)
    assert f"'{OTHER}' (CT, Lung 1.0, 4 files)" in str(e.value)
    np.testing.assert_array_equal(read_dicom(tmp_path, series=OTHER).data, other - 1024)
    np.testing.assert_array_equal(
        read_dicom(tmp_path, series=SERIES).data, stored - 1024
    )
    with pytest.raises(ValueError, match=r"series must be one of .* got '1\.2'"):
        read_dicom(tmp_path, series="1.2")


def test_a_blank_series_uid(tmp_path):
    datasets, stored = slices()
    for dataset in datasets:
        dataset.SeriesInstanceUID = ""
    np.testing.assert_array_equal(
        read_dicom(save(tmp_path, datasets)).data, stored - 1024
    )


def test_a_single_slice_takes_its_thickness(tmp_path):
    datasets, _ = slices(count=1)
    volume = read_dicom(save(tmp_path, datasets))
    np.testing.assert_allclose(volume.spacing, [0.7, 0.9, 2.5], rtol=1e-6)
    del datasets[0].SliceThickness
    with pytest.raises(ValueError, match="is the only slice and states no thickness"):
        read_dicom(save(tmp_path, datasets))


# -- values ---------------------------------------------------------------------------


def test_no_rescaling_means_stored_values(tmp_path):
    datasets, stored = slices()
    for dataset in datasets:
        del dataset.RescaleSlope, dataset.RescaleIntercept
    np.testing.assert_array_equal(read_dicom(save(tmp_path, datasets)).data, stored)


def test_every_slice_has_its_own_rescaling(tmp_path):
    datasets, stored = slices()
    for k, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(k + 1), str(10 * k)
    expected = stored * np.arange(1, COUNT + 1) + 10 * np.arange(COUNT)
    np.testing.assert_array_equal(
        read_dicom(save(tmp_path, datasets)).data, np.maximum(expected, -1024)
    )


@pytest.mark.parametrize(
    ("padding", "limit", "padded"),
    [(-2000, None, [-2000]), (63536, None, [-2000]), (-2000, -1990, [-1995, -2000])],
)
def test_padding_is_air(tmp_path, padding, limit, padded):
    datasets, stored = slices()
    stored[0, 0] = padded[0]
    stored[1, 1] = padded[-1]
    datasets, _ = slices(stored=stored)
    for dataset in datasets:
        # As files have it: the bits of a signed number under the name of an unsigned.
        vr = "US" if padding > 0 else "SS"
        dataset.add_new("PixelPaddingValue", vr, padding)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    data = read_dicom(save(tmp_path, datasets)).data
    np.testing.assert_array_equal(data[0, 0], -1000)
    np.testing.assert_array_equal(data[1, 1], -1000)
    np.testing.assert_array_equal(data[2:], stored[2:] - 1024)


def test_padding_above_the_range_of_ct_is_air_too(tmp_path):
    datasets, stored = slices()
    stored[0, 0] = 32767
    datasets, _ = slices(stored=stored)
    for dataset in datasets:
        dataset.add_new("PixelPaddingValue", "SS", 32767)
    data = read_dicom(save(tmp_path, datasets)).data
    np.testing.assert_array_equal(data[0, 0], -1000)


def test_a_padding_value_of_tissue_is_not_believed(tmp_path):
    stored = np.full((COLUMNS, ROWS, COUNT), 1024)
    datasets, _ = slices(stored=stored)
    for dataset in datasets:
        dataset.add_new("PixelPaddingValue", "SS", 1024)
    np.testing.assert_array_equal(read_dicom(save(tmp_path, datasets)).data, 0)


def test_undeclared_padding_is_raised_to_the_lowest_number(tmp_path):
    datasets, _ = slices(stored=np.full((COLUMNS, ROWS, COUNT), -2000))
    np.testing.assert_array_equal(read_dicom(save(tmp_path, datasets)).data, -1024)


def test_a_compressed_series(tmp_path):
    datasets, stored = slices()
    for dataset in datasets:
        dataset.compress(RLELossless)
    np.testing.assert_array_equal(
        read_dicom(save(tmp_path, datasets)).data, stored - 1024
    )


# -- multi-frame ----------------------------------------------------------------------


def enhanced(lps=AXIAL, per_frame_rescale=True):
    """One Enhanced CT: some attributes shared, some a frame's own."""
    datasets, stored = slices(lps)
    image = with_pixels(blank(EnhancedCTImageStorage), stored.transpose(2, 1, 0))
    image.NumberOfFrames = COUNT

    def macro(keyword, **values):
        item = Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        group[keyword] = Sequence([item])

    group = {}
    macro("PixelMeasuresSequence", PixelSpacing=datasets[0].PixelSpacing)
    macro(
        "PlaneOrientationSequence",
        ImageOrientationPatient=datasets[0].ImageOrientationPatient,
    )
    if not per_frame_rescale:
        macro(
            "PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=-1024
        )
    image.SharedFunctionalGroupsSequence = Sequence([as_item(group)])
    frames = []
    for k, dataset in enumerate(datasets):
        group = {}
        macro(
            "PlanePositionSequence", ImagePositionPatient=dataset.ImagePositionPatient
        )
        if per_frame_rescale:
            macro(
                "PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=-k
            )
        frames.append(as_item(group))
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    offsets = np.arange(COUNT) if per_frame_rescale else 1024
    return image, stored - offsets


def as_item(group):
    item = Dataset()
    for keyword, sequence in group.items():
        setattr(item, keyword, sequence)
    return item


@pytest.mark.parametrize("per_frame_rescale", [True, False])
@pytest.mark.parametrize("lps", [AXIAL, oblique()], ids=["axial", "oblique"])
def test_a_multi_frame_image(tmp_path, lps, per_frame_rescale):
    image, values = enhanced(lps, per_frame_rescale)
    image.save_as(tmp_path / "enhanced.dcm")
    for path in (tmp_path, tmp_path / "enhanced.dcm"):
        volume = read_dicom(path)
        np.testing.assert_allclose(volume.affine, LPS @ lps, atol=2e-5)
        np.testing.assert_array_equal(volume.data, values)
    np.testing.assert_array_equal(read_volume(tmp_path / "enhanced.dcm").data, values)


def test_frames_without_positions(tmp_path):
    cine, _ = enhanced()
    del cine.PerFrameFunctionalGroupsSequence
    cine.save_as(tmp_path / "cine.dcm")
    with pytest.raises(ValueError, match=r"cine\.dcm must place each of its 7 frames"):
        read_dicom(tmp_path)


def test_a_frame_missing_from_the_stack_is_named(tmp_path):
    image, _ = enhanced()
    group = image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0]
    group.ImagePositionPatient = [0, 0, 0]
    image.save_as(tmp_path / "e.dcm")
    with pytest.raises(ValueError, match=r"e\.dcm frame 1 and e\.dcm frame 4"):
        read_dicom(tmp_path)


def test_a_lone_slice_points_to_its_folder(tmp_path):
    save(tmp_path, slices()[0])
    with pytest.raises(
        ValueError, match=r"000\.dcm is one slice of a series; give its"
    ):
        read_volume(tmp_path / "000.dcm")


# -- what is refused ------------------------------------------------------------------


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        read_dicom(tmp_path / "nothing")


def test_a_folder_without_dicom(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no DICOM images"):
        read_dicom(tmp_path)


def test_a_file_that_is_not_dicom(tmp_path):
    (tmp_path / "a.dcm").write_text("x" * 200)
    with pytest.raises(ValueError, match=r"a\.dcm must be DICOM"):
        read_volume(tmp_path / "a.dcm")


@pytest.mark.parametrize("degrees", [15.0, 2.0, -20.0])
def test_a_gantry_tilt_is_named(tmp_path, degrees):
    # Slices keep their tilted orientation and follow the table, along z.
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = [0.7, 0, 0], [0, 0.9 * c, 0.9 * s], [0, 0, 2.5]
    save(tmp_path, slices(lps)[0])
    with pytest.raises(ValueError, match=rf"stacked at {abs(degrees):.2f} degrees"):
        read_dicom(tmp_path)


def test_missing_slices_are_named(tmp_path):
    datasets, _ = slices()
    save(tmp_path, datasets)
    (tmp_path / "002.dcm").unlink()
    (tmp_path / "003.dcm").unlink()
    message = (
        r"most are 2\.500 mm apart: 2 between 2\.500 mm \(001\.dcm\) and "
        r"10\.000 mm \(004\.dcm\)"
    )
    with pytest.raises(ValueError, match=message):
        read_dicom(tmp_path)


def test_duplicates_are_named(tmp_path):
    save(tmp_path, slices()[0])
    shutil.copy(tmp_path / "003.dcm", tmp_path / "copy.dcm")
    with pytest.raises(ValueError, match=r"7\.500 mm \(003\.dcm and copy\.dcm\)"):
        read_dicom(tmp_path)


def test_many_duplicates_are_counted(tmp_path):
    save(tmp_path / "a", slices()[0])
    save(tmp_path / "b", slices()[0])
    with pytest.raises(ValueError, match=r"7 positions .* and 3 more"):
        read_dicom(tmp_path)


def test_uneven_steps_are_named(tmp_path):
    datasets, _ = slices()
    datasets[3].ImagePositionPatient = [0, 0, 3 * 2.5 + 0.6]
    with pytest.raises(ValueError, match=r"003\.dcm at 8\.100 mm is 0\.600 mm off"):
        read_dicom(save(tmp_path, datasets))


def test_rounded_positions_are_even_enough(tmp_path):
    lps = np.diag([0.7, 0.9, 1.25, 1.0])
    datasets, _ = slices(lps)
    for dataset in datasets:
        dataset.ImagePositionPatient = [
            round(float(v), 1) for v in dataset.ImagePositionPatient
        ]
    assert read_dicom(save(tmp_path, datasets)).shape == (COLUMNS, ROWS, COUNT)


def test_a_slice_shifted_in_its_plane_is_named(tmp_path):
    datasets, _ = slices()
    datasets[2].ImagePositionPatient = [4.0, 0, 5.0]
    with pytest.raises(ValueError, match=r"002\.dcm at 5\.000 mm is 4\.000 mm off"):
        read_dicom(save(tmp_path, datasets))


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        (
            "PixelSpacing",
            [0.8, 0.7],
            r"pixel spacings, but 004\.dcm has \[0\.8, 0\.7\]",
        ),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, 1], r"orientations, but 004\.dcm"),
        ("ImagePositionPatient", [1, 2], r"004\.dcm must have 3 numbers in ImagePos"),
    ],
)
def test_a_slice_unlike_the_others_is_named(tmp_path, keyword, value, message):
    datasets, _ = slices()
    setattr(datasets[4], keyword, value)
    with pytest.raises(ValueError, match=message):
        read_dicom(save(tmp_path, datasets))


def test_a_slice_of_another_size_is_named(tmp_path):
    datasets, _ = slices()
    with_pixels(datasets[4], np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"004\.dcm has \[8\.0, 8\.0\], and 000\.dcm"):
        read_dicom(save(tmp_path, datasets))


def test_directions_that_are_no_unit_vectors(tmp_path):
    datasets, _ = slices()
    for dataset in datasets:
        dataset.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    with pytest.raises(ValueError, match="must be two unit vectors at right angles"):
        read_dicom(save(tmp_path, datasets))


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_a_slice_without_geometry_is_named(tmp_path, keyword):
    datasets, _ = slices()
    delattr(datasets[2], keyword)
    with pytest.raises(ValueError, match=rf"002\.dcm lacks {keyword}"):
        read_dicom(save(tmp_path, datasets))


def test_a_color_image(tmp_path):
    datasets, _ = slices(count=1)
    datasets[0].SamplesPerPixel = 3
    with pytest.raises(ValueError, match=r"000\.dcm must hold one number a pixel"):
        read_dicom(save(tmp_path, datasets))


@pytest.mark.parametrize("cut", [10, 55])
def test_truncated_pixels_are_named(tmp_path, cut):
    save(tmp_path, slices()[0])
    whole = (tmp_path / "005.dcm").read_bytes()
    (tmp_path / "005.dcm").write_bytes(whole[:-cut])
    with pytest.raises(ValueError, match=r"005\.dcm has pixels that cannot be read"):
        read_dicom(tmp_path)


def test_a_truncated_header_is_named(tmp_path):
    save(tmp_path, slices()[0])
    whole = (tmp_path / "005.dcm").read_bytes()
    place = whole.index(b"\x20\x00\x32\x00")  # ImagePositionPatient
    for cut in (place - 3, place + 5, place + 12, 140, 200):
        (tmp_path / "005.dcm").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"005\.dcm"):
            read_dicom(tmp_path)


def test_a_compression_without_decoder_names_what_to_install(tmp_path, monkeypatch):
    datasets, _ = slices(count=2)
    for dataset in datasets:
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    save(tmp_path, datasets)
    decoder = pydicom.pixels.get_decoder(JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(
        ValueError, match=r"000\.dcm is compressed as JPEG-LS.*pip inst"
    ):
        read_dicom(tmp_path)


def test_more_frames_stated_than_stored(tmp_path):
    image, _ = enhanced()
    image.PixelData = image.PixelData[: -ROWS * COLUMNS * 2]
    image.save_as(tmp_path / "e.dcm")
    with pytest.raises(ValueError, match=r"e\.dcm has pixels that cannot be read"):
        read_dicom(tmp_path)
