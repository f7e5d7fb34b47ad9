"""Batches made as training asks for them: no files, and never an example twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Shaped

from synthex_jax.checks import require
from synthex_jax.synthesis.batches import Batches
from synthex_jax.synthesis.work import Source

LiveBatch = Mapping[str, Shaped[Array, "batch ..."] | Shaped[np.ndarray, "batch ..."]]


def live(
    source: Source, *, batch: int, seed: int = 0, state: Mapping[str, int] | None = None
) -> Batches[LiveBatch, LiveBatch]:
    """Batches of new examples, each as the source returns it, on its device.

    They are the examples that ``synthesize`` would write with the same seed, in order:
    batch k holds the numbers from ``k * batch`` on. The next batch is dispatched before
    one is handed out, so that the device need not wait for the host. The state does not
    tell sources apart: restore it with the same one.

        batches = live(source, batch=16)
        for step in range(1000):
            train(next(batches))
        saved = batches.state()

    Args:
        source: what makes the examples.
        batch: examples of a batch.
        seed: of the examples' random keys.
        state: an earlier ``state()``, to go on from.

    Raises:
        ValueError: for a batch below 1, or a state of other batches.
    """
    require(batch >= 1, f"batch must be at least 1, got {batch}")

    def begin(step: int) -> LiveBatch:
        numbers = np.arange(step * batch, (step + 1) * batch, dtype=np.int32)
        return source.batch(seed, numbers)

    facts = {"seed": seed, "batch": batch}
    return Batches(begin, lambda begun: begun, facts, state)
