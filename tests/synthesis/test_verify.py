"""Damage is found, named, and mended by a rerun."""

import os
import shutil

import pytest

from synthex_jax.synthesis.records import forget
from synthex_jax.synthesis.verify import verify
from synthex_jax.synthesis.writer import synthesize
from tests.synthesis.sources import Noise, digests

SIZES = {"num": 21, "seed": 5, "batch": 4, "shard": 8}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    synthesize(Noise(), folder, **SIZES)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def test_a_whole_data_set_is_whole(whole):
    seen = []
    verdict = verify(whole, progress=lambda done, total: seen.append((done, total)))
    assert verdict.is_whole
    assert not verdict.unknown
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_single_byte_is_found_and_mended(whole, copy):
    shard = copy / "image" / "c.1.0.0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    verdict = verify(copy)
    assert not verdict.is_whole
    assert verdict.damaged == {"image/c.1.0.0": "has not the bytes that were written"}
    assert verdict.damaged_items == (1,)
    forget(copy, verdict.damaged_items)
    assert verify(copy).missing == (1,)
    assert synthesize(Noise(), copy, **SIZES).made == 8
    assert verify(copy).is_whole
    assert digests(copy) == digests(whole)


def test_truncated_missing_and_unreadable_files_are_named(copy):
    size = (copy / "mask" / "c.0.0.0").stat().st_size
    os.truncate(copy / "mask" / "c.0.0.0", 100)
    (copy / "visible" / "c.2.0").unlink()
    (copy / "records" / "00001.json").write_text("{")
    (copy / "image" / "zarr.json").write_text("{}")
    (copy / "image" / ".0123abcd-c.0.0.0").write_text("half")
    verdict = verify(copy)
    assert verdict.damaged == {
        "mask/c.0.0.0": f"has 100 bytes, not {size}",
        "visible/c.2.0": "is missing",
        "image/zarr.json": "is not the metadata that the header implies",
    }
    assert verdict.damaged_items == (0, 2)
    assert verdict.missing == (1,)
    assert verdict.unknown == ("image/.0123abcd-c.0.0.0",)


def test_only_items_that_there_are_can_be_forgotten(copy):
    with pytest.raises(ValueError, match="items must be from 0 to 2, got 3"):
        forget(copy, [0, 3])
    assert verify(copy).is_whole
