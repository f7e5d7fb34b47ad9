"""Structures, and label volumes as bits and channels."""

import jax
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.annotations.structures import (
    CHEST_STRUCTURES,
    HIP_STRUCTURES,
    Structure,
    Structures,
    flags,
    indicators,
)
from synthex_jax.phantoms.anatomy import LABELS

AFFINE = np.array(
    [[0, -2.0, 0, 5], [1.5, 0, 0, -3], [0, 0, 3.0, 7], [0, 0, 0, 1]], np.float32
)


def test_create_orders_and_completes():
    made = Structures.create(
        {"a": 3, "b": [5, np.int64(7)], "c": (1,)}, precedence=["c", ("b",)]
    )
    assert made.members == (
        Structure("a", (3,)),
        Structure("b", (5, 7)),
        Structure("c", (1,)),
    )
    assert made.names == ("a", "b", "c")
    assert made.precedence == (("c",), ("b",), ("a",))
    assert made.groups == ((2,), (1,), (0,))
    assert [made.index(name) for name in made.names] == [0, 1, 2]
    assert hash(made) == hash(Structures(made.members, made.precedence))
    assert not jax.tree.leaves(made)


def test_hip_is_the_papers():
    assert HIP_STRUCTURES.names == (
        "left hemipelvis",
        "right hemipelvis",
        "vertebrae",
        "upper sacrum",
        "left femur",
        "right femur",
    )
    labels = [member.labels for member in HIP_STRUCTURES.members]
    assert labels == [(77,), (78,), tuple(range(27, 44)), (25, 26), (75,), (76,)]
    assert HIP_STRUCTURES.groups == ((4, 5), (0, 1), (2,), (3,))


def test_numbers_are_those_of_the_phantoms():
    """Each structure's name is in the phantoms' name of its numbers, in some form."""
    words = {"hemipelvis": "hip", "upper sacrum": "sacrum", "spine": "vertebrae"}
    for structures in (HIP_STRUCTURES, CHEST_STRUCTURES):
        for member in structures.members:
            kind = member.name.removeprefix("left ").removeprefix("right ")
            stem = words.get(kind, kind.removesuffix("s").replace("clavicle", "clavic"))
            names = [LABELS[n] for n in member.labels if n in LABELS]
            assert any(stem.rstrip("e") in name for name in names), member
            for side in {"left", "right"} & {member.name.split()[0]}:
                assert all(side in name for name in names)


def test_flags_follow_the_labels(rng):
    """Every voxel keeps its place in the world; around the structures one is kept."""
    labels = np.zeros((9, 10, 12), np.int16)
    labels[3:6, 2:7, 5:9] = rng.choice([0, 1, 300, -4, 25], (3, 5, 4))
    labels[3, 2, 5] = labels[5, 6, 8] = 300
    labels[8, 9, 0] = 9
    made = Structures.create({"a": 300, "b": [25, 26], "absent": 31, "c": 1})
    found = flags(sx.Volume.from_array(labels, AFFINE), made)
    assert found.data.dtype == np.uint8
    assert found.shape == (5, 7, 6)
    shift = AFFINE[:3, :3] @ [2, 1, 4]
    np.testing.assert_allclose(found.affine[:3, 3], AFFINE[:3, 3] + shift, atol=1e-5)
    inner = np.zeros((5, 7, 6), np.uint8)
    for bit, numbers in enumerate([(300,), (25, 26), (31,), (1,)]):
        inner[1:-1, 1:-1, 1:-1] |= (
            np.isin(labels[3:6, 2:7, 5:9], numbers).astype(np.uint8) << bit
        )
    np.testing.assert_array_equal(found.data, inner)
    channels = indicators(sx.Volume.from_array(labels, AFFINE), made)
    expected = inner[..., None] >> np.arange(4) & 1
    np.testing.assert_array_equal(channels.data, expected)


def test_flags_under_jit_keep_the_grid(rng):
    labels = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    labels[0, 0, 0] = labels[-1, -1, -1] = 1
    made = Structures.create({"one": 1, "two": 2})
    whole = sx.Volume.from_array(labels, AFFINE)
    traced = jax.jit(flags)(whole, made)
    np.testing.assert_array_equal(traced.affine, whole.affine)
    # What a compiled function closes over is known, and cropped.
    closed, outer = jax.jit(lambda: flags(whole, made))(), flags(whole, made)
    np.testing.assert_array_equal(traced.data, outer.data[1:-1, 1:-1, 1:-1])
    np.testing.assert_array_equal(closed.data, outer.data)
    np.testing.assert_array_equal(closed.affine, outer.affine)


@pytest.mark.parametrize(
    ("count", "dtype"), [(8, "uint8"), (9, "uint16"), (16, "uint16"), (32, "uint32")]
)
def test_as_many_bits_as_structures(count, dtype):
    labels = np.arange(count + 1).reshape(1, 1, -1)
    made = Structures.create({str(n): n for n in range(1, count + 1)})
    found = flags(sx.Volume.from_array(labels, np.eye(4)), made)
    assert found.data.dtype == dtype
    np.testing.assert_array_equal(
        found.data[1, 1, 1:-1], 1 << np.arange(count, dtype=dtype)
    )


@pytest.mark.parametrize(
    ("members", "precedence", "message"),
    [
        ({}, (), "1 to 32 structures.*got 0"),
        ({str(n): n for n in range(1, 34)}, (), "1 to 32 structures.*got 33"),
        ({"a": 0}, (), "from 1 .*'a' has \\(0,\\)"),
        ({"a": 70_000}, (), "65535"),
        ({"a": []}, (), "'a' has \\(\\)"),
        ({"a": [1, 2], "b": 2}, (), "2 is in \\['a', 'b'\\]"),
        ({"a": [1, 1]}, (), "1 is in \\['a'\\]"),
        ({"a": 1, "b": 2}, ["c"], "precedence must be of a, b; got 'c'"),
        ({"a": 1, "b": 2}, [("a", "b"), "a"], "names 'a' 2 times"),
    ],
)
def test_create_errors(members, precedence, message):
    with pytest.raises(ValueError, match=message):
        Structures.create(members, precedence=precedence)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"left hemipelvis, right.*got 'femur'"):
        HIP_STRUCTURES.index("femur")


def test_flags_errors():
    one = Structures.create({"bone": [4, 5]})
    labels = sx.Volume.from_array(np.arange(3).reshape(1, 1, 3), spacing=1.0)
    with pytest.raises(ValueError, match=r"bone: 4, 5.*values are 0, 1, 2;"):
        flags(labels, one)
    with pytest.raises(ValueError, match=r"integers, got float32.*astype"):
        flags(labels.astype(np.float32), one)
    with pytest.raises(ValueError, match=r"one number a voxel.*\(1, 1, 3, 1\)"):
        flags(sx.Volume(labels.data[..., None], labels.affine), one)
