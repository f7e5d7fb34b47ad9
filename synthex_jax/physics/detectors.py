"""Detectors: from the energy left in the pixels to what is read.

A detector is a value with what ``Detector`` asks for: its response to a photon, its
grid, gain and bits, ``read`` and ``expected``. It reads in digital units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_not_negative,
    require_positive,
)
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least
from synthex_jax.physics.antiscatter import AntiscatterGrid
from synthex_jax.physics.blur import Blur, blurred
from synthex_jax.physics.digitizer import digitized, highest, require_bits
from synthex_jax.physics.quanta import sampled
from synthex_jax.physics.scintillators import Absorber, PerfectAbsorber, Scintillator
from synthex_jax.physics.signal import Response, Signal
from synthex_jax.typing import ArrayLike, Image, PRNGKey, Scalar, Vector2

# Additive noise of amorphous silicon panels is 1000 to 2000 electrons a pixel, and
# CsI(Tl) yields about 25 collected electrons a keV (Siewerdsen et al. 1997, Med. Phys.
# 24(1):71, has 1 to 2 thousand an interacting photon): 1500 electrons.
_ELECTRONIC_NOISE = 60.0


@runtime_checkable
class Detector(Protocol):
    """What a simulation asks of a detector."""

    @property
    def grid(self) -> AntiscatterGrid | None:
        """In front of it, or None."""
        ...

    @property
    def gain(self) -> Scalar | Image:
        """Digital units a keV; a field, which ``dataclasses.replace`` changes."""
        ...

    @property
    def bits(self) -> int | None:
        """Of its converter, or None without one."""
        ...

    def response(self, energies: ArrayLike) -> Response:
        """Moments of the energy that a photon leaves behind."""
        ...

    def read(self, key: PRNGKey | None, signal: Signal, pitch: Vector2) -> Image:
        """One exposure."""
        ...

    def expected(self, signal: Signal, pitch: Vector2) -> Image:
        """The mean reading, neither limited nor rounded: the flat field of air."""
        ...


@noun
@dataclass(frozen=True)
class IdealDetector:
    """Absorbs and counts all energy: quantum noise, and nothing else.

    Attributes:
        gain: (), digital units a keV.
    """

    gain: Scalar

    @classmethod
    def create(cls, gain: ArrayLike = 1.0) -> IdealDetector:
        """With a gain in digital units a keV.

        Raises:
            ValueError: for a gain that is not positive.
        """
        require_positive("gain", gain, "(digital units a keV)")
        return cls(jnp.asarray(gain, float))

    @property
    def grid(self) -> AntiscatterGrid | None:
        """None."""
        return None

    @property
    def bits(self) -> int | None:
        """None: readings are neither limited nor rounded."""
        return None

    def response(self, energies: ArrayLike) -> Response:
        """Moments of the energy that a photon leaves behind: all of it."""
        return PerfectAbsorber().response(energies)

    def read(self, key: PRNGKey | None, signal: Signal, pitch: Vector2) -> Image:
        """One exposure; without a key free of noise. See ``FlatPanel.read``."""
        del pitch
        return self.gain * (signal.mean if key is None else sampled(key, signal))

    def expected(self, signal: Signal, pitch: Vector2) -> Image:
        """The mean reading."""
        del pitch
        return self.gain * signal.mean


@noun
@dataclass(frozen=True)
class FlatPanel:
    """A scintillator on an array of photodiodes.

    All fields but the bits are leaves, or hold leaves.

    Attributes:
        absorber: of the photons.
        grid: in front of it, or None.
        blur: of the light, which correlates the quantum noise.
        gain: () or (rows, cols), digital units a keV; 0 where a pixel is dead.
        electronic_noise: (), keV, standard deviation of the amplifiers' white noise.
        offset: (), digital units read in the dark.
        bits: of the converter, 8 to 16, static; None for readings that are neither
            limited nor rounded.
    """

    absorber: Absorber
    grid: AntiscatterGrid | None
    blur: Blur
    gain: Scalar | Image
    electronic_noise: Scalar
    offset: Scalar
    bits: int | None = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        absorber: Absorber,
        *,
        blur: Blur,
        gain: ArrayLike = 1.0,
        grid: AntiscatterGrid | None = None,
        electronic_noise: ArrayLike = 0.0,
        offset: ArrayLike = 0.0,
        bits: int | None = None,
    ) -> FlatPanel:
        """From its parts; see the attributes.

        Raises:
            ValueError: for bits outside 8 to 16, a gain or noise that is negative or
                not finite, a gain that is neither a number nor an image.
        """
        require_bits(bits)
        require_not_negative("gain", gain, "(digital units a keV)")
        require_not_negative("electronic_noise", electronic_noise, "(keV)")
        require(
            np.ndim(gain) in (0, 2),
            f"gain must be one number or (rows, cols), got shape {np.shape(gain)}",
        )
        gain, noise, offset = (
            jnp.asarray(x, float) for x in (gain, electronic_noise, offset)
        )
        return cls(absorber, grid, blur, gain, noise, offset, bits)

    @classmethod
    def csi(
        cls,
        *,
        full_scale: ArrayLike,
        thickness: ArrayLike = 0.6,
        grid: AntiscatterGrid | None = None,
        electronic_noise: ArrayLike = _ELECTRONIC_NOISE,
        bits: int | None = 14,
    ) -> FlatPanel:
        """An indirect panel of columnar CsI(Tl) on amorphous silicon.

        Args:
            full_scale: keV left in a pixel that reads the converter's largest number,
                or 1 without a converter. A mean of a half to a third of it for pixels
                without body in front uses the range well; it goes with exposure and
                the area of a pixel.
            thickness: mm of CsI.
            grid: in front of it, or None.
            electronic_noise: keV; see the attribute.
            bits: of the converter.

        Raises:
            ValueError: as ``create``, and for a full scale or thickness that is not
                positive.
        """
        require_positive("full_scale", full_scale, "(keV in a pixel)")
        require_bits(bits)
        return cls.create(
            Scintillator.csi(thickness),
            blur=Blur.scintillator(),
            gain=highest(bits) / jnp.asarray(full_scale, float),
            grid=grid,
            electronic_noise=electronic_noise,
            bits=bits,
        )

    def response(self, energies: ArrayLike) -> Response:
        """Moments of the energy that a photon leaves behind, of any shape, keV."""
        return self.absorber.response(energies)

    def read(self, key: PRNGKey | None, signal: Signal, pitch: Vector2) -> Image:
        """One exposure.

        Quanta are drawn, their light spreads, the amplifiers add noise, the converter
        rounds. Differentiable in all of it, through the noise too.

        Args:
            key: consumed; None for an exposure free of noise.
            signal: of the photons behind body and grid.
            pitch: mm, (height, width) of a pixel.

        Returns:
            (rows, cols), digital units.
        """
        return _read(self, key, signal, pitch)

    def expected(self, signal: Signal, pitch: Vector2) -> Image:
        """The mean reading, neither limited nor rounded: the flat field of air.

        Args:
            signal: of the photons.
            pitch: mm, (height, width) of a pixel.
        """
        return self.gain * blurred(signal.mean, self.blur, pitch) + self.offset


def defective_gain(
    key: PRNGKey,
    shape: tuple[int, int],
    *,
    gain: ArrayLike,
    spread: ArrayLike = 0.02,
    dead: ArrayLike = 1e-4,
) -> Image:
    """Gains of the pixels of an uncorrected panel.

    Args:
        key: consumed.
        shape: (rows, cols), static.
        gain: (), their mean, digital units a keV.
        spread: (), standard deviation as a share of the mean.
        dead: (), the share of pixels that read nothing.

    Raises:
        ValueError: for a negative gain or spread, or a share outside 0 to 1.
    """
    require_not_negative("gain", gain, "(digital units a keV)")
    require_not_negative("spread", spread, "(a share of the gain)")
    if is_concrete(dead):
        require(
            bool(0 <= np.asarray(dead) <= 1),
            f"dead must be a share of the pixels from 0 to 1, got {dead}",
        )
    spread_key, dead_key = jax.random.split(key)
    factor = 1 + jnp.asarray(spread, float) * jax.random.normal(spread_key, shape)
    is_dead = jax.random.uniform(dead_key, shape) < jnp.asarray(dead)
    return jnp.asarray(gain) * jnp.where(is_dead, 0.0, at_least(factor, 0.0))


def corrected(image: Image, is_dead: Float[Array, "rows cols"]) -> Image:
    """An image with the mean of the live neighbors in dead pixels.

    Args:
        image: (rows, cols).
        is_dead: (rows, cols), 1 where a pixel is dead, elsewhere 0; a dead pixel none
            of whose eight neighbors lives stays as it is.
    """
    alive = 1 - is_dead
    total, count = (_around(x) for x in (image * alive, alive))
    filled = jnp.where(count > 0, total / at_least(count, 1.0), image)
    return jnp.where(is_dead > 0, filled, image)


@jax.jit
def _read(
    panel: FlatPanel, key: PRNGKey | None, signal: Signal, pitch: Vector2
) -> Image:
    if key is None:
        light = blurred(signal.mean, panel.blur, pitch)
    else:
        quanta_key, electronics_key = jax.random.split(key)
        light = blurred(sampled(quanta_key, signal), panel.blur, pitch)
        white = jax.random.normal(electronics_key, light.shape, light.dtype)
        light += panel.electronic_noise * white
    return digitized(panel.gain * light + panel.offset, panel.bits)


def _around(image: Image) -> Image:
    """Sums over three by three pixels."""
    padded = jnp.pad(image, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
