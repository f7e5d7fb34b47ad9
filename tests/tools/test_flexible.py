import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
import xraylib
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.tools.flexible import catheter, ecg_lead, loaded_polymer

POINTS = np.array([[0.0, 0, 0], [50, 10, 0], [100, 0, 20], [130, 40, 60]])


def as_trimesh(mesh):
    return trimesh.Trimesh(np.asarray(mesh.vertices), mesh.faces, process=False)


def spline_length(points):
    spline = CubicSpline(np.arange(len(points)), points, bc_type="natural")
    speed = lambda t: np.linalg.norm(spline(t, 1))
    return quad(speed, 0, len(points) - 1, limit=200)[0]


def polygon(sides):
    return sides / 2 * np.sin(2 * np.pi / sides)


def test_catheter():
    wall, marker = catheter(POINTS).parts
    for part in (wall, marker):
        mesh = as_trimesh(part.shape)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.euler_number == 0
    # Steps of 1.5 mm on bends of some 40 mm: chords are 1 in 10,000 short.
    length = spline_length(POINTS)
    annulus = polygon(12) * ((5 / 6) ** 2 - 0.485**2)
    np.testing.assert_allclose(as_trimesh(wall.shape).volume, annulus * length,
        rtol=1e-3)  # fmt: skip
    band = polygon(12) * ((5 / 6 + 0.05) ** 2 - (5 / 6) ** 2)
    np.testing.assert_allclose(as_trimesh(marker.shape).volume, band * 1.5, rtol=3e-3)
    assert marker.material.density > 20
    # The band's inside is the wall's outside, corner by corner.
    outside = np.asarray(wall.shape.vertices).reshape(2 * 96, 12, 3)[91:96]
    inside = np.asarray(marker.shape.vertices).reshape(10, 12, 3)[5:][::-1]
    np.testing.assert_allclose(inside, outside, atol=1e-4)


def test_catheter_landmarks():
    pose = RigidTransform.from_euler("z", [0.5], (1.0, 2.0, 3.0))
    tool = catheter(POINTS, world_from_tool=pose)
    np.testing.assert_allclose(tool.landmarks["base"], POINTS[0], atol=1e-3)
    np.testing.assert_allclose(tool.landmarks["tip"], POINTS[-1], atol=1e-3)
    # Half of the band's 1.5 mm along an almost straight end.
    behind = np.linalg.norm(tool.landmarks["marker"] - POINTS[-1])
    np.testing.assert_allclose(behind, 0.75, atol=2e-3)
    world = tool.world_landmarks()["tip"]
    np.testing.assert_allclose(world, pose.apply(tool.landmarks["tip"]))


def test_loaded_polymer_is_its_mixture():
    mixed = loaded_polymer(0.3)
    expected = {}
    for formula, share in (("BaSO4", 0.3), ("C12H23NO", 0.7)):
        found = xraylib.CompoundParser(formula)
        for z, part in zip(found["Elements"], found["massFractions"], strict=True):
            symbol = xraylib.AtomicNumberToSymbol(z)
            expected[symbol] = expected.get(symbol, 0) + share * part
    got = dict(mixed.composition)
    assert got.keys() == expected.keys()
    # xraylib's hydrogen weighs 1.01, ours 1.008.
    for symbol, part in expected.items():
        np.testing.assert_allclose(got[symbol], part, rtol=2e-3)
    # 100 g: 30 g at 4.5 and 70 g at 1.01 g/cm^3.
    np.testing.assert_allclose(mixed.density, 100 / (30 / 4.5 + 70 / 1.01))


def test_ecg_lead():
    tool = ecg_lead(POINTS, normal=(0.0, 0.0, -2.0))
    wire, stud, disc = tool.parts
    mesh = as_trimesh(wire.shape)
    assert mesh.is_watertight
    volume = polygon(8) * 0.2**2 * spline_length(POINTS)
    np.testing.assert_allclose(mesh.volume, volume, rtol=1e-3)
    # The normal is -z, out of the skin: from the wire to the skin, z grows.
    np.testing.assert_allclose(stud.shape.start, POINTS[-1] + [0, 0, 0.2], atol=1e-5)
    np.testing.assert_allclose(stud.shape.end, disc.shape.start)
    np.testing.assert_allclose(stud.shape.end - stud.shape.start, [0, 0, 2.5],
        atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(disc.shape.end - disc.shape.start, [0, 0, 0.4],
        atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(tool.landmarks["electrode"], disc.shape.end)
    np.testing.assert_allclose([stud.shape.radius, disc.shape.radius], [2, 5])
    assert [part.material.name for part in tool.parts] == [
        "copper",
        "stainless steel",
        "stainless steel",
    ]


def test_wire_only_touches_the_stud():
    # A wire that lies flat above the electrode and ends on it.
    flat = np.array([[-60.0, 0, 0], [-30, 10, 0], [-10, 0, 0], [0, 0, 0]])
    tool = ecg_lead(flat, normal=(0.0, 0.0, 1.0))
    lowest = np.asarray(tool.parts[0].shape.vertices)[:, 2].min()
    assert lowest > tool.parts[1].shape.start[2] - 1e-5


def test_derivatives(x64, rng):
    def total(points, diameter):
        tool = catheter(points, outer_diameter=diameter, sections=10, sides=3)
        places = tool.parts[0].shape.vertices, *tool.landmarks.values()
        return sum(jnp.sum(jnp.sin(place)) for place in places)

    value_and_slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    at = jnp.asarray(POINTS / 5), jnp.array(1.5)
    steps = 1e-6 * rng.normal(size=POINTS.shape), 1e-6
    ahead, _ = value_and_slope(*(a + s for a, s in zip(at, steps, strict=True)))
    behind, _ = value_and_slope(*(a - s for a, s in zip(at, steps, strict=True)))
    _, slopes = value_and_slope(*at)
    slope = sum(jnp.sum(g * s) for g, s in zip(slopes, steps, strict=True))
    # The length is measured along chords; where a place falls on the end of one, the
    # slope jumps a little.
    np.testing.assert_allclose(slope, (ahead - behind) / 2, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="control_points must have shape"):
        catheter(POINTS[:1])
    with pytest.raises(ValueError, match="control_points must be finite"):
        catheter(POINTS + np.nan)
    with pytest.raises(ValueError, match="smaller than the catheter's length, 0 mm"):
        catheter(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="outer_diameter must be positive"):
        catheter(POINTS, outer_diameter=0.0)
    with pytest.raises(ValueError, match="inner_diameter must be smaller"):
        catheter(POINTS, inner_diameter=2.0)
    with pytest.raises(ValueError, match="marker_length must be smaller than the cath"):
        catheter(POINTS, marker_length=500.0)
    with pytest.raises(ValueError, match="sections must be at least 10, got 9"):
        catheter(POINTS, sections=9)
    with pytest.raises(ValueError, match="bend less than its cross-section"):
        catheter([[0.0, 0, 0], [10, 0, 0], [0, 0.1, 0]])
    with pytest.raises(ValueError, match="barium_sulfate must be a share"):
        loaded_polymer(40.0)
    with pytest.raises(ValueError, match="path must have shape"):
        ecg_lead(POINTS[:, :2], normal=(0, 0, 1))
    with pytest.raises(ValueError, match="normal must not be zero"):
        ecg_lead(POINTS, normal=(0, 0, 0))
    with pytest.raises(ValueError, match="stud_height must be positive"):
        ecg_lead(POINTS, normal=(0, 0, 1), stud_height=-1.0)
    with pytest.raises(ValueError, match="sections must be at least 2, got 1"):
        ecg_lead(POINTS, normal=(0, 0, 1), sections=1)
