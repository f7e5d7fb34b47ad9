"""What a noun of sampling is, as JSON: for the attributes of a data set."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import numpy as np

# Numbers that a reader of the attributes would look at.
_MOST_LISTED = 64


class Describable:
    """A dataclass that can say what it is."""

    def describe(self) -> dict[str, Any]:
        """Its class as ``kind`` and its fields, in JSON's types.

        Arrays become numbers or nested lists, and large ones, such as meshes, their
        shape and a fingerprint; nouns within become dictionaries. Two nouns draw the
        same from the same key if their descriptions are equal. The fields must be
        concrete: call it outside of ``jit``.
        """
        return described(self)


def described(value: Any) -> Any:
    """A noun, or a structure of nouns, arrays and numbers, in JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: described(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, **named}
    if isinstance(value, dict):
        return {name: described(member) for name, member in value.items()}
    if isinstance(value, (tuple, list)):
        return [described(member) for member in value]
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return _listed(np.asarray(value))
    return value


def _listed(values: np.ndarray) -> Any:
    if values.size <= _MOST_LISTED:
        return values.tolist()
    found = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return {"shape": list(values.shape), "sha256": found}
