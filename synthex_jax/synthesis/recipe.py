"""Recipe: how the examples of a data set are made from a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from synthex_jax.annotations.annotate import annotate
from synthex_jax.augment.anatomy import Deformation
from synthex_jax.checks import require, require_positive
from synthex_jax.exposure import exposed
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.carm import CArm
from synthex_jax.nouns import noun
from synthex_jax.rendering import flat_field, render
from synthex_jax.sampling.description import Describable
from synthex_jax.sampling.distributions import Distribution, as_distribution
from synthex_jax.sampling.rejection import points_in_field, rejected
from synthex_jax.sampling.tools import ToolSampler
from synthex_jax.sampling.views import ViewSampler
from synthex_jax.scene import Scene
from synthex_jax.simulation import Simulation
from synthex_jax.synthesis.intensities import Attenuation, Intensities
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar, Vector3

# Views drawn before the best of them is taken: at a tenth of them acceptable, one
# example in a million is not.
_TRIES = 128

# No body lets less through, and float32 holds it; and one digital unit.
_LEAST_TRANSMISSION, _LEAST_UNIT = 1e-30, 1.0


@noun
@dataclass(frozen=True)
class Recipe(Describable):
    """What is random in a data set, and how its images are made.

    ``synthesis.recipes`` has those of the SyntheX paper.

    Attributes:
        name: static.
        carm: the device.
        views: of the camera about ``anchor``.
        simulation: of the image.
        quanta: (), a pixel behind the body under automatic exposure, which sets the
            noise; None for images as the simulation's own photons give them, without
            noise.
        tools: that are put into the scene.
        shear: radians, of the body about its center, three angles of their own, see
            ``augment.anatomy.Deformation``; None for bodies as they are.
        anchor: landmarks whose middle views and tools are placed about, static; none
            for the middle of the body.
        least_visible: landmarks of the body that an accepted view shows, static.
        intensities: what image is kept, static.
    """

    name: str = field(metadata={"static": True})
    carm: CArm
    views: ViewSampler
    simulation: Simulation
    quanta: Scalar | None
    tools: tuple[ToolSampler, ...]
    shear: Distribution | None
    anchor: tuple[str, ...] = field(metadata={"static": True})
    least_visible: int = field(metadata={"static": True})
    intensities: Intensities = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        name: str,
        *,
        carm: CArm,
        views: ViewSampler,
        simulation: Simulation,
        quanta: ArrayLike | None = None,
        tools: tuple[ToolSampler, ...] = (),
        shear: Distribution | ArrayLike | None = None,
        anchor: Sequence[str] = (),
        least_visible: int = 0,
        intensities: Intensities = Attenuation(),
    ) -> Recipe:
        """From its parts; see the class.

        Raises:
            ValueError: for quanta that are not positive, a negative number of
                landmarks, or what is no distribution.
        """
        if quanta is not None:
            require_positive("quanta", quanta, "(a pixel)")
            quanta = jnp.asarray(quanta, float)
        require(
            least_visible >= 0, f"least_visible must be 0 or more, got {least_visible}"
        )
        return cls(
            name,
            carm,
            views,
            simulation,
            quanta,
            tuple(tools),
            None if shear is None else as_distribution("shear", shear),
            tuple(anchor),
            least_visible,
            intensities,
        )

    def describe(self) -> dict[str, Any]:
        """JSON; two recipes of one description make the same examples."""
        return {**super().describe(), "intensities": self.intensities.describe()}

    def require_fits(self, scene: Scene, name: str) -> None:
        """Refuse a scene that lacks what the recipe asks for.

        Args:
            scene: to be rendered.
            name: of the specimen, for the message.

        Raises:
            ValueError: for a landmark that it does not have.
        """
        names = () if scene.landmarks is None else scene.landmarks.names
        require(
            set(self.anchor) <= set(names),
            f"the landmarks of {name} must hold {', '.join(self.anchor)}, which views "
            f"and tools are placed about, got {', '.join(names) or 'none'}; anchor=() "
            "takes the middle of the body",
        )
        require(
            self.least_visible <= len(names),
            f"least_visible must be at most the {len(names)} landmarks of {name}, got "
            f"{self.least_visible}",
        )


def make_example(
    key: PRNGKey, scene: Scene, recipe: Recipe
) -> dict[str, Shaped[Array, "..."]]:
    """One labelled image: pure, for ``jit`` and ``vmap`` over keys.

    Args:
        key: consumed here.
        scene: with substances (``Scene.prepared``) where many examples follow.
        recipe: what is random, and how the image is made.

    Returns:
        fields as ``synthesis.examples.Examples`` names them: the image, mask and hits,
        boxes, landmarks as far as the scene has such, and the camera. ``accepted``
        tells whether the view shows as many landmarks as the recipe asks for, or was
        only the best of 128.
    """
    for_shear, for_view, for_tools, for_noise = jax.random.split(key, 4)
    if recipe.shear is not None:
        lean = recipe.shear.sample(for_shear, (3,))
        scene = scene.deformed(Deformation.create(scene.center, shear=lean).affine)
    anchor = _anchor(scene, recipe)
    propose = lambda k: recipe.views.sample(k, recipe.carm, anchor)
    draw = rejected(for_view, propose, _score(scene, recipe), tries=_TRIES)
    camera = draw.value
    keys = jax.random.split(for_tools, len(recipe.tools))
    placed = [
        t.sample(k, camera, anchor) for t, k in zip(recipe.tools, keys, strict=True)
    ]
    scene = scene.with_tools(*scene.tools, *placed)
    shown = labelled_view(
        for_noise,
        scene,
        camera,
        recipe.simulation,
        quanta=recipe.quanta,
        intensities=recipe.intensities,
    )
    return {**shown, "accepted": draw.accepted}


def labelled_view(
    key: PRNGKey,
    scene: Scene,
    camera: Camera,
    simulation: Simulation,
    *,
    quanta: Scalar | None,
    intensities: Intensities,
) -> dict[str, Shaped[Array, "..."]]:
    """The fields of an example but ``accepted``, for a camera that is known.

    Args:
        key: for the noise.
        scene: with substances (``Scene.prepared``) where many views follow.
        camera: the view.
        simulation: of the image.
        quanta: (), a pixel behind the body under automatic exposure; None for no noise.
        intensities: what image is kept.
    """
    return {
        "image": _image(key, scene, camera, simulation, quanta, intensities),
        **annotate(scene, camera).fields(),
        **_camera_fields(camera),
    }


def _anchor(scene: Scene, recipe: Recipe) -> Vector3:
    if scene.landmarks is None or not recipe.anchor:
        return scene.center
    return jnp.mean(scene.landmarks.select(recipe.anchor).points, axis=0)


def _score(scene: Scene, recipe: Recipe) -> Callable[[Camera], Array]:
    if scene.landmarks is None or recipe.least_visible == 0:
        return lambda camera: jnp.asarray(True)
    points = scene.landmarks.points
    return lambda camera: points_in_field(camera, points, least=recipe.least_visible)


def _image(
    key: PRNGKey,
    scene: Scene,
    camera: Camera,
    simulation: Simulation,
    quanta: Scalar | None,
    intensities: Intensities,
) -> Shaped[Array, "rows cols"]:
    scene = scene.prepared(simulation.tissues)
    if quanta is None:
        raw = render(scene, camera, simulation)
    else:
        raw, simulation = exposed(key, scene, camera, simulation, quanta=quanta)
    counts = simulation.detector.bits is not None
    floor = _LEAST_UNIT if counts else _LEAST_TRANSMISSION
    return intensities.image(raw, flat_field(camera, simulation), floor)


def _camera_fields(camera: Camera) -> dict[str, Shaped[Array, "..."]]:
    single = lambda values: jnp.asarray(values, jnp.float32)
    return {
        "intrinsics": single(camera.K),
        "camera_from_world": single(camera.camera_from_world.matrix),
        "source_to_detector": single(camera.source_to_detector),
        "pitch": single(camera.pitch),
    }
