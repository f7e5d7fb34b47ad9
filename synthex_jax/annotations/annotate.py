"""Annotations of one view of a scene: classes, boxes, landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped, UInt

from synthex_jax.annotations.boxes import boxes
from synthex_jax.annotations.landmarks import ProjectedLandmarks, project_landmarks
from synthex_jax.annotations.masks import class_map, masks
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.projectors import surface
from synthex_jax.projectors.occupancy import hits
from synthex_jax.scene import Scene
from synthex_jax.tools.tool import Tool

# Mm of a tool on a ray from which on the pixel shows it: a hundredth of a K-wire.
_LEAST_LENGTH = 0.01


@noun
@dataclass(frozen=True)
class Annotations:
    """What is known about the pixels of one view.

    Classes are the structures in their order from 1 on, then the tools.

    Attributes:
        classes: (rows, cols), one class a pixel, 0 where there is none: tools before
            structures, a later tool before an earlier one, structures by precedence.
        masks: (classes, rows, cols), every class that the pixel's ray meets.
        boxes: (classes, 4), (top, left, bottom, right) edges of each mask, pixels.
        present: (classes,), whether the image shows it.
        landmarks: of the body, then of the tools; None where there are none.
    """

    classes: UInt[Array, "rows cols"]
    masks: Bool[Array, "classes rows cols"]
    boxes: Float[Array, "classes 4"]
    present: Bool[Array, "classes"]
    landmarks: ProjectedLandmarks | None

    def fields(self) -> dict[str, Shaped[Array, "..."]]:
        """As data sets hold them: mask, hits, boxes, landmarks, if there are any."""
        found = {}
        if len(self.masks):
            found = {
                "mask": self.classes,
                "hits": packed(self.masks),
                "boxes": self.boxes.astype(jnp.float32),
                "present": self.present,
            }
        if self.landmarks is not None:
            found["landmarks"] = self.landmarks.pixels.astype(jnp.float32)
            found["visible"] = self.landmarks.visible
        return found


@jax.jit
def annotate(scene: Scene, camera: Camera) -> Annotations:
    """Classes, overlapping masks, boxes and landmarks of one view of a scene.

    Args:
        scene: with flags and landmarks as far as there are any, and tools.
        camera: one view; ``jax.vmap`` over cameras for a batch.

    Example:
        >>> import jax, synthex_jax as sx
        >>> scene = sx.Scene.from_anatomy(
        ...     sx.phantoms.pelvis(jax.random.key(0), shape=(64, 48, 56), spacing=6.0)
        ... )
        >>> camera = sx.CArm.generic().resized((64, 64)).at(isocenter=scene.center)
        >>> found = annotate(scene, camera)
        >>> found.classes.shape, int(found.landmarks.visible.sum())
        ((64, 64), 14)
    """
    classes = jnp.zeros(camera.shape, jnp.uint8)
    layers = []
    if scene.flags is not None:
        found = hits(scene.flags, camera, groups=scene.structures.groups)
        classes = class_map(found, scene.structures)
        layers.append(masks(found, scene.structures))
    first = len(scene.structures.members) + 1
    for number, tool in enumerate(scene.tools, start=first):
        mask = tool_mask(tool, camera)
        classes = jnp.where(mask, jnp.uint8(number), classes)
        layers.append(mask[None])
    every = jnp.concatenate([jnp.zeros((0, *camera.shape), bool), *layers])
    edges, present = boxes(every)
    landmarks = scene.all_landmarks()
    return Annotations(
        classes,
        every,
        edges,
        present,
        None if landmarks is None else project_landmarks(landmarks, camera),
    )


def tool_mask(tool: Tool, camera: Camera) -> Bool[Array, "rows cols"]:
    """Where a view shows the labelled parts of a tool."""
    mask = jnp.zeros(camera.shape, bool)
    for part in tool.labelled_parts():
        mask = mask | (surface.path_lengths(part.shape, camera) > _LEAST_LENGTH)
    return mask


def packed(masks: Bool[Array, "classes rows cols"]) -> UInt[Array, "rows cols"]:
    """Overlapping masks as bits: bit s of a pixel is set where mask s is.

    Args:
        masks: up to 32.

    Returns:
        uint8, uint16 or uint32, the narrowest that has a bit for each mask.
    """
    count = len(masks)
    dtype = jnp.uint8 if count <= 8 else jnp.uint16 if count <= 16 else jnp.uint32
    weights = jnp.left_shift(jnp.ones(count, dtype), jnp.arange(count, dtype=dtype))
    return jnp.sum(jnp.where(masks, weights[:, None, None], 0), axis=0, dtype=dtype)
