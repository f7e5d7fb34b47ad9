"""Batches made as training asks for them."""

import json
from itertools import islice

import numpy as np
import pytest

from synthex_jax.synthesis.live import live
from synthex_jax.synthesis.reader import Dataset
from synthex_jax.synthesis.writer import synthesize
from tests.synthesis.sources import Device, Noise


def test_batches_are_what_would_be_written(tmp_path):
    synthesize(Noise(), tmp_path, num=12, seed=3, batch=4, shard=4)
    written = Dataset.open(tmp_path)
    for step, batch in enumerate(islice(live(Noise(), seed=3, batch=6), 2)):
        expected = written.batch(range(6 * step, 6 * step + 6))
        for name, values in batch.items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_the_next_batch_is_begun_before_one_is_handed_out():
    begun = []

    class Watched(Device):
        def batch(self, seed, indices):
            begun.append(int(indices[0]))
            return super().batch(seed, indices)

    batches = live(Watched(), batch=4)
    next(batches)
    assert begun == [0, 4]
    next(batches)
    assert begun == [0, 4, 8]


def test_a_state_goes_on_exactly():
    batches = live(Device(), seed=1, batch=4)
    expected = [next(batches)["image"] for _ in range(4)]
    batches = live(Device(), seed=1, batch=4)
    next(batches)
    state = json.loads(json.dumps(batches.state()))
    again = live(Device(), seed=1, batch=4, state=state)
    for images in expected[1:]:
        np.testing.assert_array_equal(next(again)["image"], images)


def test_an_error_leaves_the_place_where_it_was():
    class Failing(Device):
        def batch(self, seed, indices):
            if indices[0] == 4 and fail:
                raise RuntimeError("lost the device")
            return super().batch(seed, indices)

    fail = True
    batches = live(Failing(), batch=4)
    with pytest.raises(RuntimeError, match="lost"):
        next(batches)
    assert batches.state()["step"] == 0
    fail = False
    np.testing.assert_array_equal(
        next(batches)["image"], Device().batch(0, np.arange(4))["image"]
    )


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        live(Device(), batch=0)
    state = live(Device(), batch=4).state()
    with pytest.raises(ValueError, match="state must be of the same batches"):
        live(Device(), batch=8, state=state)
