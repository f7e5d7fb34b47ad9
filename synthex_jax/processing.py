"""From what a detector reads to what is shown: steps on one image, all differentiable.

A raw image is proportional to the energy that arrived; ``log_image`` turns it into
attenuation, in which bone is bright. The steps after it take and give values from 0 to
1: ``windowed``, ``equalized``, ``tone_curve``, ``gamma_corrected``, ``inverted``;
``display`` is the usual sequence. ``jax.vmap`` makes them work on batches.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from synthex_jax.checks import is_concrete, require, require_positive
from synthex_jax.numerics import at_least, at_most, between
from synthex_jax.typing import ArrayLike, Image, Scalar

# The robust window: a metal implant takes a pixel in a hundred, a collimator's rim or
# the skin two. Pixels in the lowest tenth of the range show air beside the body.
_PERCENTILES = (2.0, 99.8)
_AIR_BELOW = 0.1

# Steps of the range to which percentiles are found; gray values have 256.
_WINDOW_BINS = 2048

# What DeepDRR adds to an intensity before its logarithm.
_DEEPDRR_OFFSET = 0.01


def log_image(raw: Image, flat: Image, *, floor: ArrayLike) -> Image:
    """Attenuation: minus the logarithm of a reading over its flat field.

    Args:
        raw: (rows, cols), as read with the body.
        flat: (rows, cols), the mean reading without it: ``detector.expected``.
        floor: what readings of both are raised to, in their unit, above 0: one digital
            unit, or the noise in the dark. Where the flat field is below it, as in
            dead pixels, the image is 0.

    Returns:
        (rows, cols), without unit, finite for any finite reading.

    Raises:
        ValueError: for a floor that is not positive.
    """
    require_positive("floor", floor, "(in the unit of the readings)")
    least = jnp.asarray(floor, raw.dtype)
    blind = flat < least
    attenuation = jnp.log(at_least(flat, least)) - jnp.log(at_least(raw, least))
    return jnp.where(blind, 0.0, attenuation)


def windowed(image: Image, low: ArrayLike, high: ArrayLike) -> Image:
    """Gray values from 0 at ``low`` and below to 1 at ``high`` and above.

    Raises:
        ValueError: for a high that is not above low.
    """
    if is_concrete(low, high):
        require(
            bool(np.all(np.asarray(low) < np.asarray(high))),
            f"low must be below high, got {low} and {high}; inverted() exchanges black "
            "and white",
        )
    return _clipped(
        image, jnp.asarray(low, image.dtype), jnp.asarray(high, image.dtype)
    )


def robust_window(
    image: Image, *, percentiles: tuple[float, float] = _PERCENTILES
) -> tuple[Scalar, Scalar]:
    """The window between two percentiles of the pixels behind the body.

    Air, the lowest tenth of the image's range, is left out. Percentiles are found in a
    histogram of 2048 bins, to half a bin.

    Args:
        image: (rows, cols), bright where much is absorbed.
        percentiles: of black and of white, 0 to 100.

    Returns:
        (), (): black and white. Both are the same for an image of one value.

    Raises:
        ValueError: for percentiles that do not rise or lie outside 0 to 100.
    """
    low, high = percentiles
    require(
        0 <= low < high <= 100,
        f"percentiles must rise and lie between 0 and 100, got {percentiles}",
    )
    return _robust_window(image, percentiles)


def tone_curve(
    image: Image, *, contrast: ArrayLike = 3.0, midpoint: ArrayLike = 0.5
) -> Image:
    r"""The characteristic curve of film, as vendors apply it to digital images.

    Density over the logarithm of exposure (Hurter and Driffield's curve) has a toe, a
    straight part and a shoulder: a logistic function,

    $$ y = \frac{s(x) - s(0)}{s(1) - s(0)}, \qquad s(x) = 1 / (1 + e^{-c (x - m)}). $$

    Args:
        image: (rows, cols), 0 to 1.
        contrast: $c$, above 0; the slope in the middle is 1.08 for 2, 1.39 for 4.5,
            2.07 for 8.
        midpoint: $m$, the gray value of the steepest slope.

    Raises:
        ValueError: for a contrast that is not positive.
    """
    require_positive("contrast", contrast)
    contrast, midpoint = (jnp.asarray(x, image.dtype) for x in (contrast, midpoint))
    curve = lambda gray: jax.nn.sigmoid(contrast * (gray - midpoint))
    black, white = curve(jnp.zeros((), image.dtype)), curve(jnp.ones((), image.dtype))
    return (curve(image) - black) / (white - black)


def gamma_corrected(image: Image, gamma: ArrayLike) -> Image:
    """Gray values to a power; below 1/65535, where the slope may be infinite, linear.

    Args:
        image: (rows, cols), 0 to 1.
        gamma: above 0; below 1 brightens.

    Raises:
        ValueError: for a gamma that is not positive.
    """
    require_positive("gamma", gamma)
    exponent = jnp.asarray(gamma, image.dtype)
    least = 1 / 65535
    power = at_least(image, least) ** exponent
    return jnp.where(image < least, image / least * least**exponent, power)


def inverted(image: Image) -> Image:
    """Black and white exchanged, of gray values from 0 to 1: bone dark."""
    return 1 - image


def equalized(
    image: Image,
    *,
    tiles: tuple[int, int] = (8, 8),
    clip_limit: ArrayLike = 2.0,
    bins: int = 128,
) -> Image:
    """Contrast-limited adaptive histogram equalization (CLAHE).

    Pizer et al. 1987, Computer Vision, Graphics, and Image Processing 39(3):355;
    Zuiderveld 1994, Graphics Gems IV, p. 474. Each tile's gray values are mapped by
    their cumulative histogram; a pixel's mapping is interpolated between the four
    tiles around it. Counts above the limit are cut off and shared out evenly, once.

    A pixel counts in the two bins next to it, in proportion, so that histograms, and
    thus the result, are continuous in the image: differentiable almost everywhere.

    Args:
        image: (rows, cols), 0 to 1; sizes that the tiles do not divide are mirrored at
            the lower and right edges.
        tiles: how many, (down, across), static.
        clip_limit: times the count that all bins would have if they had the same: the
            largest slope of a mapping, but for what is shared out. Above 0.
        bins: static.

    Returns:
        (rows, cols), 0 to 1.

    Raises:
        ValueError: for tiles below 1 or smaller than two pixels, a clip limit that is
            not positive, fewer than 2 bins.
    """
    fits = all(1 <= n <= size // 2 for n, size in zip(tiles, image.shape, strict=True))
    require(
        fits,
        f"tiles must number at least 1 and have two pixels or more a side, got {tiles} "
        f"for an image of {image.shape}",
    )
    require_positive("clip_limit", clip_limit)
    require(bins >= 2, f"bins must be at least 2, got {bins}")
    return _equalized(image, jnp.asarray(clip_limit, image.dtype), tiles, bins)


def display(
    image: Image,
    *,
    percentiles: tuple[float, float] = _PERCENTILES,
    clip_limit: ArrayLike = 2.0,
    contrast: ArrayLike = 3.0,
) -> Image:
    """An image of attenuation as a vendor's workstation shows it, bone white.

    A robust window, adaptive equalization, a characteristic curve.

    Args:
        image: (rows, cols), of line integrals or from ``log_image``.
        percentiles: of black and white; see ``robust_window``.
        clip_limit: see ``equalized``.
        contrast: see ``tone_curve``.

    Returns:
        (rows, cols), 0 to 1; ``inverted`` shows bone dark, as fluoroscopy does.

    Raises:
        ValueError: as the steps do.
    """
    require_positive("clip_limit", clip_limit)
    require_positive("contrast", contrast)
    return _display(image, percentiles, clip_limit, contrast)


def deepdrr_normalized(intensity: Image) -> Image:
    """Intensities as DeepDRR's ``neglog`` shows them, for networks trained on these.

    Minus the logarithm of the intensity plus its own minimum plus 0.01, stretched from
    0 to 1: it depends on all of the image, and cannot be undone.

    Args:
        intensity: (rows, cols), not negative.

    Returns:
        (rows, cols), 0 to 1; zeros for an image of one value.
    """
    darkest, _ = _extremes(intensity)
    values = -jnp.log(intensity + darkest + _DEEPDRR_OFFSET)
    least, most = _extremes(values)
    flat = most <= least
    stretched = (values - least) / jnp.where(flat, 1.0, most - least)
    return jnp.where(flat, 0.0, stretched)


def _extremes(image: Image) -> tuple[Scalar, Scalar]:
    """Least and most; their derivatives go to one pixel, also where many share them."""
    values = image.ravel()
    return values[jnp.argmin(values)], values[jnp.argmax(values)]


def _clipped(image: Image, low: Scalar, high: Scalar) -> Image:
    """As ``windowed``; black where the window is empty."""
    width = high - low
    empty = width <= 0
    gray = between((image - low) / jnp.where(empty, 1.0, width), 0.0, 1.0)
    return jnp.where(empty, 0.0, gray)


@partial(jax.jit, static_argnames="percentiles")
def _display(
    image: Image,
    percentiles: tuple[float, float],
    clip_limit: ArrayLike,
    contrast: ArrayLike,
) -> Image:
    gray = _clipped(image, *robust_window(image, percentiles=percentiles))
    return tone_curve(equalized(gray, clip_limit=clip_limit), contrast=contrast)


@partial(jax.jit, static_argnames="percentiles")
def _robust_window(
    image: Image, percentiles: tuple[float, float]
) -> tuple[Scalar, Scalar]:
    least, most = _extremes(image)
    is_body = image >= least + _AIR_BELOW * (most - least)
    gray = _clipped(image, least, most)
    index, share = _bin(gray, _WINDOW_BINS)
    weight = is_body.astype(image.dtype).ravel()
    counts = _counts(index.ravel(), share.ravel(), weight, _WINDOW_BINS)
    below = (jnp.cumsum(counts) - counts / 2) / jnp.sum(counts)
    nodes = jnp.linspace(0.0, 1.0, _WINDOW_BINS, dtype=image.dtype)
    at = jnp.interp(jnp.asarray(percentiles, image.dtype) / 100, below, nodes)
    low, high = least + at * (most - least)
    return low, high


@partial(jax.jit, static_argnames=("tiles", "bins"))
def _equalized(
    image: Image, clip_limit: Scalar, tiles: tuple[int, int], bins: int
) -> Image:
    (down, across), (rows, cols) = tiles, image.shape
    height, width = -(-rows // down), -(-cols // across)
    extra = ((0, down * height - rows), (0, across * width - cols))
    index, share = _bin(jnp.pad(image, extra, mode="symmetric"), bins)
    mappings = _mappings(index, share, clip_limit, tiles, bins)
    # The mappings of the four tiles around each of (down + 1) x (across + 1) cells.
    around = jnp.pad(mappings, ((1, 1), (1, 1), (0, 0)), mode="edge")
    corners = jnp.stack(
        [around[i : i + down + 1, j : j + across + 1] for i in (0, 1) for j in (0, 1)],
        axis=-1,
    )
    index, share = index[:rows, :cols], share[:rows, :cols]
    row, lower = _cell(rows, height)
    col, right = _cell(cols, width)
    here = jnp.concatenate([corners[:, :, :-1], corners[:, :, 1:]], axis=-1)
    values = here[row[:, None], col[None, :], index]
    mapped = values[..., :4] + share[..., None] * (values[..., 4:] - values[..., :4])
    lower, right = lower[:, None].astype(image.dtype), right.astype(image.dtype)
    upper_row = mapped[..., 0] + right * (mapped[..., 1] - mapped[..., 0])
    lower_row = mapped[..., 2] + right * (mapped[..., 3] - mapped[..., 2])
    return upper_row + lower * (lower_row - upper_row)


def _mappings(
    index: Int[Array, "height width"],
    share: Float[Array, "height width"],
    clip_limit: Scalar,
    tiles: tuple[int, int],
    bins: int,
) -> Float[Array, "down across bins"]:
    """Gray values that each tile's bins become: its limited histogram, summed."""
    down, across = tiles
    rows, cols = index.shape
    tile = np.arange(rows)[:, None] // (rows // down) * across
    tile = tile + np.arange(cols)[None, :] // (cols // across)
    flat = (index + tile * bins).ravel()
    ones = jnp.ones_like(share).ravel()
    counts = _counts(flat, share.ravel(), ones, down * across * bins)
    portions = counts.reshape(down, across, bins) * (down * across / (rows * cols))
    limited = at_most(portions, clip_limit / bins)
    excess = 1 - jnp.sum(limited, axis=-1, keepdims=True)
    limited += excess / bins
    return jnp.cumsum(limited, axis=-1) - limited / 2


def _bin(
    gray: Float[Array, "height width"], bins: int
) -> tuple[Int[Array, "height width"], Float[Array, "height width"]]:
    """The lower of the two bins next to each gray value, and the upper one's share."""
    position = between(gray, 0.0, 1.0) * (bins - 1)
    index = at_most(jnp.floor(position), bins - 2)
    return index.astype(jnp.int32), position - lax.stop_gradient(index)


def _counts(
    index: Int[Array, "pixels"],
    share: Float[Array, "pixels"],
    weight: Float[Array, "pixels"],
    length: int,
) -> Float[Array, "bins"]:
    zeros = jnp.zeros(length, share.dtype)
    return zeros.at[index].add(weight * (1 - share)).at[index + 1].add(weight * share)


def _cell(pixels: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell between centers of tiles that holds each pixel, and where in it."""
    position = (np.arange(pixels) + 0.5) / size + 0.5
    cell = np.floor(position)
    return cell.astype(np.int32), position - cell
