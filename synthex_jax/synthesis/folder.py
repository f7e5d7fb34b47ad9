"""The folder of a data set: made or recognized at the start, swept at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path

from synthex_jax.checks import require
from synthex_jax.files import is_temporary, written_whole
from synthex_jax.synthesis.layout import HEADER, RECORDS, Layout


def prepared(out: str | Path, layout: Layout) -> Path:
    """The folder ``out`` with the layout's metadata in place.

    The header comes first, and alone: a folder with one can be completed, whenever an
    earlier attempt was interrupted.

    Raises:
        ValueError: if there is something else, or another data set.
    """
    folder = Path(out).expanduser()
    require(
        folder.is_dir() or not folder.exists(),
        f"out must be a folder, {out} is a file; give another path",
    )
    folder.mkdir(parents=True, exist_ok=True)
    names, metadata = os.listdir(folder), layout.metadata()
    if HEADER in names:
        layout.require_same(Layout.read(folder), out)
        require(
            holds(folder / HEADER, metadata[HEADER]),
            f"{folder / HEADER} has been changed since synthesize wrote it; restore "
            "it, or make the data set anew in an empty folder",
        )
    else:
        others = sorted(name for name in names if not is_temporary(name))
        require(
            not others,
            f"{out} is not empty and no data set, it holds {', '.join(others[:3])}"
            f"{', ...' if len(others) > 3 else ''}; give an empty folder",
        )
    for path, contents in metadata.items():
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        if not holds(file, contents):
            with written_whole(file) as temporary:
                temporary.write_text(json.dumps(contents, indent=1, sort_keys=True))
    (folder / RECORDS).mkdir(exist_ok=True)
    return folder


def holds(path: Path, metadata: object) -> bool:
    """Whether a file holds this JSON."""
    try:
        return json.loads(path.read_bytes()) == metadata
    except (OSError, ValueError):
        return False


def sweep(folder: Path, layout: Layout) -> None:
    """Delete what interrupted processes left, once nothing is left to write."""
    for place in (folder, folder / RECORDS, *(folder / name for name in layout.fields)):
        for name in filter(is_temporary, os.listdir(place)):
            (place / name).unlink(missing_ok=True)
