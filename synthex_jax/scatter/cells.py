r"""Flights between the cells of a grid: collision probabilities.

Of photons that start evenly in a box of volume $V$ in all directions, the mean number
per area that cross another is $\langle e^{-\tau} / 4 \pi r^2 \rangle$, over the pairs
of points in the two. The geometry's part is averaged; what lies between is that between
the centers.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.scatter.body import CoarseBody, contracted
from synthex_jax.typing import Scalar, Shape3, Vector3

# Points along an axis for the mean over pairs of cells, and along a line between them.
_PAIR_POINTS = 8
_LINE_POINTS = 8
# Gauss-Legendre nodes an axis for flights that end in the cell where they began.
_OWN_POINTS = 12
# 1/mm, at which the mean lengths of flights are taken: water at 60 keV.
_TYPICAL = 0.02


def flight_means(
    steps: Vector3, shape: Shape3
) -> tuple[Float[Array, "cells cells"], Float[Array, "cells cells"]]:
    """Mean of 1/(4 pi r^2), 1/mm^2, and effective length, mm, of all flights.

    Args:
        steps: sides of a cell, mm.
        shape: cells along each axis.
    """
    offsets = (np.arange(_PAIR_POINTS) + 0.5) / (_PAIR_POINTS / 2) - 1
    # The difference of two even distributions is triangular.
    weights = (1 - np.abs(offsets)) / (_PAIR_POINTS / 2)
    grid = np.stack(np.meshgrid(offsets, offsets, offsets), -1).reshape(-1, 3)
    weight = np.prod(np.stack(np.meshgrid(weights, weights, weights), -1), -1).ravel()
    counts = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)

    def add(sums: tuple[Array, Array], point: tuple[Array, Array]) -> tuple:
        offset, share = point
        squared = jnp.sum(((counts + offset) * steps) ** 2, axis=-1)
        part = share / squared
        return (
            sums[0] + part,
            sums[1] + part * jnp.exp(-_TYPICAL * jnp.sqrt(squared)),
        ), None

    zero = jnp.zeros(shape, steps.dtype)
    points = jnp.asarray(grid, steps.dtype), jnp.asarray(weight, steps.dtype)
    (plain, attenuated), _ = lax.scan(add, (zero, zero), points)
    own = _own_flights(steps)
    plain, attenuated = (
        plain.at[0, 0, 0].set(own[0]),
        attenuated.at[0, 0, 0].set(own[1]),
    )
    lengths = -jnp.log(attenuated / plain) / _TYPICAL
    return _between_all(plain / (4 * np.pi)), _between_all(lengths)


def fractions_between(cells: CoarseBody) -> Float[Array, "cells cells substances"]:
    """Mean shares of the substances on the lines between all cells' centers."""
    total = 0.0
    for number in range(_LINE_POINTS):
        share = (number + 0.5) / _LINE_POINTS
        weights = [
            jnp.asarray(_line_weights(n, share), cells.first.dtype) for n in cells.shape
        ]
        part = contracted("zyxm,uvx->mzyuv", cells.fractions, weights[2])
        part = contracted("mzyuv,pqy->mzpquv", part, weights[1])
        total += contracted("mzpquv,abz->apubqvm", part, weights[0])
    count = int(np.prod(cells.shape))
    return jnp.reshape(total / _LINE_POINTS, (count, count, -1))


def _line_weights(count: int, share: float) -> Float[np.ndarray, "to from cells"]:
    """Of an axis's cells at a share of the way between any two."""
    numbers = np.arange(count)
    place = (1 - share) * numbers[:, None] + share * numbers
    return np.maximum(1 - np.abs(place[..., None] - numbers), 0)


def _between_all(table: Float[Array, "nz ny nx"]) -> Float[Array, "cells cells"]:
    """From one value for each difference of indices to one for each pair."""
    apart = [np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in table.shape]
    z, y, x = apart
    pairs = table[
        z[:, None, None, :, None, None],
        y[None, :, None, None, :, None],
        x[None, None, :, None, None, :],
    ]
    return pairs.reshape(table.size, table.size)


def _own_flights(steps: Vector3) -> tuple[Scalar, Scalar]:
    r"""Means of 1/r^2 and of exp(-mu r)/r^2 over pairs of points in one box.

    In a direction $\Omega$ the pairs $t$ apart fill $\prod_k (1 - t \Omega_k / s_k)$ of
    the box; the integral over $t$ and over directions has no singularity.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_OWN_POINTS)
    nodes, weights = (nodes + 1) / 2, weights / 2
    rise, turn = np.meshgrid(nodes, nodes * np.pi / 2, indexing="ij")
    flat = np.sqrt(1 - rise**2)
    directions = np.stack([rise, flat * np.cos(turn), flat * np.sin(turn)], -1)
    slopes = jnp.asarray(directions.reshape(-1, 3), steps.dtype) / steps
    longest = 1 / jnp.max(slopes, axis=-1)
    t = jnp.asarray(nodes, steps.dtype)[:, None] * longest
    filled = jnp.prod(1 - t[..., None] * slopes, axis=-1)
    weight = weights[:, None] * np.outer(weights, weights).ravel() * longest
    scale = 4 * np.pi / jnp.prod(steps)
    parts = scale * weight * filled
    return jnp.sum(parts), jnp.sum(parts * jnp.exp(-_TYPICAL * t))
