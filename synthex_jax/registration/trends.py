"""Trends: what varies slowly over an image, as polynomials of a pixel's place.

A polynomial is a sum of products of powers of row and column, here those of a degree up
to a given one, less the constant. Places count from the middle of the image, in halves
of its longer side.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from synthex_jax.typing import Image

_Places: TypeAlias = tuple[Float[np.ndarray, "rows 1"], Float[np.ndarray, "cols"]]


def trends(image: Image, degree: int) -> list[Float[np.ndarray, "rows cols"]]:
    """The products, for an image of such a shape: 2, 5 or 9 of degree 1, 2 or 3."""
    places = _places(image)
    return [_product(places, i, j) for i, j in _powers(degree)]


def trend_gradients(
    image: Image, degree: int
) -> list[Float[np.ndarray, "2 rows cols"]]:
    """Their derivatives by row and by column, up to one scale."""
    places = _places(image)
    return [
        np.stack(
            [
                i * _product(places, max(i - 1, 0), j),
                j * _product(places, i, max(j - 1, 0)),
            ]
        )
        for i, j in _powers(degree)
    ]


def _powers(degree: int) -> list[tuple[int, int]]:
    """Of row and column."""
    return [(n - i, i) for n in range(1, degree + 1) for i in range(n + 1)]


def _places(image: Image) -> _Places:
    half = max(image.shape) / 2
    rows, cols = (
        ((np.arange(n) - (n - 1) / 2) / half).astype(image.dtype) for n in image.shape
    )
    return rows[:, None], cols


def _product(places: _Places, i: int, j: int) -> Float[np.ndarray, "rows cols"]:
    rows, cols = places
    return rows**i * cols**j
