"""A field of a data set as a Zarr v3 array: its metadata, and its shards' bytes.

Zarr v3: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html; shards:
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from synthex_jax.checks import require

# What zarr-python reads as well as TensorStore.
_DTYPES = ("bool", *(f"{sign}int{8 << n}" for sign in ("", "u") for n in range(4)))
_DTYPES += ("float16", "float32", "float64")
# Bytes of an example from which on it is a chunk of its own, a page of a disk: an image
# is read without its neighbors. Smaller fields are one chunk a shard, since an index
# entry and a codec's frame would outweigh an example of theirs.
_CHUNK = 4096
# Blosc's bit shuffle before zstd leaves 0.60 of the bytes of 16-bit images with quantum
# noise, where zstd alone leaves 0.79 and takes longer; levels above 3 gain 2 % at half
# the speed.
_LEVEL = 3
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM = {"name": "crc32c"}


def array_metadata(
    name: str, field: jax.ShapeDtypeStruct, *, num: int, shard: int
) -> dict[str, Any]:
    """The metadata (JSON) of a field's array.

    Args:
        name: of the field, which names the array's dimensions.
        field: shape and type of one example.
        num: of examples, along axis 0.
        shard: examples of a shard, which is one file.
    """
    size = int(np.prod(field.shape)) * field.dtype.itemsize
    blosc = {
        "cname": "zstd",
        "clevel": _LEVEL,
        "shuffle": "bitshuffle",
        "typesize": field.dtype.itemsize,
        "blocksize": 0,
    }
    sharding = {
        "chunk_shape": [1 if size >= _CHUNK else shard, *field.shape],
        "codecs": [
            _LITTLE_ENDIAN,
            {"name": "blosc", "configuration": blosc},
            _CHECKSUM,
        ],
        "index_codecs": [_LITTLE_ENDIAN, _CHECKSUM],
        "index_location": "end",
    }
    grid = {"chunk_shape": [shard, *field.shape]}
    axes = [f"{name}_{axis}" for axis in range(len(field.shape))]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [num, *field.shape],
        "data_type": field.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": field.dtype.type(0).item(),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": ["example", *axes],
    }


def group_metadata(
    attributes: Mapping[str, Any], arrays: Mapping[str, Any]
) -> dict[str, Any]:
    """The metadata (JSON) of a group, with that of its arrays.

    Consolidated as zarr-python reads it, so that a reader need not list the folder.
    """
    consolidated = {"kind": "inline", "must_understand": False, "metadata": arrays}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": consolidated,
    }


def shard_name(field: jax.ShapeDtypeStruct, item: int) -> str:
    """The file of a shard in the folder of its array."""
    return f"c.{item}" + ".0" * len(field.shape)


def encoded_shards(
    examples: Mapping[str, np.ndarray],
    fields: Mapping[str, jax.ShapeDtypeStruct],
    *,
    shard: int,
) -> dict[str, bytes]:
    """The bytes of one shard of each field, of all fields at once.

    TensorStore writes them to memory, so that how they come to the disk is ours to say.

    Args:
        examples: of each field at most ``shard`` examples along axis 0.
        fields: shape and type of one example.
        shard: examples of a full shard.
    """
    import tensorstore as ts

    stores, writes = {}, []
    for name, values in examples.items():
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "memory"},
            "metadata": array_metadata(
                name, fields[name], num=len(values), shard=shard
            ),
            # A shard of zeros, too, is a file: a missing one is always an error.
            "store_data_equal_to_fill_value": True,
        }
        # A context of its own, or every store would share one memory.
        stores[name] = ts.open(spec, create=True, context=ts.Context()).result()
        writes.append(
            stores[name].write(values, can_reference_source_data_indefinitely=True)
        )
    for write in writes:
        write.result()
    return {
        name: store.kvstore[shard_name(fields[name], 0)]
        for name, store in stores.items()
    }


def require_field(name: str, field: jax.ShapeDtypeStruct) -> None:
    """Refuse a field that no array can hold."""
    require(
        name.isidentifier(),
        f"fields must have names of letters, digits and _, got {name!r}",
    )
    require(
        field.dtype.name in _DTYPES,
        f"field {name!r} must be one of {', '.join(_DTYPES)}, got {field.dtype.name}; "
        "convert it in the source",
    )
    require(
        0 not in field.shape,
        f"field {name!r} must not be empty, got shape {field.shape}; leave it out",
    )
