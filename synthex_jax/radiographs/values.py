"""What the pixel values of a file mean, and from them to attenuation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

Stored = Float[np.ndarray, "rows cols"]
"""Finite numbers as a file has them, after its own rescaling."""


@runtime_checkable
class Values(Protocol):
    """A meaning of pixel values."""

    def attenuation(self, stored: Stored) -> Stored:
        """(rows, cols), up to a gain and an offset, bone bright, finite."""
        ...

    def measured(self, stored: Stored) -> Bool[np.ndarray, "rows cols"]:
        """(rows, cols), whether a pixel's value is within the detector's range."""
        ...


@dataclass(frozen=True)
class BoneBright:
    """Attenuation already, or a picture in which bone is bright.

    Pictures are attenuation up to a monotone curve, which similarities of gradients
    hardly mind.
    """

    def attenuation(self, stored: Stored) -> Stored:
        """As it is."""
        return stored

    def measured(self, stored: Stored) -> Bool[np.ndarray, "rows cols"]:
        """All of it."""
        return np.ones(stored.shape, dtype=bool)


@dataclass(frozen=True)
class BoneDark:
    """Attenuation or a picture, negative: bone is dark, as fluoroscopy shows it."""

    def attenuation(self, stored: Stored) -> Stored:
        """The largest value minus the values."""
        return stored.max() - stored

    def measured(self, stored: Stored) -> Bool[np.ndarray, "rows cols"]:
        """All of it."""
        return np.ones(stored.shape, dtype=bool)


@dataclass(frozen=True)
class Transmission:
    """Readings in proportion to the intensity that arrived, without a logarithm.

    Attributes:
        saturation: the reading from which on a pixel is saturated, as in the open beam
            behind air; None if there is none.
    """

    saturation: float | None = None

    def attenuation(self, stored: Stored) -> Stored:
        """Minus the logarithm; 0 at the largest reading.

        Readings of zero and below are raised to the least above: a pixel without
        signal is as dark as the darkest with one.
        """
        lit = stored > 0
        if not lit.any():
            return np.zeros_like(stored)
        return np.log(stored.max()) - np.log(np.maximum(stored, stored[lit].min()))

    def measured(self, stored: Stored) -> Bool[np.ndarray, "rows cols"]:
        """Where there is signal, and below saturation."""
        limit = np.inf if self.saturation is None else self.saturation
        return (stored > 0) & (stored < limit)
