"""Scene: a body with its annotations, and tools in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax.numpy as jnp

from synthex_jax.annotations.landmarks import Landmarks
from synthex_jax.annotations.structures import HIP_STRUCTURES, Structures, flags
from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.geometry.frames import transform_points
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS, Anatomy
from synthex_jax.simulation import Decomposition
from synthex_jax.tools.tool import Part, Tool
from synthex_jax.typing import ArrayLike, Vector3
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume


@noun
@dataclass(frozen=True)
class Scene:
    """What stands in the beam, and what is known about it.

    Tools replace the tissue that they occupy; where two of them overlap, the later one
    replaces the earlier (see ``projectors.insertion``).

    Attributes:
        body: a CT in HU, or its substances.
        flags: bits of the structures, as ``annotations.structures.flags`` makes them;
            None where nothing is segmented.
        landmarks: of the body, world mm; None where there are none.
        tools: in the order of insertion.
        structures: what the bits mean, static.
    """

    body: Volume | Composition
    flags: Volume | None
    landmarks: Landmarks | None
    tools: tuple[Tool, ...]
    structures: Structures = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        body: Volume | Composition,
        *,
        labels: Volume | None = None,
        structures: Structures = HIP_STRUCTURES,
        landmarks: Landmarks | Mapping[str, ArrayLike] | None = None,
        tools: Sequence[Tool] = (),
    ) -> Scene:
        """From a body and what belongs to it.

        Args:
            body: a CT in HU, or its substances.
            labels: integers on a grid of their own, with an affine to the same world.
            structures: which labels make which class of the masks.
            landmarks: world mm.
            tools: in the order of insertion.

        Raises:
            ValueError: for labels that are no integers, lie apart from the body or hold
                none of the structures; for two tools of one name.
        """
        names = [tool.name for tool in tools]
        require(
            len(set(names)) == len(names),
            f"tools must have names of their own, got {names}",
        )
        if landmarks is not None and not isinstance(landmarks, Landmarks):
            landmarks = Landmarks.from_mapping(landmarks)
        if labels is None:
            return cls(body, None, landmarks, tuple(tools), Structures((), ()))
        _require_same_place(_grid(body), labels)
        bits = flags(labels, structures)
        return cls(body, bits, landmarks, tuple(tools), structures)

    @classmethod
    def from_anatomy(
        cls,
        anatomy: Anatomy,
        *,
        structures: Structures = HIP_STRUCTURES,
        tools: Sequence[Tool] = (),
    ) -> Scene:
        """From a phantom."""
        return cls.create(
            anatomy.ct,
            labels=anatomy.labels,
            structures=structures,
            landmarks=landmarks_of(anatomy),
            tools=tools,
        )

    @property
    def center(self) -> Vector3:
        """(3,), world mm: the middle of the body's grid."""
        return _grid(self.body).center

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes 1, 2, ... of a mask: the structures, then the tools."""
        return (*self.structures.names, *(tool.name for tool in self.tools))

    def parts(self) -> tuple[Part, ...]:
        """Those of all tools, in world mm."""
        return tuple(part for tool in self.tools for part in tool.world_parts())

    def all_landmarks(self) -> Landmarks | None:
        """The body's landmarks, then each tool's as "tool landmark", world mm."""
        found = {} if self.landmarks is None else _mapping(self.landmarks)
        for tool in self.tools:
            points = tool.world_landmarks()
            found |= {f"{tool.name} {name}": point for name, point in points.items()}
        return Landmarks.from_mapping(found) if found else None

    def prepared(self, tissues: Decomposition) -> Scene:
        """The scene with substances instead of HU; worth keeping for many views."""
        if isinstance(self.body, Composition):
            return self
        return replace(self, body=tissues.composition(self.body))

    def with_tools(self, *tools: Tool) -> Scene:
        """The scene with these tools instead of its own."""
        return replace(self, tools=tools)

    def deformed(self, world_from_world: ArrayLike) -> Scene:
        """The body, its labels and landmarks after an affine map of space.

        Nothing is resampled: the grids' affines take the map up, sheared as they may
        then be. Tools stay where they are.

        Args:
            world_from_world: (4, 4), mm; rotation, scale and shear, invertible.

        Raises:
            ValueError: for a matrix of another shape or not finite.
        """
        matrix = jnp.asarray(world_from_world, float)
        require_shape("world_from_world", matrix, (4, 4))
        require_finite("world_from_world", matrix)
        moved = lambda volume: replace(volume, affine=product(matrix, volume.affine))
        body, bits, landmarks = self.body, self.flags, self.landmarks
        if isinstance(body, Composition):
            body = replace(body, fractions=moved(body.fractions))
        else:
            body = moved(body)
        if landmarks is not None:
            points = transform_points(matrix, landmarks.points)
            landmarks = replace(landmarks, points=points)
        return replace(
            self,
            body=body,
            flags=None if bits is None else moved(bits),
            landmarks=landmarks,
        )


def landmarks_of(anatomy: Anatomy) -> Landmarks:
    """A phantom's landmarks, those of the hip first and in the paper's order.

    The order of a dictionary does not survive ``jit``, which sorts by name.
    """
    found = anatomy.landmarks
    first = [name for name in HIP_LANDMARKS if name in found]
    others = [name for name in found if name not in HIP_LANDMARKS]
    return Landmarks.from_mapping({name: found[name] for name in (*first, *others)})


def _grid(body: Volume | Composition) -> Volume:
    return body if isinstance(body, Volume) else body.fractions


def _mapping(landmarks: Landmarks) -> dict[str, Vector3]:
    return dict(zip(landmarks.names, landmarks.points, strict=True))


def _require_same_place(body: Volume, labels: Volume) -> None:
    """Refuse labels whose box does not meet the body's: of another patient or frame."""
    if not is_concrete(body.affine, labels.affine):
        return
    ours, theirs = body.corners(), labels.corners()
    low = jnp.maximum(jnp.min(ours, axis=0), jnp.min(theirs, axis=0))
    high = jnp.minimum(jnp.max(ours, axis=0), jnp.max(theirs, axis=0))
    require(
        bool(jnp.all(low < high)),
        "labels must lie where the body is, but the labels' center is at "
        f"{[round(x) for x in labels.center.tolist()]} mm and the body's at "
        f"{[round(x) for x in body.center.tolist()]} mm; are both in RAS+ mm and of "
        "one scan?",
    )
