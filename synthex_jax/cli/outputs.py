"""A radiograph to a file, in the format that its suffix names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import written_whole
from synthex_jax.geometry.camera import Camera
from synthex_jax.volumes.nifti import write_nifti
from synthex_jax.volumes.volume import Volume

# A picture; and what holds the values themselves.
_PICTURE = (".png",)
_RAW = (".nii", ".nii.gz", ".npy", ".npz")


def check(path: Path, *, for_display: Sequence[str] = ()) -> None:
    """Refuse, before any work, an output that could not be written.

    Args:
        path: where the image is to go.
        for_display: options given that only a picture has a use for.

    Raises:
        ValueError: for another suffix, or options of display with raw values.
        FileNotFoundError: if the folder does not exist.
    """
    name = path.name.lower()
    require(
        name.endswith(_PICTURE + _RAW),
        f"--out must end in one of {', '.join(_PICTURE + _RAW)}, got {path}",
    )
    require(
        name.endswith(_PICTURE) or not for_display,
        f"{', '.join(for_display)} is for a picture (.png); {path} gets the "
        "values as they are",
    )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"--out must lie in a folder that exists, {path.parent} does not; create "
            "it first"
        )


def write(
    path: Path,
    image: np.ndarray,
    camera: Camera,
    *,
    kind: str,
    window: tuple[float, float] | None = None,
    invert: bool = False,
    flip: bool = False,
    bits: int = 8,
) -> str:
    """Write a radiograph, whole or not at all; returns a line that says what.

    Args:
        path: its suffix decides; see ``check``.
        image: (rows, cols).
        kind: what its values are, for the messages.
        camera: its view. A NIfTI image lies in the world where the detector is, an
            NPZ archive holds the matrices beside the image.
        window: values of black and white in a PNG; robust percentiles by default.
        invert: bone black, in a PNG.
        flip: mirrored left to right, in a PNG.
        bits: 8 or 16, a pixel of a PNG.
    """
    name = path.name.lower()
    values = f"{kind} {image.min():.3g} to {image.max():.3g}"
    if name.endswith(_PICTURE):
        low, high = _write_png(path, image, camera, kind, window, invert, flip, bits)
        return f"{path}: {bits} bits, black {low:.3g}, white {high:.3g}; {values}"
    if name.endswith((".nii", ".nii.gz")):
        write_nifti(path, on_detector(image, camera))
    else:
        with written_whole(path) as temporary:
            if name.endswith(".npy"):
                np.save(temporary, image)
            else:
                arrays = {"image": image, **_matrices(camera)}
                np.savez_compressed(temporary, allow_pickle=False, **arrays)
    return f"{path}: {values}"


def on_detector(image: np.ndarray, camera: Camera) -> Volume:
    """The image as a volume one voxel thick where the detector is in the world.

    Its first axis runs along the columns, its second down the rows.
    """
    rotation = np.asarray(camera.world_from_camera.rotation)
    row_pitch, col_pitch = np.asarray(camera.pitch)
    affine = np.eye(4)
    affine[:3, :3] = rotation * [col_pitch, row_pitch, 1.0]
    corner = camera.back_project(0.0 * camera.principal_point)
    affine[:3, 3] = np.asarray(corner)
    return Volume.from_array(np.asarray(image).T[:, :, None], affine)


def _matrices(camera: Camera) -> dict[str, np.ndarray]:
    return {
        "K": np.asarray(camera.K),
        "world_from_camera": np.asarray(camera.world_from_camera.matrix),
        "projection_matrix": np.asarray(camera.projection_matrix),
        "pitch": np.asarray(camera.pitch),
        "source_to_detector": np.asarray(camera.source_to_detector),
    }


def _write_png(
    path: Path,
    image: np.ndarray,
    camera: Camera,
    kind: str,
    window: tuple[float, float] | None,
    invert: bool,
    flip: bool,
    bits: int,
) -> tuple[float, float]:
    """Writes gray values, and the window and view as text; returns the window."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from synthex_jax.viz.display import robust_window, to_uint8, to_uint16
    from synthex_jax.viz.orientation import view_name

    low, high = robust_window(image) if window is None else window
    to_pixels = to_uint8 if bits == 8 else to_uint16
    pixels = to_pixels(
        image, window=(low, high) if high != low else window, invert=invert, flip=flip
    )
    info = PngInfo()
    info.add_text("Software", "synthex_jax")
    info.add_text(
        "Description",
        f"{view_name(camera)}; {kind}, black {low:.6g}, white {high:.6g}"
        f"{', inverted' if invert else ''}{', mirrored' if flip else ''}",
    )
    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)
    return low, high
