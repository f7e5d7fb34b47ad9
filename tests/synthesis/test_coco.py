"""Read back with pycocotools."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO

from synthex_jax.synthesis.coco import export_coco, run_lengths
from synthex_jax.synthesis.examples import InMemory

# pycocotools 2.0.11 is older than NumPy 2 in how it hands out arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

ATTRIBUTES = {
    "landmark_names": ["FH-l", "FH-r", "tip"],
    "structure_names": ["left femur", "right femur", "tool"],
}


def blobs(rng, shape):
    """Masks with runs from one pixel to a whole image."""
    density = rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])
    return rng.random(shape) < density


@pytest.fixture
def examples(rng):
    def one():
        masks = np.stack([blobs(rng, (11, 17)) for _ in range(3)])
        masks[1] = False
        return {
            "image": rng.normal(size=(11, 17)).astype(np.float32),
            "hits": np.packbits(masks, axis=0, bitorder="little")[0],
            "mask": np.where(masks[0], 1, 0).astype(np.uint8),
            "landmarks": np.array([[2.25, 3.5], [-40.0, 2.0], [7.0, 16.0]], np.float32),
            "visible": np.array([True, False, True]),
        }

    return InMemory(tuple(one() for _ in range(6)), ATTRIBUTES)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (300, 200)])
def test_run_lengths_are_those_of_pycocotools(rng, shape):
    for _ in range(8):
        mask = blobs(rng, shape)
        found = run_lengths(mask)
        expected = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert found["counts"] == expected["counts"].decode()
        assert found["size"] == expected["size"]
        np.testing.assert_array_equal(reference.decode(found), mask)


def test_pycocotools_finds_what_was_written(examples, tmp_path):
    out = export_coco(examples, tmp_path / "out")
    coco = COCO(str(out / "annotations.json"))
    assert sorted(coco.getImgIds()) == list(range(6))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [
        *ATTRIBUTES["structure_names"],
        "landmarks",
    ]
    assert coco.cats[4]["keypoints"] == ATTRIBUTES["landmark_names"]
    scale = coco.dataset["info"]["gray"]
    for index in range(6):
        example = examples[index]
        entry = coco.imgs[index]
        assert (entry["height"], entry["width"]) == (11, 17)
        with Image.open(out / entry["file_name"]) as file:
            gray = np.array(file)
        assert gray.dtype == np.uint8
        value = scale["offset"] + scale["step"] * gray
        np.testing.assert_allclose(value, example["image"], atol=scale["step"] * 0.501)
        for structure in range(3):
            mask = (example["hits"] >> structure) & 1
            found = coco.loadAnns(coco.getAnnIds(index, structure + 1))
            assert len(found) == int(mask.any())
            if not found:
                continue
            np.testing.assert_array_equal(coco.annToMask(found[0]), mask)
            assert found[0]["area"] == reference.area(coco.annToRLE(found[0]))
            box = reference.toBbox(coco.annToRLE(found[0]))
            np.testing.assert_array_equal(found[0]["bbox"], box)
        (points,) = coco.loadAnns(coco.getAnnIds(index, 4))
        assert points["keypoints"] == [3.5, 2.25, 2, 0, 0, 0, 16, 7, 2]
        assert points["num_keypoints"] == 2
        assert points["bbox"] == [3.5, 2.25, 13.5, 5.75]


def test_class_maps_serve_where_there_are_no_hits(examples, tmp_path):
    fields = ("image", "mask")
    flat = tuple({f: e[f] for f in fields} for e in examples.examples)
    out = export_coco(InMemory(flat, ATTRIBUTES), tmp_path / "out", window=(-1.0, 1.0))
    coco = COCO(str(out / "annotations.json"))
    assert "landmarks" not in [c["name"] for c in coco.cats.values()]
    for index in range(6):
        found = coco.loadAnns(coco.getAnnIds(index))
        assert [a["category_id"] for a in found] == [1] * bool(
            flat[index]["mask"].any()
        )
        for annotation in found:
            np.testing.assert_array_equal(
                coco.annToMask(annotation), flat[index]["mask"]
            )


def test_an_example_without_labels_is_an_image_without_annotations(tmp_path):
    empty = {"image": np.zeros((3, 4), np.uint8), "mask": np.zeros((3, 4), np.uint8)}
    out = export_coco(InMemory((empty,), ATTRIBUTES), tmp_path / "out")
    content = json.loads((out / "annotations.json").read_text())
    assert content["annotations"] == []
    assert len(content["images"]) == 1


def test_bad_input_leaves_nothing_behind(examples, tmp_path):
    bare = InMemory(({"image": np.zeros((3, 4), np.float32)},), {})
    with pytest.raises(ValueError, match=r"must hold hits, mask or landmarks.*image"):
        export_coco(bare, tmp_path / "out")
    with pytest.raises(ValueError, match="must list the structure_names"):
        export_coco(InMemory(examples.examples, {}), tmp_path / "out")
    broken = dict(examples[0], image=np.full((11, 17), np.inf, np.float32))
    with pytest.raises(ValueError, match="image of example 0 must be finite"):
        export_coco(
            InMemory((broken,), ATTRIBUTES), tmp_path / "out", window=(0.0, 1.0)
        )
    lost = dict(examples[0], landmarks=np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="landmarks of example 0 must be finite"):
        export_coco(InMemory((lost,), ATTRIBUTES), tmp_path / "out")
    assert os.listdir(tmp_path) == []
