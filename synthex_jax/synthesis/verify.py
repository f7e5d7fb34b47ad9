"""Whether a data set is whole: every byte of it against its records."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from synthex_jax.synthesis.folder import holds
from synthex_jax.synthesis.layout import PREVIEW, Layout
from synthex_jax.synthesis.records import FileFacts, read_record

# Hashing leaves the interpreter's lock, so that it can keep a fast disk busy.
_THREADS = 4


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        items: of the data set.
        missing: items without a record, to be made yet.
        damaged: what is wrong with files that ought to be whole, by path.
        damaged_items: items that such files belong to; ``forget`` them, then rerun
            ``synthesize``. Metadata is put right by the rerun alone.
        unknown: files that are not of the data set, such as an interruption leaves.
    """

    items: int
    missing: tuple[int, ...]
    damaged: dict[str, str]
    damaged_items: tuple[int, ...]
    unknown: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything is there, and as it was written."""
        return not self.missing and not self.damaged


def verify(
    out: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> Verdict:
    """Read a whole data set and compare it with its records.

    Args:
        out: folder of the data set.
        progress: called with the items read so far and all of them.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no data set.
    """
    layout, folder = Layout.read(out), Path(out).expanduser()
    metadata = layout.metadata()
    damaged = {
        path: "is not the metadata that the header implies"
        for path, contents in metadata.items()
        if not holds(folder / path, contents)
    }
    missing, damaged_items, known = [], [], {*metadata, PREVIEW}
    with ThreadPoolExecutor(_THREADS) as pool:
        checks = pool.map(
            lambda item: _wrong(folder, layout, item), range(layout.items)
        )
        for item, wrong in enumerate(checks):
            known |= {layout.record(item), *layout.shards(item).values()}
            if wrong is None:
                missing.append(item)
            elif wrong:
                damaged_items.append(item)
                damaged |= wrong
            if progress is not None:
                progress(item + 1, layout.items)
    files = [path.relative_to(folder).as_posix() for path in _files(folder)]
    return Verdict(
        items=layout.items,
        missing=tuple(missing),
        damaged=damaged,
        damaged_items=tuple(damaged_items),
        unknown=tuple(sorted(set(files) - known)),
    )


def _wrong(folder: Path, layout: Layout, item: int) -> dict[str, str] | None:
    """What is wrong with an item's files; None without a record."""
    record = read_record(folder, layout, item)
    found = {path: _fault(folder / path, facts) for path, facts in record.items()}
    return {path: fault for path, fault in found.items() if fault} if record else None


def _fault(path: Path, facts: FileFacts) -> str:
    if not path.is_file():
        return "is missing"
    try:
        found = FileFacts.read(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if found.size != facts.size:
        return f"has {found.size} bytes, not {facts.size}"
    return "" if found == facts else "has not the bytes that were written"


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
