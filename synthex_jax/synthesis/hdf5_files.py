"""Reading HDF5 files with errors that say what was found and what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from synthex_jax.checks import require
from synthex_jax.files import existing, naming

Group: TypeAlias = Any
"""An h5py.File or Group, whose own annotation says only that anything may be in it."""


@contextmanager
def opened(path: str | Path) -> Iterator[Group]:
    """The file at a path, for reading; every ``ValueError`` of the block names it.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no HDF5 file, or cut short.
    """
    import h5py

    found = existing(path, "an HDF5 file (.h5)")
    with naming(path):
        require(found.is_file(), "must be an HDF5 file, it is a folder")
        require(h5py.is_hdf5(found), "is no HDF5 file")
        try:
            file = h5py.File(found, "r")
        except OSError as error:
            raise ValueError(
                f"cannot be read as HDF5 ({error}); was it copied in whole?"
            ) from error
        with file:
            yield file


def member(group: Group, path: str) -> Any:
    """What lies at a path under a group.

    Raises:
        ValueError: that says how far the path goes and what is there.
    """
    found, parts = group, path.split("/")
    for depth, part in enumerate(parts):
        if not holds(found, part):
            start = group.name.rstrip("/")
            above = "/".join([start, *parts[:depth]]) or "/"
            raise ValueError(
                f"must hold {start}/{path}; under {above} there is {listed(found)}"
            )
        found = found[part]
    return found


def array(group: Group, path: str) -> np.ndarray:
    """The values of the data set at a path under a group.

    Raises:
        ValueError: as ``member``, and for a group in its place.
    """
    found = member(group, path)
    require(
        not hasattr(found, "keys"),
        f"{getattr(found, 'name', path)} must be a data set, it is a group of "
        f"{listed(found)}",
    )
    return np.asarray(found[()])


def number(group: Group, path: str) -> float:
    """A number that is stored alone or in an array of one."""
    return float(array(group, path).ravel()[0])


def text(group: Group, path: str) -> str:
    """A string that is stored as bytes or as a string, alone or in an array of one."""
    value = array(group, path).ravel()[0]
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def holds(group: Any, *names: str) -> bool:
    """Whether this is a group, no data set, with members of these names."""
    return hasattr(group, "keys") and all(name in group for name in names)


def listed(group: Any) -> list[str]:
    """Up to ten of the names in a group, for errors; none for a data set."""
    keys = list(group.keys()) if hasattr(group, "keys") else []
    return keys if len(keys) <= 10 else [*keys[:10], "..."]
