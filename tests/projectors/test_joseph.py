"""Joseph's projector: values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from tests.projectors.conftest import random_volume, small_camera


def relative_rms(image, reference):
    image, reference = np.asarray(image), np.asarray(reference)
    return np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2))


def gaussian_volume(n: int, sigma: float, width: float = 96.0) -> sx.Volume:
    """A Gaussian of peak 1 a little off the middle of an n^3 grid."""
    spacing = width / n
    x = (np.arange(n) - (n - 1) / 2) * spacing
    parts = [np.exp(-((x - c) ** 2) / (2 * sigma**2)) for c in (1.0, -2.0, 0.5)]
    data = np.einsum("i,j,k->ijk", *parts)
    return sx.Volume.from_array(data, spacing=spacing)


def gaussian_image(camera: sx.Camera, sigma: float):
    """Closed form: peak, times the Gaussian of the ray's distance, times its width."""
    center = np.array([1.0, -2.0, 0.5])
    source = np.asarray(camera.source)
    ray = np.asarray(camera.back_project(camera.pixel_grid())) - source
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    distance = np.linalg.norm(np.cross(ray, center - source), axis=-1)
    return np.exp(-(distance**2) / (2 * sigma**2)) * sigma * np.sqrt(2 * np.pi)


def box_chords(camera: sx.Camera, half):
    """Length in mm of every ray within the box [-half, half]."""
    source = np.asarray(camera.source)
    ray = np.asarray(camera.back_project(camera.pixel_grid())) - source
    crossings = np.stack([(-half - source) / ray, (half - source) / ray])
    share = crossings.max(0).min(-1) - crossings.min(0).max(-1)
    return np.maximum(share, 0) * np.linalg.norm(ray, axis=-1)


def test_image_matches_the_dense_trilinear_reference(peers, peers_case):
    volume, camera = peers_case
    reference = peers["axis/check_dense_trilinear_f64"]
    image = np.asarray(sx.line_integrals(volume, camera))
    # Two interpolants of one volume: plain Joseph is known to lie at 1.9e-4.
    assert np.abs(image - reference).max() < 5e-4 * reference.max()


def test_label_channels_match_the_peers(peers, peers_case):
    volume, camera = peers_case
    labels = peers["labels"]
    channels = np.stack([(labels == i) * peers["volume"] for i in range(4)], axis=-1)
    split = sx.Volume.from_array(channels.astype(float), volume.affine)
    image = np.moveaxis(np.asarray(sx.line_integrals(split, camera)), -1, 0)
    soft = peers["axis/nanodrr_torch_channels_soft_f32"]
    # Soft labels weigh each voxel by its own label, which is this very sum. Masked
    # volumes jump from voxel to voxel, where one bilinear sample a slice and trilinear
    # marching differ by 1.8e-3; hard labels lie ten times as far from either.
    assert np.abs(image - soft.reshape(image.shape)).max() < 2e-3 * soft.max()
    whole = np.asarray(sx.line_integrals(volume, camera))
    np.testing.assert_allclose(image.sum(0), whole, atol=1e-12 * whole.max())


# The mean blur of linear interpolation, h^2/12 of the second derivative along two axes,
# changes a Gaussian image of sigma = 3 h by sqrt(2) / (12 * 9) = 1.31 %.
BLUR = np.sqrt(2) / (12 * 3**2)


@pytest.mark.parametrize(
    ("angles", "plain", "prefiltered"),
    [((12, 17), BLUR, 1e-3), ((30, 20), 1.1e-2, 1e-3), ((28, 28), 1.1e-2, 1e-3)],
)
def test_smooth_body_matches_its_closed_form(x64, angles, plain, prefiltered):
    sigma = 6.0
    volume = gaussian_volume(128, sigma, width=256.0)
    carm = sx.CArm.create(
        source_to_detector=1500.0, source_to_isocenter=1000.0, pitch=3.0, shape=(96, 96)
    )
    camera = carm.at(*np.deg2rad([*angles, -9.0])).cropped((24, 24), (48, 48))
    exact = gaussian_image(camera, sigma)
    sharp = sx.line_integrals(volume, camera, projector=sx.Joseph(prefilter=True))
    assert relative_rms(sx.line_integrals(volume, camera), exact) < plain
    assert relative_rms(sharp, exact) < prefiltered


def test_error_is_of_second_order(x64):
    camera = small_camera(gaussian_volume(8, 9.0), shape=(32, 32))
    errors = [
        relative_rms(
            sx.line_integrals(gaussian_volume(n, 9.0), camera),
            gaussian_image(camera, 9.0),
        )
        for n in (32, 64)
    ]
    assert 3.6 < errors[0] / errors[1] < 4.4


@pytest.mark.parametrize("view", range(6))
def test_box_chords(x64, views, view):
    """A uniform box: its rim is a ramp, so chords of two boxes enclose every value."""
    volume = sx.Volume.from_array(np.full((40, 30, 50), 0.02), spacing=(2.0, 3.0, 1.5))
    camera = small_camera(volume, views[view])
    spacing, half = np.array([2.0, 3.0, 1.5]), np.array([40.0, 45.0, 37.5])
    image = np.asarray(sx.line_integrals(volume, camera))
    inner, middle, outer = (
        0.02 * box_chords(camera, half + share * spacing) for share in (-0.5, 0, 0.5)
    )
    assert np.all((image >= inner - 1e-12) & (image <= outer + 1e-12))
    assert image.sum() == pytest.approx(middle.sum(), rel=2e-3)


def test_ray_ends_at_source_and_detector(x64):
    """Source inside the body, detector cutting it: only what lies between counts."""
    volume = sx.Volume.from_array(np.full((60, 60, 60), 0.01), spacing=2.0)
    for axis in "xyz":
        toward = sx.RigidTransform.from_euler(
            {"x": "y", "y": "x", "z": "z"}[axis],
            [{"x": np.pi / 2, "y": -np.pi / 2}.get(axis, 0.0)],
        )
        camera = sx.Camera.create(
            toward, source_to_detector=35.0, pitch=1.0, shape=(9, 11)
        )
        length = np.linalg.norm(
            np.asarray(camera.back_project(camera.pixel_grid())), axis=-1
        )
        image = np.asarray(sx.line_integrals(volume, camera))
        np.testing.assert_allclose(image, 0.01 * length, rtol=1e-9)


@pytest.mark.parametrize(
    "camera",
    [
        pytest.param({"source_to_detector": 300.0, "shape": (1, 1)}, id="one pixel"),
        pytest.param(
            {"source_to_detector": 5.0, "shape": (31, 31)}, id="80 degree cone"
        ),
        pytest.param({"source_to_detector": 300.0, "shape": (5, 400)}, id="misses"),
    ],
)
def test_degenerate_cameras_are_finite(x64, rng, camera):
    volume = random_volume(rng)
    pose = sx.RigidTransform.from_rotation(np.eye(3), np.asarray(volume.center))
    camera = sx.Camera.create(pose, pitch=4.0, **camera)

    def total(twist, data, affine):
        moved = camera.moved(twist)
        return jnp.sum(sx.line_integrals(sx.Volume(data, affine), moved) ** 2)

    grads = jax.grad(total, argnums=(0, 1, 2))(jnp.zeros(6), volume.data, volume.affine)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in grads)


def test_a_camera_that_misses_sees_nothing(x64, rng):
    volume = random_volume(rng)
    camera = small_camera(volume).moved([0, 0, 0, 5000.0, 0, 0])
    image, slope = jax.value_and_grad(
        lambda twist: jnp.sum(sx.line_integrals(volume, camera.moved(twist)))
    )(jnp.zeros(6))
    assert image == 0
    assert np.all(np.asarray(slope) == 0)


def test_batches_of_mixed_axes_equal_single_views(rng, views):
    volume = random_volume(rng)
    cameras = [small_camera(volume, view) for view in views]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cameras)
    one_by_one = np.stack([sx.line_integrals(volume, camera) for camera in cameras])
    project = lambda camera: sx.line_integrals(volume, camera)
    largest = one_by_one.max()
    for batched in (jax.vmap(project), jax.jit(jax.vmap(project))):
        np.testing.assert_allclose(batched(stacked), one_by_one, atol=1e-5 * largest)


def test_a_view_does_not_depend_on_its_batch(rng, views):
    volume = random_volume(rng)
    cameras = [small_camera(volume, view) for view in views]
    stack = lambda some: jax.tree.map(lambda *leaves: jnp.stack(leaves), *some)
    project = jax.jit(jax.vmap(lambda camera: sx.line_integrals(volume, camera)))
    few, many = project(stack(cameras[:2])), project(stack(cameras))
    # Compiled for another batch size, positions round differently: 1e-5 voxels of
    # white noise.
    np.testing.assert_allclose(few, many[:2], atol=1e-5 * many.max())


def test_channels_are_projected_alike(rng, views):
    volume = random_volume(rng, channels=(3,))
    for view in views[:3]:
        camera = small_camera(volume, view)
        image = sx.line_integrals(volume, camera)
        assert image.shape == (*camera.shape, 3)
        for c in range(3):
            single = sx.line_integrals(
                sx.Volume(volume.data[..., c], volume.affine), camera
            )
            np.testing.assert_allclose(image[..., c], single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int16", "bool"])
def test_storage_types(rng, dtype):
    volume = random_volume(rng)
    stored = sx.Volume((volume.data * 2).astype(dtype), volume.affine)
    exact = sx.Volume(stored.data.astype(jnp.float32), volume.affine)
    camera = small_camera(volume)
    image = sx.line_integrals(stored, camera)
    assert image.dtype == jnp.float32
    np.testing.assert_allclose(image, sx.line_integrals(exact, camera), rtol=1e-6)


def test_layouts_give_one_image(rng, views):
    volume = random_volume(rng)
    for view in views:
        camera = small_camera(volume, view)
        turned = volume.facing(camera)
        np.testing.assert_allclose(
            sx.line_integrals(turned, camera),
            sx.line_integrals(volume, camera),
            rtol=2e-5,
            atol=1e-4,
        )


def test_one_trace_a_shape(rng, views):
    import chex

    volume = random_volume(rng)
    project = jax.jit(chex.assert_max_traces(sx.line_integrals, n=1))
    for view in views:
        project(volume, small_camera(volume, view))


def test_float32_is_as_good_as_its_digits(rng):
    with jax.enable_x64(True):
        volume = random_volume(rng)
        camera = small_camera(volume)
        exact = np.asarray(sx.line_integrals(volume, camera))
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (volume, camera))
        image = sx.line_integrals(*narrow)
    assert image.dtype == jnp.float32
    # White noise has slopes of one a voxel; positions hold to 1e-4 voxels in float32.
    np.testing.assert_allclose(image, exact, atol=2e-4 * exact.max())


@pytest.mark.slow
def test_volumes_beyond_a_gigabyte_are_indexed_right():
    shape = (1040, 1040, 1040)
    data = np.zeros(shape, np.uint8)
    voxel = (1020, 1015, 1033)
    data[voxel] = 255
    volume = sx.Volume.from_array(data, spacing=0.2)
    where = volume.affine[:3, :3] @ jnp.array(voxel, float) + volume.affine[:3, 3]
    camera = small_camera(volume, (0.0, 0.0)).moved([0, 0, 0, *(where - volume.center)])
    camera = camera.resized((400, 480)).cropped((195, 235), (10, 10))
    row, col = np.asarray(camera.project(where))
    image = np.asarray(sx.line_integrals(volume, camera))
    assert image.max() > 0
    rows, cols = np.indices(image.shape)
    center = [(grid * image).sum() / image.sum() for grid in (rows, cols)]
    np.testing.assert_allclose(center, [row, col], atol=0.5)
