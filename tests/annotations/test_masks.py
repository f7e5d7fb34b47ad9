"""Masks of boxes and balls whose shadows are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.annotations.masks import (
    class_map,
    label_masks,
    masks,
    path_lengths,
)
from synthex_jax.annotations.structures import HIP_STRUCTURES, Structures, flags
from synthex_jax.projectors.occupancy import hits

CARM = sx.CArm.create(
    source_to_detector=1000.0, source_to_isocenter=700.0, pitch=6.0, shape=(40, 50)
)


def hip_boxes() -> sx.Volume:
    """Plates one behind the other from front to back, in world axes, 4 mm voxels."""
    labels = np.zeros((40, 40, 40), np.uint8)
    # Front (large y) to back: right hip, left hip, vertebra, sacrum, both femurs.
    labels[8:20, 34, 8:32] = 78
    labels[4:32, 30, 12:28] = 77
    labels[12:36, 24, 4:36] = 30
    labels[2:38, 18, 2:38] = 25
    labels[30:34, 10, 20:24] = 76
    labels[14:18, 8, 20:24] = 75
    return sx.Volume.from_array(labels, spacing=4.0)


def at(camera: sx.Camera, points) -> tuple:
    """Indices of the pixels that world points fall on."""
    nearest = np.rint(np.asarray(camera.project(jnp.asarray(points, float))))
    rows, cols = nearest.astype(int).T
    return rows, cols


def test_precedence_and_overlap():
    labels, camera = hip_boxes(), CARM.at()
    # World places (x, z) in mm from the middle, by what the plates above cover there.
    x, z = np.array(
        [(-18, 8), (46, 8), (-18, -20), (-34, -20), (14, -20), (54, -20), (70, 68)]
    ).T
    pixels = at(camera, np.stack([x, 0 * x, z], axis=-1))
    found = hits(flags(labels, HIP_STRUCTURES), camera, groups=HIP_STRUCTURES.groups)
    classes = np.asarray(class_map(found, HIP_STRUCTURES))
    names = ["background", *HIP_STRUCTURES.names]
    assert [names[c] for c in classes[pixels]] == [
        "left femur",
        "right femur",
        "right hemipelvis",
        "right hemipelvis",
        "left hemipelvis",
        "vertebrae",
        "upper sacrum",
    ]
    separate = np.asarray(masks(found, HIP_STRUCTURES))
    assert separate.shape == (6, *camera.shape)
    assert separate[:, *(p[2] for p in pixels)].tolist() == [1, 1, 1, 1, 0, 0]
    # From behind, the left hemipelvis is the nearer.
    behind = CARM.at(np.pi)
    turned = label_masks(labels, behind, HIP_STRUCTURES)
    assert turned[at(behind, [(-34.0, 0, -20.0)])] == 1
    np.testing.assert_array_equal(label_masks(labels, camera, HIP_STRUCTURES), classes)
    assert set(np.unique(classes)) == set(range(7))
    assert classes[0, 0] == 0


def test_left_is_left():
    """From the front, the patient's left femur, at negative x, is on the right."""
    places = np.moveaxis(np.indices((40, 20, 20)), 0, -1)
    left = np.linalg.norm(places - [8, 10, 12], axis=-1) < 5
    right = np.linalg.norm(places - [31, 10, 12], axis=-1) < 5
    labels = sx.Volume.from_array(
        (75 * left + 76 * right).astype(np.uint8), spacing=5.0
    )
    classes = np.asarray(label_masks(labels, CARM.at(), HIP_STRUCTURES))
    (row_l, col_l), (row_r, col_r) = (
        np.argwhere(classes == c).mean(axis=0) for c in (5, 6)
    )
    assert col_l > 35
    assert col_r < 15
    assert row_l == row_r < 19


def test_batches(rng):
    labels = sx.Volume.from_array(rng.integers(0, 4, (8, 9, 7)), spacing=20.0)
    made = Structures.create({"a": 3, "b": 1}, precedence=[("a", "b")])
    views = [CARM.resized((8, 10)).at(o, isocenter=labels.center) for o in (0.1, 1.6)]
    cameras = jax.tree.map(lambda *leaves: jnp.stack(leaves), *views)
    outside = jax.vmap(label_masks, (None, 0, None))(labels, cameras, made)
    given = jax.jit(label_masks)(labels, views[1], made)
    np.testing.assert_array_equal(label_masks(labels, views[0], made), outside[0])
    np.testing.assert_array_equal(given, outside[1])
    assert given.dtype == jnp.uint8
    assert 0 < np.mean(np.asarray(given) == 1) < 1


def test_path_lengths_are_chords():
    """Of plates across the axis: thickness over cosine."""
    data = np.zeros((30, 9, 30), np.int32)
    data[:, 2:5], data[:, 6] = 7, 2
    labels = sx.Volume.from_array(data, spacing=(8.0, 5.0, 8.0))
    made = Structures.create({"thin": 2, "thick": 7})
    camera = CARM.resized((6, 5)).at(0.2, 0.1)
    found = path_lengths(labels, camera, made)
    ray = np.asarray(camera.back_project(camera.pixel_grid()) - camera.source)
    cosine = np.abs(ray[..., 1]) / np.linalg.norm(ray, axis=-1)
    np.testing.assert_allclose(found[..., 0], 5 / cosine, rtol=1e-5)
    np.testing.assert_allclose(found[..., 1], 15 / cosine, rtol=1e-5)


def test_too_few_bits():
    labels = sx.Volume.from_array(np.ones((2, 2, 2), np.uint8), spacing=20.0)
    found = hits(labels, CARM.resized((2, 2)).at())
    many = Structures.create({str(n): n for n in range(1, 10)})
    for function in (class_map, masks):
        with pytest.raises(ValueError, match="8 bits, got 9"):
            function(found, many)
