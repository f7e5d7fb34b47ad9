"""A coarse picture of a body, in layers parallel to the detector.

Scattered radiation is smooth, and so a body of a centimeter's resolution makes it. Its
cells here are parallel to the camera's axes: a straight line to a detector then moves
at an even pace across the layers, and what lies along many lines at once is a product
of small matrices (``flights``).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import transform_points
from synthex_jax.numerics import at_least, at_most, between, product
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.typing import (
    ArrayLike,
    Matrix4,
    Points,
    Scalar,
    Shape3,
    Vector3,
    Voxels,
)
from synthex_jax.volumes.composition import Composition

# Voxels a side that a volume keeps: 4 mm where a CT's field is half a meter wide.
_FINEST = 128
# Points along z, y and x in a cell whose mean it gets: more along z, since all photons
# go through the partly filled layers.
_POINTS = (4, 2, 2)
# g/cm^3 below which a cell counts as empty: air has 0.0012, inflated lung 0.26.
_EMPTY = 0.1
# What lies this far outside the field, in mm, is left out: photons of 60 keV go 49 mm
# in water, and few come back from beyond three times that way, there and back.
_MARGIN = 80.0
# Layers begin at least this far from the source, mm.
_NEAREST = 1.0


class ReducedVolume(NamedTuple):
    """A composition in fewer voxels, each the mean of what it covers.

    Attributes:
        fractions: (nx, ny, nz, substances).
        affine: (4, 4), world from voxel.
    """

    fractions: Float[Array, "nx ny nz substances"]
    affine: Matrix4

    @classmethod
    def create(cls, composition: Composition) -> ReducedVolume:
        """At most 128 voxels a side."""
        data, affine = composition.fractions.data, composition.fractions.affine
        sizes = np.minimum(data.shape[:3], _FINEST)
        ratio = np.asarray(data.shape[:3]) / sizes
        cells = np.diag([*ratio, 1.0])
        cells[:3, 3] = (ratio - 1) / 2
        return cls(
            box_averaged(data, (int(sizes[0]), int(sizes[1]), int(sizes[2]))),
            product(affine, jnp.asarray(cells, affine.dtype)),
        )

    def at(self, points: Points, camera: Camera) -> Float[Array, "*batch substances"]:
        """Interpolated at points of a camera's frame, (x, y, z) in mm."""
        voxel_from_camera = product(
            jnp.linalg.inv(self.affine), camera.world_from_camera.matrix
        )
        return _trilinear(self.fractions, transform_points(voxel_from_camera, points))


class CoarseBody(NamedTuple):
    """Shares of the substances in cells parallel to a camera's axes.

    Attributes:
        fractions: (layers, rows, cols, substances), along the camera's z, y and x.
        first: (3,), mm, camera frame: the (z, y, x) of the first cell's center.
        steps: (3,), mm from cell to cell, (z, y, x).
    """

    fractions: Float[Array, "layers rows cols substances"]
    first: Vector3
    steps: Vector3

    @property
    def shape(self) -> Shape3:
        """(layers, rows, cols)."""
        layers, rows, cols = self.fractions.shape[:3]
        return layers, rows, cols

    def places(self, axis: int) -> Float[Array, "cells"]:
        """Centers of the cells along z, y or x (0, 1, 2), mm."""
        numbers = jnp.arange(self.fractions.shape[axis], dtype=self.first.dtype)
        return self.first[axis] + self.steps[axis] * numbers

    def weights(
        self, axis: int, places: Float[Array, "*points"]
    ) -> Float[Array, "*points cells"]:
        """Of the cells along an axis in the linear interpolation at places in mm.

        Beyond the outermost centers the body fades out within one cell.
        """
        distance = places[..., None] - self.places(axis)
        return at_least(1 - jnp.abs(distance) / self.steps[axis], 0.0)

    def averaged(self, shape: Shape3) -> CoarseBody:
        """The same body in fewer cells: exact means over the new ones."""
        sizes = np.asarray(self.shape) / np.asarray(shape)
        steps = self.steps * sizes
        return CoarseBody(
            box_averaged(self.fractions, shape),
            self.first + (steps - self.steps) / 2,
            steps,
        )


def contracted(formula: str, *factors: ArrayLike) -> Float[Array, "..."]:
    """``einsum`` in full precision on every device; see ``numerics.product``."""
    return jnp.einsum(formula, *factors, precision=lax.Precision.HIGHEST)


def coarse_body(
    volume: ReducedVolume,
    substances: tuple[Material, ...],
    camera: Camera,
    shape: Shape3,
) -> CoarseBody:
    """The part of a body that a view's scatter comes from.

    Its cells fill the bounding box, along the camera's axes, of what is not empty,
    and end 8 cm outside the field.

    Args:
        volume: what the voxels consist of.
        substances: in the order of the volume's channels.
        camera: the view; its number of pixels does not matter.
        shape: (layers, rows, cols).
    """
    low, high = _bounding_box(volume, substances, camera)
    counts = np.asarray(shape)
    steps = (high - low) / counts
    body = CoarseBody(jnp.zeros((*shape, len(substances))), low + steps / 2, steps)
    return body._replace(fractions=_resampled(volume, camera, body))


def box_averaged(
    values: Float[Array, "*cells channels"], shape: tuple[int, ...]
) -> Float[Array, "*boxes channels"]:
    """Means over the boxes of a coarser grid that covers the same space."""
    for axis, count in enumerate(shape):
        if count != values.shape[axis]:
            weights = jnp.asarray(_overlaps(values.shape[axis], count), float)
            values = jnp.moveaxis(
                jnp.tensordot(
                    weights, values, (1, axis), precision=lax.Precision.HIGHEST
                ),
                0,
                axis,
            )
    return values


def _overlaps(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """The share that each old cell has in the length of each new one."""
    ends = np.arange(new + 1) * old / new
    cells = np.arange(old)
    low = np.maximum(ends[:-1, None], cells)
    high = np.minimum(ends[1:, None], cells + 1)
    return np.maximum(high - low, 0) * new / old


def _bounding_box(
    volume: ReducedVolume, substances: tuple[Material, ...], camera: Camera
) -> tuple[Vector3, Vector3]:
    """Camera (z, y, x) of the corners, mm."""
    densities = jnp.stack([jnp.asarray(s.density) for s in substances])
    occupied = jnp.abs(product(volume.fractions, densities)) > _EMPTY
    occupied |= ~jnp.any(occupied)
    ends = []
    for axis in range(3):
        line = jnp.any(occupied, axis=tuple({0, 1, 2} - {axis}))
        first = jnp.argmax(line)
        last = len(line) - 1 - jnp.argmax(line[::-1])
        # Interpolated, a voxel reaches to the centers of its neighbors.
        ends.append(jnp.stack([first - 1.0, last + 1.0]))
    grid = jnp.stack(jnp.meshgrid(*ends, indexing="ij"), -1).reshape(8, 3)
    world = transform_points(volume.affine, grid.astype(volume.affine.dtype))
    corners = camera.camera_from_world.apply(world)[:, ::-1]
    low, high = _extremes(corners)
    near, far = _between(low[0], high[0], camera.source_to_detector)
    plane = DetectorPlane.from_camera(camera)
    field = [_ends(plane.y, plane.pitch[0]), _ends(plane.x, plane.pitch[1])]
    scale = jnp.stack([near, far]) / plane.distance
    lows, highs = [near], [far]
    for axis, (start, end) in enumerate(field, start=1):
        outer = at_most(start * scale[0], start * scale[1]) - _MARGIN
        lows.append(at_least(low[axis], outer))
        outer = at_least(end * scale[0], end * scale[1]) + _MARGIN
        highs.append(at_most(high[axis], outer))
    low, high = jnp.stack(lows), jnp.stack(highs)
    # Nothing of the body near the field: the grid is as good anywhere.
    return low, at_least(high, low + 1.0)


def _between(near: Scalar, far: Scalar, detector: Scalar) -> tuple[Scalar, Scalar]:
    """Depths that a photon passes between source and detector, at least 1 mm apart."""
    near = between(near, _NEAREST, detector - 2 * _NEAREST)
    return near, between(far, near + _NEAREST, detector - _NEAREST)


def _ends(places: Float[Array, "rows cols"], pitch: Scalar) -> tuple[Scalar, Scalar]:
    """Of the detector along an axis."""
    low, high = _extremes(places.reshape(-1, 1))
    return low[0] - pitch / 2, high[0] + pitch / 2


def _extremes(
    points: Float[Array, "n axes"],
) -> tuple[Float[Array, "axes"], Float[Array, "axes"]]:
    """Least and greatest along each axis; derivatives are those of the points found."""
    return tuple(
        jnp.take_along_axis(points, find(points, axis=0, keepdims=True), axis=0)[0]
        for find in (jnp.argmin, jnp.argmax)
    )  # pyright: ignore[reportReturnType]


def _resampled(
    volume: ReducedVolume, camera: Camera, body: CoarseBody
) -> Float[Array, "layers rows cols substances"]:
    """Means over the body's cells, of points at which the grid is interpolated."""
    centers = jnp.stack(
        jnp.meshgrid(*(body.places(axis) for axis in range(3)), indexing="ij"), -1
    )
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in _POINTS]
    shifts = np.stack(np.meshgrid(*offsets), -1).reshape(-1, 3)

    @jax.checkpoint
    def add(total: Array, shift: Array) -> tuple[Array, None]:
        points = (centers + shift * body.steps)[..., ::-1]
        return total + volume.at(points, camera), None

    start = jnp.zeros_like(body.fractions)
    total, _ = lax.scan(add, start, jnp.asarray(shifts, centers.dtype))
    return total / len(shifts)


def _trilinear(values: Voxels, index: Points) -> Float[Array, "*batch channels"]:
    """Interpolated values at fractional indices; zero a cell beyond the last."""
    low = jnp.floor(index)
    share = index - low
    total = jnp.zeros((*index.shape[:-1], values.shape[3]), index.dtype)
    shape = np.asarray(values.shape[:3])
    for corner in np.ndindex(2, 2, 2):
        at = low.astype(jnp.int32) + jnp.asarray(corner)
        inside = jnp.all((at >= 0) & (at < shape), axis=-1)
        along = jnp.where(np.asarray(corner) == 1, share, 1 - share)
        weight = jnp.where(inside, jnp.prod(along, axis=-1), 0.0)
        at = jnp.clip(at, 0, shape - 1)
        total += weight[..., None] * values[at[..., 0], at[..., 1], at[..., 2]]
    return total
