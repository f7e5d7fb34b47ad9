"""From coarse pixels to those of a camera."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from synthex_jax.numerics import at_least
from synthex_jax.physics.signal import Signal
from synthex_jax.typing import Image, Shape2


def enlarged(signal: Signal, shape: Shape2) -> Signal:
    """A smooth signal on more pixels of the same area: the same energy in sum.

    Cubic interpolation (Keys 1981, IEEE Trans. Acoust. 29(6):1153), cut at zero.
    """
    rows, cols = signal.mean.shape
    share = rows * cols / (shape[0] * shape[1])

    def finer(image: Image) -> Float[Array, "fine_rows fine_cols"]:
        return at_least(share * jax.image.resize(image, shape, "cubic"), 0.0)

    return Signal(finer(signal.mean), finer(signal.variance))
