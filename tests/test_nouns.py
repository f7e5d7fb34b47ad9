"""Pytrees against those of JAX's own registration."""

import pathlib
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

import synthex_jax as sx
from synthex_jax.nouns import noun


@noun
@dataclass(frozen=True)
class Ours:
    a: object
    count: int = field(metadata={"static": True})
    b: object


@noun
@dataclass(frozen=True)
class Others:
    a: object
    count: int = field(metadata={"static": True})
    b: object


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Theirs:
    a: object
    count: int = field(metadata={"static": True})
    b: object


def test_leaves_keys_and_static_fields_are_those_of_jaxs_own():
    ours, theirs = (cls({"x": 1.0}, 3, (2.0, None)) for cls in (Ours, Theirs))
    assert jax.tree.leaves(ours) == jax.tree.leaves(theirs) == [1.0, 2.0]
    (paths, _), (expected, _) = (
        jax.tree_util.tree_flatten_with_path(tree) for tree in (ours, theirs)
    )
    assert paths == expected
    assert jax.tree.map(lambda x: 2 * x, ours) == Ours({"x": 2.0}, 3, (4.0, None))
    doubled = jax.jit(jax.vmap(lambda o: jax.tree.map(lambda x: o.count * x, o)))(
        Ours(jnp.arange(3.0), 2, jnp.ones(3))
    )
    assert doubled.count == 2
    np.testing.assert_array_equal(doubled.a, [0, 2, 4])


def test_structures_of_two_classes_or_counts_differ():
    ours = jax.tree.structure(Ours(1.0, 3, 2.0))
    assert ours == jax.tree.structure(Ours(7.0, 3, 8.0))
    assert ours != jax.tree.structure(Others(1.0, 3, 2.0))
    assert ours != jax.tree.structure(Ours(1.0, 4, 2.0))


def test_the_package_registers_its_nouns_this_way():
    package = pathlib.Path(sx.__file__).parent
    others = [
        path.name
        for path in package.rglob("*.py")
        if "@jax.tree_util.register_dataclass" in path.read_text(encoding="utf-8")
    ]
    assert not others
