"""Figures of radiographs: one with its scale and letters, many on a sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.display import Window, to_display
from synthex_jax.viz.orientation import edge_letters

# A viewing room: dark, so that the eye adapts to the image, with text that stays
# readable without competing.
BACKGROUND = "#0b0d10"
TEXT = "#d9e0e8"

# Text lies on bone as well as on air: an outline keeps it readable on both.
OUTLINE = [withStroke(linewidth=2.5, foreground="#000000b0")]


def radiograph(
    image: ArrayLike,
    camera: Camera | None = None,
    *,
    isocenter: ArrayLike | None = None,
    window: Window | None = None,
    invert: bool = False,
    flip: bool = False,
    title: str | None = None,
) -> Figure:
    """A radiograph with a scale bar and the patient's directions at its edges.

    Args:
        image: (rows, cols) line integrals or intensities, or (rows, cols, 3) colors
            from ``overlay`` or ``signed``.
        camera: the view; without it there is neither scale nor letters.
        isocenter: (3,), world mm. Where given, the scale bar measures at its depth;
            otherwise on the detector, where the body appears magnified.
        window: values of black and white; see ``to_display``.
        invert: bone black.
        flip: mirrored left to right; the letters follow.
        title: above the image.

    Returns:
        A figure 6 inches wide.

    Raises:
        ValueError: for an image of another shape than the camera's, or not finite.
    """
    pixels = _pixels(image, window, invert, flip)
    if camera is not None:
        require(
            pixels.shape[:2] == camera.shape,
            f"image must have the camera's shape {camera.shape}, got "
            f"{pixels.shape[:2]}",
        )
    aspect = _aspect(camera)
    height = 6.0 * aspect * pixels.shape[0] / pixels.shape[1]
    heading = 0.35 if title else 0.0
    figure = Figure(figsize=(6.0, height + heading), dpi=120, facecolor=BACKGROUND)
    axes = figure.add_axes((0, 0, 1, height / (height + heading)))
    _show(axes, pixels, aspect)
    if title:
        figure.text(
            0.5, 1 - heading / 2 / (height + heading), title, color=TEXT,
            ha="center", va="center", fontsize=12,
        )  # fmt: skip
    if camera is not None:
        _add_letters(axes, camera, flip)
        _add_scale_bar(axes, camera, isocenter)
    return figure


def contact_sheet(
    images: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    *,
    cameras: Sequence[Camera] | None = None,
    columns: int | None = None,
    window: Window | None = None,
    invert: bool = False,
    heading: str | None = None,
) -> Figure:
    """Many images on one sheet.

    Args:
        images: each (rows, cols), or (rows, cols, 3) colors; sizes may differ.
        titles: one an image, above it.
        cameras: one an image; the patient's directions are then written at its edges.
        columns: images in a row; by default as square a sheet as fits.
        window: one window for all images; by default each has its own.
        invert: bone black.
        heading: above all.

    Raises:
        ValueError: for no images, or counts that differ.
    """
    count = len(images)
    require(count > 0, "images must hold at least one image, got none")
    for name, values in (("titles", titles), ("cameras", cameras)):
        require(
            values is None or len(values) == count,
            f"{name} must be as many as the images, {count}, got "
            f"{0 if values is None else len(values)}",
        )
    columns = columns or math.ceil(math.sqrt(count))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    pixels = [_pixels(image, window, invert, flip=False) for image in images]
    aspects = [_aspect(cameras[i] if cameras else None) for i in range(count)]
    tallest = max(
        aspect * shown.shape[0] / shown.shape[1]
        for aspect, shown in zip(aspects, pixels, strict=True)
    )
    inches = 2.9 if columns > 2 else 3.6
    figure = Figure(
        figsize=(
            columns * inches,
            rows * (inches * tallest + 0.3 * bool(titles)) + 0.45 * bool(heading),
        ),
        dpi=110,
        facecolor=BACKGROUND,
        layout="constrained",
    )
    if heading:
        figure.suptitle(heading, color=TEXT, fontsize=13)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for i, axes in enumerate(grid):
        if i >= count:
            axes.set_axis_off()
            continue
        _show(axes, pixels[i], aspects[i])
        if titles:
            axes.set_title(titles[i], color=TEXT, fontsize=10)
        if cameras:
            _add_letters(axes, cameras[i], flip=False, size=9)
    return figure


def _pixels(
    image: ArrayLike, window: Window | None, invert: bool, flip: bool
) -> np.ndarray:
    """(rows, cols) gray from 0 to 1, or (rows, cols, 3) colors as they are."""
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype == np.uint8:
        return values[:, ::-1] if flip else values
    return to_display(values, window=window, invert=invert, flip=flip)


def _aspect(camera: Camera | None) -> float:
    """Height of a pixel over its width."""
    return 1.0 if camera is None else float(camera.pitch[0] / camera.pitch[1])


def _show(axes: Axes, pixels: np.ndarray, aspect: float) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    axes.set_axis_off()


def _add_letters(axes: Axes, camera: Camera, flip: bool, size: int = 13) -> None:
    letters = edge_letters(camera, flip=flip)
    places = {
        "left": (0.02, 0.5, "left", "center"),
        "right": (0.98, 0.5, "right", "center"),
        "top": (0.5, 0.985, "center", "top"),
        "bottom": (0.5, 0.015, "center", "bottom"),
    }
    for edge, (x, y, horizontal, vertical) in places.items():
        axes.text(
            x, y, getattr(letters, edge), transform=axes.transAxes, color=TEXT,
            ha=horizontal, va=vertical, fontsize=size, fontweight="bold",
            path_effects=OUTLINE,
        )  # fmt: skip


def _add_scale_bar(axes: Axes, camera: Camera, isocenter: ArrayLike | None) -> None:
    rows, cols = camera.shape
    mm_per_column, plane = float(camera.pitch[1]), "detector"
    if isocenter is not None:
        depth = float(camera.depth(jnp.asarray(isocenter, dtype=float)))
        require(
            depth > 0,
            f"isocenter must lie in front of the source, got depth {depth:.1f} mm",
        )
        mm_per_column *= depth / float(camera.source_to_detector)
        plane = "isocenter"
    length = round_length(0.25 * cols * mm_per_column)
    start, row = 0.04 * cols, 0.955 * rows
    end = start + length / mm_per_column
    axes.plot(
        [start, end], [row, row], color=TEXT, linewidth=2.5, solid_capstyle="butt",
        path_effects=OUTLINE,
    )  # fmt: skip
    axes.text(
        start, row - 0.015 * rows, f"{length:g} mm at the {plane}", color=TEXT,
        ha="left", va="bottom", fontsize=10, path_effects=OUTLINE,
    )  # fmt: skip


def round_length(at_most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above the limit."""
    power = 10.0 ** math.floor(math.log10(at_most))
    return max(step * power for step in (1, 2, 5) if step * power <= at_most)
