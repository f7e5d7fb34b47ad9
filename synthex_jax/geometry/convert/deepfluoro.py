"""Cameras of the DeepFluoro data set and of xReg, which made it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.geometry.camera import Camera, checked_shape
from synthex_jax.geometry.convert.matrices import camera_from_lps, camera_to_lps
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.typing import ArrayLike, Matrix3, Matrix4, Shape2


def from_deepfluoro(
    intrinsic: ArrayLike,
    extrinsic: ArrayLike,
    cam_to_volume: ArrayLike,
    *,
    shape: Shape2,
    pitch: ArrayLike,
    rot_180: bool = False,
) -> Camera:
    """The camera of a DeepFluoro image with its columns reversed (``np.fliplr``).

    xReg's camera frame has +z from the detector to the *source* and x and y along
    columns and rows, so that its focal lengths are negative, what it sees has z < 0,
    and the pixel is u = cx + f x / |z|. A right-handed frame with these axes sees the
    body from the detector's side: the stored image is the mirror image of what the
    source sees. Volumes are in LPS mm; the camera returned is in our RAS world.

    Args:
        intrinsic: (3, 3), ``proj-params/intrinsic``, pixel centers at integers.
        extrinsic: (4, 4), ``proj-params/extrinsic``.
        cam_to_volume: (4, 4), ``gt-poses/cam-to-pelvis-vol`` and the like;
            extrinsic @ inverse(cam_to_volume) takes LPS points to xReg's camera.
        shape: (rows, cols).
        pitch: mm, one number or (row, column).
        rot_180: whether the image at hand was turned by half a turn after reading,
            as ``rot-180-for-up`` asks for; False for the image as stored.

    Raises:
        ValueError: for focal lengths that are not negative, matrices that are not
            rigid, and as ``Camera.from_krt``.
    """
    intrinsic = jnp.asarray(intrinsic, dtype=float)
    require_shape("intrinsic", intrinsic, (3, 3))
    require_finite("intrinsic", intrinsic)
    if is_concrete(intrinsic):
        require(
            bool((intrinsic[0, 0] < 0) & (intrinsic[1, 1] < 0)),
            "intrinsic must have negative focal lengths, z pointing to the source, got "
            f"{intrinsic[0, 0]:.6g} and {intrinsic[1, 1]:.6g}; positive ones are for "
            "Camera.from_krt",
        )
    theirs_from_lps = (
        RigidTransform.from_matrix(extrinsic)
        @ RigidTransform.from_matrix(cam_to_volume).inverse
    )
    camera = Camera.from_krt(
        _reversed_intrinsic(intrinsic, checked_shape(shape), rot_180),
        _half_turn(rot_180) @ theirs_from_lps,
        shape=shape,
        pitch=pitch,
    )
    return camera_from_lps(camera)


def to_deepfluoro(
    camera: Camera, extrinsic: ArrayLike, *, rot_180: bool = False
) -> tuple[Matrix3, Matrix4]:
    """(intrinsic, cam_to_volume) of a camera; inverse of from_deepfluoro.

    Args:
        camera: in our RAS world; its image has the columns of theirs reversed.
        extrinsic: (4, 4), the ``proj-params/extrinsic`` to go with the result.
        rot_180: as in from_deepfluoro.
    """
    camera = camera_to_lps(camera)
    lps_from_theirs = camera.world_from_camera @ _half_turn(rot_180)
    cam_to_volume = lps_from_theirs @ RigidTransform.from_matrix(extrinsic)
    intrinsic = _reversed_intrinsic(camera.K, camera.shape, rot_180)
    return intrinsic, cam_to_volume.matrix


def _reversed_intrinsic(K: Matrix3, shape: Shape2, rot_180: bool) -> Matrix3:
    """K with focal lengths negated and columns (or, turned, rows) counted backwards."""
    row, col = K[1, 2], K[0, 2]
    row, col = (shape[0] - 1 - row, col) if rot_180 else (row, shape[1] - 1 - col)
    negated = K * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, 1]])
    return negated.at[:2, 2].set(jnp.stack([col, row]))


def _half_turn(rot_180: bool) -> RigidTransform:
    """Between xReg's camera frame and ours: about y, or about x if the image turned."""
    diagonal = [1.0, -1.0, -1.0] if rot_180 else [-1.0, 1.0, -1.0]
    return RigidTransform.from_rotation(np.diag(diagonal))
