"""Flights and path lengths through boxes whose chords are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.phantoms.analytic import Box, line_integral
from synthex_jax.physics.signal import Response
from synthex_jax.physics.tables import compton, linear_attenuation, rayleigh
from synthex_jax.scatter import medium as media
from synthex_jax.scatter import tracking
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume

LANES = 20_000
SUBSTANCES = ("water", "cortical bone")
# Voxels of 10 x 12 x 8 mm, in a pose of their own: water, and a bar of bone in it.
SHAPE = (12, 10, 15)
SPACING = np.array([10.0, 12.0, 8.0])
POSE = RigidTransform.from_twist(jnp.array([0.5, -0.3, 1.1, 20.0, -10.0, 40.0]))


@pytest.fixture(scope="module")
def medium():
    fractions = np.zeros((*SHAPE, 2))
    fractions[..., 0] = 1.0
    fractions[4:8, :, 5:10] = [0.0, 1.0]
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -SPACING * (np.array(SHAPE) - 1) / 2
    volume = Volume.from_array(fractions, np.asarray(POSE.matrix) @ affine)
    energies = jnp.asarray(media.ENERGIES)
    response = Response(energies, energies**2)
    return media.Medium.create(Composition.create(volume, SUBSTANCES), response)


def test_cross_sections_are_those_of_the_tables(medium):
    energy = jnp.array([20.3, 60.0, 159.9])
    met = medium.at_energy(energy)
    for column, name in enumerate(SUBSTANCES):
        rho = {"water": 0.1, "cortical bone": 0.192}[name]
        expected = linear_attenuation(name, energy)
        # Lines over 0.25 keV.
        np.testing.assert_allclose(met.total[:, column], expected, rtol=1e-3)
        for found, process in ((met.compton, compton), (met.rayleigh, rayleigh)):
            expected = rho * process(name, energy)
            np.testing.assert_allclose(found[:, column], expected, rtol=1e-3)
    np.testing.assert_allclose(met.majorant, met.total[:, 1], rtol=1e-6)
    np.testing.assert_allclose(met.first, energy, rtol=1e-5)
    np.testing.assert_allclose(met.second, energy**2, rtol=1e-3)


def test_a_mixture_is_not_below_zero():
    fractions = jnp.array([[1.0, 0.5], [0.1, -0.2]])
    found = media.mixed(fractions, jnp.ones((2, 2)))
    np.testing.assert_allclose(found, [1.5, 0.0])


def inside_rays(rng, count):
    """From random points in the body, in random directions: world mm, (3, count)."""
    half = SPACING * SHAPE / 2
    local = rng.uniform(-half, half, (count, 3))
    start = POSE.apply(jnp.asarray(local)).T
    direction = rng.normal(size=(3, count))
    return start, jnp.asarray(direction / np.linalg.norm(direction, axis=0))


def test_path_lengths_are_chords(medium, rng):
    start, direction = inside_rays(rng, 2000)
    outer = Box.create(POSE.translation, SPACING * SHAPE / 2, rotation=POSE.rotation)
    bar = Box.create(POSE.translation, SPACING * [2, 5, 2.5], rotation=POSE.rotation)
    end = start + 1000.0 * direction
    whole = line_integral(outer, start.T, end.T)
    bone = line_integral(bar, start.T, end.T)
    far = jnp.full(2000, 1000.0)
    offset = jnp.asarray(rng.random(2000))
    found = tracking.path_lengths(medium, start, direction, far, offset)
    np.testing.assert_allclose(found.sum(-1), whole, rtol=1e-3, atol=1e-2)
    apart = found[:, 1] - bone
    # One piece in 15 at most at each of the two ends; none on average.
    assert np.abs(apart).max() < 2.01 * whole.max() / 15
    assert abs(apart.mean()) < 4 * apart.std() / 2000**0.5
    cut = tracking.path_lengths(medium, start, direction, jnp.full(2000, 3.0), offset)
    np.testing.assert_allclose(cut.sum(-1), np.minimum(whole, 3.0), atol=1e-2)
    _, leave = tracking.chord(medium, start, direction)
    np.testing.assert_allclose(leave, whole, rtol=1e-3, atol=1e-2)


def test_flights_end_where_beer_and_lambert_say(medium):
    """A thin beam along the grid's z, through water, bone and water again."""
    start = POSE.apply(jnp.array([0.0, 0.0, -60.0 + 1e-3]))[:, None]
    start = jnp.broadcast_to(start, (3, LANES))
    direction = jnp.broadcast_to(POSE.rotation[:, 2:], (3, LANES))
    met = medium.at_energy(jnp.full(LANES, 60.0))
    alive = jnp.arange(LANES) % 10 > 0
    travelled, collided = jnp.zeros(LANES), jnp.zeros(LANES, bool)
    fractions, flying = jnp.zeros((LANES, 2)), alive

    @jax.jit
    def fly(key, place, flying):
        return tracking.fly(key, medium, place, direction, met, flying)

    for key in jax.random.split(jax.random.key(0), 16):
        flight = fly(key, start + travelled * direction, flying)
        assert jnp.sum(flight.flying) <= jnp.sum(flying) / 4
        assert not jnp.any((flight.collided | flight.flying) & ~flying)
        travelled += flight.travelled
        collided |= flight.collided
        fractions = jnp.where(flight.collided[:, None], flight.fractions, fractions)
        flying = flight.flying
    assert not jnp.any(flying)
    water, bone = (linear_attenuation(name, 60.0) for name in SUBSTANCES)
    hits = np.asarray(travelled)[np.asarray(collided)]
    count = int(alive.sum())
    for end, depth in (
        (40.0, 40 * water),
        (80.0, 40 * water + 40 * bone),
        (120.0, 80 * water + 40 * bone),
    ):
        expected = -np.expm1(-depth)
        found = np.sum(hits < end) / count
        assert abs(found - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    in_bone = (hits > 40) & (hits < 80)
    fractions = np.asarray(fractions)[np.asarray(collided)]
    np.testing.assert_array_equal(fractions[:, 1], in_bone)
    assert np.all(fractions.sum(-1) == 1)


def test_rays_that_miss_leave_before_they_enter(medium):
    start = POSE.apply(jnp.array([[0.0, 0.0, -500.0]])).T
    towards = POSE.rotation @ jnp.array([[0.0], [0.0], [1.0]])
    enter, leave = tracking.chord(medium, start, towards)
    np.testing.assert_allclose([enter[0], leave[0]], [440.0, 560.0], rtol=1e-5)
    aside = POSE.rotation @ jnp.array([[0.6], [0.0], [0.8]])
    enter, leave = tracking.chord(medium, start, aside)
    assert leave < enter
    enter, leave = tracking.chord(medium, start, -towards)
    assert leave < enter
