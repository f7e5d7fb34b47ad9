r"""The rotation group SO(3) and the rigid motions SE(3): exp, log and adjoint.

A twist is $\xi = (\omega, v)$: rotation vector in radians, then translation in mm.
The exponential maps are the closed forms of Sola et al. 2018, "A micro Lie theory
for state estimation in robotics" (arXiv 1812.01537), eqs. 77, 145, 172-175. Their
coefficients are analytic functions of $\theta^2$; near zero each is its Taylor
series, so that values *and* derivatives are right at the identity. The logarithm
goes through the unit quaternion, which is smooth at half turns, where the textbook
formula divides zero by zero.
"""

import jax.numpy as jnp

from synthex_jax.numerics import product
from synthex_jax.typing import (
    Matrix3,
    Matrix4,
    Matrix6,
    Scalar,
    Twist,
    Vector3,
    Vector4,
)

# Below this squared angle the series stand in for the closed forms: with eight terms
# they are exact to 1e-16 there, and the closed forms lose no digits above it.
_SERIES_BELOW = 0.5


def _series(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """Horner evaluation of a power series in ``x``, lowest power first."""
    total = jnp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _alternating(first: int) -> tuple[float, ...]:
    """Series of sum_k (-x)^k / (2 k + first)!, eight terms."""
    terms, factorial = [], 1.0
    for n in range(1, first + 1):
        factorial *= n
    for k in range(8):
        terms.append((-1.0) ** k / factorial)
        factorial *= (2 * k + first + 1) * (2 * k + first + 2)
    return tuple(terms)


_SINC, _VERSINE, _THIRD = (_alternating(first) for first in (1, 2, 3))


def _coefficients(squared_angle: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """sin(t)/t, (1 - cos t)/t^2 and (t - sin t)/t^3 as functions of t^2."""
    small = squared_angle < _SERIES_BELOW
    angle = jnp.sqrt(jnp.where(small, 1.0, squared_angle))
    half = jnp.sin(angle / 2) / angle
    series = jnp.where(small, squared_angle, 0.0)
    closed = (
        jnp.sin(angle) / angle,
        2 * half**2,
        (angle - jnp.sin(angle)) / angle**3,
    )
    return tuple(  # pyright: ignore[reportReturnType]
        jnp.where(small, _series(series, terms), value)
        for terms, value in zip((_SINC, _VERSINE, _THIRD), closed, strict=True)
    )


def skew(vector: Vector3) -> Matrix3:
    """The matrix whose product with ``w`` is the cross product ``vector x w``."""
    x, y, z = vector
    zero = jnp.zeros_like(x)
    return jnp.stack(
        [
            jnp.stack([zero, -z, y]),
            jnp.stack([z, zero, -x]),
            jnp.stack([-y, x, zero]),
        ]
    )


def so3_exp(rotation_vector: Vector3) -> Matrix3:
    """Rotation matrix of a rotation vector in radians (Rodrigues' formula)."""
    sine, versine, _ = _coefficients(jnp.sum(rotation_vector**2))
    generator = skew(rotation_vector)
    identity = jnp.eye(3, dtype=rotation_vector.dtype)
    return identity + sine * generator + versine * product(generator, generator)


def so3_log(rotation: Matrix3) -> Vector3:
    """Rotation vector, in radians and of length at most pi, of a rotation matrix.

    At exactly half a turn both signs are right; one is returned, and the derivative
    is that of the branch it belongs to.
    """
    return quaternion_log(quaternion_from_rotation(rotation))


def quaternion_log(quaternion: Vector4) -> Vector3:
    """Rotation vector of a unit quaternion (w, x, y, z); q and -q give the same."""
    w, vector = quaternion[0], quaternion[1:]
    sign = jnp.where(w < 0, -1.0, 1.0)
    w, vector = w * sign, vector * sign
    squared = jnp.sum(vector**2)
    # 2 atan2(|v|, w) / |v|; with u = |v| / w this is 2/w (1 - u^2/3 + u^4/5 - ...).
    small = squared < 1e-2
    length = jnp.sqrt(jnp.where(small, 1.0, squared))
    w_large = jnp.where(small, w, 1.0)
    ratio = jnp.where(small, squared, 0.0) / w_large**2
    terms = tuple((-1.0) ** k / (2 * k + 1) for k in range(9))
    near_zero = 2 / w_large * _series(ratio, terms)
    return vector * jnp.where(small, near_zero, 2 * jnp.arctan2(length, w) / length)


def quaternion_from_rotation(rotation: Matrix3) -> Vector4:
    """Unit quaternion (w, x, y, z) of a rotation matrix.

    Of the four classical formulas the one with the largest divisor is taken
    (Shepperd 1978), so that neither value nor derivative loses digits.
    """
    r = rotation
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    # Four times each component squared.
    squares = 1 + jnp.stack([trace] + [2 * r[i, i] - trace for i in range(3)])
    products = jnp.stack(
        [
            jnp.stack(
                [squares[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]
            ),
            jnp.stack(
                [r[2, 1] - r[1, 2], squares[1], r[1, 0] + r[0, 1], r[0, 2] + r[2, 0]]
            ),
            jnp.stack(
                [r[0, 2] - r[2, 0], r[1, 0] + r[0, 1], squares[2], r[2, 1] + r[1, 2]]
            ),
            jnp.stack(
                [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2], squares[3]]
            ),
        ]
    )
    largest = jnp.argmax(squares)
    return products[largest] / (2 * jnp.sqrt(squares[largest]))


def rotation_from_quaternion(quaternion: Vector4) -> Matrix3:
    """Rotation matrix of a quaternion (w, x, y, z), which need not be normalized."""
    w, x, y, z = quaternion / jnp.sqrt(jnp.sum(quaternion**2))
    return jnp.stack(
        [
            jnp.stack(
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
            ),
            jnp.stack(
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
            ),
            jnp.stack(
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
            ),
        ]
    )


def _left_jacobian(rotation_vector: Vector3) -> Matrix3:
    """V of Sola et al. eq. 145: takes v of a twist to the translation of its exp."""
    _, versine, third = _coefficients(jnp.sum(rotation_vector**2))
    generator = skew(rotation_vector)
    identity = jnp.eye(3, dtype=rotation_vector.dtype)
    return identity + versine * generator + third * product(generator, generator)


def se3_exp(twist: Twist) -> Matrix4:
    """Homogeneous matrix of a twist (radians, then mm)."""
    rotation = so3_exp(twist[:3])
    translation = product(_left_jacobian(twist[:3]), twist[3:])
    return homogeneous(rotation, translation)


def se3_log(matrix: Matrix4) -> Twist:
    """Twist (radians, then mm) of a homogeneous matrix of a rigid motion."""
    omega = so3_log(matrix[:3, :3])
    return jnp.concatenate(
        [omega, product(_inverse_left_jacobian(omega), matrix[:3, 3])]
    )


def _inverse_left_jacobian(rotation_vector: Vector3) -> Matrix3:
    """V^-1 = I - W/2 + (1/t^2 - sin t / (2 t (1 - cos t))) W^2, Sola et al. eq. 146."""
    squared = jnp.sum(rotation_vector**2)
    sine, versine, _ = _coefficients(squared)
    small = squared < _SERIES_BELOW
    divisor = jnp.where(small, 1.0, squared)
    closed = (1 - sine / (2 * versine)) / divisor
    # Taylor: B_2k / (2k)! of the Bernoulli numbers, with alternating sign removed.
    terms = (
        1 / 12,
        1 / 720,
        1 / 30240,
        1 / 1209600,
        1 / 47900160,
        691 / 1307674368000,
        1 / 74724249600,
        3617 / 10670622842880000,
    )
    weight = jnp.where(small, _series(jnp.where(small, squared, 0.0), terms), closed)
    generator = skew(rotation_vector)
    identity = jnp.eye(3, dtype=rotation_vector.dtype)
    return identity - generator / 2 + weight * product(generator, generator)


def se3_adjoint(matrix: Matrix4) -> Matrix6:
    """Ad with ``exp(Ad(T) xi) = T exp(xi) T^-1``, twists as (rotation, translation)."""
    rotation, translation = matrix[:3, :3], matrix[:3, 3]
    zero = jnp.zeros_like(rotation)
    return jnp.block(
        [[rotation, zero], [product(skew(translation), rotation), rotation]]
    )


def homogeneous(rotation: Matrix3, translation: Vector3) -> Matrix4:
    """The 4x4 matrix of ``p -> rotation @ p + translation``."""
    top = jnp.concatenate([rotation, translation[:, None]], axis=1)
    bottom = jnp.array([[0.0, 0.0, 0.0, 1.0]], dtype=top.dtype)
    return jnp.concatenate([top, bottom])
