"""The frames the library speaks of, and the fixed turns between them.

=========  ==================================================================
voxel      array indices of a volume; integers are voxel centers
world      the patient in RAS+ millimeters, as nibabel
camera     origin at the X-ray source, +z to the detector, +x along columns,
           +y along rows; mm
pixel      (row, column); integers are pixel centers
=========  ==================================================================

RAS+ means that x *increases* towards the patient's right, y towards anterior, z
towards superior. DICOM and ITK use LPS: x increases towards left, y towards
posterior. The two differ by half a turn about the long axis.
"""

import jax.numpy as jnp
import numpy as np

from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Matrix4, Points

RIGHT = np.array([1.0, 0.0, 0.0])
ANTERIOR = np.array([0.0, 1.0, 0.0])
SUPERIOR = np.array([0.0, 0.0, 1.0])
LEFT, POSTERIOR, INFERIOR = -RIGHT, -ANTERIOR, -SUPERIOR

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Homogeneous (4, 4); its own inverse."""


def ras_from_lps(points: ArrayLike) -> Points:
    """Points or directions (..., 3) from LPS to RAS, or from RAS to LPS."""
    return jnp.asarray(points, dtype=float) * np.diag(RAS_FROM_LPS)[:3]


def ras_affine_from_lps(lps_from_voxel: ArrayLike) -> Matrix4:
    """A voxel affine that ends in LPS, as DICOM's and ITK's, made to end in RAS."""
    return jnp.asarray(RAS_FROM_LPS, float) @ jnp.asarray(lps_from_voxel, float)


def transform_points(matrix: Matrix4, points: Points) -> Points:
    """Points (..., 3) through a homogeneous affine matrix (4, 4)."""
    return product(points, matrix[:3, :3].T) + matrix[:3, 3]
