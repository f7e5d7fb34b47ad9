"""Data sets read again: any example, any batch, shuffled epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import jax
import numpy as np
from jaxtyping import Int, Shaped

from synthex_jax.checks import require
from synthex_jax.files import existing
from synthex_jax.synthesis.batches import Batches
from synthex_jax.synthesis.examples import Example, position
from synthex_jax.synthesis.layout import Layout
from synthex_jax.synthesis.records import recorded
from synthex_jax.typing import ArrayLike

# Bytes of memory for shards' indices and the small fields, which would else be read
# again for each example.
_CACHE = 1 << 26


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples in a folder that ``synthesize`` wrote; it can be pickled.

    It is a sequence: ``len(dataset)``, ``dataset[i]``. Reading runs in threads of
    TensorStore, which a forked process has not: start worker processes by "spawn" or
    "forkserver".

    Attributes:
        folder: where it lies.
        layout: its header.
        numbers: (examples,), of these examples among all in the folder.
    """

    folder: Path
    layout: Layout
    numbers: Int[np.ndarray, "examples"]
    _arrays: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """A finished data set.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no data set or an unfinished one.
        """
        found = cls.open_partial(path)
        require(
            len(found) == found.layout.num,
            f"{path} is not finished, {len(found)} of {found.layout.num} examples are "
            "there; rerun synthesize, or take what is there with Dataset.open_partial",
        )
        return found

    @classmethod
    def open_partial(cls, path: str | Path) -> Dataset:
        """The examples that are finished so far, of a data set still being written.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no data set, or not an example yet.
        """
        layout = Layout.read(path)
        folder = existing(path, "the folder of a data set").resolve()
        items = recorded(folder, layout)
        require(bool(items), f"{path} holds no finished examples yet; rerun synthesize")
        numbers = [number for item in items for number in layout.examples(item)]
        arrays = _opened(folder, layout)
        return cls(folder, layout, np.asarray(numbers, dtype=np.int64), arrays)

    @property
    def attributes(self) -> dict[str, Any]:
        """Recipe, seed, versions, and the names of what the fields hold (JSON)."""
        return self.layout.attributes

    @property
    def fields(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each field of one example."""
        return dict(self.layout.fields)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:
        """One example.

        Raises:
            IndexError: beyond the last.
            ValueError: if its files are damaged.
        """
        number = int(self.numbers[position(index, len(self))])
        return self._finish(self._begin(number))

    def batch(self, indices: ArrayLike) -> Example:
        """Examples in the order asked for, each field with a batch axis first.

        Raises:
            IndexError: beyond the last.
            ValueError: for indices that are not integers, or damaged files.
        """
        return self._finish(self._begin(self._numbered(indices)))

    def column(self, name: str) -> Shaped[np.ndarray, "examples *shape"]:
        """One field of all examples.

        Raises:
            ValueError: for a field that is not there, or damaged files.
        """
        require(
            name in self._arrays,
            f"name must be one of {', '.join(self._arrays)}, got {name!r}",
        )
        return self._finish({name: self._arrays[name][self.numbers].read()})[name]

    def where(self, **values: ArrayLike) -> Int[np.ndarray, "found"]:
        """The indices of the examples with these values in fields of one number each.

            train = dataset.subset(dataset.where(specimen=[0, 1, 2, 3]))

        Raises:
            ValueError: for a field that is not there, or not one number an example.
        """
        chosen = np.ones(len(self), bool)
        for name, wanted in values.items():
            column = self.column(name)
            require(
                column.ndim == 1,
                f"{name} must be one number an example, it has the shape "
                f"{column.shape[1:]}",
            )
            chosen &= np.isin(column, wanted)
        return np.flatnonzero(chosen)

    def subset(self, indices: ArrayLike) -> Dataset:
        """These examples alone, in this order; nothing is read.

        Raises:
            IndexError: beyond the last.
            ValueError: for indices that are not integers.
        """
        return replace(self, numbers=self._numbered(indices))

    def epochs(
        self, *, batch: int, seed: int = 0, state: Mapping[str, int] | None = None
    ) -> Batches[Any, Example]:
        """Endless batches, in every epoch each example at most once, in a new order.

        The next batch is read while one is used. Where the batch does not divide the
        number of examples, the last ones of an epoch's order are left out.

        Args:
            batch: examples of a batch.
            seed: of the orders.
            state: an earlier ``state()``, to go on from.

        Raises:
            ValueError: for a batch below 1 or above the number of examples, or a state
                of other batches.
        """
        require(
            1 <= batch <= len(self),
            f"batch must be from 1 to the number of examples, {len(self)}, got {batch}",
        )
        per_epoch = len(self) // batch

        @lru_cache(maxsize=2)
        def order(epoch: int) -> Int[np.ndarray, "examples"]:
            return np.random.default_rng([seed, epoch]).permutation(self.numbers)

        def begin(step: int) -> dict[str, Any]:
            epoch, place = divmod(step, per_epoch)
            return self._begin(order(epoch)[place * batch : (place + 1) * batch])

        facts = {"seed": seed, "batch": batch, "examples": len(self)}
        facts["numbers"] = crc32(self.numbers.tobytes())
        return Batches(begin, self._finish, facts, state)

    def _numbered(self, indices: ArrayLike) -> Int[np.ndarray, "examples"]:
        wanted = np.asarray(indices)
        require(
            wanted.size == 0 or wanted.dtype.kind in "iu",
            f"indices must be whole numbers, got {wanted.dtype}; np.flatnonzero makes "
            "them of a mask",
        )
        return self.numbers[wanted.astype(np.int64)]

    def _begin(self, numbers: int | Int[np.ndarray, "batch"]) -> dict[str, Any]:
        """Have all fields read at once, by other threads."""
        return {name: array[numbers].read() for name, array in self._arrays.items()}

    def _finish(self, reading: Mapping[str, Any]) -> Example:
        return _results(self.folder, reading)


def _opened(folder: Path, layout: Layout) -> dict[str, Any]:
    import tensorstore as ts

    context = ts.Context({"cache_pool": {"total_bytes_limit": _CACHE}})
    opening = {
        name: ts.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{folder / name}/"},
                # Finished examples do not change, and what is missing is no image.
                "recheck_cached_data": "open",
                "fill_missing_data_reads": False,
            },
            read=True,
            context=context,
        )
        for name in layout.fields
    }
    return _results(folder, opening)


def _results(folder: Path, futures: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: future.result() for name, future in futures.items()}
    except ValueError as error:
        raise ValueError(f"{folder} is damaged, verify says where: {error}") from error
