"""Positioner angles of DICOM X-ray angiography (XA), to a camera and back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import ANTERIOR, INFERIOR, RIGHT
from synthex_jax.geometry.transform import RigidTransform, axis_rotation
from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Scalar, Shape2

# At zero angles the source lies behind the patient and the detector in front.
_WORLD_FROM_CAMERA_ZERO = np.stack([RIGHT, INFERIOR, ANTERIOR], axis=1)


def from_dicom_angles(
    primary: ArrayLike,
    secondary: ArrayLike,
    *,
    source_to_detector: ArrayLike,
    source_to_patient: ArrayLike,
    pitch: ArrayLike,
    shape: Shape2,
    isocenter: ArrayLike = (0.0, 0.0, 0.0),
) -> Camera:
    """The camera of an XA image from its positioner angles.

    DICOM PS3.3 C.8.7.5: at zero the detector is in front of the patient and the
    source behind; a positive primary angle moves the *detector* to the patient's left
    (LAO), a positive secondary angle towards the head (CRAN). The secondary axis is
    carried by the primary rotation (PS3.17 Annex Z.2), so that the two angles are a
    longitude and a latitude of the detector.

    Our image is what the source sees. XA images are shown as an observer facing the
    patient sees them, the patient's left on the right: reverse the columns of the
    stored pixels (``np.fliplr``) to compare.

    Args:
        primary: radians, Positioner Primary Angle (0018,1510) times pi / 180.
        secondary: radians, Positioner Secondary Angle (0018,1511) times pi / 180.
        source_to_detector: mm, (0018,1110).
        source_to_patient: mm to the isocenter, (0018,1111).
        pitch: mm on the detector, Imager Pixel Spacing (0018,1164), (row, column).
        shape: (rows, cols), (0028,0010) and (0028,0011).
        isocenter: (3,), world mm.

    Raises:
        ValueError: for distances, pitch or shape that are not positive, and for a
            patient beyond the detector.
    """
    isocenter = jnp.asarray(isocenter, dtype=float)
    require_shape("isocenter", isocenter, (3,))
    require_finite("isocenter", isocenter)
    distance = jnp.asarray(source_to_patient, dtype=float)
    require_positive("source_to_patient", distance, "mm")
    detector = jnp.asarray(source_to_detector, dtype=float)
    if is_concrete(distance, detector):
        require(
            bool(distance < detector),
            "source_to_patient must be below source_to_detector, got "
            f"{distance} and {detector} mm; are the two exchanged?",
        )
    turn = product(axis_rotation("z", primary), axis_rotation("x", secondary))
    rotation = product(turn, _WORLD_FROM_CAMERA_ZERO)
    return Camera.create(
        RigidTransform(rotation, isocenter - rotation[:, 2] * distance),
        source_to_detector=detector,
        pitch=pitch,
        shape=shape,
    )


def to_dicom_angles(camera: Camera) -> tuple[Scalar, Scalar]:
    """Positioner angles (primary, secondary) of a camera's line of sight, radians.

    Primary is within -pi and pi, secondary within -pi/2 and pi/2, as DICOM has them.
    The roll about the central ray has no place in the two angles and is left out. At
    a secondary angle of +-pi/2 the primary one is arbitrary.
    """
    right, anterior, superior = camera.principal_direction
    primary = jnp.arctan2(-right, anterior)
    return primary, jnp.arctan2(superior, jnp.sqrt(right**2 + anterior**2))
