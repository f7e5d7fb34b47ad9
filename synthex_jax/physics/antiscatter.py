"""Anti-scatter grids: lead strips in front of the detector."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Scalar


@noun
@dataclass(frozen=True)
class AntiscatterGrid:
    """The shares of the photons that get through, without the strips' own image.

    That image is what a moving grid blurs and a flat field corrects.

    Attributes:
        primary: (), of photons straight from the source.
        scatter: (), of photons scattered in the body.
    """

    primary: Scalar
    scatter: Scalar

    @classmethod
    def create(cls, *, primary: ArrayLike, scatter: ArrayLike) -> AntiscatterGrid:
        """From transmissions, as data sheets and IEC 60627 give them.

        Raises:
            ValueError: for a transmission outside 0 to 1.
        """
        for name, share in (("primary", primary), ("scatter", scatter)):
            if is_concrete(share):
                value = np.asarray(share)
                require(
                    bool(np.all((value >= 0) & (value <= 1))),
                    f"{name} must be a transmission from 0 to 1, got {share}",
                )
        return cls(jnp.asarray(primary, float), jnp.asarray(scatter, float))

    @classmethod
    def typical(cls) -> AntiscatterGrid:
        """A focused grid of ratio 12:1 at about 80 kVp.

        Bushberg et al., The Essential Physics of Medical Imaging (3rd ed. 2012,
        section 7.12), has primary transmissions of 0.6 to 0.75 and scatter
        transmissions of 0.05 to 0.2 for grids of ratio 8 to 14: the middles.
        """
        return cls.create(primary=0.7, scatter=0.12)

    @property
    def selectivity(self) -> Scalar:
        """(), how many times the ratio of scatter to primary is reduced."""
        return self.primary / self.scatter

    def bucky_factor(self, scatter_to_primary: ArrayLike) -> Scalar:
        """How many times the exposure must rise to keep what the detector absorbs.

        Args:
            scatter_to_primary: (), before the grid.
        """
        ratio = jnp.asarray(scatter_to_primary, float)
        return (1 + ratio) / (self.primary + self.scatter * ratio)
