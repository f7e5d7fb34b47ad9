import numpy as np
import pytest
from PIL import Image

import synthex_jax as sx
from synthex_jax.cli import outputs
from synthex_jax.radiographs.acquisition import Acquisition
from synthex_jax.radiographs.radiograph import Radiograph
from synthex_jax.radiographs.reader import (
    read_acquisition,
    read_radiograph,
    read_weights,
)
from synthex_jax.radiographs.values import BoneBright, BoneDark, Transmission
from tests.radiographs.dicoms import write

GEOMETRY = {
    "DistanceSourceToDetector": 1000,
    "DistanceSourceToPatient": 600,
    "ImagerPixelSpacing": [0.5, 0.5],
    "PositionerPrimaryAngle": 20,
}


@pytest.fixture
def attenuation(rng) -> np.ndarray:
    """Line integrals of 1 to 3 that no flip leaves as they are."""
    return np.linspace(1, 3, 24 * 32).reshape(24, 32) + 0.1 * rng.random((24, 32))


def same_up_to_scale(image, attenuation):
    slope, _ = np.polyfit(attenuation.ravel(), np.asarray(image).ravel(), 1)
    assert slope > 0
    assert np.corrcoef(np.asarray(image).ravel(), attenuation.ravel())[0, 1] > 0.99999


def counts(values) -> np.ndarray:
    return np.rint(values).astype(np.uint16)


@pytest.mark.parametrize(
    ("modality", "tags", "stored"),
    [
        # Linear in the intensity.
        ("XA", {"PixelIntensityRelationship": "LIN"}, "intensity"),
        (
            "DX",
            {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1},
            "intensity",
        ),
        # Logarithms, by their sign.
        (
            "DX",
            {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1},
            "bright",
        ),
        (
            "DX",
            {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1},
            "dark",
        ),
        # By what is shown white: bone in radiography, air in fluoroscopy.
        ("CR", {"PhotometricInterpretation": "MONOCHROME2"}, "bright"),
        ("CR", {"PhotometricInterpretation": "MONOCHROME1"}, "dark"),
        ("XA", {"PixelIntensityRelationship": "DISP"}, "dark"),
        ("RF", {"PhotometricInterpretation": "MONOCHROME1"}, "bright"),
        # A falling rescale turns the numbers over, and the sign is the stored ones'.
        (
            "DX",
            {
                "PixelIntensityRelationship": "LOG",
                "PixelIntensityRelationshipSign": 1,
                "RescaleSlope": -2,
                "RescaleIntercept": 65535,
            },
            "dark",
        ),
        # The zero of intensity is where the rescale puts it.
        (
            "XA",
            {"PixelIntensityRelationship": "LIN", "RescaleIntercept": -500},
            "intensity on a pedestal",
        ),
    ],
)
def test_dicom_says_what_its_values_mean(tmp_path, attenuation, modality, tags, stored):
    intensity = 60000 * np.exp(-attenuation)
    numbers = {
        "intensity": intensity,
        "intensity on a pedestal": intensity + 500,
        "bright": 10000 * attenuation,
        "dark": 10000 * (6 - attenuation),
    }[stored]
    path = write(tmp_path / "x.dcm", counts(numbers), modality, **tags)
    found = read_radiograph(path)
    same_up_to_scale(found.image, attenuation)
    assert float(found.weights.mean()) == 1.0
    if "intensity" in stored:  # and the gain is that of nature
        spread = np.ptp(np.asarray(found.image))
        np.testing.assert_allclose(spread, np.ptp(attenuation), rtol=1e-3)


def test_values_given_go_before_the_header(tmp_path, attenuation):
    numbers = counts(10000 * attenuation)
    path = write(tmp_path / "x.dcm", numbers, PixelIntensityRelationship="LIN")
    same_up_to_scale(read_radiograph(path, values=BoneBright()).image, attenuation)


def test_signed_pixels_and_padding(tmp_path, attenuation):
    numbers = (10000 * (attenuation - 2)).astype(np.int16)
    numbers[:3] = -20000
    numbers[3:6] = -19990
    path = write(
        tmp_path / "x.dcm",
        numbers,
        "CR",
        PixelPaddingValue=-20000,
        PixelPaddingRangeLimit=-19980,
    )
    found = read_radiograph(path)
    assert float(found.weights[:6].sum()) == 0
    assert float(found.weights[6:].mean()) == 1
    same_up_to_scale(found.image[6:], attenuation[6:])
    # Padding does not stretch the range.
    assert float(found.image[6:].min()) < float(found.image[:6].min())
    assert float(found.image[:6].max()) < float(found.image[6:].max())


def test_saturation_and_the_dark_count_nothing(tmp_path, attenuation):
    numbers = counts(60000 * np.exp(-attenuation))
    numbers[0, :5], numbers[-1, :7] = 4095 * 16, 0
    path = write(tmp_path / "x.dcm", numbers, PixelIntensityRelationship="LIN")
    assert float(read_radiograph(path).weights[-1, :7].sum()) == 0
    twelve = write(
        tmp_path / "y.dcm",
        numbers // 16,
        PixelIntensityRelationship="LIN",
        BitsStored=12,
    )
    found = read_radiograph(twelve)
    assert int((found.weights == 0).sum()) == 12
    assert np.isfinite(np.asarray(found.image)).all()


def test_shutters_and_collimators(tmp_path, attenuation):
    numbers = counts(10000 * attenuation)
    tags = {
        "ShutterShape": ["RECTANGULAR", "CIRCULAR"],
        "ShutterLeftVerticalEdge": 4,
        "ShutterRightVerticalEdge": 30,
        "ShutterUpperHorizontalEdge": 2,
        "ShutterLowerHorizontalEdge": 23,
        "CenterOfCircularShutter": [12, 16],
        "RadiusOfCircularShutter": 11,
        "CollimatorShape": "POLYGONAL",
        "VerticesOfThePolygonalCollimator": [1, 1, 1, 32, 20, 32, 20, 1],
    }
    weights = read_radiograph(write(tmp_path / "x.dcm", numbers, **tags)).weights
    rows, cols = np.indices(numbers.shape) + 1
    expected = (cols > 4) & (cols < 30) & (rows > 2) & (rows < 23) & (rows <= 20)
    expected &= np.hypot(rows - 12, cols - 16) <= 11
    np.testing.assert_array_equal(np.asarray(weights) > 0, expected)


def test_frames_are_counted_from_one(tmp_path, attenuation):
    run = counts(np.stack([10000 * attenuation, 20000 * attenuation[::-1]]))
    path = write(
        tmp_path / "run.dcm", run, "RF", PhotometricInterpretation="MONOCHROME1"
    )
    same_up_to_scale(read_radiograph(path, frame=2).image, attenuation[::-1])
    with pytest.raises(ValueError, match=r"run.dcm: holds 2 frames; .* from 1 to 2"):
        read_radiograph(path)
    with pytest.raises(ValueError, match="from 1 to 2, got 3"):
        read_radiograph(path, frame=3)


def test_the_image_is_what_the_source_sees(tmp_path, attenuation):
    path = write(tmp_path / "x.dcm", counts(10000 * attenuation), "XA", **GEOMETRY)
    found = read_radiograph(path, isocenter=[1.0, 2.0, 3.0], values=BoneBright())
    assert found.mirrored
    same_up_to_scale(found.image, attenuation[:, ::-1])
    assert found.camera is not None
    expected, _ = read_acquisition(path).camera((24, 32), isocenter=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(found.camera.K, expected.K)
    np.testing.assert_allclose(found.camera.source, expected.source)
    # A header that lacks something leaves the image as stored, without a camera.
    found = read_radiograph(path, values=BoneBright(), acquisition=Acquisition())
    assert found.camera is None
    assert not found.mirrored
    same_up_to_scale(found.image, attenuation)


def test_pictures_of_8_and_16_bits(tmp_path, attenuation):
    gray = (attenuation - 1) / 2.2
    for name, pixels in {
        "a.png": np.rint(255 * gray).astype(np.uint8),
        "b.png": np.rint(65535 * gray).astype(np.uint16),
        "c.tif": np.rint(65535 * gray).astype(np.uint16),
        "d.png": np.repeat(np.rint(255 * gray).astype(np.uint8)[..., None], 3, 2),
    }.items():
        Image.fromarray(pixels).save(tmp_path / name)
        found = read_radiograph(tmp_path / name)
        np.testing.assert_allclose(found.image, gray, atol=0.002)
        dark = read_radiograph(tmp_path / name, values=BoneDark())
        np.testing.assert_allclose(dark.image, gray.max() - gray, atol=0.005)
        assert found.camera is None


def test_arrays_keep_their_scale(tmp_path, attenuation):
    np.save(tmp_path / "a.npy", attenuation)
    np.testing.assert_allclose(
        read_radiograph(tmp_path / "a.npy").image, attenuation, rtol=1e-6
    )
    intensity = np.exp(-attenuation)
    intensity[2, 3], intensity[4, 5] = np.nan, np.inf
    np.save(tmp_path / "b.npy", intensity)
    found = read_radiograph(tmp_path / "b.npy", values=Transmission())
    lost = np.zeros(intensity.shape, bool)
    lost[2, 3] = lost[4, 5] = True
    np.testing.assert_array_equal(np.asarray(found.weights) == 0, lost)
    np.testing.assert_allclose(
        (np.asarray(found.image) - attenuation)[~lost], -attenuation.min(), rtol=1e-4
    )


def test_archives_of_render_hold_the_camera(tmp_path, attenuation):
    carm = sx.CArm.create(
        source_to_detector=900.0,
        source_to_isocenter=500.0,
        pitch=[2, 3],
        shape=(24, 32),
    )
    camera = carm.at(0.3, -0.2, 0.1, isocenter=[10.0, 20.0, 30.0])
    image = attenuation.astype(np.float32)
    outputs.write(tmp_path / "x.npz", image, camera, kind="")
    found = read_radiograph(tmp_path / "x.npz")
    assert found.camera is not None
    np.testing.assert_allclose(
        found.camera.projection_matrix, camera.projection_matrix, rtol=1e-5, atol=1e-2
    )
    np.testing.assert_array_equal(found.image, image)
    np.savez(tmp_path / "bare.npz", image=image)
    assert read_radiograph(tmp_path / "bare.npz").camera is None
    assert read_acquisition(tmp_path / "x.npz") == Acquisition()


def test_weights_from_a_picture(tmp_path):
    mask = np.zeros((4, 5), np.uint8)
    mask[1:, 2:], mask[3, 4] = 200, 100
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_allclose(read_weights(tmp_path / "mask.png"), mask / 200)
    np.save(tmp_path / "none.npy", np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"none.npy: must be finite, not negative"):
        read_weights(tmp_path / "none.npy")


def test_radiographs_are_checked():
    image = np.eye(4)
    assert Radiograph.create(image).shape == (4, 4)
    flipped = Radiograph.create(image, weights=np.tri(4)).flipped()
    np.testing.assert_array_equal(flipped.image, image[:, ::-1])
    np.testing.assert_array_equal(flipped.weights, np.tri(4)[:, ::-1])
    assert flipped.mirrored
    for arguments, message in (
        ({"image": np.zeros(4)}, "image must have shape"),
        ({"image": np.full((2, 2), np.nan)}, "image must be finite"),
        ({"image": np.ones((4, 4))}, "it is 1 everywhere"),
        ({"image": image, "weights": np.zeros((4, 4))}, "must show something"),
        ({"image": image, "weights": -np.ones((4, 4))}, "must not be negative"),
        ({"image": image, "weights": np.ones((3, 4))}, "weights must have shape"),
        ({"image": image, "camera": sx.CArm.generic().at()}, "camera must have the im"),
    ):
        with pytest.raises(ValueError, match=message):
            Radiograph.create(**arguments)


def test_errors_name_the_file(tmp_path, attenuation):
    def refused(name, match, **options):
        with pytest.raises((ValueError, FileNotFoundError), match=match) as caught:
            read_radiograph(tmp_path / name, **options)
        assert name in str(caught.value)

    refused("none.png", "does not exist")
    (tmp_path / "x.txt").write_text("no image")
    refused("x.txt", "is of no format that is known; give a gray picture")
    refused("", "it is a folder")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    refused("broken.png", "cannot be read as a picture")
    colors = np.zeros((8, 8, 3), np.uint8)
    colors[2:, :, 1] = 9
    Image.fromarray(colors).save(tmp_path / "colors.png")
    refused("colors.png", "must be gray, it has colors")
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / "even.png")
    refused("even.png", "image must show something")
    refused("even.png", "leave out frame", frame=1)
    np.save(tmp_path / "cube.npy", np.zeros((3, 3, 3)))
    refused("cube.npy", r"\(rows, cols\) real numbers")
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    refused("nan.npy", "must hold finite values")
    np.savez(tmp_path / "other.npz", picture=np.eye(3))
    refused("other.npz", "array named image, holds picture")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    refused("broken.npz", "cannot be read as an array")
    numbers = counts(10000 * attenuation)
    write(tmp_path / "ct.dcm", numbers, "CT")
    refused("ct.dcm", "must be a radiograph, its modality is CT")
    write(tmp_path / "rgb.dcm", numbers, SamplesPerPixel=3)
    refused("rgb.dcm", "it is a color image")
    write(
        tmp_path / "padded.dcm",
        numbers,
        PixelPaddingValue=0,
        PixelPaddingRangeLimit=65535,
    )
    refused("padded.dcm", "must have pixels that are not padded")
    write(tmp_path / "short.dcm", numbers[:5], Rows=24)
    refused("short.dcm", "has pixels that cannot be read")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "ct.dcm").read_bytes()[:300])
    refused("cut.dcm", "cannot be read as DICOM|has no pixels")
