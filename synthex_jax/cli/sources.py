"""CTs by path or by name."""

from __future__ import annotations

from pathlib import Path

import jax

from synthex_jax import phantoms
from synthex_jax.checks import require
from synthex_jax.phantoms.anatomy import Anatomy
from synthex_jax.typing import PRNGKey
from synthex_jax.volumes.io import read_volume
from synthex_jax.volumes.volume import Volume

# Mm: that of the phantoms' default grids, for one shape of both compiles once.
_FIELD_OF_VIEW = (416, 288, 352)

PHANTOMS = ("phantom-pelvis", "phantom-thorax")


def read_ct(name: str) -> Volume:
    """A CT in HU: a path, a sample's name or a phantom's.

    A path that exists goes before a phantom of the same name.

    Raises:
        FileNotFoundError, ValueError: as ``volumes.io.read_volume``.
    """
    if name.startswith("phantom-") and not Path(name).exists():
        require(
            name in PHANTOMS,
            f"CT must be a path, a sample or one of {', '.join(PHANTOMS)}, got {name}",
        )
        return phantom(name).ct
    return read_volume(name)


def phantom(name: str, *, spacing: float = 2.0, key: PRNGKey | None = None) -> Anatomy:
    """One of the built-in patients.

    Args:
        name: one of ``PHANTOMS``.
        spacing: mm a voxel; the field of view stays.
        key: another key, another patient; the same one by default.
    """
    make = {"phantom-pelvis": phantoms.pelvis, "phantom-thorax": phantoms.thorax}[name]
    nx, ny, nz = (round(mm / spacing) for mm in _FIELD_OF_VIEW)
    key = jax.random.key(0) if key is None else key
    return make(key, shape=(nx, ny, nz), spacing=spacing)
