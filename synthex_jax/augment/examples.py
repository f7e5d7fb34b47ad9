"""A labelled example through an affine transform, all its fields together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Integer

from synthex_jax.annotations.boxes import boxes
from synthex_jax.augment.spatial import (
    Affine2,
    require_no_mirror,
    warp_camera,
    warp_points,
    warp_visible,
)
from synthex_jax.augment.warping import warp_hits, warp_image, warp_mask
from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.numerics import between
from synthex_jax.typing import ArrayLike

Pairs: TypeAlias = Sequence[tuple[int, int]]
"""Indices of what is left and right of each other; ``mirrored_pairs`` finds them."""

_LABEL_FIELDS = ("mask", "hits", "landmarks", "visible", "boxes", "present")
_CAMERA_FIELDS = ("intrinsics", "camera_from_world", "source_to_detector", "pitch")
_FIELDS = ("image", *_LABEL_FIELDS, *_CAMERA_FIELDS)


def warp_example(
    example: Mapping[str, Array],
    transform: Affine2,
    *,
    structure_pairs: Pairs = (),
    landmark_pairs: Pairs = (),
    fill: ArrayLike | None = 0.0,
) -> dict[str, Array]:
    """An example after a transform: image, labels and camera agree again.

    A mirror image shows a patient whose left and right are exchanged. With pairs, the
    labels follow what is seen: what looks like the right hip is called the right hip,
    and its landmarks by the right's names. Structures and landmarks that no pair names,
    and all of them without pairs, keep their names. Whether the image is mirrored may
    differ from example to example of a ``vmap``.

    Args:
        example: ``image`` and any of ``mask`` (class s + 1 for structure s), ``hits``
            (bit s), ``landmarks`` with ``visible``, ``boxes`` with ``present``, and
            the four fields of a camera; other fields are passed on. One example, no
            batch axis.
        transform: of the image.
        structure_pairs: of structure indices s.
        landmark_pairs: of landmark indices.
        fill: the image's value beyond its edges, where masks are empty; None mirrors
            image and masks at the edges.

    Returns:
        the same fields. Boxes are those of the new ``hits`` if there are any; else of
        the old boxes' corners, which is exact for crops, flips, scales and shifts of
        whole structures, and too wide for turned and cut ones.

    Raises:
        ValueError: for pairs that share an index, for some but not all fields of a
            camera, and as ``warp_camera`` for a mirror image of an example that holds
            them.
    """
    camera_fields = [name for name in _CAMERA_FIELDS if name in example]
    require(
        len(camera_fields) in (0, len(_CAMERA_FIELDS)),
        f"example must hold all of a camera's fields {_CAMERA_FIELDS} or none, it "
        f"holds {camera_fields}",
    )
    if camera_fields:
        require_no_mirror(transform)
    known = {name: example[name] for name in _FIELDS if name in example}
    new = _warped(
        known,
        transform,
        _checked("structure_pairs", structure_pairs),
        _checked("landmark_pairs", landmark_pairs),
        fill,
    )
    return {**example, **new}


@partial(jax.jit, static_argnums=(2, 3))
def _warped(
    example: dict[str, Array],
    transform: Affine2,
    structure_pairs: Pairs,
    landmark_pairs: Pairs,
    fill: ArrayLike | None,
) -> dict[str, Array]:
    is_mirrored = transform.is_mirrored
    beyond = None if fill is None else 0
    new = {"image": warp_image(example["image"], transform, fill=fill)}
    if "mask" in example:
        mask = warp_mask(example["mask"], transform, fill=beyond)
        other = _other_classes(mask, structure_pairs)
        new["mask"] = jnp.where(is_mirrored, other, mask)
    if "hits" in example:
        hits = warp_hits(example["hits"], transform, fill=beyond)
        new["hits"] = jnp.where(is_mirrored, _other_bits(hits, structure_pairs), hits)
    if "landmarks" in example:
        new |= _warped_landmarks(example, transform, landmark_pairs)
    if "boxes" in example and "hits" in example:
        structures = range(len(example["boxes"]))
        masks = jnp.stack([(new["hits"] >> s) & 1 == 1 for s in structures])
        new["boxes"], new["present"] = boxes(masks)
    elif "boxes" in example:
        new |= _warped_boxes(example, transform, structure_pairs)
    if "intrinsics" in example:
        new |= _warped_camera(example, transform)
    return new


def _checked(name: str, pairs: Pairs) -> Pairs:
    indices = [index for pair in pairs for index in pair]
    require(
        len(set(indices)) == len(indices) and min(indices, default=0) >= 0,
        f"{name} must be pairs of indices from 0, none of them there twice, "
        f"got {list(pairs)}",
    )
    return tuple((int(a), int(b)) for a, b in pairs)


def _other_classes(mask: Integer[Array, "rows cols"], pairs: Pairs) -> Array:
    other = mask
    for a, b in pairs:
        other = jnp.where(mask == a + 1, b + 1, other)
        other = jnp.where(mask == b + 1, a + 1, other)
    return other.astype(mask.dtype)


def _other_bits(hits: Integer[Array, "rows cols"], pairs: Pairs) -> Array:
    width = hits.dtype.itemsize * 8
    for a, b in pairs:
        require(
            max(a, b) < width,
            f"structure_pairs must be indices of bits of hits, below {width}, got "
            f"{(a, b)}",
        )
        differs = ((hits >> a) ^ (hits >> b)) & 1
        hits = hits ^ (differs << a) ^ (differs << b)
    return hits


def _exchanged(
    name: str, pairs: Pairs, rows: Array, is_mirrored: Bool[Array, ""]
) -> Array:
    """Rows, one a structure or landmark, of which a mirror exchanges pairs."""
    other = np.arange(len(rows))
    for a, b in pairs:
        require(
            max(a, b) < len(rows),
            f"{name} must be indices below {len(rows)}, got {(a, b)}",
        )
        other[[a, b]] = b, a
    return jnp.where(is_mirrored, rows[other], rows)


def _warped_landmarks(
    example: Mapping[str, Array], transform: Affine2, pairs: Pairs
) -> dict[str, Array]:
    old = example["landmarks"]
    found = {"landmarks": warp_points(old, transform)}
    if "visible" in example:
        found["visible"] = warp_visible(example["visible"], old, transform)
    is_mirrored = transform.is_mirrored
    return {
        field: _exchanged("landmark_pairs", pairs, rows, is_mirrored)
        for field, rows in found.items()
    }


def _warped_boxes(
    example: Mapping[str, Array], transform: Affine2, pairs: Pairs
) -> dict[str, Array]:
    """The smallest boxes about the corners, cut off at the image's edges."""
    old = example["boxes"]
    corners = warp_points(old[:, [[0, 1], [0, 3], [2, 1], [2, 3]]], transform)
    rows, cols = transform.shape
    limit = jnp.array([rows, cols], old.dtype) - 0.5
    low = between(jnp.min(corners, axis=1), -0.5, limit)
    high = between(jnp.max(corners, axis=1), -0.5, limit)
    present = example["present"] & jnp.all(high > low, axis=-1)
    found = jnp.where(present[:, None], jnp.concatenate([low, high], axis=-1), 0.0)
    is_mirrored = transform.is_mirrored
    return {
        "boxes": _exchanged("structure_pairs", pairs, found, is_mirrored),
        "present": _exchanged("structure_pairs", pairs, present, is_mirrored),
    }


def _warped_camera(
    example: Mapping[str, Array], transform: Affine2
) -> dict[str, Array]:
    K, matrix = example["intrinsics"], example["camera_from_world"]
    distance = example["source_to_detector"]
    camera = Camera(
        RigidTransform(matrix[:3, :3], matrix[:3, 3]).inverse,
        distance,
        distance / jnp.stack([K[1, 1], K[0, 0]]),
        jnp.stack([K[1, 2], K[0, 2]]),
        K[0, 1] / K[1, 1],
        (example["image"].shape[0], example["image"].shape[1]),
    )
    warped = warp_camera(camera, transform)
    return {
        "intrinsics": warped.K,
        "camera_from_world": warped.camera_from_world.matrix,
        "pitch": warped.pitch,
    }
