import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics import bake_scattering, scattering, tables
from synthex_jax.physics.compounds import material
from synthex_jax.physics.elements import ELEMENTS

SUBSTANCES = ["water", "soft tissue", "cortical bone", "Ti", "I", "air"]
PROCESSES = [
    (scattering.rayleigh_differential, tables.rayleigh),
    (scattering.compton_differential, tables.compton),
]


@pytest.mark.parametrize("substance", SUBSTANCES)
@pytest.mark.parametrize(("differential", "total"), PROCESSES)
def test_the_sphere_sums_to_the_table(substance, differential, total):
    energies = np.array([20.0, 37.0, 60.0, 90.0, 140.0])
    angles = np.linspace(0, np.pi, 4001)
    values = differential(substance, energies[:, None], np.cos(angles))
    summed = 2 * np.pi * np.trapezoid(values * np.sin(angles), angles, axis=-1)
    # Curves and quadrature to 1e-4, float32 cosines near 1 to a little more.
    np.testing.assert_allclose(summed, total(substance, energies), rtol=3e-4)


@pytest.mark.parametrize(
    ("substance", "coherent", "incoherent"),
    # The source's own differential and total cross sections differ by this much.
    [
        ("water", 0.005, 0.005),
        ("soft tissue", 0.005, 0.005),
        ("cortical bone", 0.006, 0.005),
        ("Ti", 0.01, 0.007),
        ("I", 0.05, 0.012),
    ],
)
def test_agrees_with_xraylib(substance, coherent, incoherent):
    xraylib = pytest.importorskip("xraylib")
    for energy in (20.0, 60.0, 140.0):
        for angle in np.deg2rad([3, 10, 20, 45, 90, 135, 179]):
            cosine = np.cos(angle)
            for ours, source, tolerance in (
                (scattering.rayleigh_differential, xraylib.DCS_Rayl, coherent),
                (scattering.compton_differential, xraylib.DCS_Compt, incoherent),
            ):
                expected = sum(
                    share * source(ELEMENTS[symbol].number, energy, angle)
                    for symbol, share in material(substance).composition
                )
                found = ours(substance, energy, cosine)
                np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_shapes_are_those_of_the_source():
    """Without the totals: ratios between angles, to the accuracy of the curves."""
    xraylib = pytest.importorskip("xraylib")
    angles = np.deg2rad([5.0, 15.0, 40.0, 80.0, 130.0, 179.0])
    for symbol in ("H", "O", "Ca", "Ti", "I", "Pb"):
        number = ELEMENTS[symbol].number
        for ours, source in (
            (scattering.rayleigh_phase, xraylib.DCS_Rayl),
            (scattering.compton_phase, xraylib.DCS_Compt),
        ):
            expected = np.array([source(number, 70.0, angle) for angle in angles])
            found = ours(symbol, 70.0, np.cos(angles))
            ratios = found / expected
            np.testing.assert_allclose(ratios / ratios[2], 1.0, rtol=1e-3)


def test_free_electrons_scatter_by_klein_and_nishina():
    """Hydrogen's electron is free where the momentum transfer is large."""
    cosine = np.cos(np.deg2rad([60.0, 90.0, 150.0]))
    ratio = 1 / (1 + 150.0 / 510.99895 * (1 - cosine))
    radius = 2.8179403262e-13  # of the electron, cm (CODATA 2018)
    per_electron = radius**2 / 2 * ratio**2 * (ratio + 1 / ratio - 1 + cosine**2)
    found = scattering.compton_differential("H", 150.0, cosine)
    # Avogadro's number over the atomic weight; xraylib's totals are good to 0.3 %.
    np.testing.assert_allclose(found, per_electron * 6.02214076e23 / 1.008, rtol=4e-3)


def test_forward_limits(x64):
    at = scattering.compton_differential("water", 60.0, np.array([1.0, 1 - 1e-6]))
    assert at[0] == 0
    assert 0 < at[1] < 1e-4
    forward = scattering.rayleigh_differential("O", 60.0, 1.0)
    # Thomson's cross section of Z electrons in step, cm^2/g.
    expected = 2.8179403262e-13**2 * 64 * 6.02214076e23 / 15.999
    np.testing.assert_allclose(forward, expected, rtol=6e-3)


def test_compton_energy():
    # At right angles 511 keV halve; straight on nothing is lost.
    np.testing.assert_allclose(scattering.compton_energy(510.99895, 0.0), 255.499475)
    assert scattering.compton_energy(60.0, 1.0) == 60.0
    np.testing.assert_allclose(
        scattering.compton_energy(60.0, -1.0), 60 / (1 + 120 / 510.99895), rtol=1e-6
    )


@pytest.mark.parametrize("substance", ["water", "I"])
@pytest.mark.parametrize("differential", [process for process, _ in PROCESSES])
def test_derivatives(x64, substance, differential):
    points = [(31.7, 0.93), (62.3, 0.2), (111.1, -0.7), (58.0, 0.9999)]
    for energy, cosine in points:
        slopes = jax.grad(differential, argnums=(1, 2))(substance, energy, cosine)
        for axis, step in enumerate((1e-3, 1e-6)):
            shift = step * np.eye(2)[axis]
            ends = [
                differential(
                    substance, energy + sign * shift[0], cosine + sign * shift[1]
                )
                for sign in (1, -1)
            ]
            difference = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(slopes[axis], difference, rtol=1e-3)


def test_derivatives_are_finite_straight_on():
    for differential, _ in PROCESSES:
        slopes = jax.grad(differential, argnums=(1, 2))("water", 60.0, 1.0)
        assert np.all(np.isfinite(slopes))


def test_jit_vmap_and_broadcasting():
    energies = jnp.linspace(20.0, 120.0, 3)
    cosines = jnp.linspace(-1.0, 1.0, 5)
    # A substance that no other test has tabulated: first met under a trace.
    function = lambda e, c: scattering.rayleigh_differential("PEEK", e, c)
    traced = jax.jit(function)(energies[:, None], cosines)
    assert traced.shape == (3, 5)
    np.testing.assert_allclose(traced, function(energies[:, None], cosines), rtol=1e-6)
    mapped = jax.vmap(jax.vmap(function, (None, 0)), (0, None))(energies, cosines)
    np.testing.assert_allclose(mapped, traced, rtol=1e-6)
    assert function(60, 0).shape == ()


@pytest.mark.parametrize("differential", [process for process, _ in PROCESSES])
def test_arguments_are_checked(differential):
    with pytest.raises(ValueError, match="energy must be between 5 and 160 keV"):
        differential("water", 200.0, 0.5)
    with pytest.raises(ValueError, match=r"cosine must be between -1 and 1, got \[1.5"):
        differential("water", 60.0, [0.5, 1.5])
    with pytest.raises(ValueError, match="cosine must be between"):
        differential("water", 60.0, np.nan)
    with pytest.raises(ValueError, match="material must be one of"):
        differential("unobtainium", 60.0, 0.5)


@pytest.mark.parametrize("number", [1, 22, 53])
def test_the_script_makes_the_table_that_is_there(number):
    pytest.importorskip("xraylib")
    for made, stored in zip(
        bake_scattering.tabulate(number),
        scattering.element_factors(number),
        strict=True,
    ):
        np.testing.assert_allclose(made, stored, rtol=1e-6)  # stored in float32


def test_all_elements_are_whole():
    for element in ELEMENTS.values():
        form, incoherent = scattering.element_factors(element.number)
        assert form[0] == pytest.approx(element.number, rel=1e-6)
        assert np.all(np.diff(form) <= 1e-5 * element.number)
        assert np.all(form > 0)
        square = scattering.momentum_nodes() ** 2
        electrons = incoherent * square / (square + scattering.BEND)
        assert np.all(electrons <= element.number * (1 + 1e-3))
        assert np.all(np.diff(electrons) >= -1e-3 * element.number)
