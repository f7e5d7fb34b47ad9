"""Closed forms against quadrature, known chords and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax import CArm
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.phantoms.analytic import (
    Box,
    Ellipsoid,
    Gaussian,
    image,
    line_integral,
    rasterized,
    sample,
)

KINDS = [Ellipsoid, Box, Gaussian]


def _body(kind):
    turn = RigidTransform.from_twist([0.3, -0.5, 0.8, 0, 0, 0])
    return kind.create([3.0, -2.0, 5.0], [12.0, 7.0, 9.0], rotation=turn, density=0.03)


def _segments(rng, count=40):
    """Through and past the body, and with one end in it."""
    start = rng.normal(size=(count, 3)) * [40, 40, 40]
    end = -start + rng.normal(size=(count, 3)) * 12
    start[: count // 4] = rng.normal(size=(count // 4, 3)) * 4 + [3, -2, 5]
    return start, end


def _quadrature(body, start, end, n=40001):
    """Midpoint rule in float64; a jump costs at most one part in n of a chord."""
    t = (np.arange(n) + 0.5) / n
    points = start[:, None] + t[:, None] * (end - start)[:, None]
    values = np.asarray(sample(body, jnp.asarray(points)))
    return values.mean(axis=1) * np.linalg.norm(end - start, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_line_integral_matches_quadrature(kind, rng):
    with jax.enable_x64(True):
        body, (start, end) = _body(kind), _segments(rng)
        got = line_integral(body, jnp.asarray(start), jnp.asarray(end))
        expected = _quadrature(body, start, end)
    # Two edges, each off by up to half a step of 160 mm / 40001 times 0.03 / mm.
    np.testing.assert_allclose(got, expected, atol=1.5e-4 if kind != Gaussian else 1e-9)
    assert (np.asarray(got) > 0.05).sum() > 10


def test_known_chords():
    ball = Ellipsoid.create(jnp.zeros(3), 10.0)
    cube = Box.create(jnp.zeros(3), 5.0)
    a, b = jnp.full(3, -50.0), jnp.full(3, 50.0)
    assert float(line_integral(ball, a, b)) == pytest.approx(20.0, rel=1e-6)
    assert float(line_integral(cube, a, b)) == pytest.approx(10 * 3**0.5, rel=1e-6)
    assert float(line_integral(ball, jnp.zeros(3), b)) == pytest.approx(10.0, rel=1e-6)
    assert float(line_integral(cube, a, jnp.zeros(3))) == pytest.approx(5 * 3**0.5)
    # Wholly inside, and short of the body.
    assert float(line_integral(ball, b / 50, -b / 50)) == pytest.approx(2 * 3**0.5)
    assert float(line_integral(ball, a, a / 2)) == 0.0
    # Parallel to two pairs of faces.
    along = jnp.array([-20.0, 1.0, 1.0]), jnp.array([20.0, 1.0, 1.0])
    assert float(line_integral(cube, *along)) == pytest.approx(10.0, rel=1e-5)
    whole = Gaussian.create(jnp.zeros(3), 3.0)
    full = float(line_integral(whole, a, b))
    assert full == pytest.approx(3 * (2 * np.pi) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_match_differences(kind, rng):
    with jax.enable_x64(True):
        body, (start, end) = _body(kind), _segments(rng)
        start, end = jnp.asarray(start), jnp.asarray(end)
        total = lambda body, start: line_integral(body, start, end).sum()
        grad = jax.grad(total, argnums=(0, 1))(body, start)
        leaves, tree = jax.tree.flatten((body, start))
        for leaf, slope in zip(leaves, jax.tree.leaves(grad), strict=True):
            direction = jnp.asarray(rng.normal(size=leaf.shape))
            move = lambda h, leaf=leaf, direction=direction: total(
                *jax.tree.unflatten(
                    tree, [x + h * direction if x is leaf else x for x in leaves]
                )
            )
            expected = (move(1e-6) - move(-1e-6)) / 2e-6
            # Central differences of a sum near 10 at 1e-6: rounding leaves 1e-8.
            np.testing.assert_allclose(
                (slope * direction).sum(), expected, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_at_the_edges(kind):
    body = kind.create(jnp.zeros(3), 10.0)
    rays = {
        "misses": ([-50.0, 30.0, 0], [50.0, 30.0, 0]),
        "tangent": ([-50.0, 10.0, 0], [50.0, 10.0, 0]),
        "corner": ([-50.0, 10.0, 10.0], [50.0, 10.0, 10.0]),
        "along an axis": ([-50.0, 0.0, 0.0], [50.0, 0.0, 0.0]),
        "no length": ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    }
    for name, (start, end) in rays.items():
        slopes = jax.grad(line_integral, argnums=(0, 1, 2))(
            body, jnp.array(start), jnp.array(end)
        )
        finite = [bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(slopes)]
        assert all(finite), name


def test_jit_and_vmap(rng):
    start, end = (jnp.asarray(x, jnp.float32) for x in _segments(rng))
    bodies = jax.vmap(lambda r: Ellipsoid.create(jnp.zeros(3), r))(
        jnp.array([5.0, 9.0])
    )
    got = jax.jit(jax.vmap(line_integral, in_axes=(0, None, None)))(bodies, start, end)
    one = line_integral(Ellipsoid.create(jnp.zeros(3), 9.0), start, end)
    np.testing.assert_allclose(got[1], one, atol=1e-4)


def test_image_is_the_sum_along_the_cameras_rays():
    camera = CArm.generic().resized((16, 12)).view("AP", isocenter=(3.0, -2.0, 5.0))
    bodies = [_body(Ellipsoid), _body(Gaussian)]
    got = image(bodies, camera)
    end = camera.back_project(jnp.array([7.0, 5.0]))
    expected = sum(line_integral(body, camera.source, end) for body in bodies)
    assert got.shape == (16, 12)
    # At a meter float32 tells 1e-4 mm apart, of chords of 10 mm.
    assert float(got[7, 5]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_rasterized_holds_the_bodys_mass(kind):
    body = kind.create(jnp.zeros(3), [8.0, 6.0, 7.0], density=0.02)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -48.0
    volume = rasterized([body], (49, 49, 49), affine, supersample=4)
    mass = float(volume.data.sum()) * 8
    unit = {Ellipsoid: 4 * np.pi / 3, Box: 8.0, Gaussian: (2 * np.pi) ** 1.5}[kind]
    # Points a quarter voxel apart decide which share of an edge voxel is inside.
    assert mass == pytest.approx(0.02 * 8 * 6 * 7 * unit, rel=0.01)


def test_refuses_bad_input():
    with pytest.raises(ValueError, match="half_widths must be positive mm"):
        Ellipsoid.create(jnp.zeros(3), [1.0, 0.0, 2.0])
    with pytest.raises(ValueError, match="half_widths must be one number or three"):
        Gaussian.create(jnp.zeros(3), [1.0, 2.0])
    with pytest.raises(ValueError, match="rotation must hold a rotation"):
        Box.create(jnp.zeros(3), 1.0, rotation=2 * np.eye(3))
    with pytest.raises(ValueError, match="supersample must be at least 1"):
        rasterized([_body(Box)], (4, 4, 4), np.eye(4), supersample=0)
