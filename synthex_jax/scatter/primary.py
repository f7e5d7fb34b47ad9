"""Photons straight from the source, on their way through a coarse body."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import between
from synthex_jax.physics.signal import Illumination
from synthex_jax.physics.spectra import equal_shares
from synthex_jax.scatter.body import CoarseBody, ReducedVolume, contracted
from synthex_jax.scatter.flights import Pixels
from synthex_jax.volumes.composition import Composition

# Points along a ray in each layer.
_POINTS = 4
# Optical depths beyond which a pixel's spectrum is taken to harden no more: e^-12 of
# the photons are left.
_DEEPEST = 12.0
# Optical depth at which a body begins to count: without any the beam is grouped alike.
_THIN = 1e-3


class Primary(NamedTuple):
    """Rays from the source to coarse pixels, through the layers of a body.

    Attributes:
        fractions: (layers, rows, cols, substances), means along the rays.
        length: (rows, cols), mm of a ray in a layer.
        directions: (rows, cols, 3), unit vectors, camera (z, y, x).
        energies: (energies,), keV.
        photons: (rows, cols, energies), a pixel, without the body.
    """

    fractions: Float[Array, "layers rows cols substances"]
    length: Float[Array, "rows cols"]
    directions: Float[Array, "rows cols 3"]
    energies: Float[Array, "energies"]
    photons: Float[Array, "rows cols energies"]

    @classmethod
    def create(
        cls,
        volume: ReducedVolume,
        body: CoarseBody,
        composition: Composition,
        camera: Camera,
        illumination: Illumination,
        energies: int,
    ) -> Primary:
        """Sampled from the finer volume: at a body's rim centimeters make a difference.

        Args:
            volume: of the composition.
            body: whose layers are taken.
            composition: whose substances are taken.
            camera: with the illumination's pixels.
            illumination: without the body.
            energies: how many there shall be, or as few as the illumination has.
        """
        pixels = Pixels.of(camera)
        slopes = jnp.stack(
            jnp.broadcast_arrays(pixels.cols, pixels.rows[:, None], pixels.distance), -1
        )
        slopes /= pixels.distance
        offsets = (jnp.arange(_POINTS) + 0.5) / _POINTS - 0.5
        depths = body.places(0)[:, None] + body.steps[0] * offsets
        points = depths[..., None, None, None] * slopes
        fractions = jnp.mean(volume.at(points, camera), axis=1)
        secant = jnp.sqrt(jnp.sum(slopes**2, axis=-1))
        length = body.steps[0] * secant
        paths = length[..., None] * jnp.sum(fractions, axis=0)
        groups = _grouped(illumination, composition, paths, energies)
        directions = slopes[..., ::-1] / secant[..., None]
        return cls(fractions, length, directions, *groups)

    def arriving(
        self, attenuation: Float[Array, "energies substances"]
    ) -> Float[Array, "layers rows cols energies"]:
        """Photons at the middle of each layer, if they are attenuated so (1/mm)."""
        before = jnp.cumsum(self.fractions, axis=0) - self.fractions / 2
        depths = contracted("jvum,vu,gm->jvug", before, self.length, attenuation)
        return self.photons * jnp.exp(-depths)


def _grouped(
    illumination: Illumination,
    composition: Composition,
    paths: Float[Array, "rows cols substances"],
    count: int,
) -> tuple[Float[Array, "energies"], Float[Array, "rows cols energies"]]:
    """Fewer energies that carry the same energy through the body, in each pixel.

    The groups share evenly what a single scattering would bring to the detector were
    the way out as the way on: n E tau exp(-tau).
    """

    def left(energies: Float[Array, "k"]) -> tuple[Array, Array]:
        depths = contracted(
            "vum,km->vuk", paths, composition.linear_attenuation(energies)
        )
        depths = between(depths, 0.0, _DEEPEST)
        return depths, energies * jnp.exp(-depths)

    energies = illumination.energies
    depths, energy_left = left(energies)
    weights = illumination.photons * energy_left * (depths + _THIN)
    weights = shares_of_sum(jnp.mean(weights, axis=(0, 1)))
    shares = equal_shares(weights, min(count, len(energies)))
    parts = weights[:, None] * shares
    grouped = jnp.sum(parts * energies[:, None], axis=0) / jnp.sum(parts, axis=0)
    carried = contracted("vuk,kg->vug", illumination.photons * energy_left, shares)
    return grouped, carried / left(grouped)[1]


def shares_of_sum(values: Float[Array, "n"]) -> Float[Array, "n"]:
    """Values over their sum, plus a millionth: never all zero, and finite slopes."""
    total = jnp.sum(values)
    return values / jnp.where(total > 0, total, 1.0) + 1e-6
