r"""Local similarity: correlation within patches, and at several scales at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import is_concrete, require, require_not_negative, require_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, safe_sqrt
from synthex_jax.registration.similarity import (
    NCC,
    checked_weights,
    relative,
    standardized,
)
from synthex_jax.registration.windows import require_room, window_sums, windows
from synthex_jax.typing import ArrayLike, Image, Scalar

# Of the standard deviation of the whole image: noise of a radiograph is a few percent
# of the contrast of a body, and patches that show no more say nothing.
_FLOOR = 0.05
# In units of rounding: what a sum over a patch leaves of a patch that is constant.
_CONSTANT_BELOW = 16.0
# xvr and DiffPose compare whole images and patches of 9 to 13 pixels, half and half
# (Gopalakrishnan et al. 2024, CVPR; 2025, arXiv 2503.16309).
_SCALES = (None, 13)


@noun
@dataclass(frozen=True)
class PatchNCC:
    r"""The mean of the correlations within square patches.

    What differs between the images slowly, such as scatter, changes the gain and offset
    of each patch alone. Patch $k$ with correlation $\rho_k$ counts as

    $$ \omega_k = w_k \frac{\mathrm{var}_k(f)}{\mathrm{var}_k(f) + \epsilon^2}, $$

    with the sum $w_k$ of its weights and $\epsilon$ a share of the standard deviation
    of the whole fixed image: patches that show no more than noise tell little.
    From -1 to 1, the same for any gain above zero and any offset of either image.
    Patches in which the moving image is constant count as uncorrelated; a constant
    image and zero weights give 0, with derivative 0.

    The value costs about ``size / stride`` additions a pixel. The residuals are, patch
    by patch, the difference of the images with mean 0 and norm 1 there; their squares
    sum to $2 (1 - \mathrm{value})$, or to 0 where no patch counts. There are
    $(size / stride)^2$ a pixel.

    Attributes:
        floor: (), epsilon over the standard deviation of the whole fixed image.
        size: pixels along a patch, static.
        stride: pixels from patch to patch, static; 1 for every patch there is.
    """

    floor: Scalar
    size: int = field(metadata={"static": True})
    stride: int = field(metadata={"static": True})

    @classmethod
    def create(
        cls, size: int = 13, *, stride: int | None = None, floor: ArrayLike = _FLOOR
    ) -> PatchNCC:
        """From a size in pixels.

        Args:
            size: pixels along a patch.
            stride: pixels from patch to patch, half the size by default.
            floor: share of the whole fixed image's standard deviation; with 0 all
                patches count that vary at all.

        Raises:
            ValueError: for a size below 2, a stride below 1 or a negative floor.
        """
        require(size >= 2, f"size must be at least 2 pixels, got {size}")
        stride = size // 2 if stride is None else stride
        require(stride >= 1, f"stride must be at least 1 pixel, got {stride}")
        require_not_negative("floor", floor)
        return cls(jnp.asarray(floor, float), size, stride)

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from -1 to 1; see ``Similarity``.

        Raises:
            ValueError: also for images smaller than a patch.
        """
        weights = checked_weights(moving, fixed, weights)
        require_room(moving, self.size, "a patch")
        return _patch_ncc(self, moving, fixed, weights)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(patches * size**2,); see ``LeastSquares`` and the call."""
        weights = checked_weights(moving, fixed, weights)
        require_room(moving, self.size, "a patch")
        return _patch_residuals(self, moving, fixed, weights)


@noun
@dataclass(frozen=True)
class MultiscaleNCC:
    """The weighted mean of correlations in patches of several sizes.

    The whole image tells from afar, patches tell exactly. Ranges and invariance are
    those of the parts; the residuals are theirs, scaled and one after the other.

    Attributes:
        shares: (parts,), how much each counts, relative to the others.
        parts: one a scale.
    """

    shares: Float[Array, "parts"]
    parts: tuple[NCC | PatchNCC, ...]

    @classmethod
    def create(
        cls,
        sizes: Sequence[int | None] = _SCALES,
        *,
        shares: ArrayLike | None = None,
    ) -> MultiscaleNCC:
        """From sizes of patches in pixels, None for the whole image.

        Args:
            sizes: at least one.
            shares: one a size, all the same by default.

        Raises:
            ValueError: for no sizes, sizes below 2, and shares that are negative, all
                zero or not one a size.
        """
        require(len(sizes) > 0, "sizes must hold at least one, got none")
        shares = jnp.ones(len(sizes)) if shares is None else jnp.asarray(shares, float)
        require_shape("shares", shares, (len(sizes),))
        require_not_negative("shares", shares)
        if is_concrete(shares):
            require(bool(jnp.any(shares > 0)), "shares must not all be zero")
        parts = [NCC() if size is None else PatchNCC.create(size) for size in sizes]
        return cls(shares, tuple(parts))

    def __call__(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Scalar:
        """(), from -1 to 1; see ``Similarity``."""
        values = jnp.stack([part(moving, fixed, weights) for part in self.parts])
        return jnp.sum(self._normalized() * values)

    def residuals(
        self, moving: Image, fixed: Image, weights: Image | None = None
    ) -> Float[Array, "n"]:
        """(n,); see ``LeastSquares``."""
        found = [part.residuals(moving, fixed, weights) for part in self.parts]
        scales = safe_sqrt(self._normalized().astype(moving.dtype))
        return jnp.concatenate([s * r for s, r in zip(scales, found, strict=True)])

    def _normalized(self) -> Float[Array, "parts"]:
        return self.shares / jnp.sum(self.shares)


@jax.jit
def _patch_ncc(rule: PatchNCC, moving: Image, fixed: Image, weights: Image) -> Scalar:
    # Without the mean of the whole image few of the digits cancel below.
    a, b = standardized(moving, weights)[0], standardized(fixed, weights)[0]
    weighted = weights * jnp.stack([jnp.ones_like(a), a, b, a * b, a**2, b**2])
    total, *sums = window_sums(weighted, rule.size, rule.stride)
    seen = jnp.where(total > 0, total, 1.0)
    mean_a, mean_b, product, square_a, square_b = (s / seen for s in sums)
    inverse_a, _ = _inverse_root(square_a - mean_a**2, square_a)
    inverse_b, _ = _inverse_root(square_b - mean_b**2, square_b)
    correlation = (product - mean_a * mean_b) * inverse_a * inverse_b
    return jnp.sum(_shares(rule, total, square_b - mean_b**2) * correlation)


@jax.jit
def _patch_residuals(
    rule: PatchNCC, moving: Image, fixed: Image, weights: Image
) -> Float[Array, "n"]:
    w = windows(weights, rule.size, rule.stride)
    total = jnp.sum(w, axis=(2, 3), keepdims=True)
    w = w / jnp.where(total > 0, total, 1.0)

    def normalized(image: Image) -> tuple[Array, Array, Array]:
        patch = windows(standardized(image, weights)[0], rule.size, rule.stride)
        square = jnp.sum(w * patch**2, axis=(2, 3), keepdims=True)
        patch = patch - jnp.sum(w * patch, axis=(2, 3), keepdims=True)
        variance = jnp.sum(w * patch**2, axis=(2, 3), keepdims=True)
        inverse, varies = _inverse_root(variance, square)
        return patch * inverse, varies, variance

    (a, a_varies, _), (b, b_varies, variance) = normalized(moving), normalized(fixed)
    # Where a patch of norm 0 is compared, its correlation is 0.
    uncorrelated = jnp.asarray(2**0.5 / rule.size, a.dtype)
    found = jnp.where(a_varies & b_varies, safe_sqrt(w) * (a - b), uncorrelated)
    return (safe_sqrt(_shares(rule, total, variance)) * found).ravel()


def _inverse_root(
    variance: Float[Array, "..."], square: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Bool[Array, "..."]]:
    """One over the root, and whether there is more to it than rounding; 0 if not.

    Args:
        variance: mean square about the mean.
        square: the mean square that it was left of.
    """
    enough = variance > _CONSTANT_BELOW * jnp.finfo(variance.dtype).eps * square
    return jnp.where(
        enough, 1 / jnp.sqrt(jnp.where(enough, variance, 1.0)), 0.0
    ), enough


def _shares(
    rule: PatchNCC, total: Float[Array, "..."], variance: Float[Array, "..."]
) -> Float[Array, "..."]:
    """How much each patch counts, of fixed images with variance 1; their sum is 1."""
    variance = at_least(variance, 0.0)
    floor = jnp.asarray(rule.floor, variance.dtype) ** 2
    some = variance > 0
    contrast = jnp.where(some, variance / jnp.where(some, variance + floor, 1.0), 0.0)
    return relative(total * contrast)
