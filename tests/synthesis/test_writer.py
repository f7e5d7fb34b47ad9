"""Data sets are written, gone on with, and the same bytes however the work goes."""

import errno
import os
import pathlib
import shutil
import tracemalloc

import numpy as np
import pytest
import zarr

from synthex_jax.synthesis import shards
from synthex_jax.synthesis.writer import synthesize
from tests.synthesis.sources import FIELDS, Device, Noise, digests, example

SIZES = {"num": 21, "seed": 5, "batch": 4, "shard": 8}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    synthesize(Noise(), folder, **SIZES)
    return folder


def test_zarr_reads_what_the_source_made(whole):
    group = zarr.open_group(whole, mode="r")
    assert {name: array.dtype for name, array in group.arrays()} == {
        name: field.dtype for name, field in FIELDS.items()
    }
    assert group.attrs["recipe"]["name"] == "noise"
    for index in range(21):
        for name, value in example(5, index).items():
            np.testing.assert_array_equal(group[name][index], value, err_msg=name)
    for name in FIELDS:
        alone = zarr.open_array(whole / name, mode="r")
        np.testing.assert_array_equal(alone[:], group[name][:])
        assert alone.metadata.dimension_names[0] == "example"


def test_there_are_no_files_but_these(whole):
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*.*"))
    assert "records/00002.json" in names
    assert "image/c.2.0.0" in names
    assert len(names) == 1 + 5 + 3 * (1 + 5)


def test_the_report_counts(whole, tmp_path):
    report = synthesize(Noise(), tmp_path, **SIZES, part=(0, 2))
    assert (report.made, report.kept, report.left) == (13, 0, 8)
    again = synthesize(Noise(), tmp_path, **SIZES)
    assert (again.made, again.kept, again.left) == (8, 13, 0)
    shards = [path for path in tmp_path.rglob("c.*") if path.is_file()]
    assert report.bytes + again.bytes == sum(path.stat().st_size for path in shards)
    assert 0 <= report.waited < report.seconds
    assert report.bytes_per_example == report.bytes / 13
    assert synthesize(Noise(), whole, **SIZES).bytes_per_example == 0


def test_progress_comes_with_every_batch(tmp_path):
    seen = []
    synthesize(Noise(), tmp_path, **SIZES, progress=seen.append)
    assert [one.done for one in seen] == [4, 8, 12, 16, 20, 21]
    assert all(one.total == 21 and one.rate > 0 for one in seen)
    assert seen[-1].remaining == 0


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_parts_in_any_order_give_the_same_bytes(whole, tmp_path, order):
    for part in order:
        synthesize(Noise(), tmp_path, **SIZES, part=(part, 3))
    assert digests(tmp_path) == digests(whole)


def test_a_computed_source_is_written_as_it_computes(tmp_path):
    synthesize(Device(), tmp_path, num=10, batch=4, shard=4)
    images = zarr.open_array(tmp_path / "image", mode="r")[:]
    expected = Device().batch(0, np.arange(10))["image"]
    np.testing.assert_array_equal(images, expected)


def test_what_is_finished_stays(whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "copy")
    kept = copy / "image" / "c.0.0.0"
    before = kept.stat().st_mtime_ns
    (copy / "records" / "00001.json").unlink()
    assert synthesize(Noise(), copy, **SIZES).made == 8
    assert kept.stat().st_mtime_ns == before
    assert digests(copy) == digests(whole)


@pytest.mark.parametrize("harm", ["truncate", "delete", "record"])
def test_what_is_plainly_damaged_is_made_again(whole, tmp_path, harm):
    copy = shutil.copytree(whole, tmp_path / "copy")
    if harm == "truncate":
        os.truncate(copy / "mask" / "c.1.0.0", 100)
    elif harm == "delete":
        (copy / "landmarks" / "c.1.0.0").unlink()
    else:
        (copy / "records" / "00001.json").write_text('{"files": {}}')
    assert synthesize(Noise(), copy, **SIZES).made == 8
    assert digests(copy) == digests(whole)


def test_what_a_killed_process_left_is_swept_away(whole, tmp_path):
    for name in (".0123abcd-zarr.json", ".0123abce-x"):
        (tmp_path / name).write_text("ha")
    synthesize(Noise(), tmp_path, **SIZES, part=(0, 2))
    for name in ("image/.89abcdef-c.0.0.0", "records/.89abcdef-00000.json"):
        (tmp_path / name).write_text("ha")
    synthesize(Noise(), tmp_path, **SIZES)
    assert digests(tmp_path) == digests(whole)


@pytest.mark.parametrize("calls", range(1, 22, 4))
def test_stopped_before_any_rename_it_can_be_gone_on_with(
    whole, tmp_path, monkeypatch, calls
):
    replace, count = os.replace, iter(range(1, 100))

    def stopping(source, target):
        if next(count) == calls:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopping)
    with pytest.raises(KeyboardInterrupt):
        synthesize(Noise(), tmp_path, **SIZES)
    monkeypatch.undo()
    synthesize(Noise(), tmp_path, **SIZES)
    assert digests(tmp_path) == digests(whole)


def test_a_full_disk_is_told_and_gone_on_from(whole, tmp_path, monkeypatch):
    write, room = pathlib.Path.write_bytes, [40_000]

    def filling(path, data):
        room[0] -= len(data)
        if room[0] < 0:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", filling)
    with pytest.raises(OSError, match="free space there and rerun") as caught:
        synthesize(Noise(seconds=0.02), tmp_path, **SIZES)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path)
    done = len(list((tmp_path / "records").iterdir()))
    message = f"(No space left on device); {done} of 3 items are complete"
    assert message in str(caught.value)
    assert not list(tmp_path.rglob(".*"))
    synthesize(Noise(), tmp_path, **SIZES)
    assert digests(tmp_path) == digests(whole)


def test_errors_of_the_writer_come_up_before_the_work_is_done(tmp_path, monkeypatch):
    made = []

    class Counting(Noise):
        def batch(self, seed, indices):
            made.extend(indices)
            return super().batch(seed, indices)

    def broken(*args, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shards, "written_whole", broken)
    with pytest.raises(OSError, match=r"item 0 .*put that right and rerun"):
        synthesize(Counting(seconds=0.01), tmp_path, num=4000, batch=4, shard=4)
    assert len(made) < 400


def test_what_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"100 examples of .* kB .* 0.0001 GB are free"):
        synthesize(Noise(), tmp_path, num=100, batch=4, shard=8)
    assert not list(tmp_path.rglob("c.*.0.0"))
    # 10 examples of 10 kB or less do fit.
    assert synthesize(Noise(), tmp_path / "small", num=8, batch=4, shard=8).made == 8


class Wrong(Noise):
    """A source whose batches are not what its fields say."""

    def batch(self, seed, indices):
        batch = super().batch(seed, indices)
        if self.name == "type":
            batch["image"] = batch["image"].astype(np.float64)
        elif self.name == "shape":
            batch["image"] = batch["image"][:-1]
        elif self.name == "names":
            del batch["mask"]
        else:
            batch["landmarks"][indices == 13] = np.nan
        return batch


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("type", "'image' of type float32 .* got float64"),
        ("shape", r"shape \(4, 48, 52\), .* got float32 and \(3, 48, 52\)"),
        ("names", "must hold .*'mask'.* got"),
        ("nan", "'landmarks' must be finite, 1 examples of item 1 .* is number 13"),
    ],
)
def test_batches_that_are_not_as_announced_are_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        synthesize(Wrong(name), tmp_path, **SIZES)


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    def peak(num):
        tracemalloc.start()
        synthesize(Noise(), tmp_path / str(num), num=num, batch=2, shard=2)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # 15 more shards of 25 kB would be 0.38 MB.
    assert peak(40) < peak(10) + 150_000
