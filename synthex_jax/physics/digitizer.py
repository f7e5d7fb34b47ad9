"""Analog to digital: a range and whole numbers, without losing the derivative."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from synthex_jax.checks import require
from synthex_jax.numerics import between
from synthex_jax.typing import Image

FEWEST_BITS, MOST_BITS = 8, 16


def digitized(image: Image, bits: int | None) -> Image:
    """What a converter makes of an image.

    The derivative of the limits is their own, 0 beyond them; that of the rounding is
    taken to be 1 (straight through).

    Args:
        image: (rows, cols), digital units.
        bits: of the converter, static; without, the image stays as it is.

    Returns:
        Whole numbers from 0 to ``highest(bits)``, as floats.
    """
    if bits is None:
        return image
    inside = between(image, 0.0, highest(bits))
    return inside + lax.stop_gradient(jnp.round(inside) - inside)


def highest(bits: int | None) -> float:
    """The largest number of a converter; 1 without one."""
    return 1.0 if bits is None else 2.0**bits - 1


def require_bits(bits: int | None) -> None:
    """Refuse what is not a converter of an X-ray detector."""
    require(
        bits is None or FEWEST_BITS <= bits <= MOST_BITS,
        f"bits must be from {FEWEST_BITS} to {MOST_BITS}, or None for readings that "
        f"are neither rounded nor limited, got {bits}",
    )
