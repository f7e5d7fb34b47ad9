"""One item of a data set comes to the disk: its shards for good, then a record."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import written_whole
from synthex_jax.synthesis.examples import Example
from synthex_jax.synthesis.layout import RECORDS, Layout
from synthex_jax.synthesis.records import FileFacts, recorded, write_record
from synthex_jax.synthesis.zarr_arrays import encoded_shards


def write_item(
    folder: Path, layout: Layout, item: int, batches: Sequence[Example]
) -> int:
    """Write an item's shards and its record; return the bytes of the shards.

    Args:
        folder: of the data set, with its metadata in place.
        layout: of the data set.
        item: its number.
        batches: of its examples, in order; what goes beyond the data set is dropped.

    Raises:
        ValueError: if a field is not as the layout says, or not finite.
        OSError: if the disk is full or fails; then there is no record.
    """
    examples = _examples(layout, item, batches)
    paths = layout.shards(item)
    files = {}
    try:
        for name, data in encoded_shards(
            examples, layout.fields, shard=layout.shard
        ).items():
            with written_whole(folder / paths[name]) as temporary:
                temporary.write_bytes(data)
            _keep_names(folder / name)
            files[paths[name]] = FileFacts.of(data)
        write_record(folder, layout, item, files)
        _keep_names(folder / RECORDS)
    except OSError as error:
        raise _explained(error, folder, layout, item) from error
    return sum(facts.size for facts in files.values())


def bytes_per_example(layout: Layout, batch: Example) -> float:
    """What an example takes on the disk, judged by one batch."""
    shards = encoded_shards(batch, layout.fields, shard=layout.shard)
    return sum(len(data) for data in shards.values()) / layout.batch


def require_batch(layout: Layout, batch: Mapping[str, np.ndarray]) -> None:
    """Refuse a batch whose fields are not those that the source announced."""
    require(
        batch.keys() == layout.fields.keys(),
        f"the source's batch must hold {sorted(layout.fields)}, as its fields say, got "
        f"{sorted(batch)}",
    )
    for name, field in layout.fields.items():
        shape, got = (layout.batch, *field.shape), batch[name]
        require(
            got.shape == shape and got.dtype == field.dtype,
            f"the source's batch must hold {name!r} of type {field.dtype} and shape "
            f"{shape}, as its fields say, got {got.dtype} and {got.shape}",
        )


def _examples(layout: Layout, item: int, batches: Sequence[Example]) -> Example:
    numbers = layout.examples(item)
    examples = {
        name: np.concatenate([batch[name] for batch in batches])[: len(numbers)]
        for name in layout.fields
    }
    for name, values in examples.items():
        bad = ~np.isfinite(values).reshape(len(numbers), -1).all(axis=1)
        require(
            not bad.any(),
            f"field {name!r} must be finite, {bad.sum()} examples of item {item} hold "
            f"NaN or infinity, the first is number {numbers.start + bad.argmax()}; "
            "mend the source, then rerun the same call",
        )
    return examples


def _keep_names(folder: Path) -> None:
    """Have the names of the folder's files on the disk, as far as the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explained(error: OSError, folder: Path, layout: Layout, item: int) -> OSError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free space there" if full else "put that right"
    done = f"{len(recorded(folder, layout))} of {layout.items}"
    return OSError(
        error.errno,
        f"item {item} could not be written ({error.strerror or error}); {done} items "
        f"are complete; {remedy} and rerun the same call, which goes on from there",
        str(folder),
    )
