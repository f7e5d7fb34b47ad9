"""Draws against SciPy's distributions, their derivatives against differences."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synthex_jax.sampling.combinations import Independent, Mixture
from synthex_jax.sampling.distributions import (
    Choice,
    Constant,
    Distribution,
    LogUniform,
    Normal,
    TruncatedNormal,
    Uniform,
)

KEY = jax.random.key(7)
# With the key fixed the p-value is a number, not a matter of luck; a shift of the
# distribution by 3 % of its width would bring it below this limit at 4000 draws.
DRAWS, LEAST_P = 4000, 0.01


def truncated(mean, std, low, high):
    return (
        TruncatedNormal.create(mean, std, low=low, high=high),
        stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std),
    )


CASES = {
    "uniform": (Uniform.create(-3.0, 5.0), stats.uniform(-3, 8)),
    "normal": (Normal.create(2.0, 0.5), stats.norm(2, 0.5)),
    "log-uniform": (LogUniform.create(0.1, 30.0), stats.loguniform(0.1, 30)),
    "truncated": truncated(1.0, 2.0, -1.0, 6.0),
    "right tail": truncated(0.0, 1.0, 8.0, 11.0),
    "left tail": truncated(0.0, 1.0, -11.0, -8.0),
}


@jax.jit
def drawn(distribution):
    return distribution.sample(KEY, (DRAWS,))


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_distribution(name):
    ours, theirs = CASES[name]
    draws = np.asarray(drawn(ours), float)
    assert stats.kstest(draws, theirs.cdf).pvalue > LEAST_P
    low, high = ours.support()
    assert draws.min() >= low
    assert draws.max() <= high
    np.testing.assert_allclose([low, high], theirs.support(), rtol=1e-6)


def test_choice_and_mixture_follow_their_weights():
    choice = Choice.create([1.0, 4.0, 9.0], [1.0, 0.0, 3.0])
    draws = np.asarray(drawn(choice))
    assert set(np.unique(draws)) == {1.0, 9.0}
    # Five standard errors of a share of 1/4.
    assert abs(np.mean(draws == 1.0) - 0.25) < 5 * (0.1875 / DRAWS) ** 0.5
    mixture = Mixture.create(
        [Normal.create(0.0, 1.0), Uniform.create(5.0, 9.0)], [1, 2]
    )
    cdf = lambda x: stats.norm.cdf(x) / 3 + 2 * stats.uniform(5, 4).cdf(x) / 3
    draws = np.asarray(drawn(mixture))
    assert stats.kstest(draws, cdf).pvalue > LEAST_P
    assert mixture.support() == (-np.inf, np.inf)
    assert choice.support() == (1.0, 9.0)


def test_components_are_independent():
    vector = Independent.create(Uniform.create(0.0, 1.0), 3.0, Normal.create(0.0, 2.0))
    draws = np.asarray(drawn(vector))
    assert draws.shape == (DRAWS, 3)
    assert (draws[:, 1] == 3.0).all()
    assert stats.kstest(draws[:, 0], stats.uniform.cdf).pvalue > LEAST_P
    assert stats.pearsonr(draws[:, 0], draws[:, 2]).pvalue > LEAST_P


def test_derivatives_of_draws(x64):
    def made(p):
        return (
            Constant.create(p[0]),
            Uniform.create(p[1], p[2]),
            Normal.create(p[3], p[4]),
            LogUniform.create(p[5], p[6]),
            TruncatedNormal.create(p[7], p[8], low=p[9], high=p[10]),
            Choice.create(p[11:13]),
            Mixture.create([p[13], p[14]]),
        )

    def total(p):
        return sum(jnp.sum(jnp.sin(d.sample(KEY, (20,)))) for d in made(p))

    p = jnp.asarray([2, -3, 5, 2, 0.5, 0.1, 30, 0, 1, 4, 5, 1, 4, 0, 1], float)
    value_and_slope = jax.jit(jax.value_and_grad(total))
    expected = [
        (value_and_slope(p + s)[0] - value_and_slope(p - s)[0]) / 2e-6
        for s in 1e-6 * jnp.eye(len(p))
    ]
    np.testing.assert_allclose(value_and_slope(p)[1], expected, rtol=1e-5, atol=1e-8)


def test_batches_of_parameters_and_of_keys():
    narrow = jax.vmap(lambda high: Uniform.create(0.0, high))(jnp.arange(1.0, 4.0))
    keys = jax.random.split(KEY, 3)
    draws = jax.jit(jax.vmap(lambda d, k: d.sample(k)))(narrow, keys)
    single = [Uniform.create(0.0, h).sample(k) for h, k in zip((1, 2, 3), keys)]  # noqa: B905
    np.testing.assert_array_equal(draws, single)


def test_degrees_are_turned_to_radians():
    low, high = Uniform.degrees(-45.0, 90.0).support()
    np.testing.assert_allclose([low, high], [-np.pi / 4, np.pi / 2], rtol=1e-6)
    np.testing.assert_allclose(Constant.degrees(180.0).value, np.pi, rtol=1e-6)
    np.testing.assert_allclose(Normal.degrees(0.0, 18.0).std, np.pi / 10, rtol=1e-6)
    bell = TruncatedNormal.degrees(0.0, 18.0, low=-36.0, high=36.0)
    np.testing.assert_allclose(
        [bell.std, bell.high], [np.pi / 10, np.pi / 5], rtol=1e-6
    )


def test_limits_that_meet_give_the_one_value():
    for cls in (Uniform, LogUniform):
        np.testing.assert_array_equal(cls.create(2.0, 2.0).sample(KEY, (5,)), 2.0)
    np.testing.assert_array_equal(Normal.create(2.0, 0.0).sample(KEY, (5,)), 2.0)


def test_descriptions_are_json():
    mixture = Mixture.create([Uniform.create(0.0, 1.0), 3.0], [1.0, 2.0])
    assert isinstance(mixture, Distribution)
    assert json.loads(json.dumps(mixture.describe())) == {
        "kind": "Mixture",
        "members": [
            {"kind": "Uniform", "low": 0.0, "high": 1.0},
            {"kind": "Constant", "value": 3.0},
        ],
        "weights": [1.0, 2.0],
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform.create(2.0, 1.0), "low must not be above high, got 2.0 and 1"),
        (lambda: Uniform.create(0.0, np.inf), "high must be finite"),
        (lambda: Uniform.create([0.0, 1.0], 2.0), r"low must have shape \(\)"),
        (lambda: Normal.create(0.0, -1.0), "std must not be negative, got -1"),
        (lambda: LogUniform.create(0.0, 1.0), "low must be positive, got 0"),
        (
            lambda: TruncatedNormal.create(0.0, 0.0, low=0.0, high=1.0),
            "std must be positive",
        ),
        (
            lambda: TruncatedNormal.create(0.0, 1.0, low=1.0, high=1.0),
            "low must be below high, got 1.0 and 1.0; use Constant",
        ),
        (
            lambda: TruncatedNormal.create(0.0, 1.0, low=20.0, high=30.0),
            "within 12 std of the mean, the nearer is 20 away",
        ),
        (lambda: Choice.create([]), r"values must be one number or more .* \(0,\)"),
        (lambda: Choice.create([1.0, np.nan]), "values must be finite"),
        (lambda: Choice.create([1.0, 2.0], [1.0]), r"weights must have shape \(2,\)"),
        (lambda: Choice.create([1.0, 2.0], [0.0, 0.0]), "weights must not all be 0"),
        (
            lambda: Choice.create([1.0, 2.0], [2.0, -1.0]),
            "weights must not be negative",
        ),
        (lambda: Mixture.create([]), "members must be one distribution or more"),
        (lambda: Independent.create(), "members must be one distribution or more"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
