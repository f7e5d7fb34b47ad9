"""Fixtures that all tests share."""

import os
import pathlib

import jax
import numpy as np
import pytest

# Where Linux lists a process's memory maps, and half of what it allows by default.
_MAPS, _MANY = pathlib.Path("/proc/self/maps"), 30_000


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Compiled programs take maps of memory; where none are left XLA aborts."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY:
        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Real CTs and X-rays kept beside the repository; tests of them skip elsewhere."""
    return _shared() / "data"


@pytest.fixture(scope="session")
def shared_reference() -> pathlib.Path:
    """Results of other renderers kept beside the repository."""
    return _shared() / "reference"


def _shared() -> pathlib.Path:
    default = pathlib.Path(__file__).parents[2] / "shared"
    folder = pathlib.Path(os.environ.get("SYNTHEX_SHARED", default))
    if not folder.is_dir():
        pytest.skip("the shared material is not here; name it in $SYNTHEX_SHARED")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    """Double precision for the length of a test."""
    with jax.enable_x64(True):
        yield
