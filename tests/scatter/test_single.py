"""Deterministic scatter against closed forms, sums in NumPy and Monte Carlo."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xraylib

import synthex_jax as sx
from synthex_jax.phantoms.analytic import Box, line_integral
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.scintillators import PerfectAbsorber
from synthex_jax.physics.signal import Illumination
from synthex_jax.scatter.body import ReducedVolume, box_averaged, coarse_body
from synthex_jax.scatter.cells import flight_means
from synthex_jax.scatter.flights import Pixels, flights
from synthex_jax.scatter.monte_carlo import monte_carlo
from synthex_jax.scatter.orders import Moments
from synthex_jax.scatter.primary import Primary
from synthex_jax.scatter.single import SingleScatter
from synthex_jax.volumes.composition import Composition

DISTANCE, WIDTH = 1020.0, 300.0
PERFECT = PerfectAbsorber()
SMALL = SingleScatter.create(
    shape=(6, 6), grid=(8, 12, 12), cells=(4, 4, 4), energies=1, orders=4
)

ONCE = dataclasses.replace(SMALL, orders=1)


def view(pixels=24, turn=0.0):
    """The source 600 mm from the world's origin, the detector 420 mm behind."""
    rotation = sx.RigidTransform.from_twist(jnp.array([turn, turn / 2, 0, 0, 0, 0]))
    return sx.Camera.create(
        rotation @ sx.RigidTransform.from_rotation(np.eye(3), [0.0, 0.0, -600.0]),
        source_to_detector=DISTANCE,
        pitch=WIDTH / pixels,
        shape=(pixels, pixels),
    )


def slab(thickness, width=340.0, share=1.0, middle=0.0):
    cells = np.array([10, 10, 10])
    affine = np.diag([*(np.array([width, width, thickness]) / cells), 1.0])
    affine[:3, 3] = -np.diag(affine)[:3] * (cells - 1) / 2 + [0, 0, middle]
    data = jnp.full((*cells, 1), share)
    return Composition.create(sx.Volume(data, jnp.asarray(affine)), ("water",))


def lit(camera, model, energies=(60.0,), shares=(1.0,)):
    """A photon a steradian."""
    plane = DetectorPlane.from_camera(camera.resized(model.shape))
    solid = plane.cosine**3 * plane.pitch[0] * plane.pitch[1] / plane.distance**2
    return Illumination(
        jnp.asarray(energies, float), solid[..., None] * jnp.asarray(shares, float)
    )


@partial(jax.jit, static_argnames="shape")
def coarse(composition, camera, shape=(12, 20, 20)):
    volume = ReducedVolume.create(composition)
    return volume, coarse_body(volume, composition.substances, camera, shape)


def scattered(model, composition, camera, light):
    """The path lengths, which the model does not use, are no paths."""
    none = jnp.zeros((*camera.shape, len(composition.substances)))
    return model.signal(composition, camera, light, PERFECT, none)


def total(model, composition, camera, scale=1.0):
    light = lit(camera, model)
    light = dataclasses.replace(light, photons=scale * light.photons)
    signal = scattered(model, composition, camera, light)
    return float(jnp.sum(signal.mean))


# -- the pieces ----------------------------------------------------------------------


def test_averages_keep_the_sum(rng):
    values = jnp.asarray(rng.random((7, 5, 9, 2)))
    coarse = box_averaged(values, (3, 5, 4))
    np.testing.assert_allclose(
        coarse.mean((0, 1, 2)), values.mean((0, 1, 2)), rtol=1e-6
    )
    # By hand: the first of 3 boxes over 7 cells holds 2 and a third.
    by_hand = (values[0] + values[1] + values[2] / 3) / (7 / 3)
    np.testing.assert_allclose(box_averaged(values, (3, 5, 9))[0], by_hand, rtol=1e-6)


def test_a_turned_body_keeps_its_mass():
    composition = slab(80.0, width=120.0)
    _, body = coarse(composition, view(turn=0.5), (16, 24, 24))
    volume = float(jnp.sum(body.fractions) * jnp.prod(body.steps))
    # The edges are interpolated at 8 points a cell.
    assert volume == pytest.approx(80 * 120 * 120, rel=0.01)


def test_flights_are_chords_of_a_box():
    composition = slab(120.0, width=200.0)
    camera = view().resized((5, 4))
    pixels = Pixels.of(camera)
    _, body = coarse(composition, camera)
    rows, cols = jnp.array([-40.0, 10.0]), jnp.array([-60.0, 0.0, 33.0])
    ways = jax.jit(flights)(body, jnp.asarray(570.0), (rows, cols), pixels)
    y, v, x, u = jnp.meshgrid(rows, pixels.rows, cols, pixels.cols, indexing="ij")
    start = jnp.stack([x, y, jnp.full_like(x, 570.0)], -1)
    end = jnp.stack([u, v, jnp.full_like(u, DISTANCE)], -1)
    box = Box.create([0.0, 0.0, 600.0], [100.0, 100.0, 60.0])
    chords = line_integral(box, start, end)
    # Rays that leave by a side, within a cell of 10 mm of an edge, see a soft edge.
    np.testing.assert_allclose(ways.paths[..., 0], chords, atol=5.0)
    # The others see layers of 12 mm end softly.
    np.testing.assert_allclose(ways.paths[0, :, 1, :, 0], chords[0, :, 1], rtol=1e-3)
    apart = np.asarray(end - start)
    length = np.linalg.norm(apart, axis=-1)
    np.testing.assert_allclose(
        ways.directions[..., ::-1], apart / length[..., None], atol=1e-6
    )
    area = float(pixels.area)
    np.testing.assert_allclose(
        ways.solid_angles, area * apart[..., 2] / length**3, rtol=1e-5
    )


@pytest.mark.parametrize("steps", [(25.0, 25.0, 25.0), (20.0, 34.0, 30.0)])
def test_photons_of_a_cell_are_all_accounted_for(rng, steps):
    count, attenuation = 7, 0.02
    means = jax.jit(flight_means, static_argnames="shape")
    inverse, lengths = means(jnp.array(steps), shape=(count, count, count))
    middle = count**3 // 2
    collided = attenuation * np.prod(steps) * inverse * jnp.exp(-attenuation * lengths)
    start = (rng.random((100_000, 3)) - 0.5) * steps
    aim = rng.normal(size=start.shape)
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)

    def stopped(cells):
        way = np.min((np.sign(aim) * cells / 2 * np.array(steps) - start) / aim, axis=1)
        return np.mean(1 - np.exp(-attenuation * way))

    # The standard error of the means is 0.1 %; the quadrature is as good as 0.5 %.
    assert collided[middle].sum() == pytest.approx(stopped(count), rel=0.006)
    assert collided[middle, middle] == pytest.approx(stopped(1), rel=0.006)


def test_moments_against_xraylib():
    energy = 60.0
    moments = Moments.create((sx.material("water"),), jnp.array([energy]))
    angle = np.linspace(1e-4, np.pi, 4001)
    forward = 0.0
    for order in range(3):
        expected = 0.0
        for differential, peak in (
            (xraylib.DCS_Rayl_CP, True),
            (xraylib.DCS_Compt_CP, False),
        ):
            density = np.array([_or_zero(differential, energy, t) for t in angle])
            density *= 2 * np.pi * np.sin(angle) / 10
            legendre = [
                np.polynomial.legendre.Legendre.basis(k)(np.cos(angle))
                for k in (order, 3)
            ]
            expected += np.trapezoid(density * legendre[0], angle)
            if peak:
                forward = np.trapezoid(density * legendre[1], angle)
        # Compton's first moment, 1 % of its zeroth, is a difference of large numbers;
        # 1 % of the total is xraylib's own spread between totals and integrals.
        assert float(moments.scattering[order, 0, 0]) == pytest.approx(
            expected - forward, abs=2e-4
        )
    assert float(moments.forward[0, 0]) == pytest.approx(forward, rel=0.02)


def _or_zero(differential, energy, angle):
    """xraylib refuses momentum transfers that are nearly zero."""
    try:
        return differential("H2O", energy, float(angle))
    except ValueError:
        return 0.0


def test_groups_carry_what_their_bins_do():
    composition, camera = slab(200.0), view(4)
    energies, shares = jnp.linspace(25.0, 85.0, 13), jnp.linspace(0.2, 1.0, 13)
    light = lit(camera, SingleScatter(shape=(4, 4)), energies, shares)
    volume, body = coarse(composition, camera)
    create = jax.jit(Primary.create, static_argnames="energies")
    primary = create(volume, body, composition, camera, light, energies=3)
    assert primary.photons.shape == (4, 4, 3)
    paths = primary.length[..., None] * primary.fractions.sum(0)

    def carried(energies, photons):
        depths = paths @ composition.linear_attenuation(energies).T
        return jnp.sum(photons * energies * jnp.exp(-depths), -1)

    np.testing.assert_allclose(
        carried(primary.energies, primary.photons),
        carried(light.energies, light.photons),
        rtol=1e-4,
    )


# -- the model ----------------------------------------------------------------------


def test_thin_slab_is_a_sum_of_scatterings():
    """Nothing attenuates: xraylib's cross sections, summed in NumPy."""
    share, thickness, energy = 1e-4, 40.0, 60.0
    composition, camera = slab(thickness, share=share), view(6)
    light = lit(camera, ONCE)
    image = scattered(ONCE, composition, camera, light).mean
    pixels = Pixels.of(camera)
    u, v = np.meshgrid(pixels.cols, pixels.rows)
    ends = np.stack([u, v, np.full_like(u, DISTANCE)], -1)
    expected = np.zeros((6, 6))
    for depth in 600 + thickness * ((np.arange(4) + 0.5) / 4 - 0.5):
        starts = ends * depth / DISTANCE
        for row, col in np.ndindex(6, 6):
            way = ends - starts[row, col]
            distance = np.linalg.norm(way, axis=-1)
            along = starts[row, col] / np.linalg.norm(starts[row, col])
            cosine = np.clip(way @ along / distance, -1, 1)
            after = energy / (1 + energy / 510.99895 * (1 - cosine))
            angle = np.arccos(cosine)
            rayleigh = np.vectorize(
                lambda t: xraylib.DCS_Rayl_CP("H2O", energy, max(t, 1e-4))
            )
            compton = np.vectorize(lambda t: _or_zero(xraylib.DCS_Compt_CP, energy, t))
            brought = energy * rayleigh(angle) + after * compton(angle)
            length = share * thickness / 4 / along[2]
            photons = float(light.photons[row, col, 0])
            solid = float(pixels.area) * way[..., 2] / distance**3
            expected += photons * length / 10 * brought * solid
    # Tables and xraylib agree to 0.5 %, and the slab's soft faces cost as much.
    np.testing.assert_allclose(image, expected, rtol=0.01)


@pytest.mark.slow
def test_first_order_and_total_against_monte_carlo():
    """A trunk with bone and air, in voxels that are boxes there, interpolated here."""
    cells = (34, 30, 22)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -5.0 * (np.array(cells) - 1)
    x, y, z = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * 10 for n in cells), indexing="ij"
    )
    inside = (x / 165) ** 2 + (z / 105) ** 2 < 1
    bone = inside & (abs(x) < 30) & (z > 20) & (z < 80)
    air = inside & (abs(x - 70) < 35) & (abs(y) < 60) & (abs(z) < 45)
    data = np.stack([inside & ~bone & ~air, bone], -1).astype(float)
    composition = Composition.create(
        sx.Volume(jnp.asarray(data), jnp.asarray(affine)), ("water", "cortical bone")
    )
    camera = view(8)
    light = lit(camera, SingleScatter(shape=(8, 8)))
    counted = monte_carlo(
        jax.random.key(0), composition, camera, light, PERFECT, histories=240_000
    )
    once = SingleScatter.create(shape=(16, 16), grid=(16, 32, 32), energies=1, orders=1)
    every = SingleScatter.create(
        shape=(16, 16), grid=(16, 32, 32), cells=(10, 10, 10), energies=1
    )
    for model, reference, within in (
        (once, counted.by_order[0], 0.05),
        (every, counted.signal.mean, 0.07),
    ):
        image = scattered(model, composition, camera, lit(camera, model)).mean
        mean = float(reference.mean())
        assert float(image.mean()) == pytest.approx(mean, rel=within)
        # Pixels of the reference are known to 3 %, its mean to 0.5 %.
        rms = float(jnp.sqrt(jnp.mean((image - reference) ** 2)))
        assert rms < (within + 0.03) * mean


def test_limits():
    camera = view()
    none, thin, thick = (
        total(SMALL, slab(80.0, share=share), camera) for share in (0.0, 0.01, 1.0)
    )
    assert none == 0
    assert 0 < thin < 0.05 * thick
    # Twice the photons, twice the scatter.
    assert total(SMALL, slab(80.0), camera, 2.0) == pytest.approx(2 * thick, rel=1e-5)
    # The closer the body to the detector, the more arrives, here or there.
    assert total(SMALL, slab(80.0, middle=150.0), camera) > 1.2 * thick
    assert total(SMALL, slab(80.0, middle=-150.0), camera) < 0.8 * thick


def test_a_larger_field_scatters_more_into_its_middle():
    camera, composition = view(), slab(150.0)
    light = lit(camera, SMALL)
    closed = (
        light.photons.at[jnp.array([0, -1])].set(0).at[:, jnp.array([0, -1])].set(0)
    )
    middle = slice(8, 16)
    narrow, wide = (
        scattered(SMALL, composition, camera, Illumination(light.energies, n))
        for n in (closed, light.photons)
    )
    assert jnp.sum(narrow.mean[middle, middle]) < 0.9 * jnp.sum(
        wide.mean[middle, middle]
    )
    # The variance of a few large deposits: between E and E^2 of the photons that come.
    ratio = wide.variance / wide.mean
    assert jnp.all((ratio > 40) & (ratio < 60))


@pytest.mark.slow
def test_derivatives(x64):
    camera, composition = view(6), slab(120.0, width=150.0)
    light = lit(camera, SMALL)
    weights = jnp.cos(jnp.arange(36.0)).reshape(6, 6) + 1.5

    def loss(share, twist, photons):
        volume = dataclasses.replace(
            composition.fractions, data=share * composition.fractions.data
        )
        signal = scattered(
            SMALL,
            dataclasses.replace(composition, fractions=volume),
            camera.moved(twist),
            Illumination(light.energies, photons * light.photons),
        )
        return 1e3 * jnp.sum(weights * signal.mean)

    # Away from 1, where the empty cells' limit is, and from views along the grid.
    place = jnp.array([0.9, 1.2, 0.03, -0.02, 0.05, 1.0, 2.0, 3.0])
    evaluate = jax.jit(jax.value_and_grad(lambda p: loss(p[0], p[2:], p[1])))
    slope = evaluate(place)[1]
    for index in (0, 1, 3, 6):
        # Small: where points cross from voxel to voxel the interpolation has kinks.
        step = 1e-6 * jnp.eye(8)[index]
        difference = (evaluate(place + step)[0] - evaluate(place - step)[0]) / 2e-6
        assert float(slope[index]) == pytest.approx(float(difference), rel=1e-3)


def test_batches_and_air():
    """Three views at once, the last of air that turns to water."""
    composition, light = slab(100.0), lit(view(6), ONCE)

    def image(turn, share):
        data = share * composition.fractions.data
        body = dataclasses.replace(
            composition, fractions=sx.Volume(data, composition.fractions.affine)
        )
        camera = view(6).moved(turn * jnp.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
        return scattered(ONCE, body, camera, light).mean

    turns, shares = jnp.array([0.0, 0.2, 0.0]), jnp.array([1.0, 1.0, 0.0])
    images, slopes = jax.jvp(
        jax.vmap(image), (turns, shares), (jnp.zeros(3), jnp.ones(3))
    )
    np.testing.assert_allclose(images[1], image(turns[1], shares[1]), rtol=1e-4)
    assert jnp.all(images[2] == 0)
    assert jnp.all(jnp.isfinite(slopes))
    assert jnp.all(slopes[2] > 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": (3, 8)}, "shape must be at least 4 pixels"),
        ({"grid": (2, 8, 8)}, r"grid must be three counts .* of at least 3"),
        ({"cells": (8, 8, 2)}, "cells must be three counts"),
        ({"energies": 0}, "energies must be at least 1"),
        ({"orders": 0}, "orders must be at least 1"),
    ],
)
def test_refusals(changed, message):
    with pytest.raises(ValueError, match=message):
        SingleScatter.create(**changed)


def test_another_illumination_is_refused():
    camera = view()
    with pytest.raises(
        ValueError, match=r"photons must be \(rows, cols, bins\) = \(6, 6"
    ):
        scattered(SMALL, slab(50.0), camera, lit(camera, SingleScatter()))
