"""A body in a file, and the command line run in this process."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import nibabel
import numpy as np
import pytest

from synthex_jax.cli import main


class Result(NamedTuple):
    code: int
    out: str
    error: str


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """Runs ``synthex`` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def _run(*arguments: object) -> Result:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return _run


@pytest.fixture
def ct(tmp_path_factory) -> pathlib.Path:
    """A box of water 80 x 120 x 100 mm in air, with a dense ball to its left."""
    shape, spacing = (30, 40, 25), np.array([4.0, 4.0, 5.0])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[5:25, 5:35, 3:23] = 0
    hu[7:10, 18:22, 14:17] = 1500
    path = tmp_path_factory.mktemp("ct") / "box.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu, affine), path)
    return path
