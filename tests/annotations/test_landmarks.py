from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax import Camera, RigidTransform
from synthex_jax.annotations.landmarks import (
    Landmarks,
    in_image,
    mirrored_name,
    mirrored_pairs,
    project_landmarks,
)
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS, LABELS


@pytest.fixture
def camera():
    """Looks along +z from the origin; 1000 mm to 40 x 60 pixels of 2 mm."""
    return Camera.create(
        RigidTransform.identity(), source_to_detector=1000.0, pitch=2.0, shape=(40, 60)
    )


def test_made_from_names_or_a_dictionary():
    points = {"a": np.array([1.0, 2, 3]), "b": jnp.array([4.0, 5, 6])}
    found = Landmarks.from_mapping(points)
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.points, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(found["b"], [4, 5, 6])
    again = Landmarks.create(["a", "b"], [[1.0, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(again.points, found.points)
    chosen = found.select(["b", "a"])
    assert chosen.names == ("b", "a")
    np.testing.assert_array_equal(chosen.points, [[4, 5, 6], [1, 2, 3]])


@pytest.mark.parametrize(
    ("names", "points", "message"),
    [
        (["a", "b", "a"], np.zeros((3, 3)), r"\['a'\] are there more than once"),
        (["a"], np.zeros((2, 3)), r"points must have shape \(1, 3\), got \(2, 3\)"),
        (["a"], [[1.0, np.nan, 0.0]], "points must be finite"),
        ([], np.zeros((0, 3)), "at least one landmark"),
    ],
)
def test_refused(names, points, message):
    with pytest.raises(ValueError, match=message):
        Landmarks.create(names, points)


def test_a_point_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"points\['a'\] must have shape \(3,\)"):
        Landmarks.from_mapping({"a": [1.0, 2.0]})


def test_an_unknown_name_is_answered_with_the_known_ones():
    landmarks = Landmarks.create(HIP_LANDMARKS, np.zeros((14, 3)))
    with pytest.raises(ValueError, match=r"FH-l, FH-r, .* got 'FH-L'.*mean 'FH-"):
        landmarks.select(["FH-r", "FH-L"])
    with pytest.raises(ValueError, match=r"one of FH-l, .*got 'knee'$"):
        landmarks["knee"]


def test_projected_by_the_textbook(camera):
    # u = f x / z + c, with f = 500 pixels and c the middle of the image.
    points = np.array([[0.0, 0, 500], [10, 0, 500], [0, -15, 1000], [3, 4, 800]])
    found = project_landmarks(Landmarks.create("abcd", points), camera)
    x, y, z = points.T
    np.testing.assert_allclose(found.pixels[:, 0], 19.5 + 500 * y / z, rtol=1e-6)
    np.testing.assert_allclose(found.pixels[:, 1], 29.5 + 500 * x / z, rtol=1e-6)
    np.testing.assert_allclose(found.depth, z)
    assert found.names == ("a", "b", "c", "d")
    assert found.visible.all()


def test_seen_only_in_the_beam_and_on_the_detector(camera):
    # Columns run from -0.5 to 59.5: x at the detector from -60 to 60 mm.
    cases = [
        ([0, 0, -500], False),  # behind the source
        ([0, 0, 0], False),  # in the source
        ([30, 20, 0], False),  # in its plane
        ([0, 0, 1001], False),  # behind the detector
        ([0, 0, 1000], True),
        ([-59.9, 0, 1000], True),
        ([-60.1, 0, 1000], False),
        ([59.9, 0, 1000], True),
        ([60.1, 0, 1000], False),
        ([0, -39.9, 1000], True),
        ([0, -40.1, 1000], False),
        ([0, 39.9, 1000], True),
        ([0, 40.1, 1000], False),
    ]
    points = jnp.array([point for point, _ in cases], float)
    names = [str(i) for i in range(len(cases))]
    found = project_landmarks(Landmarks.create(names, points), camera)
    assert found.visible.tolist() == [seen for _, seen in cases]
    assert jnp.isfinite(found.pixels).all()


def test_derivatives_in_points_and_pose(x64, camera):
    # The last two: at the source, and in its plane.
    points = jnp.array([[10.0, -20, 300], [-40, 5, 700], [0, 0, 0], [10, 5, 0]])

    @jax.jit
    def value_and_slope(points, twist, way):
        def pixels(points, twist):
            landmarks = Landmarks(("a", "b", "c", "d"), points)
            return project_landmarks(landmarks, camera.moved(twist)).pixels

        return jax.jvp(pixels, (points, twist), way)

    way = (jnp.ones((4, 3)).at[:, 1].set(-2.0), 1e-3 * jnp.arange(1.0, 7.0))
    _, slope = value_and_slope(points, jnp.zeros(6), way)
    ahead, behind = (
        value_and_slope(points + h * way[0], h * way[1], way)[0] for h in (1e-4, -1e-4)
    )
    difference = (ahead - behind)[:2] / 2e-4
    np.testing.assert_allclose(slope[:2], difference, rtol=1e-3)
    assert np.isfinite(slope).all()


def test_batches_of_views(camera):
    landmarks = Landmarks.create("ab", [[10.0, -20, 300], [-40, 5, 700]])
    views = [
        replace(camera, world_from_camera=RigidTransform(jnp.eye(3), jnp.array(source)))
        for source in ([0.0, 0, 0], [10.0, -5, 20])
    ]
    found = jax.vmap(project_landmarks, (None, 0))(
        landmarks, jax.tree.map(lambda *leaves: jnp.stack(leaves), *views)
    )
    for i, view in enumerate(views):
        one = project_landmarks(landmarks, view)
        np.testing.assert_allclose(found.pixels[i], one.pixels, rtol=1e-5)
        np.testing.assert_array_equal(found.visible[i], one.visible)


def test_in_image_counts_to_the_edges_of_pixels():
    pixels = jnp.array([[-0.5, 0], [-0.51, 0], [1.49, 0], [1.5, 0], [0, 2.49]])
    found = in_image(pixels, (2, 3))
    assert found.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("FH-l", "FH-r"),
        ("ASIS_L", "ASIS_R"),
        ("L.FH", "R.FH"),
        ("hip_left", "hip_right"),
        ("rib_left_3", "rib_right_3"),
        ("left femur", "right femur"),
        ("Left Femur", "Right Femur"),
        ("FemurLeft", "FemurRight"),
        ("leftFemur", "rightFemur"),
        ("LEFT_HIP", "RIGHT_HIP"),
    ],
)
def test_sides_change_places(left, right):
    assert mirrored_name(left) == right
    assert mirrored_name(right) == left


@pytest.mark.parametrize(
    "name",
    ["sacrum", "vertebrae_L5", "tip", "base", "bright spot", "leftover", "l", "R1"],
)
def test_names_without_a_side_stay(name):
    assert mirrored_name(name) == name


def test_pairs():
    assert mirrored_pairs(HIP_LANDMARKS) == tuple((i, i + 1) for i in range(0, 14, 2))
    names = tuple(LABELS.values())
    for a, b in mirrored_pairs(names):
        assert mirrored_name(names[a]) == names[b] != names[a]
    with pytest.raises(ValueError, match="'hip_left' is there and 'hip_right' is not"):
        mirrored_pairs(["hip_left", "sacrum"])
