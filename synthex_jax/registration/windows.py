"""Windows that slide over an image: sums, least values, and the pixels themselves."""

from __future__ import annotations

import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.typing import Image


def window_sums(
    images: Float[Array, "n rows cols"], size: int, stride: int
) -> Float[Array, "n down across"]:
    """The sum of every ``stride``-th ``size`` x ``size`` window of each image."""
    # Concrete, or XLA does not see that this is a sum, whose derivative it knows.
    zero = np.zeros((), images.dtype)
    down = lax.reduce_window(
        images, zero, lax.add, (1, size, 1), (1, stride, 1), "valid"
    )
    return lax.reduce_window(down, zero, lax.add, (1, 1, size), (1, 1, stride), "valid")


def window_minima(image: Image, size: int) -> Float[Array, "down across"]:
    """The least value of every window: (rows - size + 1, cols - size + 1)."""
    most = np.asarray(np.inf, image.dtype)
    down = lax.reduce_window(image, most, lax.min, (size, 1), (1, 1), "valid")
    return lax.reduce_window(down, most, lax.min, (1, size), (1, 1), "valid")


def windows(
    image: Image, size: int, stride: int
) -> Float[Array, "down across size size"]:
    """The pixels of every ``stride``-th window along rows and columns."""
    rows, cols = (
        np.arange(0, n - size + 1, stride)[:, None] + np.arange(size)
        for n in image.shape
    )
    return image[rows[:, None, :, None], cols[None, :, None, :]]


def require_room(image: Image, size: int, what: str) -> None:
    """Refuse an image that is smaller than a window."""
    require(
        min(image.shape) >= size,
        f"moving must have at least {size} rows and columns for {what}, got "
        f"{image.shape}; take a smaller one or more pixels",
    )
