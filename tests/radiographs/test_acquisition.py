from dataclasses import replace

import numpy as np
import pytest

from synthex_jax.radiographs.acquisition import Acquisition
from tests.radiographs.dicoms import header

ISOCENTER = np.array([5.0, -10.0, 20.0])
# Pixels of different height and width, so that no two are exchanged.
DEVICE = {
    "DistanceSourceToDetector": 1000.0,
    "DistanceSourceToPatient": 700.0,
    "ImagerPixelSpacing": [0.4, 0.5],
}
LEFT, HEAD, FRONT = np.array([-1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, 1.0, 0])


def camera_of(modality="XA", shape=(40, 60), **tags):
    told = Acquisition.from_header(header(modality, **DEVICE, **tags))
    return told.camera(shape, isocenter=ISOCENTER)


def stored_pixel(camera, mirrored, point):
    """Where the file has a point of the world."""
    row, col = np.asarray(camera.project(point + 0 * camera.source))
    return np.array([row, camera.shape[1] - 1 - col if mirrored else col])


@pytest.mark.parametrize(
    ("primary", "secondary"), [(0, 0), (30, 0), (-40, 20), (90, -25)]
)
def test_positioner_angles_by_the_closed_formula(primary, secondary):
    camera, mirrored = camera_of(
        PositionerPrimaryAngle=primary, PositionerSecondaryAngle=secondary
    )
    # PS3.3 C.8.7.5.1.2: the detector's longitude from anterior to left, its latitude
    # from there to the head.
    a, b = np.deg2rad([primary, secondary])
    to_detector = np.cos(b) * (np.sin(a) * LEFT + np.cos(a) * FRONT) + np.sin(b) * HEAD
    np.testing.assert_allclose(camera.source, ISOCENTER - 700 * to_detector, atol=1e-3)
    np.testing.assert_allclose(camera.principal_direction, to_detector, atol=1e-6)
    np.testing.assert_allclose(camera.pitch, [0.4, 0.5])
    # Seen by an observer at the detector: the head up, and his right to the right.
    assert mirrored
    middle = np.array([19.5, 29.5])
    his_right = np.cross(-to_detector, HEAD)
    his_right /= np.linalg.norm(his_right)
    step = stored_pixel(camera, mirrored, ISOCENTER + 7 * his_right) - middle
    # 7 mm magnified by 1000 / 700 are 10 mm, 20 columns.
    np.testing.assert_allclose(step, [0, 20], atol=1e-3)
    up = np.cross(his_right, -to_detector)
    step = stored_pixel(camera, mirrored, ISOCENTER + 7 * up) - middle
    np.testing.assert_allclose(step, [-25, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("view", "side"), [("AP", FRONT), ("PA", -FRONT), ("LL", -LEFT), ("RL", LEFT)]
)
def test_view_positions(view, side):
    camera, _ = camera_of("DX", ViewPosition=view)
    np.testing.assert_allclose(camera.source, ISOCENTER + 700 * side, atol=1e-3)


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_films_are_hung_as_if_facing_the_patient(view):
    camera, mirrored = camera_of("CR", ViewPosition=view)
    assert mirrored == (view == "PA")
    _, col = stored_pixel(camera, mirrored, ISOCENTER + 7 * LEFT)
    assert col == pytest.approx(29.5 + 20, abs=1e-3)


@pytest.mark.parametrize(
    "orientation", ["LF", "RF", "LH", "RH", "FL", "FR", "HL", "HR"]
)
@pytest.mark.parametrize("view", ["AP", "PA"])
def test_patient_orientation_decides(view, orientation):
    camera, mirrored = camera_of(
        "DX", ViewPosition=view, PatientOrientation=list(orientation)
    )
    directions = {"L": LEFT, "R": -LEFT, "H": HEAD, "F": -HEAD}
    right, down = (directions[letter] for letter in orientation)
    middle = np.array([19.5, 29.5])
    for direction, expected in ((right, [0, 20]), (down, [25, 0])):
        pixel = stored_pixel(camera, mirrored, ISOCENTER + 7 * direction)
        np.testing.assert_allclose(pixel - middle, expected, atol=1e-3)


def test_oblique_views_go_by_the_nearest_letters():
    angles = {"PositionerPrimaryAngle": 40, "PositionerSecondaryAngle": 15}
    for orientation in (["L", "F"], ["LP", "FA"]):
        _, mirrored = camera_of(**angles, PatientOrientation=orientation)
        assert mirrored
    _, mirrored = camera_of(**angles, PatientOrientation=["R", "F"])
    assert not mirrored
    with pytest.raises(ValueError, match="PatientOrientation must fit the line of"):
        camera_of(**angles, PatientOrientation=["A", "P"])


def test_angles_and_views_that_disagree():
    both = {"PositionerPrimaryAngle": 0.0, "ViewPosition": "AP"}
    stand, _ = camera_of("DX", **both)
    carm, _ = camera_of("XA", **both)
    np.testing.assert_allclose(stand.source, ISOCENTER + 700 * FRONT, atol=1e-3)
    np.testing.assert_allclose(carm.source, ISOCENTER - 700 * FRONT, atol=1e-3)


def test_fields_beside_the_middle_of_the_detector():
    detector = {
        "Rows": 40,
        "Columns": 60,
        # 100 x 120 mm of elements of 0.2 mm, after 10 and 20 that read nothing.
        "DetectorActiveDimensions": [100.0, 120.0],
        "DetectorActiveOrigin": [10.0, 20.0],
        "DetectorElementSpacing": [0.2, 0.2],
    }

    # 40 x 60 pixels are 16 x 30 mm. In the middle they would start at 42 and 45 mm.
    def principal_point(row_mm, col_mm, **tags):
        start = [10 + row_mm / 0.2, 20 + col_mm / 0.2]
        camera, mirrored = camera_of(
            ViewPosition="AP",
            modality="DX",
            FieldOfViewOrigin=start,
            **detector,
            **tags,
        )
        row, col = np.asarray(camera.principal_point)
        return row, 59 - col if mirrored else col

    np.testing.assert_allclose(principal_point(42, 45), [19.5, 29.5], atol=1e-4)
    # Started 4 mm lower and 5 mm to the right, the beam's middle is 10 pixels up, left.
    np.testing.assert_allclose(principal_point(46, 50), [9.5, 19.5], atol=1e-4)
    flipped = principal_point(46, 50, FieldOfViewHorizontalFlip="YES")
    np.testing.assert_allclose(flipped, [9.5, 39.5], atol=1e-4)
    turned = principal_point(46, 50, FieldOfViewRotation=180)
    np.testing.assert_allclose(turned, [29.5, 39.5], atol=1e-4)
    pa = principal_point(46, 50, PatientOrientation=["R", "F"])
    np.testing.assert_allclose(pa, [9.5, 19.5], atol=1e-4)
    # A quarter clockwise: 30 x 16 mm were read, from 35 and 52 mm in the middle. What
    # lay up is right now, what lay left is up: 4 mm up, 5 mm left.
    quarter = principal_point(39, 57, FieldOfViewRotation=90)
    np.testing.assert_allclose(quarter, [19.5 - 12.5, 29.5 + 8.0], atol=1e-4)


@pytest.mark.parametrize(
    ("tags", "pitch"),
    [
        ({"PixelSpacing": [0.3, 0.2]}, (0.3, 0.2)),
        ({"PixelSpacing": [0.3, 0.2], "ImagerPixelSpacing": [0.4, 0.4]}, (0.4, 0.4)),
        ({"PixelSpacing": [0.3, 0.2], "PixelSpacingCalibrationType": "GEOMETRY"}, None),
        (
            {
                "PixelSpacing": [0.3, 0.2],
                "PixelSpacingCalibrationType": "GEOMETRY",
                "EstimatedRadiographicMagnificationFactor": 1.5,
            },
            (0.45, 0.3),
        ),
        ({"ImagerPixelSpacing": [0.0, 0.0]}, None),
        ({}, None),
    ],
)
def test_pitch_is_that_on_the_detector(tags, pitch):
    found = Acquisition.from_header(header("DX", **tags)).pitch
    assert found == (None if pitch is None else pytest.approx(pitch))


def test_what_is_missing_is_named():
    empty = Acquisition.from_header(header("XA"))
    assert list(empty.missing()) == [
        "source_to_detector",
        "source_to_patient",
        "pitch",
        "angles",
    ]
    with pytest.raises(ValueError, match="DistanceSourceToDetector; DistanceSource"):
        empty.camera((8, 8))
    # Zero is what files write for what they do not know.
    unknown = Acquisition.from_header(header("DX", DistanceSourceToDetector=0))
    assert unknown.source_to_detector is None
    moving = {"PositionerPrimaryAngle": 3, "PositionerMotion": "DYNAMIC"}
    assert Acquisition.from_header(header("XA", **moving)).angles is None
    told = Acquisition.from_header(header("XA", **DEVICE, PositionerPrimaryAngle=0))
    beyond = replace(told, source_to_patient=1200.0)
    with pytest.raises(ValueError, match="source_to_patient must be below"):
        beyond.camera((8, 8))
