"""Tool: rigid parts of given materials, posed in the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import jax.numpy as jnp

from synthex_jax.checks import require, require_finite, require_shape
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.physics.compounds import Material, material
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.solids import Solid
from synthex_jax.typing import ArrayLike, Vector3

Shape: TypeAlias = Mesh | Solid
"""What has a surface: a mesh, or a solid in closed form."""


@noun
@dataclass(frozen=True)
class Part:
    """A shape and what it is made of.

    Attributes:
        shape: mm, in the frame of its tool.
        material: with a density.
    """

    shape: Shape
    material: Material

    @classmethod
    def create(cls, shape: Shape, material: str | Material) -> Part:
        """From a shape and a material, or its name in ``physics.compounds``.

        Raises:
            ValueError: for a material that is unknown or has no density.
        """
        return cls(shape, _dense(material))


@noun
@dataclass(frozen=True)
class Tool:
    """Parts that move together.

    Parts do not overlap one another; where they would, a later one counts.

    Attributes:
        parts: in the tool's frame.
        landmarks: (3,) each, mm in the tool's frame, by name.
        world_from_tool: pose.
        name: what messages and legends call it, static.
        labelled: numbers of the parts that masks of the tool show, static.
    """

    parts: tuple[Part, ...]
    landmarks: dict[str, Vector3]
    world_from_tool: RigidTransform
    name: str = field(metadata={"static": True})
    labelled: tuple[int, ...] = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        name: str,
        parts: Sequence[Part],
        *,
        landmarks: Mapping[str, ArrayLike] | None = None,
        world_from_tool: RigidTransform | None = None,
        labelled: Sequence[int] | None = None,
    ) -> Tool:
        """From its parts and landmarks in mm, by default where the world's frame is.

        Args:
            name: of the tool.
            parts: in the tool's frame.
            landmarks: (3,) each, by name.
            world_from_tool: pose.
            labelled: numbers of the parts that masks show; by default all.

        Raises:
            ValueError: for no part, a number that is no part's, or a landmark that is
                not three finite numbers.
        """
        require(
            len(parts) > 0, f"parts of {name!r} must hold at least one Part, got none"
        )
        points = {
            key: jnp.asarray(point, float) for key, point in (landmarks or {}).items()
        }
        for key, point in points.items():
            require_shape(f"landmarks[{key!r}] of {name!r}", point, (3,))
            require_finite(f"landmarks[{key!r}] of {name!r}", point)
        shown = tuple(range(len(parts)) if labelled is None else labelled)
        require(
            all(0 <= number < len(parts) for number in shown),
            f"labelled must be numbers of the {len(parts)} parts of {name!r}, from 0 "
            f"on, got {shown}",
        )
        pose = RigidTransform.identity() if world_from_tool is None else world_from_tool
        return cls(tuple(parts), points, pose, name, shown)

    def at(self, world_from_tool: RigidTransform) -> Tool:
        """The same tool in another pose."""
        return replace(self, world_from_tool=world_from_tool)

    def world_parts(self) -> tuple[Part, ...]:
        """The parts, their shapes in world mm."""
        return tuple(
            replace(part, shape=part.shape.moved(self.world_from_tool))
            for part in self.parts
        )

    def labelled_parts(self) -> tuple[Part, ...]:
        """Those that masks of the tool show, their shapes in world mm."""
        parts = self.world_parts()
        return tuple(parts[number] for number in self.labelled)

    def world_landmarks(self) -> dict[str, Vector3]:
        """The landmarks in world mm."""
        return {
            name: self.world_from_tool.apply(point)
            for name, point in self.landmarks.items()
        }


def _dense(of: str | Material) -> Material:
    found = material(of)
    require(
        found.density is not None,
        f"material must have a density, {found.name!r} has none; give one: "
        f"material({found.name!r}, density=...) in g/cm^3",
    )
    return found
