"""DetectorPlane: where the pixels lie, as a beam and a detector see them."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.typing import Image, Scalar, Shape2, Vector2


@noun
@dataclass(frozen=True)
class DetectorPlane:
    """Pixel centers in mm on the detector, from the foot of the central ray.

    Attributes:
        x: (rows, cols), mm along the rows, to the right in the image.
        y: (rows, cols), mm along the columns, downward.
        distance: (), mm, from the source to the plane.
        pitch: (2,), mm, (height, width) of a pixel.
    """

    x: Image
    y: Image
    distance: Scalar
    pitch: Vector2

    @classmethod
    def from_camera(cls, camera: Camera) -> DetectorPlane:
        """The plane of a camera's detector."""
        rows, cols = camera.shape
        down = jnp.arange(rows, dtype=camera.pitch.dtype)[:, None]
        across = jnp.arange(cols, dtype=camera.pitch.dtype)[None, :]
        down, across = jnp.broadcast_arrays(
            down - camera.principal_point[0], across - camera.principal_point[1]
        )
        x = (across - camera.skew * down) * camera.pitch[1]
        y = down * camera.pitch[0]
        return cls(x, y, camera.source_to_detector, camera.pitch)

    @property
    def shape(self) -> Shape2:
        """(rows, cols)."""
        rows, cols = self.x.shape
        return rows, cols

    @property
    def cosine(self) -> Image:
        """(rows, cols), of the angle between each pixel's ray and the central one."""
        squared = self.distance**2
        return jnp.sqrt(squared / (squared + self.x**2 + self.y**2))
