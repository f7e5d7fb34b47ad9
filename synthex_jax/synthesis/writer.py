"""Data sets written at scale: the device computes while a thread writes."""

from __future__ import annotations

import errno
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import jax
import numpy as np

from synthex_jax.synthesis.examples import Example
from synthex_jax.synthesis.folder import prepared, sweep
from synthex_jax.synthesis.layout import Layout
from synthex_jax.synthesis.records import is_finished, recorded
from synthex_jax.synthesis.shards import bytes_per_example, require_batch, write_item
from synthex_jax.synthesis.work import Source, batches, own_items
from synthex_jax.typing import ArrayLike

# Items that wait for the thread while it writes one. Two absorb its bursts; each is a
# shard of examples in memory.
_WAITING = 2


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        done: examples of this part that are made, in earlier runs too.
        total: examples of this part.
        rate: examples a second, in this run.
        remaining: seconds left at this rate.
    """

    done: int
    total: int
    rate: float
    remaining: float


ProgressCallback: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        made: examples made and written.
        kept: examples that were there already.
        left: examples that other parts have still to make.
        bytes: written, in all fields.
        seconds: that the run took, compilation included.
        waited: of them, seconds that the device went unused, since writing was behind;
            at most, a batch was under way at the start of each wait.
    """

    made: int
    kept: int
    left: int
    bytes: int
    seconds: float
    waited: float

    @property
    def rate(self) -> float:
        """Examples a second."""
        return self.made / self.seconds

    @property
    def bytes_per_example(self) -> float:
        """On the disk, compressed; 0 if nothing was made."""
        return self.bytes / max(self.made, 1)


def synthesize(
    source: Source,
    out: str | Path,
    *,
    num: int,
    seed: int = 0,
    batch: int = 8,
    shard: int = 64,
    part: tuple[int, int] | None = None,
    progress: ProgressCallback | None = None,
) -> Report:
    """Write a data set of ``num`` examples, or what is missing of it.

    Rerun the same call after any interruption: what is finished stays, and the outcome
    is the same byte by byte. So is it when several processes or machines share the
    work, each with its part; they need no more in common than the folder. (A batch
    computed on another kind of device may round otherwise.)

    Args:
        source: what makes the examples.
        out: folder, new or empty or of this data set.
        num: of examples.
        seed: of the examples' random keys.
        batch: examples that are computed together.
        shard: examples of a file and of an item of work, a multiple of ``batch``. Up to
            five shards are in memory.
        part: (i, n), to make every n-th item from item i on; by default this process's
            share under ``jax.distributed``, else all.
        progress: called after each batch.

    Raises:
        ValueError: for numbers out of range, a folder that holds anything else, or a
            batch of the source that is not as its fields say, or not finite.
        OSError: if the disk is full or fails, or cannot hold what is to come; it names
            the folder and what is complete.
    """
    start = time.perf_counter()
    layout = Layout.create(
        source.describe(), source.fields(), num=num, seed=seed, batch=batch, shard=shard
    )
    items = own_items(layout, part)
    folder = prepared(out, layout)
    todo = [item for item in items if not is_finished(folder, layout, item)]
    total = _count(layout, items)
    done = kept = total - _count(layout, todo)
    with _Writer(folder, layout) as writer:
        for item, group in groupby(_computed(source, layout, todo), itemgetter(0)):
            pieces = []
            for _, examples in group:
                writer.check()
                if done == kept:
                    _require_room(folder, layout, todo, examples)
                pieces.append(examples)
                # The last batch of the data set may go beyond it.
                done = min(done + batch, total)
                _tell(progress, done, kept, total, start)
            writer.put(item, pieces)
    finished = recorded(folder, layout)
    if len(finished) == layout.items:
        sweep(folder, layout)
    return Report(
        made=total - kept,
        kept=kept,
        left=layout.num - _count(layout, finished),
        bytes=writer.bytes,
        seconds=time.perf_counter() - start,
        waited=writer.waited,
    )


class _Writer:
    """A thread that writes items; its errors come up in the thread that uses it."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder, self._layout = folder, layout
        self._pool = ThreadPoolExecutor(1, "write-items")
        self._pending: deque[Future[int]] = deque()
        self.bytes = 0
        self.waited = 0.0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._pending and error is None:
                self._collect()
        finally:
            # After an error the item at hand is still finished, the others are not.
            self._pool.shutdown(cancel_futures=True)

    def put(self, item: int, batches: list[Example]) -> None:
        """Hand over an item; wait while too many are handed over already."""
        self._pending.append(
            self._pool.submit(write_item, self._folder, self._layout, item, batches)
        )
        start = time.perf_counter()
        while len(self._pending) > 1 + _WAITING:
            self._collect()
        self.waited += time.perf_counter() - start

    def check(self) -> None:
        """Raise at once what went wrong in writing."""
        while self._pending and self._pending[0].done():
            self._collect()

    def _collect(self) -> None:
        self.bytes += self._pending.popleft().result()


def _computed(
    source: Source, layout: Layout, items: Iterable[int]
) -> Iterator[tuple[int, Example]]:
    """The batches of items on the host; the device is one batch ahead of them."""
    ahead = deque()
    for item in items:
        for indices in batches(layout, item):
            ahead.append((item, source.batch(layout.seed, indices)))
            if len(ahead) > 1:
                yield _fetched(layout, *ahead.popleft())
    while ahead:
        yield _fetched(layout, *ahead.popleft())


def _fetched(
    layout: Layout, item: int, batch: Mapping[str, ArrayLike]
) -> tuple[int, Example]:
    # All fields on their way at once.
    on_host = jax.device_get(dict(batch))
    examples = {name: np.asarray(values) for name, values in on_host.items()}
    require_batch(layout, examples)
    return item, examples


def _count(layout: Layout, items: Iterable[int]) -> int:
    return sum(len(layout.examples(item)) for item in items)


def _tell(
    progress: ProgressCallback | None, done: int, kept: int, total: int, start: float
) -> None:
    if progress is not None:
        rate = (done - kept) / (time.perf_counter() - start)
        progress(Progress(done, total, rate, (total - done) / rate))


def _require_room(
    folder: Path, layout: Layout, todo: Iterable[int], examples: Example
) -> None:
    """Refuse to begin what the disk cannot hold, other parts' share included."""
    waiting = set(range(layout.items)).difference(recorded(folder, layout)).union(todo)
    num = _count(layout, waiting)
    each = bytes_per_example(layout, examples)
    free = shutil.disk_usage(folder).free
    if num * each > free:
        raise OSError(
            errno.ENOSPC,
            f"{num} examples of {each / 1e3:.4g} kB are to come, "
            f"{num * each / 1e9:.4g} GB, and {free / 1e9:.4g} GB are free; free space "
            "there, or give a folder on another disk",
            str(folder),
        )
