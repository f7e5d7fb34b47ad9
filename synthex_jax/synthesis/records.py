"""Records: which items of a data set are finished, and what their files hold.

A record is written when the item's files are on the disk for good, so that whatever has
a record can be relied on and whatever has none is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from synthex_jax.checks import require
from synthex_jax.files import written_whole
from synthex_jax.synthesis.layout import RECORDS, Layout


@dataclass(frozen=True)
class FileFacts:
    """What a file holds.

    Attributes:
        size: bytes.
        sha256: of the contents, hexadecimal.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, contents: bytes) -> FileFacts:
        """The facts of what will be in a file."""
        return cls(len(contents), sha256(contents).hexdigest())

    @classmethod
    def read(cls, path: Path) -> FileFacts:
        """The facts of what is in a file."""
        with open(path, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            return cls(file.tell(), digest)


def write_record(
    folder: Path, layout: Layout, item: int, files: Mapping[str, FileFacts]
) -> None:
    """Record an item whose files, by path within the folder, are durable."""
    record = {
        "item": item,
        "files": {path: asdict(facts) for path, facts in files.items()},
    }
    with written_whole(folder / layout.record(item)) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def read_record(folder: Path, layout: Layout, item: int) -> dict[str, FileFacts]:
    """The item's files; empty without a record that can be read and names them all."""
    try:
        record = json.loads((folder / layout.record(item)).read_bytes())
        files = {path: FileFacts(**facts) for path, facts in record["files"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    whole = files.keys() == set(layout.shards(item).values())
    return files if whole else {}


def recorded(folder: Path, layout: Layout) -> list[int]:
    """The items that have a record, in order, by a glance at the folder."""
    records = folder / RECORDS
    names = set(os.listdir(records)) if records.is_dir() else set()
    items = range(layout.items)
    return [item for item in items if Path(layout.record(item)).name in names]


def is_finished(folder: Path, layout: Layout, item: int) -> bool:
    """Whether the item has a record, and its files the recorded sizes."""
    files = read_record(folder, layout, item)
    return bool(files) and all(
        _size(folder / path) == facts.size for path, facts in files.items()
    )


def forget(out: str | Path, items: Iterable[int]) -> None:
    """Delete the records of items, so that the next ``synthesize`` makes them again.

    Args:
        out: folder of a data set.
        items: for example the ``damaged_items`` that ``verify`` found.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no data set, or one without such an item.
    """
    layout, folder = Layout.read(out), Path(out).expanduser()
    items = list(items)
    for item in items:
        require(
            0 <= item < layout.items,
            f"items must be from 0 to {layout.items - 1}, got {item}",
        )
    for item in items:
        (folder / layout.record(item)).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
