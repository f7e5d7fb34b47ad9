"""Registering a dataclass as a pytree that is not taken for another one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import jax
from jax.tree_util import GetAttrKey

T = TypeVar("T")


def noun(cls: type[T]) -> type[T]:
    """Register a frozen dataclass, as ``jax.tree_util.register_dataclass`` does.

    Fields are leaves or subtrees, but those with ``metadata={"static": True}``.

    JAX 0.10 compares the structures that ``register_dataclass`` makes without their
    classes: ``Uniform(a, b)`` and ``Normal(a, b)`` count as equal, and where their
    hashes meet in a table, once in 60 pairs, ``jit`` silently runs the one's program on
    the other. Structures of custom nodes are compared with their classes.
    """
    static = [f.name for f in fields(cls) if f.metadata.get("static")]  # pyright: ignore[reportArgumentType]
    leaves = [f.name for f in fields(cls) if not f.metadata.get("static")]  # pyright: ignore[reportArgumentType]

    def flatten(value: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (
            tuple(getattr(value, name) for name in leaves),
            tuple(getattr(value, name) for name in static),
        )

    def flatten_with_keys(value: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        parts, aside = flatten(value)
        keys = map(GetAttrKey, leaves)
        return tuple(zip(keys, parts, strict=True)), aside

    def unflatten(aside: tuple[Any, ...], parts: Any) -> T:
        return cls(
            **dict(zip(leaves, parts, strict=True)),
            **dict(zip(static, aside, strict=True)),
        )

    jax.tree_util.register_pytree_with_keys(
        cls, flatten_with_keys, unflatten, flatten_func=flatten
    )
    return cls
