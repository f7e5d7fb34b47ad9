import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.compounds import NAMED, Material, iodine_contrast, material
from synthex_jax.physics.elements import ELEMENTS


def test_elements_are_hydrogen_to_uranium_in_order():
    numbers = [element.number for element in ELEMENTS.values()]
    assert numbers == list(range(1, 93))
    assert ELEMENTS["H"] == (1, 1.008, 8.4e-5)
    assert [ELEMENTS[s].number for s in ("Ti", "I", "Gd", "W", "Pb", "U")] == [
        *(22, 53, 64, 74, 82, 92)
    ]


def test_weights_and_densities_are_those_of_xraylib():
    xraylib = pytest.importorskip("xraylib")
    for symbol, element in ELEMENTS.items():
        assert xraylib.SymbolToAtomicNumber(symbol) == element.number
        assert element.density == pytest.approx(
            xraylib.ElementDensity(element.number), rel=1e-5
        )
        # Its weights are of about 1970; Tc and Pm have no standard weight, and its
        # gold and thulium are off by 0.1 and 1 %.
        loose = {"Tc": 0.015, "Pm": 0.015, "Tm": 0.011, "H": 0.003}.get(symbol, 0.0013)
        assert element.weight == pytest.approx(
            xraylib.AtomicWeight(element.number), rel=loose
        )


@pytest.mark.parametrize(
    ("formula", "fractions"),
    [
        # By hand: 2 * 1.008 / 18.015, and so on.
        ("H2O", {"H": 0.111907, "O": 0.888093}),
        ("CsI", {"Cs": 0.511549, "I": 0.488451}),
        ("Gd2O2S", {"Gd": 0.830776, "O": 0.084527, "S": 0.084693}),
        ("Ni0.5Ti.5", {"Ni": 0.550803, "Ti": 0.449197}),
        ("CH3CH2OH", {"C": 0.521429, "H": 0.131281, "O": 0.347290}),
        ("Co", {"Co": 1.0}),
        ("CO", {"C": 0.428808, "O": 0.571192}),
    ],
)
def test_formulas_weigh_atoms(formula, fractions):
    found = dict(material(formula).composition)
    assert found.keys() == fractions.keys()
    for symbol, fraction in fractions.items():
        assert found[symbol] == pytest.approx(fraction, abs=1e-5)


def test_every_named_material_is_whole():
    for name, one in NAMED.items():
        fractions = [fraction for _, fraction in one.composition]
        assert sum(fractions) == pytest.approx(1)
        assert all(symbol in ELEMENTS for symbol, _ in one.composition)
        assert one.density is not None, name
        assert material(name) is one


def test_published_compositions_sum_to_one_before_normalizing():
    """ICRU's percentages of cortical bone and spongiosa, entered digit by digit."""
    bone = dict(NAMED["cortical bone"].composition)
    assert bone["Ca"] == pytest.approx(0.225, rel=1e-6)
    assert bone["P"] == pytest.approx(0.103, rel=1e-6)
    assert dict(NAMED["spongy bone"].composition)["Ca"] == pytest.approx(0.074)
    assert dict(NAMED["water"].composition)["H"] == pytest.approx(0.111898)


def test_iodine_contrast_holds_the_iodine_it_says():
    # Specific gravities of iohexol solutions, as labelled.
    for iodine, density in [(140, 1.164), (240, 1.280), (300, 1.349), (350, 1.406)]:
        agent = iodine_contrast(iodine)
        assert agent.density == pytest.approx(density, abs=2.5e-3)
        mass_per_milliliter = dict(agent.composition)["I"] * agent.density
        assert mass_per_milliliter == pytest.approx(1e-3 * iodine, rel=1e-4)


def test_density_can_be_given():
    assert material("H2O").density is None
    assert material("H2O", density=0.998).density == 0.998
    assert material("lung", density=0.3).composition == material("lung").composition
    assert material("Ti").density == 4.54


def test_a_material_is_a_pytree_whose_leaf_is_the_density():
    mapped = jax.tree.map(lambda x: 2 * x, material("water"))
    assert mapped.density == 2.0
    assert mapped.name == "water"
    slope = jax.grad(lambda d: material("water", density=d).density * 3.0)(1.0)
    np.testing.assert_allclose(slope, 3.0)
    assert jax.jit(lambda m: m.density)(material("water")) == jnp.ones(())


@pytest.mark.parametrize("name", ["Water", "bone", "", "H2O)", "soft_tissue", "2H"])
def test_unknown_names_say_what_is_known(name):
    with pytest.raises(ValueError, match=r"cortical bone.*formula such as 'Gd2O2S'"):
        material(name)


def test_errors():
    with pytest.raises(
        ValueError, match=r"elements from H \(1\) to U \(92\), got 'Pu'"
    ):
        material("PuO2")
    with pytest.raises(ValueError, match=r"count atoms above zero, got 0 O"):
        material("H2O0")
    with pytest.raises(ValueError, match=r"density of 'water' must be positive"):
        material("water", density=-1.0)
    with pytest.raises(ValueError, match=r"mass_fractions\['O'\] of 'x' must be posi"):
        Material.create("x", {"H": 0.5, "O": -0.5})
    with pytest.raises(ValueError, match="at least one element"):
        Material.create("x", {})
    with pytest.raises(ValueError, match="iodine must be above 0 and at most 400"):
        iodine_contrast(3500.0)
