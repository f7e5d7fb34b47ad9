"""Geometry keeps its digits on devices whose plain products do not."""

import jax
import jax.numpy as jnp
import pytest
from jax.lax import Precision

import synthex_jax as sx
from synthex_jax.geometry import lie


def products(jaxpr):
    """All matrix products of a program, its inner programs included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for parameter in jax.tree.leaves(
            equation.params, is_leaf=lambda p: hasattr(p, "jaxpr")
        ):
            if hasattr(parameter, "jaxpr"):
                yield from products(parameter.jaxpr)


def view():
    volume = sx.Volume.from_array(jnp.ones((4, 5, 6)), spacing=2.0)
    return volume, sx.CArm.generic().resized((4, 6)).at(isocenter=volume.center)


@pytest.mark.parametrize(
    "function",
    [
        lambda t: sx.line_integrals(view()[0], view()[1].moved(t)),
        lambda t: view()[1].moved(t).project(jnp.ones((5, 3))),
        lambda t: view()[1].moved(t).back_project(jnp.ones((5, 2))),
        lambda t: view()[1].moved(t).projection_matrix,
        lambda t: sx.CArm.generic().at(t[0], t[1], t[2]),
        lambda t: lie.se3_log(lie.se3_exp(t)),
        lambda t: sx.RigidTransform.from_euler("ZXY", t[:3]).inverse,
    ],
)
def test_products_are_exact(function):
    found = list(products(jax.make_jaxpr(function)(jnp.zeros(6)).jaxpr))
    assert found
    for equation in found:
        assert set(equation.params["precision"]) == {Precision.HIGHEST}, equation
