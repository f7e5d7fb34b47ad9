r"""Image lag: what earlier frames leave in later ones.

A share of the charge is trapped and let go over the following frames, as a sum of
exponentials in the number $n$ of frames since,

$$ h(0) = 1 - \sum_i s_i, \qquad
   h(n) = \sum_i s_i \, (1 - d_i) \, d_i^{n - 1}, \quad n \ge 1, $$

which sums to 1: charge is late, not lost (Hsieh, Gurmen & King 2000, IEEE Trans. Med.
Imaging 19(9):930, for the recursion).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Image

# Four exponentials b exp(-a n) fitted to the falling edge of a CsI panel (Varian
# 4030CB, 15 frames a second): Starman et al. 2011, Med. Phys. 38(5):2398. All of a
# signal that is late: 1.1 %; late by one frame: 0.2 %.
_RATES = np.array([0.7055, 0.1141, 0.0212, 0.0033])
_AMPLITUDES = np.array([2.911e-3, 0.4454e-3, 0.0748e-3, 0.0042e-3])


@noun
@dataclass(frozen=True)
class Lag:
    """Traps that let go of their charge.

    Attributes:
        shares: (traps,), of the signal that falls into each.
        decays: (traps,), the share of a trap's charge that is left a frame later.
    """

    shares: Float[Array, "traps"]
    decays: Float[Array, "traps"]

    @classmethod
    def create(cls, shares: ArrayLike, decays: ArrayLike) -> Lag:
        """From one or more traps.

        Raises:
            ValueError: for arrays of two lengths, shares that are negative or sum to
                more than 1, decays outside 0 to 1 (1 excluded: a trap must empty).
        """
        lag = cls(jnp.asarray(shares, float), jnp.asarray(decays, float))
        require(
            lag.shares.ndim == 1 and lag.shares.shape == lag.decays.shape,
            f"shares and decays must be (traps,), got shapes {lag.shares.shape} and "
            f"{lag.decays.shape}",
        )
        if is_concrete(lag):
            shares, decays = np.asarray(lag.shares), np.asarray(lag.decays)
            require(
                bool((shares >= 0).all() and shares.sum() <= 1),
                f"shares must not be negative nor sum to more than 1, got {shares}",
            )
            require(
                bool(((decays >= 0) & (decays < 1)).all()),
                f"decays must be at least 0 and below 1 a frame, got {decays}",
            )
        return lag

    @classmethod
    def typical(cls) -> Lag:
        """Of a CsI panel at 15 frames a second."""
        decays = np.exp(-_RATES)
        return cls.create(_AMPLITUDES * decays / (1 - decays), decays)


@jax.jit
def lagged(
    frames: Float[Array, "frames rows cols"], lag: Lag
) -> Float[Array, "frames rows cols"]:
    """A sequence as a detector with lag shows it, its traps empty at first.

    Args:
        frames: (frames, rows, cols), without lag.
        lag: of the detector.
    """
    prompt = 1 - jnp.sum(lag.shares)
    decays = lag.decays[:, None, None]

    def expose(
        traps: Float[Array, "traps rows cols"], frame: Image
    ) -> tuple[Float[Array, "traps rows cols"], Image]:
        late = jnp.sum((1 - decays) * traps, axis=0)
        filled = decays * traps + lag.shares[:, None, None] * frame
        return filled, prompt * frame + late

    empty = jnp.zeros((len(lag.shares), *frames.shape[1:]), frames.dtype)
    _, shown = lax.scan(expose, empty, frames)
    return shown
