"""Structures: which label numbers count as one, and which of them hides which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt

from synthex_jax.checks import is_concrete, require
from synthex_jax.nouns import noun
from synthex_jax.volumes.grids import cropped, padded
from synthex_jax.volumes.structures import TOTALSEGMENTATOR_V2
from synthex_jax.volumes.volume import Volume

# Bits of the widest type of flags.
_MOST_STRUCTURES = 32
# Label numbers are looked up in a table; no atlas numbers its structures higher.
_LARGEST_LABEL = 2**16 - 1


@dataclass(frozen=True)
class Structure:
    """A named part of a body.

    Attributes:
        name: unique among the structures.
        labels: the numbers of the label volume that count as it.
    """

    name: str
    labels: tuple[int, ...]


@noun
@dataclass(frozen=True)
class Structures:
    """The structures that masks tell apart, and their precedence. Static and hashable.

    Structure s is bit s of flags, channel s of masks, and class s + 1 of a class map,
    in which 0 is the background.

    Attributes:
        members: in the order of bits and classes.
        precedence: groups of names; where a ray meets structures of several groups, a
            class map shows the first of these groups, and of its members the one that
            is nearest to the source. Every name is in one group.
    """

    members: tuple[Structure, ...] = field(metadata={"static": True})
    precedence: tuple[tuple[str, ...], ...] = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        members: Mapping[str, int | Sequence[int]],
        *,
        precedence: Iterable[str | Sequence[str]] = (),
    ) -> Structures:
        """From names and label numbers.

        Args:
            members: name to one label number or several, in the order of classes.
            precedence: names, or groups of names of which the nearer wins, the winning
                first. Members that are not named follow one by one, in order.

        Raises:
            ValueError: for no member or more than 32; for a label number that is not
                from 1 to 65535 or is given twice, and a member without any; for a
                precedence with an unknown name or a name given twice.

        Example:
            >>> hand = Structures.create({"bone": [1, 2], "cast": 7})
            >>> hand.names, hand.index("cast")
            (('bone', 'cast'), 1)
        """
        found = tuple(
            Structure(name, (numbers,) if _is_number(numbers) else tuple(numbers))  # pyright: ignore
            for name, numbers in members.items()
        )
        _require_members(found)
        groups = [(g,) if isinstance(g, str) else tuple(g) for g in precedence]
        _require_precedence(groups, tuple(members))
        named = {name for group in groups for name in group}
        rest = [(name,) for name in members if name not in named]
        return cls(found, (*groups, *rest))

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of bits and classes."""
        return tuple(member.name for member in self.members)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The precedence as indices of members."""
        return tuple(
            tuple(self.index(name) for name in group) for group in self.precedence
        )

    def index(self, name: str) -> int:
        """The number of the bit of a structure, one less than that of its class.

        Raises:
            ValueError: for an unknown name.
        """
        if name not in self.names:
            _refuse_name("name", name, self.names)
        return self.names.index(name)


def flags(labels: Volume, structures: Structures) -> Volume:
    """A label volume as bits: bit s of a voxel is set where it belongs to structure s.

    Labels whose values are known are cropped to the box of the structures, with a
    margin of one voxel; under tracing the grid stays as it is.

    Args:
        labels: (nx, ny, nz), integers.
        structures: up to 32; those of which there is no voxel do no harm.

    Returns:
        uint8, uint16 or uint32, the narrowest that has a bit for each structure.

    Raises:
        ValueError: for labels that are not integers or have channels, and labels
            without a voxel of any of the structures.
    """
    _require_labels(labels)
    most = max(number for member in structures.members for number in member.labels)
    table = np.zeros(most + 1, _flag_type(len(structures.members)))
    for bit, member in enumerate(structures.members):
        table[list(member.labels)] = 1 << bit
    if not is_concrete(labels):
        return _looked_up(table, labels)
    with jax.ensure_compile_time_eval():
        return _around_occupied(_looked_up(table, labels), labels, structures)


def indicators(labels: Volume, structures: Structures) -> Volume:
    """A label volume as channels: 1 where a voxel belongs to the structure, else 0.

    Args:
        labels: (nx, ny, nz), integers; cropped as by ``flags``.
        structures: one channel each.

    Returns:
        (nx, ny, nz, structures) of 8 bits a sample, which projectors take as they are.

    Raises:
        ValueError: as ``flags``.
    """
    bits = flags(labels, structures)
    return Volume(_split(len(structures.members), bits.data), bits.affine)


@jax.jit
def _looked_up(
    table: UInt[np.ndarray, "numbers"] | UInt[Array, "numbers"], labels: Volume
) -> Volume:
    number = labels.data.astype(jnp.int32)
    known = (number >= 0) & (number < len(table))
    bits = jnp.asarray(table)[jnp.where(known, number, 0)]
    return Volume(bits, labels.affine)


@partial(jax.jit, static_argnums=0)
def _split(
    count: int, bits: UInt[Array, "nx ny nz"]
) -> UInt[Array, "nx ny nz structures"]:
    shifts = jnp.arange(count, dtype=bits.dtype)
    return ((bits[..., None] >> shifts) & 1).astype(jnp.uint8)


def _around_occupied(bits: Volume, labels: Volume, structures: Structures) -> Volume:
    occupied = np.asarray(bits.data) != 0
    along = [
        np.flatnonzero(occupied.any(axis=tuple(o for o in range(3) if o != axis)))
        for axis in range(3)
    ]
    if along[0].size == 0:
        present = np.unique(np.asarray(labels.data))
        shown = ", ".join(map(str, present[:20])) + (
            ", ..." if len(present) > 20 else ""
        )
        wanted = "; ".join(
            f"{member.name}: {', '.join(map(str, member.labels))}"
            for member in structures.members
        )
        raise ValueError(
            f"labels must hold voxels of at least one structure ({wanted}), but their "
            f"values are {shown}; choose structures by the numbers of this label map"
        )
    box = cropped(bits, [int(i[0]) for i in along], [int(i[-1]) + 1 for i in along])
    return padded(box, 1, 0)


def _flag_type(count: int) -> type[np.unsignedinteger]:
    return np.uint8 if count <= 8 else np.uint16 if count <= 16 else np.uint32


def _is_number(labels: object) -> bool:
    return isinstance(labels, int | np.integer)


def _require_members(members: tuple[Structure, ...]) -> None:
    require(
        0 < len(members) <= _MOST_STRUCTURES,
        f"members must be 1 to {_MOST_STRUCTURES} structures, one bit each, got "
        f"{len(members)}; merge some, or make several Structures",
    )
    for member in members:
        require(
            len(member.labels) > 0
            and all(_is_number(n) and 0 < n <= _LARGEST_LABEL for n in member.labels),
            "members must have label numbers, whole and from 1 (0 is background) to "
            f"{_LARGEST_LABEL}, but {member.name!r} has {member.labels}",
        )
    counts = Counter(number for member in members for number in member.labels)
    doubled = {number for number, count in counts.items() if count > 1}
    require(
        not doubled,
        "members must not share label numbers, but "
        + "; ".join(
            f"{number} is in {[m.name for m in members if number in m.labels]}"
            for number in sorted(doubled)
        )
        + "; leave each in one structure",
    )


def _require_precedence(
    groups: Sequence[tuple[str, ...]], known: tuple[str, ...]
) -> None:
    named = [name for group in groups for name in group]
    for name in named:
        if name not in known:
            _refuse_name("precedence", name, known)
        require(
            named.count(name) == 1,
            f"precedence must name a structure once, but names {name!r} "
            f"{named.count(name)} times",
        )


def _refuse_name(argument: str, name: str, known: tuple[str, ...]) -> NoReturn:
    raise ValueError(f"{argument} must be of {', '.join(known)}; got {name!r}")


def _require_labels(labels: Volume) -> None:
    require(
        labels.data.ndim == 3,
        "labels must have one number a voxel, (nx, ny, nz), got shape "
        f"{labels.data.shape}",
    )
    require(
        jnp.issubdtype(labels.data.dtype, jnp.integer),
        f"labels must be integers, got {labels.data.dtype}; if they are whole numbers "
        'all the same, labels.astype("int32") makes them so',
    )


_NUMBERS = {name: number for number, name in TOTALSEGMENTATOR_V2.items()}


def _numbered(*names: str) -> tuple[int, ...]:
    return tuple(_NUMBERS[name] for name in names)


def _starting(*starts: str) -> tuple[int, ...]:
    return tuple(n for name, n in _NUMBERS.items() if name.startswith(starts))


HIP_STRUCTURES = Structures.create(
    {
        "left hemipelvis": _numbered("hip_left"),
        "right hemipelvis": _numbered("hip_right"),
        "vertebrae": _starting("vertebrae_L", "vertebrae_T"),
        "upper sacrum": _numbered("sacrum", "vertebrae_S1"),
        "left femur": _numbered("femur_left"),
        "right femur": _numbered("femur_right"),
    },
    precedence=(
        ("left femur", "right femur"),
        ("left hemipelvis", "right hemipelvis"),
        "vertebrae",
        "upper sacrum",
    ),
)
"""The six classes of SyntheX for the hip, in its order, by TotalSegmentator's numbers.

Precedence is that of the 2-D labels of Grupp et al. 2020 (IJCARS 15:759, section 2.3):
femurs, then the hemipelvis nearer to the source, vertebrae, sacrum. TotalSegmentator
draws no border across the sacrum, so that all of it counts as the upper part."""

CHEST_STRUCTURES = Structures.create(
    {
        "left lung": _numbered("lung_upper_lobe_left", "lung_lower_lobe_left"),
        "right lung": _numbered(
            "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"
        ),
        "heart": _numbered("heart"),
        "spine": _starting("vertebrae_C", "vertebrae_T", "vertebrae_L"),
        "sternum": _numbered("sternum"),
        "left ribs": _starting("rib_left"),
        "right ribs": _starting("rib_right"),
        "left clavicle": _numbered("clavicula_left"),
        "right clavicle": _numbered("clavicula_right"),
        "left scapula": _numbered("scapula_left"),
        "right scapula": _numbered("scapula_right"),
    },
    precedence=(
        ("left clavicle", "right clavicle"),
        ("left scapula", "right scapula"),
        ("left ribs", "right ribs"),
        "sternum",
        "spine",
        "heart",
        ("left lung", "right lung"),
    ),
)
"""A chest by TotalSegmentator's numbers.

In a class map what is small and dense goes before what is large and thin, so that all
of it is seen; overlapping masks hold the lungs whole."""
