"""Radiographs with their labels: masks in color, landmarks as crosses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from synthex_jax.checks import require
from synthex_jax.viz.layers import LABEL_COLORS, overlay
from synthex_jax.viz.pictures import BACKGROUND, OUTLINE, TEXT, contact_sheet

_CROSS = "#ffffff"

# Width of a name in the legend.
_LEGEND_INCHES = 1.7


def annotated(
    examples: Sequence[Mapping[str, Any]],
    *,
    structure_names: Sequence[str] = (),
    landmark_names: Sequence[str] = (),
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    opacity: float = 0.45,
) -> Figure:
    """A sheet of labelled images, as data sets hold them.

    Args:
        examples: each with ``image`` (rows, cols) and any of ``mask`` (rows, cols),
            ``landmarks`` (n, 2) with ``visible`` (n,), ``boxes`` (s, 4) with
            ``present`` (s,).
        structure_names: of the classes 1, 2, ...; they make the legend.
        landmark_names: written beside the crosses, where there is one image only.
        titles: one an image.
        columns: images in a row.
        opacity: of the masks.

    Raises:
        ValueError: for no examples, or one without an image.
    """
    require(len(examples) > 0, "examples must hold at least one, got none")
    for example in examples:
        require(
            "image" in example,
            f"examples must hold an image each, one has {', '.join(example)} only",
        )
    colored = [
        overlay(e["image"], np.asarray(e["mask"]).astype(int), opacity=opacity)
        if "mask" in e
        else np.asarray(e["image"])
        for e in examples
    ]
    sheet = contact_sheet(colored, titles, columns=columns)
    names = tuple(landmark_names) if len(examples) == 1 else ()
    for axes, example in zip(sheet.axes, examples, strict=False):
        _add_landmarks(axes, example, names)
        _add_boxes(axes, example)
    if structure_names:
        _add_legend(sheet, structure_names)
    return sheet


def _add_landmarks(
    axes: Axes, example: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    if "landmarks" not in example:
        return
    pixels = np.asarray(example["landmarks"])
    visible = np.asarray(example.get("visible", np.ones(len(pixels), bool)))
    axes.plot(
        pixels[visible, 1], pixels[visible, 0], "+", color=_CROSS, markersize=7,
        markeredgewidth=1.2, path_effects=OUTLINE,
    )  # fmt: skip
    for index in np.flatnonzero(visible)[: len(names)]:
        row, col = pixels[index]
        axes.annotate(
            names[index], (col, row), xytext=(4, 3), textcoords="offset points",
            color=TEXT, fontsize=8, path_effects=OUTLINE,
        )  # fmt: skip


def _add_boxes(axes: Axes, example: Mapping[str, Any]) -> None:
    if "boxes" not in example:
        return
    for index in np.flatnonzero(np.asarray(example["present"])):
        top, left, bottom, right = np.asarray(example["boxes"])[index]
        color = LABEL_COLORS[index % len(LABEL_COLORS)]
        axes.add_patch(
            Rectangle(
                (left, top), right - left, bottom - top, fill=False, edgecolor=color,
                linewidth=0.8,
            )
        )  # fmt: skip


def _add_legend(sheet: Figure, names: Sequence[str]) -> None:
    patches = [
        Patch(color=LABEL_COLORS[i % len(LABEL_COLORS)], label=name)
        for i, name in enumerate(names)
    ]
    sheet.legend(
        handles=patches, loc="outside lower center",
        ncols=max(1, min(len(names), int(sheet.get_figwidth() / _LEGEND_INCHES))),
        frameon=False, labelcolor=TEXT, fontsize=9, facecolor=BACKGROUND,
    )  # fmt: skip
