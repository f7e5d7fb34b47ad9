"""NRRD files, with data attached or apart, through pynrrd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import existing, naming
from synthex_jax.volumes.volume import Volume

SUFFIXES = (".nrrd", ".nhdr")

# Signs that turn the three spaces of the patient into RAS, from the NRRD definition
# ("space": long and short names).
_RAS_SIGNS = {
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
}
_UNIT_MM = {
    "mm": 1.0,
    "millimeter": 1.0,
    "millimeters": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "meter": 1000.0,
    "meters": 1000.0,
    "um": 0.001,
    "micron": 0.001,
    "microns": 0.001,
}


def load_nrrd(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples and affine of an NRRD file as NumPy arrays.

    Returns:
        (nx, ny, nz) samples of the file's type, and the (4, 4) world-from-voxel
        affine in RAS mm.

    Raises:
        FileNotFoundError: if there is nothing at the path, or the data file that a
            detached header names is missing.
        ValueError: that names the path and what is wrong with the file.
    """
    import nrrd

    path = existing(path, "an NRRD file (.nrrd, .nhdr)")
    require(path.is_file(), f"{path} must be an NRRD file, it is a folder")
    try:
        data, header = nrrd.read(str(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} names a data file that is not there ({error.filename}); keep "
            "header and data together"
        ) from error
    except Exception as error:  # pynrrd's parser raises whatever it stumbles over
        raise ValueError(
            f"{path} cannot be read as NRRD ({type(error).__name__}: {error}); is it "
            "another format, cut short or corrupt?"
        ) from error
    with naming(path):
        return _spatial(data, header)


def read_nrrd(path: str | Path) -> Volume:
    """A volume from an NRRD file whose space is RAS, LPS or LAS.

    Args:
        path: .nrrd, or an .nhdr header with its data file beside it.

    Returns:
        float32 samples.

    Raises:
        FileNotFoundError: if the file, or the data file it names, is not there.
        ValueError: that names the path, for a file that is no NRRD, cut short, of
            several volumes or vectors, without space, directions and origin, or with
            voxels or an affine that ``Volume.from_array`` refuses.
    """
    data, affine = load_nrrd(path)
    with naming(path), np.errstate(over="ignore"):  # infinities are refused
        return Volume.from_array(data.astype(np.float32), affine)


def _spatial(data: np.ndarray, header: Mapping) -> tuple[np.ndarray, np.ndarray]:
    missing = [
        field
        for field in ("space", "space directions", "space origin")
        if field not in header
    ]
    require(
        not missing,
        f"the header must say how the axes lie in the patient, it lacks {missing}; add "
        "them, or read the array with pynrrd and give Volume.from_array an affine",
    )
    space = str(header["space"])
    require(
        space.lower() in _RAS_SIGNS,
        f"space must be RAS, LPS or LAS in long or short form, got {space!r}; resave "
        "the volume in one of them (3D Slicer does)",
    )
    directions = _directions(header["space directions"])
    spatial = [bool(np.isfinite(row).all()) for row in directions]
    others = [int(n) for n, s in zip(data.shape, spatial, strict=True) if not s]
    require(
        sum(spatial) == 3 and all(n == 1 for n in others),
        f"a file must hold one number a voxel of one 3-D volume, this one has shape "
        f"{data.shape} with {sum(spatial)} axes in space; take one component and "
        "write it to a file of its own",
    )
    data = data.reshape([n for n, s in zip(data.shape, spatial, strict=True) if s])
    affine = np.eye(4)
    affine[:3, :3] = directions[spatial].T
    affine[:3, 3] = np.asarray(header["space origin"], dtype=np.float64)
    affine[:3] *= _unit_mm(header.get("space units"))
    signs = np.asarray(_RAS_SIGNS[space.lower()])
    affine[:3] *= signs[:, None]
    return data, affine


def _directions(field: object) -> np.ndarray:
    """(axes, 3), with rows of NaN for axes outside space.

    pynrrd gives a matrix or, on its way to the next version, a list with ``None``.
    """
    rows = [[np.nan] * 3 if row is None else row for row in field]  # pyright: ignore
    return np.asarray(rows, dtype=np.float64)


def _unit_mm(units: object) -> float:
    if units is None:
        return 1.0
    names = {str(unit).strip('" ').lower() for unit in units}  # pyright: ignore
    require(
        len(names) == 1 and names <= set(_UNIT_MM),
        f"space units must be one of {sorted(_UNIT_MM)} for all axes, got "
        f"{sorted(names)}",
    )
    return _UNIT_MM[names.pop()]
