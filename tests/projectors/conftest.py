"""The peers' reference case, and cameras all around a small volume."""

import jax
import numpy as np
import pytest

import synthex_jax as sx


@pytest.fixture(scope="session")
def peers(shared_reference):
    """Renderings of a small volume by DiffDRR 0.6.1 and nanodrr 0.1.7."""
    return np.load(shared_reference / "peers_axis.npz")


@pytest.fixture
def peers_case(peers, x64):
    """The reference volume and its camera, in double precision."""
    volume = sx.Volume.from_array(peers["volume"].astype(float), peers["axis/affine"])
    return volume, camera_of_targets(peers)


def camera_of_targets(peers) -> sx.Camera:
    """The camera from where the reference says that its pixels are.

    The reference mirrors no axis: it only counts both pixel axes the other way.
    """
    world_from_reference = peers["axis/camera_to_world"].astype(float)
    to_reference = np.linalg.inv(world_from_reference)
    targets = peers["axis/target_world"]
    in_reference = targets @ to_reference[:3, :3].T + to_reference[:3, 3]
    turned = in_reference * [-1, -1, 1]
    step_x, step_y = (
        turned[0, 1, 0] - turned[0, 0, 0],
        turned[1, 0, 1] - turned[0, 0, 1],
    )
    camera = sx.Camera.create(
        sx.RigidTransform.from_rotation(
            world_from_reference[:3, :3] @ np.diag([-1.0, -1.0, 1.0]),
            world_from_reference[:3, 3],
        ),
        source_to_detector=turned[0, 0, 2],
        pitch=(step_y, step_x),
        shape=targets.shape[:2],
        principal_point=(-turned[0, 0, 1] / step_y, -turned[0, 0, 0] / step_x),
    )
    placed = np.asarray(camera.back_project(camera.pixel_grid()))
    np.testing.assert_allclose(placed, targets, atol=1e-4)
    return camera


@pytest.fixture
def views():
    """Angles of views whose principal axes are all three, in both directions."""
    degrees = [(12, -9), (95, 8), (20, 75), (-80, 5), (172, 12), (8, -70)]
    return [tuple(np.deg2rad(pair)) for pair in degrees]


def small_camera(volume: sx.Volume, view=(0.2, -0.1), shape=(20, 24)) -> sx.Camera:
    """A camera that sees all of a volume some ten centimeters wide."""
    carm = sx.CArm.create(
        source_to_detector=500.0, source_to_isocenter=350.0, pitch=8.0, shape=shape
    )
    return carm.at(*view, 0.3, isocenter=volume.center)


def random_volume(rng, shape=(20, 24, 18), channels=()) -> sx.Volume:
    """Noise on an anisotropic, oblique grid."""
    turn = np.asarray(sx.RigidTransform.from_euler("xyz", [0.2, -0.15, 0.3]).rotation)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([3.0, 2.5, 4.0])
    affine[:3, 3] = [-20.0, 40.0, 13.0]
    data = rng.random((*shape, *channels))
    dtype = float if jax.config.jax_enable_x64 else np.float32
    return sx.Volume.from_array(data.astype(dtype), affine)
