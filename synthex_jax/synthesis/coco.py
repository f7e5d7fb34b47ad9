"""A data set in COCO's format: masks, boxes and keypoints.

Format: https://cocodataset.org/#format-data. Category s + 1 is structure s; the last
category has the landmarks as keypoints. Pixels are counted as COCO's tools do: a box
[x, y, width, height] is measured from the outer corner of the first pixel, a keypoint
(x, y) from that pixel's center.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from synthex_jax.checks import require
from synthex_jax.synthesis.examples import (
    Example,
    Examples,
    finite,
    first_with,
    names,
    numbered,
    structure_mask,
    visible,
)
from synthex_jax.synthesis.outputs import new_folder
from synthex_jax.synthesis.pictures import GrayScale, write_picture


def export_coco(
    examples: Examples,
    out: str | Path,
    *,
    window: tuple[float, float] | None = None,
) -> Path:
    """Write ``images/00000.png`` (8 bits) and ``annotations.json``.

    A structure is annotated where it is met at all, behind others too, if the examples
    hold ``hits``; otherwise by their ``mask``. Masks are run lengths, exact to the
    pixel. Landmarks outside the image count as not labeled (v = 0).

    Args:
        examples: with ``hits``, ``mask`` or ``landmarks``; one at a time.
        out: a new or empty folder; it appears when all is written.
        window: values of black and of white; by default the least and the greatest of
            all images (8-bit images as they are). It is kept in ``info``.

    Returns:
        The folder.

    Raises:
        ValueError: for no examples, none of the three fields, names that are missing,
            a folder that is not empty, images that are not finite.
    """
    first = first_with(examples, ("image",), "a COCO data set")
    require(
        not first.keys().isdisjoint(("hits", "mask", "landmarks")),
        "examples must hold hits, mask or landmarks for a COCO data set, they hold "
        f"{sorted(first)}",
    )
    has_masks = "hits" in first or "mask" in first
    structures = names(examples, "structure_names") if has_masks else ()
    landmarks: tuple[str, ...] = ()
    if "landmarks" in first:
        landmarks = names(examples, "landmark_names", len(first["landmarks"]))
    scale = GrayScale.create(examples, window=window, bits=8)
    head = {
        "info": {"gray": scale.described(), "attributes": examples.attributes},
        "licenses": [],
        "categories": _categories(structures, landmarks),
    }
    with new_folder(out) as folder:
        (folder / "images").mkdir()
        images, count = [], 0
        with (folder / "annotations.json").open("w", encoding="utf-8") as file:
            # Written as it comes: 100,000 images have a million annotations.
            file.write(json.dumps(head, allow_nan=False)[:-1] + ',\n"annotations": [')
            for index, example in numbered(examples):
                name = f"images/{index:05d}.png"
                image = finite(example, "image", index)
                write_picture(folder / name, scale.gray(image))
                rows, cols = image.shape
                images.append(
                    {"id": index, "file_name": name, "width": cols, "height": rows}
                )
                if landmarks:
                    finite(example, "landmarks", index)
                for found in _annotations(example, len(structures)):
                    count += 1  # COCO's evaluation takes 0 for "none"
                    entry = {"id": count, "image_id": index, "iscrowd": 0, **found}
                    text = json.dumps(entry, allow_nan=False)
                    file.write(("\n" if count == 1 else ",\n") + text)
            file.write('\n],\n"images": ' + json.dumps(images) + "}\n")
    return Path(out)


def run_lengths(mask: Bool[np.ndarray, "rows cols"]) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, down the columns, zeros first.

    A count is written as its difference from the one two before (from the fourth on),
    in groups of five bits, the lowest first; bit 5 says that more follow, and 48 is
    added to make a printable character.
    """
    # A zero before and after, so that every run has two ends.
    flat = np.concatenate([[False], mask.ravel(order="F"), [True]])
    flat[-1] = not flat[-2]
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(ends, prepend=0)
    differences = counts.copy()
    differences[3:] -= counts[1:-2]
    return {"size": list(mask.shape), "counts": _characters(differences)}


def _characters(numbers: Int[np.ndarray, "runs"]) -> str:
    columns, used = [], []
    rest, more = numbers, np.ones(numbers.shape, bool)
    while more.any():
        used.append(more)
        low, rest = rest & 31, rest >> 5
        # The last group's highest bit is the sign.
        more = more & np.where(low & 16, rest != -1, rest != 0)
        columns.append(low + 32 * more + 48)
    text = np.stack(columns, axis=1)[np.stack(used, axis=1)]
    return text.astype(np.uint8).tobytes().decode("ascii")


def _categories(
    structures: tuple[str, ...], landmarks: tuple[str, ...]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"id": number, "name": name, "supercategory": "structure"}
        for number, name in enumerate(structures, start=1)
    ]
    if landmarks:
        found.append(
            {
                "id": len(structures) + 1,
                "name": "landmarks",
                "supercategory": "landmarks",
                "keypoints": list(landmarks),
                "skeleton": [],
            }
        )
    return found


def _annotations(example: Example, structures: int) -> Iterator[dict[str, Any]]:
    for structure in range(structures):
        mask = structure_mask(example, structure)
        if mask.any():
            yield {
                "category_id": structure + 1,
                "segmentation": run_lengths(mask),
                "area": int(mask.sum()),
                "bbox": _box(np.argwhere(mask)),
            }
    if "landmarks" in example and visible(example).any():
        yield {"category_id": structures + 1, **_keypoints(example)}


def _keypoints(example: Example) -> dict[str, Any]:
    seen = visible(example)
    pixels = np.where(seen[:, None], example["landmarks"], 0).astype(float)
    box = _box(pixels[seen])
    triples = np.column_stack([pixels[:, ::-1], np.where(seen, 2, 0)])
    return {
        "keypoints": triples.ravel().tolist(),
        "num_keypoints": int(seen.sum()),
        "bbox": box,
        "area": box[2] * box[3],
    }


def _box(pixels: np.ndarray) -> list[float]:
    """[x, y, width, height] of the pixels around (row, column) centers."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    height, width = high - low + 1
    return [float(low[1]), float(low[0]), float(width), float(height)]
