"""The thorax phantom: from the thoracic inlet to the upper abdomen, arms raised."""

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
from synthex_jax.phantoms.loft import Loft
from synthex_jax.phantoms.plates import Rods
from synthex_jax.phantoms.skeleton import Skeleton, measured
from synthex_jax.phantoms.textures import octaves
from synthex_jax.phantoms.thorax_bones import (
    Build,
    cartilage_skeleton,
    chest,
    rib_skeleton,
)
from synthex_jax.phantoms.variation import bounded_normals, step_between, with_radii
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar, Shape3, Vector3

# Where the chest frame's origin lies in the world, mm: the chest is then centered on
# the default grid.
_CHEST = np.array([0.0, 0.0, 26.0])
_ORIGIN = np.array([*_CHEST, 0.0])
# Axes of the lofts of the lungs in the chest frame, mm; those of data/thorax.json.
_LUNG_AXES = {"right": (62.0, 4.0), "left": (-66.0, -6.0)}

# Courses of tubes in the chest frame, (x, y, z, radius) in mm: the airways down to the
# lobar bronchi, the aorta, the superior vena cava and the pulmonary arteries.
_AIRWAYS = {
    "trachea": [(0, 38, 150, 8.5), (1, 30, 105, 8.5), (4, 20, 75, 8.5), (6, 8, 44, 9)],
    "right": [(6, 8, 44, 8), (22, 2, 28, 7.5), (36, -4, 14, 6), (46, -14, -4, 4.5)],
    "left": [(6, 8, 44, 7.5), (-16, 2, 30, 6.5), (-36, -8, 18, 6), (-48, -18, 0, 4)],
}
_AORTA = [
    (2, 30, -2, 15),
    (12, 36, 22, 15),
    (10, 30, 46, 14.5),
    (-8, 14, 63, 14.5),
    (-26, -10, 63, 14.5),
    (-32, -30, 50, 13.5),
    (-29, -42, 24, 12),
    (-26, -44, -10, 11.5),
    (-20, -38, -50, 11),
    (-14, -22, -90, 10.5),
    (-10, -8, -130, 10),
    (-8, 4, -180, 9.5),
]
_CAVA = [(26, 36, 88, 7), (23, 30, 60, 9), (23, 27, 20, 9.5), (18, 30, -4, 10)]
_PULMONARY = [
    (44, -6, 10, 8),
    (26, 6, 20, 11),
    (-10, 26, 26, 12),
    (-34, -2, 26, 11.5),
    (-46, -14, 12, 8),
]
# The heart as a rod from the bases to the apex: ends (x, y, z, radius), mm.
_HEART = [(2.0, 34.0, -8.0, 36.0), (-44.0, 50.0, -34.0, 32.0)]
_ATRIUM = [(18.0, 26.0, -4.0, 27.0), (14.0, 34.0, -34.0, 27.0)]


def thorax(
    key: PRNGKey, *, shape: Shape3 = (192, 144, 176), spacing: ArrayLike = 2.0
) -> Anatomy:
    """A chest with ribs, spine, shoulders, lungs, heart and the upper abdomen.

    Size, shape, density, fat, inspiration and vessels follow from the key, within
    adult ranges. The body is fixed in the world: a finer grid shows the same patient.
    The default grid covers 384 x 288 x 352 mm; the arms are raised and absent, and
    the body ends where the grid does, as in a CT.

    Args:
        key: the patient.
        shape: (nx, ny, nz) of the grid, centered on the world's origin.
        spacing: mm, one number or (x, y, z).

    Returns:
        CT, labels and the landmarks "carina", "jugular notch" and "xiphoid tip".

    Raises:
        ValueError: for a shape or spacing that is no grid.
    """
    return _thorax(key, Grid.create(shape, spacing))


@partial(jax.jit, static_argnames="grid")
def _thorax(key: PRNGKey, grid: Grid) -> Anatomy:
    build_key, flesh_key, texture_key = jax.random.split(key, 3)
    build, flesh = Build.draw(build_key), Flesh.draw(flesh_key)
    grain, rough = octaves(
        texture_key, grid.axes(), (7.0, 50.0), voxel=max(grid.spacing)
    )
    canvas = _with_flesh(Canvas.empty(grid, grain, rough), flesh, build, rough)
    for group in solids(flesh, build):
        canvas = canvas.painted(group)
    return Anatomy.from_canvas(canvas, _landmarks(build))


@noun
@dataclass(frozen=True)
class Flesh:
    """What makes one patient's tissue differ from another's.

    Attributes:
        fat: (), mm of subcutaneous fat.
        breath: (), mm that the diaphragm stands lower.
        aeration: (), HU of the lungs between the vessels.
        heart: (), size of the heart relative to the table.
        spongy: (), HU of spongy bone.
        compact: (), HU of compact bone.
        cortex: (), its thickness relative to a medium build.
        stomach: (4,), standard normal: size and place of the gas bubble.
    """

    fat: Scalar
    breath: Scalar
    aeration: Scalar
    heart: Scalar
    spongy: Scalar
    compact: Scalar
    cortex: Scalar
    stomach: Float[Array, "4"]

    @classmethod
    def draw(cls, key: PRNGKey) -> Flesh:
        """Spreads after the ranges of adult chests."""
        u = bounded_normals(key, 11)
        return cls(
            fat=12 * jnp.exp(0.35 * u[0]),
            breath=6 * u[1],
            aeration=-868 + 15 * u[2],
            heart=1 + 0.06 * u[3],
            spongy=200 + 40 * u[4],
            compact=1150 + 80 * u[5],
            cortex=1 + 0.1 * u[6],
            stomach=u[7:],
        )


def solids(flesh: Flesh, build: Build) -> list[list[Solids]]:
    """What is painted into the flesh, group by group."""
    return [[*_vessels(build), *_bones(flesh, build)]]


def _with_flesh(canvas: Canvas, flesh: Flesh, build: Build, rough: Nodes) -> Canvas:
    grid = canvas.grid
    skin, right, left = _lofts(grid, build)
    skin = skin - flesh.fat + 10.0
    canvas = canvas.filled(skin, 30.0, anatomy.SKIN)
    canvas = canvas.filled(skin + 1.8, -105.0 + 6 * rough, anatomy.FAT)
    seams = step_between(1.0, 1.8, jnp.abs(rough + 0.2 * canvas.grain))
    lean = skin + flesh.fat + 2 * rough
    canvas = canvas.filled(lean, 52.0 - 110.0 * seams, anatomy.MUSCLE)
    domes = tuple(_dome(grid, side, build, flesh) for side in ("right", "left"))
    canvas = _with_abdomen(canvas, skin, domes, flesh, rough)
    z = grid.axes()[2]
    # Blood and weight settle at the back of a supine patient's lungs.
    air = flesh.aeration - 0.25 * grid.axes()[1] + 18 * rough + 22 * canvas.grain
    sides = ((12, right, domes[0], 1.0), (10, left, domes[1], -1.0))
    for label, lung, dome, sign in sides:
        lung = jnp.maximum(lung, _apex(grid, build, sign))
        canvas = canvas.filled(jnp.maximum(lung, dome - z), air, label)
    return _with_heart(canvas, flesh, build)


def _lofts(grid: Grid, build: Build) -> tuple[Nodes, Nodes, Nodes]:
    """Distances to the skin and to the two lungs (open below)."""
    tables = chest()
    skin = _loft((0.0, 0.0), tables["body_levels"], tables["body"], build).distance(
        grid
    )
    lungs = [
        _loft(_LUNG_AXES[side], tables["levels"], tables[f"lung_{side}"], build)
        for side in ("right", "left")
    ]
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), *lungs)
    right, left = lax.map(lambda loft: loft.distance(grid), both)
    return skin, right, left


def _loft(
    axis: tuple[float, float], levels: np.ndarray, radii: np.ndarray, build: Build
) -> Loft:
    angle = np.arange(radii.shape[1]) * 2 * np.pi / radii.shape[1]
    across = jnp.hypot(build.scale[0] * np.cos(angle), build.scale[1] * np.sin(angle))
    return Loft(
        jnp.asarray(axis, jnp.float32) * build.scale[:2] + _CHEST[:2],
        jnp.asarray(levels, jnp.float32) * build.scale[2] + _CHEST[2],
        jnp.asarray(radii, jnp.float32) * across,
    )


def _dome(grid: Grid, side: str, build: Build, flesh: Flesh) -> Float[Array, "nx ny 1"]:
    """World z of a half of the diaphragm: a cubic surface, fitted to a CT's."""
    x, y, _ = grid.axes()
    sign = 1.0 if side == "right" else -1.0
    u = jnp.clip(((x - _CHEST[0]) / build.scale[0] - 60.0 * sign) / 50.0, -1.3, 1.3)
    v = jnp.clip((y - _CHEST[1]) / build.scale[1] / 50.0, -1.5, 1.9)
    c = chest()[f"diaphragm_{side}"]
    height = c[0] + c[1] * u + c[2] * v + c[3] * u * u + c[4] * u * v + c[5] * v * v
    height = height + c[6] * u**3 + c[7] * u * u * v + c[8] * u * v * v + c[9] * v**3
    height = jnp.clip(height, -150.0, -10.0) * build.scale[2]
    return height - flesh.breath + _CHEST[2]


def _apex(grid: Grid, build: Build, sign: float) -> Nodes:
    """Distance to a bullet whose tip is the top of a lung."""
    x, y, z = (a - o for a, o in zip(grid.axes(), _CHEST, strict=True))
    x, y, z = (a / s for a, s in zip((x, y, z), build.scale, strict=True))
    above = jnp.maximum(z - 48.0, 0.0)
    return jnp.sqrt((x - 50.0 * sign) ** 2 + (0.9 * y) ** 2 + above**2) - 74.0


def _with_abdomen(
    canvas: Canvas, skin: Nodes, domes: tuple, flesh: Flesh, rough: Nodes
) -> Canvas:
    x, y, z = canvas.grid.axes()
    top = jnp.where(x > _CHEST[0], *domes)
    wall = jnp.maximum(skin + 30.0, z - top + 3.0)
    # The spine and its muscles lie behind the viscera.
    wall = jnp.maximum(wall, _CHEST[1] - 50.0 - y + 0.25 * jnp.abs(x))
    viscera = 40.0 - 120.0 * step_between(0.2, 0.9, rough)
    canvas = canvas.filled(wall, viscera, anatomy.VISCERA)
    edge = -(x + 50.0 + 0.9 * (z - _CHEST[2] + 60.0)) / 1.35
    canvas = canvas.filled(jnp.maximum(wall, edge), 58.0 + 3 * rough, 5)
    u = flesh.stomach
    bubble = jnp.array([-58.0, 42.0, -94.0]) + 6.0 * u[:3] + _CHEST
    ends = with_radii(
        bubble + jnp.array([[-10.0, 0.0, -4.0], [14.0, 6.0, -2.0]]), 17.0 + 4.0 * u[3]
    )
    gas = Rods.between(ends[0], ends[1]).distance(canvas.grid.axes()) + 5 * rough
    canvas = canvas.filled(jnp.maximum(gas - 4.0, wall), 45.0, 6)
    return canvas.filled(jnp.maximum(gas, wall + 4.0), -960.0, anatomy.GAS)


def _with_heart(canvas: Canvas, flesh: Flesh, build: Build) -> Canvas:
    axes = canvas.grid.axes()
    distances = []
    for ends in (_HEART, _ATRIUM):
        table = jnp.asarray(ends, jnp.float32)
        points = table[:, :3] * build.scale + _CHEST
        posed = with_radii(points, table[:, 3] * build.size * flesh.heart)
        rod = Rods.between(posed[0], posed[1])
        distances.append(rod.distance(axes))
    return canvas.filled(jnp.minimum(*distances), 42.0, 51)


def _vessels(build: Build) -> list[Solids]:
    """Airways, great vessels, and the tree of the lungs' vessels."""

    def tube(course: list, label: int, **material: ArrayLike) -> Solids:
        table = np.asarray(course, dtype=float)
        posed = build.placed(jnp.asarray(table[:, :3], jnp.float32)) + _CHEST
        skeleton = Skeleton.chain(table[:, :3], table[:, 3])
        vertices = with_radii(posed, table[:, 3] * build.size)[None]
        return Solids.create(skeleton, vertices, label, **material)

    tree = measured("lung_vessels")
    points = build.placed(jnp.asarray(tree.points, jnp.float32)) + _CHEST
    branches = with_radii(points, 1.3 * jnp.asarray(tree.radii, jnp.float32))[None]
    air = {"spongy": -985.0, "compact": 20.0, "shell": 1.6}
    # Mediastinal tissue keeps the trachea apart from the lungs.
    around = [(x, y, z, radius + 3.0) for x, y, z, radius in _AIRWAYS["trachea"]]
    return [
        tube(around, anatomy.MUSCLE, spongy=25.0),
        Solids.create(tree, branches, anatomy.VESSELS, spongy=40.0),
        tube(_PULMONARY, anatomy.VESSELS, spongy=42.0),
        tube(_CAVA, anatomy.VESSELS, spongy=42.0),
        tube(_AORTA, 52, spongy=44.0),
        *(tube(course, 16, **air) for course in _AIRWAYS.values()),
    ]


def _bones(flesh: Flesh, build: Build) -> list[Solids]:
    def bone(
        skeleton: Skeleton,
        vertices: Array,
        labels: ArrayLike,
        shell: float,
        share: float,
    ) -> Solids:
        return Solids.create(
            skeleton,
            vertices + _ORIGIN,
            labels,
            compact=flesh.compact,
            shell=shell * flesh.cortex,
            spongy=share * flesh.spongy,
            texture=0.3 * share * flesh.spongy,
        )

    lumbar, thoracic = (build.vertebrae(name) for name in ("lumbar", "thoracic"))
    cartilages = build.cartilages().reshape(20, -1, 4) + _ORIGIN
    ribs = build.ribs().reshape(24, -1, 4)
    rib_labels = np.concatenate([92 + np.arange(12), 104 + np.arange(12)])
    return [
        Solids.create(cartilage_skeleton(), cartilages, 117, spongy=85.0, texture=25.0),
        bone(measured("lumbar"), *lumbar, 0.9, 0.8),
        bone(measured("thoracic"), *thoracic, 0.9, 0.85),
        bone(rib_skeleton(), ribs, rib_labels, 1.3, 0.9),
        bone(measured("scapula"), build.shoulder("scapula"), [71, 72], 1.2, 1.0),
        bone(measured("clavicle"), build.shoulder("clavicle"), [73, 74], 2.2, 1.0),
        bone(measured("sternum"), build.sternum(), [116], 0.9, 0.6),
    ]


# On the surface or in the middle of the tables' bones, chest frame, mm.
_POINTS = {
    "carina": (6.0, 8.0, 44.0),
    "jugular notch": (0.0, 74.0, 92.0),
    "xiphoid tip": (0.0, 92.0, -38.0),
}


def _landmarks(build: Build) -> dict[str, Vector3]:
    return {
        name: build.placed(jnp.asarray(point, jnp.float32)) + _CHEST.astype(np.float32)
        for name, point in _POINTS.items()
    }
