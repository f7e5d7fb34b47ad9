from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal

from synthex_jax.models.pose_regressor import cholesky_factor
from synthex_jax.registration.pose_network import (
    PoseEstimate,
    read_pose_network,
    residual_twist,
    write_pose_network,
)
from synthex_jax.registration.pose_renderings import PoseRenderings, RandomAppearance
from synthex_jax.registration.pose_training import (
    PoseTraining,
    gaussian_nll,
    train_pose_network,
)
from synthex_jax.registration.pose_trials import PoseTrials, pose_trials
from synthex_jax.registration.pyramid import coarsened
from tests.registration.blobs import MIDDLE, blobs, radiograph, view

COUNT = 12
# Small turns, and shifts that a radiograph shows.
TRAINING = PoseTraining.create(
    rotation=0.02,
    translation=(25.0, 2.0, 25.0),
    pixels=20,
    spacing=10.0,
    widths=(8,),
    hidden=32,
    steps=80,
    batch=32,
    rate=5e-3,
    held_out=64,
)


@pytest.fixture(scope="module")
def body():
    return blobs()


@pytest.fixture(scope="module")
def residuals():
    return jax.jit(jax.vmap(residual_twist, (0, 0, None)))


@pytest.fixture(scope="module")
def losses():
    return []


@pytest.fixture(scope="module")
def network(body, losses):
    return train_pose_network(
        jax.random.key(0),
        body,
        view(),
        TRAINING,
        callback=lambda step, loss: losses.append((step, loss)),
    )


def test_a_trained_network_knows_the_pose_better_than_the_prior(
    network, losses, residuals
):
    assert [step for step, _ in losses] == list(range(TRAINING.steps))
    values = np.asarray([loss for _, loss in losses])
    assert values[-10:].mean() < values[:5].mean() - 2
    rng = np.random.default_rng(1)
    twists = jnp.asarray(rng.standard_normal((COUNT, 6)), float) * network.spread
    moved = jax.jit(jax.vmap(lambda t: network.nominal.moved(t, about=MIDDLE)))
    truths = moved(twists)
    # Closed forms, not the projector's renderings.
    images = jnp.stack([radiograph(_at(truths, i)) for i in range(COUNT)])
    one_by_one = [network.predict(image) for image in images]
    found = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(
        jnp.shape, jax.eval_shape(jax.vmap(network.predict), images)
    )
    first = network.predict(5 * images[0] + 2)
    np.testing.assert_allclose(first.covariance, found.covariance[0], rtol=0.02)
    assert first.camera.shape == network.nominal.shape == (40, 36)
    left = np.asarray(residuals(found.camera, truths, network.center))
    # Both axes across the view; the prior's medians are 17 mm.
    assert np.median(np.abs(left[:, [3, 5]])) < 6
    said = np.sqrt(np.asarray(found.covariance)[:, [3, 5], [3, 5]])
    assert np.median(said) < 15


def _at(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def test_what_weighs_nothing_does_not_matter(network):
    image = radiograph(network.nominal)
    weights = jnp.ones_like(image).at[4:13, 8:20].set(0.0)
    covered = image.at[4:13, 8:20].set(50.0)
    one, other = (network.predict(x, weights=weights) for x in (image, covered))
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-5)
    np.testing.assert_allclose(one.camera.source, other.camera.source, atol=1e-3)


def test_an_estimate_tells_how_far_to_search(network):
    covariance = jnp.diag(jnp.asarray([0.01, 0.04, 0.04, 4.0, 9.0, 35.0]))
    search = PoseEstimate(network.nominal, covariance).search(starts=5)
    assert search.rotation == pytest.approx(np.sqrt(0.03), rel=1e-5)
    assert search.translation == pytest.approx(4.0, rel=1e-5)
    assert search.starts == 5


def test_covariances_are_in_radians_and_millimeters(network):
    doubled = replace(network, temperature=2 * network.temperature)
    image = radiograph(network.nominal)
    one, two = (n.predict(image).covariance for n in (network, doubled))
    np.testing.assert_allclose(4 * one, two, rtol=1e-5)
    np.linalg.cholesky(np.asarray(one, float))
    assert float(one[3, 3]) > 100 * float(one[0, 0])


def test_a_network_survives_its_file(network, tmp_path):
    path = tmp_path / "pelvis.npz"
    write_pose_network(path, network)
    again = read_pose_network(path)
    assert jax.tree.structure(again) == jax.tree.structure(network)
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(x, y)
    assert [p.name for p in tmp_path.iterdir()] == ["pelvis.npz"]
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        write_pose_network(tmp_path / "pelvis", network)
    with pytest.raises(FileNotFoundError, match="give the path of a network"):
        read_pose_network(tmp_path / "hip.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.npz: must be a whole \.npz file"):
        read_pose_network(cut)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(cut, **{k: v for k, v in arrays.items() if k != "spread"})
    with pytest.raises(ValueError, match=r"write_pose_network wrote.*\['spread'\]"):
        read_pose_network(cut)
    np.savez(cut, **{**arrays, "hidden": np.asarray(33)})
    with pytest.raises(ValueError, match="33 hidden units; these differ"):
        read_pose_network(cut)
    np.savez(cut, **{**arrays, "format": np.asarray(99)})
    with pytest.raises(ValueError, match="must be of format 1, is of 99"):
        read_pose_network(cut)


def test_images_are_checked(network):
    image = radiograph(network.nominal)
    with pytest.raises(ValueError, match=r"fixed must have the shape.*\(40, 36\)"):
        network.predict(image[:30])
    with pytest.raises(ValueError, match="fixed must be finite"):
        network.predict(image.at[0, 0].set(jnp.inf))
    with pytest.raises(ValueError, match="fixed must show something"):
        network.predict(0 * image + 3)
    with pytest.raises(ValueError, match=r"weights must have shape \(40, 36\)"):
        network.predict(image, weights=jnp.ones((4, 4)))
    with pytest.raises(ValueError, match="weights must not be negative"):
        network.predict(image, weights=-jnp.ones_like(image))


def test_the_likelihood_is_scipys(rng):
    values, residual = rng.standard_normal(21), rng.standard_normal(6)
    factor = cholesky_factor(jnp.asarray(values, float))
    found = gaussian_nll(jnp.asarray(residual, float), factor)
    covariance = np.asarray(factor, float) @ np.asarray(factor, float).T
    wanted = -multivariate_normal(np.zeros(6), covariance).logpdf(residual)
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_the_slope_of_the_likelihood(x64, rng):
    values = jnp.asarray(rng.standard_normal(21))
    residual = jnp.asarray(rng.standard_normal(6))
    loss = jax.jit(lambda v, r: gaussian_nll(r, cholesky_factor(v)))
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(values, residual)
    step = 1e-6
    for i, point in enumerate((values, residual)):
        for j, unit in enumerate(np.eye(len(point))):
            ends = []
            for sign in (1, -1):
                at = [values, residual]
                at[i] = point + sign * step * unit
                ends.append(float(loss(*at)))
            difference = (ends[0] - ends[1]) / (2 * step)
            assert float(slopes[i][j]) == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_residuals_take_one_camera_to_the_other(residuals, rng):
    twists = rng.standard_normal((COUNT, 6)) * [0.5, 0.5, 0.5, 30.0, 30.0, 30.0]
    estimate = view()
    moved = jax.jit(jax.vmap(lambda t: estimate.moved(t, about=MIDDLE)))
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * COUNT), estimate)
    truths = moved(jnp.asarray(twists, float))
    found = residuals(many, truths, jnp.asarray(MIDDLE, float))
    # Positions of a meter in float32.
    np.testing.assert_allclose(found, twists, atol=2e-3)


def test_trials_tell_how_honest_covariances_are(network):
    rng = np.random.default_rng(0)
    truth = estimate = network.camera
    # Said to be half of what they are.
    distances = jnp.asarray(4 * chi2.rvs(6, size=4000, random_state=rng), float)
    trials = PoseTrials(truth, PoseEstimate(estimate, jnp.eye(6)), distances)
    assert trials.temperature() == pytest.approx(2.0, rel=0.03)
    wanted = chi2.cdf(chi2.ppf(0.9, 6) / 4, 6)
    assert trials.coverage() == pytest.approx(wanted, abs=0.03)
    with pytest.raises(ValueError, match="probability must be between 0 and 1, got 90"):
        trials.coverage(90.0)
    with pytest.raises(ValueError, match=r"at most 1 for 4000 trials, got 0\.99999"):
        trials.temperature(0.99999)


@pytest.fixture(scope="module")
def renderings(network, body):
    """As in training."""
    return PoseRenderings.create(
        coarsened(body, TRAINING.spacing),
        network.camera,
        network.spread,
        appearance=RandomAppearance.create(),
    )


def test_a_trained_network_is_honest_on_new_renderings(network, renderings):
    trials = pose_trials(jax.random.key(9), network, renderings, count=150)
    assert trials.squared_distance.shape == (150,)
    # 64 trials set the temperature and 150 check it: 4.5 % together, at 3 sigma.
    assert abs(trials.coverage() - 0.9) < 0.135
    with pytest.raises(ValueError, match=r"network's own camera, \(20, 18\), got"):
        pose_trials(jax.random.key(9), network, replace(renderings, camera=view()))


def test_nothing_drawn_leaves_the_attenuation_as_it_is(renderings):
    still = RandomAppearance.create(
        contrast=(1.0, 1.0),
        scatter=(1e-6, 1e-6),
        unevenness=0.0,
        blur=0.0,
        quanta=(1e9, 1e9),
        collimated=0.0,
        covered=0.0,
    )
    same = replace(renderings, appearance=still)
    cameras, images = same.batch(jax.random.key(3), TRAINING.batch)
    wanted = radiograph(_at(cameras, 5))
    # Voxels of 10 mm widen blobs of 13 mm to 14: an eighth off their peaks.
    level = images[5] - images[5, 0, 0]
    np.testing.assert_allclose(level, wanted - wanted[0, 0], atol=0.15 * wanted.max())
    assert np.corrcoef(level.ravel(), wanted.ravel())[0, 1] > 0.995


def test_poses_are_spread_about_the_center(renderings, residuals):
    aside = replace(renderings, center=renderings.center + 800.0)
    cameras, _ = aside.batch(jax.random.key(5), TRAINING.batch)
    nominal = jax.tree.map(lambda leaf: jnp.stack([leaf] * COUNT), renderings.camera)
    some = jax.tree.map(lambda leaf: leaf[:COUNT], cameras)
    scaled = residuals(nominal, some, aside.center) / aside.spread
    # Standard normal, 72 numbers: 3 sigma of their mean square. About another center,
    # turns of 0.02 would add shifts of 16 mm to a spread of 2 mm.
    assert float(jnp.mean(scaled**2)) == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize("gain", [0.0, 1e-3, 1.0, 100.0])
def test_appearances_differ_and_are_finite(renderings, gain):
    worst = RandomAppearance.create(collimated=1.0, covered=1.0, quanta=(0.1, 1.0))
    body = replace(renderings.body, data=gain * renderings.body.data)
    many = replace(renderings, body=body, appearance=worst)
    _, found = map(np.asarray, many.batch(jax.random.key(0), TRAINING.batch))
    assert np.isfinite(found).all()
    if gain == 1:
        assert (found.std((1, 2)) > 0.1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": (2.0, 1.0)}, r"contrast must be \(smallest, largest\)"),
        ({"scatter": (0.0, 1.0)}, "scatter must be positive"),
        ({"quanta": 100.0}, r"quanta must have shape \(2,\)"),
        ({"blur": -1.0}, "blur must not be negative"),
        ({"covered": 2.0}, "covered must be a probability from 0 to 1, got 2"),
    ],
)
def test_appearances_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        RandomAppearance.create(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"held_out": 5}, "held_out must be at least 10, got 5"),
        ({"rate": 0.0}, "rate must be positive, got 0"),
        ({"reprojection": -1.0}, "reprojection must not be negative"),
        ({"rotation": 0.0}, "rotation must be one positive number or three, in rad"),
        ({"translation": (1.0, 2.0)}, "translation must be one positive number or"),
    ],
)
def test_training_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        PoseTraining.create(**options)


def test_bodies_are_checked(body):
    spread = np.ones(6)
    with pytest.raises(ValueError, match=r"body must be in 1/mm.*attenuation"):
        PoseRenderings.create(replace(body, data=1e4 * body.data), view(), spread)
    with pytest.raises(ValueError, match="body must have shape"):
        PoseRenderings.create(replace(body, data=body.data[..., None]), view(), spread)
    away = view().moved([np.pi, 0, 0, 0, 0, 0], about=view().source)
    with pytest.raises(ValueError, match="body between source and detector"):
        PoseRenderings.create(body, away, spread)
    with pytest.raises(ValueError, match=r"spread must have shape \(6,\)"):
        PoseRenderings.create(body, view(), spread[:3])
