import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics import tables
from synthex_jax.physics.compounds import material
from synthex_jax.physics.elements import ELEMENTS

# xraylib's jumps lie up to 1.1e-3 (relative) beside the edge energies it states.
EDGE_MARGIN = 2e-3


@pytest.mark.parametrize(
    ("substance", "energy", "expected"),
    [
        # NIST XCOM and Standard Reference Database 126, with coherent scattering.
        ("water", 20.0, 0.8096),
        ("water", 60.0, 0.2059),
        ("water", 150.0, 0.1505),
        ("cortical bone", 60.0, 0.3148),
        ("soft tissue", 60.0, 0.2048),
        ("I", 30.0, 8.562),
        ("I", 40.0, 22.10),
        ("Ti", 60.0, 0.7660),
    ],
)
def test_nist_anchors(substance, energy, expected):
    found = tables.mass_attenuation(substance, energy)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("symbol", ["H", "O", "Ca", "Ti", "Mo", "I", "Gd", "W", "Pb"])
def test_elements_agree_with_xraylib(symbol, rng):
    xraylib = pytest.importorskip("xraylib")
    number = ELEMENTS[symbol].number
    energies = np.exp(rng.uniform(np.log(5), np.log(160), 200))
    energies = energies[away_from_edges(xraylib, number, energies)]
    for ours, theirs in [
        (tables.photoelectric, xraylib.CS_Photo),
        (tables.compton, xraylib.CS_Compt),
        (tables.rayleigh, xraylib.CS_Rayl),
        (tables.mass_attenuation, xraylib.CS_Total),
    ]:
        expected = [theirs(number, energy) for energy in energies]
        np.testing.assert_allclose(ours(symbol, energies), expected, rtol=3e-4)


@pytest.mark.parametrize("formula", ["H2O", "CsI", "Gd2O2S", "C5H8O2"])
def test_compounds_agree_with_xraylib(formula, rng):
    xraylib = pytest.importorskip("xraylib")
    energies = np.exp(rng.uniform(np.log(5), np.log(160), 200))
    for symbol, _ in material(formula).composition:
        number = ELEMENTS[symbol].number
        energies = energies[away_from_edges(xraylib, number, energies)]
    expected = [xraylib.CS_Total_CP(formula, energy) for energy in energies]
    # Atomic weights differ in the fourth digit.
    found = tables.mass_attenuation(formula, energies)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def away_from_edges(xraylib, number, energies):
    away = np.ones(energies.shape, bool)
    for shell in ("K", "L1", "L2", "L3", "M1", "M2", "M3"):
        try:
            edge = xraylib.EdgeEnergy(number, getattr(xraylib, f"{shell}_SHELL"))
        except ValueError:
            continue
        away &= np.abs(np.log(energies / edge)) > EDGE_MARGIN
    return away


@pytest.mark.parametrize(
    ("symbol", "edge", "jump"),
    [
        # Photoelectric absorption above over below, NIST.
        ("I", 33.1694, 5.81),
        ("Gd", 50.2391, 5.27),
        ("W", 69.5250, 4.99),
        ("Pb", 88.0045, 4.72),
    ],
)
def test_edges_are_sharp_and_where_they_belong(symbol, edge, jump):
    step = 1e-4
    at = edge * np.array([1 - step, 1 + step, 1 + 3 * step])
    below, above, further = tables.mass_attenuation(symbol, at)
    photo = tables.photoelectric(symbol, at[:2])
    assert 0.9 * jump < photo[1] / photo[0] < 1.1 * jump
    assert above > 3.5 * below
    assert above > further  # and falling again at once
    on = tables.mass_attenuation(symbol, edge)
    np.testing.assert_allclose(on, above, rtol=1e-3)  # the edge counts as above


def test_processes_add_up_and_elements_mix():
    energies = jnp.linspace(10.0, 150.0, 7)
    total = tables.mass_attenuation("cortical bone", energies)
    parts = [
        process("cortical bone", energies)
        for process in (tables.photoelectric, tables.compton, tables.rayleigh)
    ]
    np.testing.assert_allclose(sum(parts), total, rtol=1e-6)
    mixed = sum(
        fraction * tables.mass_attenuation(symbol, energies)
        for symbol, fraction in material("cortical bone").composition
    )
    # Between nodes the mixture is a power law, its parts are others: 1e-4 apart.
    np.testing.assert_allclose(mixed, total, rtol=1e-4)


def test_linear_attenuation_is_per_mm():
    np.testing.assert_allclose(
        tables.linear_attenuation("water", 60.0), 0.02059, rtol=1e-3
    )
    np.testing.assert_allclose(
        tables.linear_attenuation(material("H2O", density=2.0), 60.0),
        2 * tables.linear_attenuation("water", 60.0),
        rtol=1e-3,
    )
    slope = jax.grad(
        lambda d: tables.linear_attenuation(material("water", density=d), 60.0)
    )(1.0)
    np.testing.assert_allclose(slope, tables.linear_attenuation("water", 60.0))


@pytest.mark.parametrize("substance", ["water", "cortical bone", "I"])
def test_derivative_in_energy(substance):
    # Away from nodes, where the power law's exponent changes.
    energies = np.array([12.3, 33.7, 61.1, 97.9])
    with jax.enable_x64(True):
        total = lambda e: tables.mass_attenuation(substance, e)
        slopes = jax.vmap(jax.grad(total))(energies)
        step = 1e-4
        expected = (total(energies + step) - total(energies - step)) / (2 * step)
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def test_jit_vmap_and_shapes():
    energies = jnp.linspace(20.0, 120.0, 6).reshape(2, 3)
    function = lambda e: tables.mass_attenuation("CsI", e)
    expected = function(energies)
    assert expected.shape == (2, 3)
    assert function(60).shape == ()
    assert expected.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(function)(energies), expected, rtol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(jax.vmap(function))(energies), expected, rtol=1e-6
    )
    static = jax.jit(tables.mass_attenuation, static_argnums=0)
    np.testing.assert_allclose(static(material("CsI"), energies), expected, rtol=1e-6)


def test_traced_energies_outside_continue_the_power_law():
    function = jax.jit(lambda e: tables.photoelectric("H2O", e))
    low = function(jnp.array([4.5, 4.75, 5.0]))
    # Photoelectric absorption goes about as E^-3.
    exponents = jnp.diff(jnp.log(low)) / jnp.diff(jnp.log(jnp.array([4.5, 4.75, 5.0])))
    assert jnp.all(jnp.abs(exponents + 3) < 0.3)


@pytest.mark.parametrize("energy", [4.9, 161.0, 60000.0, 0.06, -60.0, np.nan])
def test_energies_outside_the_table_are_refused(energy):
    with pytest.raises(ValueError, match="energy must be between 5 and 160 keV, got"):
        tables.mass_attenuation("water", np.array([60.0, energy]))


def test_a_formula_has_no_density():
    with pytest.raises(ValueError, match=r"material\('CaCO3', density=...\)"):
        tables.linear_attenuation("CaCO3", 60.0)
    with pytest.raises(ValueError, match="material must be one of"):
        tables.mass_attenuation("unobtainium", 60.0)
