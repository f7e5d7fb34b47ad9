"""Killed at any time and started again, it ends in the same bytes."""

import multiprocessing
import shutil

import numpy as np
import pytest

from synthex_jax.synthesis.writer import synthesize
from tests.synthesis.sources import Noise, digests

SIZES = {"num": 30, "seed": 5, "batch": 2, "shard": 4}
KILLS = 20


def run(folder, part):
    synthesize(Noise(seconds=0.002), folder, **SIZES, part=part)


@pytest.fixture(scope="module")
def context():
    """Processes that start warm, with everything imported."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.synthesis.test_kill", "tensorstore"])
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder, (0, 1))
    return digests(folder)


def test_killed_twenty_times_it_ends_in_the_same_bytes(context, expected, tmp_path):
    rng, folder, kills = np.random.default_rng(0), tmp_path / "hip", 0
    while kills < KILLS:
        process = context.Process(target=run, args=(folder, (0, 1)))
        process.start()
        # An uninterrupted run takes some 0.25 s, of them 0.1 s to begin.
        process.join(rng.uniform(0.0, 0.2))
        process.kill()
        process.join()
        kills += process.exitcode != 0
        if process.exitcode == 0:
            assert digests(folder) == expected
            shutil.rmtree(folder)
    run(folder, (0, 1))
    assert digests(folder) == expected


def test_processes_may_share_the_work(context, expected, tmp_path):
    folder = tmp_path / "hip"
    processes = [context.Process(target=run, args=(folder, (i, 3))) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert digests(folder) == expected
