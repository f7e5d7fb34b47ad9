r"""Blur of a detector: light that spreads before it is read.

The modulation transfer function is that of a Gaussian core, a share of which has a
tail of the form $\exp(-r / w) / (2 \pi w r)$:

$$ \mathrm{MTF}(f) = \exp(-2 \pi^2 \sigma^2 f^2)
   \left(1 - s + \frac{s}{\sqrt{1 + (2 \pi w f)^2}}\right). $$

With $w$ of a few tenths of a millimeter it is that of a scintillator, whose MTF falls
early and then slowly; with $w$ of centimeters the tail is the veiling glare of an image
intensifier (Seibert, Nalcioglu & Roeck 1984, Med. Phys. 11(2):172).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_not_negative
from synthex_jax.nouns import noun
from synthex_jax.numerics import safe_sqrt
from synthex_jax.typing import ArrayLike, Image, Scalar, Vector2


@noun
@dataclass(frozen=True)
class Blur:
    """How light spreads, by its modulation transfer function.

    Attributes:
        sigma: (), mm, standard deviation of the Gaussian core.
        tail: (), the share of the light in the tail.
        tail_width: (), mm, mean radius of the tail.
    """

    sigma: Scalar
    tail: Scalar
    tail_width: Scalar

    @classmethod
    def create(
        cls, sigma: ArrayLike, *, tail: ArrayLike = 0.0, tail_width: ArrayLike = 1.0
    ) -> Blur:
        """From widths in mm on the detector.

        Raises:
            ValueError: for a negative width, or a share outside 0 to 1.
        """
        require_not_negative("sigma", sigma, "(mm)")
        require_not_negative("tail_width", tail_width, "(mm)")
        if is_concrete(tail):
            require(
                bool(np.all((np.asarray(tail) >= 0) & (np.asarray(tail) <= 1))),
                f"tail must be a share of the light from 0 to 1, got {tail}",
            )
        return cls(*(jnp.asarray(x, float) for x in (sigma, tail, tail_width)))

    @classmethod
    def scintillator(cls) -> Blur:
        """Of 0.6 mm of columnar CsI: 0.84, 0.65, 0.38, 0.27 at 0.5, 1, 2, 2.5 / mm.

        Near what Granfors & Aufrichtig 2000 (Med. Phys. 27(6):1324) measured on such a
        panel, aperture of the pixels included.
        """
        return cls.create(0.08, tail=0.5, tail_width=0.3)

    def mtf(self, frequency: ArrayLike) -> Float[Array, "*frequencies"]:
        """Share of the contrast that is left.

        Args:
            frequency: any shape, cycles a mm.

        Returns:
            In the shape of ``frequency``, from 0 to 1; 1 at 0.
        """
        squared = (2 * jnp.pi * jnp.asarray(frequency, float)) ** 2
        tail = self.tail / jnp.sqrt(1 + squared * self.tail_width**2)
        return jnp.exp(-squared * self.sigma**2 / 2) * (1 - self.tail + tail)


@jax.jit
def blurred(image: Image, blur: Blur, pitch: Vector2) -> Image:
    """An image with its light spread, mirrored at the edges: its sum stays the same.

    Args:
        image: (rows, cols).
        blur: of the detector.
        pitch: mm, (height, width) of a pixel.
    """
    rows, cols = image.shape
    wide = jnp.concatenate([image, image[:, ::-1]], axis=1)
    whole = jnp.concatenate([wide, wide[::-1]], axis=0)
    down = jnp.asarray(np.fft.fftfreq(2 * rows)[:, None], image.dtype) / pitch[0]
    across = jnp.asarray(np.fft.rfftfreq(2 * cols), image.dtype) / pitch[1]
    frequency = safe_sqrt(down**2 + across**2)
    spectrum = jnp.fft.rfft2(whole) * blur.mtf(frequency)
    return jnp.fft.irfft2(spectrum, s=whole.shape)[:rows, :cols].astype(image.dtype)
