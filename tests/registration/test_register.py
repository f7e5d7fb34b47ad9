"""The front door: poses found, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.registration.correlation_ratio import GradientCorrelationRatio
from synthex_jax.registration.covariance import uncertainty
from synthex_jax.registration.first_order import Adam
from synthex_jax.registration.information import MutualInformation
from synthex_jax.registration.intrinsics import Intrinsics
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.pyramid import Level, binned, coarsened
from synthex_jax.registration.register import (
    register,
    register_bodies,
    register_views,
)
from synthex_jax.registration.rigid_bodies import RigidBodies
from synthex_jax.registration.search import Search
from synthex_jax.registration.similarity import NCC
from synthex_jax.registration.status import Status
from tests.registration.blobs import CENTERS, MIDDLE, blobs, errors, radiograph, view

LEVELS = [Level.create(40, 5.0, tolerance=0.02)]
START = np.array([0.06, -0.05, 0.08, 8.0, -15.0, 9.0])


@pytest.fixture(scope="module")
def body():
    return blobs()


@pytest.fixture(scope="module")
def fixed():
    return radiograph(view())


def found(fixed, body, start, **options):
    options = {"similarity": NCC(), "levels": LEVELS, **options}
    return register(fixed, body, start, **options)


def test_a_start_far_off_is_found_by_search(body, fixed):
    truth = view()
    far = truth.moved([0.5, 0.4, -0.7, 40.0, 60.0, -50.0], about=MIDDLE)
    search = Search.create(
        rotation=0.5,
        translation=50.0,
        starts=12,
        level=Level.create(20, 16.0, tolerance=1.0, similarity=NCC()),
    )
    assert errors(found(fixed, body, far).camera, truth)[0] > 5
    # The gain and offset of a radiograph do not matter.
    result = found(3 * fixed - 1, body, far, search=search)
    assert int(result.status) == Status.CONVERGED
    assert errors(result.camera, truth)[0] < 0.1
    assert errors(result.camera, truth)[1] < 1.0
    assert float(result.similarity) > 0.999
    assert result.camera.shape == truth.shape
    history = result.history.taken()
    assert history.cost.shape == history.movement.shape == (int(result.iterations),)
    assert len(result.history.cost) == 20
    last = replace(
        truth,
        world_from_camera=sx.RigidTransform.from_matrix(
            history.world_from_camera[-1, 0]
        ),
    )
    assert errors(last, result.camera)[0] < 1e-3
    assert np.all(np.linalg.eigvalsh(np.asarray(result.covariance)) > 0)
    # Depth shows by the size of the shadow alone.
    assert float(result.depth_std[0, 0]) > 3 * float(result.in_plane_std[0, 0])


def test_what_weighs_nothing_does_not_matter(body, fixed):
    truth = view()
    start = truth.moved(START, about=MIDDLE)
    covered = fixed.at[5:14, 8:20].set(9.0)
    weights = jnp.ones_like(fixed).at[5:14, 8:20].set(0.0)
    blind, masked = (found(covered, body, start, weights=w) for w in (None, weights))
    assert errors(masked.camera, truth)[0] < 0.15
    assert errors(blind.camera, truth)[0] > 1


def test_scatter_that_varies_over_the_image_is_no_movement(body, fixed):
    row, col = np.indices(fixed.shape) / max(fixed.shape) - 0.5
    scatter = (1 + row - col) * float(jnp.exp(-fixed).mean())
    veiled = -jnp.log(jnp.exp(-fixed) + scatter)
    truth = view()
    start = ((truth.moved(START / 4, about=MIDDLE),),)
    problem = RigidBodies.create([veiled], [body], start)

    def off(trend):
        similarity = GradientCorrelationRatio.create(trend=trend)
        optimizer = LevenbergMarquardt()
        course = optimizer.improved(similarity, problem, start, tolerance=0.02)
        return errors(course.state[0][0], truth)[0]

    assert off(2) < min(off(0) / 2, 0.4)


@pytest.mark.slow
def test_two_views_show_depth(body, fixed):
    truths = [view(), view(1.2)]
    starts = [truth.moved(START, about=MIDDLE) for truth in truths]
    images = [fixed, radiograph(truths[1])]
    result = register_views(images, body, starts, similarity=NCC(), levels=LEVELS)
    for camera, truth in zip(result.cameras[0], truths, strict=True):
        assert max(errors(camera, truth)) < 0.1
    assert result.in_plane_std.shape == (1, 2)
    assert float(result.depth_std.max()) < 2 * float(result.in_plane_std.max())


@pytest.mark.slow
def test_bodies_that_overlap_are_found_one_by_one(body, fixed):
    truth = view()
    shift = jnp.asarray([30.0, 0.0, -20.0])
    other = sx.Volume(body.data[::-1], body.affine.at[:3, 3].add(shift))
    image = fixed + sx.line_integrals(other, truth)
    starts = [
        truth.moved(0.5 * START, about=MIDDLE),
        truth.moved(-0.5 * START, about=other.center),
    ]
    result = register_bodies(
        image, [body, other], starts, similarity=NCC(), levels=LEVELS
    )
    assert result.covariance.shape == (12, 12)
    for views in result.cameras:
        assert errors(views[0], truth)[0] < 0.3


def test_a_body_that_shows_nothing_stays_where_it_is_expected(body, fixed):
    truth = view()
    glass = replace(body, data=1e-9 * body.data)
    start = truth.moved(0.5 * START, about=MIDDLE)
    options = {"similarity": NCC(), "levels": LEVELS}
    result = register_bodies(
        fixed, [body, glass], [start, start], starts_std=7.0, **options
    )
    # Pixels of 8 mm and few of them leave the prior a say in what shows, too.
    assert errors(result.cameras[0][0], truth)[0] < 0.5
    assert sum(errors(result.cameras[1][0], start)) < 1e-3
    # What is left is what was known before: 7 mm along each axis.
    np.testing.assert_allclose(result.depth_std[1], 7.0, rtol=0.01)
    np.testing.assert_allclose(result.in_plane_std[1], 7.0, rtol=0.01)
    assert float(result.in_plane_std[0, 0]) < 1
    free = register_bodies(
        fixed, [body, glass], [start, start], starts_std=None, **options
    )
    assert np.all(np.isinf(np.asarray(free.depth_std)))


def test_bodies_are_held_by_the_mean_square_of_their_movement(body, fixed):
    start = view()
    problem = RigidBodies.create([fixed], [body], ((start,),), starts_std=3.0)
    twist = np.array([0.02, 0.0, 0.0, 1.0, 2.0, -2.0])
    state = ((start.moved(twist, about=MIDDLE),),)
    # Of a uniform distribution over the box, turned about the first axis, and shifted.
    half = np.asarray(body.spacing) * np.asarray(body.shape) / 2
    mean_square = 0.02**2 * np.sum(half[1:] ** 2) / 3 + 9.0
    found = jnp.sum(problem.prior(state) ** 2)
    np.testing.assert_allclose(found, mean_square / 9, rtol=0.02)
    # Half the pixels a side: as far off, and four times as firmly held.
    level = Level.create(20, 10.0, tolerance=0.1)
    small = problem.at_level(level)
    off = jnp.sum(small.prior(problem.state_at(level, state)) ** 2)
    np.testing.assert_allclose(off, mean_square / 9, rtol=0.1)
    assert small.prior_weight == pytest.approx(4 * problem.prior_weight)


def test_what_is_expected_is_left_where_a_similarity_has_no_residuals(body, fixed):
    truth = view()
    glass = replace(body, data=1e-9 * body.data)
    state = ((truth,), (truth,))
    problem = RigidBodies.create([fixed], [body, glass], state, starts_std=7.0)
    unsure = uncertainty(MutualInformation(), problem, state)
    np.testing.assert_allclose(unsure.depth[1], 7.0, rtol=0.01)


def test_the_spread_of_starts_is_checked(body, fixed):
    with pytest.raises(ValueError, match="starts_std must be positive"):
        register_bodies(fixed, [body], [view()], starts_std=0.0)


def test_adam_finds_what_has_no_residuals(body, fixed):
    truth = view()
    cameras = ((truth.moved(0.5 * START, about=MIDDLE),),)
    problem = RigidBodies.create([fixed], [body], cameras)
    small = problem.at_level(LEVELS[0])
    seen = problem.state_at(LEVELS[0], cameras)
    course = Adam.create(1.0, iterations=120).improved(
        MutualInformation.create(24), small.near(seen), seen, tolerance=0.02
    )
    assert errors(course.state[0][0], truth)[0] < 0.5
    assert np.isfinite(float(course.cost))


def test_a_body_beside_the_image_is_no_overlap(body, fixed):
    aside = view().moved([0.0, 0, 0, 900.0, 0, 0], about=MIDDLE)
    result = found(fixed, body, aside)
    assert int(result.status) == Status.NO_OVERLAP
    np.testing.assert_array_equal(result.camera.source, aside.source)
    assert np.all(np.isinf(np.diag(result.covariance)))
    assert not np.any(np.isnan(np.asarray(result.covariance)))
    assert np.all(np.isinf(result.depth_std))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, b, c: (f[:5], b, c), r"fixed must have the shape.*\(40, 36\)"),
        (lambda f, b, c: (0 * f + 2, b, c), "fixed must show something"),
        (lambda f, b, c: (f.at[0, 0].set(jnp.nan), b, c), "fixed must be finite"),
        (
            lambda f, b, c: (f, sx.Volume(b.data * 1e5 - 1000, b.affine), c),
            "body must be in 1/mm.*attenuation",
        ),
        (
            lambda f, b, c: (f, sx.Volume(b.data[..., None], b.affine), c),
            "body must have shape",
        ),
        (
            lambda f, b, c: (f, sx.Volume(0 * b.data, b.affine), c),
            "body must attenuate",
        ),
        (
            lambda f, b, c: (f, b, c.moved([np.pi, 0, 0, 0, 0, 0], about=c.source)),
            "start must have the body between source and detector",
        ),
    ],
)
def test_what_cannot_be_registered_is_refused(body, fixed, change, message):
    with pytest.raises(ValueError, match=message):
        found(*change(fixed, body, view()))


def test_weights_and_levels_are_checked(body, fixed):
    camera = view()
    with pytest.raises(ValueError, match=r"weights must have shape \(40, 36\)"):
        register_views([fixed], body, [camera], weights=[jnp.ones((3, 3))])
    with pytest.raises(ValueError, match="weights must not be negative"):
        found(fixed, body, camera, weights=-jnp.ones_like(fixed))
    with pytest.raises(ValueError, match="weights must be above zero somewhere"):
        found(fixed, body, camera, weights=jnp.zeros_like(fixed))
    with pytest.raises(ValueError, match="levels must hold at least one"):
        found(fixed, body, camera, levels=[])
    with pytest.raises(ValueError, match="one camera for each of 2 images"):
        register_views([fixed, fixed], body, [camera])
    with pytest.raises(ValueError, match="pixels must be at least 8, got 4"):
        Level.create(4, 2.0, tolerance=0.1)
    with pytest.raises(ValueError, match="starts must be at least 1, got 0"):
        Search.create(starts=0)
    with pytest.raises(ValueError, match="must be a sum of squares"):
        found(
            fixed,
            body,
            camera,
            similarity=MutualInformation.create(24),
            optimizer=LevenbergMarquardt(),
        )
    with pytest.raises(ValueError, match="rate must be positive"):
        Adam.create(0.0)


def test_coarse_levels_keep_everything_in_place(body, rng):
    coarse = coarsened(body, 20.0)
    np.testing.assert_allclose(coarse.spacing, 20.0)
    assert coarse.shape == (12, 10, 14)
    fine = np.asarray(body.data)
    np.testing.assert_allclose(
        coarse.data[2, 1, 3], fine[8:12, 4:8, 12:16].mean(), rtol=1e-5
    )
    # What attenuates, and where on average, is the same.
    for volume in (body, coarse):
        nodes = np.indices(volume.shape).reshape(3, -1)
        mass = np.asarray(volume.data, float).ravel()
        mean = np.asarray(volume.affine)[:3, :3] @ (nodes @ mass / mass.sum())
        mean += np.asarray(volume.affine)[:3, 3]
        total = mass.sum() * float(jnp.prod(volume.spacing))
        assert total == pytest.approx(float(body.data.sum()) * 125, rel=1e-4)
        np.testing.assert_allclose(mean, MEAN, atol=0.05)
    image = jnp.asarray(rng.random((11, 9)), float)
    weights = jnp.ones_like(image).at[0, :3].set(0.0)
    small, weight = binned(image, weights, 3)
    assert small.shape == weight.shape == (3, 3)
    np.testing.assert_allclose(
        small[0, 0], np.asarray(image)[1:3, :3].mean(), rtol=1e-5
    )
    np.testing.assert_allclose(weight[0, 0], 2 / 3, rtol=1e-6)


def _center_of_mass():
    from tests.registration.blobs import CENTERS, PEAKS, WIDTHS

    masses = PEAKS * WIDTHS**3
    return MIDDLE + masses @ CENTERS / masses.sum()


MEAN = _center_of_mass()


def test_a_result_is_a_pytree(body, fixed):
    result = found(fixed, body, view().moved(0.2 * START, about=MIDDLE))
    leaves, tree = jax.tree.flatten(result)
    again = jax.tree.unflatten(tree, leaves)
    assert again.camera.shape == result.camera.shape


def test_a_batch_is_what_its_members_are_alone(body, fixed):
    truth = view()
    twists = jnp.asarray([0.3 * START, -0.3 * START], float)
    projector = sx.Joseph(axis=1)
    one = lambda twist: found(
        fixed, body, truth.moved(twist, about=MIDDLE), projector=projector
    )
    batch = jax.vmap(one)(twists)
    assert batch.status.tolist() == [Status.CONVERGED] * 2
    alone, member = one(twists[1]), jax.tree.map(lambda leaf: leaf[1], batch)
    np.testing.assert_allclose(member.camera.source, alone.camera.source, atol=0.05)
    assert int(member.iterations) == int(alone.iterations)


def test_a_lens_that_two_views_show_is_found_with_the_pose(body, fixed):
    truths = [view(), view(1.2)]
    off = lambda camera: replace(
        camera.moved(0.3 * START, about=MIDDLE),
        source_to_detector=1.03 * camera.source_to_detector,
        principal_point=camera.principal_point + jnp.asarray([1.0, -1.5]),
    )
    result = register_views(
        [fixed, radiograph(truths[1])],
        body,
        [off(truth) for truth in truths],
        similarity=NCC(),
        levels=LEVELS,
        unknown=Intrinsics(source_to_detector=True, principal_point=True),
    )
    assert result.covariance.shape == (12, 12)
    for camera, truth in zip(result.cameras[0], truths, strict=True):
        # What is seen is where it was, whichever of pose and lens explains it.
        seen = camera.project(jnp.asarray(MIDDLE + CENTERS, float))
        expected = truth.project(jnp.asarray(MIDDLE + CENTERS, float))
        np.testing.assert_allclose(seen, expected, atol=0.05)
    # The two views fix the size of things, and with it the lens to a percent.
    ratio = float(result.camera.source_to_detector / truths[0].source_to_detector)
    assert abs(ratio - 1) < 0.01
