import numpy as np
import pytest

from synthex_jax.synthesis.examples import (
    Examples,
    InMemory,
    Mirrored,
    first_with,
    in_image,
    names,
    structure_mask,
    visible,
)


@pytest.fixture
def example(rng):
    mask = np.zeros((6, 9), np.uint8)
    mask[1:4, 2:4] = 2
    return {
        "image": rng.normal(size=(6, 9)).astype(np.float32),
        "mask": mask,
        "landmarks": np.array([[1.0, 2.0], [3.0, 30.0]], np.float32),
        "boxes": np.array([[0, 0, 0, 0], [0.5, 1.5, 3.5, 3.5]], np.float32),
        "present": np.array([False, True]),
        "intrinsics": np.eye(3, dtype=np.float32),
        "camera_from_world": np.eye(4, dtype=np.float32),
        "specimen": np.asarray(3, np.int32),
    }


def test_examples_in_memory(example):
    examples = InMemory((example,), {"seed": 1})
    assert isinstance(examples, Examples)
    assert isinstance(Mirrored(examples), Examples)
    assert len(Mirrored(examples)) == 1
    assert Mirrored(examples).attributes == {"seed": 1}


def test_mirrored_labels_stay_on_what_they_label(example):
    found = Mirrored(InMemory((example,), {}))[0]
    np.testing.assert_array_equal(found["image"], np.fliplr(example["image"]))
    # The landmark was on the first pixel of class 2, and still is on one of class 2.
    row, col = found["landmarks"][0].astype(int)
    assert found["mask"][row, col] == 2
    assert found["image"][row, col] == example["image"][1, 2]
    rows, cols = np.nonzero(found["mask"])
    edges = [rows.min() - 0.5, cols.min() - 0.5, rows.max() + 0.5, cols.max() + 0.5]
    np.testing.assert_array_equal(found["boxes"], [[0, 0, 0, 0], edges])
    assert found.keys().isdisjoint({"intrinsics", "camera_from_world"})
    assert found["specimen"] == 3
    twice = Mirrored(Mirrored(InMemory((example,), {})))[0]
    for name, values in twice.items():
        np.testing.assert_array_equal(values, example[name])


def test_a_pixel_reaches_half_way_to_the_next():
    points = np.array([[-0.5, 0], [-0.51, 0], [5.49, 8.49], [5.5, 0], [0, 8.5]])
    assert in_image(points, (6, 9)).tolist() == [True, False, True, False, False]


def test_visible_is_the_field_or_what_lies_in_the_image(example):
    assert visible(example).tolist() == [True, False]
    hidden = {**example, "visible": np.array([0, 0], np.uint8)}
    assert visible(hidden).tolist() == [False, False]


def test_masks_of_a_structure_come_from_hits_where_there_are_some(example):
    assert structure_mask(example, 1).sum() == 6
    hits = np.full((6, 9), 0b10, np.uint8)
    assert structure_mask({**example, "hits": hits}, 1).all()
    assert not structure_mask({**example, "hits": hits}, 0).any()


def test_what_is_missing_is_named(example):
    with pytest.raises(ValueError, match="examples must not be empty for a test"):
        first_with(InMemory((), {}), ("image",), "a test")
    with pytest.raises(ValueError, match=r"lack \['hits'\]; they hold .*'mask'"):
        first_with(InMemory((example,), {}), ("image", "hits"), "a test")
    with pytest.raises(ValueError, match="must list the landmark_names"):
        names(InMemory((example,), {}), "landmark_names")
    with pytest.raises(ValueError, match=r"must list 2 landmark_names.*got 1"):
        names(InMemory((example,), {"landmark_names": ["a"]}), "landmark_names", 2)
