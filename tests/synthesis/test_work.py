"""How the work is divided."""

import subprocess
import sys

import numpy as np
import pytest

from synthex_jax.synthesis.layout import Layout
from synthex_jax.synthesis.work import Source, batches, own_items, spread
from tests.synthesis.sources import FIELDS, Device, Noise

LAYOUT = Layout.create({}, FIELDS, num=70, seed=0, batch=8, shard=16)


def test_sources_are_sources():
    assert isinstance(Noise(), Source)
    assert isinstance(Device(), Source)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_cover_the_items_once(count):
    parts = [item for i in range(count) for item in own_items(LAYOUT, (i, count))]
    assert sorted(parts) == list(range(5))


def test_alone_a_process_makes_all():
    assert list(own_items(LAYOUT, None)) == list(range(5))


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_impossible_parts_are_refused(part):
    with pytest.raises(ValueError, match=r"part must be \(i, n\)"):
        own_items(LAYOUT, part)


def test_batches_are_equal_and_go_beyond_the_end():
    numbers = np.concatenate([list(batches(LAYOUT, item)) for item in range(5)])
    assert numbers.shape == (9, 8)
    np.testing.assert_array_equal(numbers.ravel(), np.arange(72))


def test_one_device_has_all():
    np.testing.assert_array_equal(spread(np.arange(8)), np.arange(8))


TWO_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
from synthex_jax.synthesis.work import spread
even, odd = spread(np.arange(8)), spread(np.arange(7))
squares = jax.jit(jax.vmap(lambda i: i * i))(even)
assert len(squares.sharding.device_set) == 2, squares.sharding
assert len(odd.sharding.device_set) == 1, odd.sharding
np.testing.assert_array_equal(squares, np.arange(8) ** 2)
"""


def test_several_devices_share_a_batch():
    subprocess.run([sys.executable, "-c", TWO_DEVICES], check=True)
