"""OpenCV, ITK's and DICOM's LPS world, and projection matrices of mirrored images."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import require_finite, require_shape
from synthex_jax.geometry import lie
from synthex_jax.geometry.camera import Camera, checked_shape
from synthex_jax.geometry.frames import RAS_FROM_LPS
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.typing import (
    ArrayLike,
    Matrix3,
    Pixels,
    Shape2,
    Twist,
    Vector3,
)

# -- OpenCV -------------------------------------------------------------------------


def to_opencv(camera: Camera) -> tuple[Matrix3, Vector3, Vector3]:
    """(K, rvec, tvec) for ``cv2.projectPoints`` and ``cv2.solvePnP``.

    OpenCV's camera frame and pixel centers are ours; it writes pixels as (column,
    row). The object points are in our world, RAS mm; for points in LPS pass
    ``camera_to_lps(camera)``. OpenCV ignores the skew K[0, 1].
    """
    pose = camera.camera_from_world
    return camera.K, lie.so3_log(pose.rotation), pose.translation


def from_opencv(
    K: ArrayLike, rvec: ArrayLike, tvec: ArrayLike, *, shape: Shape2, pitch: ArrayLike
) -> Camera:
    """The camera of OpenCV's (K, rvec, tvec), as ``cv2.solvePnP`` returns them.

    Args:
        K: (3, 3), pixels, acting on (x, y, z), pixel centers at integers.
        rvec: (3,) or (3, 1), rotation vector of camera from world, radians.
        tvec: (3,) or (3, 1), mm.
        shape: (rows, cols).
        pitch: mm, one number or (row, column).

    Raises:
        ValueError: as ``Camera.from_krt``. Lens distortion has no counterpart:
            undistort the image first (``cv2.undistort``).
    """
    rvec, tvec = (jnp.ravel(jnp.asarray(v, dtype=float)) for v in (rvec, tvec))
    require_shape("rvec", rvec, (3,))
    require_shape("tvec", tvec, (3,))
    require_finite("rvec", rvec)
    require_finite("tvec", tvec)
    pose = RigidTransform(lie.so3_exp(rvec), tvec)
    return Camera.from_krt(K, pose, shape=shape, pitch=pitch)


# -- LPS: DICOM and ITK ---------------------------------------------------------------


def camera_from_lps(camera: Camera) -> Camera:
    """A camera posed in a world of LPS mm (DICOM, ITK), posed in our RAS world.

    Points of the patient keep their pixels: ``camera.project(p)`` equals
    ``camera_from_lps(camera).project(frames.ras_from_lps(p))``. Voxel affines go
    through ``frames.ras_affine_from_lps``.
    """
    half_turn = RigidTransform.from_rotation(RAS_FROM_LPS[:3, :3])
    return replace(camera, world_from_camera=half_turn @ camera.world_from_camera)


def camera_to_lps(camera: Camera) -> Camera:
    """A camera of our RAS world, posed in LPS mm; inverse of camera_from_lps."""
    return camera_from_lps(camera)  # half a turn is its own inverse


def from_itk_euler(
    parameters: ArrayLike, *, center: ArrayLike = (0.0, 0.0, 0.0)
) -> RigidTransform:
    """ITK's Euler3DTransform, which acts on LPS points, as a transform of RAS points.

    ITK: p -> R (p - center) + center + t, with R = R_z R_x R_y (its default,
    ``ComputeZYX`` off). In a resampling or registration ITK's transform takes points
    of the fixed image to the moving one.

    Args:
        parameters: (6,), angles about x, y and z in radians, then t in LPS mm, in the
            order of ITK's ``GetParameters``.
        center: (3,), LPS mm, ITK's fixed parameters.
    """
    parameters = jnp.asarray(parameters, dtype=float)
    center = jnp.asarray(center, dtype=float)
    require_shape("parameters", parameters, (6,))
    require_shape("center", center, (3,))
    about_x, about_y, about_z = parameters[:3]
    turn = RigidTransform.from_euler("ZXY", jnp.stack([about_z, about_x, about_y]))
    shift = center - turn.rotate(center) + parameters[3:]
    return _exchange_lps(RigidTransform(turn.rotation, shift))


def to_itk_euler(
    transform: RigidTransform, *, center: ArrayLike = (0.0, 0.0, 0.0)
) -> Twist:
    """Parameters (6,) of ITK's Euler3DTransform; inverse of from_itk_euler.

    The angle about x is returned within -pi/2 and pi/2; at its ends the other two are
    not determined.
    """
    center = jnp.asarray(center, dtype=float)
    require_shape("center", center, (3,))
    lps = _exchange_lps(transform)
    r = lps.rotation
    angles = jnp.stack(
        [
            jnp.arctan2(r[2, 1], jnp.sqrt(r[2, 0] ** 2 + r[2, 2] ** 2)),
            jnp.arctan2(-r[2, 0], r[2, 2]),
            jnp.arctan2(-r[0, 1], r[1, 1]),
        ]
    )
    return jnp.concatenate([angles, lps.translation + r @ center - center])


def _exchange_lps(transform: RigidTransform) -> RigidTransform:
    signs = jnp.asarray(np.diag(RAS_FROM_LPS)[:3], transform.rotation.dtype)
    return RigidTransform(
        signs[:, None] * transform.rotation * signs, signs * transform.translation
    )


# -- mirrored images ------------------------------------------------------------------


def is_mirrored(P: ArrayLike, point: ArrayLike) -> bool:
    """Whether a projection matrix shows the body as its mirror image.

    P and -P give the same pixels, and so P alone does not say on which side of the
    source the body is. A point of the body does: if P images it mirrored, the camera
    of ``Camera.from_projection(P)`` looks away from the body, and
    ``from_mirrored_projection`` is the one to use. P is mirrored where images are
    stored as an observer at the detector sees them (most angiography and cone-beam
    devices), and where the camera's z axis points from detector to source (xReg).

    Args:
        P: (3, 4), world mm to (column, row, 1) times depth, of any scale and sign.
        point: (3,), world mm, inside the body, for example ``volume.center``.
    """
    P, point = np.asarray(P, dtype=float), np.asarray(point, dtype=float)
    require_shape("P", P, (3, 4))
    require_shape("point", point, (3,))
    require_finite("P", P)
    return bool(np.linalg.det(P[:, :3]) * (P[2, :3] @ point + P[2, 3]) < 0)


def from_mirrored_projection(
    P: ArrayLike, *, shape: Shape2, pitch: ArrayLike
) -> Camera:
    """The camera of a mirrored image with its columns reversed (``np.fliplr``).

    Args:
        P: (3, 4) projection matrix of the image as stored; see ``is_mirrored``.
        shape: (rows, cols).
        pitch: mm, one number or (row, column).

    Raises:
        ValueError: as ``Camera.from_projection``.
    """
    concrete = np.asarray(P, dtype=float)
    require_shape("P", concrete, (3, 4))
    last = checked_shape(shape)[1] - 1
    reverse = np.array([[-1.0, 0.0, last], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return Camera.from_projection(reverse @ concrete, shape=shape, pitch=pitch)


def mirrored(pixels: Pixels, shape: Shape2) -> Pixels:
    """Pixels (row, column) of an image after its columns are reversed."""
    return jnp.stack([pixels[..., 0], shape[1] - 1 - pixels[..., 1]], axis=-1)
