"""Bodies made from formulas and from keys, for tests and where there is no CT."""

from synthex_jax.phantoms.analytic import Box, Ellipsoid, Gaussian
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS, LABELS, Anatomy
from synthex_jax.phantoms.cohort import cohort, covid_thorax
from synthex_jax.phantoms.lesions import Lesions, with_lesions
from synthex_jax.phantoms.pelvis import pelvis
from synthex_jax.phantoms.thorax import thorax

__all__ = [
    "HIP_LANDMARKS",
    "LABELS",
    "Anatomy",
    "Box",
    "Ellipsoid",
    "Gaussian",
    "Lesions",
    "cohort",
    "covid_thorax",
    "pelvis",
    "thorax",
    "with_lesions",
]
