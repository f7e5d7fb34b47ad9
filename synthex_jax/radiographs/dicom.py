"""Radiographs in DICOM: CR, DX, XA and RF, one frame, through pydicom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from synthex_jax.checks import require
from synthex_jax.files import naming
from synthex_jax.radiographs.acquisition import Acquisition
from synthex_jax.radiographs.values import (
    BoneBright,
    BoneDark,
    Stored,
    Transmission,
    Values,
)
from synthex_jax.typing import Shape2

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Modalities that show bone dark, as their images are read.
_BONE_DARK = ("XA", "RF")


@dataclass(frozen=True)
class Frame:
    """One frame as a file has it.

    Attributes:
        stored: (rows, cols), after RescaleSlope and RescaleIntercept, over the highest
            number that its bits can store.
        valid: (rows, cols), False for padding and behind shutters and collimators.
        values: what the header says that the numbers mean.
        acquisition: what it says about the geometry.
    """

    stored: Stored
    valid: Bool[np.ndarray, "rows cols"]
    values: Values
    acquisition: Acquisition


def read_frame(path: Path, number: int | None) -> Frame:
    """A frame of a DICOM file, decompressed.

    Args:
        path: of the file.
        number: counted from 1, as viewers do; None for the only one.

    Raises:
        ValueError: that names the path: for a file that is no image, or a slice of a
            volume; several frames and no number, or a number beyond; color; pixels
            that cannot be decoded.
    """
    import pydicom

    try:
        header = pydicom.dcmread(path)
    except Exception as error:  # pydicom's parser raises whatever it stumbles over
        raise ValueError(
            f"{path} cannot be read as DICOM: {error}; it is cut short or corrupt, "
            "copy it again"
        ) from error
    with naming(path):
        _require_radiograph(header)
        index = _frame_index(header, number)
        pixels = _pixels(header, index)
        return Frame(
            _rescaled(header, pixels),
            ~_is_padding(header, pixels) & _uncovered(header),
            _values(header),
            Acquisition.from_header(header),
        )


def _require_radiograph(header: Dataset) -> None:
    modality = header.get("Modality", None)
    require(
        "Rows" in header and "PixelData" in header,
        "must hold an image, it has no pixels; is it a report, or cut short?",
    )
    require(
        modality not in ("CT", "MR", "PT"),
        f"must be a radiograph, its modality is {modality}; a CT is the other argument",
    )
    require(
        int(header.get("SamplesPerPixel", 1)) == 1,
        "must hold one number a pixel, it is a color image",
    )


def _frame_index(header: Dataset, number: int | None) -> int:
    count = int(header.get("NumberOfFrames", None) or 1)
    require(
        number is not None or count == 1,
        f"holds {count} frames; choose one by frame, from 1 to {count}",
    )
    number = 1 if number is None else number
    require(
        1 <= number <= count,
        f"frame must be a number from 1 to {count}, got {number}",
    )
    return number - 1


def _pixels(header: Dataset, index: int) -> Stored:
    from pydicom.pixels.utils import pixel_array

    try:
        pixels = pixel_array(header, index=index)
    except Exception as error:  # decoders raise whatever they stumble over
        raise ValueError(
            f"has pixels that cannot be read ({error}); the file is cut short, or "
            'compressed and a decoder is missing: pip install "pylibjpeg[all]"'
        ) from error
    return pixels.astype(np.float64)


def _rescaled(header: Dataset, pixels: Stored) -> Stored:
    slope = _number(header, "RescaleSlope", 1.0)
    intercept = _number(header, "RescaleIntercept", 0.0)
    return (pixels * slope + intercept) / _highest(header)


def _highest(header: Dataset) -> float:
    """Of unsigned pixels."""
    return 2.0 ** int(header.get("BitsStored", 16)) - 1


def _values(header: Dataset) -> Values:
    """PS3.3, sections C.8.7.1.1.2 (XA, RF) and C.8.11.3.1.2 (DX)."""
    sign = _number(header, "PixelIntensityRelationshipSign", 0.0)
    if sign == 0:
        # White is the highest value of MONOCHROME2; is white where little arrived?
        is_high = header.get("PhotometricInterpretation", None) != "MONOCHROME1"
        is_white = header.get("Modality", None) not in _BONE_DARK
        sign = -1.0 if is_high == is_white else 1.0
    # +1: low numbers where little of the beam arrives, that is behind bone.
    bone_is_low = (sign > 0) == (_number(header, "RescaleSlope", 1.0) > 0)
    if header.get("PixelIntensityRelationship", None) == "LIN" and bone_is_low:
        top = np.array([[_highest(header)]])
        is_signed = int(header.get("PixelRepresentation", 0)) == 1
        return Transmission(None if is_signed else _rescaled(header, top).item())
    return BoneDark() if bone_is_low else BoneBright()


def _is_padding(header: Dataset, pixels: Stored) -> Bool[np.ndarray, "rows cols"]:
    """Pixels marked as outside the image (PS3.3, section C.7.5.1.1.2)."""
    first = header.get("PixelPaddingValue", None)
    if first is None:
        return np.zeros(pixels.shape, dtype=bool)
    last = header.get("PixelPaddingRangeLimit", None)
    low, high = sorted((int(first), int(first if last is None else last)))
    return (pixels >= low) & (pixels <= high)


def _uncovered(header: Dataset) -> Bool[np.ndarray, "rows cols"]:
    """What shutters (section C.7.6.11) and collimators (C.8.7.3) leave free."""
    free = np.ones((int(header.Rows), int(header.Columns)), dtype=bool)
    rows, cols = np.indices(free.shape) + 1  # pixels count from 1
    for kind in ("Shutter", "Collimator"):
        shapes = header.get(f"{kind}Shape", None) or ()
        shapes = (shapes,) if isinstance(shapes, str) else shapes
        if "RECTANGULAR" in shapes:
            left, right, upper, lower = (
                _number(header, f"{kind}{edge}Edge", default)
                for edge, default in (
                    ("LeftVertical", 0.0),
                    ("RightVertical", np.inf),
                    ("UpperHorizontal", 0.0),
                    ("LowerHorizontal", np.inf),
                )
            )
            free &= (cols > left) & (cols < right) & (rows > upper) & (rows < lower)
        if "CIRCULAR" in shapes:
            row, col = header[f"CenterOfCircular{kind}"].value
            radius = _number(header, f"RadiusOfCircular{kind}", np.inf)
            free &= np.hypot(rows - float(row), cols - float(col)) <= radius
        if "POLYGONAL" in shapes:
            corners = header[f"VerticesOfThePolygonal{kind}"].value
            corners = np.asarray(corners, dtype=float).reshape(-1, 2)
            free &= _within(corners, (int(header.Rows), int(header.Columns)))
    return free


def _within(corners: np.ndarray, shape: Shape2) -> Bool[np.ndarray, "_ _"]:
    """Pixels in a polygon of (row, column), counted from 1."""
    from PIL import Image, ImageDraw

    picture = Image.new("1", (shape[1], shape[0]))
    outline = [(col - 1, row - 1) for row, col in corners]
    ImageDraw.Draw(picture).polygon(outline, fill=1)
    return np.asarray(picture)


def _number(header: Dataset, keyword: str, default: float) -> float:
    value = header.get(keyword, None)
    return default if value is None or value == "" else float(value)
