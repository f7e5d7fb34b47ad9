"""Photons on their straight ways through voxels."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from synthex_jax.numerics import away_from_zero, product
from synthex_jax.scatter.medium import Encounter, Medium, mixed
from synthex_jax.typing import PRNGKey

# When all but one in so many have collided or left, these wait no longer for the rest:
# beside a metal, whose attenuation sets the rate of candidates everywhere, some try
# dozens of times.
_PATIENCE = 4


class Flight(NamedTuple):
    """How far photons have come.

    Attributes:
        travelled: (lanes,), mm.
        collided: (lanes,), at the end of that way.
        flying: (lanes,), still; who neither collided nor flies has left.
        fractions: (lanes, substances), of the voxel where it is.
    """

    travelled: Float[Array, "lanes"]
    collided: Bool[Array, "lanes"]
    flying: Bool[Array, "lanes"]
    fractions: Float[Array, "lanes substances"]


def chord(
    medium: Medium,
    position: Float[Array, "3 lanes"],
    direction: Float[Array, "3 lanes"],
) -> tuple[Float[Array, "lanes"], Float[Array, "lanes"]]:
    """Where rays enter and leave the grid's box, mm from where they start.

    Those that miss it leave before they enter. A ray that starts inside enters at 0.
    """
    start, slope = _in_voxels(medium, position, direction)
    slope = away_from_zero(slope, 1e-9)  # a step of 1 m crosses no voxel then
    size = jnp.asarray(medium.shape, start.dtype)[:, None]
    ends = (-0.5 - start) / slope, (size - 0.5 - start) / slope
    enter = jnp.max(jnp.minimum(*ends), axis=0)
    leave = jnp.min(jnp.maximum(*ends), axis=0)
    return jnp.maximum(enter, 0.0), leave


def fly(
    key: PRNGKey,
    medium: Medium,
    position: Float[Array, "3 lanes"],
    direction: Float[Array, "3 lanes"],
    met: Encounter,
    alive: Bool[Array, "lanes"],
) -> Flight:
    """To the next collision, by delta tracking (Woodcock et al. 1965, ANL-7050).

    Candidates for a collision come at the rate of the majorant, and each is one with
    probability attenuation over majorant: no border between voxels is looked for. A
    few photons may still be flying at the end, to be sent on from where they are.

    Args:
        key: consumed.
        medium: in which photons fly.
        position: world mm, inside the grid's box.
        direction: unit vectors, world.
        met: the cross sections at their energies.
        alive: the others stay where they are.
    """
    _, leave = chord(medium, position, direction)
    start, slope = _in_voxels(medium, position, direction)
    rate = jnp.maximum(met.majorant, 1e-12)  # 1/mm; where there is nothing at all

    most = jnp.sum(alive) // _PATIENCE

    def is_open(state: tuple[Int[Array, ""], Flight]) -> Bool[Array, ""]:
        return jnp.sum(state[1].flying) > most

    def advance(state: tuple[Int[Array, ""], Flight]) -> tuple[Array, Flight]:
        step, flight = state
        draws = jax.random.uniform(jax.random.fold_in(key, step), (2, *rate.shape))
        further = flight.travelled - jnp.log1p(-draws[0]) / rate
        travelled = jnp.where(flight.flying, further, flight.travelled)
        inside = flight.flying & (travelled < leave)
        fractions = medium.at_place(start + travelled * slope)
        is_real = draws[1] * rate < mixed(fractions, met.total)
        collided = inside & is_real
        return step + 1, Flight(
            travelled,
            flight.collided | collided,
            inside & ~is_real,
            jnp.where(collided[:, None], fractions, flight.fractions),
        )

    nothing = jnp.zeros_like(met.total)
    still = Flight(jnp.zeros_like(rate), jnp.zeros_like(alive), alive, nothing)
    return lax.while_loop(is_open, advance, (jnp.int32(0), still))[1]


def path_lengths(
    medium: Medium,
    position: Float[Array, "3 lanes"],
    direction: Float[Array, "3 lanes"],
    farthest: Float[Array, "lanes"],
    offset: Float[Array, "lanes"],
) -> Float[Array, "lanes substances"]:
    """Through each substance on the way out of the grid.

    Each way is cut into as many equal pieces as the grid's longest side has voxels, and
    one point of each is looked at.

    Args:
        medium: that is crossed.
        position: world mm, inside the grid's box.
        direction: unit vectors, world.
        farthest: mm, where ways end that do not leave the box before.
        offset: where in its piece a point lies, between 0 and 1; random, the expected
            lengths are exact.
    """
    pieces = max(medium.shape)
    _, leave = chord(medium, position, direction)
    length = jnp.clip(leave, 0.0, farthest) / pieces
    start, slope = _in_voxels(medium, position, direction)
    step = slope * length
    start = start + offset * step

    def add(
        piece: Int[Array, ""], total: Float[Array, "lanes substances"]
    ) -> Float[Array, "lanes substances"]:
        return total + medium.at_place(start + piece * step)

    nothing = jnp.zeros((len(length), medium.fractions.shape[-1]), length.dtype)
    return lax.fori_loop(0, pieces, add, nothing) * length[:, None]


def _in_voxels(
    medium: Medium,
    position: Float[Array, "3 lanes"],
    direction: Float[Array, "3 lanes"],
) -> tuple[Float[Array, "3 lanes"], Float[Array, "3 lanes"]]:
    """Places in voxel coordinates, and voxels a mm along directions."""
    matrix = medium.voxel_from_world
    place = product(matrix[:3, :3], position) + matrix[:3, 3:]
    return place, product(matrix[:3, :3], direction)
