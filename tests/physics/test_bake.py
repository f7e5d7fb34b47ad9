import numpy as np
import pytest

from synthex_jax.physics import bake, tables


@pytest.mark.parametrize(("number", "symbol"), [(1, "H"), (22, "Ti"), (53, "I")])
def test_the_script_makes_the_table_that_is_there(number, symbol):
    pytest.importorskip("xraylib")
    energies, values = bake.tabulate(number)
    stored_energies, stored_values = tables.element_nodes(symbol)
    np.testing.assert_array_equal(energies, stored_energies)
    np.testing.assert_allclose(values, stored_values, rtol=1e-7)  # stored in float32


def test_all_elements_are_whole():
    for symbol in tables.ELEMENTS:
        energies, values = tables.element_nodes(symbol)
        assert energies[0] == tables.LOWEST_KEV
        assert energies[-1] == tables.HIGHEST_KEV
        assert np.all(np.diff(energies) >= 0)
        assert np.all(values > 0)
        # Only photoelectric absorption jumps, and only up.
        edge = np.diff(energies) == 0
        rise = np.diff(np.log(values), axis=0)
        assert np.all(rise[edge, 0] > 0.02)
        assert np.all(np.abs(rise[edge, 1:]) < 1e-3)


def test_all_elements_agree_with_the_source():
    """All 92 between their nodes, without edges' neighborhoods, in float64."""
    xraylib = pytest.importorskip("xraylib")
    functions = (xraylib.CS_Photo, xraylib.CS_Compt, xraylib.CS_Rayl)
    for symbol, element in tables.ELEMENTS.items():
        energies, values = tables.element_nodes(symbol)
        wide = np.diff(np.log(energies)) > 0.01
        middles = (energies[:-1] * energies[1:])[wide] ** 0.5
        law = (values[:-1] * values[1:])[wide] ** 0.5
        source = [[f(element.number, e) for f in functions] for e in middles]
        np.testing.assert_allclose(law, source, rtol=2e-4)
