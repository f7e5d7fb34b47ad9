"""What a collision sends to the detector: the next-event estimator."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import (
    compton_energy,
    compton_phase,
    rayleigh_phase,
)
from synthex_jax.scatter.medium import Encounter, Medium, mixed
from synthex_jax.scatter.photons import Photons
from synthex_jax.scatter.tracking import path_lengths


def expected_at_detector(
    substances: tuple[Material, ...],
    medium: Medium,
    camera: Camera,
    flock: Photons,
    met: Encounter,
    shares: Float[Array, "lanes substances"],
    end: Float[Array, "2 lanes"],
    offset: Float[Array, "lanes"],
) -> tuple[Float[Array, "lanes"], Float[Array, "lanes"], Int[Array, "lanes"]]:
    """What photons that collide send to points of the detector.

    Args:
        substances: of the medium.
        medium: between the collision and the detector.
        camera: of the detector.
        flock: the photons, at the collision.
        met: the cross sections there.
        shares: fractions of the voxel over its attenuation, mm.
        end: the points, as shares of the detector's height and width.
        offset: for ``path_lengths``.

    Returns:
        keV and keV^2 that the detector takes, and the number of the pixel of the point.
    """
    rows, cols = camera.shape
    pixels = end.T * jnp.asarray([rows, cols], end.dtype)
    index = jnp.minimum(pixels.astype(jnp.int32), jnp.asarray([rows - 1, cols - 1]))
    way = camera.back_project(pixels - 0.5).T - flock.position
    distance = jnp.sqrt(jnp.maximum(jnp.sum(way**2, axis=0), 1e-6))
    way = way / distance
    cosine = jnp.clip(jnp.sum(way * flock.direction, axis=0), -1.0, 1.0)
    incidence = jnp.sum(way * camera.principal_direction[:, None], axis=0)
    area = rows * cols * jnp.prod(camera.pitch)
    solid_angle = area * jnp.maximum(incidence, 0.0) / distance**2

    lengths = path_lengths(medium, flock.position, way, distance, offset)
    after = compton_energy(flock.energy, cosine)
    left = medium.at_energy(after)
    by_compton, by_rayleigh = (
        jnp.stack([phase(s, flock.energy, cosine) for s in substances], axis=-1)
        for phase in (compton_phase, rayleigh_phase)
    )
    scale = flock.weight * solid_angle
    compton = mixed(shares, met.compton * by_compton) * scale
    compton *= jnp.exp(-mixed(lengths, left.total))
    rayleigh = mixed(shares, met.rayleigh * by_rayleigh) * scale
    rayleigh *= jnp.exp(-mixed(lengths, met.total))
    return (
        compton * left.first + rayleigh * met.first,
        compton * left.second + rayleigh * met.second,
        index[:, 0] * cols + index[:, 1],
    )
