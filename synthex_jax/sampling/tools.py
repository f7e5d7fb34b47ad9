"""Random tools: which, in what shape, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.placements import Placement
from synthex_jax.tools.continuum import ContinuumManipulator
from synthex_jax.tools.tool import Tool
from synthex_jax.typing import ArrayLike, PRNGKey


@runtime_checkable
class ToolSampler(Protocol):
    """What makes a tool and puts it somewhere."""

    @property
    def example(self) -> Tool:
        """A tool such as it makes: its parts and landmarks."""
        ...

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> Tool:
        """One tool near an anchor (3,), world mm, that a camera will look at."""
        ...

    def describe(self) -> dict[str, Any]:
        """Kind and parameters, in JSON's types."""
        ...


@noun
@dataclass(frozen=True)
class PlacedTool(Describable):
    """A rigid tool in random places.

    Attributes:
        tool: whose pose is replaced.
        placement: where to.
    """

    tool: Tool
    placement: Placement

    @property
    def example(self) -> Tool:
        """The tool."""
        return self.tool

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> Tool:
        """The tool in a place of its own.

        Args:
            key: consumed here.
            camera: that will look at it.
            anchor: (3,), world mm.
        """
        return self.tool.at(self.placement.sample(key, camera, anchor))


@noun
@dataclass(frozen=True)
class BentManipulator(Describable):
    """A continuum manipulator, bent and placed at random.

    The angles at its control points are those of its ``random_angles``.

    Attributes:
        manipulator: the device.
        placement: of its base.
    """

    manipulator: ContinuumManipulator
    placement: Placement

    @property
    def example(self) -> Tool:
        """The device, straight."""
        return self.manipulator.tool(jnp.zeros(1))

    def sample(self, key: PRNGKey, camera: Camera, anchor: ArrayLike) -> Tool:
        """The device, bent, with its base in a place of its own.

        Args:
            key: consumed here.
            camera: that will look at it.
            anchor: (3,), world mm.
        """
        for_angles, for_place = jax.random.split(key)
        tool = self.manipulator.tool(self.manipulator.random_angles(for_angles))
        return tool.at(self.placement.sample(for_place, camera, anchor))
