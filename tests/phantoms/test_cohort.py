"""Cohorts: names, keys, and how much patients differ."""

import jax
import numpy as np
import pytest

from synthex_jax.phantoms import LABELS, cohort, covid_thorax, pelvis, thorax
from synthex_jax.phantoms.anatomy import LESIONS
from synthex_jax.phantoms.lesions import Lesions

TINY = {"shape": (26, 18, 22), "spacing": 16.0}


def test_names_and_keys():
    key = jax.random.key(7)
    six = list(cohort(key, 6, jax.random.normal))
    assert [name for name, _ in six] == [f"phantom-{i:02d}" for i in range(1, 7)]
    drawn = [float(patient) for _, patient in six]
    assert len(set(drawn)) == 6
    assert drawn[2] == float(jax.random.normal(jax.random.fold_in(key, 2)))
    # Nobody changes in a smaller cohort.
    assert float(next(cohort(key, 1, jax.random.normal))[1]) == drawn[0]


def test_patients_are_made_when_they_are_asked_for():
    made = []
    patients = cohort(jax.random.key(0), 1000, made.append)
    next(patients)
    assert len(made) == 1


def test_patients_differ_as_people_do():
    """Distances of 200 adults' CTs (doi:10.1007/s00256-009-0791-x).

    Between the anterior superior iliac spines 227 +- 16 mm, between the femoral heads'
    centers 160 +- 8 mm; other populations' hips are wider, by 10 to 20 mm.
    """
    # Of the landmarks alone: nothing is painted.
    landmarks = jax.jit(lambda key: pelvis(key, **TINY).landmarks)
    bodies = [marks for _, marks in cohort(jax.random.key(1), 24, landmarks)]

    def apart(name):
        pairs = [(b[f"{name}-r"], b[f"{name}-l"]) for b in bodies]
        return np.array([float(np.linalg.norm(a - b)) for a, b in pairs])

    spines, heads = apart("ASIS"), apart("FH")
    assert (spines > 227 - 3 * 16).all()
    assert (spines < 227 + 3 * 16 + 20).all()
    assert (heads > 160 - 3 * 8).all()
    assert (heads < 160 + 3 * 8 + 20).all()
    # Half of the published spread, at least.
    assert spines.std() > 8
    assert heads.std() > 4
    # Pelvic tilt: the angle of the anterior plane (spines and symphysis) to the table;
    # in supine adults it has a standard deviation of about 6 degrees.
    tilts = []
    for body in bodies:
        spine = (body["ASIS-l"] + body["ASIS-r"]) / 2
        pubis = (body["SPS-l"] + body["SPS-r"]) / 2
        tilts.append(np.rad2deg(np.arctan2(*(spine - pubis)[1:])))
    assert 2 < np.std(tilts) < 12


def test_a_chest_with_lesions():
    key = jax.random.key(4)
    grid = {"shape": (96, 72, 88), "spacing": 4.0}
    ill = covid_thorax(key, **grid, lesions=Lesions.create(0.2, consolidated=0.5))
    healthy = thorax(jax.random.split(key)[0], **grid)
    ids = [label for pair in LESIONS.values() for label in pair]
    assert {LABELS[label] for label in ids} == {
        f"{kind}_{side}"
        for kind in ("ground_glass", "consolidation")
        for side in ("left", "right")
    }
    before, after = (np.asarray(body.labels.data) for body in (healthy, ill))
    for label in ids:
        place = after == label
        assert place.any()
        assert (before[place] == (10 if label % 2 else 12)).all()
    changed = np.isin(after, ids)
    np.testing.assert_array_equal(after[~changed], before[~changed])
    share = changed.sum() / np.isin(before, (10, 12)).sum()
    assert share == pytest.approx(0.2, abs=1e-4)
    assert set(ill.landmarks) == set(healthy.landmarks)


def test_refuses_an_empty_cohort():
    with pytest.raises(ValueError, match="number of patients must be at least 1"):
        cohort(jax.random.key(0), 0, pelvis)
