r"""Heat maps of landmarks: what networks are trained to draw, and what is read off.

A landmark at p is drawn as a Gaussian density at the pixel centers x,
$\exp(-|x - p|^2 / 2 \sigma^2) / (2 \pi \sigma^2)$, of the same width on the detector at
every resolution (Grupp et al. 2020, Int. J. CARS 15:759; Gao et al. 2023, Nat. Mach.
Intell. 5:294).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import require, require_positive
from synthex_jax.geometry.camera import checked_shape
from synthex_jax.numerics import between
from synthex_jax.typing import ArrayLike, Shape2, Vector2

HEATMAP_SIGMA_MM = 3.88
"""Standard deviation on the detector: 20 pixels of 0.194 mm in that work."""

# Standard deviations beyond which a Gaussian is zero: exp(-40^2 / 2) is below the
# smallest double. A landmark far outside then has finite squares and no gradient.
_FAR = 40.0


def sigma_for(pitch: ArrayLike) -> Float[Array, "*sides"]:
    """The published width in pixels, for pixels of a given size.

    Args:
        pitch: mm on the detector, one number or (row, column), ``camera.pitch``.

    Returns:
        In the shape of ``pitch``.

    Raises:
        ValueError: for a pitch that is not positive.

    Example:
        >>> round(float(sigma_for(4 * 0.194)), 3)
        5.0
    """
    require_positive("pitch", pitch, "mm a pixel")
    return HEATMAP_SIGMA_MM / jnp.asarray(pitch, float)


def heatmaps(
    pixels: Float[Array, "n 2"],
    shape: Shape2,
    *,
    sigma: ArrayLike,
    visible: Bool[Array, "n"] | None = None,
) -> Float[Array, "n rows cols"]:
    """One Gaussian density a landmark.

    Args:
        pixels: (n, 2), (row, column); they may lie outside the image.
        shape: (rows, cols) of the image.
        sigma: standard deviation in pixels, one number or (row, column);
            ``sigma_for`` has the published one.
        visible: which landmarks are drawn, all by default; the maps of the others are
            zero.

    Returns:
        (n, rows, cols), a pixel's share: a whole Gaussian within the image sums to 1.
        Derivatives reach pixels and sigma.

    Raises:
        ValueError: for a sigma that is not positive.
    """
    require_positive("sigma", sigma, "pixels")
    sigmas = jnp.broadcast_to(jnp.asarray(sigma, pixels.dtype), (2,))
    return _drawn(pixels, sigmas, visible, checked_shape(shape))


@jax.jit
def peaks(
    heatmaps: Float[Array, "n rows cols"],
) -> tuple[Float[Array, "n 2"], Float[Array, "n"]]:
    """The highest point of each heat map, to a fraction of a pixel.

    Along rows and columns a parabola is laid through the logarithms of the highest
    pixel and its two neighbors: of a Gaussian it gives the center exactly. Where one of
    the three is not positive the pixel's center is kept.

    Args:
        heatmaps: (n, rows, cols), at least 3 x 3, of any scale.

    Returns:
        (n, 2) pixels (row, column), within the image to the edges of its pixels, and
        (n,) the values of the highest pixels. A map with nothing in it has its peak at
        pixel (0, 0) and the value there: tell it by the value.

    Raises:
        ValueError: for maps of fewer than 3 rows or columns.
    """
    shape = heatmaps.shape[1:]
    require(
        min(shape) >= 3,
        f"heatmaps must have at least 3 rows and columns, got {shape}",
    )
    return jax.vmap(_peak)(heatmaps)


@partial(jax.jit, static_argnames="shape")
def _drawn(
    pixels: Float[Array, "n 2"],
    sigmas: Vector2,
    visible: Bool[Array, "n"] | None,
    shape: Shape2,
) -> Float[Array, "n rows cols"]:
    down, across = (
        _gaussian(
            jnp.arange(n, dtype=pixels.dtype), pixels[:, axis, None], sigmas[axis]
        )
        for axis, n in enumerate(shape)
    )
    drawn = down[:, :, None] * across[:, None, :]
    return drawn if visible is None else jnp.where(visible[:, None, None], drawn, 0.0)


def _gaussian(
    x: Float[Array, "size"], center: Float[Array, "n 1"], sigma: Float[Array, ""]
) -> Float[Array, "n size"]:
    away = between((x - center) / sigma, -_FAR, _FAR)
    return jnp.exp(-(away**2) / 2) / (jnp.sqrt(2 * jnp.pi) * sigma)


def _peak(
    heatmap: Float[Array, "rows cols"],
) -> tuple[Float[Array, "2"], Float[Array, ""]]:
    row, col = jnp.unravel_index(jnp.argmax(heatmap), heatmap.shape)
    found = [_vertex(heatmap[:, col], row), _vertex(heatmap[row, :], col)]
    return jnp.stack(found), heatmap[row, col]


def _vertex(profile: Float[Array, "size"], highest: Array) -> Float[Array, ""]:
    """Where the parabola through three logarithms is highest."""
    size = len(profile)
    middle = jnp.clip(highest, 1, size - 2)
    values = jax.lax.dynamic_slice(profile, (middle - 1,), (3,))
    usable = jnp.all(values > 0)
    before, center, after = jnp.log(jnp.where(usable, values, 1.0))
    # Negative where the profile bends as a peak does; zero where it is flat.
    bend = before - 2 * center + after
    usable &= bend < 0
    offset = (before - after) / (2 * jnp.where(usable, bend, -1.0))
    at = jnp.where(usable, middle + offset, highest.astype(profile.dtype))
    return between(at, -0.5, size - 0.5)
