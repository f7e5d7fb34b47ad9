"""DICOM series, one file a slice or many frames a file, through pydicom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import existing, naming
from synthex_jax.geometry.frames import ras_affine_from_lps
from synthex_jax.volumes.slices import Slice, stacked
from synthex_jax.volumes.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# HU of air by definition, and the lowest number that CT images hold (12 bits from
# -1024 on): what lies below marks pixels outside the reconstruction.
_AIR_HU = -1000.0
_LOWEST_HU = -1024.0
_HIGHEST_HU = 3071.0


def read_dicom(folder: str | Path, *, series: str | None = None) -> Volume:
    """A volume from a DICOM series.

    Searches the folder and those below it, whatever the files are called; files that
    are no DICOM images, and localizers beside other images, are left out. Slices are
    ordered by their position along their normal, never by name or number. Values are
    rescaled slice by slice (RescaleSlope and -Intercept; without them the stored
    values count as HU). In CT, padding becomes air (-1000 HU) and numbers below -1024
    are raised to it. LPS becomes RAS.

    Args:
        folder: of slices, or one multi-frame file (Enhanced CT).
        series: SeriesInstanceUID of the series wanted, if there are several.

    Returns:
        float32 samples (columns, rows, slices).

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the files, for a folder without images or of several
            series; for slices that are duplicate, missing, uneven, tilted, or differ in
            size, orientation or spacing; for colors, truncated files, and a compression
            for which no decoder is installed.
    """
    path = existing(folder, "a folder of DICOM slices, or a multi-frame DICOM file")
    if path.is_file():
        require(is_dicom(path), f"{path} must be DICOM, it lacks the mark of one")
        images = [_Image(path, _header(path))]
        require(
            _is_multi_frame(images[0].header),
            f"{path} is one slice of a series; give its folder, {path.parent}",
        )
    else:
        images = _chosen(path, list(_images(path)), series)
    with naming(path):
        slices = [s for image in images for s in _slices(image)]
        order, lps_from_voxel = stacked(slices, _thickness(images[0].header))
    values = np.empty((len(slices), *slices[0].shape), dtype=np.float32)
    place = iter(np.argsort(order))
    for image in images:
        for frame in _rescaled(image):
            values[next(place)] = frame
    with naming(path):
        return Volume.from_array(
            values.transpose(2, 1, 0), ras_affine_from_lps(lps_from_voxel)
        )


def is_dicom(path: Path) -> bool:
    """Whether a file carries the mark of DICOM (PS3.10, section 7.1)."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


@dataclass(frozen=True)
class _Image:
    path: Path
    header: Dataset

    @property
    def series(self) -> str:
        return str(self.header.get("SeriesInstanceUID", None) or "")


# -- finding the files ----------------------------------------------------------------


def _images(folder: Path) -> Iterator[_Image]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_dicom(path):
            header = _header(path)
            if "Rows" in header and "Columns" in header:
                yield _Image(path, header)
            else:
                _require_other_kind(path, header)


def _header(path: Path) -> Dataset:
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom's parser raises whatever it stumbles over
        raise ValueError(
            f"{path} cannot be read as DICOM: {error}; it is cut short or corrupt, "
            "copy it again"
        ) from error


def _require_other_kind(path: Path, header: Dataset) -> None:
    """Let reports, structure sets and DICOMDIR go by, but no remains of an image."""
    kind = header.file_meta.get("MediaStorageSOPClassUID", None)
    require(
        bool(kind) and "Image Storage" not in kind.name,
        f"{path} is cut short, it ends before the size of its image; copy it again",
    )


def _chosen(folder: Path, images: list[_Image], series: str | None) -> list[_Image]:
    """The images of the one series, or of the one asked for."""
    require(
        bool(images),
        f"{folder} holds no DICOM images; give the folder of a series, with files that "
        "start with the 128 bytes and the mark of DICOM",
    )
    if series is None:
        images = [i for i in images if not _is_localizer(i.header)] or images
        found = {image.series for image in images}
        require(
            len(found) == 1,
            f"{folder} holds {len(found)} series, choose one with series=UID: "
            f"{_described(images)}",
        )
        return images
    require(
        series in {image.series for image in images},
        f"series must be one of those in {folder}, got {series!r}: "
        f"{_described(images)}",
    )
    return [image for image in images if image.series == series]


def _described(images: Sequence[_Image]) -> str:
    lines = []
    for uid in sorted({image.series for image in images}):
        members = [image.header for image in images if image.series == uid]
        about = members[0].get("SeriesDescription", "") or "no description"
        modality = members[0].get("Modality", "") or "no modality"
        lines.append(f"{uid!r} ({modality}, {about}, {len(members)} files)")
    return "; ".join(lines)


def _is_localizer(header: Dataset) -> bool:
    return "LOCALIZER" in (header.get("ImageType", None) or ())


def _is_multi_frame(header: Dataset) -> bool:
    frames = header.get("NumberOfFrames", None) or 1
    return "PerFrameFunctionalGroupsSequence" in header or int(frames) > 1


# -- where the slices lie -------------------------------------------------------------


def _slices(image: _Image) -> Iterator[Slice]:
    header, name = image.header, image.path.name
    require(
        int(header.get("SamplesPerPixel", 1)) == 1,
        f"{name} must hold one number a pixel, it is a color image",
    )
    shape = (int(header.Rows), int(header.Columns))
    for number, frame in enumerate(_frames(image), start=1):
        part = f"{name} frame {number}" if _is_multi_frame(header) else name
        orientation = _numbers(frame, "ImageOrientationPatient", 6, part)
        yield Slice(
            name=part,
            position=_numbers(frame, "ImagePositionPatient", 3, part),
            directions=orientation.reshape(2, 3),
            spacing=_numbers(frame, "PixelSpacing", 2, part),
            shape=shape,
        )


def _frames(image: _Image) -> list[dict[str, object]]:
    """For each frame, its attributes: its own groups go before the shared ones."""
    header = image.header
    if not _is_multi_frame(header):
        return [dict(_attributes(header))]
    own = header.get("PerFrameFunctionalGroupsSequence", None) or ()
    shared = header.get("SharedFunctionalGroupsSequence", None) or ()
    count = int(header.get("NumberOfFrames", None) or len(own))
    require(
        len(own) == count,
        f"{image.path.name} must place each of its {count} frames, it has functional "
        f"groups for {len(own)}; only Enhanced multi-frame images have them",
    )
    common = dict(_attributes(header))
    for group in shared:
        common |= dict(_group_attributes(group))
    return [common | dict(_group_attributes(group)) for group in own]


_ATTRIBUTES = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
# The macros that hold them: PS3.3, section C.7.6.16.2.
_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)


def _attributes(dataset: Dataset) -> Iterator[tuple[str, object]]:
    for keyword in _ATTRIBUTES:
        value = dataset.get(keyword, None)
        if value is not None and value != "":
            yield keyword, value


def _group_attributes(group: Dataset) -> Iterator[tuple[str, object]]:
    for keyword in _GROUPS:
        for macro in group.get(keyword, None) or ():
            yield from _attributes(macro)


def _numbers(frame: dict, keyword: str, count: int, name: str) -> np.ndarray:
    require(
        keyword in frame,
        f"{name} lacks {keyword}, which says where the slice lies; it is no slice of a "
        "volume (a projection, a photograph), or cut short",
    )
    values = np.atleast_1d(np.asarray(frame[keyword], dtype=np.float64))
    require(
        values.shape == (count,) and bool(np.isfinite(values).all()),
        f"{name} must have {count} numbers in {keyword}, got {frame[keyword]}",
    )
    return values


def _thickness(header: Dataset) -> float | None:
    value = header.get("SliceThickness", None)
    return float(value) if value else None


# -- the values -----------------------------------------------------------------------


def _rescaled(image: _Image) -> np.ndarray:
    """(frames, rows, cols), float32, HU in CT."""
    header, stored = image.header, _stored(image)
    frames = _frames(image)
    require(
        len(stored) == len(frames),
        f"{image.path} must hold {len(frames)} frames, it holds {len(stored)}",
    )
    slope, intercept = (
        np.array([float(f.get(key, default)) for f in frames], np.float32)  # pyright: ignore
        for key, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    values = stored * slope[:, None, None] + intercept[:, None, None]
    if header.get("Modality", None) != "CT":
        return values
    # Some scanners declare a padding value that tissue has too; pixels within the
    # range of CT are kept.
    outside = (values <= _AIR_HU) | (values > _HIGHEST_HU)
    values[_is_padding(header, stored) & outside] = _AIR_HU
    return np.maximum(values, _LOWEST_HU)


def _stored(image: _Image) -> np.ndarray:
    """(frames, rows, cols) as stored, decompressed."""
    import pydicom

    dataset = pydicom.dcmread(image.path)
    _require_decoder(image.path, dataset)
    try:
        pixels = dataset.pixel_array
    except Exception as error:  # decoders raise whatever they stumble over
        raise ValueError(
            f"{image.path} has pixels that cannot be read: {error}; the file is cut "
            "short or corrupt, copy it again"
        ) from error
    return pixels.reshape(-1, *pixels.shape[-2:])


def _require_decoder(path: Path, dataset: Dataset) -> None:
    from pydicom.pixels import get_decoder  # pyright: ignore[reportPrivateImportUsage]

    syntax = dataset.file_meta.get("TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    require(
        available,
        f"{path} is compressed as {syntax.name}, and no decoder for it is installed; "
        'install one: pip install "pylibjpeg[all]" (or python-gdcm)',
    )


def _is_padding(header: Dataset, stored: np.ndarray) -> np.ndarray:
    """Pixels marked as outside the image (PS3.3, section C.7.5.1.1.2)."""
    first = header.get("PixelPaddingValue", None)
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    last = header.get("PixelPaddingRangeLimit", None)
    ends = [_as_stored(header, v) for v in (first, first if last is None else last)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(header: Dataset, value: int) -> int:
    """A padding value with the sign that pixels have; files often give it without."""
    bits = int(header.get("BitsAllocated", 16))
    is_signed = int(header.get("PixelRepresentation", 0)) == 1
    if is_signed and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value
