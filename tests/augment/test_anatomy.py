"""Deformed bodies: volumes, labels and landmarks that move together."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from synthex_jax.augment.anatomy import (
    PAPER_CHEST_SHEAR,
    Deformation,
    DeformationRanges,
    deformed,
    deformed_anatomy,
    random_deformation,
    room,
)
from synthex_jax.phantoms.anatomy import Anatomy
from synthex_jax.phantoms.variation import Warp
from synthex_jax.volumes.grids import padded
from synthex_jax.volumes.volume import Volume

RANGES = DeformationRanges.create(
    shear=math.radians(15), scale=(0.9, 1.1), amplitude=8.0, wavelength=90.0
)
# Degrees of freedom of an oblique grid, mm.
OBLIQUE = np.array(
    [
        [0.0, -2.5, 0.0, 70.0],
        [1.8, 0.0, 0.6, -60.0],
        [-0.6, 0.0, 1.8, -20.0],
        [0, 0, 0, 1],
    ]
)


def _grid(shape=(48, 40, 44)):
    affine = jnp.asarray(OBLIQUE, float)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = index @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    return affine, world


def _blob(center, width=7.0):
    affine, world = _grid()
    square = ((world - center) ** 2).sum(-1)
    return Volume(jnp.asarray(np.exp(-square / 2 / width**2), float), affine)


def _mean_point(volume):
    """The center of gravity, world mm."""
    index = ndimage.center_of_mass(np.asarray(volume.data, float))
    affine = np.asarray(volume.affine, float)
    return affine[:3, :3] @ index + affine[:3, 3]


def _center():
    _, world = _grid()
    return jnp.asarray(world.reshape(-1, 3).mean(axis=0), float)


@pytest.mark.parametrize("seed", range(3))
def test_a_landmark_in_a_blob_stays_in_it(seed):
    center = _center()
    deformation = random_deformation(jax.random.key(seed), center, RANGES)
    for offset in ([0, 0, 0], [12.0, -9.0, 6.0], [-10.0, 8.0, -12.0]):
        # Nearly a point: a blob's own deformation moves its center of gravity.
        mark = np.asarray(center) + offset
        moved = deformed(_blob(mark, width=3.0), deformation, outside=0.0)
        where = deformation.apply(jnp.asarray(mark, float))
        # 0.1 voxels of 1.9 to 2.5 mm.
        assert np.linalg.norm(_mean_point(moved) - where) < 0.19
        assert np.linalg.norm(where - mark) > 0.3


def test_apply_and_undo_are_inverse(x64):
    jacobians = jax.jit(lambda one, points: jax.vmap(jax.jacfwd(one.undo))(points))
    points = jax.random.uniform(jax.random.key(9), (50, 3), minval=-150, maxval=150)
    steep = DeformationRanges.create(
        shear=PAPER_CHEST_SHEAR, scale=(0.8, 1.2), amplitude=12.7, wavelength=100.0
    )
    for seed in range(5):
        one = random_deformation(jax.random.key(seed), jnp.ones(3), steep)
        # 0.8^50 of 13 mm, were the displacement as steep as it may be.
        np.testing.assert_allclose(one.undo(one.apply(points)), points, atol=2e-4)
        np.testing.assert_allclose(one.apply(one.undo(points)), points, atol=2e-4)
        assert np.linalg.det(np.asarray(jacobians(one, points))).min() > 0


def test_no_point_moves_further_than_the_amplitude():
    ranges = DeformationRanges.create(amplitude=6.0, wavelength=80.0)
    points = 100 * jax.random.normal(jax.random.key(0), (500, 3))
    moves = []
    for key in jax.random.split(jax.random.key(1), 20):
        moved = random_deformation(key, jnp.zeros(3), ranges).apply(points)
        moves.append(np.linalg.norm(moved - points, axis=1))
    assert np.max(moves) <= 6.0
    # The largest of many is not far below what is allowed.
    assert np.max(moves) > 3.0


def test_shear_and_scale_are_those_of_a_matrix():
    # 45 degrees along z, and twice as deep.
    one = Deformation.create(
        [1.0, 2.0, 3.0], shear=(0.0, math.pi / 4, 0.0), scale=(1.0, 2.0, 1.0)
    )
    points = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 13.0], [1.0, 12.0, 3.0]])
    expected = [[1.0, 2.0, 3.0], [11.0, 2.0, 13.0], [1.0, 22.0, 3.0]]
    np.testing.assert_allclose(one.apply(points), expected, atol=1e-5)
    assert PAPER_CHEST_SHEAR[1] == pytest.approx(np.deg2rad(30))


def test_agrees_with_scipy():
    """An affine map of a smooth volume, by another interpolator."""
    affine, _ = _grid()
    smooth = ndimage.gaussian_filter(
        np.random.default_rng(0).normal(size=(48, 40, 44)), 2.0
    )
    volume = Volume(jnp.asarray(smooth, float), affine)
    one = Deformation.create(_center(), shear=(0.1, 0.2, -0.1), scale=(1.1, 0.9, 1.0))
    ours = np.asarray(deformed(volume, one).data)
    world = np.eye(4)
    world[:3, :3] = np.asarray(one.matrix)
    world[:3, 3] = np.asarray(one.center) - world[:3, :3] @ np.asarray(one.center)
    inverse = np.linalg.inv(OBLIQUE) @ np.linalg.inv(world) @ OBLIQUE
    theirs = ndimage.affine_transform(
        smooth, inverse[:3, :3], inverse[:3, 3], order=1, cval=np.nan
    )
    inner = np.isfinite(theirs)
    assert inner.mean() > 0.5
    # Coordinates in float32 differ by 1e-5 voxels, samples by that times the slope.
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)


def test_labels_and_channels():
    one = random_deformation(jax.random.key(3), _center(), RANGES)
    blob = _blob(np.asarray(_center()), width=12.0)
    labels = Volume((7 * (blob.data > 0.5)).astype(jnp.uint8), blob.affine)
    moved = deformed(labels, one, order=0)
    assert moved.data.dtype == jnp.uint8
    assert set(np.unique(moved.data)) == {0, 7}
    # The determinant of a map is the growth of volumes; a voxel's steps make 5 %.
    growth = float((moved.data == 7).sum() / (labels.data == 7).sum())
    steps = np.asarray(_center()) + np.vstack([np.zeros(3), 4 * np.eye(3)])
    ends = np.asarray(one.apply(jnp.asarray(steps, float)))
    determinant = np.linalg.det((ends[1:] - ends[0]) / 4)
    assert growth == pytest.approx(determinant, rel=0.08)
    pair = Volume(jnp.stack([blob.data, 2 * blob.data], axis=-1), blob.affine)
    both = deformed(pair, one).data
    np.testing.assert_allclose(both[..., 0], deformed(blob, one).data, atol=1e-6)
    np.testing.assert_allclose(both[..., 1], 2 * both[..., 0], atol=1e-6)
    whole = Volume((100 * blob.data).astype(jnp.int16), blob.affine)
    assert deformed(whole, one).data.dtype == jnp.float32


def test_an_anatomy_moves_as_a_whole():
    mark = np.asarray(_center()) + np.array([5.0, -4.0, 3.0])
    blob = _blob(mark, width=6.0)
    body = Anatomy(
        replace(blob, data=2000 * blob.data - 1000),
        replace(blob, data=(blob.data > 0.6).astype(jnp.uint8)),
        {"mark": jnp.asarray(mark, float)},
    )
    one = random_deformation(jax.random.key(4), _center(), RANGES)
    moved = deformed_anatomy(body, one)
    # To the last digit of an interpolation.
    assert float(moved.ct.data.min()) >= -1000.001
    gap = _mean_point(moved.labels) - np.asarray(moved.landmarks["mark"])
    # Half a voxel of 2 mm: the ball of 6 mm is no ball any more.
    assert np.linalg.norm(gap) < 1.0


def test_room_is_just_enough():
    blob = _blob(np.asarray(_center()), width=9.0)
    # A ball near a face leans out of the grid.
    lean = Deformation.create(_center(), shear=(0.0, 0.9, 0.0))
    wide = padded(blob, room(blob, lean), 0.0)
    mass = [float(deformed(v, lean, outside=0.0).data.sum()) for v in (blob, wide)]
    assert mass[1] > mass[0]
    assert mass[1] == pytest.approx(float(blob.data.sum()), rel=1e-3)


def test_gradients_agree_with_differences(x64):
    fine = _blob(np.asarray(_center()) + np.array([3.0, 2.0, -4.0]))
    # Every third voxel: the gradient's program is slow to run.
    coarse = fine.affine * jnp.array([3.0, 3.0, 3.0, 1.0])
    blob = Volume(fine.data[::3, ::3, ::3], coarse)
    weights = jax.random.normal(jax.random.key(0), blob.data.shape)
    base = random_deformation(jax.random.key(5), _center(), RANGES)

    def value(matrix, shifts, data):
        one = replace(base, matrix=matrix, warp=replace(base.warp, shifts=shifts))
        moved = deformed(replace(blob, data=data), one, outside=0.0).data
        return jnp.sum(weights * moved) + jnp.sum(one.apply(_center()))

    arguments = (base.matrix, base.warp.shifts, blob.data)
    value = jax.jit(value)
    slopes = jax.jit(jax.grad(value, (0, 1, 2)))(*arguments)
    for number in range(3):
        direction = jax.random.normal(jax.random.key(number), arguments[number].shape)
        step = 1e-6

        def along(t, number=number, direction=direction):
            moved = list(arguments)
            moved[number] = moved[number] + t * direction
            return value(*moved)

        difference = (along(step) - along(-step)) / (2 * step)
        slope = jnp.sum(slopes[number] * direction)
        # Steps of interpolation: a coordinate may cross a node between the two.
        assert float(slope) == pytest.approx(float(difference), rel=1e-3)


def test_jit_and_vmap():
    blob = _blob(np.asarray(_center()))
    keys = jax.random.split(jax.random.key(0), 2)
    draw = jax.jit(jax.vmap(lambda key: random_deformation(key, _center(), RANGES)))
    several = draw(keys)
    assert not np.allclose(several.matrix[0], several.matrix[1])
    moved = jax.vmap(deformed, in_axes=(None, 0))(blob, several)
    one = deformed(blob, random_deformation(keys[1], _center(), RANGES))
    np.testing.assert_allclose(moved.data[1], one.data, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shear": (0.0, 2.0, 0.0)}, "shear must be angles below pi / 2"),
        ({"scale": -1.0}, "scale must be positive"),
        ({"scale": (1.0, 1.0)}, "scale must be one factor or three"),
        (
            {"warp": Warp(jnp.ones((1, 3)), jnp.zeros(1), jnp.ones((1, 3)))},
            "warp must not change by more than 0.8 mm a mm",
        ),
    ],
)
def test_refuses_what_is_no_deformation(arguments, message):
    with pytest.raises(ValueError, match=message):
        Deformation.create(jnp.zeros(3), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shear": 1.6}, "shear must be below pi / 2"),
        ({"shear": -0.1}, "shear must not be negative"),
        ({"scale": (1.1, 0.9)}, "scale must be .smallest, largest."),
        ({"amplitude": 20.0, "wavelength": 100.0}, "amplitude must be at most 12.7 mm"),
    ],
)
def test_refuses_what_is_no_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeformationRanges.create(**arguments)


def test_refuses_another_order():
    with pytest.raises(ValueError, match="order must be 0"):
        deformed(_blob(np.zeros(3)), Deformation.create(jnp.zeros(3)), order=3)


def test_affine_is_the_map_without_the_warp():
    deformation = Deformation.create((1.0, 2.0, 3.0), shear=(0.3, -0.2, 0.1), scale=1.1)
    points = np.random.default_rng(0).normal(size=(5, 3)) * 100
    homogeneous = np.concatenate([points, np.ones((5, 1))], axis=1)
    moved = homogeneous @ np.asarray(deformation.affine).T
    np.testing.assert_allclose(
        moved[:, :3], deformation.apply(jnp.asarray(points)), atol=1e-4
    )
