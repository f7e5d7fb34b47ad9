from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.compounds import material
from synthex_jax.physics.scattering import compton_phase, rayleigh_phase
from synthex_jax.scatter import sampling

SUBSTANCES = ("water", "I")
LANES = 20_000


@pytest.fixture(scope="module")
def tables():
    substances = tuple(material(name) for name in SUBSTANCES)
    return jax.jit(lambda: sampling.angle_tables(substances))()


@pytest.mark.parametrize("energy", [9.0, 31.0, 60.0, 140.0])
@pytest.mark.parametrize("substance", [0, 1])
@pytest.mark.parametrize("is_rayleigh", [False, True])
def test_angles_follow_their_distribution(tables, energy, substance, is_rayleigh):
    """Moments of even ranks against quadrature of the phase function."""
    full = jnp.full(LANES, substance)
    falls = sampling.draw_fall(
        tables,
        jnp.full(LANES, is_rayleigh),
        full,
        jnp.full(LANES, energy),
        (jnp.arange(LANES) + 0.5) / LANES,
    )
    angles = np.linspace(0, np.pi, 4001)
    phase = rayleigh_phase if is_rayleigh else compton_phase
    density = 2 * np.pi * np.sin(angles)
    density *= np.asarray(phase(SUBSTANCES[substance], energy, np.cos(angles)))
    for power in (0.5, 1, 2):
        expected = np.trapezoid(density * (1 - np.cos(angles)) ** power, angles)
        # Lines between 256 ranks and 64 energies.
        np.testing.assert_allclose(jnp.mean(falls**power), expected, rtol=5e-3)
    assert jnp.all((falls >= 0) & (falls <= 2))


def test_turned_by_the_angle_and_evenly_around(rng):
    directions = rng.normal(size=(3, 1000))
    directions[:, :4] = [[0, 0, 1, 1e-7], [0, 0, 0, 0], [1, -1, 0, -1]]
    directions = jnp.asarray(directions / np.linalg.norm(directions, axis=0))
    falls = jnp.asarray(rng.uniform(0, 2, 1000))
    azimuths = 2 * jnp.pi * jnp.asarray(rng.random(1000))
    one = sampling.turned(directions, falls, azimuths)
    opposite = sampling.turned(directions, falls, azimuths + jnp.pi)
    np.testing.assert_allclose(jnp.sum(one**2, 0), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(one * directions, 0), 1 - falls, atol=1e-5)
    np.testing.assert_allclose(one + opposite, 2 * (1 - falls) * directions, atol=1e-5)


def test_choices_come_in_proportion():
    weights = jnp.broadcast_to(jnp.array([1.0, 0.0, 3.0]), (1000, 3))
    chosen = sampling.draw_index(weights, (jnp.arange(1000) + 0.5) / 1000)
    np.testing.assert_array_equal(np.bincount(chosen, minlength=3), [250, 0, 750])
    none = sampling.draw_index(jnp.zeros((2, 3)), jnp.array([0.2, 0.8]))
    assert jnp.all((none >= 0) & (none < 3))


@pytest.mark.parametrize("multipliers", [sampling.STARTS, sampling.ENDS])
def test_recurrence_fills_space_evenly(multipliers):
    shifts = jax.random.bits(jax.random.key(0), (len(multipliers),), jnp.uint32)
    points = sampling.recurrence(
        jnp.arange(1024, dtype=jnp.uint32), multipliers, shifts
    )
    assert points.shape == (len(multipliers), 1024)
    assert jnp.all((points >= 0) & (points < 1))
    for a, b in pairwise(points):
        cells = np.bincount(np.asarray(16 * jnp.floor(16 * a) + jnp.floor(16 * b), int))
        # Four points a cell; random ones would leave 2 % of the cells empty and put
        # more than 8 into another 2 %.
        assert cells.min() >= 1
        assert cells.max() <= 8
