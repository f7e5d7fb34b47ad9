"""Other bodies from the same one: CT, labels and landmarks deformed alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_not_negative,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.frames import transform_points
from synthex_jax.geometry.lie import homogeneous
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.phantoms.anatomy import Anatomy
from synthex_jax.phantoms.variation import Warp
from synthex_jax.typing import (
    ArrayLike,
    Matrix3,
    Matrix4,
    Points,
    PRNGKey,
    Scalar,
    Vector2,
    Vector3,
)
from synthex_jax.volumes.calibration import as_floating
from synthex_jax.volumes.grids import sampled
from synthex_jax.volumes.volume import Volume

PAPER_CHEST_SHEAR = (0.0, math.pi / 6, 0.0)
"""Of SyntheX's chest CTs: up to 30 degrees either way (Gao et al. 2022, 5.3.3). The
paper does not name the plane; the coronal one is seen in frontal radiographs."""

# How fast displacements may change, mm a mm. Below 1 no two points meet and steps
# towards the origin of a point converge; 0.8 leaves 1e-5 of them after 50.
_STEEPEST = 0.8
_STEPS = 50
# Waves of a random displacement: enough to look irregular. The more there are, the
# smaller they get, since their sum is bounded.
_WAVES = 5


@noun
@dataclass(frozen=True)
class Deformation:
    """A smooth and invertible map of the world onto itself.

    What was at a point moves irregularly, by the inverse of ``warp``, and then by the
    matrix about a center that stays.

    Attributes:
        matrix: (3, 3), shear and scale.
        center: (3,), world mm.
        warp: from where a point is before the matrix to where it comes from.
    """

    matrix: Matrix3
    center: Vector3
    warp: Warp

    @classmethod
    def create(
        cls,
        center: ArrayLike,
        *,
        shear: ArrayLike = (0.0, 0.0, 0.0),
        scale: ArrayLike = 1.0,
        warp: Warp | None = None,
    ) -> Deformation:
        """From angles, factors, and a displacement.

        Args:
            center: (3,), world mm, of shear and scale: a volume's center.
            shear: (3,), radians: x leans over along y, x along z, and y along z.
                (0, 0.5, 0) leans the body to its right the higher up it is.
            scale: one factor or three, along x, y and z before the shear.
            warp: an irregular displacement; none by default.

        Raises:
            ValueError: for angles of a right angle or more, scales that are not
                positive, and a warp that may fold space over.
        """
        center, shear = (jnp.asarray(value, float) for value in (center, shear))
        require_shape("center", center, (3,))
        require_finite("center", center)
        require_shape("shear", shear, (3,))
        if is_concrete(shear):
            require(
                bool(jnp.all(jnp.abs(shear) < math.pi / 2)),
                "shear must be angles below pi / 2 radians either way, got "
                f"{shear.tolist()}; jnp.deg2rad converts degrees",
            )
        require_positive("scale", scale)
        require(
            np.shape(scale) in ((), (3,)),
            f"scale must be one factor or three, got shape {np.shape(scale)}",
        )
        warp = _none() if warp is None else warp
        _require_invertible(warp)
        return cls(_sheared(shear, jnp.asarray(scale, float)), center, warp)

    @property
    def affine(self) -> Matrix4:
        """(4, 4), shear and scale alone, as ``Scene.deformed`` takes them."""
        shift = self.center - product(self.matrix, self.center)
        return homogeneous(self.matrix, shift)

    def apply(self, points: Points) -> Points:
        """Where points (..., 3), world mm, move to: landmarks, vertices of meshes."""
        return _applied(self, points)

    def undo(self, points: Points) -> Points:
        """Where points (..., 3), world mm, come from: the inverse of ``apply``."""
        back = product(points - self.center, jnp.linalg.inv(self.matrix).T)
        return self.warp.apply(back + self.center)


@jax.jit
def _applied(deformation: Deformation, points: Points) -> Points:
    warp, center = deformation.warp, deformation.center

    def nearer(origin: Points, _: None) -> tuple[Points, None]:
        return points - (warp.apply(origin) - origin), None

    before, _ = lax.scan(nearer, points, length=_STEPS)
    return product(before - center, deformation.matrix.T) + center


@noun
@dataclass(frozen=True)
class DeformationRanges:
    """What ``random_deformation`` draws from.

    Attributes:
        shear: (3,), radians, the largest angles either way.
        scale: (2,), smallest and largest factor, of each axis for itself.
        amplitude: (), mm, beyond which no point is displaced.
        wavelength: (), mm, of the shortest wave of displacement.
    """

    shear: Vector3
    scale: Vector2
    amplitude: Scalar
    wavelength: Scalar

    @classmethod
    def create(
        cls,
        *,
        shear: ArrayLike = (0.0, 0.0, 0.0),
        scale: ArrayLike = (1.0, 1.0),
        amplitude: ArrayLike = 0.0,
        wavelength: ArrayLike = 150.0,
    ) -> DeformationRanges:
        """From angles in radians (one or three), factors and mm.

        ``shear=PAPER_CHEST_SHEAR`` is what SyntheX did to chest CTs.

        Raises:
            ValueError: for angles that are negative or of a right angle and more,
                scales that are not positive or fall, and an amplitude above 0.127
                times the wavelength, at which displacements could fold space over.
        """
        shear = jnp.broadcast_to(jnp.asarray(shear, float), (3,))
        scale, amplitude, wavelength = (
            jnp.asarray(value, float) for value in (scale, amplitude, wavelength)
        )
        require_not_negative("shear", shear, "(radians)")
        if is_concrete(shear):
            require(
                bool(jnp.all(shear < math.pi / 2)),
                f"shear must be below pi / 2 radians, got {shear.tolist()}; "
                "jnp.deg2rad converts degrees",
            )
        require_shape("scale", scale, (2,))
        require_positive("scale", scale)
        if is_concrete(scale):
            require(
                bool(scale[0] <= scale[1]),
                f"scale must be (smallest, largest), got {scale.tolist()}",
            )
        require_not_negative("amplitude", amplitude, "mm")
        require_positive("wavelength", wavelength, "mm")
        if is_concrete(amplitude, wavelength):
            most = _STEEPEST / (2 * math.pi) * float(wavelength)
            require(
                float(amplitude) <= most,
                f"amplitude must be at most {most:.3g} mm at a wavelength of "
                f"{float(wavelength):g} mm, got {float(amplitude):g}: more would fold "
                "space over; take a longer wavelength",
            )
        return cls(shear, scale, amplitude, wavelength)


@jax.jit
def random_deformation(
    key: PRNGKey, center: Vector3, ranges: DeformationRanges
) -> Deformation:
    """A deformation drawn evenly from ranges.

    The displacement is a sum of waves of random direction, one to two times as long as
    the shortest, of which no more than the amplitude can add up anywhere; how much of
    it, is drawn as well.

    Args:
        key: what to draw from.
        center: (3,), world mm, where shear and scale leave everything.
        ranges: how far.
    """
    keys = jax.random.split(key, 3)
    shear = ranges.shear * jax.random.uniform(keys[0], (3,), minval=-1, maxval=1)
    low, high = ranges.scale
    scale = low + (high - low) * jax.random.uniform(keys[1], (3,))
    warp = _random_warp(keys[2], ranges.amplitude, ranges.wavelength)
    return Deformation(_sheared(shear, scale), center, warp)


def deformed(
    volume: Volume,
    deformation: Deformation,
    *,
    order: int = 1,
    outside: ArrayLike | None = None,
) -> Volume:
    """A volume of the deformed body, on the same grid.

    What moves out of the grid is lost; ``grids.padded`` by ``room`` makes place for it
    beforehand. Differentiable in the samples and, for order 1, in the deformation.

    Args:
        volume: with or without channels.
        deformation: of the world.
        order: 1 for linear interpolation (CTs), 0 for the nearest sample (labels).
        outside: value where the grid did not reach; the volume's smallest sample by
            default: air in HU, nothing in 1/mm, background in labels.

    Returns:
        The same dtype for order 0 and for floats; integers become floats for order 1.

    Raises:
        ValueError: for another order.
    """
    require(order in (0, 1), f"order must be 0 (nearest) or 1 (linear), got {order}")
    data = volume.data if order == 0 else as_floating(volume.data)
    fill = jnp.min(data) if outside is None else jnp.asarray(outside, data.dtype)
    return _deformed(replace(volume, data=data), deformation, fill, order)


def deformed_anatomy(anatomy: Anatomy, deformation: Deformation) -> Anatomy:
    """CT, labels and landmarks of the deformed body, on the same grid."""
    return Anatomy(
        deformed(anatomy.ct, deformation, outside=-1000.0),
        deformed(anatomy.labels, deformation, order=0, outside=0),
        {name: deformation.apply(at) for name, at in anatomy.landmarks.items()},
    )


def room(volume: Volume, deformation: Deformation) -> tuple[tuple[int, int], ...]:
    """Voxels before and after on each axis, with which nothing is lost.

    For ``grids.padded``; on the host.

    Example:
        >>> import jax.numpy as jnp, synthex_jax as sx
        >>> ct = sx.Volume.from_array(jnp.zeros((10, 10, 100)), spacing=1.0)
        >>> leaning = Deformation.create(ct.center, shear=(0.0, jnp.pi / 4, 0.0))
        >>> room(ct, leaning)
        ((50, 50), (0, 0), (0, 0))
    """
    # 16 steps along an edge of a body of 400 mm follow the waves; what the outer faces
    # bulge between is below a voxel.
    steps = np.linspace(0.0, 1.0, 17)
    share = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    faces = share[np.any((share == 0) | (share == 1), axis=1)]
    outer = jnp.asarray(faces * volume.shape - 0.5, volume.affine.dtype)
    moved = deformation.apply(transform_points(volume.affine, outer))
    index = np.asarray(transform_points(volume.voxel_from_world, moved))
    # 1e-3 voxels are float32's errors.
    before = np.ceil(-0.5 - index.min(axis=0) - 1e-3)
    after = np.ceil(index.max(axis=0) - (np.asarray(volume.shape) - 0.5) - 1e-3)
    pairs = np.maximum(np.stack([before, after], axis=1), 0).astype(int)
    return tuple((int(low), int(high)) for low, high in pairs)


@partial(jax.jit, static_argnames="order")
def _deformed(
    volume: Volume, deformation: Deformation, fill: Array, order: int
) -> Volume:
    """Samples where each voxel comes from, one plane at a time to bound the memory."""
    nx, ny, nz = volume.shape
    dtype = volume.affine.dtype
    j, k = jnp.meshgrid(*(jnp.arange(n, dtype=dtype) for n in (ny, nz)), indexing="ij")
    inverse = volume.voxel_from_world

    def plane(i: Scalar) -> Num[Array, "..."]:
        index = jnp.stack([jnp.full_like(j, i), j, k], axis=-1)
        origin = deformation.undo(transform_points(volume.affine, index))
        at = tuple(jnp.moveaxis(transform_points(inverse, origin), -1, 0))
        return sampled(volume.data, at, order, fill)

    planes = lax.map(plane, jnp.arange(nx, dtype=dtype))
    return replace(volume, data=planes)


def _sheared(shear: Vector3, scale: Float[Array, "..."]) -> Matrix3:
    lean = jnp.tan(shear)
    upper = jnp.zeros((3, 3)).at[np.array([0, 0, 1]), np.array([1, 2, 2])].set(lean)
    return (jnp.eye(3) + upper) * scale


def _none() -> Warp:
    return Warp(jnp.zeros((0, 3)), jnp.zeros(0), jnp.zeros((0, 3)))


def _random_warp(key: PRNGKey, amplitude: Scalar, wavelength: Scalar) -> Warp:
    keys = jax.random.split(key, 6)
    along, aside = (_directions(k) for k in keys[:2])
    lengths = wavelength * jax.random.uniform(keys[2], (_WAVES,), minval=1, maxval=2)
    phases = 2 * jnp.pi * jax.random.uniform(keys[3], (_WAVES,))
    strengths = jax.random.uniform(keys[4], (_WAVES,), minval=0.5, maxval=1)
    size = amplitude * jax.random.uniform(keys[5]) / jnp.sum(strengths)
    waves = along * (2 * jnp.pi / lengths)[:, None]
    return Warp(waves, phases, aside * (size * strengths)[:, None])


def _directions(key: PRNGKey) -> Float[Array, "k 3"]:
    vectors = jax.random.normal(key, (_WAVES, 3))
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def _require_invertible(warp: Warp) -> None:
    if not is_concrete(warp):
        return
    sizes = [
        np.linalg.norm(np.asarray(part), axis=-1) for part in (warp.waves, warp.shifts)
    ]
    steepest = float(np.sum(sizes[0] * sizes[1]))
    require(
        steepest <= _STEEPEST + 1e-4,
        f"warp must not change by more than {_STEEPEST} mm a mm, so that it can be "
        f"inverted, but may by {steepest:.3g}; take smaller shifts or longer waves",
    )
