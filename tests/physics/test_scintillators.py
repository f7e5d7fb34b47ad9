import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expn

from synthex_jax.physics.compounds import material
from synthex_jax.physics.scintillators import (
    _K_FLUORESCENCE,
    PerfectAbsorber,
    Scintillator,
    _escape,
)
from synthex_jax.physics.spectra import tungsten
from synthex_jax.physics.tables import linear_attenuation


def test_a_perfect_absorber_keeps_all():
    response = PerfectAbsorber().response(np.array([[20.0, 60.0]]))
    np.testing.assert_array_equal(response.first, [[20.0, 60.0]])
    np.testing.assert_array_equal(response.second, [[400.0, 3600.0]])


def simulated(rng, layer, energy, count):
    """Moments of the energy left by photons followed one by one, all scatter included.

    Cross sections, yields, lines and form factors are xraylib's.
    """
    xraylib = pytest.importorskip("xraylib")
    number = xraylib.SymbolToAtomicNumber
    parts = [(number(symbol), share) for symbol, share in layer.substance.composition]
    nodes = np.linspace(5.0, 160.0, 1551)
    per_mm = float(layer.substance.density) / 10
    processes = (xraylib.CS_Photo, xraylib.CS_Compt, xraylib.CS_Rayl)
    tables = np.array(
        [[[w * f(z, e) for e in nodes] for f in processes] for z, w in parts]
    )
    at = lambda i, j, e: per_mm * np.interp(e, nodes, tables[i, j])
    thickness = float(layer.thickness)
    left = np.zeros(count)
    photon, depth, cosine = np.arange(count), np.zeros(count), np.ones(count)
    energies = np.full(count, energy)
    while len(photon):
        mu = np.array(
            [[at(i, j, energies) for j in range(3)] for i in range(len(parts))]
        )
        depth = depth + cosine * rng.exponential(size=len(photon)) / mu.sum((0, 1))
        inside = (depth > 0) & (depth < thickness)
        photon, depth, cosine = photon[inside], depth[inside], cosine[inside]
        energies, mu = energies[inside], mu[..., inside].reshape(-1, inside.sum())
        pick = (mu.cumsum(0) < rng.random(len(photon)) * mu.sum(0, keepdims=True)).sum(
            0
        )
        element, process = np.divmod(pick, 3)
        goes_on = process > 0
        energies, cosine = energies.copy(), cosine.copy()
        for i, (z, _) in enumerate(parts):
            absorbed = (process == 0) & (element == i)
            line = np.zeros(len(photon))
            if z > 20:
                share = 1 - 1 / xraylib.JumpFactor(z, xraylib.K_SHELL)
                share *= xraylib.FluorYield(z, xraylib.K_SHELL)
                above = energies > xraylib.EdgeEnergy(z, xraylib.K_SHELL)
                shines = absorbed & above & (rng.random(len(photon)) < share)
                names = ("KL2_LINE", "KL3_LINE", "KM2_LINE", "KM3_LINE")
                lines = [getattr(xraylib, name) for name in names]
                rates = np.array([xraylib.RadRate(z, k) for k in lines])
                values = [xraylib.LineEnergy(z, k) for k in lines]
                chosen = rng.choice(values, size=shines.sum(), p=rates / rates.sum())
                line[shines] = chosen
                goes_on |= shines
            np.add.at(left, photon[absorbed], (energies - line)[absorbed])
            energies[line > 0] = line[line > 0]
            cosine[line > 0] = rng.uniform(-1, 1, (line > 0).sum())
        for wanted in (1, 2):
            hit = process == wanted
            turn = scattering_cosines(rng, energies[hit], wanted == 1)
            after = energies[hit]
            if wanted == 1:
                after = after / (1 + after / 511.0 * (1 - turn))
                np.add.at(left, photon[hit], energies[hit] - after)
            around = np.cos(rng.uniform(0, 2 * np.pi, hit.sum()))
            sine = np.sqrt(np.maximum(1 - cosine[hit] ** 2, 0) * (1 - turn**2))
            energies[hit], cosine[hit] = after, cosine[hit] * turn + sine * around
        photon, depth, cosine = photon[goes_on], depth[goes_on], cosine[goes_on]
        energies = np.maximum(energies[goes_on], 5.0)
    return left.mean(), (left**2).mean()


def scattering_cosines(rng, energies, is_compton):
    """Klein and Nishina's law, or Rayleigh's with the forward peak of heavy atoms."""
    turn = np.empty(len(energies))
    todo = np.arange(len(energies))
    while len(todo):
        c = rng.uniform(-1, 1, len(todo))
        if is_compton:
            ratio = 1 / (1 + energies[todo] / 511.0 * (1 - c))
            chance = ratio**2 * (ratio + 1 / ratio - 1 + c**2) / 2
        else:
            # Half of the form factor's square is left at 1 per Angstrom or so.
            transfer = energies[todo] / 12.4 * np.sqrt((1 - c) / 2)
            chance = (1 + c**2) / 2 / (1 + transfer**2) ** 2
        kept = rng.random(len(todo)) < chance
        turn[todo[kept]] = c[kept]
        todo = todo[~kept]
    return turn


@pytest.mark.parametrize(
    ("layer", "energy"),
    [
        (Scintillator.csi(swank=1.0), 30.0),
        (Scintillator.csi(swank=1.0), 40.0),
        (Scintillator.csi(swank=1.0), 70.0),
        (Scintillator.gadolinium_oxysulfide(swank=1.0), 45.0),
        (Scintillator.gadolinium_oxysulfide(swank=1.0), 60.0),
    ],
)
def test_moments_agree_with_photons_followed_one_by_one(rng, layer, energy):
    first, second = simulated(rng, layer, energy, 100_000)
    response = layer.response(energy)
    # 0.3 % of statistics (one standard deviation); what the model leaves out: 1 %.
    np.testing.assert_allclose(response.first, first, rtol=0.02)
    np.testing.assert_allclose(response.second, second, rtol=0.025)


def test_below_the_edges_it_is_absorption_alone():
    xraylib = pytest.importorskip("xraylib")
    layer = Scintillator.create("CsI", thickness=0.3, swank=0.8)
    processes = (xraylib.CS_Photo_CP, xraylib.CS_Compt_CP)
    depth = 0.03 * 4.51 * sum(process("CsI", 30.0) for process in processes)
    response = layer.response(30.0)
    # 1e-3 is what the table is good for.
    np.testing.assert_allclose(layer.efficiency(30.0), 1 - np.exp(-depth), rtol=1e-3)
    expected = layer.efficiency(30.0) * 30.0
    np.testing.assert_allclose(response.first, expected, rtol=1e-6)
    np.testing.assert_allclose(response.second, expected * 30 / 0.8, rtol=1e-6)


def test_edges_are_seen():
    """More photons interact above an edge, but each leaves less."""
    for layer, edge in (
        (Scintillator.csi(0.2), 33.1694),
        (Scintillator.csi(0.2), 35.9846),
        (Scintillator.gadolinium_oxysulfide(), 50.2391),
    ):
        below, above = edge - 0.01, edge + 0.01
        assert layer.efficiency(above) > 1.1 * layer.efficiency(below)
        left = lambda e, layer=layer: layer.response(e).first / layer.efficiency(e)
        assert left(above) < 0.97 * left(below)


def test_constants_are_xraylibs():
    xraylib = pytest.importorskip("xraylib")
    for symbol, (fluorescence_yield, line) in _K_FLUORESCENCE.items():
        number = xraylib.SymbolToAtomicNumber(symbol)
        expected = xraylib.FluorYield(number, xraylib.K_SHELL)
        np.testing.assert_allclose(fluorescence_yield, expected, atol=1e-3)
        names = ("KL2", "KL3", "KM2", "KM3", "KN2", "KN3")
        rates, energies = [], []
        for name in names:
            try:
                code = getattr(xraylib, f"{name}_LINE")
                rate = xraylib.RadRate(number, code)
            except ValueError:  # Lighter elements lack the outer shells.
                continue
            rates.append(rate)
            energies.append(xraylib.LineEnergy(number, code))
        # To a thousandth: some weak lines are left out here.
        np.testing.assert_allclose(line, np.average(energies, weights=rates), rtol=1e-3)


def test_escape_from_thin_and_thick_layers(x64):
    """Closed forms: a thin layer, one that absorbs at its face, one that is thick."""
    escape = lambda depth, line: _escape(jnp.asarray(depth), jnp.asarray(line))
    np.testing.assert_allclose(escape(1e-6, 1e-6), 1.0, atol=1e-4)
    # The quadrature's error grows where a layer is neither thin nor thick.
    at_the_face = 0.5 + expn(2, 1.0) / 2
    np.testing.assert_allclose(escape(1e5, 1.0), at_the_face, atol=1e-3)
    np.testing.assert_allclose(escape(60.0, 60.0), 0.5 * (1 - np.log(2)), atol=2e-4)


def test_a_typical_panel():
    """0.6 mm of CsI behind 20 cm of water: efficiency 0.7 to 0.85, Swank's factor."""
    beam = tungsten(80.0)
    left = beam.fluence * jnp.exp(-200 * linear_attenuation("water", beam.energies))
    layer = Scintillator.csi()
    shares = left / left.sum()
    assert 0.65 < jnp.sum(shares * layer.efficiency(beam.energies)) < 0.9
    response = layer.response(60.0)
    total = response.first**2 / response.second / layer.efficiency(60.0)
    # Zhao, Ristic & Rowlands 2004 measure 0.8 to 0.9 above the K edges.
    assert 0.78 < total < 0.92


def test_derivatives(x64):
    # Between the nodes of the table, where the slope jumps.
    energies = jnp.array([28.0, 41.0, 61.3, 88.0])

    def moments(thickness, swank, density, shift):
        layer = Scintillator.create(
            material("CsI", density=density), thickness=thickness, swank=swank
        )
        response = layer.response(energies + shift)
        return jnp.sum(response.first) + jnp.sum(response.second) / 50

    point = (0.5, 0.9, 3.7, 0.0)
    slopes = jax.grad(moments, argnums=(0, 1, 2, 3))(*point)
    for i, slope in enumerate(slopes):
        step = 1e-4 * np.eye(4)[i]
        up, down = (moments(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-4, rtol=1e-3)


def test_transformations():
    layer = Scintillator.csi()
    energies = jnp.array([[30.0, 50.0], [70.0, 90.0]])
    expected = layer.response(energies)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        jax.vmap(layer.response)(energies),
        expected,
    )
    thicker = jax.tree.map(lambda x: 2 * x, layer)
    assert np.all(thicker.response(energies).first > expected.first)


def test_errors():
    with pytest.raises(ValueError, match=r"thickness must be positive \(mm\), got -"):
        Scintillator.csi(-0.5)
    with pytest.raises(ValueError, match="swank must be above 0 and at most 1, got"):
        Scintillator.csi(swank=1.2)
    with pytest.raises(
        ValueError, match="packing must be above 0 and at most 1, got 0"
    ):
        Scintillator.csi(packing=0)
    with pytest.raises(ValueError, match="substance must have a density, 'CaWO4'"):
        Scintillator.create("CaWO4", thickness=0.1)
    with pytest.raises(ValueError, match=r"areal_density must be positive \(mg/cm"):
        Scintillator.gadolinium_oxysulfide(0.0)
    with pytest.raises(ValueError, match="energies must be between 5 and 160 keV"):
        Scintillator.csi().response(60_000.0)
