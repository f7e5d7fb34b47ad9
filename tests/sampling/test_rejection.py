"""Rejection sampling against the conditional distribution and a plain Python loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.sampling.rejection import (
    center_in_field,
    edge_distance,
    fraction_visible,
    is_in_field,
    points_in_field,
    rejected,
)

KEYS = jax.random.split(jax.random.key(2), 2000)
LEAST_P = 0.01  # The key is fixed, and so is the p-value.


def test_accepted_draws_follow_the_conditional_distribution():
    draw = jax.jit(
        jax.vmap(lambda k: rejected(k, jax.random.normal, lambda x: x > 1, tries=200))
    )
    value, accepted, tries = (np.asarray(field) for field in draw(KEYS))
    assert accepted.all()
    tail = stats.truncnorm(1.0, np.inf)
    assert stats.kstest(value.astype(float), tail.cdf).pvalue > LEAST_P
    # Tries are geometric: mean 1 / p, variance (1 - p) / p^2; five standard errors.
    share = stats.norm.sf(1.0)
    error = (1 - share) ** 0.5 / share / len(KEYS) ** 0.5
    assert abs(tries.mean() - 1 / share) < 5 * error


def test_takes_the_first_accepted_and_else_the_best():
    proposals = [
        float(jax.random.normal(jax.random.fold_in(KEYS[0], i))) for i in range(8)
    ]

    @partial(jax.jit, static_argnames="tries")
    def draw(least, tries):
        return rejected(
            KEYS[0], jax.random.normal, lambda x: least - jnp.abs(x - 10.0), tries=tries
        )

    for least, tries in ((9.0, 8), (9.9, 8), (0.0, 8), (0.0, 3)):
        value, accepted, made = draw(least, tries)
        good = [i for i, x in enumerate(proposals[:tries]) if abs(x - 10) <= least]
        expected = proposals[good[0]] if good else max(proposals[:tries])
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert bool(accepted) == bool(good)
        assert int(made) == (good[0] + 1 if good else tries)


def test_never_accepted_ends_and_says_so():
    for accept in (lambda x: x > jnp.inf, lambda x: x * jnp.nan):
        draw = rejected(KEYS[0], jax.random.normal, accept, tries=20)
        assert not draw.accepted
        assert draw.tries == 20
        first = jax.random.normal(jax.random.fold_in(KEYS[0], 0))
        np.testing.assert_allclose(draw.value, first, rtol=1e-6)


def test_values_of_any_structure_and_derivatives_through_them(x64):
    def drawn(scale):
        propose = lambda k: {"x": scale * jax.random.normal(k), "twice": (2 * scale,)}
        draw = rejected(KEYS[3], propose, lambda v: v["x"] - 1.5 * scale, tries=99)
        return draw.value["x"] + draw.value["twice"][0], draw

    (total, draw), slope = jax.value_and_grad(drawn, has_aux=True)(jnp.asarray(3.0))
    assert draw.accepted
    assert draw.tries > 1
    # The same proposal at any scale, and linear in it.
    np.testing.assert_allclose(slope, total / 3.0, rtol=1e-12)


def camera(source=(0.0, 500.0, 0.0)):
    """Looks to posterior, the head up, the patient's left on the right."""
    rotation = jnp.asarray([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    return Camera.create(
        RigidTransform(rotation, jnp.asarray(source)),
        source_to_detector=1000.0,
        pitch=1.0,
        shape=(100, 80),
    )


def test_what_is_in_the_field():
    # At the isocenter the detector is 40 mm wide and 50 mm high; anterior is nearer
    # the source, which is at 500 mm.
    points = jnp.asarray(
        [
            [0.0, 0, 0],
            [19.9, 0, 24.9],
            [20.1, 0, 0],
            [0, 0, -25.1],
            [0, 600, 0],  # behind the source
            [0, -499, 0],
            [0, -501, 0],  # behind the detector
        ]
    )
    expected = [True, True, False, False, False, True, False]

    @jax.jit
    def seen(points):
        pixels = camera().project(points[:4])
        return (
            is_in_field(camera(), points),
            points_in_field(camera(), points, least=3),
            points_in_field(camera(), points, least=5),
            fraction_visible(pixels, camera().shape),
            edge_distance(pixels, camera().shape),
        )

    visible, *scores, distances = seen(points)
    np.testing.assert_array_equal(visible, expected)
    assert scores == [0, -2, 0.5]
    np.testing.assert_allclose(distances, [40, 0.2, -0.2, -0.2], atol=1e-3)


def test_scores_of_a_center():
    assert abs(center_in_field(camera(), jnp.zeros(3), border=15.0) - 25.0) < 1e-3
    right = jnp.asarray([15.0, 0.0, 0.0])
    assert abs(center_in_field(camera(), right, border=15.0) + 5.0) < 1e-3
    assert center_in_field(camera(), jnp.asarray([0.0, 600.0, 0.0])) == -jnp.inf


def test_a_camera_for_a_point_of_interest():
    point = jnp.asarray([60.0, 0.0, 0.0])

    def propose(key):
        shift = jax.random.uniform(key, (3,), minval=-99.0, maxval=99.0)
        return camera(shift + jnp.asarray([0.0, 500.0, 0.0]))

    accept = lambda c: center_in_field(c, point, border=5.0)
    draw = jax.jit(jax.vmap(lambda k: rejected(k, propose, accept, tries=200)))(
        KEYS[:50]
    )
    assert draw.accepted.all()
    assert (draw.tries > 1).any()
    pixels = jax.vmap(lambda c: c.project(point))(draw.value)
    # Edges are at -0.5 and 99.5, and at -0.5 and 79.5.
    assert (
        np.abs(pixels - jnp.asarray([49.5, 39.5])) <= np.array([45, 35]) + 1e-3
    ).all()


def test_errors():
    with pytest.raises(ValueError, match="tries must be 1 or more, got 0"):
        rejected(KEYS[0], jax.random.normal, lambda x: x > 0, tries=0)
