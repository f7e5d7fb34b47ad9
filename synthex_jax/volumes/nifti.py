"""NIfTI files (and Analyze pairs), through nibabel."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import existing, naming, written_whole
from synthex_jax.volumes.volume import Volume, require_affine

SUFFIXES = (".nii", ".nii.gz", ".img", ".hdr", ".img.gz", ".hdr.gz")

# The spatial part of xyzt_units in nifti1.h, with its size in mm; 0 means not stated,
# which in practice is mm.
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def load_nifti(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples and affine of a NIfTI file as NumPy arrays.

    Returns:
        (nx, ny, nz) samples, of the file's own type where it states no scaling and
        float32 where it does, and the (4, 4) world-from-voxel affine in RAS mm.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path and what is wrong with the file.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    path = existing(path, "a NIfTI file (.nii, .nii.gz)")
    require(
        path.is_file(), f"{path} is a folder; read_dicom reads a folder of DICOM slices"
    )
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} must be a NIfTI image (.nii, .nii.gz), but its header cannot be "
            f"read: {error}; is it another format, or cut short?"
        ) from error
    require(
        isinstance(image, nibabel.AnalyzeImage),
        f"{path} must be a NIfTI image, it is a {type(image).__name__}; convert it "
        "(nibabel.save, or 3D Slicer)",
    )
    with naming(path):
        _require_one_volume(image)
        affine = _affine_mm(image, path)
    try:
        data = _samples(image)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{path} is cut short or corrupt, its voxels cannot be read: {error}; "
            "copy or download it again"
        ) from error
    return data.reshape(data.shape[:3]), affine


def read_nifti(path: str | Path) -> Volume:
    """A volume from a NIfTI file, in any orientation.

    Scaling (scl_slope, scl_inter) is applied, and an affine in meters or micrometers
    is converted to mm. The axes stay in the file's order: the affine says where they
    point (``grids.canonical`` sorts them).

    Args:
        path: .nii, .nii.gz, or either file of an .img/.hdr pair.

    Returns:
        float32 samples.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path, for a file that is no image, cut short, of
            several volumes (4-D), empty, of colors or complex numbers, with NaN or
            infinite voxels, or with an affine that is singular, sheared or not in mm.

    Warns:
        UserWarning: if the file says nothing about its orientation.
    """
    data, affine = load_nifti(path)
    with naming(path), np.errstate(over="ignore"):  # infinities are refused
        return Volume.from_array(data.astype(np.float32), affine)


def write_nifti(path: str | Path, volume: Volume) -> None:
    """Write a volume as NIfTI; the file appears whole or not at all.

    Integers keep their type, booleans become uint8, floats float32 (float64 stays).

    Args:
        path: .nii or .nii.gz.
        volume: without channels.

    Raises:
        ValueError: for another suffix, or a volume with channels.
        FileNotFoundError: if the folder does not exist.
    """
    import nibabel

    require(
        str(path).endswith((".nii", ".nii.gz")),
        f"path must end in .nii or .nii.gz, got {path}",
    )
    require(
        volume.data.ndim == 3,
        f"volume must have no channels, its data has shape {volume.data.shape}; write "
        "each channel to a file of its own",
    )
    data = np.asarray(volume.data)
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    elif not np.issubdtype(data.dtype, np.integer) and data.dtype != np.float64:
        # NIfTI knows neither float16 nor bfloat16.
        data = data.astype(np.float32)
    affine = np.asarray(volume.affine, dtype=np.float64)
    require_affine(volume.affine)
    image = nibabel.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    # Code 1: coordinates of the scanner. The qform serves readers that ignore sforms.
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with written_whole(path) as temporary:
        nibabel.save(image, temporary)


def _require_one_volume(image) -> None:
    shape = image.shape
    require(
        len(shape) >= 3 and 0 not in shape,
        f"a volume must have three axes, none of them empty, got shape {shape}",
    )
    count = int(np.prod(shape[3:]))
    require(
        count == 1,
        f"a file must hold one volume, this one holds {count} (shape {shape}); write "
        "the wanted one to a file of its own, image.slicer[..., 0] in nibabel",
    )
    dtype = image.get_data_dtype()
    require(
        np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating),
        f"voxels must be real numbers, these are of type {dtype} (colors or complex "
        "numbers); convert them to one number a voxel",
    )


def _affine_mm(image, path: Path) -> np.ndarray:
    header = image.header
    affine = np.array(image.affine, dtype=np.float64)
    if "xyzt_units" in header:
        code = int(header["xyzt_units"]) & 7
        require(
            code in _UNIT_MM,
            f"xyzt_units must state meters, mm or micrometers, got code {code}; "
            "header.set_xyzt_units('mm') in nibabel corrects it",
        )
        affine[:3] *= _UNIT_MM[code]
    if "sform_code" not in header or header["sform_code"] == header["qform_code"] == 0:
        warnings.warn(
            f"{path} does not say how its axes lie in the patient (neither sform nor "
            "qform); they are taken as left, anterior, superior as nibabel does. Look "
            "at a picture: left and right may be exchanged",
            stacklevel=4,
        )
    return affine


def _samples(image) -> np.ndarray:
    from nibabel.arrayproxy import ArrayProxy

    proxy = image.dataobj
    if not str(proxy.file_like).endswith(".gz"):
        return _scaled(proxy)
    # nibabel stops after the last voxel, before the checksum; read on to the end, where
    # gzip compares it.
    with gzip.open(proxy.file_like) as stream:
        layout = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
        data = _scaled(ArrayProxy(stream, layout))
        while stream.read(1 << 20):
            pass
    return data


def _scaled(proxy) -> np.ndarray:
    if (proxy.slope, proxy.inter) == (1.0, 0.0):
        return np.asarray(proxy)
    with np.errstate(over="ignore"):  # infinities are refused, with their number
        return np.asarray(proxy, dtype=np.float32)
