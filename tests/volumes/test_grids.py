"""Grids may change, the world may not."""

import itertools

import jax
import jax.numpy as jnp
import nibabel
import numpy as np
import pytest
import scipy.ndimage

from synthex_jax.volumes.grids import (
    canonical,
    cropped,
    cropped_to_body,
    flipped,
    padded,
    resampled,
)
from synthex_jax.volumes.volume import Volume
from tests.volumes.worlds import SHAPE, oblique, oriented, world_function

AFFINES = {
    "anisotropic": np.diag([0.7, 0.9, 2.5, 1.0]),
    "flipped": oriented("LPS"),
    "permuted": oriented("SRA"),
    "oblique": oblique(),
}
each_affine = pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
# float32 holds 7 digits of values near 50,000, and places samples to 1e-4 voxels.
WITHIN = 0.3


def of_world(affine, shape=SHAPE):
    return Volume.from_array(world_function(affine, shape), affine)


def assert_world_holds(volume):
    truth = world_function(volume.affine, volume.shape)
    np.testing.assert_allclose(volume.data, truth, atol=WITHIN)


# -- resampling -----------------------------------------------------------------------


@each_affine
@pytest.mark.parametrize("spacing", [0.6, (0.5, 1.1, 2.0)])
def test_a_linear_function_survives_a_new_spacing(affine, spacing):
    old = of_world(affine, (9, 10, 11))
    new = resampled(old, spacing=spacing)
    np.testing.assert_allclose(new.spacing, np.broadcast_to(spacing, 3), rtol=1e-5)
    np.testing.assert_allclose(new.center, old.center, atol=1e-3)
    size = np.asarray(old.spacing) * old.shape
    covered = np.asarray(new.spacing) * new.shape
    assert (np.abs(size - covered) <= np.asarray(new.spacing) / 2 + 1e-3).all()
    # Half an old voxel at the faces repeats the outermost sample; the rest is linear.
    edge = np.ceil(np.asarray(old.spacing) / np.asarray(new.spacing) / 2).astype(int)
    inner = cropped(new, edge.tolist(), (new.shape - edge).tolist())
    assert_world_holds(inner)


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(AFFINES, 2)))
def test_any_grid_is_taken_over(old, new):
    volume = of_world(AFFINES[old], (20, 20, 20))
    middle = np.asarray(volume.center)
    target = AFFINES[new].copy()
    target[:3, 3] = middle - target[:3, :3] @ [2, 2, 1]
    like = Volume.from_array(np.zeros((5, 5, 3)), target)
    result = resampled(volume, like=like)
    assert result.shape == (5, 5, 3)
    np.testing.assert_array_equal(result.affine, like.affine)
    assert_world_holds(result)


def test_against_scipy(rng):
    data = rng.normal(size=(9, 8, 7)).astype(np.float32)
    volume = Volume.from_array(data, oblique())
    target = oblique((0.1, 0.2, -0.3), (1.0, 1.0, 1.0))
    target[:3, 3] = np.asarray(volume.center) - target[:3, :3] @ [3, 3, 3]
    like = Volume.from_array(np.zeros((7, 7, 7)), target)
    index = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"))
    m = np.linalg.inv(oblique()) @ target
    at = np.tensordot(m[:3, :3], index, 1) + m[:3, 3, None, None, None]
    inside = np.all(
        [(c >= -0.5) & (c <= n - 0.5) for c, n in zip(at, data.shape, strict=True)],
        axis=0,
    )
    assert 0.2 < inside.mean() < 1
    for order in (0, 1):
        truth = scipy.ndimage.map_coordinates(data, at, order=order, mode="nearest")
        result = resampled(volume, like=like, order=order, outside=-7.0)
        # A linear slope of up to 6 a voxel, times 1e-4 voxels.
        np.testing.assert_allclose(
            result.data, np.where(inside, truth, -7.0), atol=6e-4
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16])
def test_labels_keep_their_values(rng, dtype):
    labels = Volume.from_array(rng.choice([0, 3, 77], SHAPE).astype(dtype), oblique())
    result = resampled(labels, spacing=0.5, order=0)
    assert result.data.dtype == dtype
    assert set(np.unique(result.data)) <= {0, 3, 77}
    one = resampled(labels, like=labels, order=0)
    np.testing.assert_array_equal(one.data, labels.data)


def test_integers_become_floats_when_interpolated():
    volume = Volume.from_array(np.array([0, 1], np.int16).reshape(2, 1, 1), np.eye(4))
    result = resampled(volume, spacing=(0.5, 1, 1))
    np.testing.assert_allclose(result.data.ravel(), [0, 0.25, 0.75, 1])


def test_channels_are_resampled_alike(rng):
    data = rng.normal(size=(*SHAPE, 2)).astype(np.float32)
    both = resampled(Volume.from_array(data, oblique()), spacing=1.0)
    for c in range(2):
        one = resampled(
            Volume.from_array(data[..., c], oblique()), spacing=1.0, outside=0
        )
        np.testing.assert_allclose(both.data[..., c], one.data, atol=1e-6)


def test_beyond_the_volume_lies_its_smallest_value():
    volume = Volume.from_array(np.array([-1000.0, 40.0]).reshape(2, 1, 1), np.eye(4))
    like = Volume.from_array(np.zeros((6, 1, 1)), np.eye(4)).permuted((0, 1, 2))
    assert resampled(volume, like=like).data.ravel().tolist() == [
        *(-1000, 40),
        *(-1000,) * 4,
    ]
    assert resampled(volume, like=like, outside=7).data.ravel()[2:].tolist() == [7] * 4


def test_derivatives_pass_through_the_samples(rng):
    data = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)
    affine = jnp.eye(4)

    def total(samples):
        return resampled(Volume(samples, affine), spacing=0.7).data.sum()

    # Each new sample is a mean with weights of sum 1.
    slope = jax.jit(jax.grad(total))(data)
    count = np.prod(resampled(Volume(data, affine), spacing=0.7).shape)
    np.testing.assert_allclose(slope.sum(), count, rtol=1e-5)


def test_what_resampling_refuses():
    volume = of_world(np.eye(4))
    with pytest.raises(ValueError, match=r"give either spacing .* or like"):
        resampled(volume)
    with pytest.raises(ValueError, match=r"give either spacing .* or like"):
        resampled(volume, spacing=1.0, like=volume)
    with pytest.raises(ValueError, match="spacing must be positive mm"):
        resampled(volume, spacing=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"order must be 0 .* or 1 .* got 3"):
        resampled(volume, spacing=1.0, order=3)


# -- boxes ----------------------------------------------------------------------------


@each_affine
def test_cropping_and_padding_leave_the_world(affine):
    volume = of_world(affine)
    small = cropped(volume, (1, 2, 3), (4, 6, 7))
    assert small.shape == (3, 4, 4)
    assert_world_holds(small)
    large = padded(small, ((1, 0), (2, 0), (3, 0)), 0.0)
    np.testing.assert_allclose(large.affine, volume.affine, atol=1e-4)
    np.testing.assert_array_equal(large.data[1:, 2:, 3:], small.data)
    assert float(jnp.abs(large.data[0]).max()) == 0


@pytest.mark.parametrize(
    ("width", "shape"),
    [(2, (9, 10, 11)), ((1, 0, 2), (7, 6, 11)), (((1, 0), (0, 3), (0, 0)), (6, 9, 7))],
)
def test_widths(width, shape):
    volume = Volume.from_array(np.ones((*SHAPE, 2)), oblique())
    result = padded(volume, width, -1000)
    assert result.shape == shape
    assert result.data.shape == (*shape, 2)
    assert int((result.data == 1).sum()) == volume.data.size


def test_what_boxes_refuse():
    volume = of_world(np.eye(4))
    for lower, upper in [((0, 0, 0), (6, 6, 7)), ((2, 0, 0), (2, 6, 7)), ((0,), (1,))]:
        with pytest.raises(
            ValueError, match=r"0 <= lower < upper <= shape \(5, 6, 7\)"
        ):
            cropped(volume, lower, upper)
    for width in (-1, (1, 2), ((1, 2), (3, 4))):
        with pytest.raises(ValueError, match="width must be a whole number of voxels"):
            padded(volume, width, 0.0)


# -- the body -------------------------------------------------------------------------


def body_and_table(affine, spacing):
    """A sphere of water of 30 mm radius in air, and the shell of a table below it."""
    shape = tuple(int(100 / s) for s in spacing)
    volume = Volume.from_array(np.zeros(shape), affine)
    x, y, z = np.meshgrid(
        *[
            (np.arange(n) - (n - 1) / 2) * s
            for n, s in zip(shape, spacing, strict=True)
        ],
        indexing="ij",
    )
    hu = np.where(x**2 + y**2 + z**2 < 30**2, 0.0, -1000.0)
    hu[(y > 40) & (y < 44)] = 100.0
    hu[3, 3, 3] = 3000.0
    return Volume(jnp.asarray(hu, jnp.float32), volume.affine)


@each_affine
def test_the_box_holds_the_body_and_no_table(affine):
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    volume = body_and_table(affine, spacing)
    result = cropped_to_body(volume, margin_mm=5.0)
    size = np.asarray(result.shape) * spacing
    # 60 mm, 5 on both sides, and what rounding to voxels and blocks of 4 mm adds.
    assert (size >= 68).all()
    assert (size <= 70 + 2 * (4 + spacing)).all()
    np.testing.assert_allclose(result.center, volume.center, atol=5)
    assert int((result.data == 0).sum()) == int((volume.data == 0).sum())


def test_a_body_of_no_thickness_is_kept_whole():
    hu = np.full((20, 20, 20), -1000.0)
    hu[5:8, 5:9, 10] = 0
    result = cropped_to_body(Volume.from_array(hu, np.eye(4)), margin_mm=1.0)
    assert result.shape == (5, 6, 3)


def test_what_the_body_refuses():
    air = Volume.from_array(np.full(SHAPE, -1000.0), np.eye(4))
    with pytest.raises(
        ValueError, match="voxels above the threshold of -300, its larg"
    ):
        cropped_to_body(air)
    with pytest.raises(ValueError, match="volume must have no channels"):
        cropped_to_body(Volume.from_array(np.ones((*SHAPE, 2)), np.eye(4)))


# -- axes -----------------------------------------------------------------------------


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SRA", "ILP", "ASL"])
def test_canonical_is_that_of_nibabel(codes, rng):
    affine = oblique((0.1, -0.2, 0.15), (1, 1, 1)) @ oriented(codes)
    data = rng.normal(size=SHAPE).astype(np.float32)
    truth = nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine))
    result = canonical(Volume.from_array(data, affine))
    np.testing.assert_array_equal(result.data, truth.get_fdata())
    np.testing.assert_allclose(result.affine, truth.affine, rtol=1e-4, atol=1e-4)
    assert nibabel.aff2axcodes(np.asarray(result.affine)) == ("R", "A", "S")


@each_affine
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_leaves_the_world(affine, axis):
    volume = of_world(affine)
    there = flipped(volume, axis)
    assert_world_holds(there)
    np.testing.assert_array_equal(flipped(there, axis).data, volume.data)


def test_a_real_ct_of_odd_axes(shared_data):
    path = shared_data / "tptbox-vertebra" / "sub-ct_label-22_ct.nii.gz"
    result = canonical(Volume.from_nifti(path))
    truth = nibabel.as_closest_canonical(nibabel.load(path))
    np.testing.assert_array_equal(result.data, truth.get_fdata())
    np.testing.assert_allclose(result.affine, truth.affine, atol=1e-4)
