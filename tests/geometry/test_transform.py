import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synthex_jax import RigidTransform

# All of scipy's sequences: no two neighbors alike.
SEQUENCES = [
    axes
    for n in (1, 2, 3)
    for axes in map("".join, itertools.product("xyz", repeat=n))
    if all(a != b for a, b in itertools.pairwise(axes))
]


def random_transform(rng):
    rotation = Rotation.random(random_state=rng).as_matrix()
    return RigidTransform.from_rotation(rotation, rng.normal(size=3) * 30)


@pytest.mark.parametrize("axes", SEQUENCES)
def test_euler_angles_are_scipys(axes, x64):
    angles = np.array([0.3, -1.1, 2.5])[: len(axes)]
    for letters in (axes, axes.upper()):
        found = RigidTransform.from_euler(letters, angles).rotation
        expected = Rotation.from_euler(letters, angles.squeeze()).as_matrix()
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_euler_takes_a_lone_angle():
    transform = RigidTransform.from_euler("z", np.pi / 2, (1.0, 2.0, 3.0))
    found = transform.apply(jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(found, [1.0, 3.0, 3.0], atol=1e-6)


def test_constructors_agree(rng, x64):
    turn = Rotation.random(random_state=rng)
    x, y, z, w = turn.as_quat()
    shift = rng.normal(size=3)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.as_matrix(), shift
    made = [
        RigidTransform.from_matrix(matrix),
        RigidTransform.from_matrix(matrix[:3]),
        RigidTransform.from_rotation(turn.as_matrix(), shift),
        RigidTransform.from_quaternion((w, x, y, z), shift),
        RigidTransform.from_quaternion((-3 * w, -3 * x, -3 * y, -3 * z), shift),
        RigidTransform.from_euler("ZYX", turn.as_euler("ZYX"), shift),
    ]
    made.append(RigidTransform.from_twist(made[0].twist))
    for transform in made:
        np.testing.assert_allclose(transform.matrix, matrix, atol=1e-13)
    sign = 1 if w >= 0 else -1
    expected = sign * np.array([w, x, y, z])
    np.testing.assert_allclose(made[0].quaternion, expected, atol=1e-14)


def test_composition_and_inverse(rng, x64):
    a_from_b, b_from_c = random_transform(rng), random_transform(rng)
    points = rng.normal(size=(4, 5, 3))
    step_by_step = a_from_b.apply(b_from_c.apply(jnp.asarray(points)))
    at_once = (a_from_b @ b_from_c).apply(jnp.asarray(points))
    np.testing.assert_allclose(at_once, step_by_step, atol=1e-13)
    homogeneous = np.concatenate([points, np.ones((4, 5, 1))], axis=-1)
    matrix = np.asarray(a_from_b.matrix @ b_from_c.matrix)
    expected = np.einsum("ij,...j->...i", matrix, homogeneous)[..., :3]
    np.testing.assert_allclose(at_once, expected, atol=1e-13)
    there_and_back = (a_from_b.inverse @ a_from_b).matrix
    np.testing.assert_allclose(there_and_back, np.eye(4), atol=1e-13)
    np.testing.assert_allclose(RigidTransform.identity().matrix, np.eye(4))


def test_directions_are_turned_and_not_moved(rng, x64):
    transform = random_transform(rng)
    p, q = jnp.asarray(rng.normal(size=(2, 3)))
    expected = transform.apply(q) - transform.apply(p)
    np.testing.assert_allclose(transform.rotate(q - p), expected, atol=1e-13)


def test_passes_through_jit_vmap_and_grad(rng, x64):
    twists = jnp.asarray(rng.normal(size=(3, 6))).at[0].set(0.0)
    point = jnp.asarray(rng.normal(size=3))

    @jax.jit
    def height(twist):
        return RigidTransform.from_twist(twist).apply(point)[2]

    slopes = jax.vmap(jax.grad(height))(twists)
    steps = 1e-6 * jnp.eye(6)
    for twist, slope in zip(twists, slopes, strict=True):
        expected = [(height(twist + s) - height(twist - s)) / 2e-6 for s in steps]
        np.testing.assert_allclose(slope, expected, atol=1e-8)
    batch = jax.vmap(RigidTransform.from_twist)(twists)
    assert batch.rotation.shape == (3, 3, 3)
    twice = jax.vmap(lambda t: (t @ t.inverse).matrix)(batch)
    np.testing.assert_allclose(twice, np.broadcast_to(np.eye(4), (3, 4, 4)), atol=1e-13)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"matrix must have shape \(4, 4\) or \(3, 4\), got \(3, 3\)"),
        (np.diag([2.0, 2, 2, 1]), "rows orthonormal .* divide out any scale"),
        (np.diag([1.0, 1, -1, 1]), "determinant is -1, a reflection; mirror the image"),
        (np.full((4, 4), np.nan), "matrix must be finite, 16 of its 16 values"),
        (
            np.eye(4) + 5 * np.eye(4)[[3]].T,
            r"end in the row \(0, 0, 0, 1\).*transposed",
        ),
    ],
)
def test_refuses_matrices_that_are_no_rigid_motion(matrix, message):
    with pytest.raises(ValueError, match=message):
        RigidTransform.from_matrix(matrix)


def test_refuses_translations_that_are_not_finite():
    matrix = np.eye(4)
    matrix[1, 3] = np.nan
    with pytest.raises(ValueError, match="matrix must be finite, 1 of its"):
        RigidTransform.from_matrix(matrix)
    with pytest.raises(ValueError, match="translation must be finite"):
        RigidTransform.from_rotation(np.eye(3), (0.0, np.inf, 0.0))
    with pytest.raises(ValueError, match=r"translation must have shape \(3,\)"):
        RigidTransform.from_rotation(np.eye(3), (0.0, 0.0))


@pytest.mark.parametrize("axes", ["", "xyzx", "xYz", "ijk", "XYz"])
def test_refuses_unknown_euler_axes(axes):
    with pytest.raises(ValueError, match="axes must be one to three of 'xyz'"):
        RigidTransform.from_euler(axes, np.zeros(len(axes)))


def test_refuses_a_wrong_count_of_angles():
    with pytest.raises(ValueError, match=r"angles must have shape \(3,\), got \(2,\)"):
        RigidTransform.from_euler("ZXY", (0.1, 0.2))


def test_refuses_the_zero_quaternion():
    with pytest.raises(ValueError, match="zero quaternion"):
        RigidTransform.from_quaternion(np.zeros(4))
    with pytest.raises(ValueError, match=r"wxyz must have shape \(4,\)"):
        RigidTransform.from_quaternion(np.ones(3))


def test_refuses_twists_of_another_size():
    with pytest.raises(ValueError, match=r"twist must have shape \(6,\)"):
        RigidTransform.from_twist(np.zeros(3))
