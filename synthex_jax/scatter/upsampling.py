"""From coarse pixels to those of a camera."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.physics.signal import Signal
from synthex_jax.typing import Image, Shape2


def enlarged(signal: Signal, shape: Shape2) -> Signal:
    """A smooth signal on more pixels of the same area: the same energy in sum.

    Cubic interpolation (Keys 1981, IEEE Trans. Acoust. 29(6):1153), cut at zero.
    """
    rows, cols = signal.mean.shape
    share = rows * cols / (shape[0] * shape[1])

    def finer(image: Image) -> Float[Array, "fine_rows fine_cols"]:
        smooth = share * jax.image.resize(image, shape, "cubic")
        # Zero itself is let through: where nothing scatters yet the slope is right.
        return jnp.where(smooth < 0, 0.0, smooth)

    return Signal(finer(signal.mean), finer(signal.variance))
