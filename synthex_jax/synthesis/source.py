"""SceneSource: the examples of a recipe over several specimens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from synthex_jax.checks import require
from synthex_jax.scene import Scene
from synthex_jax.synthesis.recipe import Recipe, make_example
from synthex_jax.synthesis.work import on_all, spread
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.grids import padded

# Examples in a row that show one specimen, and are computed in one call.
_ROW = 4

# Of a device's memory that bodies may take; the rest is for images and gathers.
_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class SceneSource:
    """Specimens in turn, each in views of its own.

    Examples 0 to 3 show the first specimen, 4 to 7 the second, and so on, round after
    round. Example i is made from ``fold_in(key(seed), i)``, and is the same in any
    batch.

    Attributes:
        recipe: of the examples.
        scenes: specimens with substances.
        names: of the specimens.
        description: JSON.
    """

    recipe: Recipe
    scenes: tuple[Scene, ...]
    names: tuple[str, ...]
    description: dict[str, Any]

    @classmethod
    def create(cls, recipe: Recipe, specimens: Mapping[str, Scene]) -> SceneSource:
        """From scenes by name.

        Args:
            recipe: of the examples.
            specimens: their landmarks and classes must be the same ones.

        Raises:
            ValueError: for no specimen, for specimens that differ in landmarks or
                structures or lack what the recipe asks for.
            MemoryError: where the bodies are larger than the device's memory.
        """
        require(len(specimens) > 0, "specimens must hold at least one scene, got none")
        for name, scene in specimens.items():
            recipe.require_fits(scene, name)
        _require_alike(specimens)
        _require_room(recipe, specimens)
        first = next(iter(specimens.values()))
        tools = tuple(sampler.example for sampler in recipe.tools)
        shown = first.with_tools(*first.tools, *tools)
        landmarks = shown.all_landmarks()
        description = {
            "recipe": recipe.describe(),
            "landmark_names": [] if landmarks is None else list(landmarks.names),
            "structure_names": list(shown.class_names),
            "specimen_names": list(specimens),
            "specimen_sha256": [_fingerprint(scene) for scene in specimens.values()],
        }
        tissues = recipe.simulation.tissues
        scenes = tuple(
            on_all(scene.prepared(tissues))
            for scene in _with_flags_alike(tuple(specimens.values()))
        )
        return cls(recipe, scenes, tuple(specimens), description)

    def describe(self) -> dict[str, Any]:
        """Recipe, names, and fingerprints of the specimens."""
        return self.description

    def fields(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each field of one example."""
        key = jax.eval_shape(lambda: jax.random.key(0))
        made = jax.eval_shape(make_example, key, self.scenes[0], self.recipe)
        return {**made, "specimen": jax.ShapeDtypeStruct((), jnp.dtype(jnp.int32))}

    def batch(
        self, seed: int, indices: Int[np.ndarray, "batch"]
    ) -> dict[str, Shaped[Array, "batch *shape"]]:
        """The examples of these numbers, specimen by specimen in rows of four."""
        specimen = (np.asarray(indices) // _ROW) % len(self.scenes)
        parts, order = [], []
        for number in np.unique(specimen):
            places = np.flatnonzero(specimen == number)
            for start in range(0, len(places), _ROW):
                row = places[start : start + _ROW]
                # Rows are of one size, so that one program serves all.
                filled = np.resize(indices[row], _ROW)
                made = _row(seed, spread(filled), self.scenes[number], self.recipe)
                parts.append(jax.tree.map(lambda x, n=len(row): x[:n], made))
                order.append(row)
        back = np.argsort(np.concatenate(order))
        fields = jax.tree.map(lambda *x: jnp.concatenate(x)[back], *parts)
        return {**fields, "specimen": jnp.asarray(specimen, jnp.int32)}


@jax.jit
def _row(
    seed: int | Int[Array, ""], indices: Int[Array, "row"], scene: Scene, recipe: Recipe
) -> dict[str, Shaped[Array, "row *shape"]]:
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(indices)
    one = lambda key: make_example(key, scene, recipe)
    # A processor's cores share one view well; an accelerator wants several at once.
    if jax.default_backend() == "cpu":
        return jax.lax.map(one, keys)
    return jax.vmap(one)(keys)


def _with_flags_alike(scenes: tuple[Scene, ...]) -> tuple[Scene, ...]:
    """The scenes, flags padded to one shape: programs are compiled by shape."""
    flags = [scene.flags for scene in scenes if scene.flags is not None]
    if not flags:
        return scenes
    most = np.max([bits.shape for bits in flags], axis=0)
    alike = []
    for bits in flags:
        lacking = [(0, int(n)) for n in most - np.asarray(bits.shape)]
        alike.append(padded(bits, lacking, 0))
    pairs = zip(scenes, alike, strict=True)
    return tuple(replace(scene, flags=bits) for scene, bits in pairs)


def _fingerprint(scene: Scene) -> str:
    """Of all arrays of a scene: a data set of another body is another data set."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(scene):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _require_alike(specimens: Mapping[str, Scene]) -> None:
    def facts(scene: Scene) -> dict[str, tuple[str, ...]]:
        names = () if scene.landmarks is None else scene.landmarks.names
        return {"landmarks": names, "structures": scene.structures.names}

    (first, expected), *others = ((n, facts(s)) for n, s in specimens.items())
    for name, found in others:
        for what in ("landmarks", "structures"):
            require(
                found[what] == expected[what],
                f"specimens must have the same {what}, {first} has "
                f"{', '.join(expected[what]) or 'none'} and {name} has "
                f"{', '.join(found[what]) or 'none'}",
            )


def _require_room(recipe: Recipe, specimens: Mapping[str, Scene]) -> None:
    """Refuse bodies that the device cannot hold, with the figures."""
    free = _memory()
    if free is None:
        return
    needed = 0
    for scene in specimens.values():
        body = scene.body
        if not isinstance(body, Composition):
            body = jax.eval_shape(recipe.simulation.tissues.composition, body)
        leaves = jax.tree.leaves((body, scene.flags))
        needed += sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if needed > _SHARE_OF_MEMORY * free:
        raise MemoryError(
            f"the bodies of {len(specimens)} specimens take {needed / 1e9:.3g} GB and "
            f"the device has {free / 1e9:.3g} GB; crop them to the body, resample them "
            "to larger voxels, or make a data set of fewer at a time"
        )


def _memory() -> int | None:
    """Bytes of the device, or of the machine where that is the device."""
    device = jax.local_devices()[0]
    found = device.memory_stats()
    if found and "bytes_limit" in found:
        return int(found["bytes_limit"])
    try:
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, AttributeError):
        return None
