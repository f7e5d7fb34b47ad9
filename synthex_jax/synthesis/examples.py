"""Examples: what exporters take and readers of other layouts give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped

from synthex_jax.checks import require, require_finite

Example: TypeAlias = dict[str, np.ndarray]
"""One example: names to arrays without a batch axis. ``image`` is always there."""

_IMAGES = ("image", "mask", "hits")
_OF_THE_CAMERA = ("intrinsics", "camera_from_world")


@runtime_checkable
class Examples(Protocol):
    """A data set: numbered examples, and what is common to them.

    Fields that readers and exporters know: ``image`` (rows, cols); ``mask`` (rows,
    cols), class map, 0 is background and s + 1 structure s; ``hits`` (rows, cols), bit
    s set where structure s is met; ``landmarks`` (L, 2), (row, column), finite;
    ``visible`` (L,); ``boxes`` (S, 4), (top, left, bottom, right) edges, with
    ``present`` (S,); ``intrinsics`` (3, 3) and ``camera_from_world`` (4, 4), as
    ``Camera.from_krt`` takes them; ``source_to_detector``, ``pitch`` (2,), mm;
    ``specimen``, a number.
    """

    @property
    def attributes(self) -> dict[str, Any]:
        """JSON: ``landmark_names``, ``structure_names``, ``specimen_names``, ..."""
        ...

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Example number ``index``."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Examples that are held in memory.

    Attributes:
        examples: one dictionary an example.
        attributes: what is common to them.
    """

    examples: tuple[Example, ...]
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


@dataclass(frozen=True)
class Mirrored:
    """The same patients seen from the other side: columns reversed.

    Cameras of this library see from the source. The published hip data sets are seen
    from the detector: this turns one into the other, either way. Names of structures
    and landmarks stay as they are, since the patient does. No camera makes a mirrored
    image, so ``intrinsics`` and ``camera_from_world`` are left out.

    Attributes:
        examples: what is mirrored, one at a time, as it is asked for.
    """

    examples: Examples

    @property
    def attributes(self) -> dict[str, Any]:
        """Those of the examples."""
        return self.examples.attributes

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return _mirrored(self.examples[index])


def position(index: int, length: int) -> int:
    """An index counted from the start.

    Raises:
        IndexError: that names both, for an index beyond the end.
    """
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of range for {length} examples")
    return index % length


def numbered(examples: Examples) -> Iterator[tuple[int, Example]]:
    """Every example with its number; stops at the length, whatever the source does."""
    for index in range(len(examples)):
        yield index, examples[index]


def first_with(examples: Examples, fields: tuple[str, ...], purpose: str) -> Example:
    """The first example, which stands for all.

    Raises:
        ValueError: if there is none, or it lacks one of the fields.
    """
    require(len(examples) > 0, f"examples must not be empty for {purpose}")
    example = examples[0]
    missing = [field for field in fields if field not in example]
    require(
        not missing,
        f"examples must hold {list(fields)} for {purpose}, they lack {missing}; they "
        f"hold {sorted(example)}",
    )
    return example


def names(examples: Examples, kind: str, count: int | None = None) -> tuple[str, ...]:
    """The names that the attributes list under ``kind``, for example landmark_names.

    Raises:
        ValueError: if they are not there, or not ``count``.
    """
    found = examples.attributes.get(kind)
    require(
        found is not None,
        f"attributes must list the {kind}, they hold {sorted(examples.attributes)}",
    )
    listed = tuple(str(name) for name in found or ())
    require(
        count is None or len(listed) == count,
        f"attributes must list {count} {kind}, as the examples hold, got {len(listed)}",
    )
    return listed


def finite(example: Mapping[str, np.ndarray], field: str, index: int) -> np.ndarray:
    """A field of example number ``index``, refused if it holds NaN or infinity."""
    require_finite(f"{field} of example {index}", example[field])
    return np.asarray(example[field])


def structure_mask(
    example: Mapping[str, np.ndarray], structure: int
) -> Bool[np.ndarray, "rows cols"]:
    """Where structure number ``structure`` is.

    All of it, behind others too, where the example holds ``hits``; else what the class
    map shows of it.
    """
    if "hits" in example:
        return (np.asarray(example["hits"]) >> structure) & 1 == 1
    return np.asarray(example["mask"]) == structure + 1


def in_image(
    landmarks: Float[np.ndarray, "landmarks 2"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "landmarks"]:
    """Which (row, column) lie on a pixel of an image of the shape (rows, cols)."""
    return np.all((landmarks >= -0.5) & (landmarks < np.asarray(shape) - 0.5), axis=1)


def visible(example: Mapping[str, np.ndarray]) -> Bool[np.ndarray, "landmarks"]:
    """The field of that name or, without it, which landmarks lie in the image."""
    if "visible" in example:
        return np.asarray(example["visible"], bool)
    return in_image(np.asarray(example["landmarks"]), example["image"].shape)


def _mirrored(example: Example) -> Example:
    last = example["image"].shape[1] - 1
    found = {k: v for k, v in example.items() if k not in _OF_THE_CAMERA}
    for name in found.keys() & set(_IMAGES):
        found[name] = _reversed(found[name])
    if "landmarks" in found:
        row, col = np.moveaxis(found["landmarks"], -1, 0)
        found["landmarks"] = np.stack([row, last - col], axis=-1)
    if "boxes" in found:
        top, left, bottom, right = np.moveaxis(found["boxes"], -1, 0)
        turned = np.stack([top, last - right, bottom, last - left], axis=-1)
        present = found["present"][:, None]
        found["boxes"] = np.where(present, turned, found["boxes"])
    return found


def _reversed(
    image: Shaped[np.ndarray, "rows cols"],
) -> Shaped[np.ndarray, "rows cols"]:
    return np.ascontiguousarray(image[:, ::-1])
