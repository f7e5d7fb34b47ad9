"""Boxes and contours of masks."""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import is_concrete, require, require_finite
from synthex_jax.typing import ArrayLike


@jax.jit
def boxes(
    masks: Bool[Array, "structures rows cols"],
) -> tuple[Float[Array, "structures 4"], Bool[Array, "structures"]]:
    """The smallest box around each mask.

    Args:
        masks: (structures, rows, cols), boolean.

    Returns:
        boxes: (structures, 4), top, left, bottom and right in pixel coordinates. They
            are the outer edges of the outermost pixels: a mask of pixel (3, 5) alone
            has (2.5, 4.5, 3.5, 5.5). Zeros where a mask is empty.
        present: (structures,), whether a mask is not empty.

    Raises:
        ValueError: for masks of another shape or type.
    """
    require(
        masks.ndim == 3 and masks.dtype == jnp.bool_,
        "masks must be boolean and (structures, rows, cols), got "
        f"{masks.dtype} of shape {masks.shape}",
    )
    top, bottom = _ends(jnp.any(masks, axis=2))
    left, right = _ends(jnp.any(masks, axis=1))
    present = jnp.any(masks, axis=(1, 2))
    edges = jnp.stack([top - 0.5, left - 0.5, bottom + 0.5, right + 0.5], axis=-1)
    return jnp.where(present[:, None], edges, 0.0), present


class Contour(NamedTuple):
    """The outline of a connected part of a mask.

    Polygons are (n, 2) pixel coordinates (row, column) in order; the last point joins
    the first, which is not repeated.

    Attributes:
        outer: around the part.
        holes: around what is missing within.
    """

    outer: np.ndarray
    holes: tuple[np.ndarray, ...]


def contours(mask: ArrayLike) -> list[Contour]:
    """The outlines of a mask at level 1/2, on the host.

    Beyond the image the mask is zero, so that outlines close half a pixel beyond the
    outermost pixel centers. Corners of a boolean mask are cut off at half a pixel; a
    soft one has outlines at fractions of pixels.

    Args:
        mask: (rows, cols), boolean or from 0 to 1.

    Raises:
        ValueError: for a mask of another shape, traced, or with NaN.
    """
    from contourpy import FillType, contour_generator

    require(
        is_concrete(mask),
        "mask must be a known value, got a traced one; call contours outside of jit",
    )
    values = np.asarray(mask)
    require(
        values.ndim == 2,
        f"mask must be (rows, cols), got shape {values.shape}; take one mask at a time",
    )
    require_finite("mask", values)
    framed = np.pad(values.astype(np.float64), 1)
    generator = contour_generator(z=framed, fill_type=FillType.OuterOffset)
    parts, offsets = cast("tuple[list, list]", generator.filled(0.5, np.inf))
    return [_contour(points, ends) for points, ends in zip(parts, offsets, strict=True)]


def _contour(points: np.ndarray, offsets: np.ndarray) -> Contour:
    """From (column, row) of the framed mask, every ring closed by its first point."""
    rings = [
        points[start : end - 1, ::-1] - 1
        for start, end in zip(
            offsets[:-1].astype(int), offsets[1:].astype(int), strict=True
        )
    ]
    return Contour(rings[0], tuple(rings[1:]))


def _ends(
    occupied: Bool[Array, "structures n"],
) -> tuple[Float[Array, "structures"], Float[Array, "structures"]]:
    """First and last place that is set."""
    first = jnp.argmax(occupied, axis=1)
    last = occupied.shape[1] - 1 - jnp.argmax(occupied[:, ::-1], axis=1)
    return first.astype(jnp.float32), last.astype(jnp.float32)
