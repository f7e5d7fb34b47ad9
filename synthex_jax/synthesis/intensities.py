"""What the image of an example is: from readings to the numbers that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from synthex_jax.checks import require
from synthex_jax.numerics import between
from synthex_jax.processing import display, log_image
from synthex_jax.typing import Image


@runtime_checkable
class Intensities(Protocol):
    """What turns a reading into the image that is kept; hashable."""

    @property
    def dtype(self) -> jnp.dtype:
        """Of the image that is kept."""
        ...

    def image(
        self, raw: Image, flat: Image, floor: float
    ) -> Shaped[Array, "rows cols"]:
        """The image that is kept; readings below the floor mean nothing."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON: kind, and how values become physical again."""
        ...


@jax.tree_util.register_static
@dataclass(frozen=True)
class Attenuation:
    """Line integrals in whole steps: 0 in air, more behind a body, bone bright.

    Attributes:
        step: of one count. The default resolves a tenth of a radiograph's noise and
            holds 16 in 16 bits, the attenuation of 80 cm of water.
    """

    step: float = 2.0**-12

    @classmethod
    def create(cls, step: float = 2.0**-12) -> Attenuation:
        """With another step.

        Raises:
            ValueError: for a step that is not positive.
        """
        require(step > 0, f"step must be above 0, got {step}")
        return cls(float(step))

    @property
    def dtype(self) -> jnp.dtype:
        """Counts of 16 bits."""
        return jnp.dtype(jnp.uint16)

    def image(
        self, raw: Image, flat: Image, floor: float
    ) -> Shaped[Array, "rows cols"]:
        """Counts; attenuation below zero, as noise in open beam is, becomes 0."""
        counts = log_image(raw, flat, floor=floor) / self.step
        return _rounded(counts, self.dtype)

    def describe(self) -> dict[str, Any]:
        """Attenuation is counts times ``step``."""
        return {"kind": "attenuation", "step": self.step}


@jax.tree_util.register_static
@dataclass(frozen=True)
class Gray:
    """Gray values as a workstation shows them, bone white; see ``processing.display``.

    Attributes:
        bits: 8 or 16.
    """

    bits: int = 8

    @classmethod
    def create(cls, bits: int = 8) -> Gray:
        """With 8 or 16 bits.

        Raises:
            ValueError: for any other number.
        """
        require(bits in (8, 16), f"bits must be 8 or 16, got {bits}")
        return cls(bits)

    @property
    def dtype(self) -> jnp.dtype:
        """Of 8 or of 16 bits."""
        return jnp.dtype(jnp.uint8 if self.bits == 8 else jnp.uint16)

    def image(
        self, raw: Image, flat: Image, floor: float
    ) -> Shaped[Array, "rows cols"]:
        """Gray values from 0, black, to the most that the bits hold."""
        shown = display(log_image(raw, flat, floor=floor))
        return _rounded(shown * (2**self.bits - 1), self.dtype)

    def describe(self) -> dict[str, Any]:
        """Gray values cannot be undone."""
        return {"kind": "gray", "bits": self.bits}


@jax.tree_util.register_static
@dataclass(frozen=True)
class Readings:
    """What the detector reads, as it is: digital units, or transmission."""

    @property
    def dtype(self) -> jnp.dtype:
        """Real numbers: a detector without a converter has no units."""
        return jnp.dtype(jnp.float32)

    def image(
        self, raw: Image, flat: Image, floor: float
    ) -> Shaped[Array, "rows cols"]:
        """The reading."""
        del flat, floor
        return raw.astype(self.dtype)

    def describe(self) -> dict[str, Any]:
        """Readings are themselves."""
        return {"kind": "readings"}


def _rounded(values: Image, dtype: jnp.dtype) -> Shaped[Array, "rows cols"]:
    most = jnp.iinfo(dtype).max
    return jnp.round(between(values, 0.0, float(most))).astype(dtype)
