r"""Image intensifiers: round, glaring, vignetted and distorted.

An X-ray image intensifier turns photons into light in a curved CsI screen, and that
into electrons, which a lens of electrodes images on an output screen that a camera
films. What the camera sees at a radius $r$ (in mm on the input screen, from the image's
middle) comes from the radius $r / (1 + d (r / R)^2)$, $R$ being the radius of the
field: a pincushion. Its light is weaker by $1 - v (r / R)^2$: vignetting. Veiling
glare, light scattered in the output window, is the tail of the blur.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_not_negative,
    require_positive,
)
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, at_most, between, safe_norm
from synthex_jax.physics.antiscatter import AntiscatterGrid
from synthex_jax.physics.blur import Blur, blurred
from synthex_jax.physics.digitizer import digitized, highest, require_bits
from synthex_jax.physics.quanta import sampled
from synthex_jax.physics.scintillators import Absorber, Scintillator
from synthex_jax.physics.signal import Response, Signal
from synthex_jax.typing import ArrayLike, Image, PRNGKey, Scalar, Vector2

# Of the MTF of intensifiers of 23 cm the core is that of a screen of about 4 line
# pairs a mm; a tenth of the light is glare of 20 mm (Seibert, Nalcioglu & Roeck 1984,
# Med. Phys. 11(2):172). Distortion and vignetting at the rim: Boone, Seibert, Barrett
# & Blood 1991, Med. Phys. 18(2):236, and Rudin, Bednarek & Wong 1991, 18(6):1142.
_SIGMA, _GLARE, _GLARE_WIDTH = 0.1, 0.1, 20.0
_DISTORTION, _VIGNETTING = 0.05, 0.2

# Square of a radius, in those of the field, beyond which the pincushion ends: nothing
# is seen there, and the stretch stays positive.
_FAR_OUTSIDE = 2.0


@noun
@dataclass(frozen=True)
class ImageIntensifier:
    """An image intensifier and its camera.

    All fields but the bits are leaves, or hold leaves.

    Attributes:
        absorber: the input screen.
        grid: in front of it, or None.
        blur: of the light; its tail is the veiling glare.
        diameter: (), mm, of the round field, which is in the middle of the image.
        edge: (), mm, standard deviation of the field's soft rim.
        distortion: (), how much larger the image is at the rim, as a share.
        vignetting: (), how much darker it is there, as a share.
        gain: (), digital units a keV.
        camera_noise: (), keV, standard deviation of the camera's white noise.
        bits: of the converter, 8 to 16, static; None for readings that are neither
            limited nor rounded.
    """

    absorber: Absorber
    grid: AntiscatterGrid | None
    blur: Blur
    diameter: Scalar
    edge: Scalar
    distortion: Scalar
    vignetting: Scalar
    gain: Scalar
    camera_noise: Scalar
    bits: int | None = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        *,
        diameter: ArrayLike,
        full_scale: ArrayLike,
        absorber: Absorber | None = None,
        grid: AntiscatterGrid | None = None,
        blur: Blur | None = None,
        edge: ArrayLike = 0.5,
        distortion: ArrayLike = _DISTORTION,
        vignetting: ArrayLike = _VIGNETTING,
        camera_noise: ArrayLike | None = None,
        bits: int | None = 10,
    ) -> ImageIntensifier:
        """From its size and exposure; the other values are typical ones.

        Args:
            diameter: mm, of the field on the detector.
            full_scale: keV left in a pixel that reads the converter's largest number,
                or 1 without a converter.
            absorber: the input screen; 0.4 mm of CsI by default.
            grid: in front of it, or None.
            blur: of the light; by default with a tenth of it as glare.
            edge: mm.
            distortion: at the rim; negative for a barrel.
            vignetting: at the rim, from 0 to 1.
            camera_noise: keV; by default full scale divided by 1000, as of a camera
                tube of 60 dB.
            bits: of the converter.

        Raises:
            ValueError: for a size, an edge or a full scale that is not positive, a
                distortion outside -0.3 to 0.5 (it would fold), a vignetting outside 0
                to 1, a negative noise, bits outside 8 to 16.
        """
        require_positive("diameter", diameter, "(mm)")
        require_positive("edge", edge, "(mm)")
        require_positive("full_scale", full_scale, "(keV in a pixel)")
        require_bits(bits)
        full = jnp.asarray(full_scale, float)
        noise = (
            full / 1000 if camera_noise is None else jnp.asarray(camera_noise, float)
        )
        require_not_negative("camera_noise", noise, "(keV)")
        if is_concrete(distortion, vignetting):
            require(
                bool(-0.3 <= np.asarray(distortion) <= 0.5),
                "distortion must be from -0.3 to 0.5, a share of the size at the rim, "
                f"got {distortion}",
            )
            require(
                bool(0 <= np.asarray(vignetting) <= 1),
                "vignetting must be a share of the light from 0 to 1, got "
                f"{vignetting}",
            )
        if blur is None:
            blur = Blur.create(_SIGMA, tail=_GLARE, tail_width=_GLARE_WIDTH)
        return cls(
            Scintillator.csi(0.4) if absorber is None else absorber,
            grid,
            blur,
            jnp.asarray(diameter, float),
            jnp.asarray(edge, float),
            jnp.asarray(distortion, float),
            jnp.asarray(vignetting, float),
            highest(bits) / full,
            noise,
            bits,
        )

    def response(self, energies: ArrayLike) -> Response:
        """Moments of the energy that a photon leaves behind, of any shape, keV."""
        return self.absorber.response(energies)

    def read(self, key: PRNGKey | None, signal: Signal, pitch: Vector2) -> Image:
        """One exposure; differentiable in all but the bits.

        Args:
            key: consumed; None for an exposure free of noise.
            signal: of the photons behind body and grid.
            pitch: mm, (height, width) of a pixel.

        Returns:
            (rows, cols), digital units; 0 outside the field, but for the noise.
        """
        return _read(self, key, signal, pitch)

    def expected(self, signal: Signal, pitch: Vector2) -> Image:
        """The mean reading, neither limited nor rounded: the flat field of air.

        Args:
            signal: of the photons.
            pitch: mm, (height, width) of a pixel.
        """
        return _expected(self, signal, pitch)


@jax.jit
def _read(
    tube: ImageIntensifier, key: PRNGKey | None, signal: Signal, pitch: Vector2
) -> Image:
    moved = _distorted(tube, signal, pitch)
    if key is None:
        seen = _output(tube, moved.mean, pitch)
    else:
        quanta_key, camera_key = jax.random.split(key)
        seen = _output(tube, sampled(quanta_key, moved), pitch)
        white = jax.random.normal(camera_key, seen.shape, seen.dtype)
        seen += tube.camera_noise * white
    return digitized(tube.gain * seen, tube.bits)


@jax.jit
def _expected(tube: ImageIntensifier, signal: Signal, pitch: Vector2) -> Image:
    return tube.gain * _output(tube, _distorted(tube, signal, pitch).mean, pitch)


def _distorted(tube: ImageIntensifier, signal: Signal, pitch: Vector2) -> Signal:
    """The signal where the camera sees it.

    Noise is drawn after it: interpolated, it would be weaker between pixels than on
    them, and show rings.
    """
    places, distance = _places(signal.mean.shape, pitch)
    radii_squared = (2 * distance / tube.diameter) ** 2
    stretch = 1 + tube.distortion * at_most(radii_squared, _FAR_OUTSIDE)
    middle = (jnp.asarray(signal.mean.shape, pitch.dtype) - 1) / 2
    pixels = places / stretch[..., None] / pitch + middle
    both = jnp.stack([signal.mean, signal.variance], axis=-1)
    # XLA would else compute the places again for each corner, and all of it again for
    # each of mean and variance.
    moved = _interpolated(both, lax.optimization_barrier(pixels))
    moved = lax.optimization_barrier(moved)
    return Signal(moved[..., 0], moved[..., 1])


def _output(tube: ImageIntensifier, screen: Image, pitch: Vector2) -> Image:
    """The output screen as the camera sees it, in keV of the input."""
    _, distance = _places(screen.shape, pitch)
    # 1 within the round field, 0 outside; nothing outside of it glares either.
    inside = norm.cdf((tube.diameter / 2 - distance) / tube.edge)
    falloff = 1 - tube.vignetting * (2 * distance / tube.diameter) ** 2
    light = blurred(screen * inside, tube.blur, pitch)
    return light * at_least(falloff, 0.0) * inside


def _places(
    shape: tuple[int, ...], pitch: Vector2
) -> tuple[Float[Array, "rows cols 2"], Image]:
    """Places of the pixels from the middle, mm (down, across), and their distance."""
    axes = [jnp.arange(n, dtype=pitch.dtype) - (n - 1) / 2 for n in shape]
    places = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1) * pitch
    return places, safe_norm(places)


def _interpolated(
    image: Float[Array, "rows cols channels"], pixels: Float[Array, "rows cols 2"]
) -> Float[Array, "rows cols channels"]:
    """Bilinear values at (row, column); at the edges as the next pixel."""
    last = jnp.asarray(image.shape[:2], pixels.dtype) - 1
    inside = between(pixels, 0.0, last)
    first = between(jnp.floor(inside), 0.0, last - 1)
    down, right = jnp.moveaxis(inside - first, -1, 0)[..., None]
    row, col = jnp.moveaxis(first.astype(jnp.int32), -1, 0)
    upper = image[row, col] * (1 - right) + image[row, col + 1] * right
    lower = image[row + 1, col] * (1 - right) + image[row + 1, col + 1] * right
    return upper * (1 - down) + lower * down
