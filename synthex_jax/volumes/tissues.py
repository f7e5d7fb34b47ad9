"""Tissues: from Hounsfield units to a continuous row of tissues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import between
from synthex_jax.physics.compounds import Material, material
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.typing import ArrayLike, Scalar, Vector2, Voxels
from synthex_jax.volumes.basis import in_basis
from synthex_jax.volumes.calibration import (
    AIR,
    CT_KEV,
    TISSUES,
    WATER,
    as_floating,
    checked_energy,
    hounsfield,
    piecewise_linear,
    require_hounsfield,
)
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.structures import BONES, TOTALSEGMENTATOR_V2
from synthex_jax.volumes.volume import Volume

# Titanium is at HU 11,000, but CTs of 12 bits end at 3071 and blur small parts; enamel,
# the densest tissue, reaches about 2500.
_METAL_HU = (2500.0, 3000.0)
# As many voxels of metal as a screw of 3 mm has at 1 mm a voxel, and more than noise.
_METAL_VOXELS = 50


@noun
@dataclass(frozen=True)
class Tissues:
    """A continuous row of tissues, written in a basis of few substances.

    A voxel is a mixture by volume of its two neighbors in the row

        air, inflated lung, adipose, water, soft tissue, spongy bone, cortical bone

    by CT number, and beyond cortical bone the last line goes on: as in ``attenuation``,
    with a derivative everywhere but at the substances themselves. The mixture is then
    written in the basis, scaled (by less than 0.5 %) so that the CT number holds at the
    CT's energy. With the row itself as the basis, shares are those of the tissues: not
    negative, and up to cortical bone they sum to 1.

    Metal, where it is named, fills voxels in shares that grow from the lower to the
    upper CT number of ``metal_hu``: a CT's numbers for metal are clipped and blurred;
    they say that it is metal, but not how much.

    A label map overrides the CT number's word on what a voxel is. In TotalSegmentator's
    numbering bones are as above; other structures hold no bone, so that what is denser
    than soft tissue in them is contrast agent in blood, or dense soft tissue where no
    agent is named. Labels in ``overrides`` are of the substance that stands there, at
    its own density.

    Attributes:
        basis: substances of the first channels.
        metal: of one more channel, or None.
        contrast: blood with contrast agent, of one more channel, or None.
        overrides: (label, substance) pairs, each of one more channel.
        ct_energy: (), keV, the effective energy of the CT's beam.
        metal_hu: (2,), HU, from where to where voxels turn into metal.
    """

    basis: tuple[Material, ...]
    metal: Material | None
    contrast: Material | None
    overrides: tuple[Material, ...]
    ct_energy: Scalar
    metal_hu: Vector2
    override_labels: tuple[int, ...] = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        basis: tuple[str | Material, ...] = ("water", "cortical bone"),
        *,
        metal: str | Material | None = None,
        contrast: str | Material | None = None,
        overrides: Mapping[int, str | Material] | None = None,
        ct_energy: ArrayLike = CT_KEV,
        metal_hu: ArrayLike = _METAL_HU,
    ) -> Tissues:
        """From the substances that the channels are to hold.

        Args:
            basis: two substances serve all tissues within 1.3 %, three (adipose, soft
                tissue, cortical bone) within 0.1 %.
            metal: "titanium", "stainless steel", "cobalt-chrome", ...
            contrast: blood with contrast agent, as ``iodine_contrast(20)``.
            overrides: substances by label.
            ct_energy: keV, the effective energy of the CT's beam.
            metal_hu: HU, from where to where voxels turn into metal.

        Raises:
            ValueError: for an unknown substance, a basis that cannot stand for the
                tissues, a metal threshold that does not rise.
        """
        found = tuple(material(s) for s in basis)
        in_basis(_ROW, found)
        metal_hu = jnp.asarray(metal_hu, float)
        require_shape("metal_hu", metal_hu, (2,))
        if is_concrete(metal_hu):
            low, high = metal_hu.tolist()
            require(low < high, f"metal_hu must rise, got {low:g} to {high:g} HU")
        overrides = dict(overrides or {})
        return cls(
            found,
            None if metal is None else material(metal),
            None if contrast is None else material(contrast),
            tuple(material(s) for s in overrides.values()),
            checked_energy(ct_energy),
            metal_hu,
            tuple(overrides),
        )

    @property
    def substances(self) -> tuple[Material, ...]:
        """Of the channels."""
        optional = (self.metal, self.contrast)
        return (*self.basis, *(s for s in optional if s is not None), *self.overrides)

    def composition(self, ct: Volume, labels: Volume | None = None) -> Composition:
        """What a CT in HU consists of.

        Args:
            ct: HU.
            labels: integers on the CT's grid: TotalSegmentator's numbers (version 2)
                and those of ``overrides``; 0, and numbers that are neither, leave the
                word to the CT number.

        Raises:
            ValueError: for voxels that cannot be HU, labels on another grid, contrast
                or overrides without labels that say where.
        """
        require_hounsfield(ct.data)
        if labels is None:
            named = "contrast" if self.contrast is not None else "overrides"
            require(
                self.contrast is None and not self.overrides,
                f"labels must be given with {named}: the CT number alone does not say "
                "where they are",
            )
        else:
            _require_grid(ct, labels)
        codes = None if labels is None else labels.data
        shares = _tissue_shares(ct.data, codes, self)
        return Composition.create(replace(ct, data=shares), self.substances)


def holds_metal(ct: Volume) -> bool:
    """Whether a concrete CT in HU shows metal: 50 voxels or more above 3000 HU."""
    return int(jnp.sum(ct.data >= _METAL_HU[1])) >= _METAL_VOXELS


_ROW = tuple(material(tissue) for tissue in TISSUES)
# Without bone: soft tissue goes on, denser.
_SOFT_ROW = _ROW[: TISSUES.index("soft tissue") + 1]
_SOFT_LABELS = tuple(n for n, name in TOTALSEGMENTATOR_V2.items() if name not in BONES)


@jax.jit
def _tissue_shares(
    data: Voxels, labels: Voxels | None, rule: Tissues
) -> Float[Array, "nx ny nz substances"]:
    substances, hu = rule.substances, as_floating(data)
    shares = _along_row(hu, _ROW, rule)
    if labels is not None:
        soft = _is_any(labels, _SOFT_LABELS)[..., None]
        shares = jnp.where(soft, _soft_shares(hu, rule), shares)
    if rule.metal is not None:
        low, high = rule.metal_hu
        metal = between((hu - low) / (high - low), 0.0, 1.0)[..., None]
        one = _unit(substances, len(rule.basis), shares.dtype)
        shares = shares + metal * (one - shares)
    if labels is not None:
        first = len(substances) - len(rule.overrides)
        for i, label in enumerate(rule.override_labels):
            one = _unit(substances, first + i, shares.dtype)
            shares = jnp.where((labels == label)[..., None], one, shares)
    return shares


def _along_row(
    hu: Float[Array, "nx ny nz"], row: tuple[Material, ...], rule: Tissues
) -> Float[Array, "nx ny nz substances"]:
    """Mixtures of neighbors in a row of tissues, in the basis."""
    knots, values = _knots(row, rule)
    return piecewise_linear(hu, knots, values)


def _soft_shares(
    hu: Float[Array, "nx ny nz"], rule: Tissues
) -> Float[Array, "nx ny nz substances"]:
    """Up to soft tissue as always; above it contrast agent, or denser soft tissue."""
    knots, values = _knots(_SOFT_ROW, rule)
    if rule.contrast is None:
        dense = 2.0
        mu = dense * linear_attenuation(_SOFT_ROW[-1], rule.ct_energy)
        end = dense * values[-1]
    else:
        mu = linear_attenuation(rule.contrast, rule.ct_energy)
        index = len(rule.basis) + (rule.metal is not None)
        end = _unit(rule.substances, index, values.dtype)
    last = hounsfield(mu, *_air_and_water(rule.ct_energy))
    knots = jnp.append(knots, last)
    return piecewise_linear(hu, knots, jnp.concatenate([values, end[None]]))


def _knots(
    row: tuple[Material, ...], rule: Tissues
) -> tuple[Float[Array, "row"], Float[Array, "row substances"]]:
    """CT numbers of a row of tissues and their shares of the channels."""
    energy = rule.ct_energy
    shares = jnp.asarray(in_basis(row, rule.basis), energy.dtype)
    mu_basis = jnp.stack([linear_attenuation(b, energy) for b in rule.basis])
    mu = jnp.stack([linear_attenuation(tissue, energy) for tissue in row])
    shares = shares * (mu / (shares @ mu_basis))[:, None]
    others = len(rule.substances) - len(rule.basis)
    numbers = hounsfield(mu, *_air_and_water(energy))
    return numbers, jnp.pad(shares, ((0, 0), (0, others)))


def _air_and_water(energy: Scalar) -> tuple[Scalar, Scalar]:
    """Their linear attenuation, 1/mm."""
    air, water = (linear_attenuation(_ROW[i], energy) for i in (AIR, WATER))
    return air, water


def _unit(
    substances: tuple[Material, ...], index: int, dtype: jnp.dtype
) -> Float[Array, "substances"]:
    return jnp.zeros(len(substances), dtype).at[index].set(1.0)


def _is_any(labels: Voxels, wanted: tuple[int, ...]) -> Array:
    """Whether each label is one of those, by table: labels may be of any size."""
    size = max(wanted) + 1
    table = np.zeros(size, bool)
    table[list(wanted)] = True
    inside = (labels >= 0) & (labels < size)
    return inside & jnp.asarray(table)[jnp.where(inside, labels, 0)]


def _require_grid(ct: Volume, labels: Volume) -> None:
    require(
        labels.shape == ct.shape and labels.data.ndim == 3,
        f"labels must lie on the CT's grid of {ct.shape} voxels, got "
        f"{labels.data.shape}; resample them with the nearest neighbor first",
    )
    require(
        jnp.issubdtype(labels.data.dtype, jnp.integer),
        f"labels must be integers, got {labels.data.dtype}",
    )
    if is_concrete(ct.affine, labels.affine):
        apart = float(jnp.max(jnp.abs(ct.affine - labels.affine)))
        require(
            apart < 1e-3,
            "labels must lie on the CT's grid, but the two affines differ by "
            f"{apart:.3g} mm; resample the labels with the nearest neighbor first",
        )
