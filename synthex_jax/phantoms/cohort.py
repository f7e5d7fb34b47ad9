"""Cohorts: as many made-up patients as an experiment needs, by name and by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp

from synthex_jax.checks import require
from synthex_jax.phantoms.anatomy import LESIONS, Anatomy
from synthex_jax.phantoms.lesions import Lesions, with_lesions
from synthex_jax.phantoms.thorax import thorax
from synthex_jax.typing import ArrayLike, PRNGKey, Shape3
from synthex_jax.volumes.lungs import LEFT_LUNG

Patient = TypeVar("Patient")


def cohort(
    key: PRNGKey, number: int, make: Callable[[PRNGKey], Patient]
) -> Iterator[tuple[str, Patient]]:
    """Patients "phantom-01", "phantom-02", ..., one after another.

    Patient i, from 0, is ``make(fold_in(key, i))``: the same in a larger cohort, and
    none is made before it is asked for.

    Args:
        key: the cohort.
        number: of patients.
        make: ``pelvis``, ``thorax``, ``covid_thorax``, one of these on another grid
            (``functools.partial(pelvis, shape=..., spacing=...)``), or any function of
            a key.

    Raises:
        ValueError: for a number below 1.
    """
    require(number >= 1, f"number of patients must be at least 1, got {number}")
    return (
        (f"phantom-{i + 1:02d}", make(jax.random.fold_in(key, i)))
        for i in range(number)
    )


def covid_thorax(
    key: PRNGKey,
    *,
    shape: Shape3 = (192, 144, 176),
    spacing: ArrayLike = 2.0,
    lesions: Lesions | None = None,
) -> Anatomy:
    """A ``thorax`` with the lesions of COVID-19 in its lungs.

    Args:
        key: the patient and the lesions.
        shape: (nx, ny, nz) of the grid, centered on the world's origin.
        spacing: mm, one number or (x, y, z).
        lesions: how severe and of what kind; drawn by default.

    Returns:
        CT, labels, in which lesions have numbers of their own (``anatomy.LESIONS``),
        and the landmarks of ``thorax``.

    Raises:
        ValueError: for a shape or spacing that is no grid.
    """
    patient_key, lesion_key = jax.random.split(key)
    patient = thorax(patient_key, shape=shape, spacing=spacing)
    ct, kinds = with_lesions(lesion_key, patient.ct, patient.labels, lesions=lesions)
    labels = patient.labels.data
    is_left = labels == LEFT_LUNG
    for kind, (left, right) in enumerate(LESIONS.values(), start=1):
        side = jnp.where(is_left, left, right).astype(labels.dtype)
        labels = jnp.where(kinds.data == kind, side, labels)
    return replace(patient, ct=ct, labels=replace(patient.labels, data=labels))
