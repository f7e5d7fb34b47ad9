import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from synthex_jax.tools.curves import rotation_minimizing_frames
from synthex_jax.tools.sweep import hollow_tube, sweep, tube

AXIS = np.array([[1.0, 2.0, 3.0], [4.0, 6.0, 15.0]])
LENGTH = 13.0


def as_trimesh(mesh):
    return trimesh.Trimesh(np.asarray(mesh.vertices), mesh.faces, process=False)


def polygon(sides):
    """Area of a regular polygon in a circle of radius 1."""
    return sides / 2 * np.sin(2 * np.pi / sides)


def bend(points, radius=30.0, angle=4.0):
    t = np.linspace(0, angle, points)
    return np.stack([radius * np.cos(t), radius * np.sin(t), 3 * t], axis=-1)


@pytest.mark.parametrize(
    ("make", "handles"),
    [
        (lambda c: tube(c, np.linspace(2.0, 3.0, 20), sides=8), 0),
        (lambda c: hollow_tube(c, 3.0, np.linspace(1.0, 2.0, 20), sides=8), 1),
        (lambda c: sweep(c, [[-1.0, -1], [2, -1], [1, 1], [-1, 2]]), 0),
    ],
)
def test_closed_and_outward(make, handles):
    mesh = as_trimesh(make(bend(20)))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert mesh.euler_number == 2 - 2 * handles
    # Nothing is used twice, nothing is left over.
    assert set(mesh.faces.ravel()) == set(range(len(mesh.vertices)))


def test_volumes_of_straight_bars():
    # Float32 vertices at 15 mm: 1e-6 of a mm, 1e-5 of the volume with a margin.
    bar = as_trimesh(tube(AXIS, 1.5))
    np.testing.assert_allclose(bar.volume, polygon(16) * 1.5**2 * LENGTH, rtol=1e-5)
    cone = as_trimesh(tube(AXIS, [1.0, 2.0]))
    np.testing.assert_allclose(cone.volume, polygon(16) * LENGTH * 7 / 3, rtol=1e-5)
    pipe = as_trimesh(hollow_tube(AXIS, 2.0, 1.5))
    np.testing.assert_allclose(pipe.volume, polygon(16) * 1.75 * LENGTH, rtol=1e-5)
    beam = as_trimesh(sweep(AXIS, [[-1, -1], [2, -1], [2, 1], [-1, 1]]))
    np.testing.assert_allclose(beam.volume, 6 * LENGTH, rtol=1e-5)
    # Ends lie where the axis ends, and at a right angle to it.
    np.testing.assert_allclose(bar.vertices[-2:], AXIS, atol=1e-6)
    along = (bar.vertices - AXIS[0]) @ (AXIS[1] - AXIS[0]) / LENGTH
    np.testing.assert_allclose(np.unique(along.round(4)), [0, LENGTH], atol=1e-4)


def test_volume_of_a_bend():
    # Pappus: area times the length of the middle line. Chords of 0.1 radian are 1 in
    # 2400 shorter than arcs, and the prisms between them are as much off.
    arc = bend(20, angle=1.9) * [1, 1, 0]
    mesh = as_trimesh(hollow_tube(arc, 3.0, 2.0, sides=8))
    np.testing.assert_allclose(mesh.volume, polygon(8) * 5 * 30 * 1.9, rtol=2e-3)


def test_every_point_of_the_wall_is_a_radius_from_the_centerline():
    curve, radii = bend(20), np.linspace(1, 2, 20)
    loops = np.asarray(tube(curve, radii, sides=8).vertices)[:-2].reshape(20, 8, 3)
    distance = np.linalg.norm(loops - curve[:, None], axis=-1)
    np.testing.assert_allclose(distance, np.broadcast_to(radii[:, None], (20, 8)),
        rtol=1e-4)  # fmt: skip


def test_shared_frames_share_cross_sections():
    curve = bend(20)
    frames = rotation_minimizing_frames(jnp.asarray(curve))
    pipe = hollow_tube(curve, 2.0, 1.0, sides=8, frames=frames)
    sleeve = hollow_tube(curve[15:], 2.5, 2.0, sides=8, frames=frames[15:])
    outside = np.asarray(pipe.vertices).reshape(40, 8, 3)[15:20]
    inside = np.asarray(sleeve.vertices).reshape(10, 8, 3)[5:][::-1]
    np.testing.assert_allclose(inside, outside, atol=1e-5)


def test_derivatives(x64, rng):
    curve, radii = jnp.asarray(bend(5, radius=6.0)), jnp.linspace(0.5, 1.0, 5)
    # The frames' own derivatives are tested with them.
    frames = rotation_minimizing_frames(curve)
    volume = lambda c, r: hollow_tube(c, r, r / 2, sides=4, frames=frames).volume()
    value_and_slopes = jax.jit(jax.value_and_grad(volume, argnums=(0, 1)))
    steps = 1e-5 * rng.normal(size=curve.shape), 1e-5 * rng.normal(size=radii.shape)
    ahead, _ = value_and_slopes(curve + steps[0], radii + steps[1])
    behind, _ = value_and_slopes(curve - steps[0], radii - steps[1])
    _, slopes = value_and_slopes(curve, radii)
    slope = sum(jnp.sum(g * s) for g, s in zip(slopes, steps, strict=True))
    np.testing.assert_allclose(slope, (ahead - behind) / 2, rtol=1e-6)


def test_batches():
    curves = np.stack([bend(20), bend(20, radius=20.0)]).astype(np.float32)
    batch = jax.jit(jax.vmap(lambda c: tube(c, 1.0, sides=8).vertices))(curves)
    for curve, vertices in zip(curves, batch, strict=True):
        one = tube(curve, 1.0, sides=8).vertices
        np.testing.assert_allclose(vertices, one, atol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match=r"centerline must have shape \(n, 3\)"):
        tube(np.zeros((1, 3)), 1.0)
    with pytest.raises(ValueError, match="centerline must be finite"):
        tube([[0.0, 0, 0], [0, 0, np.nan]], 1.0)
    with pytest.raises(ValueError, match="points 1 and 2 are at one place"):
        tube([[0.0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 2]], 1.0)
    with pytest.raises(ValueError, match="radii must be positive"):
        tube(AXIS, 0.0)
    with pytest.raises(ValueError, match="radii must be one number or one for each of"):
        tube(AXIS, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="sides must be at least 3, got 2"):
        tube(AXIS, 1.0, sides=2)
    with pytest.raises(ValueError, match=r"frames must have shape \(2, 3, 3\)"):
        tube(AXIS, 1.0, frames=jnp.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="inner_radii must be smaller"):
        hollow_tube(AXIS, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"profile must have shape .* got \(2, 2\)"):
        sweep(AXIS, [[0.0, 1.0], [1.0, 0.0]])
    square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    turn = 2 * np.pi * np.arange(5) / 5
    star = np.stack([np.cos(2 * turn), np.sin(2 * turn)], axis=-1)
    for profile in (square[::-1], square + 3, star):
        with pytest.raises(ValueError, match="profile must run once and counterclock"):
            sweep(AXIS, profile)


@pytest.mark.parametrize("angle", [0.3, 2.5])
def test_too_tight_a_bend_is_refused(angle):
    corner = np.array([[-10.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    corner[2] = 10 * np.array([np.cos(angle), np.sin(angle), 0])
    fits = tube(corner, 1.0)
    assert as_trimesh(fits).volume > 0
    with pytest.raises(ValueError, match="bend less than its cross-section is wide"):
        tube(corner, 80.0)
