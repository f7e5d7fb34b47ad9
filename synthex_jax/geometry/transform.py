"""RigidTransform: a rigid motion between two named frames."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.geometry import lie
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.typing import (
    ArrayLike,
    Matrix3,
    Matrix4,
    Points,
    Twist,
    Vector3,
    Vector4,
)

# A rotation read from a file carries seven digits; five are asked for.
_ORTHONORMAL_WITHIN = 1e-4


@noun
@dataclass(frozen=True)
class RigidTransform:
    """A rotation and a translation that take points of frame b to frame a.

    Name a transform ``a_from_b``; composition then reads from the frame in the
    middle, ``a_from_c = a_from_b @ b_from_c``. All fields are leaves: transforms
    pass through ``jit``, ``vmap`` and ``grad``.

    Attributes:
        rotation: (3, 3), orthonormal with determinant +1.
        translation: (3,), mm, in the target frame.
    """

    rotation: Matrix3
    translation: Vector3

    @classmethod
    def identity(cls) -> RigidTransform:
        """The transform that leaves every point where it is."""
        return cls(jnp.eye(3), jnp.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> RigidTransform:
        """From a (4, 4) or (3, 4) homogeneous matrix, translation in mm.

        Raises:
            ValueError: if a concrete matrix has another shape, is not finite, its
                3x3 part is not a rotation (a reflection, a scale, a shear), or its
                last row is not (0, 0, 0, 1).
        """
        matrix = jnp.asarray(matrix, dtype=float)
        require(
            matrix.shape in ((4, 4), (3, 4)),
            f"matrix must have shape (4, 4) or (3, 4), got {matrix.shape}",
        )
        require_finite("matrix", matrix)
        _require_last_row(matrix)
        require_rotation("matrix", matrix[:3, :3])
        return cls(matrix[:3, :3], matrix[:3, 3])

    @classmethod
    def from_rotation(
        cls, rotation: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)
    ) -> RigidTransform:
        """From a (3, 3) rotation matrix and a (3,) translation in mm.

        Raises:
            ValueError: if a concrete rotation is not orthonormal with determinant +1.
        """
        rotation = jnp.asarray(rotation, dtype=float)
        translation = jnp.asarray(translation, dtype=float)
        require_shape("rotation", rotation, (3, 3))
        require_shape("translation", translation, (3,))
        require_finite("rotation", rotation)
        require_finite("translation", translation)
        require_rotation("rotation", rotation)
        return cls(rotation, translation)

    @classmethod
    def from_euler(
        cls,
        axes: str,
        angles: ArrayLike,
        translation: ArrayLike = (0.0, 0.0, 0.0),
    ) -> RigidTransform:
        """From Euler angles in radians.

        Args:
            axes: one to three letters. Capitals, as in ``"ZXY"``, are intrinsic
                (about the carried axes: R = R_z R_x R_y); small letters extrinsic
                (about the fixed axes: R = R_y R_x R_z). The convention is SciPy's.
            angles: one angle a letter, radians, in the same order.
            translation: (3,), mm.

        Raises:
            ValueError: for letters other than xyz or XYZ, or of mixed case, and for
                a count of angles that differs from the count of letters.
        """
        angles = jnp.atleast_1d(jnp.asarray(angles, dtype=float))
        require(
            0 < len(axes) <= 3 and (set(axes) <= set("xyz") or set(axes) <= set("XYZ")),
            "axes must be one to three of 'xyz' (extrinsic) or 'XYZ' (intrinsic), "
            f"got {axes!r}",
        )
        require_shape("angles", angles, (len(axes),))
        rotation = jnp.eye(3, dtype=angles.dtype)
        for letter, angle in zip(axes, angles, strict=True):
            turn = axis_rotation(letter, angle)
            rotation = (
                product(rotation, turn) if axes.isupper() else product(turn, rotation)
            )
        return cls(rotation, jnp.asarray(translation, dtype=float))

    @classmethod
    def from_quaternion(
        cls, wxyz: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)
    ) -> RigidTransform:
        """From a quaternion (w, x, y, z), normalized here, and a translation in mm.

        Raises:
            ValueError: if a concrete quaternion has length zero.
        """
        wxyz = jnp.asarray(wxyz, dtype=float)
        require_shape("wxyz", wxyz, (4,))
        require_finite("wxyz", wxyz)
        if is_concrete(wxyz):
            require(bool(jnp.any(wxyz != 0)), "wxyz must not be the zero quaternion")
        return cls(
            lie.rotation_from_quaternion(wxyz), jnp.asarray(translation, dtype=float)
        )

    @classmethod
    def from_twist(
        cls, twist: ArrayLike, *, about: ArrayLike | None = None
    ) -> RigidTransform:
        """The exponential of a twist: (3,) rotation in radians, then (3,) in mm.

        Args:
            twist: (6,).
            about: (3,), mm, the point that the rotation leaves in place; by default
                the origin.
        """
        twist = jnp.asarray(twist, dtype=float)
        require_shape("twist", twist, (6,))
        matrix = lie.se3_exp(twist)
        motion = cls(matrix[:3, :3], matrix[:3, 3])
        if about is None:
            return motion
        point = jnp.asarray(about, dtype=float)
        shift = point - motion.rotate(point)
        return cls(motion.rotation, motion.translation + shift)

    @property
    def matrix(self) -> Matrix4:
        """The (4, 4) homogeneous matrix."""
        return lie.homogeneous(self.rotation, self.translation)

    @property
    def twist(self) -> Twist:
        """The logarithm: rotation vector in radians, then mm; inverse of from_twist."""
        return lie.se3_log(self.matrix)

    @property
    def quaternion(self) -> Vector4:
        """The rotation as a unit quaternion (w, x, y, z) with w >= 0."""
        wxyz = lie.quaternion_from_rotation(self.rotation)
        return jnp.where(wxyz[0] < 0, -wxyz, wxyz)

    @property
    def inverse(self) -> RigidTransform:
        """``b_from_a`` of an ``a_from_b``."""
        return RigidTransform(
            self.rotation.T, -product(self.rotation.T, self.translation)
        )

    def __matmul__(self, other: RigidTransform) -> RigidTransform:
        """Composition: ``a_from_b @ b_from_c`` is ``a_from_c``."""
        return RigidTransform(
            product(self.rotation, other.rotation),
            self.apply(other.translation),
        )

    def apply(self, points: Points) -> Points:
        """Points (..., 3) in mm, taken from the source to the target frame."""
        # points @ R.T: jit(vmap(norm(R @ p))) is miscompiled by jax 0.10.2 on CPUs.
        return product(points, self.rotation.T) + self.translation

    def rotate(self, directions: Points) -> Points:
        """Directions (..., 3), turned without being moved."""
        return product(directions, self.rotation.T)


def axis_rotation(axis: str, angle: ArrayLike) -> Matrix3:
    """Right-handed rotation by ``angle`` radians about the axis x, y or z."""
    unit = jnp.zeros(3).at["xyz".index(axis.lower())].set(1.0)
    return lie.so3_exp(unit * jnp.asarray(angle, dtype=float))


def require_rotation(name: str, rotation: Matrix3) -> None:
    """Refuse a concrete matrix that is not orthonormal with determinant +1."""
    if not is_concrete(rotation):
        return
    concrete = np.asarray(rotation, dtype=float)
    off = float(np.max(np.abs(concrete @ concrete.T - np.eye(3))))
    require(
        off < _ORTHONORMAL_WITHIN,
        f"{name} must hold a rotation: rows orthonormal within {_ORTHONORMAL_WITHIN}, "
        f"they are off by {off:.2g}; divide out any scale first",
    )
    require(
        np.linalg.det(concrete) > 0,
        f"{name} must hold a rotation: its determinant is -1, a reflection; "
        "mirror the image instead (np.fliplr) and use the rotation that is left",
    )


def _require_last_row(matrix: Float[Array, "rows 4"]) -> None:
    if not is_concrete(matrix) or len(matrix) == 3:
        return
    last = np.asarray(matrix[3])
    require(
        np.allclose(last, [0, 0, 0, 1]),
        f"matrix must end in the row (0, 0, 0, 1), got {last.tolist()}; "
        "is it transposed?",
    )
