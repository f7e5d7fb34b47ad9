"""The header of a data set, and the names and metadata that follow from it."""

import json

import jax
import numpy as np
import pytest

from synthex_jax.synthesis.folder import holds, prepared
from synthex_jax.synthesis.layout import Layout
from tests.synthesis.sources import FIELDS, Noise

SIZES = {"num": 70, "seed": 3, "batch": 8, "shard": 32}


def layout(**changed):
    options = {"description": Noise().describe(), "fields": FIELDS, **SIZES, **changed}
    return Layout.create(options.pop("description"), options.pop("fields"), **options)


def test_items_cover_the_examples_once():
    numbers = [n for item in range(layout().items) for n in layout().examples(item)]
    assert numbers == list(range(70))


def test_what_is_written_is_read(tmp_path):
    folder = prepared(tmp_path / "hip", layout())
    found = Layout.read(folder)
    assert found.attributes == layout().attributes
    assert dict(found.fields) == FIELDS
    assert found.metadata() == layout().metadata()
    assert not layout().differences(found)


def test_attributes_hold_the_description_and_the_numbers():
    attributes = layout().attributes
    assert attributes["recipe"] == {"name": "noise", "sizes": [48, 52]}
    assert {name: attributes[name] for name in SIZES} == SIZES
    assert attributes["versions"]["jax"] == jax.__version__


def test_an_image_is_a_chunk_and_small_fields_are_one():
    metadata = layout().metadata()
    chunks = {
        name: metadata[f"{name}/zarr.json"]["codecs"][0]["configuration"]["chunk_shape"]
        for name in FIELDS
    }
    assert chunks["image"] == [1, 48, 52]
    assert chunks["landmarks"] == [32, 3, 2]
    assert chunks["specimen"] == [32]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num": 0}, "num must be from 1 to 2147483647, got 0"),
        ({"seed": -1}, "seed must be from 0 to 2147483647, got -1"),
        ({"batch": 5}, "shard must be a multiple of batch, 5, got 32"),
        ({"fields": {}}, "at least one field"),
        ({"fields": {"a/b": FIELDS["mask"]}}, "letters, digits and _, got 'a/b'"),
        ({"fields": {"records": FIELDS["mask"]}}, "no field may be named 'records'"),
        (
            {"fields": {"image": jax.ShapeDtypeStruct((4, 4), jax.numpy.bfloat16)}},
            "'image' must be one of bool, .* got bfloat16; convert it",
        ),
        (
            {"fields": {"landmarks": jax.ShapeDtypeStruct((0, 2), np.float32)}},
            "'landmarks' must not be empty",
        ),
        ({"description": {"seed": 1}}, "must not name seed"),
        ({"description": {"recipe": np.ones(2)}}, "must be JSON"),
        ({"description": {"recipe": float("nan")}}, "must be JSON"),
    ],
)
def test_what_no_data_set_can_have_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        layout(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num": 71}, "num: 70 there, 71 here"),
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"batch": 4}, "batch: 8 there, 4 here"),
        ({"description": Noise("other").describe()}, "recipe.name: noise there, other"),
        (
            {"fields": {**FIELDS, "mask": FIELDS["image"]}},
            r"fields.mask: uint8 \(48, 52\) there, float32 \(48, 52\) here",
        ),
        (
            {"fields": {k: FIELDS[k] for k in ("image", "mask")}},
            r"fields.specimen: int32 \(\) there, nothing here",
        ),
    ],
)
def test_a_folder_of_another_data_set_is_refused(tmp_path, changed, message):
    prepared(tmp_path, layout())
    with pytest.raises(ValueError, match=f"another data set .*{message}.*empty folder"):
        prepared(tmp_path, layout(**changed))


def test_other_versions_are_another_data_set(tmp_path, monkeypatch):
    prepared(tmp_path, layout())
    monkeypatch.setattr(jax, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"versions.jax: .* there, 9.9 here"):
        prepared(tmp_path, layout())


def test_a_folder_of_other_things_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"no data set, it holds thesis.tex; give an"):
        prepared(tmp_path, layout())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="must be a folder"):
        prepared(tmp_path / "file", layout())


def test_metadata_that_is_lost_or_broken_is_put_right(tmp_path):
    prepared(tmp_path, layout())
    (tmp_path / "image" / "zarr.json").unlink()
    (tmp_path / "mask" / "zarr.json").write_text("{")
    prepared(tmp_path, layout())
    for path, metadata in layout().metadata().items():
        assert holds(tmp_path / path, metadata)


def test_a_header_that_was_changed_is_not_overwritten(tmp_path):
    prepared(tmp_path, layout())
    header = tmp_path / "zarr.json"
    changed = json.loads(header.read_text())
    changed["consolidated_metadata"]["metadata"]["image"]["codecs"] = []
    header.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="has been changed since"):
        prepared(tmp_path, layout())


def test_what_holds_no_data_set_is_not_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Layout.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no data set, it has no zarr.json"):
        Layout.read(tmp_path)
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(ValueError, match="not the header of a data set"):
        Layout.read(tmp_path)


def test_another_format_is_not_read(tmp_path):
    prepared(tmp_path, layout())
    header = tmp_path / "zarr.json"
    header.write_text(header.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match=r"format .*2.* this version reads .*1"):
        Layout.read(tmp_path)
