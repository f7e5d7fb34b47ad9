"""The front door: from a volume and a camera to an image."""

from __future__ import annotations

from synthex_jax.geometry.camera import Camera
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.siddon import Siddon
from synthex_jax.typing import ChannelImage
from synthex_jax.volumes.volume import Volume


def line_integrals(
    volume: Volume, camera: Camera, *, projector: Joseph | Siddon = Joseph()
) -> ChannelImage:
    """Integrals of a volume along the rays from the source to each pixel center.

    Differentiable in the volume's data and affine and in everything of the camera.

    Args:
        volume: (nx, ny, nz) or (nx, ny, nz, channels) samples a mm.
        camera: one view; ``jax.vmap`` over cameras for a batch.
        projector: how to integrate.

    Returns:
        (rows, cols) or (rows, cols, channels); for a volume in 1/mm without unit.
    """
    return projector.project(volume, camera)
