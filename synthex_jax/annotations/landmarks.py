"""Landmarks: named points of a patient or a tool, and where a camera sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from synthex_jax.checks import require, require_finite, require_shape
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Shape2, Vector3

# A side as a word (left, Left, LEFT) that no letters run into, or as the first or last
# letter, set off by a sign (FH-l, L.FH).
_SIDE = re.compile(
    r"(?<![a-zA-Z])(?:left|right)(?![a-z])"
    r"|(?:Left|Right)(?![a-z])"
    r"|(?<![A-Z])(?:LEFT|RIGHT)(?![A-Z])"
    r"|^[lrLR](?=[^a-zA-Z0-9])"
    r"|(?<=[^a-zA-Z0-9])[lrLR]$"
)
_RIGHT_OF = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OTHER_SIDE = _RIGHT_OF | {right: left for left, right in _RIGHT_OF.items()}


@noun
@dataclass(frozen=True)
class Landmarks:
    """Named points.

    Attributes:
        names: one a point, all different, static.
        points: (n, 3), world RAS+ mm.
    """

    names: tuple[str, ...] = field(metadata={"static": True})
    points: Float[Array, "n 3"]

    @classmethod
    def create(cls, names: Sequence[str], points: ArrayLike) -> Landmarks:
        """From names and as many points.

        Args:
            names: at least one, all different.
            points: (n, 3), world mm.

        Raises:
            ValueError: for no names or some that are there twice, and for points of
                another shape or not finite.
        """
        names = tuple(names)
        require(len(names) > 0, "names must hold at least one landmark, got none")
        doubled = sorted({name for name in names if names.count(name) > 1})
        require(not doubled, f"names must differ, {doubled} are there more than once")
        points = jnp.asarray(points, float)
        require_shape("points", points, (len(names), 3))
        require_finite("points", points)
        return cls(names, points)

    @classmethod
    def from_mapping(cls, points: Mapping[str, ArrayLike]) -> Landmarks:
        """From a dictionary of points, as readers and phantoms give, in its order.

        Args:
            points: name to (3,), world mm.

        Raises:
            ValueError: for an empty dictionary, and for a point of another shape or
                not finite.

        Example:
            >>> landmarks = Landmarks.from_mapping({"FH-l": [-90.0, 0, 0]})
            >>> landmarks.names, landmarks.points.shape
            (('FH-l',), (1, 3))
        """
        for name, point in points.items():
            require_shape(f"points[{name!r}]", point, (3,))
        names = tuple(points)
        return cls.create(names, [jnp.asarray(points[n], float) for n in names])

    def select(self, names: Sequence[str]) -> Landmarks:
        """Those of the given names, in their order.

        Raises:
            ValueError: for a name that is not there; it lists those that are.
        """
        rows = jnp.asarray([self._index(name) for name in names])
        return Landmarks.create(names, self.points[rows])

    def __getitem__(self, name: str) -> Vector3:
        """(3,), world mm: the landmark of that name."""
        return self.points[self._index(name)]

    def _index(self, name: str) -> int:
        close = get_close_matches(name, self.names)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        require(
            name in self.names,
            f"name must be one of {', '.join(self.names)}, got {name!r}{hint}",
        )
        return self.names.index(name)


@noun
@dataclass(frozen=True)
class ProjectedLandmarks:
    """Where landmarks lie in an image.

    Attributes:
        names: one a point, static.
        pixels: (n, 2), (row, column), finite; it may lie outside the image.
        visible: (n,), whether the point is in the image.
        depth: (n,), mm from the source along the camera's z axis.
    """

    names: tuple[str, ...] = field(metadata={"static": True})
    pixels: Float[Array, "n 2"]
    visible: Bool[Array, "n"]
    depth: Float[Array, "n"]


@jax.jit
def project_landmarks(landmarks: Landmarks, camera: Camera) -> ProjectedLandmarks:
    """Where a camera sees landmarks, and which of them.

    A landmark is visible if it lies in front of the source, not behind the detector,
    and on one of the pixels. Bodies do not hide it: X-rays pass through them.

    Args:
        landmarks: world mm.
        camera: one view.

    Returns:
        pixels and depths with derivatives in points and camera, which are finite
        everywhere; a point in the source's plane gets a large pixel.
    """
    depth = camera.depth(landmarks.points)
    pixels = camera.project(landmarks.points)
    in_beam = (depth > 0) & (depth <= camera.source_to_detector)
    visible = in_beam & in_image(pixels, camera.shape)
    return ProjectedLandmarks(landmarks.names, pixels, visible, depth)


def in_image(pixels: Float[Array, "*batch 2"], shape: Shape2) -> Bool[Array, "*batch"]:
    """Whether pixel coordinates lie on an image, to the outer edges of its pixels.

    Args:
        pixels: (..., 2), (row, column).
        shape: (rows, cols) of the image.
    """
    size = jnp.asarray(shape, pixels.dtype)
    return jnp.all((pixels >= -0.5) & (pixels < size - 0.5), axis=-1)


def mirrored_name(name: str) -> str:
    """The name of the same structure on the other side of the body.

    Left and right change places as words (``hip_left``, ``left femur``,
    ``FemurLeft``) and as a first or last letter set off by a sign (``FH-l``,
    ``L.FH``). A name without a side stays as it is.

    Example:
        >>> mirrored_name("FH-l"), mirrored_name("rib_right_3"), mirrored_name("L5")
        ('FH-r', 'rib_left_3', 'L5')
    """
    return _SIDE.sub(lambda side: _OTHER_SIDE[side.group()], name)


def mirrored_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Which of the names are the two sides of one structure.

    Args:
        names: of landmarks or structures.

    Returns:
        pairs of indices, the smaller first.

    Raises:
        ValueError: for a name with a side whose other side is missing.

    Example:
        >>> mirrored_pairs(["hip_left", "hip_right", "sacrum"])
        ((0, 1),)
    """
    names = list(names)
    pairs = []
    for i, name in enumerate(names):
        other = mirrored_name(name)
        require(
            other in names,
            f"names must hold both sides of a structure, {name!r} is there and "
            f"{other!r} is not",
        )
        if i < names.index(other):
            pairs.append((i, names.index(other)))
    return tuple(pairs)
