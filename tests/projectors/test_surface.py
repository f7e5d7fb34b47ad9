"""Rays through meshes and solids: closed forms, brute force, differences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

import synthex_jax as sx
from synthex_jax.projectors.surface import extent, lengths, path_lengths
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.solids import Cylinder, Sphere, Tube

carm = sx.CArm.create(
    source_to_detector=1000.0, source_to_isocenter=600.0, pitch=2.0, shape=(81, 101)
)


def mesh_of(surface) -> Mesh:
    return Mesh.create(surface.vertices, surface.faces)


def crossings(mesh, camera):
    """Brute force in float64: distances and signs of all faces for all rays.

    Infinite and zero where a ray misses a face (Moller & Trumbore 1997).
    """
    source = np.asarray(camera.source, float)
    rays = np.asarray(camera.back_project(camera.pixel_grid()), float) - source
    rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True))[:, :, None]
    a, b, c = np.moveaxis(np.asarray(mesh.vertices, float)[mesh.faces], 1, 0)
    across = np.cross(rays, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / np.sum(across * (b - a), axis=-1)
        u = scale * np.sum(across * (source - a), axis=-1)
        normal = np.cross(source - a, b - a)
        v = scale * np.sum(rays * normal, axis=-1)
        t = scale * np.sum(normal * (c - a), axis=-1)
    is_hit = (u >= 0) & (v >= 0) & (u + v <= 1)
    sign = np.sign(np.sum(rays * np.cross(b - a, c - a), axis=-1))
    return np.where(is_hit, t, np.inf), np.where(is_hit, sign, 0.0)


def stretches(distance, sign, edges):
    spent = np.minimum(np.maximum(distance, 0)[..., None], edges[..., None, :])
    return np.diff(np.sum(sign[..., None] * spent, axis=2), axis=-1)


def convex_chords(mesh, camera):
    """Chords of a convex mesh in float64: what the planes of its faces leave."""
    source = np.asarray(camera.source, float)
    rays = np.asarray(camera.back_project(camera.pixel_grid()), float) - source
    ends = np.linalg.norm(rays, axis=-1)
    a, b, c = np.moveaxis(np.asarray(mesh.vertices, float)[mesh.faces], 1, 0)
    normal = np.cross(b - a, c - a)
    slope = (rays / ends[..., None]) @ normal.T
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.sum(normal * (a - source), axis=-1) / slope
    near = np.max(np.where(slope < 0, at, -np.inf), axis=-1)
    far = np.min(np.where(slope > 0, at, np.inf), axis=-1)
    near, far = np.clip(near, 0, ends), np.clip(far, 0, ends)
    is_hit = far > near
    return np.where(is_hit, near, 0), np.where(is_hit, far, 0)


def test_no_ray_slips_through_an_edge(rng):
    """Views along axes, with edges and vertices right on pixel centers, and others."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=40.0)
    views = [*(rng.integers(-2, 3, (8, 3)) * np.pi / 4), *rng.uniform(-3, 3, (4, 3))]
    for view in views:
        camera = carm.at(*view, isocenter=(0.0, 0.0, 0.0))
        mesh = mesh_of(ball)
        near, far = convex_chords(mesh, camera)
        # A vertex is placed to 1e-4 mm, which steep faces near the outline magnify; a
        # ray that slipped through would be off by some 600 mm.
        np.testing.assert_allclose(path_lengths(mesh, camera), far - near, atol=0.03)


@pytest.mark.parametrize(
    ("offset", "stretch"),
    [
        ((0, 0, 0), 1),
        ((0, 0, -500), 1),
        ((60, 0, 0), 12),
        ((0, 0, 250), 12),
        ((0, 0, 1000), 2),
        ((0, 0, 2000), 2),
    ],
    ids=["around", "behind", "beside", "from behind", "across", "beyond"],
)
def test_source_and_detector_anywhere(offset, stretch):
    """Meshes around, behind and beside the source, across the detector, beyond it."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=40.0)
    ball.vertices[:, 2] *= stretch
    camera = carm.at(0.4, 0.3, 0.2, isocenter=(10.0, -20.0, 30.0))
    # A fast way to a steep fan of rays.
    camera = replace(camera, source_to_detector=jnp.asarray(500.0))
    ball.vertices += np.array(offset) / 2
    world = camera.world_from_camera.apply(jnp.asarray(ball.vertices, jnp.float32))
    mesh = Mesh.create(world, ball.faces)
    near, far = convex_chords(mesh, camera)
    np.testing.assert_allclose(path_lengths(mesh, camera), far - near, atol=0.03)
    found = extent(mesh, camera)
    clear = far - near > 1.0
    np.testing.assert_allclose(found[0][clear], near[clear], atol=0.03)
    np.testing.assert_allclose(found[1][clear], far[clear], atol=0.03)


def test_fine_meshes_reach_closed_forms():
    """A ball and a bar of 10,000 faces and more, and a wall of 12."""
    camera = carm.at(0.3, -0.2, 0.4, isocenter=(10.0, 20.0, 30.0)).resized((300, 360))
    center = np.array([12.0, 25.0, 33.0])
    ball = trimesh.creation.icosphere(subdivisions=5, radius=30.0)
    ball.vertices += center
    start, end = center - np.array([70, 0, 40]), center - np.array([30, 40, -20])
    bar = trimesh.creation.cylinder(radius=15.0, segment=(start, end), sections=2500)
    wall = trimesh.creation.box((900.0, 5.0, 900.0))
    wall.vertices += [0.0, 200.0, 0.0]
    assert min(len(body.faces) for body in (ball, bar)) >= 10_000
    mesh = mesh_of(trimesh.util.concatenate([ball, bar, wall]))
    solids = [
        Sphere.create(center, 30.0),
        Cylinder.create(start, end, 15.0),
    ]
    rays = np.asarray(camera.back_project(camera.pixel_grid()) - camera.source)
    slant = np.linalg.norm(rays, axis=-1) / np.abs(rays[..., 1])
    image = np.asarray(path_lengths(mesh, camera))
    each = np.stack([*(path_lengths(solid, camera) for solid in solids), 5 * slant])
    exact = each.sum(axis=0)
    assert (image - each[2]).sum() == pytest.approx((exact - each[2]).sum(), rel=5e-3)
    # Rays that do not graze: chords are over a third of the largest, or zero.
    largest = each.max(axis=(1, 2), keepdims=True)
    inner = np.all((each == 0) | (each > largest / 3), axis=0)
    assert inner.mean() > 0.9
    np.testing.assert_allclose(image[inner], exact[inner], rtol=5e-3)
    # No streaks: nowhere is more than there should be, to 1e-3 of the largest.
    assert np.all(image < exact + 1e-3 * exact.max())


def test_stretches_of_a_hollow_shape_agree():
    """A tube as a mesh, by brute force, and in closed form."""
    camera = carm.at(0.3, 0.5, 0.1, isocenter=(0.0, 0.0, 5.0))
    camera = camera.resized((32, 40))
    start, end = np.array([0.0, -10.0, -25.0]), np.array([10.0, 20.0, 30.0])
    ring = trimesh.creation.revolve([[20, 0], [30, 0], [30, 1], [20, 1], [20, 0]],
                                    sections=40)  # fmt: skip
    axis = (end - start) / np.linalg.norm(end - start)
    across = np.cross(axis, [1.0, 0, 0]) / np.linalg.norm(np.cross(axis, [1.0, 0, 0]))
    basis = np.stack([across, np.cross(axis, across), end - start])
    mesh = Mesh.create(np.asarray(ring.vertices) @ basis + start, ring.faces)
    cuts = np.array([0.0, 570.0, 590.0, 605.0, 640.0, 1100.0])
    edges = jnp.asarray(np.broadcast_to(cuts, (*camera.shape, 6)), jnp.float32)
    found = np.asarray(lengths(mesh, camera, edges))
    distance, sign = crossings(mesh, camera)
    brute = stretches(distance, sign, cuts[None, None])
    np.testing.assert_allclose(found, brute, atol=0.02)
    tube = Tube.create(start, end, 30.0, 20.0)
    exact = np.asarray(lengths(tube, camera, edges))
    assert np.all(exact.max(axis=(0, 1))[1:-1] > 5)
    # Polygons of 40 sides lie within 0.09 mm of their circles; grazing rays see more.
    assert np.mean(np.abs(found - exact) > 0.3) < 0.02
    is_hit = np.isfinite(distance)
    first = np.where(is_hit.any(-1), np.min(distance, axis=-1), 0)
    last = np.max(np.where(is_hit, distance, 0), axis=-1)
    near, far = extent(tube, camera)
    assert np.mean(np.abs(near - first) > 0.3) < 0.02
    assert np.mean(np.abs(far - last) > 0.3) < 0.02


def _sums(mesh, camera, twist, edges):
    """Everything that depends on anything, weighted smoothly."""
    camera = camera.moved(twist, about=(1.0, 2.0, 3.0))
    near, far = extent(mesh, camera)
    both = jnp.sort(jnp.concatenate([edges, near[..., None], far[..., None]], -1), -1)
    rows, cols = (jnp.linspace(-1, 1, n) for n in camera.shape)
    weight = rows[:, None] + jnp.cos(3 * cols)
    inside = lengths(mesh, camera, both)
    # Squares, since chords and their slopes then go to zero at the outline.
    chord = (far - near) ** 2
    terms = [inside[..., 1:-1] ** 2, chord[..., None], (near * chord)[..., None] / 600]
    return sum(jnp.sum(weight[..., None] * term) for term in terms)


def test_gradients(rng, x64):
    """Vertices, camera, pose and edges, forward and in reverse, by differences."""
    camera = carm.at(0.3, 0.4, 0.5, isocenter=(1.0, 2.0, 3.0)).resized((24, 30))
    ball = trimesh.creation.icosphere(subdivisions=1, radius=30.0)
    mesh = mesh_of(ball)
    edges = jnp.broadcast_to(jnp.array([580.0, 600.0, 611.0]), (*camera.shape, 3))
    primals = (mesh.vertices, camera, jnp.zeros(6), edges)

    def value(vertices, *rest):
        return _sums(replace(mesh, vertices=vertices), *rest)

    # Lengths in mm move by mm, the pose by hundredths of a radian; a rotation does not
    # take any tangent.
    tangents = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), primals)
    still = jax.tree.map(jnp.zeros_like, camera.world_from_camera)
    tangents = (
        tangents[0],
        replace(tangents[1], world_from_camera=still, skew=0.01 * tangents[1].skew),
        jnp.array([0.01, -0.02, 0.015, 1.0, -2.0, 1.5]),
        tangents[3],
    )
    pull = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3)))
    gradient = pull(*primals)[1]
    step = 1e-5
    ahead, behind = (
        pull(*jax.tree.map(lambda p, t, s=s: p + s * t, primals, tangents))[0]
        for s in (step, -step)
    )
    dots = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, tangents)
    slope = float(sum(jax.tree.leaves(dots)))
    assert slope == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-4)


def test_batches_and_directional_derivatives(x64):
    mesh = mesh_of(trimesh.creation.icosphere(subdivisions=1, radius=40.0))
    camera = carm.at(0.3, 0.4, isocenter=(1.0, 2.0, 3.0)).resized((16, 20))
    direction = jnp.array([0.01, -0.02, 0.015, 1.0, -2.0, 1.5])

    def image(share):
        return path_lengths(mesh, camera.moved(share * direction))

    step = 1e-5
    shares = step * jnp.arange(-1.0, 2.0)
    push = jax.vmap(lambda share: jax.jvp(image, (share,), (jnp.ones(()),)))
    images, slopes = jax.jit(push)(shares)
    brute = stretches(*crossings(mesh, camera), np.array([[[0.0, 2000.0]]]))
    np.testing.assert_allclose(images[1], brute[..., 0], atol=1e-9)
    difference = (images[2] - images[0]) / (2 * step)
    # At the outline a chord has a kink.
    chords = np.sort(images, axis=0)
    inner = (chords[0] > 0.1) | (chords[-1] == 0)
    assert inner.mean() > 0.9
    np.testing.assert_allclose(
        slopes[1][inner], difference[inner], rtol=1e-3, atol=1e-3
    )


def test_second_derivatives_are_refused():
    mesh = mesh_of(trimesh.creation.box((10.0, 10.0, 10.0)))
    camera = carm.at(0.3, 0.4, isocenter=(1.0, 2.0, 3.0)).resized((16, 20))

    def total(twist):
        return jnp.sum(path_lengths(mesh, camera.moved(twist)))

    with pytest.raises(NotImplementedError, match="Gauss-Newton"):
        jax.eval_shape(jax.jacfwd(jax.grad(total)), jnp.zeros(6))
