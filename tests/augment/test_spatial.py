"""Affine transforms of the image plane against matrices, cameras and re-rendering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synthex_jax import Camera, RigidTransform
from synthex_jax.augment.spatial import (
    Affine2,
    warp_camera,
    warp_points,
    warp_visible,
)
from synthex_jax.augment.warping import warp_image
from synthex_jax.phantoms import analytic

SHAPE = (48, 64)


@pytest.fixture
def camera():
    """Pixels that are not square, an axis off the middle, a skew, any pose."""
    return Camera.create(
        RigidTransform.from_rotation(
            Rotation.from_rotvec([0.4, -0.3, 0.7]).as_matrix(), [30.0, -900.0, 100.0]
        ),
        source_to_detector=1000.0,
        pitch=(4.2, 3.8),
        principal_point=(22.0, 36.0),
        skew=0.02,
        shape=SHAPE,
    )


PROPER = {
    "crop": lambda: Affine2.crop((5, -3), (30, 40)),
    "resize": lambda: Affine2.resize(SHAPE, (36, 90)),
    "rotate": lambda: Affine2.rotate(0.3, SHAPE),
    "scale": lambda: Affine2.scale((1.2, 0.9), SHAPE),
    "shear": lambda: Affine2.shear((0.1, -0.15), SHAPE),
    "translate": lambda: Affine2.translate((2.5, -4.0), SHAPE),
    "half a turn": lambda: Affine2.flip(SHAPE, 0) @ Affine2.flip(SHAPE, 1),
    "all": lambda: (
        Affine2.resize((40, 50), (60, 60))
        @ Affine2.crop((4, 6), (40, 50))
        @ Affine2.rotate(-0.4, SHAPE).about((10.0, 20.0))
        @ Affine2.shear((0.05, 0.1), SHAPE)
    ),
}


def by_hand(matrix, points):
    """Output (row, column) by a linear solve of a (2, 3) input_from_output."""
    matrix = np.asarray(matrix, float)
    return np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T


def test_what_each_does_to_a_point():
    """The middle of the image is (23.5, 31.5)."""
    at = jnp.array([25.5, 41.5])  # 2 down and 10 right of it
    cases = [
        (Affine2.identity(SHAPE), [25.5, 41.5]),
        (Affine2.crop((5, -3), (30, 40)), [20.5, 44.5]),
        (Affine2.translate((2, -4), SHAPE), [27.5, 37.5]),
        (Affine2.flip(SHAPE), [25.5, 21.5]),
        (Affine2.flip(SHAPE, 0), [21.5, 41.5]),
        (Affine2.scale(2.0, SHAPE), [27.5, 51.5]),
        (Affine2.scale((0.5, 3.0), SHAPE), [24.5, 61.5]),
        # From +x to +y: what was on the right is now below.
        (Affine2.rotate(np.pi / 2, SHAPE), [33.5, 29.5]),
        # Half as many: the edges 26 and 42 from the top and left come to 13 and 21.
        (Affine2.resize(SHAPE, (24, 32)), [12.5, 20.5]),
        # First 2 * 0.5 across, to 11; then 11 * 0.2 down.
        (Affine2.shear(np.arctan([0.5, 0.2]), SHAPE), [27.7, 42.5]),
        (Affine2.rotate(np.pi / 2, SHAPE).about((25.5, 31.5)), [35.5, 31.5]),
    ]
    for transform, expected in cases:
        np.testing.assert_allclose(warp_points(at, transform), expected, atol=2e-5)


def test_composition_and_inverse(rng):
    points = jnp.asarray(rng.uniform(0, 40, (5, 2)), jnp.float32)
    first, second = PROPER["shear"](), PROPER["resize"]()
    both = second @ first
    assert both.shape == (36, 90)
    one_by_one = warp_points(warp_points(points, first), second)
    np.testing.assert_allclose(warp_points(points, both), one_by_one, atol=1e-4)
    back = both.inverse(SHAPE)
    np.testing.assert_allclose(warp_points(one_by_one, back), points, atol=1e-4)
    assert Affine2.resize((64, 64), (16, 20)).samples == 4
    assert (Affine2.resize((64, 64), (32, 30)) @ first).samples == 3
    assert both.samples == 2  # 48 rows on 36
    assert back.samples == 1


@pytest.mark.parametrize("name", PROPER)
def test_camera_of_the_warped_image(camera, name, rng):
    """A point is projected to where the transform takes its old pixel."""
    transform = PROPER[name]()
    found = warp_camera(camera, transform)
    assert found.shape == transform.shape
    pixels = jnp.asarray(rng.uniform((0, 0), SHAPE, (20, 2)), jnp.float32)
    fraction = rng.uniform(0.3, 1, (20, 1)).astype(np.float32)
    source = camera.source
    points = source + fraction * (camera.back_project(pixels) - source)
    expected = by_hand(transform.input_from_output, np.asarray(pixels))
    # float32 holds a thousand mm to 6e-5, seen as a ten-thousandth of a pixel.
    np.testing.assert_allclose(found.project(points), expected, atol=1e-3)
    np.testing.assert_allclose(found.depth(points), camera.depth(points), rtol=1e-5)
    np.testing.assert_allclose(found.source, camera.source, rtol=1e-6)
    turn = found.world_from_camera.rotation
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    assert (found.pitch > 0).all()


def test_camera_of_crops_and_resizes(x64, camera):
    cases = [
        (Affine2.crop((5, -3), (30, 40)), camera.cropped((5, -3), (30, 40))),
        (Affine2.resize(SHAPE, (36, 90)), camera.resized((36, 90))),
        (Affine2.identity(SHAPE), camera),
    ]
    for transform, expected in cases:
        found = warp_camera(camera, transform)
        assert found.shape == expected.shape
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_rendered_anew_with_the_warped_camera(camera):
    """A smooth body: the warped radiograph is the warped camera's radiograph."""
    transform = PROPER["all"]()
    center = camera.source + 0.8 * (
        camera.back_project(jnp.array([22.0, 28.0])) - camera.source
    )
    body = [analytic.Gaussian.create(center, 35.0, density=0.02)]
    render = jax.jit(lambda camera: analytic.image(body, camera))
    warped = warp_image(render(camera), transform)
    anew = render(warp_camera(camera, transform))
    # Of a deviation of 10 pixels: interpolation is off by 1 / (8 * 10^2), twice, but
    # for the outer half pixel of the image.
    core = jnp.pad(jnp.ones((SHAPE[0] - 2, SHAPE[1] - 2)), 1)
    inside = warp_image(core, transform) > 0
    error = jnp.abs(jnp.where(inside, warped - anew, 0.0)).max() / anew.max()
    assert inside.mean() > 0.5
    assert error < 3e-3


def test_no_camera_takes_a_mirror_image(camera):
    with pytest.raises(ValueError, match="must not mirror the image"):
        warp_camera(camera, Affine2.flip(SHAPE))
    assert bool(Affine2.flip(SHAPE, 0).is_mirrored)
    assert not any(bool(make().is_mirrored) for make in PROPER.values())


def test_seen_before_and_after():
    points = jnp.array([[10.0, 10], [2, 10], [10, 10], [40, 50]])
    visible = jnp.array([True, True, False, True])
    found = warp_visible(visible, points, Affine2.crop((5, 5), (20, 30)))
    assert found.tolist() == [True, False, False, False]


def test_derivatives(x64, camera):
    """Of points and of cameras in the parameters, by central differences."""

    @jax.jit
    def outcome(p):
        transform = (
            Affine2.crop(p[:2], (30, 40))
            @ Affine2.rotate(p[2], SHAPE)
            @ Affine2.shear(p[3:5], SHAPE)
            @ Affine2.scale(p[5:7], SHAPE)
        )
        found = warp_camera(camera, transform)
        at = warp_points(jnp.array([10.0, 20.0]), transform)
        return jnp.concatenate([at, found.K.ravel(), found.principal_direction])

    at = jnp.array([3.2, -1.5, 0.2, 0.1, -0.05, 1.1, 0.9])
    slope = jax.jit(jax.jacfwd(outcome))(at)
    for i, column in enumerate(slope.T):
        step = np.zeros(7)
        step[i] = 1e-5
        difference = (outcome(at + step) - outcome(at - step)) / 2e-5
        np.testing.assert_allclose(column, difference, rtol=1e-3, atol=1e-5)


def test_batches():
    angles = jnp.array([0.0, 0.1, -0.2])
    turn = jax.jit(
        lambda angle: warp_points(jnp.array([10.0, 20.0]), Affine2.rotate(angle, SHAPE))
    )
    for point, angle in zip(jax.vmap(turn)(angles), angles, strict=True):
        np.testing.assert_allclose(point, turn(angle), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Affine2.create(np.eye(2), SHAPE),
            r"input_from_output must have shape \(2, 3\), got \(2, 2\)",
        ),
        (
            lambda: Affine2.create([[1.0, 2, 0], [2, 4, 0]], SHAPE),
            "input_from_output must be invertible",
        ),
        (
            lambda: Affine2.create([[1.0, np.nan, 0], [2, 4, 0]], SHAPE),
            "input_from_output must be finite",
        ),
        (lambda: Affine2.crop((1, 2, 3), SHAPE), r"must have shape \(2,\), got \(3,\)"),
        (lambda: Affine2.resize(SHAPE, (0, 3)), "shape must be two whole numbers"),
        (lambda: Affine2.scale(0.0, SHAPE), "factor must be positive"),
        (lambda: Affine2.flip(SHAPE, 2), "axis must be 0 .* got 2"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
