"""The front door for tools: from radiographs and a start to pose and joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.registration.correlation_ratio import GradientCorrelationRatio
from synthex_jax.registration.course import Optimizer
from synthex_jax.registration.history import History
from synthex_jax.registration.levenberg_marquardt import LevenbergMarquardt
from synthex_jax.registration.problem import Weights
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.search import Search
from synthex_jax.registration.similarity import NCC, Similarity
from synthex_jax.registration.stages import solved
from synthex_jax.registration.tool_in_view import (
    Articulated,
    Configuration,
    Joints,
    Rigid,
    ToolInView,
)
from synthex_jax.tools.tool import Tool
from synthex_jax.typing import ArrayLike, Image, Scalar

TOOL_LEVELS = (
    Level(pixels=50, spacing=1.0, tolerance=0.5, similarity=NCC()),
    Level(pixels=100, spacing=1.0, tolerance=0.1, similarity=NCC()),
    Level(pixels=200, spacing=1.0, tolerance=0.02),
)
"""As those of bodies; tools have no voxels, and their spacing says nothing. Plain
cross-correlation finds a thin tool from farther off than its edges do."""


@noun
@dataclass(frozen=True)
class ToolHistory(History):
    """The way of a tool.

    Attributes:
        world_from_tool: (n, 4, 4).
        joints: (n, joints).
    """

    world_from_tool: Float[Array, "n 4 4"]
    joints: Float[Array, "n joints"]


@noun
@dataclass(frozen=True)
class ToolRegistration:
    """Where a tool is and how it is bent, and how sure that is.

    Attributes:
        tool: as found, in the world.
        joints: (joints,).
        status: (), a ``Status``.
        similarity: (), mean over the views, at the last level.
        covariance: (n, n), of the twist of the tool in its own frame about the middle
            of its surface, without the turn about z where ``axisymmetric``, and of the
            joints, as far as noise goes. Infinite where unknown.
        in_plane_std: of each landmark: (views,), mm along a direction of the
            detector's plane.
        depth_std: of each landmark: (views,), mm along the view.
        history: the way there.
    """

    tool: Tool
    joints: Joints
    status: Int[Array, ""]
    similarity: Scalar
    covariance: Float[Array, "n n"]
    in_plane_std: dict[str, Float[Array, "views"]]
    depth_std: dict[str, Float[Array, "views"]]
    history: ToolHistory

    @property
    def iterations(self) -> Int[Array, ""]:
        """(): projections with derivatives, all levels together, without a search's."""
        return jnp.sum(self.history.level >= 0)


def register_tool(
    fixed: Sequence[Image],
    tool: Tool | Articulated,
    cameras: Sequence[Camera],
    world_from_tool: RigidTransform,
    joints: ArrayLike = (),
    *,
    background: Sequence[Weights] | None = None,
    energy: ArrayLike = 60.0,
    surface_std: ArrayLike = 20.0,
    joints_std: ArrayLike = 0.05,
    axisymmetric: bool = False,
    similarity: Similarity = GradientCorrelationRatio(),
    weights: Sequence[Weights] | None = None,
    levels: Sequence[Level] = TOOL_LEVELS,
    optimizer: Optimizer = LevenbergMarquardt(iterations=40),
    search: Search | None = None,
) -> ToolRegistration:
    """The pose of a tool, and its joints, from radiographs with known cameras.

    Pure, and traceable in the radiographs, their weights, backgrounds and the start.
    One view shows a thin tool's depth and its tilt towards the detector badly: expect
    centimeters, and where the tilt is small the mirrored one; give two views where that
    matters. Start within about the tool's width in the image: away from it, or with
    joints far off, the end may be another optimum, which a much lower similarity tells.

    Args:
        fixed: one (rows, cols) a view: attenuation (``log_image``), up to a gain and
            an offset.
        tool: one that is rigid, whose own pose does not count, or what makes it from
            its joints, as ``ContinuumManipulator`` does from control angles.
        cameras: one a view; as of a registration of the body.
        world_from_tool: near the true pose.
        joints: (joints,), near the true ones; none of a rigid tool.
        background: one (rows, cols) a view: line integrals of the body without the
            tool, whose fitted curve is subtracted first; by default nothing.
        energy: keV, at which the materials attenuate; the contrast is fitted.
        surface_std: mm, how far the tool's surface may be from the start's, root mean
            square: holds what the images do not show.
        joints_std: how far joints may be from the start's, likewise; the default is
            about that of ``ContinuumManipulator.random_angles``, radians.
        axisymmetric: whether the tool looks alike however it turns about its z axis,
            as wires and drills do: that angle stays as it is, static.
        similarity: what to maximize, where the level has none of its own; the default
            fits the curve on which metal hardens the beam and scatter veils it.
        weights: one (rows, cols) a view, not negative; 0 where pixels do not count.
        levels: resolutions, coarse to fine.
        optimizer: of the levels.
        search: the global stage, for starts that are far off; joints are spread by
            ``joints_std``.

    Raises:
        ValueError: for radiographs that show nothing or are not finite, shapes that do
            not agree, a start that is not in the beam, joints of a rigid tool, and a
            similarity that the optimizer or the search cannot take.

    Example::

        camera = carm.at(0.2, isocenter=body.center)
        found = sx.register_tool(
            [fixed], ContinuumManipulator.create(), [camera], pose, jnp.zeros(5),
            background=[sx.line_integrals(body, camera)],
        )
        found.tool.world_landmarks()["tip"], found.in_plane_std["tip"]
    """
    values = jnp.asarray(joints, float)
    maker = Rigid(tool) if isinstance(tool, Tool) else tool
    require(
        values.size == 0 or not isinstance(tool, Tool),
        f"joints must be none for the rigid tool {getattr(tool, 'name', '')!r}, got "
        f"{values.shape}; give what makes the tool from its joints",
    )
    start = Configuration(world_from_tool, values)
    problem = ToolInView.create(
        fixed,
        maker,
        cameras,
        start,
        weights,
        background=background,
        energy=energy,
        surface_std=surface_std,
        joints_std=joints_std,
        turns=not axisymmetric,
    )
    found = solved(
        problem,
        start,
        similarity=similarity,
        levels=levels,
        optimizer=optimizer,
        search=search,
    )
    way, unsure = found.way, found.unsure
    names = sorted(problem.posed(start).landmarks) or ["middle"]
    poses = [jax.vmap(lambda c: c.world_from_tool.matrix)(s) for s in way.states]
    return ToolRegistration(
        tool=_posed(problem, found.state),
        joints=found.state.joints,
        status=found.status,
        similarity=unsure.similarity,
        covariance=unsure.covariance,
        in_plane_std=dict(zip(names, unsure.in_plane, strict=True)),
        depth_std=dict(zip(names, unsure.depth, strict=True)),
        history=ToolHistory(
            way.level,
            way.costs,
            way.movements,
            jnp.concatenate(poses),
            jnp.concatenate([s.joints for s in way.states]),
        ),
    )


@jax.jit
def _posed(problem: ToolInView, state: Configuration) -> Tool:
    """Compiled, so that joints beyond what a tool can bend are a result, no error."""
    return problem.posed(state)
