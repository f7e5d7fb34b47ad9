"""A data set as pictures and tables, for programs that read nothing else."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np

from synthex_jax.checks import require
from synthex_jax.synthesis.examples import (
    Example,
    Examples,
    finite,
    first_with,
    names,
    numbered,
    visible,
)
from synthex_jax.synthesis.outputs import new_folder, write_json
from synthex_jax.synthesis.pictures import GrayScale, write_picture

_MATRICES = ("intrinsics", "camera_from_world", "pitch")
_OTHERS = ("image", "mask", "hits", "landmarks", "visible", "boxes", "present")


def export_images(
    examples: Examples,
    out: str | Path,
    *,
    format: Literal["png", "tiff"] = "png",
    window: tuple[float, float] | None = None,
) -> Path:
    """Write a folder of pictures and tables; what the examples lack is left out.

    * ``images/00000.png``: 16 bits; integers of 8 or 16 bits as they are. Floating
      values share one scale: value = offset + step * gray, with offset and step in
      ``attributes.json``. Or ``images/00000.tiff``: float32, nothing lost.
    * ``masks/00000.png``: class numbers. ``hits/00000.png``: bits of structures
      (``.tiff`` where there are more than 16).
    * ``landmarks.csv``: index, name, row, col, visible.
    * ``boxes.csv``: index, name, present, top, left, bottom, right.
    * ``poses.csv``: index, every field of one number, and those of the matrices
      (``intrinsics_0_2`` is row 0, column 2).
    * ``attributes.json``: the attributes of the data set, and under ``export`` the
      gray scale and the names of fields that have no place here.

    Args:
        examples: what to write, one at a time.
        out: a new or empty folder; it appears when all is written.
        format: of the images.
        window: for PNG: values of black and of white; what lies outside is cut off.
            By default the least and the greatest of all images.

    Returns:
        The folder.

    Raises:
        ValueError: for no examples, a folder that is not empty, images that are not
            finite, a window with TIFF.
    """
    require(format in ("png", "tiff"), f"format must be png or tiff, got {format!r}")
    require(
        window is None or format == "png",
        "window must be None for TIFF, which holds the values as they are",
    )
    first = first_with(examples, ("image",), "an export")
    scale = None
    if format == "png":
        scale = GrayScale.create(examples, window=window, bits=16)
    tables = _tables(examples, first)
    with new_folder(out) as folder, ExitStack() as stack:
        for kind in ("images", "masks", "hits"):
            if kind == "images" or _singular(kind) in first:
                (folder / kind).mkdir()
        writers = {}
        for name, (header, _) in tables.items():
            file = (folder / f"{name}.csv").open("w", newline="", encoding="utf-8")
            writers[name] = csv.writer(stack.enter_context(file))
            writers[name].writerow(header)
        for index, example in numbered(examples):
            if "landmarks" in tables:
                finite(example, "landmarks", index)
            _write_pictures(folder, index, example, scale)
            for name, (_, rows) in tables.items():
                writers[name].writerows([index, *row] for row in rows(example))
        write_json(folder / "attributes.json", _attributes(examples, first, scale))
    return Path(out)


def _tables(
    examples: Examples, first: Example
) -> dict[str, tuple[list[str], Callable[[Example], list[list[Any]]]]]:
    """Name of each table to its header and the rows of one example."""
    tables = {}
    if "landmarks" in first:
        landmarks = names(examples, "landmark_names", len(first["landmarks"]))
        tables["landmarks"] = (
            ["index", "name", "row", "col", "visible"],
            lambda example: [
                [name, *pixel, int(seen)]
                for name, pixel, seen in zip(
                    landmarks, example["landmarks"], visible(example), strict=True
                )
            ],
        )
    if "boxes" in first:
        structures = names(examples, "structure_names", len(first["boxes"]))
        tables["boxes"] = (
            ["index", "name", "present", "top", "left", "bottom", "right"],
            lambda example: [
                [name, int(present), *box]
                for name, present, box in zip(
                    structures, example["present"], example["boxes"], strict=True
                )
            ],
        )
    if columns := _numbers(first):
        header = list(columns)
        tables["poses"] = (
            ["index", *header],
            lambda example: [[_numbers(example)[name] for name in header]],
        )
    return tables


def _numbers(example: Example) -> dict[str, Any]:
    """Every field of one number, and the entries of the matrices."""
    found = {}
    for name, value in example.items():
        value = np.asarray(value)
        if value.ndim == 0 or name in _MATRICES:
            for at in np.ndindex(value.shape):
                found["_".join([name, *map(str, at)])] = value[at]
    return found


def _write_pictures(
    folder: Path, index: int, example: Example, scale: GrayScale | None
) -> None:
    image = finite(example, "image", index)
    if scale is None:
        kept = image.dtype in (np.uint8, np.uint16)
        image = image if kept else image.astype(np.float32)
        write_picture(folder / f"images/{index:05d}.tiff", image)
    else:
        write_picture(folder / f"images/{index:05d}.png", scale.gray(image))
    if "mask" in example:
        write_picture(folder / f"masks/{index:05d}.png", np.asarray(example["mask"]))
    if "hits" in example:
        hits = np.asarray(example["hits"])
        suffix = "png" if hits.dtype.itemsize <= 2 else "tiff"
        write_picture(folder / f"hits/{index:05d}.{suffix}", hits)


def _attributes(
    examples: Examples, first: Example, scale: GrayScale | None
) -> dict[str, Any]:
    described = {"format": "tiff"} if scale is None else {"format": "png"}
    if scale is not None:
        described |= scale.described()
    written = {name for name in first if np.ndim(first[name]) == 0}
    written |= {*_MATRICES, *_OTHERS}
    export = {"image": described, "left_out": sorted(first.keys() - written)}
    return {**examples.attributes, "export": export}


def _singular(folder: str) -> str:
    return "mask" if folder == "masks" else folder
