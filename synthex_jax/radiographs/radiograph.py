"""Radiograph: a measured image, which of its pixels count, and where it was taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import (
    require,
    require_finite,
    require_not_negative,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.typing import ArrayLike, Image


@noun
@dataclass(frozen=True)
class Radiograph:
    """A measured image as the source sees it.

    Attributes:
        image: (rows, cols), attenuation up to a gain and an offset: bone is bright.
        weights: (rows, cols), 0 where a pixel tells nothing: collimated, outside of a
            round field, padded, without signal or saturated; else 1.
        camera: where it was taken from, if the file tells; its image is this one.
        mirrored: whether the columns are those of the file reversed, as files show
            what an observer at the detector sees; static.
    """

    image: Image
    weights: Image
    camera: Camera | None = None
    mirrored: bool = field(default=False, metadata={"static": True})

    @classmethod
    def create(
        cls,
        image: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        camera: Camera | None = None,
        mirrored: bool = False,
    ) -> Radiograph:
        """Checked.

        Args:
            image: (rows, cols), attenuation.
            weights: (rows, cols), not negative; 1 by default.
            camera: of the image's shape.
            mirrored: see the class.

        Raises:
            ValueError: for an image that is not 2-D or not finite, weights or a camera
                of another shape, negative weights, and an image that has one value
                wherever its weights are not 0.
        """
        image = jnp.asarray(image, dtype=jnp.float32)
        require(
            image.ndim == 2 and image.size > 0,
            f"image must have shape (rows, cols), got {image.shape}",
        )
        require_finite("image", image)
        weights = (
            jnp.ones_like(image) if weights is None else jnp.asarray(weights, float)
        )
        require_shape("weights", weights, image.shape)
        require_finite("weights", weights)
        require_not_negative("weights", weights)
        counted = np.asarray(image)[np.asarray(weights) > 0]
        require(
            counted.size > 0 and bool(counted.min() < counted.max()),
            "image must show something where its weights are above 0, "
            + (f"it is {counted[0]:g} everywhere" if counted.size else "they are not")
            + "; is it empty, collimated shut, or masked out?",
        )
        require(
            camera is None or camera.shape == image.shape,
            f"camera must have the image's shape {image.shape}, got "
            f"{None if camera is None else camera.shape}",
        )
        return cls(image, weights, camera, mirrored)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        rows, cols = self.image.shape
        return rows, cols

    def flipped(self) -> Radiograph:
        """The columns reversed, for a file that shows a mirror image.

        The camera stays: it is that of what the source sees.
        """
        return replace(
            self,
            image=self.image[:, ::-1],
            weights=self.weights[:, ::-1],
            mirrored=not self.mirrored,
        )
