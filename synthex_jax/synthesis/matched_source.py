"""The precisely matched set: renderings at the registered poses of real X-rays.

SyntheX's controlled study trains on images that differ from the real ones in nothing
but how they were made (Gao et al. 2022, section 5.3.4): each real X-ray of DeepFluoro
is rendered again, from its specimen's CT and with its registered pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from synthex_jax.checks import require_positive
from synthex_jax.geometry.camera import Camera
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.sampling.description import described
from synthex_jax.scene import Scene
from synthex_jax.simulation import Simulation
from synthex_jax.synthesis.deepfluoro import SPECIMEN_STRUCTURES, FullResolution
from synthex_jax.synthesis.intensities import Attenuation, Intensities
from synthex_jax.synthesis.matched import View, matched_views
from synthex_jax.synthesis.recipe import labelled_view
from synthex_jax.typing import ArrayLike, Scalar


@dataclass(frozen=True)
class MatchedSource:
    """A rendering of every X-ray in a file, for ``synthesize``; ``len`` counts them.

    Example i is the rendering of example i of ``matched.MatchedViews``, as the source
    sees it. The pelvis is where the registration has it; the femurs, which moved since
    the CT, are where the CT has them.

    Attributes:
        simulation: of the images.
        quanta: (), a pixel behind the body; None for no noise.
        intensities: what image is kept.
        scenes: by name of specimen.
        views: of all X-rays.
        ds_factor: of the prepared images, see ``matched.Preparation``.
    """

    simulation: Simulation
    quanta: Scalar | None
    intensities: Intensities
    scenes: dict[str, Scene]
    views: tuple[View, ...]
    ds_factor: int

    @classmethod
    def create(
        cls,
        file: FullResolution,
        simulation: Simulation,
        *,
        quanta: ArrayLike | None = None,
        ds_factor: int = 4,
        intensities: Intensities = Attenuation(),
    ) -> MatchedSource:
        """From the full-resolution file, all of whose CTs are read.

        Args:
            file: of DeepFluoro.
            simulation: ``naive()``, ``heuristic()``, ``realistic()``: one a set.
            quanta: a pixel behind the body, which set the noise; None for no noise.
            ds_factor: 8, 4 and 3 make the paper's 180, 360 and 480 pixels.
            intensities: what image is kept.

        Raises:
            ValueError: for a file that lacks a part, quanta that are not positive.
        """
        if quanta is not None:
            require_positive("quanta", quanta, "(a pixel)")
            quanta = jnp.asarray(quanta, float)
        scenes = {}
        for name in file.projections:
            specimen = file.specimen(name)
            points = {key: specimen.landmarks[key] for key in HIP_LANDMARKS}
            scene = Scene.create(
                specimen.ct,
                labels=specimen.labels,
                structures=SPECIMEN_STRUCTURES,
                landmarks=points,
            )
            scenes[name] = scene.prepared(simulation.tissues)
        views = tuple(matched_views(file, ds_factor))
        return cls(simulation, quanta, intensities, scenes, views, ds_factor)

    def __len__(self) -> int:
        return len(self.views)

    def describe(self) -> dict[str, Any]:
        """Names, the simulation, and where the poses are from."""
        return {
            "recipe": {
                "name": "matched",
                "simulation": described(self.simulation),
                "quanta": described(self.quanta),
                "ds_factor": self.ds_factor,
                "intensities": self.intensities.describe(),
                "poses": "DeepFluoro, doi:10.7281/T1/IFSXNV, CC BY-NC 4.0",
            },
            "landmark_names": list(HIP_LANDMARKS),
            "structure_names": list(SPECIMEN_STRUCTURES.names),
            "specimen_names": list(self.scenes),
        }

    def fields(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each field of one example."""
        made = jax.eval_shape(lambda: self._rendered(0, 0))
        return {**made, "specimen": jax.ShapeDtypeStruct((), jnp.dtype(jnp.int32))}

    def batch(
        self, seed: int, indices: Int[np.ndarray, "batch"]
    ) -> dict[str, Shaped[Array, "batch *shape"]]:
        """The renderings of these X-rays; numbers beyond the last begin again."""
        numbers = [int(i) % len(self) for i in indices]
        made = [self._rendered(seed, number) for number in numbers]
        fields = jax.tree.map(lambda *values: jnp.stack(values), *made)
        names = list(self.scenes)
        specimen = [names.index(self.views[number].specimen) for number in numbers]
        return {**fields, "specimen": jnp.asarray(specimen, jnp.int32)}

    def _rendered(self, seed: int, number: int) -> dict[str, Shaped[Array, "..."]]:
        view = self.views[number]
        render = partial(_render, self.intensities)
        scene = self.scenes[view.specimen]
        return render(seed, number, scene, view.camera, self.simulation, self.quanta)


@partial(jax.jit, static_argnums=0)
def _render(
    intensities: Intensities,
    seed: int | Int[Array, ""],
    number: int | Int[Array, ""],
    scene: Scene,
    camera: Camera,
    simulation: Simulation,
    quanta: Scalar | None,
) -> dict[str, Shaped[Array, "..."]]:
    key = jax.random.fold_in(jax.random.key(seed), number)
    return labelled_view(
        key, scene, camera, simulation, quanta=quanta, intensities=intensities
    )
