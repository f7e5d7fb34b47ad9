import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax import CArm
from synthex_jax.geometry import convert
from synthex_jax.geometry.frames import ANTERIOR, LEFT, POSTERIOR, RIGHT, SUPERIOR

ISOCENTER = np.array([10.0, -20.0, 300.0])
VIEWS = {  # where the source is, and what lies to the right in the image
    "AP": (ANTERIOR, LEFT),
    "PA": (POSTERIOR, RIGHT),
    "left lateral": (RIGHT, ANTERIOR),
    "right lateral": (LEFT, POSTERIOR),
}


def carm():
    return CArm.create(
        source_to_detector=1000.0, source_to_isocenter=600.0, pitch=0.5, shape=(64, 80)
    )


def source_direction(camera, isocenter=ISOCENTER):
    return (np.asarray(camera.source) - isocenter) / 600.0


def offset(camera, direction):
    """(rows, columns) that a step of 10 mm from the isocenter moves in the image."""
    return np.asarray(
        camera.project(jnp.asarray(ISOCENTER + 10 * direction))
        - camera.project(jnp.asarray(ISOCENTER))
    )


@pytest.mark.parametrize("name", VIEWS)
def test_views_by_name(name, x64):
    camera = carm().view(name, isocenter=ISOCENTER)
    source, right = VIEWS[name]
    np.testing.assert_allclose(source_direction(camera), source, atol=1e-12)
    middle = camera.project(jnp.asarray(ISOCENTER))
    np.testing.assert_allclose(middle, [31.5, 39.5], atol=1e-9)
    # 10 mm at 600 mm from the source are 10 / 0.6 / 0.5 = 33.3 pixels.
    np.testing.assert_allclose(offset(camera, right), [0, 100 / 3], atol=1e-9)
    np.testing.assert_allclose(offset(camera, SUPERIOR), [-100 / 3, 0], atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.det(camera.world_from_camera.rotation), 1, rtol=1e-12
    )


def test_pa_is_the_mirror_image_of_ap(x64):
    ap, pa = (carm().view(name, isocenter=ISOCENTER) for name in ("AP", "PA"))
    in_plane = jnp.asarray(ISOCENTER + np.array([[20.0, 0, 5], [-3, 0, -8]]))
    from_ap = convert.mirrored(ap.project(in_plane), ap.shape)
    np.testing.assert_allclose(from_ap, pa.project(in_plane), atol=1e-9)


@pytest.mark.parametrize("degrees", [5.0, 30.0, 80.0])
def test_positive_orbital_is_lao_and_positive_angular_is_cran(degrees, x64):
    angle = np.deg2rad(degrees)
    s, c = np.sin(angle), np.cos(angle)
    lao = carm().at(orbital=angle, isocenter=ISOCENTER)
    np.testing.assert_allclose(
        source_direction(lao), c * ANTERIOR + s * LEFT, atol=1e-12
    )
    rao = carm().at(orbital=-angle, isocenter=ISOCENTER)
    np.testing.assert_allclose(
        source_direction(rao), c * ANTERIOR + s * RIGHT, atol=1e-12
    )
    cran = carm().at(angular=angle, isocenter=ISOCENTER)
    np.testing.assert_allclose(
        source_direction(cran), c * ANTERIOR + s * SUPERIOR, atol=1e-12
    )
    caud = carm().at(angular=-angle, isocenter=ISOCENTER)
    np.testing.assert_allclose(
        source_direction(caud), c * ANTERIOR - s * SUPERIOR, atol=1e-12
    )
    for camera in (lao, rao, cran, caud):
        # Left stays on the right and the head up.
        assert offset(camera, LEFT)[1] > 0
        assert offset(camera, SUPERIOR)[0] < 0


def test_roll_turns_the_content_counterclockwise(x64):
    camera = carm().at(roll=np.deg2rad(30.0), isocenter=ISOCENTER)
    # What pointed right points right and up: to a smaller row.
    row, col = offset(camera, LEFT) * 3 / 100
    np.testing.assert_allclose([row, col], [-0.5, np.sqrt(3) / 2], atol=1e-9)


def test_every_pose_is_a_rotation_that_holds_the_isocenter(rng, x64):
    def pose(angles):
        camera = carm().at(*angles, isocenter=ISOCENTER)
        middle = camera.project(jnp.asarray(ISOCENTER))
        return camera.world_from_camera.rotation, middle, camera.source

    rotations, middles, sources = jax.jit(jax.vmap(pose))(
        jnp.asarray(rng.uniform(-7, 7, size=(20, 3)))
    )
    identity = np.broadcast_to(np.eye(3), (20, 3, 3))
    products = rotations @ jnp.swapaxes(rotations, 1, 2)
    np.testing.assert_allclose(products, identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=1e-12)
    np.testing.assert_allclose(middles, np.tile([31.5, 39.5], (20, 1)), atol=1e-9)
    distances = np.linalg.norm(sources - ISOCENTER, axis=1)
    np.testing.assert_allclose(distances, 600.0, rtol=1e-12)


def test_angles_have_gradients(x64):
    def column(angles):
        camera = carm().at(*angles, isocenter=ISOCENTER)
        return camera.project(jnp.asarray(ISOCENTER + np.array([10.0, 20, 30])))[1]

    for angles in (np.zeros(3), np.array([0.4, -0.3, 0.2])):
        slope = jax.grad(column)(jnp.asarray(angles))
        steps = 1e-6 * np.eye(3)
        expected = [(column(angles + s) - column(angles - s)) / 2e-6 for s in steps]
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


def test_device_itself_is_a_pytree():
    def magnification(device):
        return device.source_to_detector / device.source_to_isocenter

    slope = jax.jit(jax.grad(magnification))(carm())
    np.testing.assert_allclose(slope.source_to_detector, 1 / 600, rtol=1e-6)
    assert slope.shape == (64, 80)


@pytest.mark.parametrize(
    ("preset", "shape", "pitch", "detector", "isocenter"),
    [
        (CArm.cios_fusion, (1536, 1536), 0.194, 1020.0, 530.0),
        (CArm.loop_x, (1388, 1386), 0.3, 1247.2, 746.0),
        (CArm.generic, (512, 512), 0.84, 1200.0, 900.0),
    ],
)
def test_presets(preset, shape, pitch, detector, isocenter):
    device = preset()
    assert device.shape == shape
    np.testing.assert_allclose(device.pitch, pitch, rtol=1e-6)
    np.testing.assert_allclose(device.source_to_detector, detector, rtol=1e-6)
    np.testing.assert_allclose(device.source_to_isocenter, isocenter, rtol=1e-6)
    camera = device.at()
    middle = camera.project(jnp.zeros(3))
    np.testing.assert_allclose(middle, [(n - 1) / 2 for n in shape], atol=1e-3)


def test_cios_fusion_has_the_focal_length_of_the_deepfluoro_data():
    K = CArm.cios_fusion().at().K
    np.testing.assert_allclose([K[0, 0], K[1, 1]], 5257.73, rtol=1e-5)
    np.testing.assert_allclose(K[:2, 2], 767.5)


def test_loop_x_is_the_device_of_its_radiograph(shared_data):
    given = json.loads((shared_data / "loopx" / "loopx1.json").read_text())
    device = CArm.loop_x()
    assert device.shape == (given["rows"], given["cols"])
    focal = given["K_mm"][0][0]
    np.testing.assert_allclose(device.source_to_detector, focal, rtol=1e-5)
    np.testing.assert_allclose(device.pitch, given["pixel_mm"])


def test_resizing_keeps_the_field_of_view(x64):
    device = carm()
    for other in (device.resized((32, 40)), device.binned(2)):
        assert other.shape == (32, 40)
        np.testing.assert_allclose(other.pitch, 1.0)
        expected = device.at(0.3, 0.2, isocenter=ISOCENTER).resized((32, 40))
        found = other.at(0.3, 0.2, isocenter=ISOCENTER)
        corner = jnp.array([-0.5, -0.5])
        np.testing.assert_allclose(
            found.back_project(corner), expected.back_project(corner), atol=1e-9
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_to_detector": -1.0}, "source_to_detector must be positive"),
        ({"source_to_isocenter": 0.0}, "source_to_isocenter must be positive mm"),
        ({"source_to_isocenter": 1000.0}, "below source_to_detector, got 1000.0 and"),
        ({"pitch": -0.5}, "pitch must be positive"),
        ({"shape": (64, 0)}, "shape must be two whole numbers"),
    ],
)
def test_refuses_impossible_devices(changes, message):
    arguments = {
        "source_to_detector": 1000.0,
        "source_to_isocenter": 600.0,
        "pitch": 0.5,
        "shape": (64, 80),
    }
    with pytest.raises(ValueError, match=message):
        CArm.create(**{**arguments, **changes})


def test_refuses_unknown_views_and_isocenters():
    with pytest.raises(
        ValueError, match=r"one of 'AP', 'PA', 'left lateral'.*got 'ap'"
    ):
        carm().view("ap")
    with pytest.raises(ValueError, match=r"isocenter must have shape \(3,\)"):
        carm().at(isocenter=(0.0, 0.0))
    with pytest.raises(ValueError, match="divisor"):
        carm().binned(3)
