import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.volumes.thresholds import SingleMaterial, Thresholds
from synthex_jax.volumes.volume import Volume

HU = np.array([-1100.0, -1000.0, -800.0, -300.0, 0.0, 350.0, 351.0, 1200.0])


def column(values):
    return Volume.from_array(jnp.asarray(values, float)[:, None, None], spacing=1.0)


def shares(rule, values=HU):
    return np.asarray(rule.composition(column(values)).fractions.data)[:, 0, 0]


def test_single_material_is_the_definition_of_the_ct_number():
    rule = SingleMaterial.create()
    water, air = (float(linear_attenuation(s, 70.0)) for s in ("water", "air"))
    expected = np.maximum(HU + 1000, 0) / 1000 * (water - air) / water
    np.testing.assert_allclose(shares(rule)[:, 0], expected, rtol=1e-5, atol=1e-7)
    # Less than 0.5 % off at 0 HU, where the air is left out.
    np.testing.assert_allclose(shares(rule)[4], 1.0, rtol=5e-3)


def test_a_threshold_leaves_nothing_below():
    found = shares(SingleMaterial.create(lowest=-130.0))[:, 0]
    assert np.all(found[HU < -130] == 0)
    np.testing.assert_allclose(found[-1] / found[4], 1330 / 130, rtol=1e-5)


def test_thresholds_choose_one_substance():
    found = shares(Thresholds.create())
    assert np.all((found > 0).sum(-1) == 1)
    assert np.argmax(found, axis=-1).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    mu = Thresholds.create().composition(column(HU)).attenuation(70.0).data[:, 0, 0]
    water, air = (float(linear_attenuation(s, 70.0)) for s in ("water", "air"))
    expected = np.maximum(water + HU / 1000 * (water - air), air)
    np.testing.assert_allclose(mu, expected, rtol=1e-3)


def test_deepdrr_densities():
    """The least of two lines in HU, and nothing below zero; water 3 % too dense."""
    values = np.array([-1100.0, -900.0, 0.0, 300.0, 1000.0])
    density = Thresholds.deepdrr().composition(column(values)).density().data[:, 0, 0]
    expected = [
        max(0.0, min(0.001029 * hu + 1.03, 0.0005886 * hu + 1.03)) for hu in values
    ]
    np.testing.assert_allclose(density, expected, rtol=1e-4, atol=1e-6)


def test_derivative_in_hu(x64):
    for rule in (SingleMaterial.create(), Thresholds.create(), Thresholds.deepdrr()):
        values = jnp.array([-700.0, -100.0, 40.0, 900.0])
        total = lambda v: jnp.sum(
            rule.composition(column(v)).attenuation(60.0).data ** 2  # noqa: B023
        )
        slope = jax.grad(total)(values)
        for i in range(4):
            step = 1e-3 * jnp.eye(4)[i]
            expected = (total(values + step) - total(values - step)) / 2e-3
            np.testing.assert_allclose(slope[i], expected, rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"borders must have shape \(1,\), got \(2,\)"):
        Thresholds.create((-800.0, 350.0), ("air", "water"))
    with pytest.raises(ValueError, match="borders must rise"):
        Thresholds.create((350.0, -800.0))
    with pytest.raises(ValueError, match="material must be one of"):
        SingleMaterial.create("snow")
    with pytest.raises(ValueError, match="volume must be in HU"):
        SingleMaterial.create().composition(column([0.2, 0.7]))
