"""Boxes and contours, against plain loops and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import draw, measure

from synthex_jax.annotations.boxes import boxes, contours


def area(polygon) -> float:
    """Shoelace formula."""
    row, col = np.asarray(polygon).T
    return abs(row @ np.roll(col, 1) - col @ np.roll(row, 1)) / 2


def test_boxes_against_region_properties(rng):
    masks = rng.random((5, 12, 17)) < 0.02
    masks[1], masks[2] = False, True
    found, present = boxes(jnp.asarray(masks))
    assert found.dtype == jnp.float32
    for mask, box, is_there in zip(masks, found, present, strict=True):
        assert bool(is_there) == mask.any()
        regions = measure.regionprops(mask.astype(int))
        # Its boxes are half open in whole pixels: edges, half a pixel from centers.
        expected = np.subtract(regions[0].bbox, 0.5) if mask.any() else np.zeros(4)
        np.testing.assert_array_equal(box, expected)


def test_boxes_in_a_batch():
    masks = np.zeros((2, 1, 4, 6), bool)
    masks[0, 0, 2, 3] = masks[1, 0, 0, 5] = True
    found, present = jax.vmap(boxes)(jnp.asarray(masks))
    assert found[:, 0].tolist() == [[1.5, 2.5, 2.5, 3.5], [-0.5, 4.5, 0.5, 5.5]]
    assert bool(present.all())


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (jnp.zeros((4, 6), bool), "shape \\(4, 6\\)"),
        (jnp.zeros((1, 4, 6)), "boolean.*float32"),
    ],
)
def test_boxes_errors(masks, message):
    # The types' run-time check of the tests comes first where the function is checked.
    with pytest.raises(ValueError, match=message):
        boxes.__wrapped__.__wrapped__(masks)


def test_contours_tell_parts_and_holes_apart():
    mask = np.zeros((30, 40), bool)
    mask[3:15, 4:20] = True
    mask[6:9, 7:12] = mask[11:13, 14:18] = False
    mask[20:30, 30:40] = True
    ring, corner = sorted(contours(mask), key=lambda c: -len(c.holes))
    assert len(ring.holes) == 2
    assert corner.holes == ()
    # A corner of half a pixel is cut off everywhere: four times 1/8.
    assert area(ring.outer) == 12 * 16 - 0.5
    # In a hole the corners are cut off the hole.
    assert sorted(map(area, ring.holes)) == [2 * 4 - 0.5, 3 * 5 - 0.5]
    assert area(corner.outer) == 100 - 0.5
    np.testing.assert_array_equal(corner.outer.min(axis=0), [19.5, 29.5])
    np.testing.assert_array_equal(corner.outer.max(axis=0), [29.5, 39.5])
    np.testing.assert_array_equal(ring.outer.min(axis=0), [2.5, 3.5])
    assert np.any(corner.outer[0] != corner.outer[-1])


def test_contours_fill_the_mask(rng):
    """Filling the polygons with scikit-image gives the mask back."""
    mask = np.asarray(jax.image.resize(rng.random((6, 7)), (40, 50), "linear")) > 0.5
    filled = np.zeros(mask.shape, int)
    for part in contours(mask):
        for sign, polygon in ((1, part.outer), *((-1, hole) for hole in part.holes)):
            filled += sign * draw.polygon2mask(mask.shape, polygon)
    np.testing.assert_array_equal(filled, mask)


def test_contours_of_a_soft_mask_are_within_pixels():
    """A ramp across the edge of a disk: its middle is the circle."""
    row, col = np.indices((40, 40))
    soft = np.clip((12.3 - np.hypot(row - 19.2, col - 20.7)) / 8 + 0.5, 0, 1)
    (disk,) = contours(soft)
    distance = np.hypot(*(disk.outer - [19.2, 20.7]).T)
    # Between pixels a cone differs from a line by up to 1 / (8 radius).
    np.testing.assert_allclose(distance, 12.3, atol=0.02)
    assert area(disk.outer) == pytest.approx(np.pi * 12.3**2, rel=5e-3)


def test_contours_of_nothing():
    assert contours(np.zeros((5, 5), bool)) == []
    (whole,) = contours(np.ones((1, 1), bool))
    assert area(whole.outer) == 0.5


def test_contours_errors():
    with pytest.raises(
        ValueError, match=r"mask must be \(rows, cols\), got .*\(2, 3, 4"
    ):
        contours(np.zeros((2, 3, 4), bool))
    with pytest.raises(ValueError, match="mask must be finite"):
        contours(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(lambda m: contours(m) and m)(jnp.zeros((2, 3)))
