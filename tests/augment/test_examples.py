"""Labelled examples through transforms, against NumPy and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synthex_jax import Camera, RigidTransform
from synthex_jax.augment.examples import warp_example
from synthex_jax.augment.spatial import Affine2, warp_camera

SHAPE = (30, 40)
# Structures: left, right, middle. Landmarks: left, right, tip.
PAIRS = ((0, 1),)


@pytest.fixture
def example():
    """Left, right and middle structure as blocks that overlap."""
    masks = np.zeros((3, *SHAPE), bool)
    masks[0, 4:12, 25:37] = True
    masks[1, 6:16, 3:14] = True
    masks[2, 10:24, 12:28] = True
    return {
        "image": jnp.asarray(np.tensordot([1.0, 2.0, 4.0], masks, 1), jnp.float32),
        "mask": jnp.asarray(np.max(masks * np.arange(1, 4)[:, None, None], 0), "uint8"),
        "hits": packed(masks),
        "landmarks": jnp.array([[6.0, 30.5], [8.25, 7.0], [18.0, 20.0]]),
        "visible": jnp.array([True, True, False]),
        "boxes": boxes(masks),
        "present": jnp.ones(3, bool),
        "specimen": jnp.array(4),
    }


def packed(masks):
    return jnp.asarray(np.tensordot([1, 2, 4], np.asarray(masks), 1), jnp.uint8)


def boxes(masks):
    """By hand: the outer edges of the outermost pixels, zeros for an empty mask."""
    found = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(found, np.asarray(masks), strict=True):
        rows, cols = np.nonzero(mask)
        if len(rows):
            box[:] = (
                rows.min() - 0.5,
                cols.min() - 0.5,
                rows.max() + 0.5,
                cols.max() + 0.5,
            )
    return jnp.asarray(found)


def bits(hits, count=3):
    return [(np.asarray(hits) >> s) & 1 for s in range(count)]


def without(example, *names):
    return {name: value for name, value in example.items() if name not in names}


def warped(example, transform):
    return warp_example(example, transform, structure_pairs=PAIRS, landmark_pairs=PAIRS)


def test_a_flip_exchanges_left_and_right(example):
    flipped = warped(example, Affine2.flip(SHAPE))
    np.testing.assert_array_equal(flipped["image"], np.fliplr(example["image"]))
    left, right, middle = (np.fliplr(m) for m in bits(example["hits"]))
    np.testing.assert_array_equal(flipped["hits"], packed([right, left, middle]))
    classes = np.array([0, 2, 1, 3])[np.fliplr(example["mask"])]
    np.testing.assert_array_equal(flipped["mask"], classes)
    # Columns are counted from the other side: 39 - c.
    np.testing.assert_allclose(
        flipped["landmarks"], [[8.25, 32.0], [6.0, 8.5], [18.0, 19.0]], atol=1e-5
    )
    assert flipped["visible"].tolist() == [True, True, False]
    np.testing.assert_array_equal(flipped["boxes"], boxes([right, left, middle]))
    assert flipped["specimen"] == 4
    for name, value in example.items():
        assert flipped[name].dtype == value.dtype
    # The old boxes' corners say the same, and a second flip takes all back.
    by_corners = warped(without(example, "hits"), Affine2.flip(SHAPE))
    np.testing.assert_allclose(by_corners["boxes"], flipped["boxes"], atol=1e-5)
    back = warped(flipped, Affine2.flip(SHAPE))
    for name, value in example.items():
        np.testing.assert_allclose(back[name], value, atol=1e-5)


def test_without_pairs_names_stay(example):
    flipped = warp_example(example, Affine2.flip(SHAPE))
    np.testing.assert_array_equal(flipped["mask"], np.fliplr(example["mask"]))
    np.testing.assert_array_equal(flipped["hits"], np.fliplr(example["hits"]))
    np.testing.assert_allclose(flipped["landmarks"][0], [6.0, 8.5], atol=1e-5)
    # Half a turn is no mirror image, with pairs or without.
    turned = warped(example, Affine2.flip(SHAPE) @ Affine2.flip(SHAPE, 0))
    np.testing.assert_array_equal(turned["mask"], example["mask"][::-1, ::-1])


@pytest.mark.parametrize("names", [(), ("hits",)])
def test_what_leaves_the_image(example, names):
    """To the top left the right structure, to the bottom right the middle one."""
    example = without(example, *names)
    moved = warped(example, Affine2.crop((6, 20), SHAPE))
    assert moved["present"].tolist() == [True, False, True]
    assert moved["visible"].tolist() == [True, False, False]
    expected = [[-0.5, 4.5, 5.5, 16.5], [0] * 4, [3.5, -0.5, 17.5, 7.5]]
    np.testing.assert_allclose(moved["boxes"], expected, atol=1e-5)
    np.testing.assert_allclose(moved["landmarks"][1], [2.25, -13.0], atol=1e-5)
    moved = warped(example, Affine2.crop((-20, -5), SHAPE))
    assert moved["present"].tolist() == [True, True, False]
    assert moved["visible"].tolist() == [True, True, False]
    expected = [[23.5, 29.5, 29.5, 39.5], [25.5, 7.5, 29.5, 18.5], [0] * 4]
    np.testing.assert_allclose(moved["boxes"], expected, atol=1e-5)


def test_boxes_hold_what_is_turned(example):
    turn = Affine2.rotate(0.2, SHAPE)
    tight = warped(example, turn)
    np.testing.assert_array_equal(tight["boxes"], boxes(bits(tight["hits"])))
    wide = warped(without(example, "hits"), turn)["boxes"]
    # But for a pixel: half a one of the old grid and half a one of the new.
    assert (wide[:, :2] <= tight["boxes"][:, :2] + 1).all()
    assert (wide[:, 2:] >= tight["boxes"][:, 2:] - 1).all()


def test_flips_within_a_batch(example):
    """Drawn for each example: the same program does both."""
    plain, flip = Affine2.identity(SHAPE), Affine2.flip(SHAPE)
    transforms = jax.tree.map(lambda *leaves: jnp.stack(leaves), plain, flip)

    found = jax.jit(jax.vmap(lambda transform: warped(example, transform)))(transforms)
    for i, transform in enumerate((plain, flip)):
        for name, value in warped(example, transform).items():
            np.testing.assert_allclose(found[name][i], value, atol=1e-5)
    np.testing.assert_array_equal(found["mask"][0], example["mask"])
    assert (found["mask"][1] != np.fliplr(example["mask"])).any()


def test_the_camera_goes_along(example):
    pose = Rotation.from_rotvec([0.4, -0.3, 0.7]).as_matrix()
    camera = Camera.create(
        RigidTransform.from_rotation(pose, [30.0, -900.0, 100.0]),
        source_to_detector=1000.0,
        pitch=(4.2, 3.8),
        shape=SHAPE,
    )
    example = {
        "image": example["image"],
        "intrinsics": camera.K,
        "camera_from_world": camera.camera_from_world.matrix,
        "source_to_detector": camera.source_to_detector,
        "pitch": camera.pitch,
    }
    transform = Affine2.crop((2, 3), (20, 25)) @ Affine2.rotate(0.2, SHAPE)
    found = warp_example(example, transform)
    expected = warp_camera(camera, transform)
    P = found["intrinsics"] @ found["camera_from_world"][:3]
    # Thousands of mm times pixels, in float32.
    np.testing.assert_allclose(P, expected.projection_matrix, rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(found["pitch"], expected.pitch, rtol=1e-5)
    assert found["source_to_detector"] == camera.source_to_detector
    with pytest.raises(ValueError, match="must not mirror the image"):
        warp_example(example, Affine2.flip(SHAPE))
    with pytest.raises(ValueError, match=r"all of a camera's fields .*it holds"):
        warp_example(without(example, "pitch"), transform)


def test_fill(example):
    window = Affine2.crop((-3, -2), SHAPE)
    edge = {"image": jnp.ones(SHAPE), "mask": jnp.ones(SHAPE, jnp.uint8)}
    cut = warp_example(edge, window, fill=5.0)
    assert cut["image"][0, 0] == 5.0
    assert cut["mask"][0, 0] == 0
    mirrored = warp_example(edge, window, fill=None)
    np.testing.assert_array_equal(mirrored["image"], 1.0)
    np.testing.assert_array_equal(mirrored["mask"], 1)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"structure_pairs": ((0, 1), (1, 2))}, "none of them there twice"),
        ({"landmark_pairs": ((0, -1),)}, "landmark_pairs must be pairs of indices"),
        ({"landmark_pairs": ((0, 3),)}, r"indices below 3, got \(0, 3\)"),
        ({"structure_pairs": ((0, 8),)}, r"bits of hits, below 8, got \(0, 8\)"),
    ],
)
def test_refused(example, pairs, message):
    with pytest.raises(ValueError, match=message):
        warp_example(example, Affine2.flip(SHAPE), **pairs)
