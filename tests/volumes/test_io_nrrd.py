"""NRRD files written by pynrrd, against a function of the world."""

import jax.numpy as jnp
import nrrd
import numpy as np
import pytest

from synthex_jax.volumes.io import read_labels, read_nrrd, read_volume
from tests.volumes.worlds import SHAPE, oblique, world_function

SIGNS = {
    "right-anterior-superior": [1, 1, 1],
    "RAS": [1, 1, 1],
    "left-anterior-superior": [-1, 1, 1],
    "LAS": [-1, 1, 1],
    "left-posterior-superior": [-1, -1, 1],
    "LPS": [-1, -1, 1],
}


def header(space="left-posterior-superior", affine=None):
    """What places a volume with this affine in RAS, in the words of the space."""
    affine = oblique() if affine is None else affine
    in_space = np.diag([*SIGNS[space], 1]) @ affine
    return {
        "space": space,
        "space directions": in_space[:3, :3].T,
        "space origin": in_space[:3, 3],
    }


def save(path, data=None, **changes):
    fields = {k: v for k, v in (header() | changes).items() if v is not None}
    nrrd.write(str(path), np.ones(SHAPE, np.int16) if data is None else data, fields)
    return path


@pytest.mark.parametrize("space", SIGNS)
def test_every_space_of_the_patient(tmp_path, space):
    path = save(tmp_path / "ct.nrrd", world_function(oblique()), **header(space))
    volume = read_nrrd(path)
    np.testing.assert_allclose(volume.affine, oblique(), rtol=1e-6)
    # float32 holds 7 digits of values near 50,000.
    np.testing.assert_allclose(volume.data, world_function(volume.affine), atol=0.05)
    assert volume.data.dtype == jnp.float32


def test_a_detached_header(tmp_path):
    path = save(tmp_path / "ct.nhdr", world_function(oblique()))
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_allclose(
        read_volume(path).data, world_function(oblique()), rtol=1e-6
    )


def test_units(tmp_path):
    affine = oblique()
    affine[:3] /= 10
    path = save(
        tmp_path / "ct.nrrd", **header("LPS", affine), **{"space units": ["cm"] * 3}
    )
    np.testing.assert_allclose(read_nrrd(path).affine, oblique(), rtol=1e-6)


def test_an_axis_of_one_outside_space_is_dropped(tmp_path):
    in_space = header("RAS")
    in_space["space directions"] = np.vstack([[np.nan] * 3, oblique()[:3, :3].T])
    path = save(tmp_path / "ct.nrrd", np.ones((1, *SHAPE), np.int16), **in_space)
    volume = read_nrrd(path)
    assert volume.data.shape == SHAPE
    np.testing.assert_allclose(volume.affine, oblique(), rtol=1e-6)


def test_labels(tmp_path, rng):
    labels = rng.integers(0, 118, SHAPE).astype(np.uint8)
    volume = read_labels(save(tmp_path / "seg.nrrd", labels))
    assert volume.data.dtype == jnp.uint8
    np.testing.assert_array_equal(volume.data, labels)


# -- what is refused ------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.nrrd does not exist"):
        read_nrrd(tmp_path / "x.nrrd")


def test_a_missing_data_file(tmp_path):
    path = save(tmp_path / "ct.nhdr")
    next(p for p in tmp_path.iterdir() if p != path).unlink()
    with pytest.raises(FileNotFoundError, match=r"ct\.nhdr names a data file that is"):
        read_nrrd(path)


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match="must be an NRRD file, it is a folder"):
        read_nrrd(tmp_path)


@pytest.mark.parametrize("field", ["space", "space directions", "space origin"])
def test_a_header_that_does_not_place_the_volume(tmp_path, field):
    path = save(tmp_path / "x.nrrd", **{field: None})
    with pytest.raises(ValueError, match=rf"x\.nrrd: the header must .*lacks.*{field}"):
        read_nrrd(path)


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed"])
def test_a_space_without_a_patient(tmp_path, space):
    path = save(tmp_path / "x.nrrd", space=space)
    with pytest.raises(ValueError, match=f"must be RAS, LPS or LAS .* got '{space}'"):
        read_nrrd(path)


def test_vectors(tmp_path):
    directions = np.vstack([[np.nan] * 3, np.eye(3)])
    path = save(
        tmp_path / "x.nrrd",
        np.ones((3, *SHAPE), np.int16),
        **{"space directions": directions},
    )
    with pytest.raises(
        ValueError, match=r"one number a voxel .* \(3, 5, 6, 7\) with 3"
    ):
        read_nrrd(path)


def test_units_that_are_not_known(tmp_path):
    path = save(tmp_path / "x.nrrd", **{"space units": ["inch"] * 3})
    with pytest.raises(
        ValueError, match=r"space units must be one of .* got \['inch'\]"
    ):
        read_nrrd(path)


def test_meters_under_the_name_of_mm(tmp_path):
    affine = np.diag([1e-3, 1e-3, 1e-3, 1])
    path = save(tmp_path / "x.nrrd", **header("LPS", affine))
    with pytest.raises(ValueError, match=r"x\.nrrd: affine must be in millimeters"):
        read_nrrd(path)


def test_voxels_that_are_not_finite(tmp_path):
    data = np.ones(SHAPE, np.float32)
    data[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"x\.nrrd: data must be finite"):
        read_nrrd(save(tmp_path / "x.nrrd", data))


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("kept", [0, 30, 0.7])
def test_a_truncated_file(tmp_path, rng, encoding, kept):
    data = rng.integers(0, 1000, (20, 20, 20))
    path = save(tmp_path / "x.nrrd", data, encoding=encoding)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(
        ValueError, match=r"x\.nrrd(: the header| cannot be read as NRRD)"
    ):
        read_nrrd(path)


def test_a_file_that_is_no_nrrd(tmp_path):
    (tmp_path / "x.nrrd").write_text("a letter\n" * 50)
    with pytest.raises(ValueError, match=r"x\.nrrd cannot be read as NRRD"):
        read_nrrd(tmp_path / "x.nrrd")
