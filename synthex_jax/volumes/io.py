"""Volumes from files: the formats' readers, and one that picks among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import existing, naming
from synthex_jax.volumes import nifti, nrrd
from synthex_jax.volumes.dicom import is_dicom
from synthex_jax.volumes.dicom import read_dicom as read_dicom
from synthex_jax.volumes.nifti import read_nifti as read_nifti
from synthex_jax.volumes.nifti import write_nifti as write_nifti
from synthex_jax.volumes.nrrd import read_nrrd as read_nrrd
from synthex_jax.volumes.volume import Volume

_SAMPLES = ("chest", "pelvis")
_ACCEPTED = (
    "a NIfTI file (.nii, .nii.gz, .img/.hdr), an NRRD file (.nrrd, .nhdr), a folder "
    f"of DICOM slices, a multi-frame DICOM file, or a sample's name {_SAMPLES}"
)


def read_volume(source: str | Path) -> Volume:
    """A CT from whatever holds it: a file, a folder, or a sample's name.

    A path that exists goes before a sample of the same name.

    Args:
        source: a path ending in .nii, .nii.gz, .img, .hdr, .nrrd or .nhdr; a folder
            of DICOM slices; a multi-frame DICOM file; "chest" or "pelvis".

    Returns:
        float32 samples, in HU where the file holds HU.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: for a format that is not known, and as the readers do.
    """
    if str(source) in _SAMPLES and not Path(source).exists():
        from synthex_jax.volumes import samples

        return samples.chest() if str(source) == "chest" else samples.pelvis()
    path = existing(source, _ACCEPTED)
    name = path.name.lower()
    if path.is_dir() or name.endswith(".dcm"):
        return read_dicom(path)
    if name.endswith(nifti.SUFFIXES):
        return read_nifti(path)
    if name.endswith(nrrd.SUFFIXES):
        return read_nrrd(path)
    if is_dicom(path):
        return read_dicom(path)
    raise ValueError(
        f"{source} is of no format that is known; give {_ACCEPTED}. Other formats "
        "(.mha, .mhd, .mgz) can be converted with 3D Slicer or SimpleITK"
    )


def read_labels(path: str | Path) -> Volume:
    """A label map from a NIfTI or NRRD file, as integers.

    Args:
        path: .nii, .nii.gz, .img, .hdr, .nrrd or .nhdr.

    Returns:
        integer samples: of the file's type if it is one of at most 32 bits, else int32.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: for another format, for samples that are no whole numbers or pass
            the range of int32, and as the readers do.
    """
    name = str(path).lower()
    require(
        name.endswith(nifti.SUFFIXES + nrrd.SUFFIXES),
        f"path must end in one of {nifti.SUFFIXES + nrrd.SUFFIXES}, got {path}",
    )
    load = nrrd.load_nrrd if name.endswith(nrrd.SUFFIXES) else nifti.load_nifti
    data, affine = load(path)
    with naming(path):
        return Volume.from_array(_as_labels(data), affine)


def _as_labels(data: np.ndarray) -> np.ndarray:
    if np.issubdtype(data.dtype, np.integer):
        fits, fraction = data, np.zeros(0, dtype=bool)
    else:
        fits = np.rint(data)
        fraction = data != fits  # NaN counts: it differs from itself
    require(
        not fraction.any(),
        f"labels must be whole numbers, {int(fraction.sum())} of {data.size} are not; "
        "is this the CT, or was the label map resampled with interpolation?",
    )
    if data.dtype.kind in "iu" and data.dtype.itemsize <= 4 and data.dtype != np.uint32:
        # In the machine's byte order, which the file's need not be.
        return data.astype(data.dtype.newbyteorder("="))
    limits = np.iinfo(np.int32)
    require(
        limits.min <= float(fits.min()) and float(fits.max()) <= limits.max,
        f"labels must fit int32, they reach from {fits.min()} to {fits.max()}",
    )
    return fits.astype(np.int32)
