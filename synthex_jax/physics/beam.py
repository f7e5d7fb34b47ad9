r"""Beam: how many photons of which energy a tube sends to each pixel.

Without a body, the pixel at an angle $\theta$ to the central ray receives

$$ n_k = N\,p_k\,\cos^q\theta\;h_k\;
   e^{-\tau_k (1/\cos\theta - 1)}\,e^{-\mu_s(E_k)\,t_s / \cos\theta}\;c $$

photons of energy $E_k$: of the $N p_k$ on the central ray, less by the inverse square
of the distance ($\cos^2$) and the pixel's obliquity ($\cos$), so that $q = 3$; by the
heel effect $h$, by the longer way through flat filters of optical depth $\tau_k$, by
shaped filters of thickness $t_s$ and by the collimator $c$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import require, require_positive
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.physics.collimators import Collimator
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.shaped_filters import ShapedFilter
from synthex_jax.physics.signal import Illumination
from synthex_jax.physics.spectra import (
    HIGHEST_TAKEOFF_DEG,
    LOWEST_TAKEOFF_DEG,
    Filter,
    Spectrum,
    equal_shares,
    filter_depth,
    is_occupied,
    require_tube,
    tungsten,
)
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.typing import ArrayLike, Scalar, Shape2

Side = str
"""Of an image: left, right, top or bottom."""

# Nodes of the heel effect's table: between them log fluence is a line in the angle,
# within 0.1 % of it at take-off angles above 3 degrees.
_HEEL_NODES = 25


@noun
@dataclass(frozen=True)
class Heel:
    """How a tube's anode dims and hardens the beam on its own side.

    Attributes:
        angles: (nodes,), radians off the central ray towards the cathode, rising.
        log_ratios: (nodes, bins), logarithm of the fluence over that on the central
            ray.
        anode: the side of the image that the anode is on, static.
    """

    angles: Float[Array, "nodes"]
    log_ratios: Float[Array, "nodes bins"]
    anode: Side = field(metadata={"static": True})

    def ratios(self, plane: DetectorPlane) -> Float[Array, "rows cols bins"]:
        """Fluence over that on the central ray; one of rows and cols may be 1."""
        along_rows = self.anode in ("left", "right")
        places = plane.x[:1, :] if along_rows else plane.y[:, :1]
        towards_cathode = places if self.anode in ("left", "top") else -places
        angle = jnp.arctan(towards_cathode / plane.distance)
        ratio = jax.vmap(jnp.interp, (None, None, 1), -1)(
            angle, self.angles, self.log_ratios
        )
        return jnp.exp(ratio)


@noun
@dataclass(frozen=True)
class Beam:
    """A beam: its photons on the central ray, and how they thin out over the field.

    Attributes:
        spectrum: on the central ray behind all flat filters; its fluence sums to 1.
        photons: (), the mean number that a pixel on the central ray receives without
            a body.
        filter_depth: (bins,), optical depth of the flat filters on the central ray.
        falloff: (), the power q of the cosine that the photons of a pixel go with: 3
            for a flat detector and a point source, 0 for an even field.
        heel: the anode's effect, or None.
        shaped: filters whose thickness varies over the field.
        collimator: what limits the field, or None.
    """

    spectrum: Spectrum
    photons: Scalar
    filter_depth: Float[Array, "bins"]
    falloff: Scalar
    heel: Heel | None = None
    shaped: tuple[ShapedFilter, ...] = ()
    collimator: Collimator | None = None

    @classmethod
    def monochromatic(
        cls, energy: ArrayLike, *, photons: ArrayLike = 1.0, falloff: ArrayLike = 3.0
    ) -> Beam:
        """Photons of one energy, keV; see ``from_spectrum``.

        Raises:
            ValueError: for an energy outside 5 to 160 keV, photons that are not
                positive.
        """
        return cls.from_spectrum(
            Spectrum.monochromatic(energy), photons=photons, falloff=falloff
        )

    @classmethod
    def from_spectrum(
        cls,
        spectrum: Spectrum,
        *,
        photons: ArrayLike,
        falloff: ArrayLike = 3.0,
        shaped: Sequence[ShapedFilter] = (),
        collimator: Collimator | None = None,
    ) -> Beam:
        """From a spectrum as it is, in as many bins as it has.

        Args:
            spectrum: behind all flat filters; ``Spectrum.binned`` makes it short.
            photons: a pixel on the central ray without a body.
            falloff: the power of the cosine; 0 for an even field.
            shaped: bow-ties and wedges.
            collimator: of the field.

        Raises:
            ValueError: for photons that are not positive.
        """
        _require_photons(photons)
        return cls(
            spectrum.normalized(),
            jnp.asarray(photons, float),
            jnp.zeros_like(spectrum.energies),
            jnp.asarray(falloff, float),
            shaped=tuple(shaped),
            collimator=collimator,
        )

    @classmethod
    def tungsten(
        cls,
        kvp: ArrayLike,
        *,
        photons: ArrayLike,
        filtration: Sequence[Filter] = (),
        anode_angle_deg: ArrayLike = 12.0,
        anode: Side | None = None,
        bins: int = 16,
        falloff: ArrayLike = 3.0,
        shaped: Sequence[ShapedFilter] = (),
        collimator: Collimator | None = None,
    ) -> Beam:
        """The beam of a tube with a tungsten anode.

        Differentiable in voltage, photons, anode angle and all thicknesses.

        Args:
            kvp: (), peak tube voltage, 40 to 150.
            photons: a pixel on the central ray without a body.
            filtration: flat sheets; their obliquity is taken into account.
            anode_angle_deg: (), between the anode's face and the central ray.
            anode: the side of the image that the anode is on; without it there is no
                heel effect.
            bins: of equal fluence that the spectrum is grouped into, even, static.
            falloff: the power of the cosine; 0 for an even field.
            shaped: bow-ties and wedges.
            collimator: of the field.

        Raises:
            ValueError: as ``tungsten``; for photons that are not positive, an odd
                number of bins, another side than left, right, top and bottom.
        """
        require_tube(kvp, anode_angle_deg, 0.0, filtration)
        _require_photons(photons)
        require(
            anode in (None, "left", "right", "top", "bottom"),
            f"anode must be 'left', 'right', 'top', 'bottom' or None, got {anode!r}",
        )
        spectrum, depth, heel = _tube(
            jnp.asarray(kvp, float),
            jnp.asarray(anode_angle_deg, float),
            tuple(filtration),
            bins,
            anode,
        )
        return cls(
            spectrum,
            jnp.asarray(photons, float),
            depth,
            jnp.asarray(falloff, float),
            heel,
            tuple(shaped),
            collimator,
        )

    def illumination(self, plane: DetectorPlane) -> Illumination:
        """The photons that arrive at each pixel without a body."""
        cosine = plane.cosine[..., None]
        spectrum = self.spectrum
        share = cosine**self.falloff * jnp.exp(-self.filter_depth * (1 / cosine - 1))
        if self.heel is not None:
            share = share * self.heel.ratios(plane)
        for one in self.shaped:
            mu = linear_attenuation(one.substance, spectrum.energies)
            share = share * jnp.exp(-mu * one.thickness(plane)[..., None] / cosine)
        if self.collimator is not None:
            share = share * self.collimator.transmission(plane)[..., None]
        return Illumination(spectrum.energies, self.photons * spectrum.fluence * share)


def coarse_illumination(beam: Beam, camera: Camera, shape: Shape2) -> Illumination:
    """The photons on a camera's detector gathered in fewer, larger pixels.

    Args:
        beam: its photons are those of one of the camera's own pixels.
        camera: one view; only its detector matters.
        shape: (rows, cols) of the pixels to gather in, static.

    Returns:
        Mean numbers in each of the larger pixels.
    """
    share = camera.shape[0] * camera.shape[1] / (shape[0] * shape[1])
    beam = replace(beam, photons=beam.photons * share)
    return beam.illumination(DetectorPlane.from_camera(camera.resized(shape)))


@partial(jax.jit, static_argnums=(3, 4))
def _tube(
    kvp: Scalar,
    anode_angle_deg: Scalar,
    filtration: tuple[Filter, ...],
    bins: int,
    anode: Side | None,
) -> tuple[Spectrum, Float[Array, "bins"], Heel | None]:
    """The spectrum in bins, the optical depth of its filters, and the heel effect."""
    fine = tungsten(kvp, anode_angle_deg=anode_angle_deg, filtration=filtration)
    spectrum = fine.binned(bins).normalized()
    depth = filter_depth(filtration, spectrum.energies)
    if anode is None:
        return spectrum, depth, None
    return spectrum, depth, _heel(kvp, anode_angle_deg, fine, bins, anode)


def _heel(kvp: Scalar, central: Scalar, fine: Spectrum, bins: int, anode: Side) -> Heel:
    """Fluence by angle of the bins that the central ray's spectrum is grouped into."""
    # Denser near the anode's face, where fluence falls the fastest.
    share = np.linspace(0.0, 1.0, _HEEL_NODES) ** 2
    takeoffs = LOWEST_TAKEOFF_DEG + share * (HIGHEST_TAKEOFF_DEG - LOWEST_TAKEOFF_DEG)
    bare = lambda takeoff: tungsten(kvp, anode_angle_deg=takeoff).fluence
    on_axis = bare(central)
    occupied = is_occupied(on_axis)
    ratios = jax.vmap(bare)(jnp.asarray(takeoffs)) / jnp.where(occupied, on_axis, 1.0)
    # Flat filters are in front of all rays alike: ratios are weighted as filtered.
    weights = fine.fluence[:, None] * equal_shares(fine.fluence, bins // 2)
    grouped = jnp.where(occupied, ratios, 0.0) @ weights / jnp.sum(weights, axis=0)
    log_ratios = jnp.repeat(jnp.log(grouped), 2, axis=-1)
    return Heel(jnp.deg2rad(takeoffs - central), log_ratios, anode)


def _require_photons(photons: ArrayLike) -> None:
    require_positive("photons", photons, "(a pixel, without a body)")
