"""Pictures of registrations: whether a pose fits, and the way that led to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, repeat
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from synthex_jax.checks import require, require_positive
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.registration.history import History
from synthex_jax.registration.pyramid import Level, coarsened
from synthex_jax.registration.register import BodyHistory
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.animation import sweep
from synthex_jax.viz.display import to_uint8
from synthex_jax.viz.edges import draw_edges, edge_pixels, edges
from synthex_jax.viz.layers import LABEL_COLORS, overlay
from synthex_jax.viz.pairs import Pair
from synthex_jax.viz.pictures import BACKGROUND, TEXT, contact_sheet
from synthex_jax.volumes.volume import Volume

# One after the other behind the curves, so that levels are told apart.
_SHADES = ("#11161c", "#1d2630")
_GRID, _SPINE = "#2a3138", "#49525c"

# Of an animation: pixels along a picture's longer side, pixels of the line above.
_LONGER_SIDE, _LINE = 256, 18
_FRAMES_PER_SECOND = 12.0
# Of the time from start to end: how long the end is held.
_HELD = 0.3
# Mm: a voxel of the animation's renderings, about what a pixel sees.
_SPACING = 2.0


def registration_overlay(
    fixed: ArrayLike,
    moving: ArrayLike,
    camera: Camera | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Figure:
    """A radiograph and the rendering at a pose, so that the eye can judge the fit.

    Six pictures: the two; borders in both as one, in colors that are gray where the
    images agree; the rendering's edges over the radiograph; and a part of the last two
    magnified, in which a millimeter shows.

    Args:
        fixed: (rows, cols), attenuation, up to a gain and an offset.
        moving: (rows, cols), rendered at the pose; shown with the radiograph's mean
            and standard deviation.
        camera: the view; the patient's directions are then written at the edges.
        weights: (rows, cols), not negative; nothing is compared where they are 0.

    Raises:
        ValueError: for images, weights or a camera of different shapes, values that
            are not finite, and weights that are 0 everywhere.
    """
    pair = Pair.create(fixed, moving, weights)
    require(
        camera is None or camera.shape == pair.fixed.shape,
        f"camera must have the shape of the images, {pair.fixed.shape}, got another",
    )
    radiograph, rendering = (_colored(image) for image in pair.gray())
    blend, part = pair.blend(), pair.part()
    pictures = {
        "radiograph": radiograph,
        "rendering": rendering,
        "radiograph orange, rendering blue": blend,
        "edges of the rendering": radiograph,
        "edges, magnified": _colored(
            to_uint8(pair.fixed[part], window=pair.window(part))
        ),
        "both, magnified": blend[part],
    }
    cameras = None if camera is None else [camera] * len(pictures)
    sheet = contact_sheet(
        list(pictures.values()), list(pictures), cameras=cameras, columns=3
    )
    found = edges(pair.moving, pair.counts)
    draw_edges(sheet.axes[3], found)
    draw_edges(sheet.axes[4], found[part], linewidth=1.6)
    for axes in sheet.axes[2:4]:
        _add_frame(axes, *part)
    return sheet


def convergence(
    history: History,
    *,
    levels: Sequence[Level] | None = None,
    errors: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """How a registration went, iteration by iteration.

    Args:
        history: ``found.history``.
        levels: of the registration, whose resolutions are then written.
        errors: name with unit, as in "mTRE, mm", to (n,), one value for each iteration
            that was taken; magnitudes are drawn.

    Returns:
        A figure of the cost, which is another at each level, of the movement that the
        next step would bring, and of the errors.

    Raises:
        ValueError: for a history of no iterations, errors of another length, and fewer
            levels than the history has.
    """
    figure = Figure(
        figsize=(7.0, 2.2 * (3 if errors else 2)), dpi=110, layout="constrained"
    )
    draw_convergence(figure, history, levels=levels, errors=errors)
    return figure


def draw_convergence(
    figure: Figure | SubFigure,
    history: History,
    *,
    levels: Sequence[Level] | None = None,
    errors: Mapping[str, ArrayLike] | None = None,
) -> None:
    """As ``convergence``, in a figure or a part of one."""
    taken = history.taken()
    _require_taken(taken)
    level = np.asarray(taken.level)
    curves = [{"cost": taken.cost}, {"movement, mm": taken.movement}]
    curves += [errors] if errors else []
    figure.set_facecolor(BACKGROUND)
    panels = figure.subplots(len(curves), sharex=True)
    for axes, named in zip(panels, curves, strict=True):
        _shade(axes, level)
        for (name, values), color in zip(
            named.items(), cycle(LABEL_COLORS), strict=False
        ):
            _draw_curve(axes, name, values, level, color)
        _dress(axes)
    for axes in panels[1:]:
        axes.set_yscale("log")
    _name_levels(panels[0], level, levels)
    panels[-1].set_xlabel("iteration", color=TEXT)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))


def registration_animation(
    path: str | Path,
    fixed: ArrayLike,
    body: Volume,
    camera: Camera,
    history: BodyHistory,
    *,
    seconds: float = 5.0,
) -> Path:
    """The way of a registration as an animated GIF, which appears whole or not at all.

    Two pictures, 256 pixels along the longer side: the edges of the rendering over the
    radiograph, and borders in both, the radiograph's orange and the rendering's blue.

    Args:
        path: ends in ``.gif``.
        fixed: (rows, cols), attenuation, up to a gain and an offset.
        body: 1/mm, the registration's first.
        camera: the radiograph's; the history has the poses.
        history: ``found.history``.
        seconds: from the start to the end, which is held for a while. Iterations that
            would need more than twelve frames a second are left out evenly.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, a history of no iterations, an image of another
            shape than the camera's, and seconds that are not positive.
    """
    taken = history.taken()
    _require_taken(taken)
    image = np.asarray(fixed, dtype=np.float32)
    require(
        image.shape == camera.shape,
        f"fixed must have the camera's shape {camera.shape}, got {image.shape}",
    )
    require_positive("seconds", seconds)
    count = len(taken.level)
    most = max(2, round(seconds * _FRAMES_PER_SECOND))
    chosen = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return sweep(
        path,
        _frames(image, body, camera, taken, chosen),
        frames_per_second=len(chosen) / seconds,
        there_and_back=False,
    )


def _require_taken(history: History) -> None:
    require(
        len(history.level) > 0,
        "history must hold at least one iteration, none was taken",
    )


def _colored(gray: UInt8[np.ndarray, "r c"]) -> UInt8[np.ndarray, "r c 3"]:
    return np.repeat(gray[..., None], 3, axis=2)


def _add_frame(axes: Axes, rows: slice, cols: slice) -> None:
    axes.add_patch(
        Rectangle(
            (cols.start - 0.5, rows.start - 0.5), cols.stop - cols.start,
            rows.stop - rows.start, fill=False, edgecolor=TEXT, linewidth=0.8,
        )
    )  # fmt: skip


# -- convergence ---------------------------------------------------------------------


def _draw_curve(
    axes: Axes, name: str, values: ArrayLike, level: np.ndarray, color: str
) -> None:
    """One line a level."""
    found = np.abs(np.asarray(values, dtype=np.float64))
    require(
        found.shape == level.shape,
        f"errors must have one value an iteration taken, {level.shape}, {name!r} has "
        f"{found.shape}",
    )
    found = np.where(np.isfinite(found), found, np.nan)
    for number in np.unique(level):
        at = np.flatnonzero(level == number)
        label = name if number == level[0] else None
        axes.plot(at, found[at], ".-", color=color, label=label)


def _shade(axes: Axes, level: np.ndarray) -> None:
    for number in np.unique(level):
        at = np.flatnonzero(level == number)
        shade = _SHADES[number % len(_SHADES)]
        axes.axvspan(at[0] - 0.5, at[-1] + 0.5, color=shade, zorder=0)
    axes.set_xlim(-0.5, len(level) - 0.5)


def _name_levels(axes: Axes, level: np.ndarray, levels: Sequence[Level] | None) -> None:
    require(
        levels is None or len(levels) > level[-1],
        f"levels must be as many as the history has, {level[-1] + 1}, got "
        f"{0 if levels is None else len(levels)}",
    )
    for number in np.unique(level):
        name = f"level {number + 1}"
        if levels is not None:
            name = f"{levels[number].pixels} px, {levels[number].spacing:g} mm"
        axes.text(
            np.flatnonzero(level == number).mean(), 1.03, name, color=TEXT,
            transform=axes.get_xaxis_transform(), ha="center", fontsize=9,
        )  # fmt: skip


def _dress(axes: Axes) -> None:
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(which="both", colors=TEXT)
    axes.grid(which="major", color=_GRID, linewidth=0.7)
    axes.spines[:].set_color(_SPINE)
    axes.legend(
        loc="upper right", frameon=True, facecolor=BACKGROUND, edgecolor="none",
        labelcolor=TEXT, fontsize=9, framealpha=0.7,
    )  # fmt: skip


# -- the animation -------------------------------------------------------------------


def _frames(
    fixed: np.ndarray,
    body: Volume,
    camera: Camera,
    taken: BodyHistory,
    chosen: Sequence[int],
) -> Iterator[UInt8[np.ndarray, "rows cols 3"]]:
    scale = _LONGER_SIDE / max(camera.shape)
    rows, cols = (max(1, round(scale * n)) for n in camera.shape)
    small = camera.resized((rows, cols))
    image = np.asarray(jax.image.resize(fixed, (rows, cols), "cubic"))
    coarse = coarsened(body, _SPACING)
    for i in chosen:
        pose = RigidTransform.from_matrix(taken.world_from_camera[i, 0])
        moving = line_integrals(coarse, replace(small, world_from_camera=pose))
        pair = Pair.create(image, moving)
        found = edge_pixels(edges(pair.moving))
        outlined = overlay(pair.fixed, found, opacity=0.9, window=pair.window())
        pictures = np.concatenate([outlined, pair.blend()], axis=1)
        text = (
            f"level {int(taken.level[i]) + 1}   iteration {i + 1}   "
            f"cost {float(taken.cost[i]):.4f}"
        )
        frame = np.concatenate([_line(text, pictures.shape[1]), pictures])
        held = round(_HELD * len(chosen)) if i == chosen[-1] else 0
        yield from repeat(frame, 1 + held)


def _line(text: str, width: int) -> UInt8[np.ndarray, "rows cols 3"]:
    strip = Pillow.new("RGB", (width, _LINE), BACKGROUND)
    font = ImageFont.load_default(size=_LINE - 6)
    ImageDraw.Draw(strip).text((4, 1), text, fill=TEXT, font=font)
    return np.asarray(strip)
