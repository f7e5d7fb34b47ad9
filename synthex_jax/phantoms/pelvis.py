"""The pelvis phantom: from the upper lumbar spine to the proximal femurs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.phantoms import anatomy
from synthex_jax.phantoms.anatomy import Anatomy
from synthex_jax.phantoms.canvas import Canvas, Solids
from synthex_jax.phantoms.grid import Grid, Nodes
from synthex_jax.phantoms.loft import Loft, superellipse_rows
from synthex_jax.phantoms.pelvis_bones import FEMUR, HIP_POINTS, SHAFT, Build
from synthex_jax.phantoms.pelvis_organs import HAUSTRA, HIPS, ORIGIN, bowel, organs
from synthex_jax.phantoms.plates import Rods
from synthex_jax.phantoms.skeleton import Skeleton, measured
from synthex_jax.phantoms.textures import octaves
from synthex_jax.phantoms.variation import (
    bounded_normals,
    smooth_minimum,
    step_between,
    with_radii,
)
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar, Shape3, Vector3

# The trunk without skin and fat, from 140 mm below the hips in steps of 40 mm: half
# width, depth to the front and to the back of an axis 20 mm behind the hips, and the
# exponent of its outline. After cross sections of an adult of medium build.
_TRUNK_STEP, _TRUNK_LOW = 40.0, -140.0
_TRUNK = np.array(
    [
        [30.0, 24.0, 30.0, 2.0],
        [100.0, 45.0, 62.0, 2.0],
        [148.0, 74.0, 92.0, 2.3],
        [166.0, 88.0, 104.0, 2.4],
        [170.0, 92.0, 106.0, 2.4],
        [171.0, 94.0, 100.0, 2.4],
        [172.0, 96.0, 92.0, 2.4],
        [162.0, 98.0, 84.0, 2.4],
        [147.0, 102.0, 80.0, 2.4],
        [140.0, 105.0, 80.0, 2.4],
        [140.0, 107.0, 80.0, 2.3],
        [143.0, 108.0, 80.0, 2.3],
        [146.0, 108.0, 80.0, 2.3],
    ]
)
_CAVITY = np.array(
    [
        [10.0, 10.0, 10.0, 2.0],
        [10.0, 10.0, 10.0, 2.0],
        [24.0, 22.0, 22.0, 2.0],
        [48.0, 46.0, 48.0, 2.0],
        [60.0, 62.0, 62.0, 2.0],
        [84.0, 74.0, 48.0, 2.1],
        [104.0, 80.0, 26.0, 2.2],
        [112.0, 84.0, 24.0, 2.2],
        [112.0, 88.0, 28.0, 2.2],
        [112.0, 91.0, 30.0, 2.2],
        [114.0, 93.0, 34.0, 2.2],
        [118.0, 94.0, 38.0, 2.2],
        [122.0, 94.0, 38.0, 2.2],
    ]
)


def pelvis(
    key: PRNGKey, *, shape: Shape3 = (208, 144, 176), spacing: ArrayLike = 2.0
) -> Anatomy:
    """A pelvis with the lumbar spine, the proximal femurs and everything around them.

    Size, shape, pose, density, fat, bowel content and gas follow from the key, within
    adult ranges. The body is fixed in the world: a finer grid shows the same patient.
    The default grid covers 416 x 288 x 352 mm; the body ends where the grid does, as
    in a CT.

    Args:
        key: the patient.
        shape: (nx, ny, nz) of the grid, centered on the world's origin.
        spacing: mm, one number or (x, y, z).

    Returns:
        CT, labels and the landmarks ``HIP_LANDMARKS``.

    Raises:
        ValueError: for a shape or spacing that is no grid.
    """
    return _pelvis(key, Grid.create(shape, spacing))


@partial(jax.jit, static_argnames="grid")
def _pelvis(key: PRNGKey, grid: Grid) -> Anatomy:
    build_key, flesh_key, texture_key = jax.random.split(key, 3)
    build, flesh = Build.draw(build_key), Flesh.draw(flesh_key)
    grain, rough, loops = octaves(
        texture_key, grid.axes(), (7.0, 60.0, 44.0), voxel=max(grid.spacing)
    )
    canvas = _with_flesh(Canvas.empty(grid, grain, loops), flesh, build, rough, loops)
    for group in solids(flesh, build):
        canvas = canvas.painted(group)
    return Anatomy.from_canvas(canvas, _landmarks(build))


@noun
@dataclass(frozen=True)
class Flesh:
    """What makes one patient's tissue differ from another's.

    Attributes:
        fat: (), subcutaneous fat relative to a medium build.
        bulk: (), muscle relative to a medium build.
        spongy: (), HU of spongy bone, from osteoporotic to young.
        compact: (), HU of compact bone.
        cortex: (), its thickness relative to a medium build.
        bowel: (5, n, 5), standard normal: displacements and widths of the bowel.
        organs: (10,), standard normal: sizes and places of kidneys and bladder.
    """

    fat: Scalar
    bulk: Scalar
    spongy: Scalar
    compact: Scalar
    cortex: Scalar
    bowel: Float[Array, "5 n 5"]
    organs: Float[Array, "10"]

    @classmethod
    def draw(cls, key: PRNGKey) -> Flesh:
        """Fat from half to one and three quarters of a medium build's."""
        u = bounded_normals(key, 5 + 5 * 5 * HAUSTRA)
        return cls(
            fat=jnp.exp(0.28 * u[0]),
            bulk=1 + 0.02 * u[1],
            spongy=230 + 45 * u[2],
            compact=1150 + 80 * u[3],
            cortex=1 + 0.1 * u[4],
            bowel=u[5:].reshape(5, HAUSTRA, 5),
            organs=bounded_normals(jax.random.fold_in(key, 1), 10),
        )


def solids(flesh: Flesh, build: Build) -> list[list[Solids]]:
    """What is painted into the flesh, group by group."""
    return [
        organs(flesh.organs, build),
        bowel(flesh.bowel, build),
        [_discs(build), *_bones(flesh, build)],
    ]


def _with_flesh(
    canvas: Canvas, flesh: Flesh, build: Build, rough: Nodes, loops: Nodes
) -> Canvas:
    skin, lean, inside = _outlines(canvas.grid, flesh, build)
    canvas = canvas.filled(skin, 30.0, anatomy.SKIN)
    canvas = canvas.filled(skin + 1.8, -105.0 + 6 * rough, anatomy.FAT)
    # Fat between muscles follows the noise's level sets.
    seams = step_between(0.9, 1.7, jnp.abs(rough + 0.2 * canvas.grain))
    canvas = canvas.filled(lean + 3 * rough, 55.0 - 120.0 * seams, anatomy.MUSCLE)
    viscera = -95.0 + 130.0 * step_between(-0.5, 0.1, loops)
    return canvas.filled(inside, viscera, anatomy.VISCERA)


def _outlines(grid: Grid, flesh: Flesh, build: Build) -> tuple[Nodes, Nodes, Nodes]:
    """Distances to the skin, to the muscles under the fat, and to the viscera."""
    # mm of fat to the side, in front and behind.
    fat = flesh.fat * np.array([20.0, 20.0, 24.0])
    trunk = jnp.asarray(_TRUNK, jnp.float32)
    lean = trunk[:, :3] * flesh.bulk
    tables = jnp.stack([lean + fat / build.scale[:1], lean, _CAVITY[:, :3]])
    tables = tables * jnp.stack([build.scale[0], build.scale[1], build.scale[1]])
    exponents = jnp.stack([trunk[:, 3], trunk[:, 3], jnp.asarray(_CAVITY[:, 3])])
    half_width, front, back = jnp.moveaxis(tables, -1, 0)
    rows = jax.vmap(superellipse_rows)(
        half_width, front, back, exponents.astype(jnp.float32)
    )
    axes = HIPS[:2] + np.array([[0.0, -20.0], [0.0, -20.0], [0.0, 2.0]])
    levels = _TRUNK_LOW + _TRUNK_STEP * np.arange(len(_TRUNK)) + HIPS[2]
    lofts = Loft(
        jnp.asarray(axes, jnp.float32),
        jnp.broadcast_to(jnp.asarray(levels, jnp.float32), rows.shape[:2]),
        rows,
    )
    distances = lax.map(lambda loft: loft.distance(grid), lofts)
    skin = _with_thighs(grid, distances[0], fat[0], build.scale, flesh.bulk)
    lean = _with_thighs(grid, distances[1], 0 * fat[0], build.scale, flesh.bulk)
    floor = HIPS[2] - 45.0 - grid.axes()[2]
    return skin, lean, jnp.maximum(distances[2], floor)


def _with_thighs(
    grid: Grid, trunk: Nodes, fat: Scalar, scale: Vector3, bulk: Scalar
) -> Nodes:
    axes = grid.axes()
    # The perineum rounds off the trunk between the thighs.
    floor = HIPS[2] - 88.0 - axes[2]
    solid = -smooth_minimum(-trunk, -floor, 40.0)
    for side in (-1.0, 1.0):
        ends = HIPS + np.array([[side * 96.0, -6.0, -40.0], [side * 88.0, 2.0, -260.0]])
        radii = np.array([78.0, 66.0]) * bulk * scale[0] + fat
        top, bottom = with_radii(jnp.asarray(ends, jnp.float32), radii)
        thigh = Rods.between(top, bottom).distance(axes)
        solid = smooth_minimum(solid, thigh, 24.0)
    return solid


def _bones(flesh: Flesh, build: Build) -> list[Solids]:
    def bone(
        skeleton: Skeleton,
        vertices: Float[Array, "k n 4"],
        labels: ArrayLike,
        shell: float,
        share: float,
        **cut: ArrayLike,
    ) -> Solids:
        return Solids.create(
            skeleton,
            vertices + ORIGIN,
            labels,
            compact=flesh.compact,
            shell=shell * flesh.cortex,
            spongy=share * flesh.spongy,
            texture=0.3 * share * flesh.spongy,
            **cut,
        )

    sockets = build.sockets() + ORIGIN
    femurs, sides = build.femurs(), np.array([75, 76])
    spine = np.arange(32, 26, -1)
    return [
        bone(measured("lumbar"), build.lumbar(), spine, 0.9, 0.8),
        bone(measured("sacrum"), build.sacrum(), [25], 1.3, 0.75),
        bone(measured("hip"), build.hips(), [77, 78], 1.5, 1.0, socket=sockets),
        bone(FEMUR, femurs, sides, 1.8, 1.1),
        *_shafts(femurs + ORIGIN, sides, flesh),
    ]


def _shafts(femurs: Array, labels: np.ndarray, flesh: Flesh) -> list[Solids]:
    """The thick walls of the femurs' shafts, and the fatty marrow within."""
    shaft = slice(SHAFT, None)
    # The canal begins above the wall, or the wall would close it with a dome.
    marrow = np.array([SHAFT - 2, *range(SHAFT, len(FEMUR.radii))])
    # mm of compact bone from below the trochanters down (Noble et al. 1988).
    thickness = flesh.cortex * np.array([5.0, 2.2, 4.8, 6.0, 6.0, 6.0])
    wall = femurs[:, shaft] - jnp.array([0.0, 0.0, 0.0, 0.8])
    canal = femurs[:, marrow].at[..., 3].add(-thickness)
    pair = [
        (shaft, wall, flesh.compact, 0.0),
        (marrow, canal, 0.4 * flesh.spongy, 15.0),
    ]
    return [
        Solids.create(
            Skeleton.chain(FEMUR.points[part], FEMUR.radii[part]),
            vertices,
            labels,
            spongy=hu,
            texture=texture,
        )
        for part, vertices, hu, texture in pair
    ]


def _discs(build: Build) -> Solids:
    """Discs fill the space between the bodies; the vertebrae are painted over them."""
    middles, turned = build.spine()
    # The middle of a body lies 14 mm before its vertebra's origin.
    bodies = middles + turned[:, :, 1] * 14.0 + HIPS
    column = Skeleton.chain(np.array([[0, 0, 33.0 * k] for k in range(6)]), 19.0)
    return Solids.create(
        column, with_radii(bodies, 19.0)[None], anatomy.DISC, spongy=90.0
    )


def _landmarks(build: Build) -> dict[str, Vector3]:
    hips = jnp.asarray(HIPS, jnp.float32)
    found = {}
    for name, point in HIP_POINTS.items():
        left, right = build.both(jnp.asarray(point, jnp.float32)) + hips
        found |= {f"{name}-l": left, f"{name}-r": right}
    left, right = build.heads + hips
    found |= {"FH-l": left, "FH-r": right}
    return {name: found[name] for name in anatomy.HIP_LANDMARKS}
