"""Images and masks through an affine transform of the image plane.

What lies beyond the input's outer pixel edges is either one value or, with
``fill=None``, the image mirrored at those edges.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Shaped

from synthex_jax.augment.spatial import Affine2
from synthex_jax.checks import require
from synthex_jax.numerics import between
from synthex_jax.typing import ArrayLike, Vector2


@jax.jit
def warp_image(
    image: Shaped[Array, "rows cols *channels"],
    transform: Affine2,
    *,
    fill: ArrayLike | None = 0.0,
) -> Shaped[Array, "new_rows new_cols *channels"]:
    """The image after a transform, by bilinear interpolation.

    Each output pixel is the mean of the transform's ``samples`` x ``samples`` points:
    with 1 an image that shrinks is aliased, see ``Affine2``. Crops and flips by whole
    pixels copy.

    Args:
        image: (rows, cols) or with channels.
        transform: of the image.
        fill: value beyond the image; None mirrors it.

    Returns:
        Of the dtype of ``image``, whole numbers rounded. Derivatives reach the image
        and the transform.
    """
    # Bilinear weights of a narrower type, or of integers, would be too coarse.
    values = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    shape = (*transform.shape, *image.shape[2:])

    def add(total: Array, offset: Vector2) -> tuple[Array, None]:
        return total + _bilinear(values, *_taken_from(transform, offset), fill), None

    offsets = _offsets(transform.samples, transform.input_from_output.dtype)
    total, _ = jax.lax.scan(add, jnp.zeros(shape, values.dtype), offsets)
    mean = total / len(offsets)
    if jnp.issubdtype(image.dtype, jnp.integer):
        limits = jnp.iinfo(image.dtype)
        mean = jnp.clip(jnp.round(mean), limits.min, limits.max)
    return mean.astype(image.dtype)


@jax.jit
def warp_mask(
    mask: Shaped[Array, "rows cols"],
    transform: Affine2,
    *,
    fill: ArrayLike | None = 0,
) -> Integer[Array, "new_rows new_cols"]:
    """A class map after a transform: each pixel gets the class that covers most of it.

    Shares are counted at the transform's points, at least 2 x 2, each of the class of
    its nearest pixel; of equal shares the higher class wins, so that no outline leans
    to one side. A mask has no finer grid than pixels: moved by a fraction of one and
    not turned, its straight outlines stay up to half a pixel behind.

    Args:
        mask: (rows, cols), whole numbers.
        transform: of the image.
        fill: class beyond the image; None mirrors it.

    Raises:
        ValueError: for a mask that does not hold whole numbers.
    """
    _require_whole("mask", mask)
    votes = _nearest_points(mask, transform, fill)

    def elect(best: tuple[Array, Array], vote: Array) -> tuple:
        count = jnp.sum(votes == vote, axis=0)
        is_ahead = (count > best[0]) | ((count == best[0]) & (vote > best[1]))
        return (
            jnp.where(is_ahead, count, best[0]),
            jnp.where(is_ahead, vote, best[1]),
        ), None

    nobody = (jnp.zeros(transform.shape, int), votes[0])
    (_, elected), _ = jax.lax.scan(elect, nobody, votes)
    return elected


@jax.jit
def warp_hits(
    hits: Shaped[Array, "rows cols"],
    transform: Affine2,
    *,
    fill: ArrayLike | None = 0,
) -> Integer[Array, "new_rows new_cols"]:
    """Overlapping masks after a transform, one a bit; see ``warp_mask``.

    A bit is set where at least half of a pixel's points have it.

    Args:
        hits: (rows, cols), bit s set where structure s is hit.
        transform: of the image.
        fill: flags beyond the image; None mirrors it.

    Raises:
        ValueError: for hits that are not whole numbers.
    """
    _require_whole("hits", hits)
    votes = _nearest_points(hits, transform, fill)
    bits = jnp.arange(hits.dtype.itemsize * 8, dtype=hits.dtype)

    def keep(kept: Array, bit: Array) -> tuple[Array, None]:
        count = jnp.sum((votes >> bit) & 1, axis=0, dtype=int)
        is_set = (2 * count >= len(votes)).astype(hits.dtype)
        return kept | (is_set << bit), None

    kept, _ = jax.lax.scan(keep, jnp.zeros(transform.shape, hits.dtype), bits)
    return kept


def _require_whole(name: str, values: Array) -> None:
    require(
        jnp.issubdtype(values.dtype, jnp.integer),
        f"{name} must hold whole numbers, got {values.dtype}; convert it with astype",
    )


def _offsets(samples: int, dtype: np.dtype) -> Float[Array, "points 2"]:
    """Points spread evenly over a pixel, from its center."""
    at = (np.arange(samples) + 0.5) / samples - 0.5
    return jnp.asarray(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2), dtype)


def _taken_from(
    transform: Affine2, offset: Vector2
) -> tuple[Float[Array, "rows cols"], Float[Array, "rows cols"]]:
    """Input row and column of a point in every output pixel."""
    matrix = transform.input_from_output
    rows, cols = transform.shape
    row = jnp.arange(rows, dtype=matrix.dtype)[:, None] + offset[0]
    col = jnp.arange(cols, dtype=matrix.dtype)[None, :] + offset[1]
    # Sums, not a product of matrices, which accelerators round to ten bits.
    down, across = (m[0] * row + m[1] * col + m[2] for m in matrix)
    return down, across


def _within(
    at: Float[Array, "rows cols"], size: int, fill: ArrayLike | None
) -> tuple[Float[Array, "rows cols"], Bool[Array, "rows cols"]]:
    """Coordinates brought between the outermost pixel centers; which were inside."""
    inside = (at >= -0.5) & (at <= size - 0.5)
    if fill is None:
        folded = jnp.mod(at + 0.5, 2 * size)
        at = jnp.where(folded > size, 2 * size - folded, folded) - 0.5
        inside = jnp.ones_like(inside)
    return between(at, 0.0, size - 1.0), inside


def _bilinear(
    image: Float[Array, "old_rows old_cols *channels"],
    down: Float[Array, "rows cols"],
    across: Float[Array, "rows cols"],
    fill: ArrayLike | None,
) -> Float[Array, "rows cols *channels"]:
    down, inside_rows = _within(down, image.shape[0], fill)
    across, inside_cols = _within(across, image.shape[1], fill)
    row, col = jnp.floor(down), jnp.floor(across)
    channels = (1,) * (image.ndim - 2)
    w_row, w_col = (
        w.astype(image.dtype).reshape(w.shape + channels)
        for w in (down - row, across - col)
    )
    top, left = row.astype(int), col.astype(int)
    # Beside the last center the weight is zero: any neighbor will do.
    bottom = jnp.minimum(top + 1, image.shape[0] - 1)
    right = jnp.minimum(left + 1, image.shape[1] - 1)
    upper = _at(image, top, left) * (1 - w_col) + _at(image, top, right) * w_col
    lower = _at(image, bottom, left) * (1 - w_col) + _at(image, bottom, right) * w_col
    sampled = upper * (1 - w_row) + lower * w_row
    if fill is None:
        return sampled
    inside = (inside_rows & inside_cols).reshape(w_row.shape)
    return jnp.where(inside, sampled, jnp.asarray(fill, image.dtype))


def _nearest_points(
    labels: Integer[Array, "old_rows old_cols"],
    transform: Affine2,
    fill: ArrayLike | None,
) -> Integer[Array, "points rows cols"]:
    """The labels nearest to the points of every output pixel."""

    def nearest(offset: Vector2) -> Array:
        down, across = _taken_from(transform, offset)
        down, inside_rows = _within(down, labels.shape[0], fill)
        across, inside_cols = _within(across, labels.shape[1], fill)
        # Not jnp.round, which goes up and down by turns between pixels.
        row, col = (jnp.floor(x + 0.5).astype(int) for x in (down, across))
        found = _at(labels, row, col)
        if fill is None:
            return found
        beyond = jnp.asarray(fill, labels.dtype)
        return jnp.where(inside_rows & inside_cols, found, beyond)

    offsets = _offsets(max(2, transform.samples), transform.input_from_output.dtype)
    return jax.lax.map(nearest, offsets)


def _at(
    image: Shaped[Array, "old_rows old_cols *channels"],
    row: Integer[Array, "rows cols"],
    col: Integer[Array, "rows cols"],
) -> Shaped[Array, "rows cols *channels"]:
    return image.at[row, col].get(mode="promise_in_bounds", wrap_negative_indices=False)
