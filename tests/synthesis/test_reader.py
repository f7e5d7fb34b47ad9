"""Data sets are read by example, by batch and by shuffled epochs."""

import json
import pickle
import shutil

import numpy as np
import pytest

from synthex_jax.synthesis.examples import Examples
from synthex_jax.synthesis.reader import Dataset
from synthex_jax.synthesis.writer import synthesize
from tests.synthesis.sources import FIELDS, Noise, example

SIZES = {"num": 41, "seed": 5, "batch": 4, "shard": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("whole")
    synthesize(Noise(), found, **SIZES)
    return found


@pytest.fixture
def dataset(folder):
    return Dataset.open(folder)


def assert_example(found, number):
    for name, value in example(5, number).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == FIELDS[name].dtype


def numbers(batch):
    """The numbers of a batch's examples, by their noise."""
    known = {example(5, n)["landmarks"].tobytes(): n for n in range(41)}
    return [known[one.tobytes()] for one in batch["landmarks"]]


def test_every_example_is_what_was_made(dataset):
    assert isinstance(dataset, Examples)
    assert len(dataset) == 41
    assert dataset.fields == FIELDS
    assert dataset.attributes["names"] == ["a", "b"]
    for number, found in enumerate(dataset):
        assert_example(found, number)
    assert_example(dataset[-1], 40)
    with pytest.raises(IndexError, match="index 41 is out of range for 41 examples"):
        dataset[41]


def test_a_batch_keeps_the_order_asked_for(dataset):
    batch = dataset.batch([40, 3, 3, 17])
    assert numbers(batch) == [40, 3, 3, 17]
    assert batch["image"].shape == (4, 48, 52)
    assert dataset.batch([])["image"].shape == (0, 48, 52)
    with pytest.raises(IndexError):
        dataset.batch([41])
    with pytest.raises(ValueError, match=r"whole numbers, got bool; np.flatnonzero"):
        dataset.batch(np.ones(41, bool))


def test_columns_and_specimens(dataset):
    np.testing.assert_array_equal(dataset.column("specimen"), np.arange(41) // 10)
    chosen = dataset.where(specimen=[1, 4])
    assert chosen.tolist() == [*range(10, 20), 40]
    held_out = dataset.subset(chosen)
    assert len(held_out) == 11
    assert_example(held_out[10], 40)
    assert held_out.where(specimen=4).tolist() == [10]
    assert numbers(held_out.subset([10, 0]).batch([1, 0])) == [10, 40]
    with pytest.raises(ValueError, match=r"one number an example, .* shape"):
        dataset.where(image=0)
    with pytest.raises(
        ValueError, match=r"name must be one of .*specimen.* got 'knee'"
    ):
        dataset.column("knee")


def test_an_epoch_has_each_example_once_and_the_next_another_order(dataset):
    dataset = dataset.subset(range(40))
    batches = dataset.epochs(batch=8, seed=1)
    first = [n for _ in range(5) for n in numbers(next(batches))]
    second = [n for _ in range(5) for n in numbers(next(batches))]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert first != sorted(first)
    other = next(dataset.epochs(batch=8, seed=2))
    assert numbers(other) != first[:8]


def test_what_does_not_fill_a_batch_is_left_out(dataset):
    batches = dataset.epochs(batch=20)
    seen = [n for _ in range(2) for n in numbers(next(batches))]
    assert len(set(seen)) == 40


@pytest.mark.parametrize("step", [0, 3, 5, 7])
def test_a_state_goes_on_exactly(dataset, step):
    batches = dataset.epochs(batch=8, seed=1)
    expected = [numbers(next(batches)) for _ in range(12)]
    batches = dataset.epochs(batch=8, seed=1)
    for _ in range(step):
        next(batches)
    state = json.loads(json.dumps(batches.state()))
    again = dataset.epochs(batch=8, seed=1, state=state)
    assert [numbers(next(again)) for _ in range(12 - step)] == expected[step:]


def test_a_state_of_other_batches_is_refused(dataset):
    state = dataset.epochs(batch=8, seed=1).state()
    for other in (
        lambda: dataset.epochs(batch=4, seed=1, state=state),
        lambda: dataset.epochs(batch=8, seed=2, state=state),
        lambda: dataset.subset(range(1, 41)).epochs(batch=8, seed=1, state=state),
        lambda: dataset.subset(range(40)).epochs(batch=8, seed=1, state=state),
    ):
        with pytest.raises(ValueError, match="state must be of the same batches"):
            other()
    with pytest.raises(ValueError, match="state must hold a step"):
        dataset.epochs(batch=8, seed=1, state={**state, "step": -1})
    with pytest.raises(ValueError, match=r"batch must be from 1 to .*, 41, got 42"):
        dataset.epochs(batch=42)


def test_an_unfinished_data_set_is_refused_or_taken_as_it_is(tmp_path):
    synthesize(Noise(), tmp_path, **SIZES, part=(1, 3))
    with pytest.raises(ValueError, match=r"not finished, 16 of 41 examples .* rerun"):
        Dataset.open(tmp_path)
    partial = Dataset.open_partial(tmp_path)
    assert len(partial) == 16
    assert_example(partial[0], 8)
    assert_example(partial[8], 32)
    for record in (tmp_path / "records").iterdir():
        record.unlink()
    with pytest.raises(ValueError, match="no finished examples yet"):
        Dataset.open_partial(tmp_path)


def test_damage_is_an_error_and_no_image(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    shard = copy / "image" / "c.1.0.0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    (copy / "mask" / "c.0.0.0").unlink()
    dataset = Dataset.open(copy)
    for index in (0, 12):
        with pytest.raises(ValueError, match="copy is damaged, verify says where"):
            dataset[index]
    assert_example(dataset[20], 20)
    (copy / "image" / "zarr.json").unlink()
    with pytest.raises(ValueError, match="copy is damaged, verify says where"):
        Dataset.open(copy)


def test_a_data_set_can_be_pickled(dataset):
    copy = pickle.loads(pickle.dumps(dataset.subset([7])))
    assert_example(copy[0], 7)
