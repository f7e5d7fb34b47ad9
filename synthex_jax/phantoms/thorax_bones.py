"""The bones of a thorax phantom: their shapes vary together with the chest's.

Works in the chest frame: its origin lies in the median plane 70 mm before the eighth
thoracic vertebra, world axes, mm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.phantoms.skeleton import Skeleton, measured
from synthex_jax.phantoms.variation import (
    Warp,
    bounded_normals,
    mirrored,
    turns,
    with_radii,
)
from synthex_jax.typing import Points, PRNGKey, Scalar, Vector3


@cache
def chest() -> dict[str, np.ndarray]:
    """The tables of ``data/thorax.json``."""
    path = resources.files("synthex_jax.phantoms") / "data" / "thorax.json"
    tables = json.loads(path.read_text())
    return {name: np.asarray(table) for name, table in tables.items()}


# Labels of the rows of the table "spine": L2, L1, T12 to T1, C7.
_SPINE_LABELS = np.array([30, 31, *range(32, 45)])
_LUMBAR_ROWS = 2

# Where the cartilages of ribs 1 to 7 meet the sternum, and those of 8 to 10 the one
# above: x, y, z in the chest frame, mm.
_STERNAL_ENDS = np.array(
    [
        [24, 76, 84],
        [18, 82, 62],
        [17, 88, 40],
        [17, 92, 20],
        [16, 93, 2],
        [15, 93, -14],
        [13, 92, -24],
        [38, 96, -52],
        [66, 92, -82],
        [92, 78, -108],
    ],
    dtype=float,
)
_CARTILAGE_POINTS = 7


@noun
@dataclass(frozen=True)
class Build:
    """What makes one patient's chest differ from another's.

    Attributes:
        scale: (3,), size along x, y and z relative to the tables.
        slope: (), mm a mm that ribs drop more towards the front.
        scoliosis: (2,), mm of sideways bend at two wavelengths.
        kyphosis: (), mm that the thoracic spine bulges further back.
        shoulders: (2, 2), mm that each shoulder lies higher and further forward.
        warp: irregularities that both sides share.
        asymmetry: irregularities of their own.
    """

    scale: Vector3
    slope: Scalar
    scoliosis: Float[Array, "2"]
    kyphosis: Scalar
    shoulders: Float[Array, "2 2"]
    warp: Warp
    asymmetry: Warp

    @classmethod
    def draw(cls, key: PRNGKey) -> Build:
        """Spreads after the ranges of adult chests."""
        u = bounded_normals(key, 128)
        return cls(
            scale=(1.06 + 0.035 * u[0]) * (1 + 0.03 * u[1:4]),
            slope=0.05 * u[4],
            scoliosis=2.0 * u[5:7],
            kyphosis=3.0 * u[7],
            shoulders=4.0 * u[8:12].reshape(2, 2),
            warp=Warp.create(u[16:72].reshape(8, 7), amplitude=1.2, wavelength=120.0),
            asymmetry=Warp.create(
                u[72:128].reshape(8, 7), amplitude=0.7, wavelength=150.0
            ),
        )

    @property
    def size(self) -> Scalar:
        """One factor for radii and thicknesses."""
        return jnp.prod(self.scale) ** (1 / 3)

    def placed(self, points: Points) -> Points:
        """Points of the tables, either side, in this patient."""
        x, y, z = jnp.moveaxis(self.warp.apply(points), -1, 0)
        # The spine bends, the sternum does not.
        behind = jnp.clip((60.0 - y) / 120.0, 0.0, 1.0)
        waves = jnp.stack([jnp.sin(z / 70.0), jnp.sin(z / 35.0)], axis=-1)
        x = x + behind * (waves @ self.scoliosis)
        y = y - self.kyphosis * behind * jnp.cos(jnp.clip(z / 120.0, -1.5, 1.5))
        z = z - self.slope * (y + 70.0) * jnp.clip(jnp.abs(x) / 60.0, 0.0, 1.0)
        return self.asymmetry.apply(jnp.stack([x, y, z], axis=-1)) * self.scale

    def both(self, table: Float[np.ndarray, "*k 4"]) -> Float[Array, "2 *k 4"]:
        """Vertices of the right side's table, on the left and on the right."""
        right = jnp.asarray(table, jnp.float32)
        sides = jnp.stack([mirrored(right), right])
        return with_radii(self.placed(sides[..., :3]), sides[..., 3] * self.size)

    def shoulder(self, name: str) -> Float[Array, "2 n 4"]:
        """Vertices of the left and right bone of a shoulder."""
        table = measured(name)
        sides = self.both(np.column_stack([table.points, table.radii]))
        up, forward = self.shoulders[:, 0, None], self.shoulders[:, 1, None]
        # The clavicle turns about its sternal end, 30 mm from the midline.
        lever = jnp.clip((jnp.abs(sides[..., 0]) - 30.0) / 60.0, 0.0, 1.0)
        sides = sides.at[..., 2].add(lever * up)
        return sides.at[..., 1].add(lever * forward)

    def ribs(self) -> Float[Array, "2 12 28 4"]:
        """Vertices of all ribs: the upper edge from back to front, then the lower."""
        return self.both(chest()["ribs"])

    def cartilages(self) -> Float[Array, "2 10 7 4"]:
        """Vertices of the costal cartilages of ribs 1 to 10, from rib to sternum."""
        ribs = chest()["ribs"][:10, :, :3]
        ends = (ribs[:, 13] + ribs[:, 27]) / 2
        before = (ribs[:, 11] + ribs[:, 25]) / 2
        onward = ends + 0.8 * (ends - before)
        onward[:, 2] -= np.linspace(0, 10, 10)
        t = np.linspace(0, 1, _CARTILAGE_POINTS)[None, :, None]
        curve = (1 - t) ** 2 * ends[:, None] + 2 * t * (1 - t) * onward[:, None]
        curve = curve + t**2 * _STERNAL_ENDS[:, None]
        radii = np.broadcast_to([4.8], (*curve.shape[:2], 1))
        return self.both(np.concatenate([curve, radii], axis=-1))

    def sternum(self) -> Float[Array, "1 n 4"]:
        """Vertices of the sternum."""
        table = measured("sternum")
        points = self.placed(jnp.asarray(table.points, jnp.float32))
        return with_radii(points, jnp.asarray(table.radii, jnp.float32) * self.size)[
            None
        ]

    def vertebrae(self, name: str) -> tuple[Float[Array, "k n 4"], np.ndarray]:
        """Vertices and labels of the "lumbar" or the "thoracic" vertebrae."""
        rows = slice(_LUMBAR_ROWS) if name == "lumbar" else slice(_LUMBAR_ROWS, None)
        rows_of = chest()["spine"][rows]
        table = measured(name)
        # The lumbar rows were measured with the thoracic table: theirs is larger.
        sizes = (
            np.minimum(rows_of[:, 3], 1.05) if name != "lumbar" else np.full(2, 0.86)
        )
        middles = np.column_stack([np.zeros(len(rows_of)), rows_of[:, :2]])
        tilts = np.zeros((len(rows_of), 3), np.float32)
        tilts[:, 0] = rows_of[:, 2]
        points = jnp.asarray(sizes[:, None, None] * table.points, jnp.float32)
        points = jnp.einsum("knj,kij->kni", points, turns(jnp.asarray(tilts)))
        placed = self.placed(points + middles[:, None].astype(np.float32))
        radii = jnp.asarray(sizes[:, None] * table.radii, jnp.float32) * self.size
        return with_radii(placed, radii), _SPINE_LABELS[rows]


def rib_skeleton() -> Skeleton:
    """The parts of a rib, and the size of the largest."""
    ribs = chest()["ribs"]
    middle = ribs[5]
    bone = Skeleton(middle[:, :3], middle[:, 3], chest()["rib_faces"])
    return bone.reaching(ribs[..., :3])


def cartilage_skeleton() -> Skeleton:
    """The parts of a costal cartilage, and the size of the largest."""
    line = np.linspace([0, 0, 0], [95, 60, 85], _CARTILAGE_POINTS)
    return Skeleton.chain(line, 4.8)
