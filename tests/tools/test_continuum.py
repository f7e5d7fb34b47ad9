import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.interpolate import CubicSpline

from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.physics.compounds import material
from synthex_jax.tools.continuum import ContinuumManipulator

DEVICE = ContinuumManipulator.create()
LIMIT = 2 * np.arctan(0.55 / 6)


def small(**changes):
    """Few notches and corners; the shape of the default's rings and bridges."""
    sizes = {"notches": 5, "length": 35 / 27 * 5, "sides": 12}
    return ContinuumManipulator.create(**(sizes | changes))


def body(device, control_angles):
    mesh = device.tool(control_angles).parts[0].shape
    vertices = np.asarray(mesh.vertices, np.float64)
    return trimesh.Trimesh(vertices, mesh.faces, process=False)


def winding_numbers(mesh, points):
    """How often each point is enclosed: solid angles of the faces over 4 pi."""
    a, b, c = np.moveaxis(mesh.triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    below = la * lb * lc + np.sum(a * b, -1) * lc + np.sum(b * c, -1) * la
    below += np.sum(c * a, -1) * lb
    triple = np.sum(a * np.cross(b, c), axis=-1)
    return np.sum(np.arctan2(triple, below), axis=1) / (2 * np.pi)


def pin_frames(device, joint_angles):
    """Base, pins, tip as 4x4 matrices: the chain of links and turns about y."""

    def along(z):
        return np.block([[np.eye(3), np.array([[0], [0], [z]])], [0, 0, 0, 1]])

    link = float(device.length) / device.notches
    frames = [np.eye(4)]
    for i, angle in enumerate(joint_angles):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
        frames.append(frames[-1] @ along(link / 2 if i == 0 else link) @ turn)
    return [*frames, frames[-1] @ along(link / 2)]


def test_joint_angles_are_a_natural_spline(x64, rng):
    control = rng.normal(0, 0.04, 5)
    expected = CubicSpline(np.linspace(0, 1, 5), control, bc_type="natural")
    angles = DEVICE.joint_angles(jnp.asarray(control))
    np.testing.assert_allclose(angles, expected(np.linspace(0, 1, 27)), atol=1e-12)
    np.testing.assert_allclose(DEVICE.joint_angles(jnp.array([0.02])), 0.02)


def test_forward_kinematics(rng):
    joints = rng.normal(0, 0.06, 27)
    centerline = np.asarray(DEVICE.centerline(jnp.asarray(joints, jnp.float32)))
    expected = np.stack([frame[:3, 3] for frame in pin_frames(DEVICE, joints)])
    # Float32 sums of 28 pieces: some 1e-6 of 35 mm each.
    np.testing.assert_allclose(centerline, expected, atol=1e-4)
    lengths = np.linalg.norm(np.diff(centerline, axis=0), axis=-1)
    np.testing.assert_allclose(lengths.sum(), 35, rtol=1e-6)
    assert (centerline[:, 1] == 0).all()


def test_links_are_rigid(rng):
    # Link k moves with pin k; the base link not at all.
    device = small()
    control = rng.normal(0, 0.05, 5)
    straight = body(device, np.zeros(5)).vertices.reshape(6, -1, 3)
    bent = body(device, control).vertices.reshape(6, -1, 3)
    joints = np.asarray(device.joint_angles(jnp.asarray(control, jnp.float32)))
    moved, rest = pin_frames(device, joints)[:-1], pin_frames(device, 0 * joints)[:-1]
    for link in range(6):
        motion = moved[link] @ np.linalg.inv(rest[link])
        expected = straight[link] @ motion[:3, :3].T + motion[:3, 3]
        np.testing.assert_allclose(bent[link], expected, atol=1e-5)


def test_landmarks_and_parts():
    pose = RigidTransform.from_euler("x", [0.4], (1.0, 2.0, 3.0))
    tool = DEVICE.tool(np.full(5, 0.03), world_from_tool=pose)
    marks = tool.world_landmarks()
    np.testing.assert_allclose(marks["base"], [1, 2, 3])
    # A positive angle bends towards +x.
    assert tool.landmarks["tip"][0] > 5
    np.testing.assert_allclose(marks["tip"], pose.apply(tool.landmarks["tip"]))
    notched, shaft = tool.parts
    assert notched.material == material("nitinol")
    np.testing.assert_allclose(shaft.shape.start, [0, 0, -200])
    np.testing.assert_allclose([shaft.shape.radius, shaft.shape.bore_radius], [3, 2])
    assert [part.material for part in tool.labelled_parts()] == [notched.material]


@pytest.mark.parametrize("bridge_angle", [np.pi / 3, 1.4])
def test_volume_of_the_straight_body(bridge_angle):
    device = small(bridge_angle=bridge_angle)
    # Inscribed polygons: triangles of a corner's angle at the center.
    on_bridge, on_gap = bridge_angle / 2, (np.pi - bridge_angle) / 4
    bridge = 2 * np.sin(on_bridge) / 2 * (3**2 - 2**2)
    ring = 2 * bridge + 8 * np.sin(on_gap) / 2 * (3**2 - 2**2)
    notches = 5 * 0.55
    expected = ring * (float(device.length) - notches) + bridge * notches
    np.testing.assert_allclose(body(device, np.zeros(5)).volume, expected, rtol=1e-5)


def test_closed_for_random_bends():
    keys = jax.random.split(jax.random.key(0), 3)
    for key in keys:
        mesh = body(DEVICE, DEVICE.random_angles(key))
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.body_count == 1
        # 28 rings with a hole each, 27 bridges that make no further loop.
        assert mesh.euler_number == 2 - 2 * 28
        # Bending only skews the bridges, by a fraction of a percent of the volume.
        np.testing.assert_allclose(mesh.volume, 351.35, rtol=5e-3)


def in_the_notches(device, angle, rng):
    """Points about the middle planes of the notches, where walls meet first."""
    frames = np.stack(pin_frames(device, np.full(device.notches, angle))[1:-1])
    frames = frames[:, :3]
    phi = rng.uniform(0, 2 * np.pi, (device.notches, 80))
    # Inside the polygon's walls: of 12 sides they are 2.898 mm from the middle, and 1 %
    # less where a bridge is bent.
    radius = rng.uniform(2.6, 2.85, phi.shape)
    across = np.stack([radius * np.cos(phi), radius * np.sin(phi), 0 * phi], axis=-1)
    c, s = np.cos(-angle / 2), np.sin(-angle / 2)
    half_back = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    turns = frames[..., :3] @ half_back
    points = across @ turns.swapaxes(1, 2) + frames[:, None, :, 3]
    side = np.where(np.arange(device.notches) % 2, 1, -1)[:, None] * np.cos(phi)
    depth = (side - np.cos(np.pi / 6)).ravel()
    # A bent bridge is up to 1 % wider or narrower in its middle: skip its edges.
    is_clear = np.abs(depth) > 0.03
    return points.reshape(-1, 3)[is_clear], depth[is_clear] > 0


@pytest.mark.parametrize("sign", [1, -1])
def test_walls_do_not_overlap_up_to_the_limit(sign, rng):
    device = small()
    np.testing.assert_allclose(device.largest_angle, LIMIT, rtol=1e-6)
    angle = sign * 0.999 * LIMIT
    mesh = body(device, np.full(5, angle))
    points, is_bridge = in_the_notches(device, angle, rng)
    # Notches are empty, bridges count once.
    np.testing.assert_allclose(winding_numbers(mesh, points), is_bridge, atol=1e-3)
    # Anywhere else nothing counts twice or negative.
    anywhere = rng.uniform(*mesh.bounds, (800, 3))
    windings = winding_numbers(mesh, anywhere)
    np.testing.assert_allclose(windings, windings.round().clip(0, 1), atol=1e-3)
    # Beyond the limit, which only traced angles can be, the test sees the overlap.
    beyond = 1.3 * angle
    shape = jax.jit(device.tool)(jnp.full(5, beyond)).parts[0].shape
    closed = trimesh.Trimesh(np.asarray(shape.vertices), shape.faces, process=False)
    windings = winding_numbers(closed, in_the_notches(device, beyond, rng)[0])
    assert windings.max() > 1.9


def test_the_whole_body_clears_the_shaft_at_the_limit():
    # All notches at the limit bend the default by 283 degrees, towards its shaft.
    vertices = body(DEVICE, np.full(5, 0.999 * LIMIT)).vertices
    behind = vertices[vertices[:, 2] < -0.01]
    assert len(behind)
    assert np.linalg.norm(behind[:, :2], axis=1).min() > 3


def test_random_angles():
    keys = jax.random.split(jax.random.key(3), 20_000)
    draw = jax.jit(jax.vmap(lambda k, s: DEVICE.random_angles(k, spread=s), (0, None)))
    angles = np.rad2deg(draw(keys, np.deg2rad(2.5)))
    # A normal cut at 3.0 standard deviations has 0.987 of its deviation; of 100,000
    # draws the deviation is known to 0.3 %.
    np.testing.assert_allclose(angles.std(), 0.987 * 2.5, rtol=0.01)
    np.testing.assert_allclose(angles.mean(), 0, atol=0.04)
    # However wide the draw, no notch closes.
    joints = jax.vmap(DEVICE.joint_angles)(draw(keys, 1.0))
    assert 0.7 * LIMIT < np.abs(joints).max() < LIMIT


def test_derivatives(x64, rng):
    weights = rng.normal(size=(6 * 4 * 6, 3))

    def total(control, width, bridge):
        device = small(sides=6, notch_width=width, bridge_angle=bridge)
        tool = device.tool(control)
        tip = jnp.dot(jnp.array([10.0, 20.0, 30.0]), tool.landmarks["tip"])
        return tip + jnp.sum(weights * tool.parts[0].shape.vertices)

    at = jnp.array([0.03, -0.02, 0.05]), jnp.array(0.5), jnp.array(1.1)
    value_and_slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    slopes = jnp.concatenate([jnp.atleast_1d(s) for s in value_and_slopes(*at)[1]])
    for step, slope in zip(np.eye(5) * 1e-5, slopes, strict=True):
        steps = jnp.asarray(step[:3]), step[3], step[4]
        ahead, _ = value_and_slopes(*(a + s for a, s in zip(at, steps, strict=True)))
        behind, _ = value_and_slopes(*(a - s for a, s in zip(at, steps, strict=True)))
        # Differences of steps of 1e-5 are good to some 1e-9 of the slopes of 100.
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, atol=1e-6)


def test_batches():
    device = small()
    control = np.array([[0.0, 0, 0, 0, 0], [0.1, 0.1, 0, -0.1, 0]], np.float32)
    batch = jax.jit(jax.vmap(device.tool))(control)
    one = device.tool(control[1])
    np.testing.assert_allclose(batch.parts[0].shape.vertices[1],
        one.parts[0].shape.vertices, atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(batch.landmarks["tip"][1], one.landmarks["tip"],
        atol=1e-5)  # fmt: skip


def test_errors():
    create = ContinuumManipulator.create
    with pytest.raises(ValueError, match="outer_diameter must be positive"):
        create(outer_diameter=-6.0)
    with pytest.raises(ValueError, match="inner_diameter must be smaller than outer"):
        create(inner_diameter=6.0)
    with pytest.raises(ValueError, match=r"between 27 notches, got 1\.5 mm"):
        create(notch_width=1.5)
    with pytest.raises(ValueError, match="bridge_angle must be smaller than pi"):
        create(bridge_angle=4.0)
    with pytest.raises(ValueError, match="notches must be at least 1, got 0"):
        create(notches=0)
    with pytest.raises(ValueError, match="sides must be a multiple of six"):
        create(sides=16)
    with pytest.raises(ValueError, match=r"length must have shape \(\)"):
        create(length=[35.0, 36.0])
    with pytest.raises(ValueError, match="material must be one of"):
        create(body_material="unobtainium")
    with pytest.raises(ValueError, match="material must have a density"):
        small(body_material="Ni0.5Ti0.5").tool([0.0])
    with pytest.raises(ValueError, match=r"control_angles must have shape \(controls,"):
        DEVICE.tool(0.1)
    with pytest.raises(ValueError, match="control_angles must be finite"):
        DEVICE.tool([0.1, np.nan])
    with pytest.raises(ValueError, match=r"0\.1828 radians \(10.5 degrees\)"):
        DEVICE.tool([0.0, 0.19])
    with pytest.raises(ValueError, match="controls must be at least 1, got 0"):
        DEVICE.random_angles(jax.random.key(0), controls=0)
    with pytest.raises(ValueError, match="spread must be positive"):
        DEVICE.random_angles(jax.random.key(0), spread=0.0)
