import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synthex_jax import Camera, RigidTransform
from synthex_jax.geometry import convert

SHAPE = (48, 64)


def some_camera(rng, **changes):
    """Neither square pixels, nor a centered principal point, nor a special pose."""
    rotation = Rotation.random(random_state=rng).as_matrix()
    arguments = {
        "source_to_detector": 1020.0,
        "pitch": (2.25, 2.5),
        "principal_point": (20.0, 37.5),
        "skew": 0.03,
        "shape": SHAPE,
    }
    return Camera.create(
        RigidTransform.from_rotation(rotation, rng.normal(size=3) * 300),
        **{**arguments, **changes},
    )


def seen_points(camera, rng, n=20):
    """World points between source and detector."""
    pixels = rng.uniform((0, 0), camera.shape, size=(n, 2))
    fraction = rng.uniform(0.2, 1.0, size=(n, 1))
    ends = np.asarray(camera.back_project(jnp.asarray(pixels)))
    source = np.asarray(camera.source)
    return jnp.asarray(source + fraction * (ends - source)), pixels


def by_matrix(P, points):
    """Pixels (row, column) by the textbook: P X, divided by its last entry."""
    x = np.asarray(points) @ np.asarray(P)[:, :3].T + np.asarray(P)[:, 3]
    return (x[..., :2] / x[..., 2:])[..., ::-1]


def assert_same_camera(found, expected, atol=1e-9):
    assert found.shape == expected.shape
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_projection_by_plain_formulas(rng, x64):
    """OpenCV's: (x, y, z) = R X + t, u = fx x / z + cx, v = fy y / z + cy."""
    camera = some_camera(rng, skew=0.0)
    points, pixels = seen_points(camera, rng)
    R = np.asarray(camera.world_from_camera.rotation).T
    x, y, z = R @ (np.asarray(points) - np.asarray(camera.source)).T
    u = 1020.0 / 2.5 * x / z + 37.5
    v = 1020.0 / 2.25 * y / z + 20.0
    np.testing.assert_allclose(camera.project(points), np.stack([v, u], -1), atol=1e-9)
    np.testing.assert_allclose(camera.project(points), pixels, atol=1e-9)
    np.testing.assert_allclose(camera.depth(points), z, atol=1e-9)


def test_projection_matrix_is_the_projection(rng, x64):
    camera = some_camera(rng)
    points, pixels = seen_points(camera, rng)
    P = camera.projection_matrix
    np.testing.assert_allclose(by_matrix(P, points), pixels, atol=1e-9)
    pose = camera.camera_from_world
    np.testing.assert_allclose(
        P, camera.K @ np.c_[pose.rotation, pose.translation], atol=1e-9
    )


def test_back_projection_inverts_projection(rng, x64):
    camera = some_camera(rng)
    grid = camera.pixel_grid()
    assert grid.shape == (*SHAPE, 2)
    np.testing.assert_array_equal(grid[3, 5], [3, 5])
    on_detector = camera.back_project(grid)
    np.testing.assert_allclose(camera.depth(on_detector), 1020.0, rtol=1e-12)
    np.testing.assert_allclose(camera.project(on_detector), grid, atol=1e-9)
    steps = np.linalg.norm(on_detector[1:, 0] - on_detector[:-1, 0], axis=-1)
    # A row down moves skew columns along x.
    np.testing.assert_allclose(steps, np.hypot(2.25, 0.03 * 2.5), rtol=1e-9)
    steps = np.linalg.norm(on_detector[0, 1:] - on_detector[0, :-1], axis=-1)
    np.testing.assert_allclose(steps, 2.5, rtol=1e-9)


def test_principal_ray(rng, x64):
    camera = some_camera(rng)
    end = camera.back_project(camera.principal_point)
    expected = camera.source + 1020.0 * camera.principal_direction
    np.testing.assert_allclose(end, expected, atol=1e-9)


def test_default_principal_point_is_the_middle(x64):
    camera = Camera.create(
        RigidTransform.identity(), source_to_detector=1000, pitch=0.5, shape=(4, 7)
    )
    np.testing.assert_allclose(camera.principal_point, [1.5, 3.0])
    np.testing.assert_allclose(jnp.mean(camera.pixel_grid(), (0, 1)), [1.5, 3.0])
    np.testing.assert_allclose(camera.pitch, [0.5, 0.5])


def test_round_trip_through_k_and_pose(rng, x64):
    camera = some_camera(rng)
    for pose in (
        camera.camera_from_world,
        camera.camera_from_world.matrix,
        camera.camera_from_world.matrix[:3],
    ):
        back = Camera.from_krt(camera.K, pose, shape=SHAPE, pitch=camera.pitch)
        assert_same_camera(back, camera)
    square = some_camera(rng, pitch=0.3)
    pose = square.camera_from_world
    back = Camera.from_krt(square.K, pose, shape=SHAPE, pitch=0.3)
    assert_same_camera(back, square)


@pytest.mark.parametrize("scale", [1.0, -1.0, 37.0, -1e-4])
def test_round_trip_through_a_scaled_projection_matrix(scale, rng, x64):
    for camera in (some_camera(rng), some_camera(rng, skew=-0.2, pitch=0.194)):
        P = scale * np.asarray(camera.projection_matrix)
        back = Camera.from_projection(P, shape=SHAPE, pitch=camera.pitch)
        assert_same_camera(back, camera, atol=1e-7)


def test_round_trips_in_single_precision(rng):
    camera = some_camera(rng)
    back = Camera.from_projection(
        camera.projection_matrix, shape=SHAPE, pitch=camera.pitch
    )
    points, _ = seen_points(camera, rng)
    # Ten units in the last place of pixel coordinates of some hundreds.
    np.testing.assert_allclose(back.project(points), camera.project(points), atol=5e-4)


def test_a_real_projection_matrix(shared_data, x64):
    """A Loop-X radiograph's P, patient mm to detector mm, as its maker gives it.

    The picture shows the patient's left on the right though the source is behind:
    the mirror image of what the source sees.
    """
    given = json.loads((shared_data / "loopx" / "loopx1.json").read_text())
    mm = np.array(given["P_patient_to_detector_mm"])
    pitch, shape = given["pixel_mm"], (given["rows"], given["cols"])
    P = np.diag([1 / pitch, 1 / pitch, 1.0]) @ mm
    assert convert.is_mirrored(P, (0.0, 0.0, 0.0))
    camera = convert.from_mirrored_projection(P, shape=shape, pitch=pitch)

    np.testing.assert_allclose(camera.source, given["source_patient"], atol=1e-6)
    np.testing.assert_allclose(camera.source_to_detector, 1247.1973, atol=1e-3)
    # Patient coordinates are LPS: +y is posterior, where the source of a PA view is.
    assert given["view"] == "PA"
    assert camera.source[1] > 700
    direction = camera.principal_direction
    np.testing.assert_allclose(direction, [0, -1, 0], atol=0.04)

    points = np.random.default_rng(0).uniform(-150, 150, size=(50, 3))
    stored = by_matrix(P, points)
    found = convert.mirrored(camera.project(jnp.asarray(points)), shape)
    np.testing.assert_allclose(found, stored, atol=1e-8)
    assert np.all(np.asarray(camera.depth(jnp.asarray(points))) > 0)
    reversed_P = np.array([[-1, 0, shape[1] - 1], [0, 1, 0], [0, 0, 1]]) @ P
    ratio = np.asarray(camera.projection_matrix) / reversed_P
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)

    # The detector's corner and axes, given in patient mm beside the matrix.
    corner = np.asarray(given["detector_origin_patient"])
    along_x = corner + 100 * np.asarray(given["detector_ex"])
    along_y = corner + 100 * np.asarray(given["detector_ey"])
    stored = by_matrix(mm, np.stack([corner, along_x, along_y]))
    np.testing.assert_allclose(stored, [[0, 0], [0, 100], [100, 0]], atol=1e-6)
    assert np.linalg.norm(corner - camera.source) > 1247


def test_crop_moves_the_window(rng, x64):
    camera = some_camera(rng)
    points, pixels = seen_points(camera, rng)
    window = camera.cropped((7, -3), (20, 90))
    assert window.shape == (20, 90)
    np.testing.assert_allclose(window.project(points), pixels - [7, -3], atol=1e-9)
    np.testing.assert_allclose(
        window.back_project(window.pixel_grid())[0, 3],
        camera.back_project(jnp.array([7.0, 0.0])),
        atol=1e-9,
    )


@pytest.mark.parametrize("shape", [(24, 32), (96, 64), (31, 17), SHAPE])
def test_resizing_keeps_the_edges_in_place(shape, rng, x64):
    """Edges lie at -1/2 and n - 1/2, before and after."""
    camera = some_camera(rng)
    points, pixels = seen_points(camera, rng)
    resized = camera.resized(shape)
    scale = np.array(shape) / np.array(SHAPE)
    expected = (pixels + 0.5) * scale - 0.5
    np.testing.assert_allclose(resized.project(points), expected, atol=1e-9)
    edges, old_edges = (
        jnp.array([[-0.5, -0.5], [r - 0.5, c - 0.5]]) for r, c in (shape, SHAPE)
    )
    np.testing.assert_allclose(
        resized.back_project(edges), camera.back_project(old_edges), atol=1e-9
    )
    assert_same_camera(resized.resized(SHAPE), camera)


def test_binned_pixels_lie_at_the_mean_of_their_group(rng, x64):
    camera = some_camera(rng)
    binned = camera.binned(4)
    assert binned.shape == (12, 16)
    fine = camera.back_project(camera.pixel_grid())
    means = fine.reshape(12, 4, 16, 4, 3).mean((1, 3))
    np.testing.assert_allclose(
        binned.back_project(binned.pixel_grid()), means, atol=1e-9
    )
    assert_same_camera(camera.binned(1), camera)


def test_motion_of_the_camera(rng, x64):
    camera = some_camera(rng)
    twist, pivot = rng.normal(size=6) * 0.3, rng.normal(size=3) * 100
    points, _ = seen_points(camera, rng)
    motion = RigidTransform.from_twist(twist)
    # Camera and points moved together see the same.
    np.testing.assert_allclose(
        camera.moved(twist).project(motion.apply(points)),
        camera.project(points),
        atol=1e-8,
    )
    np.testing.assert_allclose(
        camera.moved(twist).world_from_camera.matrix,
        motion.matrix @ camera.world_from_camera.matrix,
        atol=1e-9,
    )
    turned = camera.moved(np.r_[twist[:3], 0, 0, 0], about=pivot)
    np.testing.assert_allclose(
        turned.project(jnp.asarray(pivot)),
        camera.project(jnp.asarray(pivot)),
        atol=1e-8,
    )
    turn = motion.rotation
    np.testing.assert_allclose(
        turned.source, turn @ (camera.source - pivot) + pivot, atol=1e-9
    )
    assert_same_camera(camera.moved(np.zeros(6), about=pivot), camera)


def test_every_leaf_has_a_gradient(rng, x64):
    """Of a projection and a back-projection, against central differences."""
    camera = some_camera(rng)
    points, pixels = seen_points(camera, rng, n=5)
    weights = jnp.asarray(rng.normal(size=(5, 2)))

    @jax.jit
    def loss(leaves):
        moved = jax.tree.unflatten(structure, leaves)
        ends = moved.back_project(jnp.asarray(pixels))
        return jnp.sum(weights * moved.project(points)) + jnp.sum(jnp.sin(ends / 100))

    leaves, structure = jax.tree.flatten(camera)
    assert len(leaves) == 6
    for i, slope in enumerate(jax.grad(loss)(leaves)):
        for index in np.ndindex(slope.shape):
            step = 1e-5
            high, low = list(leaves), list(leaves)
            high[i] = leaves[i].at[index].add(step)
            low[i] = leaves[i].at[index].add(-step)
            expected = (loss(high) - loss(low)) / (2 * step)
            # Second-order differences of a function of some hundreds: 1e-16 * 100 /
            # 1e-5 of rounding, and as much again of curvature.
            np.testing.assert_allclose(slope[index], expected, rtol=1e-6, atol=1e-5)


def test_passes_through_jit_and_vmap(rng, x64):
    cameras = [some_camera(rng) for _ in range(3)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cameras)
    point = cameras[0].source + 500 * cameras[0].principal_direction
    found = jax.jit(jax.vmap(lambda camera: camera.project(point)))(batch)
    expected = jnp.stack([camera.project(point) for camera in cameras])
    np.testing.assert_allclose(found, expected, atol=1e-9)

    def through_matrices(camera):
        camera = camera.resized((24, 32)).cropped((1, 2), (20, 20)).moved(jnp.zeros(6))
        return Camera.from_krt(
            camera.K, camera.camera_from_world, shape=camera.shape, pitch=camera.pitch
        )

    back = jax.jit(jax.vmap(through_matrices))(batch)
    assert back.shape == (20, 20)
    np.testing.assert_allclose(
        back.world_from_camera.translation, batch.world_from_camera.translation
    )


def test_points_in_the_plane_of_the_source_stay_finite(rng):
    camera = some_camera(rng)
    beside = camera.source + 10 * camera.world_from_camera.rotation[:, 0]
    slope = jax.jacrev(camera.project)(beside)
    assert np.isfinite(camera.project(beside)).all()
    assert np.isfinite(slope).all()
    assert np.isfinite(jax.jacrev(camera.project)(camera.source)).all()


# -- bad input ------------------------------------------------------------------------

IDENTITY = RigidTransform.identity()
GOOD = {"source_to_detector": 1000.0, "pitch": 0.5, "shape": SHAPE}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_to_detector": -1000.0}, "source_to_detector must be positive mm"),
        ({"source_to_detector": np.nan}, "source_to_detector must be positive"),
        ({"pitch": 0.0}, "pitch must be positive mm a pixel"),
        ({"pitch": (0.5, -0.5)}, "pitch must be positive"),
        ({"shape": (0, 64)}, r"shape must be two whole numbers .* got \(0, 64\)"),
        ({"principal_point": (1.0,)}, r"principal_point must have shape \(2,\)"),
        ({"principal_point": (np.inf, 1.0)}, "principal_point must be finite"),
    ],
)
def test_refuses_impossible_devices(changes, message):
    with pytest.raises(ValueError, match=message):
        Camera.create(IDENTITY, **{**GOOD, **changes})


def k_matrix(fx=2000.0, fy=2000.0, cx=31.5, cy=23.5):
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (k_matrix().T, "K must be upper triangular .*transposed"),
        (2 * k_matrix(), r"K\[2, 2\] = 1"),
        (k_matrix(fx=-2000.0, fy=-2000.0), "positive focal lengths.*from_deepfluoro"),
        (k_matrix(fx=1000.0), "give 1000 mm and the columns 500 mm"),
        (np.eye(4), r"K must have shape \(3, 3\)"),
        (k_matrix(cx=np.nan), "K must be finite"),
    ],
)
def test_refuses_bad_intrinsics(K, message):
    with pytest.raises(ValueError, match=message):
        Camera.from_krt(K, IDENTITY, shape=SHAPE, pitch=0.5)


def test_refuses_bad_poses_and_projections(rng):
    scaled = np.diag([2.0, 2, 2, 1])
    with pytest.raises(ValueError, match="must hold a rotation"):
        Camera.from_krt(k_matrix(), scaled, shape=SHAPE, pitch=0.5)
    P = np.asarray(some_camera(rng).projection_matrix)
    with pytest.raises(ValueError, match=r"P must have shape \(3, 4\)"):
        Camera.from_projection(P.T, shape=SHAPE, pitch=(2.25, 2.5))
    with pytest.raises(ValueError, match="singular"):
        Camera.from_projection(np.ones((3, 4)), shape=SHAPE, pitch=0.5)
    with pytest.raises(ValueError, match="K and pitch must agree"):
        Camera.from_projection(P, shape=SHAPE, pitch=(2.5, 2.25))
    with pytest.raises(ValueError, match="P must be finite"):
        Camera.from_projection(P * np.nan, shape=SHAPE, pitch=0.5)


def test_refuses_bins_that_do_not_fit(rng):
    camera = some_camera(rng)
    with pytest.raises(ValueError, match=r"divisor of the shape \(48, 64\), got 5"):
        camera.binned(5)
    with pytest.raises(ValueError, match="divisor"):
        camera.binned(0)
    with pytest.raises(ValueError, match="shape must be two whole numbers"):
        camera.resized((24, 0))
    with pytest.raises(ValueError, match="shape must be two whole numbers"):
        camera.cropped((0, 0), (-1, 4))


def test_replace_makes_a_copy(rng):
    camera = some_camera(rng)
    longer = replace(camera, source_to_detector=camera.source_to_detector * 2)
    np.testing.assert_allclose(longer.K[:2, :2], 2 * camera.K[:2, :2], rtol=1e-6)
