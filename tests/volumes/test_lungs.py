"""The lungs of a chest: against a phantom's labels, and in a real CT."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from synthex_jax.phantoms import thorax
from synthex_jax.volumes.grids import flipped, resampled
from synthex_jax.volumes.lungs import LEFT_LUNG, RIGHT_LUNG, lungs
from synthex_jax.volumes.volume import Volume

SIDES = (LEFT_LUNG, RIGHT_LUNG)


@functools.cache
def _chest(seed=0):
    return thorax(jax.random.key(seed), shape=(96, 72, 88), spacing=4.0)


def _dice(ours, theirs):
    return 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())


@pytest.mark.parametrize("seed", range(2))
def test_finds_the_lungs_of_a_phantom(seed):
    body = _chest(seed)
    found, labels = np.asarray(lungs(body.ct).data), np.asarray(body.labels.data)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, *SIDES}
    for side in SIDES:
        # The vessels count here and not there.
        assert _dice(found == side, labels == side) > 0.95
    # Above its passage beside the right lung, the trachea is none.
    z = (np.arange(88) - 43.5) * 4
    trachea = (labels == 16) & (z > float(body.landmarks["carina"][2]) + 60)
    assert trachea.any()
    assert not found[trachea].any()


def test_however_the_grid_lies():
    body = _chest()
    expected = np.asarray(lungs(body.ct).data)
    turned = flipped(flipped(body.ct.permuted((2, 0, 1)), 0), 1)
    found = flipped(flipped(lungs(turned), 1), 0).permuted((1, 2, 0))
    np.testing.assert_array_equal(found.data, expected)


def test_lungs_that_touch_are_parted():
    """Where they are nearest, a bridge of air joins them."""
    body = _chest()
    hu, labels = np.array(body.ct.data), np.asarray(body.labels.data)
    left, right = (labels == side for side in SIDES)
    # Index of the last voxel of the left lung along x, and of the first of the right.
    last = np.where(left.any(axis=0), 95 - np.argmax(left[::-1], axis=0), -100)
    first = np.where(right.any(axis=0), np.argmax(right, axis=0), 200)
    j, k = np.unravel_index(np.argmin(first - last), first.shape)
    hu[last[j, k] : first[j, k] + 1, j - 1 : j + 2, k - 1 : k + 2] = -850.0
    joined, _ = ndimage.label(hu < -400)  # pyright: ignore
    assert len({np.bincount(joined[labels == side]).argmax() for side in SIDES}) == 1
    found = np.asarray(lungs(Volume(jnp.asarray(hu), body.ct.affine)).data)
    for side in SIDES:
        assert _dice(found == side, labels == side) > 0.95


def test_finds_the_lungs_of_a_patient(shared_data):
    path = shared_data / "cptac-pda_chest_1.5mm.nii.gz"
    if not path.is_file():
        pytest.skip("the chest CT is not here")
    ct = resampled(Volume.from_nifti(path), spacing=4.0)
    found, hu = np.asarray(lungs(ct).data), np.asarray(ct.data)
    liters = {side: (found == side).sum() * 0.064 / 1e3 for side in SIDES}
    # The right lung is the larger one, by a fifth or so (56 : 44).
    assert 1.0 < liters[LEFT_LUNG] < liters[RIGHT_LUNG] < 4.0
    assert liters[LEFT_LUNG] / liters[RIGHT_LUNG] > 0.7
    assert -900 < hu[found > 0].mean() < -700
    # All the air that is inside of the body and far from its middle is lung.
    core = ndimage.binary_erosion(found > 0, iterations=2)
    assert (hu[core] < -400).mean() > 0.9
    world = np.asarray(ct.affine)[0, :3]
    left, right = (np.argwhere(found == side).mean(axis=0) @ world for side in SIDES)
    assert right - left > 100


def test_refuses_what_is_no_chest():
    water = Volume.from_array(np.full((20, 20, 20), -100.0), spacing=10.0)
    with pytest.raises(ValueError, match=r"ct must show two lungs.* 0 ml inside"):
        lungs(water)
    one = np.array(_chest().ct.data)
    one[48:] = 40.0
    with pytest.raises(ValueError, match="ct must show two lungs"):
        lungs(Volume(jnp.asarray(one), _chest().ct.affine))
    with pytest.raises(ValueError, match="ct must have no channels"):
        lungs(Volume.from_array(np.zeros((4, 4, 4, 2)), spacing=1.0))
    with pytest.raises(ValueError, match="volume must be in HU"):
        lungs(Volume.from_array(np.full((4, 4, 4), 0.02), spacing=1.0))
