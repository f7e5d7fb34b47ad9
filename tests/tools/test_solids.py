"""Chords of solids against what points lie inside of them, and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.tools.solids import Box, Capsule, Cone, Cylinder, Solid, Sphere, Tube

START, END = np.array([5.0, -10.0, 30.0]), np.array([25.0, 40.0, -20.0])
AXIS = (END - START) / np.linalg.norm(END - START)
LENGTH = np.linalg.norm(END - START)
turn = sx.RigidTransform.from_euler("xyz", [0.5, -0.7, 1.1])


def make():
    """One of each, in the precision of the moment."""
    return {
        "sphere": Sphere.create(START, 20.0),
        "box": Box.create(START, (10.0, 30.0, 50.0), rotation=turn),
        "cylinder": Cylinder.create(START, END, 8.0),
        "capsule": Capsule.create(START, END, 8.0),
        "cone": Cone.create(START, END, 0.0, 12.0),
        "blunt cone": Cone.create(START, END, 40.0, 12.0),
        "tube": Tube.create(START, END, 8.0, 6.0),
    }


def _along(p):
    s = (p - START) @ AXIS
    return s, np.linalg.norm(p - START - s[..., None] * AXIS, axis=-1)


def _in_frustum(p, start_radius, end_radius):
    s, r = _along(p)
    grown = start_radius + (end_radius - start_radius) * s / LENGTH
    return (s >= 0) & (s <= LENGTH) & (r <= grown)


def _in_capsule(p):
    s, _ = _along(p)
    nearest = START + np.clip(s, 0, LENGTH)[..., None] * AXIS
    return np.linalg.norm(p - nearest, axis=-1) <= 8


contains = {
    "sphere": lambda p: np.linalg.norm(p - START, axis=-1) <= 20,
    "box": lambda p: np.all(
        np.abs((p - START) @ np.asarray(turn.rotation)) <= [5, 15, 25], axis=-1
    ),
    "cylinder": lambda p: _in_frustum(p, 8, 8),
    "capsule": _in_capsule,
    "cone": lambda p: _in_frustum(p, 0, 12),
    "blunt cone": lambda p: _in_frustum(p, 40, 12),
    "tube": lambda p: _in_frustum(p, 8, 8) & ~_in_frustum(p, 6, 6),
}


@pytest.mark.parametrize("name", contains)
def test_surface_points_lie_on_the_surface(name):
    points = np.asarray(make()[name].surface_points(), np.float64)
    middle = points.mean(0)
    for scale, inside in ((0.999, True), (1.001, False)):
        found = contains[name](middle + scale * (points - middle))
        np.testing.assert_array_equal(found, inside)


@jax.jit
def intervals(solid, origin, directions):
    return solid.intervals(origin, directions)


def rays_through(rng, origin, n=400, spread=20.0):
    targets = START + rng.uniform(0, 1, (n, 1)) * (END - START)
    along = targets + rng.normal(size=(n, 3)) * spread - origin
    return along / np.linalg.norm(along, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", contains)
def test_ends_lie_on_the_surface(rng, name):
    """A hundredth of a mm before and behind each end, seen from a meter away."""
    origin = np.array([700.0, -600.0, 500.0])
    directions = rays_through(rng, origin)
    solid, inside = make()[name], contains[name]
    assert isinstance(solid, Solid)
    found = intervals(solid, jnp.asarray(origin), jnp.asarray(directions))
    near, far = (np.asarray(ends, float) for ends in found)
    # As float32 sees them.
    directions = np.asarray(jnp.asarray(directions), float)

    def at(distance):
        return inside(origin + distance[..., None] * directions)

    length = np.sum(far - near, axis=-1)
    steps = np.linspace(900, 1300, 4001)
    counted = 0.1 * sum(at(np.full(len(directions), t)) for t in steps)
    # Each end is counted to within half a step.
    np.testing.assert_allclose(length, counted, atol=0.11 * near.shape[-1])
    assert 0.1 < np.mean(length > 0) < 0.99
    for k in range(near.shape[-1]):
        is_piece = far[:, k] - near[:, k] > 0.05
        assert np.all(at(near[:, k] + 0.01)[is_piece])
        assert np.all(at(far[:, k] - 0.01)[is_piece])
        assert not np.any(at(near[:, k] - 0.01)[is_piece])
        assert not np.any(at(far[:, k] + 0.01)[is_piece])


def test_motion_commutes(rng):
    origin = np.array([70.0, -60.0, 50.0])
    directions = jnp.asarray(rays_through(rng, origin))
    origin = jnp.asarray(origin)
    pose = sx.RigidTransform.from_euler("xyz", [2.0, 0.3, -1.0], [10.0, -20.0, 30.0])
    turned = pose.apply(origin), pose.rotate(directions)
    for solid in make().values():
        before = np.stack(intervals(solid, origin, directions))
        after = np.stack(intervals(solid.moved(pose), *turned))
        # Grazing rays turn a rounding of 1e-5 mm into its root.
        np.testing.assert_allclose(before, after, atol=2e-2)


def _chords(solids, origin, directions):
    """Per solid and ray its length, and the same weighted by distance."""
    ends = [solid.intervals(origin, directions) for solid in solids]
    return jnp.stack(
        [
            jnp.stack([jnp.sum(far - near, -1), jnp.sum(far**2 - near**2, -1)])
            for near, far in ends
        ]
    )


def test_gradients(rng, x64):
    """Every parameter and the ray itself, along random directions."""
    origin = np.array([70.0, -60.0, 50.0])
    directions = jnp.asarray(rays_through(rng, origin, 60, 5.0))
    solids = [make()[name] for name in ("box", "capsule", "blunt cone")]
    primals = (solids, jnp.asarray(origin), directions)
    tangents = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), primals)
    push = jax.jit(lambda p, t: jax.jvp(_chords, p, t))
    value, slope = push(primals, tangents)
    step = 1e-6
    ahead, behind = (
        push(jax.tree.map(lambda p, t, s=s: p + s * t, primals, tangents), tangents)[0]
        for s in (step, -step)
    )
    is_hit = np.asarray(value[:, :1] > 1.0)
    assert np.all(np.sum(is_hit, axis=-1) >= 10)
    difference = np.where(is_hit, (ahead - behind) / (2 * step), 0)
    np.testing.assert_allclose(
        np.where(is_hit, slope, 0), difference, rtol=1e-3, atol=1e-3
    )


def test_slopes_are_finite_in_every_special_case():
    """Along the axis, along faces, through the apex, tangent, and far off."""
    across = np.cross(AXIS, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    middle = (START + END) / 2
    points = [middle, START, middle + 8 * across, middle + 6 * across, middle + 99]
    side = np.asarray(turn.rotation)[:, 0]
    directions = jnp.asarray(np.stack([AXIS, -AXIS, across, side]))
    origins = jnp.asarray(np.stack([p - 50 * AXIS for p in points]))
    solids = [make()[name] for name in ("box", "sphere", "cone", "tube")]

    @jax.jit
    def all_slopes(solids, origin, directions):
        value, pull = jax.vjp(_chords, solids, origin, directions)
        return value, pull(jnp.ones_like(value))

    for origin in origins:
        value, slopes = all_slopes(solids, origin, directions)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((value, slopes)))
    # On its axis a ray runs through all of a bar, and through a tube's bore.
    on_axis = all_slopes(solids, origins[0], directions)[0][:, 0, 0]
    np.testing.assert_allclose(on_axis[2:], [LENGTH, 0], atol=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sphere.create((0, 0), 1.0), r"center must have shape \(3,\)"),
        (lambda: Sphere.create((0, 0, 0), 0.0), "radius must be positive mm"),
        (lambda: Box.create((0, 0, 0), -1.0), "size must be positive mm"),
        (lambda: Box.create((0, 0, 0), 1.0, rotation=2 * np.eye(3)), "rotation"),
        (lambda: Cylinder.create((1, 2, 3), (1, 2, 3), 1.0), "two places"),
        (lambda: Cylinder.create((0, 0, np.nan), (1, 2, 3), 1.0), "start must be fin"),
        (lambda: Cone.create((0, 0, 0), (0, 0, 1), 0.0, 0.0), "both be zero"),
        (lambda: Cone.create((0, 0, 0), (0, 0, 1), 1.0, -1.0), "end_radius"),
        (lambda: Tube.create((0, 0, 0), (0, 0, 1), 1.0, 1.0), "bore_radius must be b"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
