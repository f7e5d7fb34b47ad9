"""Two images of one view, made comparable to the eye."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from synthex_jax.checks import require, require_finite, require_not_negative
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.display import Window, robust_window, to_uint8
from synthex_jax.viz.edges import band_passed

# Two colors whose sum is white, so that images that agree are gray.
_FIXED, _MOVING = np.array([1.0, 0.45, 0.0]), np.array([0.0, 0.55, 1.0])

# Standard deviation of the neighborhood that contrast is measured in, of the image's
# longer side; the image's contrast counts with a share, lest noise in air stand out.
_AROUND, _SHARE = 1 / 40, 0.3
# Of that contrast: from black to white.
_RANGE = 3.0
# Of the image's sides: what is shown magnified.
_PART = 0.3


class Pair(NamedTuple):
    """A radiograph and a rendering with its mean and its standard deviation.

    Attributes:
        fixed: (rows, cols).
        moving: (rows, cols).
        counts: (rows, cols), where they are compared.
    """

    fixed: Float[np.ndarray, "rows cols"]
    moving: Float[np.ndarray, "rows cols"]
    counts: Bool[np.ndarray, "rows cols"]

    @classmethod
    def create(
        cls, fixed: ArrayLike, moving: ArrayLike, weights: ArrayLike | None = None
    ) -> Pair:
        """From images with any gain and offset.

        Raises:
            ValueError: for images or weights of different shapes, values that are not
                finite, and weights that are negative or 0 everywhere.
        """
        f, m = (np.asarray(image, dtype=np.float64) for image in (fixed, moving))
        require(
            f.ndim == 2 and f.size > 0,
            f"fixed must have shape (rows, cols), got {f.shape}",
        )
        require(
            m.shape == f.shape,
            f"moving must have the shape of fixed, {f.shape}, got {m.shape}",
        )
        require_finite("fixed", f)
        require_finite("moving", m)
        w = np.ones(f.shape) if weights is None else np.asarray(weights, np.float64)
        require(
            w.shape == f.shape,
            f"weights must have the shape of the images, {f.shape}, got {w.shape}",
        )
        require_not_negative("weights", w)
        require(w.any(), "weights must be above zero somewhere, all are 0")
        spread = _deviation(m, w)
        gain = _deviation(f, w) / spread if spread > 0 else 0.0
        middle = np.average(f, weights=w)
        return cls(f, middle + gain * (m - np.average(m, weights=w)), w > 0)

    def window(self, part: tuple[slice, ...] = ()) -> Window:
        """For both; of the radiograph, or a part of it, where it counts."""
        counted = self.fixed[part][self.counts[part]]
        low, high = robust_window(counted if counted.size else self.fixed)
        return low, max(high, np.nextafter(low, np.inf))

    def gray(self) -> tuple[UInt8[np.ndarray, "r c"], UInt8[np.ndarray, "r c"]]:
        """The radiograph and the rendering in the same window."""
        window = self.window()
        return to_uint8(self.fixed, window=window), to_uint8(self.moving, window=window)

    def blend(self) -> UInt8[np.ndarray, "rows cols 3"]:
        """Borders in both, orange and blue, gray where they agree.

        What varies slowly, as scatter does, is left out, and contrast is evened out.
        Black where nothing counts.
        """
        f, m = (self._contrast(image) for image in (self.fixed, self.moving))
        colors = f[..., None] * _FIXED + m[..., None] * _MOVING
        return np.rint(255 * colors * self.counts[..., None]).astype(np.uint8)

    def part(self) -> tuple[slice, ...]:
        """Rows and columns of a part where the rendering has its strongest edges.

        Not at the image's edges, where a CT may end.
        """
        from scipy.ndimage import uniform_filter1d

        sizes = [max(1, round(_PART * n)) for n in self.fixed.shape]
        down, across = np.gradient(band_passed(self.moving))
        sums = (down**2 + across**2) ** 2 * self.counts
        for axis, size in enumerate(sizes):
            sums = uniform_filter1d(sums, size, axis, mode="constant")
        middle = [_inner(n, size) for n, size in zip(sums.shape, sizes, strict=True)]
        sums = sums[np.ix_(*middle)]
        row, col = np.unravel_index(sums.argmax(), sums.shape)
        return tuple(
            slice(centers[i] - size // 2, centers[i] - size // 2 + size)
            for centers, i, size in zip(middle, (row, col), sizes, strict=True)
        )

    def _contrast(self, image: np.ndarray) -> np.ndarray:
        """From 0 to 1, a half where the image is as its neighborhood."""
        from scipy.ndimage import gaussian_filter

        band = band_passed(image, self.counts) * self.counts
        around = np.sqrt(gaussian_filter(band**2, _AROUND * max(image.shape)))
        everywhere = np.sqrt(np.mean(band[self.counts] ** 2)) or 1.0
        return np.clip(0.5 + band / (_RANGE * (around + _SHARE * everywhere)), 0, 1)


def _deviation(values: np.ndarray, weights: np.ndarray) -> float:
    middle = np.average(values, weights=weights)
    return float(np.sqrt(np.average((values - middle) ** 2, weights=weights)))


def _inner(n: int, size: int) -> np.ndarray:
    """Centers of windows of a size along n pixels, away from both ends."""
    margin = (n - size) // 4
    return np.arange(margin, n - size - margin + 1) + size // 2
