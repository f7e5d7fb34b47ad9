"""Endless batches for training, whose place can be saved and found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from synthex_jax.checks import require

Begun = TypeVar("Begun")
Batch = TypeVar("Batch")


class Batches(Generic[Begun, Batch]):
    """An iterator without end; the next batch is begun before one is handed out.

    A batch follows from its number alone, so that the number of those handed out is
    the whole state: batches that were begun ahead are not lost with it.
    """

    def __init__(
        self,
        begin: Callable[[int], Begun],
        finish: Callable[[Begun], Batch],
        facts: Mapping[str, int],
        state: Mapping[str, int] | None = None,
    ) -> None:
        """Batches from a state on, or from the first.

        Args:
            begin: starts the making of a batch by its number, without waiting.
            finish: waits for it.
            facts: what the batches follow from; kept in the state.
            state: an earlier ``state()``, of batches with the same facts.

        Raises:
            ValueError: for a state of other batches.
        """
        self._begin, self._finish = begin, finish
        self._facts = dict(facts)
        self._step = 0 if state is None else _step(state, self._facts)
        self._begun: dict[int, Begun] = {}

    def __iter__(self) -> Batches[Begun, Batch]:
        return self

    def __next__(self) -> Batch:
        for step in (self._step, self._step + 1):
            if step not in self._begun:
                self._begun[step] = self._begin(step)
        batch = self._finish(self._begun.pop(self._step))
        self._step += 1
        return batch

    def state(self) -> dict[str, int]:
        """The place after the last batch handed out (JSON)."""
        return {**self._facts, "step": self._step}


def _step(state: Mapping[str, int], facts: Mapping[str, int]) -> int:
    kept = {name: state.get(name) for name in facts}
    require(
        kept == facts,
        f"state must be of the same batches, {dict(facts)}, got {kept}; restore it "
        "with the arguments it was saved with",
    )
    step = state.get("step", -1)
    require(step >= 0, f"state must hold a step, 0 or more, got {dict(state)}")
    return step
