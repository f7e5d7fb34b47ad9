"""Tools found in radiographs: pose, joints, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.registration.pyramid import Level, binned
from synthex_jax.registration.similarity import NCC
from synthex_jax.registration.status import Status
from synthex_jax.registration.subtraction import subtracted
from synthex_jax.registration.tool_in_view import (
    Configuration,
    Rigid,
    ToolInView,
    attenuation_of,
)
from synthex_jax.tools.continuum import ContinuumManipulator
from synthex_jax.tools.solids import Cylinder, Sphere
from synthex_jax.tools.tool import Part

SHAPE = (64, 72)
LEVELS = [
    Level.create(36, 1.0, tolerance=0.2, similarity=NCC()),
    Level.create(72, 1.0, tolerance=0.01),
]
DEVICE = ContinuumManipulator.create(notches=9, shaft_length=60.0, sides=12)
ANGLES = jnp.asarray([0.1, 0.05, -0.02])
POSE = sx.RigidTransform.from_twist([0.1, 1.3, 0.4, -15.0, 3.0, 8.0])
WIRE = sx.instruments.k_wire(length=50.0, diameter=3.0)


def view(orbital: float = 0.0) -> sx.Camera:
    """Pixels of 1 mm at the tool."""
    carm = sx.CArm.create(
        source_to_detector=1000.0, source_to_isocenter=700.0, pitch=1.43, shape=SHAPE
    )
    return carm.at(orbital)


def bones(camera: sx.Camera):
    """Line integrals of two rods of bone."""
    rods = [
        sx.Tool.create("rod", [Part.create(shape, "cortical bone")])
        for shape in (
            Cylinder.create((-50, 20, -40), (50, 30, 40), 12.0),
            Sphere.create((10, -20, -15), 20.0),
        )
    ]
    return sum(attenuation_of(rod, camera, jnp.asarray(60.0)) for rod in rods)


def radiograph(tool: sx.Tool, camera: sx.Camera, background=0.0):
    """Pixels of four by four rays, and two energies: metal hardens the beam."""
    fine = camera.resized(tuple(4 * n for n in SHAPE))
    behind = jnp.repeat(jnp.repeat(jnp.broadcast_to(background, SHAPE), 4, 0), 4, 1)
    light = 0.0
    for energy, bone in ((55.0, 1.2), (80.0, 0.8)):
        metal = attenuation_of(tool, fine, jnp.asarray(energy))
        light = light + jnp.exp(-metal - bone * behind) / 2
    light = binned(light, jnp.ones_like(light), 4)[0]
    return -jnp.log(light + 0.01)  # scatter


def across(tool: sx.Tool, truth: sx.Tool, camera: sx.Camera) -> float:
    """The largest distance of a landmark in the image, in mm at the tool."""
    found, true = tool.world_landmarks(), truth.world_landmarks()
    return max(
        float(jnp.linalg.norm(camera.project(found[name]) - camera.project(true[name])))
        for name in true
    )


@pytest.fixture(scope="module")
def manipulator():
    """A radiograph over bone, and the registration of it."""
    truth = DEVICE.tool(ANGLES, world_from_tool=POSE)
    behind = bones(view())
    fixed = radiograph(truth, view(), behind)
    return truth, behind, fixed


def found(fixed, behind, start, angles, **options):
    options = {"levels": LEVELS, "background": [behind], **options}
    return sx.register_tool([fixed], DEVICE, [view()], start, angles, **options)


@pytest.mark.slow
def test_pose_and_joints_of_a_manipulator_over_bone(manipulator):
    truth, behind, fixed = manipulator
    start = POSE @ sx.RigidTransform.from_twist([0.03, -0.02, 0.04, 0.7, -1.0, 0.8])
    begun = DEVICE.tool(ANGLES + 0.02, world_from_tool=start)
    assert across(begun, truth, view()) > 1.5
    result = found(fixed, behind, start, ANGLES + 0.02)
    assert int(result.status) == Status.CONVERGED
    # A fifth of a pixel; one view shows a device 6 mm wide badly in depth.
    assert across(result.tool, truth, view()) < 0.2
    # A degree: the device is bent towards the source as much as across.
    np.testing.assert_allclose(result.joints, ANGLES, atol=np.deg2rad(1.0))
    assert set(result.in_plane_std) == {"base", "tip"}
    assert float(result.in_plane_std["tip"][0]) < float(result.depth_std["tip"][0])
    assert np.all(np.linalg.eigvalsh(np.asarray(result.covariance, float)) > 0)
    history = result.history.taken()
    assert len(history.level) == int(result.iterations)
    np.testing.assert_allclose(
        history.world_from_tool[-1], result.tool.world_from_tool.matrix, atol=1e-3
    )
    # The same program: nothing of the tool is in the image.
    away = sx.RigidTransform.from_twist([0, 0, 0, 300.0, 0, 0]) @ POSE
    lost = found(fixed, behind, away, ANGLES)
    assert int(lost.status) == Status.NO_OVERLAP
    assert not np.any(np.isnan(np.asarray(lost.covariance)))


@pytest.mark.slow
def test_two_views_show_a_wire_in_depth():
    cameras = [view(), view(np.pi / 2)]
    pose = sx.RigidTransform.from_twist([0.3, 0.9, 0.5, -10.0, 5.0, -12.0])
    truth = WIRE.at(pose)
    fixed = [radiograph(truth, camera) for camera in cameras]
    start = pose @ sx.RigidTransform.from_twist([0.04, -0.05, 0.3, 1.0, -1.0, 2.0])
    result = sx.register_tool(
        fixed, WIRE, cameras, start, axisymmetric=True, levels=LEVELS
    )
    assert int(result.status) == Status.CONVERGED
    assert result.covariance.shape == (5, 5)
    for name, point in truth.world_landmarks().items():
        off = result.tool.world_landmarks()[name] - point
        assert float(jnp.linalg.norm(off)) < 0.2
    # Its turn about its own axis, which nothing shows, is the start's.
    turned = (start.inverse @ result.tool.world_from_tool).twist[2]
    assert abs(float(turned)) < 0.01


def test_the_prior_counts_standard_deviations():
    """A shift across the view by surface_std is one, and so is a joint by its own."""
    start = Configuration(POSE, ANGLES)
    problem = ToolInView.create(
        [jnp.eye(*SHAPE)], DEVICE, [view()], start, surface_std=4.0, joints_std=0.1
    )
    assert float(jnp.sum(problem.prior(start) ** 2)) == 0
    right = view().world_from_camera.rotate(jnp.asarray([4.0, 0.0, 0.0]))
    shift = sx.RigidTransform.from_twist(jnp.concatenate([jnp.zeros(3), right]))
    moved = Configuration(shift @ POSE, ANGLES)
    # Points nearer to the source than the middle move more in the image.
    np.testing.assert_allclose(jnp.sum(problem.prior(moved) ** 2), 1.0, rtol=0.05)
    bent = Configuration(POSE, ANGLES.at[1].add(0.1))
    assert abs(float(problem.prior(bent)[-2]) - 1) < 1e-5


def test_starts_are_spread_where_the_prior_is_traced():
    def spread(joints_std):
        problem = ToolInView.create(
            [jnp.eye(*SHAPE)],
            DEVICE,
            [view()],
            Configuration(POSE, ANGLES),
            joints_std=joints_std,
            turns=False,
        )
        return problem.spread(0.2, 7.0)

    wanted = [0.2, 0.2, 7, 7, 7, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(jax.jit(spread)(0.1), wanted, rtol=1e-6)


def test_a_background_is_subtracted_whatever_its_curve_and_contrast(rng):
    behind = bones(view())
    tool = jnp.zeros(SHAPE).at[20:26, 10:60].set(2.0)
    row, col = np.indices(SHAPE) / max(SHAPE) - 0.5
    contrast, veil = 0.3 * row * col - 0.2 * row, col - 0.8 * row**2
    curve = 0.3 + 1.5 * behind - 0.2 * behind**2 + 0.01 * behind**3
    curve = curve + contrast * behind + veil
    noise = 0.01 * rng.standard_normal(SHAPE)
    weights = jnp.ones(SHAPE).at[:, :5].set(0)
    fixed = (curve + tool + noise).at[:, :5].set(100.0)
    left = subtracted(fixed, behind, weights)[:, 5:]
    np.testing.assert_allclose(left, (tool + noise)[:, 5:], atol=0.02)
    flat = subtracted(fixed, jnp.zeros(SHAPE), weights)
    assert np.all(np.isfinite(np.asarray(flat)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [0.1]}, r"joints must be none .* 'K-wire'"),
        ({"background": [jnp.zeros((3, 3))]}, "background must have shape"),
        ({"background": []}, "background must be one image for each of 1"),
        ({"energy": -1.0}, "energy must be positive"),
        ({"surface_std": 0.0}, "surface_std must be positive"),
        ({"cameras": []}, "cameras must be one for each of 1 images, got 0"),
        ({"fixed": [jnp.ones(SHAPE)]}, "fixed must show something"),
        ({"fixed": []}, "fixed must hold at least one image"),
        (
            {"world_from_tool": sx.RigidTransform.from_twist([0, 0, 0, 0, 2e3, 0])},
            "world_from_tool must have the tool between source and detector",
        ),
    ],
)
def test_what_is_wrong_is_said(change, message):
    arguments = {
        "fixed": [jnp.eye(*SHAPE)],
        "tool": WIRE,
        "cameras": [view()],
        "world_from_tool": sx.RigidTransform.identity(),
        "joints": (),
    }
    with pytest.raises(ValueError, match=message):
        sx.register_tool(**(arguments | change))


def test_a_rigid_tool_has_no_joints():
    assert Rigid(WIRE).tool(jnp.zeros(0)) is WIRE
    assert jax.tree.leaves(Rigid(WIRE))
