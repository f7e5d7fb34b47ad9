"""Lesions of a viral pneumonia, grown in the lungs of any chest CT."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt8

from synthex_jax.checks import is_concrete, require, require_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least
from synthex_jax.phantoms.grid import Axes, Nodes
from synthex_jax.phantoms.textures import octaves
from synthex_jax.phantoms.variation import step_between
from synthex_jax.typing import ArrayLike, Matrix4, PRNGKey, Scalar, Vector3, Voxels
from synthex_jax.volumes.calibration import as_floating, require_hounsfield
from synthex_jax.volumes.lungs import LEFT_LUNG, RIGHT_LUNG
from synthex_jax.volumes.volume import Volume

GROUND_GLASS, CONSOLIDATION = 1, 2
"""Labels of lesions: hazy, with vessels that show through, and dense."""

# TotalSegmentator's labels of the lungs' lobes.
_LOBES = (LEFT_LUNG, 11, RIGHT_LUNG, 13, 14)

# Where lesions begin: slopes of the logarithm of their frequency by what a Gaussian
# misses of the lung (0 deep inside, 0.5 on its surface), and by standard deviations of
# position away from the mediastinum, backward and downward. Chosen so that, as in
# patients, four of five lie mostly in the outer third and mostly behind (82 % and 82 %
# of 552 patients, PMC7355135), and the lower lobes more often hold some (86 % of 63
# patients, Haseli et al., Archives of Academic Emergency Medicine 8, 2020).
_PERIPHERAL, _OUTWARD, _POSTERIOR, _BASAL = 5.0, 0.8, 0.8, 0.7
# Mm: the Gaussian's width.
_SURFACE = 12.0
# Mm: how far the surface draws the outlines of lesions towards itself, and how
# irregular they are, at what wavelength.
_CLINGING, _IRREGULAR, _WAVELENGTH = 15.0, 7.0, 45.0
# How differently lesions grow: standard deviation of the logarithm of their size.
_SPREAD = 0.4
# Mm over which ground glass and consolidations fade out: hazy, and less so.
_GLASS_EDGE, _DENSE_EDGE = 12.0, 6.0
# HU, root mean square, of the texture in ground glass; half of it in consolidations.
_TEXTURE, _TEXTURE_WAVELENGTH = 60.0, 14.0
# Where two noises are both near zero are tubes, here about 3 mm wide, like segmental
# bronchi, and full of air.
_TUBE, _TUBE_WAVELENGTH, _TUBE_HU = 0.16, 36.0, -950.0
# Halvings of a range in which the level is sought that a share exceeds.
_HALVINGS = 24


@noun
@dataclass(frozen=True)
class Lesions:
    """How severe a pneumonia is, and what its lesions look like.

    Attributes:
        share: (), of the lungs' volume, that lesions take: the severity.
        consolidated: (), share of the lesions that is dense; the rest is ground glass.
        ground_glass: (), HU.
        consolidation: (), HU.
        bronchograms: (), from 0, bronchi in consolidations are filled, to 1, they hold
            air.
        number: places where lesions begin, static; they may grow together.
    """

    share: Scalar
    consolidated: Scalar
    ground_glass: Scalar
    consolidation: Scalar
    bronchograms: Scalar
    number: int = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        share: ArrayLike = 0.1,
        *,
        consolidated: ArrayLike = 0.25,
        ground_glass: ArrayLike = -500.0,
        consolidation: ArrayLike = 0.0,
        bronchograms: ArrayLike = 0.0,
        number: int = 12,
    ) -> Lesions:
        """From a severity, the share of the lungs' volume that lesions take.

        Raises:
            ValueError: for shares outside 0 to 1, HU that do not rise from the lung's
                (-900) to ground glass to consolidation to 200, and a number below 1.
        """
        require(number >= 1, f"number must be at least 1 lesion, got {number}")
        given = {
            "share": share,
            "consolidated": consolidated,
            "ground_glass": ground_glass,
            "consolidation": consolidation,
            "bronchograms": bronchograms,
        }
        leaves = {name: jnp.asarray(value, float) for name, value in given.items()}
        for name, value in leaves.items():
            require_shape(name, value, ())
        for name in ("share", "consolidated", "bronchograms"):
            if is_concrete(leaves[name]):
                require(
                    0 <= float(leaves[name]) <= 1,
                    f"{name} must be a share from 0 to 1, got {given[name]}",
                )
        if is_concrete(leaves):
            glass, dense = (
                float(leaves[name]) for name in ("ground_glass", "consolidation")
            )
            require(
                -900 < glass < dense < 200,
                "ground_glass and consolidation must be HU that rise between lung "
                f"(-900) and 200, got {glass:g} and {dense:g}",
            )
        return cls(**leaves, number=number)

    @classmethod
    def draw(cls, key: PRNGKey, *, number: int = 12) -> Lesions:
        """A patient with COVID-19.

        Shares run from 1 to 40 % of the lungs, evenly in their logarithm: hospitals
        saw means of 4 to 7 % (doi:10.1007/s42058-020-00034-2), severe cases several
        times that. Up to half is consolidated, and nothing in a third of the patients
        (ground glass alone in 34 %: Bernheim et al., Radiology 295, 2020,
        doi:10.1148/radiol.2020200463).
        """
        u = jax.random.uniform(key, (5,))
        return cls(
            share=0.01 * 40.0 ** u[0],
            consolidated=0.5 * at_least(1.5 * u[1] - 0.5, 0.0),
            ground_glass=-600.0 + 200.0 * u[2],
            consolidation=-100.0 + 150.0 * u[3],
            bronchograms=u[4],
            number=number,
        )


def with_lesions(
    key: PRNGKey, ct: Volume, lungs: Volume, *, lesions: Lesions | None = None
) -> tuple[Volume, Volume]:
    """A chest CT with lesions in its lungs, and where they are.

    Lesions begin at random places, mostly near the chest wall, behind and below, and
    grow irregularly until they take their share. Ground glass raises what is less dense
    than itself, so that vessels show through. Of one key, a more severe case contains
    the less severe ones. Nothing outside of the lungs changes.

    Differentiable in the CT and in the HU; ``vmap`` over keys and severities makes many
    patients of one.

    Args:
        key: where, of what shape, and by default how severe.
        ct: HU, without channels.
        lungs: labels on the same grid, of which those of lungs count, in
            TotalSegmentator's numbers: 10 and 11 on the left, 12 to 14 on the right.
            They may be a phantom's, a segmentation's or those of ``volumes.lungs``.
            Lesions do not spread from one lung to the other.
        lesions: how severe and of what kind; drawn as for COVID-19 by default.

    Returns:
        The CT, and uint8 on the same grid: ``GROUND_GLASS``, ``CONSOLIDATION`` or 0.

    Raises:
        ValueError: for volumes of different or wrong shapes, a CT that is not in HU,
            and labels without lungs.

    Example:
        >>> import jax, jax.numpy as jnp, synthex_jax as sx
        >>> ct = sx.Volume.from_array(jnp.full((40, 40, 40), -850.0), spacing=4.0)
        >>> lungs = sx.Volume(jnp.full((40, 40, 40), 10, jnp.uint8), ct.affine)
        >>> severe = Lesions.create(0.2)
        >>> ill, where = with_lesions(jax.random.key(0), ct, lungs, lesions=severe)
        >>> round(float((where.data > 0).mean()), 3)
        0.2
    """
    require(
        ct.data.ndim == 3 and lungs.data.shape == ct.data.shape,
        "ct and lungs must be on one grid, (nx, ny, nz) without channels, got shapes "
        f"{ct.data.shape} and {lungs.data.shape}; grids.resampled takes the labels to "
        "the CT's (order=0)",
    )
    require_hounsfield(ct.data)
    if is_concrete(lungs):
        require(
            bool(np.isin(np.asarray(lungs.data), _LOBES).any()),
            f"lungs must hold labels from {_LOBES[0]} to {_LOBES[-1]}, got none; "
            "volumes.lungs.lungs(ct) finds the lungs of a CT",
        )
    kind, key = jax.random.split(key)
    return _with_lesions(key, ct, lungs, lesions or Lesions.draw(kind))


@jax.jit
def _with_lesions(
    key: PRNGKey, ct: Volume, lungs: Volume, lesions: Lesions
) -> tuple[Volume, Volume]:
    place, growth, texture = jax.random.split(key, 3)
    sides, axes = _sides(lungs.data), _axes(ct)
    is_lung = sides > 0
    irregular, inner, grain, *tubes = octaves(
        texture,
        axes,
        [_WAVELENGTH, _WAVELENGTH, _TEXTURE_WAVELENGTH, *[_TUBE_WAVELENGTH] * 2],
        voxel=jnp.max(ct.spacing),
    )
    surface = 1 - _smoothed(is_lung.astype(jnp.float32), axes, _SURFACE)
    begin = _frequency(is_lung, surface, axes, ct.affine)
    spread = _nearness(place, growth, begin, sides, axes, lesions.number)
    spread = spread + _IRREGULAR * irregular + _CLINGING * surface
    glass = _above(spread, is_lung, lesions.share, _GLASS_EDGE)
    is_lesion = is_lung & (glass > 0.5)
    core = spread + _IRREGULAR * inner
    dense = _above(core, is_lesion, lesions.consolidated, _DENSE_EDGE)
    is_dense = is_lesion & (dense > 0.5)

    hu = as_floating(ct.data)
    haze = at_least(lesions.ground_glass + _TEXTURE * grain - hu, 0.0)
    raised = hu + glass * haze
    tube = step_between(1.5 * _TUBE, _TUBE, jnp.hypot(*tubes)) * lesions.bronchograms
    solid = lesions.consolidation + _TEXTURE / 2 * grain
    solid = solid + tube * (_TUBE_HU - solid)
    raised = raised + dense * glass * (at_least(solid, hu) - raised)
    changed = jnp.where(is_lung, raised, hu).astype(ct.data.dtype)
    kinds = GROUND_GLASS * is_lesion + (CONSOLIDATION - GROUND_GLASS) * is_dense
    return replace(ct, data=changed), replace(ct, data=kinds.astype(jnp.uint8))


def _sides(labels: Voxels) -> UInt8[Array, "nx ny nz"]:
    """1 in the left lung, 2 in the right, elsewhere 0."""
    is_lung = (labels >= _LOBES[0]) & (labels <= _LOBES[-1])
    side = jnp.where(labels < RIGHT_LUNG, 1, 2)
    return jnp.where(is_lung, side, 0).astype(jnp.uint8)


def _axes(volume: Volume) -> Axes:
    """Mm along the grid's own axes, from the world's origin."""
    unit = volume.affine[:3, :3] / volume.spacing
    first = unit.T @ volume.affine[:3, 3]
    x, y, z = (
        (first[a] + jnp.arange(n) * volume.spacing[a]).astype(jnp.float32)
        for a, n in enumerate(volume.shape)
    )
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _smoothed(values: Nodes, axes: Axes, width: float) -> Nodes:
    """Means weighted by a Gaussian, over what the grid holds."""
    for axis, coordinates in enumerate(axes):
        along = coordinates.reshape(-1)
        weights = jnp.exp(-(((along[:, None] - along) / width) ** 2) / 2)
        weights = weights / jnp.sum(weights, axis=1, keepdims=True)
        values = jnp.moveaxis(jnp.tensordot(weights, values, (1, axis)), 0, axis)
    return values


def _frequency(
    is_lung: Bool[Array, "nx ny nz"], surface: Nodes, axes: Axes, affine: Matrix4
) -> Nodes:
    """How often lesions begin in each voxel, relative to the most frequent."""
    unit = affine[:3, :3] / jnp.sqrt(jnp.sum(affine[:3, :3] ** 2, axis=0))
    count = at_least(jnp.sum(is_lung, dtype=jnp.float32), 1.0)

    def standardized(direction: Array) -> Nodes:
        along = sum(direction[a] * axes[a] for a in range(3))
        mean = jnp.sum(along * is_lung) / count
        variance = jnp.sum((along - mean) ** 2 * is_lung) / count
        # 1 mm^2: a lung of one voxel has no width.
        return (along - mean) / jnp.sqrt(at_least(variance, 1.0))

    right, front, up = (standardized(unit[world]) for world in range(3))
    slopes = _PERIPHERAL * surface + _OUTWARD * jnp.hypot(right, front)
    logarithm = slopes - _POSTERIOR * front - _BASAL * up
    largest = jnp.max(jnp.where(is_lung, logarithm, -jnp.inf))
    return jnp.where(is_lung, jnp.exp(logarithm - largest), 0.0)


def _nearness(
    place: PRNGKey,
    growth: PRNGKey,
    frequency: Nodes,
    sides: UInt8[Array, "nx ny nz"],
    axes: Axes,
    number: int,
) -> Nodes:
    """Minus the distance to the nearest beginning in the same lung, over its growth."""
    growths = jnp.exp(_SPREAD * jax.random.normal(growth, (number,), jnp.float32))
    planes = jnp.sum(frequency, axis=(1, 2))

    def nearer(nearness: Nodes, drawn: tuple[Vector3, Scalar]) -> tuple[Nodes, None]:
        chances, speed = drawn
        # Index by index: sums over all voxels at once would lose float32's digits.
        i = _drawn(chances[0], planes)
        j = _drawn(chances[1], jnp.sum(frequency[i], axis=1))
        k = _drawn(chances[2], frequency[i, j])
        at = (axes[0][i, 0, 0], axes[1][0, j, 0], axes[2][0, 0, k])
        square = sum((axis - p) ** 2 for axis, p in zip(axes, at, strict=True))
        same = sides == sides[i, j, k]
        # 1 m away is beyond any lesion.
        here = jnp.where(same, -jnp.sqrt(square) / speed, -1e3)
        return jnp.maximum(nearness, here), None

    start = jnp.full(frequency.shape, -1e3, jnp.float32)
    chances = jax.random.uniform(place, (number, 3), jnp.float32)
    return lax.scan(nearer, start, (chances, growths))[0]


def _drawn(chance: Scalar, weights: Float[Array, "n"]) -> Int[Array, ""]:
    """An index with a probability by weight, from a chance between 0 and 1."""
    total = jnp.cumsum(weights)
    return jnp.sum(total < chance * total[-1])


def _above(
    values: Nodes, within: Bool[Array, "nx ny nz"], share: Scalar, edge: float
) -> Nodes:
    """1 above the level that a share of a region exceeds, 0 below, soft between.

    The share is met to a voxel; of share 0 nothing is left.
    """
    count = jnp.sum(within)
    low = jnp.min(jnp.where(within, values, jnp.inf)) - edge
    high = jnp.max(jnp.where(within, values, -jnp.inf)) + edge

    def halved(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        enough = jnp.sum(within & (values > middle)) >= share * count
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    level, _ = lax.fori_loop(0, _HALVINGS, halved, (low, high))
    level = jnp.where(count > 0, level, 0.0)
    return step_between(-edge / 2, edge / 2, values - level)
