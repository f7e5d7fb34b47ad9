"""History: the way of a registration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from synthex_jax.nouns import noun

AnyHistory = TypeVar("AnyHistory", bound="History")


@noun
@dataclass(frozen=True)
class History:
    """The way of a registration, iteration by iteration, from coarse to fine.

    Its arrays have room for all iterations that the levels allow.

    Attributes:
        level: (n,), which level, counted from 0; -1 where no iteration was taken.
        cost: (n,), dissimilarity of the best state so far at this level.
        movement: (n,), mm that things would move by the next step.
    """

    level: Int[Array, "n"]
    cost: Float[Array, "n"]
    movement: Float[Array, "n"]

    def taken(self: AnyHistory) -> AnyHistory:
        """The iterations that were taken, of concrete arrays."""
        is_taken = np.asarray(self.level) >= 0
        return jax.tree.map(lambda leaf: leaf[is_taken], self)
