import csv
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import synthex_jax as sx
from synthex_jax.cli.demo_steps import STEPS
from synthex_jax.cli.stage import Stage
from synthex_jax.phantoms.anatomy import Anatomy


@pytest.fixture
def stage(tmp_path, rng) -> Stage:
    """Soft balls in a box: enough structure to find a pose by, made in no time."""
    x = np.moveaxis(np.indices((30, 26, 28)), 0, -1) * 10.0
    data = np.full(x.shape[:3], 0.0)
    for center in rng.uniform(80, 190, (8, 3)):
        data += 0.02 * np.exp(-np.sum((x - center) ** 2, -1) / (2 * 25.0**2))
    body = sx.Volume.from_array(data.astype(np.float32), spacing=10.0)
    ct = sx.Volume(1000 * (body.data / 0.02 - 1), body.affine)
    bones = [78, 77, 30, 25, 75, 76]
    labels = np.asarray(bones, np.uint8)[np.indices(body.shape).sum(0) // 8 % 6]
    names = sx.phantoms.HIP_LANDMARKS
    points = body.center + jnp.asarray(rng.uniform(-50, 50, (14, 3)), jnp.float32)
    landmarks = dict(zip(names, points, strict=True))
    patient = Anatomy(ct, sx.Volume.from_array(labels, body.affine), landmarks)
    return Stage(tmp_path, 32, patient, pelvis=body, thorax=body)


BY_TITLE = {step.title: step for step in STEPS}


# The registration, which takes longest to compile, runs in the whole demo below.
@pytest.mark.parametrize("title", sorted(set(BY_TITLE) - {"a registration"}))
def test_each_step_writes_what_it_names(title, stage):
    outcome = BY_TITLE[title].run(stage)
    assert outcome.files or outcome.rows
    assert sorted(outcome.files) == sorted(stage.out.iterdir())
    for path in outcome.files:
        if path.is_dir():
            continue
        assert shows_something(path)
    assert all(np.isfinite(row.value) for row in outcome.rows)


def test_errors_are_as_small_as_they_should_be(stage):
    rows = BY_TITLE["errors where the answer is known"].run(stage).rows
    plain, prefiltered, derivative, adjoint = (row.value for row in rows)
    # Linear interpolation widens a Gaussian's variance of 9 voxels by up to 1/6 across
    # two axes; the prefilter leaves the fourth order.
    assert plain < 0.02
    assert prefiltered < 2e-3
    # Central differences in float64, and float32 sums: rounding, both.
    assert derivative < 1e-6
    assert adjoint < 1e-6


def test_refuses_sizes_that_show_nothing(run, tmp_path):
    result = run("demo", "--size", 4)
    assert result.code == 2
    assert "--size must be at least 32" in result.error
    assert run("demo", "--spacing", 0.1).code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_whole_demo(run, tmp_path):
    result = run("demo", "--out", "shown", "--size", 32, "--spacing", 10)
    assert result.code == 0, result.error
    names = {path.name for path in (tmp_path / "shown").iterdir()}
    assert {"radiographs.png", "tiers.png", "sweep.gif", "registration.gif"} <= names
    assert "table.csv" in names
    assert all(name in result.out for name in names)
    with open(tmp_path / "shown" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"what", "value", "unit"} == set(rows[0])
    found = {row["what"]: float(row["value"]) for row in rows}
    assert found["registration: landmarks off at the start (mTRE)"] > 20
    # Pixels of 7 mm and voxels of 10 mm: a quarter of a pixel.
    assert found["registration: off at the end, in plane"] < 1.8
    assert all(np.isfinite(value) for value in found.values())
    for name in ("registration.png", "registration.gif"):
        assert shows_something(tmp_path / "shown" / name)


def shows_something(path: pathlib.Path) -> bool:
    with Image.open(path) as picture:
        return bool(np.asarray(picture.convert("L")).std() > 5)
