"""Random scattering angles, and directions turned by them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import compton_phase, rayleigh_phase
from synthex_jax.physics.tables import HIGHEST_KEV, LOWEST_KEV

# The angle of a given rank moves by 7 % from energy to energy and in between along a
# line: within 0.2 %.
_ENERGIES = 64
# Ranks lie denser where angles are large and rare: see ``angle_tables``.
_RANKS = 256
# Nodes of the integral over the angle, denser forward, where Rayleigh's peak is.
_ANGLES = 1024

# Additive recurrences of low discrepancy in three dimensions and in two, in units of
# 2^-32: powers of the inverse of the root of x^(d + 1) = x + 1 (Roberts 2018, "The
# unreasonable effectiveness of quasirandom sequences").
STARTS = [round(2**32 * 1.2207440846057596**-k) for k in (1, 2, 3)]
ENDS = [round(2**32 * 1.324717957244746**-k) for k in (1, 2)]


def angle_tables(
    substances: tuple[Material, ...],
) -> Float[Array, "processes substances energies ranks"]:
    """Quantiles of 1 - cosine of the scattering angle.

    The share of photons that is scattered by more than node k is (k / last)^2.

    Args:
        substances: Compton scattering by each comes first, then Rayleigh scattering.

    Returns:
        from 2 down to 0 along the last axis, at energies of equal ratios.
    """
    angles = np.pi * np.linspace(0.0, 1.0, _ANGLES) ** 2
    cosines = jnp.asarray(np.cos(angles), float)
    falls = jnp.asarray(1 - np.cos(angles), float)
    energies = np.geomspace(LOWEST_KEV, HIGHEST_KEV, _ENERGIES)[:, None]
    wanted = jnp.linspace(0.0, 1.0, _RANKS) ** 2

    def quantiles(density: Float[Array, "angles"]) -> Float[Array, "ranks"]:
        pieces = (density[1:] + density[:-1]) / 2 * jnp.diff(falls)
        # From the back, so that the rare large angles keep their digits.
        beyond = jnp.concatenate([jnp.zeros(1), jnp.cumsum(pieces[::-1])])
        return jnp.interp(wanted, beyond / beyond[-1], falls[::-1])

    return jnp.stack(
        [
            jnp.stack(
                [jax.vmap(quantiles)(phase(s, energies, cosines)) for s in substances]
            )
            for phase in (compton_phase, rayleigh_phase)
        ]
    )


def draw_fall(
    tables: Float[Array, "processes substances energies ranks"],
    is_rayleigh: Bool[Array, "lanes"],
    substance: Int[Array, "lanes"],
    energy: Float[Array, "lanes"],
    uniform: Float[Array, "lanes"],
) -> Float[Array, "lanes"]:
    """1 - cosine of random scattering angles.

    Args:
        tables: of ``angle_tables``.
        is_rayleigh: or else Compton scattering.
        substance: that scatters, its number.
        energy: keV, before.
        uniform: random numbers, uniform between 0 and 1.
    """
    steps_per_unit = (_ENERGIES - 1) / np.log(HIGHEST_KEV / LOWEST_KEV)
    row = jnp.clip(jnp.log(energy / LOWEST_KEV) * steps_per_unit, 0, _ENERGIES - 1)
    rank = jnp.sqrt(uniform) * (_RANKS - 1)
    low_row = jnp.minimum(row.astype(jnp.int32), _ENERGIES - 2)
    low_rank = jnp.minimum(rank.astype(jnp.int32), _RANKS - 2)
    along, across = row - low_row, rank - low_rank
    flat = tables.reshape(-1)
    first = (is_rayleigh * tables.shape[1] + substance) * _ENERGIES + low_row
    first = first * _RANKS + low_rank

    def at(offset: int) -> Float[Array, "lanes"]:
        return flat.at[first + offset].get(mode="promise_in_bounds")

    return (1 - along) * ((1 - across) * at(0) + across * at(1)) + along * (
        (1 - across) * at(_RANKS) + across * at(_RANKS + 1)
    )


def draw_index(
    weights: Float[Array, "lanes choices"], uniform: Float[Array, "lanes"]
) -> Int[Array, "lanes"]:
    """Random choices with probabilities in proportion to weights, none negative."""
    above = jnp.cumsum(weights, axis=-1)
    chosen = jnp.sum(above[:, :-1] <= uniform[:, None] * above[:, -1:], axis=-1)
    return chosen.astype(jnp.int32)


def turned(
    direction: Float[Array, "3 lanes"],
    fall: Float[Array, "lanes"],
    azimuth: Float[Array, "lanes"],
) -> Float[Array, "3 lanes"]:
    """Unit vectors at an angle to others.

    The frame around a direction is that of Duff et al. 2017 (J. Computer Graphics
    Techniques 6(1)), which has no pole.

    Args:
        direction: unit vectors.
        fall: 1 - cosine of the angle.
        azimuth: around the direction, radians.
    """
    x, y, z = direction
    sign = jnp.where(z < 0, -1.0, 1.0)
    a = -1 / (sign + z)
    b = x * y * a
    first = jnp.stack([1 + sign * x * x * a, sign * b, -sign * x])
    second = jnp.stack([b, sign + y * y * a, -y])
    sine = jnp.sqrt(jnp.maximum(fall * (2 - fall), 0.0))
    across = sine * (jnp.cos(azimuth) * first + jnp.sin(azimuth) * second)
    new = (1 - fall) * direction + across
    # Rounding must not add up over many turns.
    return new / jnp.sqrt(jnp.sum(new**2, axis=0))


def recurrence(
    numbers: UInt32[Array, "lanes"], multipliers: list[int], shifts: UInt32[Array, "n"]
) -> Float[Array, "n lanes"]:
    """Points of an additive recurrence, in [0, 1): sums of integers, exact."""
    multiplier = jnp.asarray(multipliers, jnp.uint32)[:, None]
    bits = numbers * multiplier + shifts[:, None]
    # The 24 upper ones are what float32 holds.
    return (bits >> 8).astype(float) * 2.0**-24
