"""Rays through shapes with a surface: meshes, and solids in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import at_least, at_most, between, product
from synthex_jax.projectors.scanlines import depth_inside, depth_range
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.tool import Shape
from synthex_jax.typing import Image, Points


@jax.jit
def extent(shape: Shape, camera: Camera) -> tuple[Image, Image]:
    """Where each pixel's ray first enters a shape and where it last leaves it.

    Differentiable in the shape and the camera.

    Args:
        shape: in world mm.
        camera: one view.

    Returns:
        Two (rows, cols) images, mm from the source along the ray, which ends at the
        detector; both 0 where it misses the shape.
    """
    distances, directions = _rays(camera)
    if isinstance(shape, Mesh):
        slant = distances / camera.source_to_detector
        near, far = depth_range(_homogeneous(shape, camera), shape.faces, camera.shape)
        near, far = near * slant, far * slant
    else:
        near, far = _hull(*shape.intervals(camera.source, directions))
    near, far = between(near, 0.0, distances), between(far, 0.0, distances)
    is_hit = far > near
    return jnp.where(is_hit, near, 0.0), jnp.where(is_hit, far, 0.0)


@jax.jit
def lengths(
    shape: Shape, camera: Camera, edges: Float[Array, "rows cols ends"]
) -> Float[Array, "rows cols stretches"]:
    """Lengths of the shape in stretches of each pixel's ray, exact.

    Differentiable in the shape, the camera and the edges.

    Args:
        shape: in world mm.
        camera: one view.
        edges: (rows, cols, n + 1), mm from the source along the ray, ascending, not
            negative.

    Returns:
        (rows, cols, n), mm of ray inside the shape between consecutive edges.
    """
    distances, directions = _rays(camera)
    if isinstance(shape, Mesh):
        slant = (distances / camera.source_to_detector)[..., None]
        vertices = _homogeneous(shape, camera)
        inside = depth_inside(vertices, shape.faces, edges / slant) * slant
        return jnp.diff(inside, axis=-1)
    near, far = shape.intervals(camera.source, directions)
    low, high = edges[..., :-1, None], edges[..., 1:, None]
    near, far = near[..., None, :], far[..., None, :]
    overlap = at_most(far, high) - at_least(near, low)
    return jnp.sum(at_least(overlap, 0.0), axis=-1)


@jax.jit
def path_lengths(shape: Shape, camera: Camera) -> Image:
    """Length of each pixel's ray inside a shape, from the source to the detector.

    Differentiable in the shape and the camera.

    Args:
        shape: in world mm.
        camera: one view.

    Returns:
        (rows, cols), mm.
    """
    distances, _ = _rays(camera)
    edges = jnp.stack([jnp.zeros_like(distances), distances], axis=-1)
    return lengths(shape, camera, edges)[..., 0]


def _rays(camera: Camera) -> tuple[Image, Points]:
    """Mm from the source to each pixel, and unit vectors towards it."""
    ends = camera.back_project(camera.pixel_grid()) - camera.source
    distances = jnp.sqrt(jnp.sum(ends**2, axis=-1))
    return distances, ends / distances[..., None]


def _homogeneous(mesh: Mesh, camera: Camera) -> Float[Array, "v 3"]:
    """Vertices as (column, row, 1) times depth in mm."""
    return product(camera.camera_from_world.apply(mesh.vertices), camera.K.T)


def _hull(
    near: Float[Array, "rows cols k"], far: Float[Array, "rows cols k"]
) -> tuple[Image, Image]:
    """From the start of the first piece that is not empty to the end of the last."""
    first, last = near[..., 0], far[..., 0]
    for k in range(1, near.shape[-1]):
        is_piece = far[..., k] > near[..., k]
        is_first = is_piece & (last <= first)
        first = jnp.where(is_first, near[..., k], first)
        last = jnp.where(is_piece, far[..., k], last)
    return first, last
