"""What the folder of a data set holds: a Zarr v3 group with one array a field.

::

    zarr.json             the header: attributes, and every array's metadata once more
    image/zarr.json       metadata of a field's array; axis 0 counts the examples
    image/c.0.0.0         its shard 0, with the examples of item 0
    records/00000.json    sizes and checksums of item 0's files, once they are durable
    preview.png           a sheet of some examples, for people; may be missing

A file's contents follow from the header and the number of its item alone, never from
the time or the order of the work, so that a data set made by many processes, or in many
attempts, is the same byte by byte.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from synthex_jax._version import __version__
from synthex_jax.checks import require
from synthex_jax.files import existing
from synthex_jax.synthesis.zarr_arrays import (
    array_metadata,
    group_metadata,
    require_field,
    shard_name,
)

HEADER = "zarr.json"
RECORDS = "records"
PREVIEW = "preview.png"

_FORMAT = {"name": "synthex_jax data set", "version": 1}
_NUMBERS = ("num", "seed", "batch", "shard")
_OWN = ("format", *_NUMBERS, "versions")
_SHOWN_DIFFERENCES = 6


@dataclass(frozen=True)
class Layout:
    """The header of a data set, and the names and metadata that follow from it.

    Attributes:
        num: of examples.
        seed: of the examples' random keys.
        batch: examples that are computed together.
        shard: examples of an item of work and of each of its files, whole batches.
        fields: shape and type of each field of one example.
        description: of the source: recipe, names (JSON).
        versions: of the packages that decide what an example looks like.
    """

    num: int
    seed: int
    batch: int
    shard: int
    fields: Mapping[str, jax.ShapeDtypeStruct]
    description: Mapping[str, Any]
    versions: Mapping[str, str]

    @classmethod
    def create(
        cls,
        description: Mapping[str, Any],
        fields: Mapping[str, jax.ShapeDtypeStruct],
        *,
        num: int,
        seed: int,
        batch: int,
        shard: int,
    ) -> Layout:
        """The layout of a new data set, made by the packages installed here.

        Raises:
            ValueError: for numbers out of range, a shard that is not whole batches,
                fields that Zarr cannot hold, or a description that is not JSON.
        """
        _require_numbers(num, seed, batch, shard)
        require(bool(fields), "fields must name at least one field, got none")
        for name, field in fields.items():
            require_field(name, field)
            require(name != RECORDS, f"no field may be named {RECORDS!r}; rename it")
        versions = {"jax": jax.__version__, "synthex_jax": __version__}
        return cls(num, seed, batch, shard, fields, _json(description), versions)

    @classmethod
    def read(cls, path: str | Path) -> Layout:
        """The layout of the data set in a folder.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no data set, or one in another format.
        """
        folder = existing(path, "the folder of a data set")
        header = folder / HEADER
        require(
            header.is_file(),
            f"{path} is no data set, it has no {HEADER}; give the folder that "
            "synthesize wrote",
        )
        try:
            group = json.loads(header.read_bytes())
            attributes = group["attributes"]
            form = attributes["format"]
            num, seed, batch, shard = (attributes[name] for name in _NUMBERS)
            versions = attributes["versions"]
            fields = {
                name: jax.ShapeDtypeStruct(array["shape"][1:], array["data_type"])
                for name, array in group["consolidated_metadata"]["metadata"].items()
            }
            _require_numbers(num, seed, batch, shard)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{header} is not the header of a data set ({error!r}); restore it, or "
                "make the data set anew in an empty folder"
            ) from error
        require(
            form == _FORMAT,
            f"{path} is written in format {form}, this version reads {_FORMAT}; use "
            "the version of synthex_jax that wrote it",
        )
        described = {k: v for k, v in attributes.items() if k not in _OWN}
        return cls(num, seed, batch, shard, fields, described, versions)

    @property
    def items(self) -> int:
        """Number of items of work, each one shard of every field."""
        return -(-self.num // self.shard)

    def examples(self, item: int) -> range:
        """The numbers of an item's examples."""
        return range(item * self.shard, min((item + 1) * self.shard, self.num))

    def shards(self, item: int) -> dict[str, str]:
        """The path of an item's file within the folder, by field."""
        return {
            name: f"{name}/{shard_name(field, item)}"
            for name, field in self.fields.items()
        }

    def record(self, item: int) -> str:
        """The path of an item's record within the folder."""
        return f"{RECORDS}/{item:05d}.json"

    @property
    def attributes(self) -> dict[str, Any]:
        """What the group says of itself (JSON)."""
        own = (_FORMAT, self.num, self.seed, self.batch, self.shard, self.versions)
        return {**self.description, **dict(zip(_OWN, own, strict=True))}

    def metadata(self) -> dict[str, Any]:
        """The contents (JSON) of every metadata file by its path, the header first."""
        arrays = {
            name: array_metadata(name, field, num=self.num, shard=self.shard)
            for name, field in self.fields.items()
        }
        header = {HEADER: group_metadata(self.attributes, arrays)}
        return header | {f"{name}/{HEADER}": array for name, array in arrays.items()}

    def differences(self, there: Layout) -> list[str]:
        """What a data set in a folder has otherwise, in words."""
        ours, theirs = dict(_flat(_facts(self))), dict(_flat(_facts(there)))
        absent = "nothing"
        return [
            f"{name}: {_short(theirs.get(name, absent))} there, "
            f"{_short(ours.get(name, absent))} here"
            for name in ours | theirs
            if ours.get(name, absent) != theirs.get(name, absent)
        ]

    def require_same(self, there: Layout, path: str | Path) -> None:
        """Refuse to go on with a data set that differs."""
        differences = self.differences(there)
        more = len(differences) - _SHOWN_DIFFERENCES
        require(
            not differences,
            f"{path} holds another data set ("
            + "; ".join(differences[:_SHOWN_DIFFERENCES])
            + (f"; and {more} more" if more > 0 else "")
            + "); go on with what it was begun with, or give an empty folder",
        )


def _require_numbers(num: int, seed: int, batch: int, shard: int) -> None:
    for name, value in {"num": num, "batch": batch, "shard": shard}.items():
        require(1 <= value < 2**31, f"{name} must be from 1 to 2147483647, got {value}")
    require(0 <= seed < 2**31, f"seed must be from 0 to 2147483647, got {seed}")
    require(
        shard % batch == 0,
        f"shard must be a multiple of batch, {batch}, got {shard}; an item of work is "
        "whole batches",
    )


def _json(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description as it will be read: tuples are lists, keys are strings."""
    taken = sorted(set(description) & set(_OWN))
    require(
        not taken,
        f"the source's description must not name {', '.join(taken)}, which the data "
        "set says itself; rename what it describes",
    )
    try:
        return json.loads(json.dumps(description, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the source's description must be JSON: {error}; give numbers, strings, "
            "lists and dictionaries of them"
        ) from error


def _facts(layout: Layout) -> dict[str, Any]:
    fields = {k: f"{v.dtype.name} {v.shape}" for k, v in layout.fields.items()}
    return layout.attributes | {"fields": fields}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _short(value: Any) -> str:
    return value if isinstance(value, str) else reprlib.repr(value)
