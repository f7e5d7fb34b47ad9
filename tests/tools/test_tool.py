"""Tools: parts and landmarks that move together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

import synthex_jax as sx
from synthex_jax.physics.compounds import material
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.solids import Sphere
from synthex_jax.tools.tool import Part, Tool

box = trimesh.creation.box((20.0, 30.0, 40.0))


def make():
    return Tool.create(
        "hammer",
        [
            Part.create(Mesh.create(box.vertices, box.faces), "stainless steel"),
            Part.create(Sphere.create((0.0, 0.0, 30.0), 5.0), material("titanium")),
        ],
        landmarks={"tip": (0, 0, 35), "base": (0, 0, -20)},
    )


def test_parts_and_landmarks_move_together():
    pose = sx.RigidTransform.from_euler("xyz", [0.0, np.pi / 2, 0.0], [100.0, 0.0, 7.0])
    tool = make().at(pose)
    head, ball = (part.shape for part in tool.world_parts())
    np.testing.assert_allclose(ball.center, [130, 0, 7], atol=1e-4)
    np.testing.assert_allclose(head.bounds(), [[80, -15, -3], [120, 15, 17]], atol=1e-4)
    np.testing.assert_allclose(tool.world_landmarks()["tip"], [135, 0, 7], atol=1e-4)
    assert [part.material.name for part in tool.parts] == [
        "stainless steel",
        "titanium",
    ]
    # The tool's own frame stays as it was.
    np.testing.assert_allclose(tool.parts[1].shape.center, [0, 0, 30])


def test_tools_pass_through_transformations():
    tool = make()

    def height(pose):
        moved = tool.at(pose)
        center = moved.world_parts()[1].shape.center
        return moved.world_landmarks()["tip"][0] + center[1]

    slope = jax.grad(height)(sx.RigidTransform.identity())
    np.testing.assert_allclose(slope.translation, [1, 1, 0])
    # The tip lies at a height of 35 mm, the ball at 30 mm.
    np.testing.assert_allclose(slope.rotation, [[0, 0, 35], [0, 0, 30], [0, 0, 0]])
    poses = sx.RigidTransform(
        jnp.broadcast_to(jnp.eye(3), (4, 3, 3)), jnp.arange(12.0).reshape(4, 3)
    )
    tools = jax.vmap(lambda pose: tool.at(pose))(poses)
    np.testing.assert_allclose(tools.world_from_tool.translation[:, 0], [0, 3, 6, 9])
    assert tools.name == "hammer"


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="parts of 'none' must hold"):
        Tool.create("none", [])
    part = make().parts[0]
    with pytest.raises(ValueError, match=r"landmarks\['tip'\] of 'a'"):
        Tool.create("a", [part], landmarks={"tip": (0, 0)})
    with pytest.raises(ValueError, match="must have a density, 'H2O' has none"):
        Part.create(part.shape, "H2O")
    with pytest.raises(ValueError, match="material must be one of"):
        Part.create(part.shape, "unobtainium")
