"""Photons on their way, many side by side: their start, and what a collision does."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from synthex_jax.geometry.camera import Camera
from synthex_jax.physics.scattering import compton_energy
from synthex_jax.physics.tables import LOWEST_KEV
from synthex_jax.scatter.medium import Encounter, Medium, mixed
from synthex_jax.scatter.sampling import (
    STARTS,
    draw_fall,
    draw_index,
    recurrence,
    turned,
)
from synthex_jax.scatter.tracking import chord

# Photons that fly side by side; whoever has ended is replaced at once.
LANES = 2**14
# A photon of less than the first share of its weight goes on with the second or ends.
_FAINT, _REVIVED = 0.1, 0.25


class Photons(NamedTuple):
    """Photons on their way, one a lane.

    Attributes:
        position: (3, lanes), world mm.
        direction: (3, lanes), unit vectors, world.
        energy: (lanes,), keV.
        weight: (lanes,), 1 at the start.
        order: (lanes,), how often it has been scattered.
        history: (lanes,), its number.
        alive: (lanes,).
    """

    position: Float[Array, "3 lanes"]
    direction: Float[Array, "3 lanes"]
    energy: Float[Array, "lanes"]
    weight: Float[Array, "lanes"]
    order: Int[Array, "lanes"]
    history: Int[Array, "lanes"]
    alive: Bool[Array, "lanes"]


class Source(NamedTuple):
    """Where photons come from and which.

    Attributes:
        camera: with the pixels that they fly to.
        energies: (bins,), keV.
        below: (pixels * bins,), the share of the photons up to each pixel and bin.
        shifts: (3,), of the sequence that starts are drawn from.
    """

    camera: Camera
    energies: Float[Array, "bins"]
    below: Float[Array, "choices"]
    shifts: UInt32[Array, "3"]


def nobody() -> Photons:
    """Lanes that wait for their first photon."""
    along_z = jnp.zeros((3, LANES)).at[2].set(1.0)
    integers = jnp.zeros(LANES, jnp.int32)
    return Photons(
        jnp.zeros((3, LANES)),
        along_z,
        jnp.full(LANES, LOWEST_KEV),
        jnp.zeros(LANES),
        integers,
        integers,
        jnp.zeros(LANES, bool),
    )


def refilled(
    flock: Photons,
    source: Source,
    medium: Medium,
    started: Int[Array, ""],
    histories: Int[Array, ""],
) -> tuple[Photons, Int[Array, ""]]:
    """New photons in the lanes whose last one has ended, and the number begun."""
    free = ~flock.alive
    history = started + jnp.cumsum(free, dtype=jnp.int32) - 1
    begins = free & (history < histories)
    history = jnp.where(begins, history, flock.history)
    draws = recurrence(history.astype(jnp.uint32), STARTS, source.shifts)
    choice = jnp.searchsorted(source.below, draws[0], side="right")
    choice = jnp.minimum(choice, len(source.below) - 1)
    pixel, energy_bin = jnp.divmod(choice, len(source.energies))
    camera = source.camera
    corner = jnp.stack(jnp.divmod(pixel, camera.shape[1]), axis=-1) - 0.5
    target = camera.back_project(corner + draws[1:].T).T
    origin = camera.source[:, None]
    direction = target - origin
    direction = direction / jnp.sqrt(jnp.sum(direction**2, axis=0))
    enter, leave = chord(medium, jnp.broadcast_to(origin, target.shape), direction)
    new = Photons(
        origin + enter * direction,
        direction,
        source.energies[energy_bin],
        jnp.ones_like(enter),
        jnp.zeros_like(flock.order),
        history,
        leave > enter,
    )
    flock = jax.tree.map(lambda a, b: jnp.where(begins, a, b), new, flock)
    return flock, jnp.minimum(started + jnp.sum(free, dtype=jnp.int32), histories)


def scattered(
    tables: Float[Array, "processes substances energies ranks"],
    flock: Photons,
    met: Encounter,
    fractions: Float[Array, "lanes substances"],
    total: Float[Array, "lanes"],
    draws: Float[Array, "5 lanes"],
) -> Photons:
    """The photons after the collision, those that end not alive."""
    compton, rayleigh = mixed(fractions, met.compton), mixed(fractions, met.rayleigh)
    scattering = compton + rayleigh
    is_rayleigh = draws[0] * scattering < rayleigh
    coefficients = jnp.where(is_rayleigh[:, None], met.rayleigh, met.compton)
    substance = draw_index(jnp.maximum(fractions, 0.0) * coefficients, draws[1])
    fall = draw_fall(tables, is_rayleigh, substance, flock.energy, draws[2])
    energy = jnp.where(
        is_rayleigh, flock.energy, compton_energy(flock.energy, 1 - fall)
    )
    albedo = scattering / jnp.where(total > 0, total, 1.0)
    weight = flock.weight * jnp.minimum(albedo, 1.0)
    is_faint = weight < _FAINT
    survives = ~is_faint | (draws[4] * _REVIVED < weight)
    return flock._replace(
        direction=turned(flock.direction, fall, 2 * jnp.pi * draws[3]),
        energy=energy,
        weight=jnp.where(is_faint, _REVIVED, weight),
        alive=survives & (energy > LOWEST_KEV),
    )
