"""What rays meet, against closed forms and against a plain march in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.phantoms import analytic
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.occupancy import hits
from tests.projectors.conftest import random_volume, small_camera

TURN = np.asarray(sx.RigidTransform.from_euler("xyz", [0.3, -0.2, 0.5]).rotation)


def grid(shape, spacing, *, flip=(1, 1, 1), turn=np.eye(3)):
    """The affine of a grid around the origin."""
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.multiply(spacing, flip))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def area_and_centroid(mask):
    mask = np.asarray(mask, float)
    places = np.indices(mask.shape).reshape(2, -1)
    return mask.sum(), places @ mask.ravel() / mask.sum()


def plain_march(flags: sx.Volume, camera: sx.Camera, groups):
    """Slice by slice, corner by corner, structure by structure, ray by ray."""
    inverse = np.linalg.inv(np.asarray(flags.affine))
    ends = [camera.source, camera.back_project(camera.pixel_grid())]
    start, targets = (
        np.asarray(end) @ inverse[:3, :3].T + inverse[:3, 3] for end in ends
    )
    axis = int(np.argmax(np.abs((targets - start).mean(axis=(0, 1)))))
    order = [axis, *(o for o in range(3) if o != axis)]
    start, targets = start[order], targets[..., order]
    data = np.moveaxis(np.asarray(flags.data), axis, 0)
    bits = np.arange(8 * data.dtype.itemsize, dtype=data.dtype)
    all_met = np.zeros(camera.shape, data.dtype)
    first = np.zeros_like(all_met)
    for pixel in np.ndindex(camera.shape):
        step = targets[pixel] - start
        nearest = np.full(len(bits), np.inf)
        for k in range(len(data)):
            t = (k - start[0]) / step[0]
            if not 0 <= t <= 1:
                continue
            y, x = (start + t * step)[1:]
            weight = np.zeros(len(bits))
            for dy, dx in itertools.product((0, 1), (0, 1)):
                i, j = int(np.floor(y)) + dy, int(np.floor(x)) + dx
                if 0 <= i < data.shape[1] and 0 <= j < data.shape[2]:
                    corner = (1 - abs(y - i)) * (1 - abs(x - j))
                    weight += corner * (data[k, i, j] >> bits & 1)
            nearest = np.minimum(nearest, np.where(weight >= 0.5, t, np.inf))
        ahead = nearest.copy()
        for group in groups:
            ahead[list(group)] = nearest[list(group)].min()
        met = np.isfinite(nearest)
        all_met[pixel] = np.sum(1 << bits[met])
        first[pixel] = np.sum(1 << bits[met & (nearest == ahead)])
    return all_met, first


@pytest.mark.parametrize(
    ("spacing", "options", "view"),
    [
        ((0.6, 0.6, 0.6), {}, 0),
        ((0.5, 0.6, 0.8), {"flip": (-1, -1, 1)}, 1),
        ((0.6, 0.8, 0.5), {"turn": TURN}, 5),
    ],
)
def test_silhouette_of_a_ball(spacing, options, view, views):
    center, radius, shape = np.array([0.5, -1.0, 0.3]), 34.0, (144, 144, 144)
    affine = grid(shape, spacing, **options)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inside = np.sum((places - center) ** 2, axis=-1) <= radius**2
    flags = sx.Volume.from_array(inside.astype(np.uint8), affine)
    ball = analytic.Ellipsoid.create(center, radius)
    whole = small_camera(flags, views[view]).resized((60, 72))
    for camera in (whole, whole.cropped((7, 11), (45, 50)).resized((60, 72))):
        met = hits(flags, camera).flags
        exact = np.asarray(analytic.image([ball], camera)) > 0
        area, centroid = area_and_centroid(met)
        expected, middle = area_and_centroid(exact)
        assert exact[0].sum() == exact[-1].sum() == 0
        # The outermost of the slices' jagged outlines lies about 1/4 voxel outside.
        too_far = (1 + 0.45 * np.max(spacing) / radius) ** 2
        assert expected < area < too_far * expected
        np.testing.assert_allclose(centroid, middle, atol=0.1)


def test_silhouette_of_a_box_that_fills_the_grid():
    """It ends at the faces of its voxels, and at the middle of the outermost slices."""
    shape, spacing = (31, 21, 41), np.array([2.0, 3.0, 1.5])
    flags = sx.Volume.from_array(
        np.ones(shape, np.uint8), grid(shape, spacing, turn=TURN)
    )
    camera = small_camera(flags, (0.5, 0.4)).resized((160, 192))
    half = (np.array(shape) - [0, 1, 0]) * spacing / 2
    box = analytic.Box.create(np.zeros(3), half, rotation=TURN)
    area, centroid = area_and_centroid(hits(flags, camera).flags)
    expected, middle = area_and_centroid(np.asarray(analytic.image([box], camera)) > 0)
    # The outline of slices side by side is a staircase where theirs is the box's.
    assert 0.99 * expected < area <= expected
    np.testing.assert_allclose(centroid, middle, atol=0.1)


def test_plain_march(views, rng, x64):
    """All axes, both ways, in one compiled batch; and derivatives are zero."""
    flags = random_volume(rng, shape=(7, 6, 8))
    sparse = rng.integers(0, 256, flags.shape) & rng.integers(0, 256, flags.shape)
    flags = sx.Volume(jnp.asarray(sparse, jnp.uint8), flags.affine)
    groups = ((0, 3, 4), (1, 7), (2,))
    chosen = [small_camera(flags, view, shape=(4, 5)) for view in views]
    cameras = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)

    def total(camera):
        found = hits(flags, camera, groups=groups)
        return found.flags.astype(float).sum(), found

    slope, found = jax.jit(jax.vmap(jax.grad(total, has_aux=True)))(cameras)
    for i, camera in enumerate(chosen):
        all_met, first = plain_march(flags, camera, groups)
        assert np.any(all_met != first)
        np.testing.assert_array_equal(found.flags[i], all_met)
        np.testing.assert_array_equal(found.first[i], first)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_many_structures(dtype, rng, x64):
    most = np.iinfo(dtype).max
    grid = random_volume(rng, shape=(6, 7, 5))
    sparse = np.full(grid.shape, most, dtype)
    for _ in range(3):
        sparse &= rng.integers(0, most, grid.shape, dtype=dtype, endpoint=True)
    flags = sx.Volume(jnp.asarray(sparse), grid.affine)
    camera = small_camera(flags, shape=(4, 5))
    last = 8 * np.dtype(dtype).itemsize - 1
    groups = ((0, last), (3, 9, 12))
    found = hits(flags, camera, groups=groups)
    assert found.flags.dtype == found.first.dtype == dtype
    all_met, first = plain_march(flags, camera, groups)
    np.testing.assert_array_equal(found.flags, all_met)
    np.testing.assert_array_equal(found.first, first)
    assert np.any(all_met != first)


def test_outline_is_the_half_level_of_what_joseph_integrates(rng, x64):
    """In one slice, Joseph's integral is the interpolated indicator times a length."""
    inside = rng.random((14, 1, 12)) < 0.5
    flags = sx.Volume.from_array(inside.astype(np.uint8), spacing=(4.0, 5.0, 3.0))
    camera = small_camera(flags, (0.2, 0.1), shape=(20, 24)).resized((40, 48))
    lengths = np.asarray(Joseph().project(flags.astype(float), camera))
    ray = np.asarray(camera.back_project(camera.pixel_grid()) - camera.source)
    per_slice = 5.0 * np.linalg.norm(ray, axis=-1) / np.abs(ray[..., 1])
    met = np.asarray(hits(flags, camera).flags) == 1
    np.testing.assert_array_equal(met, lengths >= 0.5 * per_slice)
    assert 0.05 < met.mean() < 0.95


def test_only_between_source_and_detector():
    """Of three plates one is behind the source and one behind the detector."""
    data = np.zeros((3, 3, 61), np.uint8)
    data[..., 5], data[..., 30], data[..., 55] = 1, 2, 4
    flags = sx.Volume.from_array(data, spacing=(40.0, 40.0, 2.0))
    for turn, z in (("x", 0.0), ("y", np.pi)):
        camera = sx.Camera.create(
            sx.RigidTransform.from_euler(turn, [z], [0.0, 0.0, -20.0 * np.cos(z)]),
            source_to_detector=40.0,
            pitch=1.0,
            shape=(3, 4),
        )
        np.testing.assert_array_equal(hits(flags, camera).flags, 2)


def test_errors():
    flags = sx.Volume.from_array(np.ones((2, 2, 2), np.uint8), spacing=1.0)
    camera = small_camera(flags, shape=(2, 2))
    for bad in (flags.astype(np.float32), flags.astype(np.int32)):
        with pytest.raises(ValueError, match=r"uint8, uint16 or uint32.*got .*32 of"):
            hits(bad, camera)
    with pytest.raises(ValueError, match="shape \\(2, 2, 2, 1\\)"):
        hits(sx.Volume(flags.data[..., None], flags.affine), camera)
    for groups in (((0, 8),), ((0, 1), (1, 2)), ((-1, 0),)):
        with pytest.raises(ValueError, match=r"groups must hold numbers .* 0 to 7"):
            hits(flags, camera, groups=groups)
