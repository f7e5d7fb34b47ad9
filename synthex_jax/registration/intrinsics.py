"""Intrinsics: what of a lens may be unknown, and how it changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.typing import Scalar


@dataclass(frozen=True)
class Intrinsics:
    """Which intrinsics of the views are unknown, and found with the pose.

    They stay near the start's as far as the images do not tell: a longer lens looks
    like a body that is nearer, and a shifted detector like a body aside, but for
    perspective.

    Attributes:
        source_to_detector: its distance, in units of the pixels' pitch the focal
            length; an unknown is the logarithm.
        principal_point: where the central ray meets the detector; the unknowns are
            (down, across) in mm on the detector.
    """

    source_to_detector: bool = False
    principal_point: bool = False

    @property
    def size(self) -> int:
        """Unknowns a view."""
        return int(self.source_to_detector) + 2 * int(self.principal_point)

    def changed(self, camera: Camera, step: Float[Array, "unknowns"]) -> Camera:
        """A camera after a step of the unknowns."""
        if self.source_to_detector:
            scale = jnp.exp(step[0]).astype(camera.source_to_detector.dtype)
            camera = replace(
                camera, source_to_detector=camera.source_to_detector * scale
            )
        if self.principal_point:
            shift = step[-2:] / camera.pitch
            camera = replace(camera, principal_point=camera.principal_point + shift)
        return camera

    def sightings(self, camera: Camera, depth: Scalar) -> Float[Array, "values 3"]:
        """The unknowns as mm in depth at a body's depth, so that they count a little.

        Movements of the body in the image cannot tell them from a pose.
        """
        values = []
        if self.source_to_detector:
            values.append(depth * jnp.log(camera.source_to_detector)[None])
        if self.principal_point:
            scale = camera.pitch * depth / camera.source_to_detector
            values.append(scale * camera.principal_point)
        columns = jnp.concatenate(values) if values else jnp.zeros(0)
        return jnp.pad(columns[:, None], ((0, 0), (2, 0)))
