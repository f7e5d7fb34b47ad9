"""Sources of examples that need no renderer."""

from __future__ import annotations

import hashlib
import pathlib
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

FIELDS = {
    "image": jax.ShapeDtypeStruct((48, 52), np.dtype(np.float32)),
    "mask": jax.ShapeDtypeStruct((48, 52), np.dtype(np.uint8)),
    "landmarks": jax.ShapeDtypeStruct((3, 2), np.dtype(np.float32)),
    "visible": jax.ShapeDtypeStruct((3,), np.dtype(bool)),
    "specimen": jax.ShapeDtypeStruct((), np.dtype(np.int32)),
}


@dataclass(frozen=True)
class Noise:
    """Examples by NumPy, each from its own generator."""

    name: str = "noise"
    seconds: float = 0.0

    def describe(self):
        return {"recipe": {"name": self.name, "sizes": (48, 52)}, "names": ["a", "b"]}

    def fields(self):
        return FIELDS

    def batch(self, seed, indices):
        time.sleep(self.seconds)
        examples = [example(seed, int(index)) for index in indices]
        return {name: np.stack([one[name] for one in examples]) for name in FIELDS}


@dataclass(frozen=True)
class Device:
    """Examples by a jitted, vmapped function."""

    def describe(self):
        return {"recipe": {"name": "device"}}

    def fields(self):
        return {"image": jax.ShapeDtypeStruct((40, 40), np.dtype(np.float32))}

    def batch(self, seed, indices):
        return {"image": _waves(seed, indices)}


@jax.jit
def _waves(seed, indices):
    pixels = jnp.arange(1600.0).reshape(40, 40)
    return jax.vmap(lambda index: jnp.sin(pixels * (index + seed)))(indices)


def example(seed, index):
    rng = np.random.default_rng([seed, index])
    return {
        "image": rng.normal(size=(48, 52)).astype(np.float32),
        "mask": np.zeros((48, 52), np.uint8) + np.uint8(index % 2),
        "landmarks": rng.normal(size=(3, 2)).astype(np.float32),
        "visible": rng.random(3) < 0.5,
        "specimen": np.int32(index // 10),
    }


def digests(folder):
    """SHA-256 of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    }
