"""Warped images and masks against SciPy, JAX's own resizing, and counting by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from synthex_jax import Camera, RigidTransform
from synthex_jax.augment.spatial import Affine2, warp_points
from synthex_jax.augment.warping import warp_hits, warp_image, warp_mask
from synthex_jax.phantoms import analytic

SHAPE = (144, 192)
TRANSFORMS = {
    "crop": lambda: Affine2.crop((12, 22), (100, 140)),
    "padding crop": lambda: Affine2.crop((-6, -8), (160, 210)),
    "flip": lambda: Affine2.flip(SHAPE),
    "upside down": lambda: Affine2.flip(SHAPE, 0),
    "half": lambda: Affine2.resize(SHAPE, (72, 96)),
    "odd": lambda: Affine2.resize(SHAPE, (101, 80)),
    "larger": lambda: Affine2.resize(SHAPE, (216, 288)),
    "rotate": lambda: Affine2.rotate(0.3, SHAPE),
    "all": lambda: (
        Affine2.resize((120, 160), (100, 100))
        @ Affine2.crop((8, 12), (120, 160))
        @ Affine2.flip(SHAPE)
        @ Affine2.translate((1.3, -2.6), SHAPE)
        @ Affine2.rotate(-0.2, SHAPE)
        @ Affine2.shear((0.05, 0.1), SHAPE)
        @ Affine2.scale(1.1, SHAPE)
    ),
}


@pytest.fixture(scope="module")
def balls():
    """Radiographs of spheres, their masks, and the pixels of their centers."""
    camera = Camera.create(
        RigidTransform.identity(), source_to_detector=1000.0, pitch=2.0, shape=SHAPE
    )
    offsets = np.random.default_rng(0).uniform(-20, 20, (8, 3))
    centers = jnp.asarray(np.array([10.0, -10.0, 800.0]) + offsets, jnp.float32)

    def view(center):
        return analytic.image([analytic.Ellipsoid.create(center, 42.0)], camera)

    images = jax.jit(jax.vmap(view))(centers)
    return images, (images > 0).astype(jnp.uint8), camera.project(centers)


def centroids(weights):
    """(n, 2): the middle of each image."""
    weights = np.asarray(weights, float)
    sums = [np.einsum("nrc,rc->n", weights, g) for g in np.indices(weights.shape[1:])]
    return np.stack(sums, -1) / weights.sum((1, 2))[:, None]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_landmark_mask_and_image_agree(balls, name):
    images, masks, landmarks = balls
    transform = TRANSFORMS[name]()
    points = warp_points(landmarks, transform)
    warped = jax.vmap(warp_image, (0, None))(images, transform)
    # In perspective the middle of a sphere's picture is its center but for 0.05 pixels.
    np.testing.assert_allclose(centroids(warped), points, atol=0.1)
    # A mask of 26 pixels radius has its own middle to 0.03, and is sampled twice.
    error = centroids(jax.vmap(warp_mask, (0, None))(masks, transform)) - points
    assert np.sqrt(np.mean(error**2)) < 0.1
    assert np.abs(error.mean(axis=0)).max() < 0.07


def taken_from(transform):
    rows, cols = np.indices(transform.shape)
    grid = np.stack([rows.ravel(), cols.ravel(), np.ones(rows.size)])
    at = np.asarray(transform.input_from_output, float) @ grid
    return at.reshape(2, *transform.shape)


@pytest.mark.parametrize("name", ["rotate", "padding crop"])
def test_images_by_scipy(rng, name, x64):
    image = rng.normal(size=SHAPE)
    transform = TRANSFORMS[name]()
    at = taken_from(transform)
    inside = np.all(
        [(x >= -0.5) & (x <= n - 0.5) for x, n in zip(at, SHAPE, strict=True)], axis=0
    )
    for fill, mode in ((7.0, "nearest"), (None, "reflect")):
        found = warp_image(jnp.asarray(image), transform, fill=fill)
        expected = ndimage.map_coordinates(image, at, order=1, mode=mode)
        if fill is not None:
            expected = np.where(inside, expected, fill)
        # The matrix was made in float32: 1e-5 pixels.
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_larger_images_by_jax(rng):
    image = jnp.asarray(rng.normal(size=(20, 30)), jnp.float32)
    found = warp_image(image, Affine2.resize((20, 30), (33, 64)))
    expected = jax.image.resize(image, (33, 64), "linear", antialias=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_smaller_images_are_means_of_areas(rng):
    image = jnp.asarray(rng.normal(size=(24, 32)), jnp.float32)
    found = warp_image(image, Affine2.resize((24, 32), (6, 8)))
    expected = image.reshape(6, 4, 8, 4).mean((1, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # Also where a transform hides in it: stripes of two pixels vanish.
    stripes = jnp.broadcast_to(jnp.arange(32) % 4 < 2, (24, 32)).astype(jnp.float32)
    smaller = replace(Affine2.scale(0.25, (24, 32)), samples=4)
    middle = warp_image(stripes, smaller)[10:14, 13:19]
    np.testing.assert_allclose(middle, 0.5, atol=1e-6)


def test_whole_pixels_are_copied(rng):
    image = jnp.asarray(rng.normal(size=(20, 30)), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 9, (20, 30)), jnp.uint8)
    cases = [
        (Affine2.identity((20, 30)), lambda x: x),
        (
            Affine2.crop((3, -5), (20, 30)),
            lambda x: np.pad(x, [(0, 3), (5, 0)])[3:, :30],
        ),
        (Affine2.flip((20, 30)), np.fliplr),
        (Affine2.flip((20, 30), 0), np.flipud),
    ]
    for transform, expected in cases:
        np.testing.assert_array_equal(warp_image(image, transform), expected(image))
        np.testing.assert_array_equal(warp_mask(mask, transform), expected(mask))
        np.testing.assert_array_equal(warp_hits(mask, transform), expected(mask))
    quarter = Affine2.rotate(np.pi / 2, (20, 20))
    found = warp_mask(mask[:, :20], quarter)
    np.testing.assert_array_equal(found, np.rot90(mask[:, :20], -1))


def test_padding():
    window = Affine2.crop((-2, -1), (5, 5))
    image = jnp.arange(9.0).reshape(3, 3)
    found = warp_image(image, window, fill=-1.0)
    expected = np.pad(image, [(2, 0), (1, 1)], constant_values=-1.0)
    np.testing.assert_array_equal(found, expected)
    mirrored = np.pad(image, [(2, 0), (1, 1)], mode="symmetric")
    np.testing.assert_array_equal(warp_image(image, window, fill=None), mirrored)
    mask = image.astype(jnp.uint8)
    np.testing.assert_array_equal(warp_mask(mask, window, fill=None), mirrored)
    np.testing.assert_array_equal(warp_hits(mask, window, fill=None), mirrored)
    found = warp_mask(mask, window, fill=9)
    np.testing.assert_array_equal(
        found, np.pad(mask, [(2, 0), (1, 1)], constant_values=9)
    )


def test_masks_by_counting(rng):
    """Quarters of 3 x 3 pixels: the class of most; bits of at least half."""
    mask = rng.integers(0, 4, (12, 15))
    transform = Affine2.resize((12, 15), (4, 5))
    blocks = mask.reshape(4, 3, 5, 3).swapaxes(1, 2).reshape(4, 5, 9)
    counts = np.stack([(blocks == c).sum(-1) for c in range(4)])
    # The last of the largest: the higher class at a tie.
    expected = 3 - np.argmax(counts[::-1], axis=0)
    found = warp_mask(jnp.asarray(mask, jnp.uint8), transform)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == jnp.uint8
    bits = jnp.asarray(rng.integers(0, 2**32, (12, 15), dtype=np.uint32))
    blocks = np.asarray(bits).reshape(4, 3, 5, 3).swapaxes(1, 2).reshape(4, 5, 9)
    found = np.asarray(warp_hits(bits, transform))
    for bit in range(32):
        share = ((blocks >> bit) & 1).mean(-1)
        np.testing.assert_array_equal((found >> bit) & 1, share >= 0.5)


def test_types(rng):
    image = rng.integers(0, 65535, (12, 16)).astype(np.uint16)
    found = warp_image(jnp.asarray(image), Affine2.resize((12, 16), (6, 8)))
    assert found.dtype == jnp.uint16
    mean = image.reshape(6, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(found, mean, atol=0.51)
    turn = Affine2.rotate(0.1, (12, 16))
    half = jnp.asarray(image / 65535, jnp.float16)
    found = warp_image(half, turn)
    assert found.dtype == jnp.float16
    channels = warp_image(jnp.stack([half, 2 * half], -1), turn)
    np.testing.assert_array_equal(channels, jnp.stack([found, 2 * found], -1))
    with pytest.raises(ValueError, match="mask must hold whole numbers, got float32"):
        warp_mask(jnp.ones((3, 3)), Affine2.identity((3, 3)))


def test_derivatives(x64):
    """In the image and the parameters; a curved image, so that no term is zero."""
    rows, cols = np.indices((20, 24))
    image = jnp.asarray(np.sin(rows / 3) * np.cos(cols / 4))
    weights = np.cos(rows * cols / 50)

    @jax.jit
    def loss(image, p):
        transform = (
            Affine2.translate(p[:2], (20, 24))
            @ Affine2.rotate(p[2], (20, 24))
            @ Affine2.scale(p[3], (20, 24))
        )
        # Mirrored: no jump at the border.
        return jnp.sum(weights * warp_image(image, transform, fill=None))

    at = jnp.array([1.3, -0.6, 0.21, 1.07])
    slope_image, slope = jax.jit(jax.grad(loss, (0, 1)))(image, at)
    for i in range(4):
        step = np.zeros(4)
        step[i] = 1e-6
        difference = (loss(image, at + step) - loss(image, at - step)) / 2e-6
        np.testing.assert_allclose(slope[i], difference, rtol=1e-3)
    change = np.sin(cols - 2.0 * rows)
    difference = loss(image + change, at) - loss(image, at)
    np.testing.assert_allclose(jnp.sum(slope_image * change), difference, rtol=1e-9)
