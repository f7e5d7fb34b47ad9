"""The work of a data set: what makes examples, and how it is divided.

An item of work is one shard: examples ``item * shard`` up to the next item's, always in
the same batches. Items are independent; any process may make any of them, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Shaped

from synthex_jax.checks import require
from synthex_jax.synthesis.layout import Layout

Operand = TypeVar("Operand")


@runtime_checkable
class Source(Protocol):
    """What makes the examples of a data set."""

    def describe(self) -> dict[str, Any]:
        """JSON that tells the examples apart from others': recipe, names.

        It becomes the data set's attributes; a folder of another description is
        refused. It must not name num, seed, batch, shard, format or versions.
        """
        ...

    def fields(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each field of one example."""
        ...

    def batch(
        self, seed: int, indices: Int[np.ndarray, "batch"]
    ) -> Mapping[
        str, Shaped[Array, "batch *shape"] | Shaped[np.ndarray, "batch *shape"]
    ]:
        """Each field of the examples of these numbers, which may be any.

        An example depends on the seed and its own number only. It best returns without
        waiting for the device, as jitted functions do. Where there are several
        devices, ``spread(indices)`` divides the computation among them.
        """
        ...


def own_items(layout: Layout, part: tuple[int, int] | None) -> range:
    """The items that one process of several makes: every n-th.

    Args:
        layout: of the data set.
        part: (which, of how many); by default JAX's process index and count, (0, 1)
            unless ``jax.distributed`` is initialized.

    Raises:
        ValueError: for a part that is not one of so many.
    """
    which, count = part or (jax.process_index(), jax.process_count())
    require(
        0 <= which < count,
        f"part must be (i, n) with i from 0 to n - 1, got ({which}, {count})",
    )
    return range(which, layout.items, count)


def batches(layout: Layout, item: int) -> Iterator[Int[np.ndarray, "batch"]]:
    """The numbers of an item's examples, batch by batch.

    The last batch of the data set is as large as the others, so that nothing is
    compiled twice: it goes on beyond the last example, and the surplus is dropped.
    """
    examples = layout.examples(item)
    for start in range(examples.start, examples.stop, layout.batch):
        yield np.arange(start, start + layout.batch, dtype=np.int32)


def spread(indices: Int[np.ndarray, "batch"]) -> Int[Array, "batch"]:
    """The numbers on this process's devices, in equal parts where they divide evenly.

    What is jitted and vmapped over them is divided the same way. The other operands
    are copied to every device at each call, unless they are there: place large ones
    once, with ``on_all``. Where the numbers do not divide evenly, the first device has
    them all.
    """
    devices = jax.local_devices()
    used = devices if len(indices) % len(devices) == 0 else devices[:1]
    mesh = Mesh(np.asarray(used), ("batch",))
    return jax.device_put(indices, NamedSharding(mesh, PartitionSpec("batch")))


def on_all(operand: Operand) -> Operand:
    """A copy of an operand's arrays on each of this process's devices."""
    mesh = Mesh(np.asarray(jax.local_devices()), ("batch",))
    return jax.device_put(operand, NamedSharding(mesh, PartitionSpec()))
