"""Radiographs from files: pictures, arrays and DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from synthex_jax.checks import require
from synthex_jax.files import existing, naming
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.radiographs.acquisition import Acquisition
from synthex_jax.radiographs.dicom import read_frame
from synthex_jax.radiographs.field import field_of_view
from synthex_jax.radiographs.radiograph import Radiograph
from synthex_jax.radiographs.values import BoneBright, Stored, Values
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.dicom import is_dicom

_PICTURES = (".png", ".tif", ".tiff")
_ARRAYS = (".npy", ".npz")
_ACCEPTED = (
    "a gray picture (.png, .tif), an array (.npy, or .npz as synthex render writes it) "
    "or a DICOM file (CR, DX, XA, RF)"
)
Weights = Float[np.ndarray, "rows cols"]

# What an archive holds beside the image where it tells the camera.
_MATRICES = ("K", "world_from_camera", "pitch")
_GRAY_MODES = ("1", "L", "I", "F", "I;16", "I;16B")


def read_radiograph(
    path: str | Path,
    *,
    values: Values | None = None,
    frame: int | None = None,
    isocenter: ArrayLike = (0.0, 0.0, 0.0),
    acquisition: Acquisition | None = None,
) -> Radiograph:
    """A radiograph as attenuation, from whatever holds it.

    Weights are 0 where a pixel tells nothing: outside of the field of view
    (``field_of_view``, and the shutters and collimators that DICOM names), padding,
    pixels without signal or saturated ones of linear readings, and what is not finite.

    Whole numbers of pictures and of DICOM are divided by the highest that their bits
    hold; arrays keep their scale.

    Args:
        path: .png or .tif, gray, 8 or 16 bits; .npy; .npz with ``image`` and, for a
            camera, ``K``, ``world_from_camera`` and ``pitch``; DICOM.
        values: what the pixel values mean. By default what DICOM says, elsewhere
            ``BoneBright()``.
        frame: of a DICOM file with several, counted from 1.
        isocenter: (3,), world mm, what a DICOM file's device turns about: the patient
            in the middle of the beam, the CT's ``center`` as a rule.
        acquisition: instead of what a DICOM header tells (``read_acquisition``).

    Returns:
        The image as the source sees it. It has a camera where an archive holds one or
        where a DICOM header is complete (``Acquisition.missing``).

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path: for another format; colors; several frames and
            no choice; an image that shows nothing; and as ``Acquisition.camera``.
    """
    path = existing(path, _ACCEPTED)
    if _format(path) == "dicom":
        return _from_dicom(path, values, frame, isocenter, acquisition)
    with naming(path):
        require(frame is None, "holds one image; leave out frame")
        camera = None
        if _format(path) == "picture":
            stored = _picture(path)
        else:
            stored, camera = _array(path)
        finite = np.isfinite(stored)
        require(bool(finite.any()), "must hold finite values, it holds none")
        return _radiograph(stored, finite, values or BoneBright(), camera)


def read_acquisition(path: str | Path) -> Acquisition:
    """What the header of a DICOM file tells of the geometry; nothing for other files.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path, for a format that is not known or a header that
            cannot be read.
    """
    path = existing(path, _ACCEPTED)
    if _format(path) != "dicom":
        return Acquisition()
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return Acquisition.from_header(header)
    except Exception as error:  # pydicom's parser raises whatever it stumbles over
        raise ValueError(f"{path} cannot be read as DICOM: {error}") from error


def read_weights(path: str | Path) -> Weights:
    """How much the pixels of a radiograph count, from a picture or an array.

    Args:
        path: .png, .tif, .npy or .npz (``image``), zero where pixels do not count.

    Returns:
        (rows, cols), 1 where the file has its highest value.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path: for another format, colors, values that are
            negative, not finite, or zero everywhere.
    """
    path = existing(path, "a picture or an array")
    with naming(path):
        form = _format(path)
        require(form != "dicom", "must be a picture or an array, it is DICOM")
        values = _picture(path) if form == "picture" else _array(path)[0]
        require(
            bool(np.isfinite(values).all() and (values >= 0).all() and values.any()),
            "must be finite, not negative, and above zero where pixels count",
        )
        return (values / values.max()).astype(np.float32)


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    require(path.is_file(), f"{path} must be a file, it is a folder; give {_ACCEPTED}")
    if suffix in _PICTURES:
        return "picture"
    if suffix in _ARRAYS:
        return "array"
    require(is_dicom(path), f"{path} is of no format that is known; give {_ACCEPTED}")
    return "dicom"


def _from_dicom(
    path: Path,
    values: Values | None,
    number: int | None,
    isocenter: ArrayLike,
    acquisition: Acquisition | None,
) -> Radiograph:
    frame = read_frame(path, number)
    acquisition = acquisition or frame.acquisition
    camera, mirrored = None, False
    with naming(path):
        if not acquisition.missing():
            rows, cols = frame.stored.shape
            camera, mirrored = acquisition.camera((rows, cols), isocenter=isocenter)
        found = _radiograph(frame.stored, frame.valid, values or frame.values, camera)
    return found.flipped() if mirrored else found


def _radiograph(
    stored: Stored,
    valid: Bool[np.ndarray, "rows cols"],
    values: Values,
    camera: Camera | None,
) -> Radiograph:
    require(
        bool(valid.any()), "must have pixels that are not padded or covered, has none"
    )
    # What lies there may be far from all that was measured; even and in the middle of
    # the range, it is no field's outside.
    filled = np.where(valid, stored, np.median(stored[valid]))
    weights = valid & values.measured(filled) & field_of_view(filled)
    return Radiograph.create(
        values.attenuation(filled), weights=weights.astype(np.float32), camera=camera
    )


def _picture(path: Path) -> Stored:
    """Gray values, from 0 to 1 where they are whole numbers."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            mode = picture.mode
            pixels = np.asarray(
                picture if mode in _GRAY_MODES else picture.convert("RGB")
            )
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"cannot be read as a picture ({error}); is it cut short or corrupt?"
        ) from error
    if pixels.ndim == 3:
        require(
            bool((pixels == pixels[..., :1]).all()),
            f"must be gray, it has colors (mode {mode}); convert it, and leave out "
            "what was drawn on it",
        )
        pixels = pixels[..., 0]
    whole = pixels.dtype.kind == "u"
    return pixels / np.float64(np.iinfo(pixels.dtype).max if whole else 1)


def _array(path: Path) -> tuple[np.ndarray, Camera | None]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"cannot be read as an array ({error})") from error
    if isinstance(loaded, np.ndarray):
        return _as_image(loaded), None
    with loaded as archive:
        require(
            "image" in archive,
            f"must hold an array named image, holds {', '.join(archive) or 'none'}",
        )
        image = _as_image(archive["image"])
        if not all(name in archive for name in _MATRICES):
            return image, None
        rows, cols = image.shape
        pose = RigidTransform.from_matrix(archive["world_from_camera"])
        return image, Camera.from_krt(
            archive["K"], pose.inverse, shape=(rows, cols), pitch=archive["pitch"]
        )


def _as_image(values: np.ndarray) -> np.ndarray:
    require(
        values.ndim == 2 and values.size > 0 and values.dtype.kind in "iuf",
        f"image must be (rows, cols) real numbers, got {values.dtype} of shape "
        f"{values.shape}",
    )
    return values.astype(np.float64)
