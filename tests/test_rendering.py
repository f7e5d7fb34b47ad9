"""From HU to readings: against closed forms, dense sums and differences."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import synthex_jax as sx
from synthex_jax.exposure import automatic_exposure
from synthex_jax.phantoms import analytic
from synthex_jax.physics.beam import Beam
from synthex_jax.physics.collimators import CircularCollimator
from synthex_jax.physics.detectors import IdealDetector
from synthex_jax.physics.spectra import Filter, tungsten
from synthex_jax.processing import deepdrr_normalized, log_image
from synthex_jax.rendering import flat_field, line_integrals, render
from synthex_jax.simulation import (
    Simulation,
    deepdrr,
    heuristic,
    naive,
    realistic,
)
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.tissues import Tissues
from synthex_jax.volumes.volume import Volume

ALUMINUM = (Filter("Al", 4.0),)


def camera(rows=9, cols=11, **angles):
    return sx.CArm.generic().resized((rows, cols)).at(**angles)


def slabs(water, bone, spacing=4.0):
    """Across the AP ray: mm of water, then of cortical bone, 400 mm wide."""
    layers = np.array([water / spacing, bone / spacing]).astype(int)
    shares = np.zeros((100, sum(layers), 100, 2), np.float32)
    shares[:, : layers[0], :, 0] = 1
    shares[:, layers[0] :, :, 1] = 1
    return Composition.create(
        Volume.from_array(shares, spacing=spacing), ("water", "cortical bone")
    )


def ideal(kvp=90.0, bins=None, **options):
    """A simulation that reads keV a pixel."""
    spectrum = tungsten(kvp, filtration=ALUMINUM)
    spectrum = spectrum if bins is None else spectrum.binned(bins)
    beam = Beam.from_spectrum(spectrum, photons=1.0, falloff=0.0, **options)
    return Simulation(Tissues.create(), beam, None, IdealDetector.create())


def test_naive_is_the_transmission():
    ct = Volume.from_array(jnp.full((20, 20, 20), -200.0), spacing=5.0)
    view = camera(orbital=0.2)
    body = naive(70.0).tissues.composition(ct)
    expected = jnp.exp(-line_integrals(body.attenuation(70.0), view))
    np.testing.assert_allclose(render(ct, view, naive(70.0)), expected, rtol=1e-5)
    np.testing.assert_allclose(render(body, view, naive(70.0)), expected, rtol=1e-5)
    np.testing.assert_allclose(flat_field(view), 1.0, rtol=1e-6)


def test_heuristic_hides_what_is_thin():
    hu = np.full((20, 20, 20), -200.0)
    hu[8:12, 8:12, 8:12] = 600.0
    ct = Volume.from_array(hu, spacing=5.0)
    view = camera()
    found = render(ct, view, heuristic())
    np.testing.assert_allclose(found[0, 0], 1.0)
    # 20 mm of 730 HU above the threshold.
    mu = float(sx.linear_attenuation("water", 60.0))
    np.testing.assert_allclose(found[4, 5], np.exp(-20 * 0.73 * mu), rtol=5e-3)


@pytest.mark.parametrize("bins", [None, 16])
@pytest.mark.parametrize(("water", "bone"), [(100.0, 0.0), (200.0, 20.0), (60.0, 4.0)])
def test_polychromatic_slabs_are_in_closed_form(water, bone, bins):
    """Chords are thickness over cosine; attenuation by xraylib, sums by NumPy."""
    xraylib = pytest.importorskip("xraylib")
    view = camera()
    found = render(slabs(water, bone), view, ideal(bins=bins))
    whole = tungsten(90.0, filtration=ALUMINUM)
    energies = np.asarray(whole.energies, np.float64)
    fluence = np.asarray(whole.fluence, np.float64)
    fluence /= fluence.sum()
    parts = {1: 0.034, 6: 0.155, 7: 0.042, 8: 0.435, 11: 0.001, 12: 0.002}
    parts |= {15: 0.103, 16: 0.003, 20: 0.225}
    mu_water = np.array([xraylib.CS_Total_CP("H2O", e) for e in energies]) / 10
    mu_bone = [
        sum(w * xraylib.CS_Total(z, e) for z, w in parts.items()) for e in energies
    ]
    mu_bone = 1.92 * np.array(mu_bone) / 10
    rays = view.back_project(view.pixel_grid()) - view.source
    cosine = np.abs(rays[..., 1]) / jnp.linalg.norm(rays, axis=-1)
    depth = (mu_water * water + mu_bone * bone) / np.asarray(cosine)[..., None]
    expected = np.sum(fluence * energies * np.exp(-depth), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # the target


def test_polychromatic_spheres():
    """Spongy bone within a ball of water: against chords, away from the rims."""
    view = camera(41, 41)
    shape, affine = (96, 96, 96), np.diag([1.75, 1.75, 1.75, 1.0])
    affine[:3, 3] = -1.75 * 95 / 2
    outer, inner, rim = (
        analytic.Ellipsoid.create((0.0, 0.0, 0.0), radius)
        for radius in (80.0, 40.0, 43.0)
    )
    share = [
        analytic.rasterized([ball], shape, affine, supersample=3).data
        for ball in (outer, inner)
    ]
    fractions = Volume.from_array(
        jnp.stack([share[0] - share[1], share[1]], -1), affine
    )
    body = Composition.create(fractions, ("water", "spongy bone"))
    chords = [analytic.image([ball], view) for ball in (outer, inner, rim)]
    simulation = ideal()
    spectrum = simulation.beam.spectrum
    water, bone = body.linear_attenuation(spectrum.energies).T
    depth = water * (chords[0] - chords[1])[..., None] + bone * chords[1][..., None]
    expected = jnp.sum(spectrum.fluence * spectrum.energies * jnp.exp(-depth), -1)
    found = render(body, view, simulation)
    inside = (chords[1] > 30.0) | (chords[2] == 0) & (chords[0] > 90.0)
    assert inside.sum() > 150
    # Voxels of 1.75 mm stand for a ball's chord within a quarter of one, which is 1 %
    # of what bone lets through; on average they stand for it within the target.
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-2)
    assert float(jnp.mean(jnp.abs(found / expected - 1)[inside])) < 2e-3


def test_against_a_dense_integration(rng):
    """Smooth random HU: samples every 0.1 mm and sums over energies, in NumPy."""
    coarse = rng.uniform(-300, 1500, (6, 6, 6))
    zoom = np.stack(np.meshgrid(*[np.linspace(0, 5, 45)] * 3, indexing="ij"))
    rim = np.sin(np.pi * np.arange(45) / 44) ** 2
    taper = rim[:, None, None] * rim[:, None] * rim
    hu = taper * (map_coordinates(coarse, zoom, order=3) + 1000) - 1000
    ct = Volume.from_array(hu.astype(np.float32), spacing=3.0)
    view = camera(5, 6, orbital=0.3, angular=0.1)
    simulation = ideal(70.0)
    body = simulation.tissues.composition(ct)
    shares = np.asarray(body.fractions.data, np.float64)
    source = np.asarray(view.source, np.float64)
    ends = np.asarray(view.back_project(view.pixel_grid()), np.float64).reshape(-1, 3)
    steps = (np.arange(12_000) + 0.5) / 12_000
    inverse = np.linalg.inv(np.asarray(ct.affine, np.float64))
    mu = np.asarray(body.linear_attenuation(simulation.beam.spectrum.energies))
    expected = []
    for end in ends:
        points = source + steps[:, None] * (end - source)
        voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
        inside = np.all((voxels > -1) & (voxels < 45), axis=1)
        length = np.linalg.norm(end - source) / len(steps)
        path = [
            map_coordinates(shares[..., m], voxels[inside].T, order=1, cval=0.0).sum()
            for m in range(2)
        ]
        depth = mu @ np.array(path) * length
        spectrum = simulation.beam.spectrum
        expected.append(np.sum(spectrum.fluence * spectrum.energies * np.exp(-depth)))
    found = np.asarray(render(ct, view, simulation)).reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_log_image_corrects_beam_and_panel():
    """Without a body 0 everywhere, whatever the heel and the obliquity."""
    simulation = realistic(photons=1e5, scatter=None)
    view = camera(16, 16)
    nothing = Volume.from_array(jnp.full((4, 4, 4), -1000.0), spacing=1.0)
    raw = render(nothing, view, simulation)
    flat = flat_field(view, simulation)
    assert raw.max() > 1.1 * raw.min()
    # Half a digital unit of 10,000, and 4 mm of air.
    np.testing.assert_allclose(log_image(raw, flat, floor=1.0), 0.0, atol=3e-4)


def test_collimator_dims_the_image_and_not_the_flat_field():
    collimator = CircularCollimator.create(60.0)
    simulation = realistic(scatter=None, collimator=collimator)
    view = camera(17, 17)
    flat = flat_field(view, simulation)
    np.testing.assert_allclose(
        flat, flat_field(view, realistic(scatter=None)), rtol=1e-5
    )
    nothing = Volume.from_array(jnp.full((4, 4, 4), -1000.0), spacing=1.0)
    raw = render(nothing, view, simulation)
    assert raw[0, 0] == 0
    np.testing.assert_allclose(raw[8, 8], flat[8, 8], rtol=1e-3)


def test_noise_has_the_mean_of_the_image_without():
    ct = Volume.from_array(jnp.zeros((20, 20, 20)), spacing=8.0)
    view = camera(48, 48)
    simulation = realistic(photons=5e4, scatter=None)
    mean = render(ct, view, simulation)
    keys = jax.random.split(jax.random.key(0), 20)
    draws = jax.vmap(lambda k: render(ct, view, simulation, key=k))(keys)
    assert draws.shape == (20, 48, 48)
    # 46,000 pixels of 200 to 400 quanta: standard error 3e-4 and rounding.
    np.testing.assert_allclose(jnp.mean(draws / mean), 1.0, atol=2e-3)
    assert jnp.all(jnp.std(draws, axis=0) > 0)
    again = render(ct, view, simulation, key=keys[3])
    np.testing.assert_allclose(again, draws[3], atol=1.001)  # rounded
    assert not np.array_equal(draws[0], draws[1])


def test_automatic_exposure():
    view = camera(32, 32)
    thin, thick = slabs(100.0, 4.0), slabs(300.0, 20.0)
    simulation = realistic(scatter=None)
    exposed = [
        automatic_exposure(b, view, simulation, quanta=400.0) for b in (thin, thick)
    ]
    assert exposed[1].beam.photons > 20 * exposed[0].beam.photons
    for body, one in zip((thin, thick), exposed, strict=True):
        reading = render(body, view, one)[12:20, 12:20]
        np.testing.assert_allclose(jnp.median(reading), (2**14 - 1) / 16, rtol=0.05)
        keys = jax.random.split(jax.random.key(1), 100)
        draw = partial(render, body, view, one)
        raw = jax.vmap(lambda key: draw(key=key))(keys)[:, 12:20, 12:20]  # noqa: B023
        # Light spreads less than a pixel of 9 mm: what is left is 400 quanta.
        noise = jnp.mean(jnp.std(raw, axis=0) / jnp.mean(raw, axis=0))
        np.testing.assert_allclose(noise, 1 / 20, rtol=0.1)
    with pytest.raises(ValueError, match="quanta must be positive"):
        automatic_exposure(thin, view, simulation, quanta=0.0)


def test_deepdrr_preset():
    nothing = Volume.from_array(jnp.full((4, 4, 4), -1200.0), spacing=1.0)
    view = camera()
    for name, mean in [("60KV_AL35", 37.5), ("90KV_AL40", 49.2), ("120KV_AL43", 58.2)]:
        intensity = render(nothing, view, deepdrr(name))
        # Keys' mean energies are those of other spectra of the same tubes.
        np.testing.assert_allclose(intensity, mean, rtol=0.04)
    body = slabs(100.0, 10.0)
    picture = deepdrr_normalized(render(body, view, deepdrr()))
    assert picture.min() == 0
    assert picture.max() == 1
    with pytest.raises(ValueError, match="spectrum must be one of 60KV_AL35"):
        deepdrr("80KV")


def test_batches_of_views():
    ct = Volume.from_array(jnp.zeros((12, 12, 12)), spacing=10.0)
    simulation = realistic(scatter=None)
    along = sx.Joseph(axis=1)
    body = simulation.tissues.composition(ct)
    angles = jnp.array([0.0, 0.4])
    carm = sx.CArm.generic().resized((8, 8))
    cameras = jax.vmap(lambda a: carm.at(orbital=a))(angles)
    keys = jax.random.split(jax.random.key(0), 2)
    image = lambda view, key: render(body, view, simulation, projector=along, key=key)
    both = jax.vmap(image)(cameras, keys)
    for i in range(2):
        one = image(carm.at(orbital=angles[i]), keys[i])
        np.testing.assert_allclose(both[i], one, atol=1.001)


def test_derivatives_of_everything(x64, rng):
    """Of a noisy image: HU, pose, voltage, filter, photons, gain, field."""
    hu = jnp.asarray(rng.uniform(-400, 900, (8, 8, 8)))
    weights = jnp.asarray(rng.normal(size=(6, 7)))
    view = camera(6, 7, orbital=0.2, angular=0.15)
    affine = Volume.from_array(hu, spacing=12.0).affine
    key = jax.random.key(3)

    @jax.jit
    def total(hu, twist, kvp, aluminum, photons, radius):
        simulation = realistic(
            kvp,
            filtration=[Filter("Al", aluminum)],
            photons=photons,
            collimator=CircularCollimator.create(radius, penumbra=30.0),
            scatter=None,
        )
        # Rounding has a derivative that differences do not see.
        detector = replace(simulation.detector, bits=None)
        simulation = replace(simulation, detector=detector)
        body = Volume(hu, affine)
        along = sx.Joseph(axis=1)
        moved = view.moved(twist)
        image = render(body, moved, simulation, projector=along, key=key)
        return jnp.sum(weights * image)

    point = [hu, jnp.array([0.01, 0.02, -0.01, 1.0, 2.0, -1.0])]
    point += [jnp.asarray(v) for v in (83.7, 3.0, 3e4, 130.0)]
    slopes = jax.jit(jax.grad(total, argnums=tuple(range(6))))(*point)
    for i, slope in enumerate(slopes):
        direction = jnp.asarray(rng.normal(size=point[i].shape))
        step = {0: 1e-3, 1: 1e-6}.get(i, 1e-6 * jnp.abs(point[i]))
        up, down = list(point), list(point)
        up[i] = point[i] + step * direction
        down[i] = point[i] - step * direction
        expected = (total(*up) - total(*down)) / (2 * step)
        found = jnp.sum(slope * direction)
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_one_trace_for_all_values():
    """Another pose, voltage or exposure compiles nothing."""
    ct = Volume.from_array(jnp.zeros((6, 6, 6)), spacing=10.0)
    traced = []

    @jax.jit
    def image(angle, kvp, photons):
        traced.append(1)
        simulation = realistic(kvp, photons=photons, scatter=None)
        view = sx.CArm.generic().resized((4, 4)).at(orbital=angle)
        return render(ct, view, simulation)

    image(0.1, 80.0, 1e4)
    image(0.2, 95.0, 2e4)
    assert len(traced) == 1


def test_errors():
    with pytest.raises(ValueError, match="volume must be in HU"):
        render(Volume.from_array(jnp.full((2, 2, 2), 0.02), spacing=1.0), camera())
    with pytest.raises(ValueError, match="energies must be between 5 and 160 keV"):
        naive(60_000.0)
    with pytest.raises(ValueError, match="kvp must be one number between 40 and 150"):
        realistic(20.0)
    with pytest.raises(ValueError, match=r"photons must be positive .*got 0"):
        realistic(photons=0)
