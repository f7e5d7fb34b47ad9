import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.spectra import (
    BIN_KEV,
    Filter,
    Spectrum,
    half_value_layer,
    tungsten,
)
from synthex_jax.physics.tables import linear_attenuation


def behind_water(spectrum, centimeters):
    """Transmitted share of the energy."""
    energy = spectrum.energies * spectrum.fluence
    mu = linear_attenuation("water", spectrum.energies)
    return jnp.sum(energy * jnp.exp(-mu * 10 * centimeters)) / jnp.sum(energy)


def test_anchors():
    """A 90 kVp beam as SpekPy 2.5.4 describes it."""
    beam = tungsten(90.0, anode_angle_deg=12.0, filtration=[Filter("Al", 4.0)])
    np.testing.assert_allclose(half_value_layer(beam), 3.994, rtol=5e-3)
    np.testing.assert_allclose(beam.mean_energy, 48.74, rtol=2e-3)
    # Off axis by arctan(15 / 100), an eighth more aluminum: mean energy and photons.
    for off_axis, mean, photons in [(-8.531, 51.0956, 1.20133e8)]:
        heel = tungsten(
            90.0,
            off_axis_deg=off_axis,
            filtration=[Filter("Al", 4.0 * np.hypot(1.0, 0.15))],
        )
        np.testing.assert_allclose(heel.mean_energy, mean, rtol=2e-3)
        np.testing.assert_allclose(heel.fluence.sum(), photons, rtol=5e-3)


@pytest.mark.parametrize(
    ("kvp", "angle", "aluminum"),
    [(43.4, 10.0, 2.5), (63.0, 15.0, 3.0), (72.0, 9.0, 2.5), (117.5, 8.0, 4.0)],
)
def test_agrees_with_spekpy_between_the_nodes(kvp, angle, aluminum):
    spekpy = pytest.importorskip("spekpy")
    tube = spekpy.Spek(kvp=kvp, th=angle, dk=0.1, physics="casim")
    energies, fluence = tube.get_spectrum(edges=False)
    sheet = Filter("Al", aluminum)
    theirs = Spectrum.create(energies[energies > 5], fluence[energies > 5] / 10)
    theirs = theirs.filtered(sheet)
    beam = tungsten(kvp, anode_angle_deg=angle, filtration=[sheet])
    np.testing.assert_allclose(beam.fluence.sum(), theirs.fluence.sum(), rtol=5e-3)
    for depth in (10, 20, 30):
        np.testing.assert_allclose(
            behind_water(beam, depth), behind_water(theirs, depth), rtol=5e-3
        )
    # Its own filter, whose attenuation (PENELOPE's) is up to 1 % below NIST's.
    tube.filter("Al", aluminum)
    np.testing.assert_allclose(half_value_layer(beam), tube.get_hvl1(), rtol=5e-3)
    np.testing.assert_allclose(beam.mean_energy, tube.get_emean(), rtol=2e-3)


@pytest.mark.parametrize("kvp", [50.0, 70.0, 90.0, 120.0])
def test_few_bins_stand_for_the_spectrum(kvp):
    """Energy behind water and bone, against the sum over the whole spectrum."""
    whole = tungsten(kvp, filtration=[Filter("Al", 4.0)])

    def transmitted(beam, water, bone):
        depth = linear_attenuation("water", beam.energies) * water
        depth += linear_attenuation("cortical bone", beam.energies) * bone
        return jnp.sum(beam.fluence * beam.energies * jnp.exp(-depth))

    few = whole.binned(16)
    assert few.energies.shape == (16,)
    np.testing.assert_allclose(few.fluence, whole.fluence.sum() / 16, rtol=1e-4)
    np.testing.assert_allclose(few.mean_energy, whole.mean_energy, rtol=1e-5)
    for water, bone in [(0.0, 0.0), (30.0, 5.0), (200.0, 20.0), (300.0, 30.0)]:
        np.testing.assert_allclose(
            transmitted(few, water, bone), transmitted(whole, water, bone), rtol=3e-3
        )


def test_bins_of_a_single_line():
    line = Spectrum.create(np.array([40.0, 60.0, 80.0]), np.array([0.0, 3.0, 0.0]))
    np.testing.assert_allclose(line.binned(4).energies, 60.0, rtol=1e-5)
    slope = jax.grad(lambda f: line.binned(4).fluence.sum() * f)(2.0)
    np.testing.assert_allclose(slope, 3.0, rtol=1e-5)
    through = lambda f: jnp.sum(Spectrum(line.energies, f).binned(4).energies)
    assert np.isfinite(jax.grad(through)(line.fluence)).all()


def test_derivatives_of_bins_are_finite_in_float32():
    """Filters leave 1e-30 of the softest photons."""
    binned = lambda kvp: tungsten(kvp, filtration=[Filter("Al", 9.0)]).binned(16)
    _, slope = jax.jvp(binned, (90.0,), (1.0,))
    assert np.isfinite(slope.energies).all()
    assert np.isfinite(slope.fluence).all()


def test_photons_per_pixel():
    beam = Spectrum.create(np.array([40.0, 60.0]), np.array([2e5, 1e5]))
    # 3e5 a cm^2 and mAs at 1 m: a pixel of 1 x 2 mm at 2 m, 10 mAs.
    found = beam.photons_per_pixel(mas=10.0, distance=2000.0, pitch=(1.0, 2.0))
    np.testing.assert_allclose(found, 3e5 * 10 * 0.02 / 4, rtol=1e-5)


def test_a_spectrum_ends_at_its_voltage_and_shows_tungsten():
    unfiltered = tungsten(100.0)
    assert np.all(unfiltered.fluence[BIN_KEV > 100] == 0)
    assert np.all(unfiltered.fluence[BIN_KEV < 100] > 0)
    lines = np.asarray(unfiltered.fluence)[(BIN_KEV > 57) & (BIN_KEV < 60)]
    assert lines.max() > 2 * unfiltered.fluence[BIN_KEV == 62.5]  # K alpha 59.3
    below = tungsten(66.0).fluence
    assert np.all(below[BIN_KEV > 66] == 0)
    # Below the K edge, 69.5 keV, there are no K lines: smooth.
    around = np.asarray(below)[(BIN_KEV > 54) & (BIN_KEV < 62)]
    assert np.all(np.diff(around) < 0)


def test_physics_goes_the_right_way():
    beams = [tungsten(kvp, filtration=[Filter("Al", 3.0)]) for kvp in (60.0, 90.0)]
    assert beams[1].mean_energy > beams[0].mean_energy
    assert beams[1].fluence.sum() > beams[0].fluence.sum()
    hard = beams[1].filtered(Filter("Cu", 0.2))
    assert hard.mean_energy > beams[1].mean_energy
    assert half_value_layer(hard) > half_value_layer(beams[1])
    anode, cathode = (tungsten(90.0, off_axis_deg=b).fluence.sum() for b in (-8.0, 8.0))
    assert anode < 0.8 * cathode


def test_half_value_layer_of_one_energy_is_in_closed_form():
    found = half_value_layer(Spectrum.monochromatic(60.0), "Cu")
    expected = np.log(2) / linear_attenuation("Cu", 60.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_half_value_layer_halves():
    beam = tungsten(80.0, filtration=[Filter("Al", 2.5)])
    # Kerma by an independent coarse table of mu_en of air (NIST), log-log between.
    nodes = np.array([5, 6, 8, 10, 15, 20, 30, 40, 50, 60, 80])
    low = [39.31, 22.70, 9.446, 4.742, 1.334, 0.5389]
    mu_en = np.array([*low, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407])
    absorption = np.exp(np.interp(np.log(BIN_KEV), np.log(nodes), np.log(mu_en)))
    kerma = lambda s: float(np.sum(s.fluence * s.energies * absorption))
    half = beam.filtered(Filter("Al", half_value_layer(beam)))
    # Straight lines between so few nodes are up to 4 % off in mu_en.
    np.testing.assert_allclose(kerma(half) / kerma(beam), 0.5, rtol=5e-3)


def test_derivatives(x64):
    @jax.jit
    def quality(kvp, angle, off_axis, thickness):
        beam = tungsten(
            kvp,
            anode_angle_deg=angle,
            off_axis_deg=off_axis,
            filtration=[Filter("Al", thickness)],
        )
        return jnp.stack([half_value_layer(beam), beam.mean_energy])

    point = (92.3, 11.0, 2.5, 3.0)
    jacobian = jax.jacobian(quality, argnums=(0, 1, 2, 3))(*point)
    for i in range(4):
        up, down = list(point), list(point)
        up[i] += 1e-4
        down[i] -= 1e-4
        expected = (quality(*up) - quality(*down)) / 2e-4
        np.testing.assert_allclose(jacobian[i], expected, rtol=1e-5, atol=1e-9)


def test_transformations():
    function = lambda kvp: tungsten(kvp, filtration=[Filter("Al", 3.0)]).mean_energy
    voltages = jnp.array([40.0, 70.0, 101.3, 150.0])
    expected = [function(float(kvp)) for kvp in voltages]
    np.testing.assert_allclose(jax.vmap(function)(voltages), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(function)(70.0), expected[1], rtol=1e-5)
    beam = tungsten(70.0)
    np.testing.assert_allclose(beam.normalized().fluence.sum(), 1.0, rtol=1e-5)
    scaled = jax.tree.map(lambda x: 2 * x, Filter("Al", 3.0))
    assert scaled == Filter("Al", 6.0)


def test_errors():
    with pytest.raises(ValueError, match="kvp must be one number between 40 and 150"):
        tungsten(90_000.0)
    with pytest.raises(ValueError, match=r"off_axis_deg must be one .* 1 and 30 deg"):
        tungsten(90.0, anode_angle_deg=8.0, off_axis_deg=-9.0)
    with pytest.raises(ValueError, match="thickness of filter 'Al' must not be negat"):
        tungsten(90.0, filtration=[Filter("Al", -1.0)])
    with pytest.raises(ValueError, match="material must be one of"):
        tungsten(90.0, filtration=[Filter("aluminium foil", 1.0)])
    with pytest.raises(ValueError, match="energies must be between 5 and 160 keV"):
        Spectrum.create(np.array([1e4, 2e4]), np.ones(2))
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(3,\)"):
        Spectrum.create(np.array([50.0, 60.0]), np.ones(3))
    with pytest.raises(ValueError, match="fluence must be finite, not negative"):
        Spectrum.create(np.array([50.0, 60.0]), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="an even number of bins, at least 2, got 7"):
        tungsten(90.0).binned(7)
    with pytest.raises(ValueError, match="not zero everywhere"):
        Spectrum.create(np.array([50.0, 60.0]), np.zeros(2))
