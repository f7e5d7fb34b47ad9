import jax.numpy as jnp
import pytest

import synthex_jax as sx
from synthex_jax import viz

CARM = sx.CArm.generic()


@pytest.mark.parametrize(
    ("view", "left", "right"),
    [
        # As radiographs are hung: an AP image has the patient's right on its left. A PA
        # view seen from the source has it the other way round.
        ("AP", "R", "L"),
        ("PA", "L", "R"),
        ("left lateral", "P", "A"),
        ("right lateral", "A", "P"),
    ],
)
def test_letters_of_named_views(view, left, right):
    camera = CARM.view(view)
    assert viz.edge_letters(camera) == (left, right, "H", "F")
    assert viz.edge_letters(camera, flip=True) == (right, left, "H", "F")
    assert viz.view_name(camera) == view


def test_letters_agree_with_where_points_fall():
    camera = CARM.at(*jnp.deg2rad(jnp.array([20.0, 10.0, 0.0])))
    middle = camera.project(jnp.zeros(3))
    to_the_left_side = camera.project(jnp.array([-50.0, 0.0, 0.0])) - middle
    to_the_head = camera.project(jnp.array([0.0, 0.0, 50.0])) - middle
    letters = viz.edge_letters(camera)
    assert to_the_left_side[1] > 0
    assert letters.right == "L"
    assert to_the_head[0] < 0
    assert letters.top == "H"


def test_oblique_views_have_two_letters():
    letters = viz.edge_letters(CARM.at(orbital=jnp.deg2rad(30.0)))
    assert letters == ("RA", "LP", "H", "F")


def test_roll_turns_the_letters():
    # The detector turns clockwise, its content counterclockwise: the head goes left.
    letters = viz.edge_letters(CARM.at(roll=jnp.deg2rad(90.0)))
    assert letters.left == "H"


@pytest.mark.parametrize(
    ("orbital", "angular", "name"),
    [
        (0.4, 0.2, "AP"),
        (30, 0, "source 30° left"),
        (-30, 20, "source 30° right, 20° cranial"),
        (75, -10, "source 75° left, 10° caudal"),
        (0, -25, "source 25° caudal"),
    ],
)
def test_other_views_are_named_by_the_angles_of_the_carm(orbital, angular, name):
    camera = CARM.at(jnp.deg2rad(1.0 * orbital), jnp.deg2rad(1.0 * angular))
    assert viz.view_name(camera) == name
