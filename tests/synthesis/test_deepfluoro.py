import h5py
import numpy as np
import pytest

from synthex_jax.annotations.structures import HIP_STRUCTURES
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.synthesis.deepfluoro import SPECIMEN_STRUCTURES, FullResolution
from tests.synthesis import deepfluoro_file as source

LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def made(rng, tmp_path):
    """The file's path and its landmarks, LPS mm."""
    path = tmp_path / "full.h5"
    return path, source.make(path, rng)


def test_specimens_come_in_ras(made):
    path, landmarks = made
    file = FullResolution.open(path)
    assert file.projections == source.PROJECTIONS
    for name in source.PROJECTIONS:
        specimen = file.specimen(name)
        assert specimen.name == name
        assert specimen.label_names == {1: "left-hemipelvis", 2: "right-hemipelvis"}
        # ITK: a voxel's center is at origin + directions * (spacing * index), in LPS.
        bone = source.ORIGIN + source.DIRECTIONS @ (source.SPACING * source.MARKED)
        for volume in (specimen.ct, specimen.labels):
            (voxel,) = np.argwhere(np.asarray(volume.data) > 0)
            assert tuple(voxel) == source.MARKED
            found = np.asarray(volume.affine) @ [*voxel, 1]
            np.testing.assert_allclose(found[:3], bone * LPS, atol=1e-4)
        assert specimen.ct.data.max() == 700
        assert specimen.labels.data.dtype == np.uint8
        assert list(specimen.landmarks) == sorted(HIP_LANDMARKS)
        for number, landmark in enumerate(HIP_LANDMARKS):
            np.testing.assert_allclose(
                specimen.landmarks[landmark], landmarks[name][number] * LPS, atol=1e-4
            )


def test_xrays_are_seen_from_the_source_with_their_camera(made):
    path, _ = made
    file = FullResolution.open(path)
    landmarks = file.specimen("17-1882").landmarks
    for name in ("000", "001"):
        projection = file.projection("17-1882", name)
        assert projection.upside_down == (name == "001")
        assert projection.good_fov == {"left-femur": True, "right-femur": False}
        assert list(projection.cameras) == ["pelvis", "left-femur"]
        with h5py.File(path) as raw:
            stored = raw[f"17-1882/projections/{name}"]
            for mine, theirs in (
                (projection.image(), stored["image/pixels"]),
                (projection.mask(), stored["gt-seg/pixels"]),
            ):
                np.testing.assert_array_equal(mine, np.fliplr(theirs))
        for landmark, pixel in projection.landmarks.items():
            found = projection.cameras["pelvis"].project(landmarks[landmark])
            # Float32 rounds 1000 mm to 0.0001 mm; there are a few steps.
            np.testing.assert_allclose(found, pixel, atol=1e-3)
        shift = np.asarray(projection.cameras["left-femur"].source)
        shift = shift - np.asarray(projection.cameras["pelvis"].source)
        np.testing.assert_allclose(shift, 7 * LPS, atol=1e-3)


def test_structures_have_the_numbers_of_the_file():
    members = [(member.name, member.labels) for member in SPECIMEN_STRUCTURES.members]
    assert members[0] == ("left hemipelvis", (1,))
    assert members[5] == ("right femur", (6,))
    assert SPECIMEN_STRUCTURES.precedence == HIP_STRUCTURES.precedence


def test_unknown_names_are_refused(made):
    file = FullResolution.open(made[0])
    with pytest.raises(
        ValueError, match=r"must be one of \['17-1882', '18-0725'\], got"
    ):
        file.specimen("01")
    with pytest.raises(ValueError, match="one of 17-1882's 2, 000 to 001, got '2'"):
        file.projection("17-1882", "2")


def test_other_files_are_refused(made, tmp_path):
    path, _ = made
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as raw:
        raw["01/projs"] = np.zeros((1, 2, 2))
    with pytest.raises(ValueError, match=r"holds \['01'\]; this is one of the small"):
        FullResolution.open(other)
    with h5py.File(other, "w") as raw:
        raw.create_group("17-1882/vol")
        raw.create_group("17-1882/projections")
    with pytest.raises(ValueError, match="at least one X-ray, it holds none"):
        FullResolution.open(other)
    with h5py.File(path, "a") as raw:
        raw["17-1882/projections/000/image"].move("pixels", "pixel")
        del raw["17-1882/projections/001/gt-poses/cam-to-pelvis-vol"]
        del raw["17-1882/vol-landmarks"]
        raw["18-0725/projections/000/gt-landmarks/FH-l"][1] = np.nan
    file = FullResolution.open(path)
    with pytest.raises(ValueError, match=r"full.h5: must hold /17-1882/vol-landmarks"):
        file.specimen("17-1882")
    with pytest.raises(ValueError, match="must hold cam-to-pelvis-vol, it holds"):
        file.projection("17-1882", "001")
    with pytest.raises(ValueError, match=r"gt-landmarks/FH-l must be 2 finite numbers"):
        file.projection("18-0725", "000")
    projection = file.projection("17-1882", "000")
    with pytest.raises(
        ValueError, match=r"under /17-1882/.*/image there is \['pixel'\]"
    ):
        projection.image()
    with h5py.File(path, "a") as raw:
        raw["17-1882/projections/000/image/pixels"] = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"shape that proj-params gives, \(148, 160\)"):
        projection.image()
    with h5py.File(path, "a") as raw:
        del raw["proj-params/intrinsic"]
    with pytest.raises(ValueError, match="must hold /proj-params/intrinsic"):
        FullResolution.open(path)
