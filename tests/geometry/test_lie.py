import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation

from synthex_jax.geometry import lie

# Angles where a formula could fail: zero, where the closed forms divide by zero, on
# either side of the switch to the series (sqrt(0.5)), and towards half a turn.
ANGLES = [0.0, 1e-9, 1e-6, 1e-4, 1e-3, 0.03, 0.7, 0.7072, 1.0, 2.0, 3.0, np.pi - 1e-3]
AXIS = np.array([2.0, -1.0, 2.0]) / 3
TRANSLATION = np.array([12.0, -30.0, 7.0])

# Central differences in float64 with this step are right to about step^2 + 1e-16 / step
# = 1e-10, times translations of some ten mm.
STEP = 1e-6
DIFFERENCES_WITHIN = 1e-7


def se3_matrix(twist):
    """The generator of a twist, for scipy.linalg.expm."""
    matrix = np.zeros((4, 4))
    x, y, z = twist[:3]
    matrix[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    matrix[:3, 3] = twist[3:]
    return matrix


def expm(twist):
    return scipy.linalg.expm(se3_matrix(np.asarray(twist)))


def differences(function, x):
    """Central differences, one column an argument, in the last axis."""
    steps = STEP * np.eye(len(x))
    return np.stack(
        [(function(x + s) - function(x - s)) / (2 * STEP) for s in steps], axis=-1
    )


def twists_of(angles):
    return np.stack([np.concatenate([a * AXIS, TRANSLATION]) for a in angles])


def batched(function):
    """Compiled once for all twists, and thus a test of vmap and jit too."""
    return jax.jit(jax.vmap(function))


def test_exp_is_the_matrix_exponential(x64):
    twists = twists_of([*ANGLES, np.pi, 4.0, 6.0])
    expected = np.stack([expm(twist) for twist in twists])
    np.testing.assert_allclose(batched(lie.se3_exp)(twists), expected, atol=1e-12)
    rotations = Rotation.from_rotvec(twists[:, :3]).as_matrix()
    found = batched(lie.so3_exp)(twists[:, :3])
    np.testing.assert_allclose(found, rotations, atol=1e-14)


def test_log_is_the_matrix_logarithm(x64):
    matrices = np.stack([expm(twist) for twist in twists_of(ANGLES)])
    found = batched(lie.se3_log)(matrices)
    rotation_vectors = Rotation.from_matrix(matrices[:, :3, :3]).as_rotvec()
    np.testing.assert_allclose(found[:, :3], rotation_vectors, atol=1e-12)
    for matrix, twist in zip(matrices, found, strict=True):
        # logm itself is good to 1e-9 of ten mm near half a turn.
        generator = scipy.linalg.logm(matrix).real
        np.testing.assert_allclose(se3_matrix(twist), generator, atol=1e-7)


def test_log_inverts_exp(x64):
    twists = twists_of(ANGLES)
    back = batched(lambda twist: lie.se3_log(lie.se3_exp(twist)))(twists)
    np.testing.assert_allclose(back, twists, atol=1e-11)


def test_log_of_half_a_turn_is_one_of_the_two(x64):
    axes = np.stack([*np.eye(3), AXIS, [0.6, 0.8, 0.0]])
    rotations = Rotation.from_rotvec(np.pi * axes).as_matrix()
    omega = batched(lie.so3_log)(rotations)
    np.testing.assert_allclose(np.linalg.norm(omega, axis=1), np.pi, rtol=1e-14)
    np.testing.assert_allclose(batched(lie.so3_exp)(omega), rotations, atol=1e-14)


def test_log_is_shorter_than_half_a_turn(rng, x64):
    rotations = Rotation.random(50, random_state=rng)
    omega = batched(lie.so3_log)(rotations.as_matrix())
    np.testing.assert_allclose(omega, rotations.as_rotvec(), atol=1e-12)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_derivative_of_exp(jacobian, x64):
    twists = twists_of([*ANGLES, np.pi, 4.0])
    found = batched(jacobian(lie.se3_exp))(twists)
    expected = np.stack([differences(expm, twist) for twist in twists])
    np.testing.assert_allclose(found, expected, atol=DIFFERENCES_WITHIN)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_derivative_of_log(jacobian, x64):
    """Of log(T exp(x)) at x = 0, since T has more entries than freedoms."""
    bases = np.stack([expm(twist) for twist in twists_of(ANGLES)])

    def slope(base):
        return jacobian(lambda x: lie.se3_log(base @ lie.se3_exp(x)))(jnp.zeros(6))

    expected = [
        differences(lambda x, base=base: logm(base @ expm(x)), np.zeros(6))
        for base in bases
    ]
    np.testing.assert_allclose(
        batched(slope)(bases), np.stack(expected), atol=DIFFERENCES_WITHIN
    )


def logm(matrix):
    """The twist of a matrix: scipy's rotation vector, and V as its defining series."""
    omega = Rotation.from_matrix(matrix[:3, :3]).as_rotvec()
    generator = se3_matrix(np.concatenate([omega, np.zeros(3)]))[:3, :3]
    left, term = np.eye(3), np.eye(3)
    for k in range(2, 40):
        term = term @ generator / k
        left = left + term
    return np.concatenate([omega, np.linalg.solve(left, matrix[:3, 3])])


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_derivative_of_log_at_half_a_turn(jacobian, x64):
    """The inverse right Jacobian of the branch taken: I + W/2 + W^2 / pi^2 at pi."""
    axes = np.stack([AXIS, [1.0, 0.0, 0.0], [0.0, 0.6, -0.8]])
    rotations = Rotation.from_rotvec(np.pi * axes).as_matrix()

    def slope(base):
        return jacobian(lambda x: lie.so3_log(base @ lie.so3_exp(x)))(jnp.zeros(3))

    found = batched(slope)(rotations)
    for omega, one in zip(batched(lie.so3_log)(rotations), found, strict=True):
        w = se3_matrix(np.concatenate([omega, np.zeros(3)]))[:3, :3]
        expected = np.eye(3) + w / 2 + w @ w / np.pi**2
        np.testing.assert_allclose(one, expected, atol=1e-12)


def test_single_precision():
    twists = twists_of([*ANGLES, np.pi])
    exact = np.stack([expm(twist) for twist in twists])
    found = batched(lie.se3_exp)(jnp.asarray(twists, jnp.float32))
    assert found.dtype == jnp.float32
    # A few units in the last place: 1.2e-7 of 1 and of the 33 mm of translation.
    np.testing.assert_allclose(found[:, :3, :3], exact[:, :3, :3], atol=5e-7)
    np.testing.assert_allclose(found[:, :3, 3], exact[:, :3, 3], atol=2e-5)
    back = batched(lie.se3_log)(jnp.asarray(exact, jnp.float32))
    # Beyond three radians the sign of the axis is in the last digits.
    near = np.linalg.norm(twists[:, :3], axis=1) < 3.1
    np.testing.assert_allclose(back[near, :3], twists[near, :3], atol=1e-6)
    np.testing.assert_allclose(back[near, 3:], twists[near, 3:], atol=5e-5)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_derivatives_in_single_precision(jacobian):
    twists = twists_of([*ANGLES, np.pi])
    expected = np.stack([differences(expm, twist) for twist in twists])
    found = batched(jacobian(lie.se3_exp))(jnp.asarray(twists, jnp.float32))
    # Of entries of up to the 33 mm of translation.
    np.testing.assert_allclose(found, expected, atol=3e-5)
    matrices = jnp.asarray(np.stack([expm(twist) for twist in twists]), jnp.float32)
    assert np.isfinite(batched(jacobian(lie.se3_log))(matrices)).all()


def test_group_axioms(rng, x64):
    a, b, c = (jnp.asarray(expm(x)) for x in rng.normal(size=(3, 6)))
    inverse = lie.se3_exp(-lie.se3_log(a))
    np.testing.assert_allclose(inverse @ a, np.eye(4), atol=1e-14)
    np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=1e-13)
    product = a @ b
    np.testing.assert_allclose(
        product[:3, :3] @ product[:3, :3].T, np.eye(3), atol=1e-14
    )
    np.testing.assert_allclose(np.linalg.det(product[:3, :3]), 1, rtol=1e-14)


def test_one_parameter_subgroup(rng, x64):
    """exp(s xi) exp(t xi) = exp((s + t) xi)."""
    xi = jnp.asarray(rng.normal(size=6))
    together = lie.se3_exp(0.3 * xi) @ lie.se3_exp(0.5 * xi)
    np.testing.assert_allclose(together, lie.se3_exp(0.8 * xi), atol=1e-14)


def test_adjoint(rng, x64):
    """exp(Ad(T) xi) = T exp(xi) T^-1, with scipy's exponential."""
    for _ in range(5):
        T, xi = expm(rng.normal(size=6) * 2), rng.normal(size=6)
        carried = lie.se3_adjoint(jnp.asarray(T)) @ xi
        np.testing.assert_allclose(
            expm(carried), T @ expm(xi) @ np.linalg.inv(T), atol=1e-12
        )


def test_adjoint_is_a_homomorphism(rng, x64):
    a, b = (jnp.asarray(expm(x)) for x in rng.normal(size=(2, 6)))
    np.testing.assert_allclose(
        lie.se3_adjoint(a) @ lie.se3_adjoint(b), lie.se3_adjoint(a @ b), atol=1e-13
    )


def test_skew_is_the_cross_product(rng, x64):
    a, b = rng.normal(size=(2, 3))
    np.testing.assert_allclose(lie.skew(jnp.asarray(a)) @ b, np.cross(a, b), atol=1e-15)


def test_quaternions_are_scipys(rng, x64):
    # All four of Shepperd's formulas: the largest component is each in turn.
    turns = Rotation.concatenate(
        [
            Rotation.identity(),
            Rotation.from_rotvec(3.0 * np.eye(3)),
            Rotation.random(20, random_state=rng),
        ]
    )
    wxyz = turns.as_quat(canonical=True)[:, [3, 0, 1, 2]]
    found = np.asarray(batched(lie.quaternion_from_rotation)(turns.as_matrix()))
    np.testing.assert_allclose(found * np.sign(found[:, :1]), wxyz, atol=1e-14)
    # Neither sign nor length matters on the way back.
    back = batched(lie.rotation_from_quaternion)(-2 * wxyz)
    np.testing.assert_allclose(back, turns.as_matrix(), atol=1e-14)
    omega = batched(lie.quaternion_log)(-wxyz)
    np.testing.assert_allclose(omega, turns.as_rotvec(), atol=1e-13)
