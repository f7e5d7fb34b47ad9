"""Masks: what of a view's pixels shows which structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from synthex_jax.annotations.structures import Structures, flags, indicators
from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.occupancy import Hits, hits
from synthex_jax.projectors.siddon import Siddon
from synthex_jax.volumes.volume import Volume


def label_masks(
    labels: Volume, camera: Camera, structures: Structures
) -> UInt8[Array, "rows cols"]:
    """The class of every pixel of a view: ``class_map`` of the labels' ``hits``.

    Labels are looked up at every call. For many views one by one, keep
    ``structures.flags(labels, ...)`` and call ``hits`` and ``class_map``; under
    ``jax.vmap`` over cameras it happens once.

    Args:
        labels: (nx, ny, nz), integers.
        camera: one view; ``jax.vmap`` over cameras for a batch.
        structures: the classes, up to 32.

    Returns:
        0 for background, s + 1 for structure s.

    Raises:
        ValueError: for labels that are not integers, or hold none of the structures.

    Example:
        >>> import numpy as np, synthex_jax as sx
        >>> ball = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0) < 8
        >>> labels = sx.Volume.from_array(ball.astype(np.uint8), spacing=9.0)
        >>> camera = sx.CArm.generic().resized((5, 5)).at()
        >>> label_masks(labels, camera, Structures.create({"ball": 1}))
        Array([[0, 0, 0, 0, 0],
               [0, 0, 1, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 1, 0, 0],
               [0, 0, 0, 0, 0]], dtype=uint8)
    """
    found = hits(flags(labels, structures), camera, groups=structures.groups)
    return class_map(found, structures)


@jax.jit
def class_map(found: Hits, structures: Structures) -> UInt8[Array, "rows cols"]:
    """One class a pixel: of the structures that its ray meets, the first by precedence.

    Args:
        found: made with ``groups=structures.groups``.
        structures: those of the hits' flags.

    Returns:
        0 for background, s + 1 for structure s.

    Raises:
        ValueError: for more structures than the hits have bits.
    """
    _require_bits(found, structures)
    classes = jnp.zeros(found.first.shape, jnp.uint8)
    # From the last to the first, each painted over by those that go before it.
    for group in reversed(structures.groups):
        for member in reversed(group):
            shows = (found.first >> member & 1) != 0
            classes = jnp.where(shows, jnp.uint8(member + 1), classes)
    return classes


@jax.jit
def masks(found: Hits, structures: Structures) -> Bool[Array, "structures rows cols"]:
    """All that the rays meet, a mask a structure; masks overlap.

    Raises:
        ValueError: for more structures than the hits have bits.
    """
    _require_bits(found, structures)
    bits = jnp.arange(len(structures.members), dtype=found.flags.dtype)
    return (found.flags >> bits[:, None, None] & 1) != 0


def path_lengths(
    labels: Volume,
    camera: Camera,
    structures: Structures,
    *,
    projector: Joseph | Siddon = Joseph(),
) -> Float[Array, "rows cols structures"]:
    """Millimeters of ray within each structure, in one pass.

    Differentiable in the camera and in the labels' affine. Labels become channels at
    every call; for many views keep ``structures.indicators(labels, ...)``, whose
    ``line_integrals`` these are.

    Args:
        labels: (nx, ny, nz), integers.
        camera: one view; ``jax.vmap`` over cameras for a batch.
        structures: one channel each.
        projector: how to integrate.

    Raises:
        ValueError: for labels that are not integers, or hold none of the structures.
    """
    return projector.project(indicators(labels, structures), camera)


def _require_bits(found: Hits, structures: Structures) -> None:
    bits, count = found.flags.dtype.itemsize * 8, len(structures.members)
    require(
        count <= bits,
        f"structures must be those of the hits, which have {bits} bits, got {count}",
    )
