"""The bones of a pelvis phantom: their shapes vary, then they are posed.

Works in the hip frame: origin midway between the femoral heads, world axes, mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.nouns import noun
from synthex_jax.phantoms.skeleton import Skeleton, measured
from synthex_jax.phantoms.variation import (
    Warp,
    bounded_normals,
    mirrored,
    step_between,
    turns,
    with_radii,
)
from synthex_jax.typing import Matrix3, Points, PRNGKey, Scalar, Vector3

# Right femoral head's center in the hip frame, and what the tables were measured
# with: half of the distance between both centers of the CT in data/README.md.
_HEAD = np.array([87.0, 0.0, 0.0])
# Head radius 22 mm in women to 26 in men (Noble et al. 1988), the joint space 4 mm.
_HEAD_RADIUS = 22.0
_JOINT_SPACE = 2.8

FEMUR = Skeleton(
    # Right femur about its head's center: neck-shaft angle 127 degrees, anteversion
    # 12, lengths after Noble et al., "The anatomic basis of femoral component design",
    # Clin. Orthop. 235 (1988).
    points=np.array(
        [
            [0, 0, 0],
            [14, -3, -9],
            [24, -6, -17],
            [36, -9, -28],
            [47, -14, -1],
            [54, -12, -13],
            [51, -9, -27],
            [45, -20, 4],
            [27, -21, -50],
            [42, -10, -46],
            [38, -18, -30],
            [42, -9, -66],
            [41, -7, -92],
            [40, -4, -130],
            [39, -2, -180],
            [38, 0, -240],
        ],
        dtype=float,
    ),
    radii=np.array(
        [22, 14.5, 14.0, 16.5, 8, 9, 12, 5.5, 6, 15.5, 9.0, 14.5, 13.5, 13, 13, 13.5]
    ),
    faces=np.array(
        [
            [0, 1, 1],
            [1, 2, 2],
            [2, 3, 3],
            [2, 3, 4],
            [3, 4, 5],
            [3, 5, 6],
            [4, 7, 5],
            [3, 6, 9],
            [3, 9, 8],
            [7, 10, 8],
            [8, 9, 11],
            [3, 10, 8],
            [9, 11, 11],
            [11, 12, 12],
            [12, 13, 13],
            [13, 14, 14],
            [14, 15, 15],
        ]
    ),
)
SHAFT = 11
"""The first vertex of ``FEMUR`` that belongs to its shaft; the rest of it follows."""

# Lumbar vertebrae from T12 down to L5: center (y, z) in the hip frame, forward tilt in
# radians and size relative to the fourth, as measured in the same CT.
_LUMBAR = np.array(
    [
        [-56.0, 271.0, 0.40, 0.88],
        [-46.6, 241.8, 0.36, 0.92],
        [-39.0, 211.6, 0.29, 0.95],
        [-34.5, 179.6, 0.18, 0.98],
        [-33.6, 147.8, 0.00, 1.00],
        [-43.4, 118.9, -0.25, 0.98],
    ]
)

# Landmarks of the right hip bone, on or just below the surface of its table, hip frame.
HIP_POINTS = {
    "GSN": (69.5, -40.0, 38.0),
    "IOF": (44.0, -9.0, -43.0),
    "MOF": (27.5, 19.5, -31.0),
    "SPS": (6.5, 56.5, -6.0),
    "IPS": (6.5, 28.5, -38.0),
    "ASIS": (125.0, 45.0, 79.0),
}


@noun
@dataclass(frozen=True)
class Build:
    """What makes one patient's skeleton differ from another's.

    Attributes:
        scale: (3,), size along x, y and z relative to the table.
        flare: (), how far the iliac wings lean outward, mm a mm of height.
        outlet: (), widening of the pelvic outlet, a share.
        tilt: (), radians the pelvis leans forward.
        lean: (2,), radians of roll about y and turn about z.
        scoliosis: (2,), mm of sideways bend at two wavelengths.
        gait: (2, 3), radians of flexion, abduction and rotation of each femur.
        warp: irregularities that both sides share.
        asymmetry: irregularities of their own.
    """

    scale: Vector3
    flare: Scalar
    outlet: Scalar
    tilt: Scalar
    lean: Float[Array, "2"]
    scoliosis: Float[Array, "2"]
    gait: Float[Array, "2 3"]
    warp: Warp
    asymmetry: Warp

    @classmethod
    def draw(cls, key: PRNGKey) -> Build:
        """Spreads after the ranges of adult pelvic morphometry."""
        u = bounded_normals(key, 128)
        gait_mean = jnp.array([0.08, 0.05, 0.0])
        gait_spread = jnp.array([0.06, 0.05, 0.1])
        return cls(
            scale=(1.03 + 0.03 * u[0]) * (1 + 0.025 * u[1:4]),
            flare=0.04 * u[4],
            outlet=0.04 * u[5],
            tilt=0.07 * u[6],
            lean=0.02 * u[7:9],
            scoliosis=3.0 * u[9:11],
            gait=gait_mean + gait_spread * u[10:16].reshape(2, 3),
            warp=Warp.create(u[16:72].reshape(8, 7), amplitude=1.2, wavelength=110.0),
            asymmetry=Warp.create(
                u[72:128].reshape(8, 7), amplitude=0.6, wavelength=140.0
            ),
        )

    def shaped(self, points: Points) -> Points:
        """Points of the right half of the table, (..., 3), in this patient's shape."""
        x, y, z = jnp.moveaxis(points, -1, 0)
        x = x + self.flare * 60 * step_between(20.0, 120.0, z) * step_between(
            40.0, 100.0, x
        )
        x = x * (1 + self.outlet * step_between(10.0, -50.0, z))
        return self.warp.apply(jnp.stack([x, y, z], axis=-1) * self.scale)

    def placed(self, points: Points) -> Points:
        """Shaped points of either side, as this patient's pelvis lies."""
        return self.asymmetry.apply(points) @ self.pelvis_turn.T

    @property
    def pelvis_turn(self) -> Matrix3:
        """(3, 3), how the pelvis lies."""
        return turns(jnp.stack([-self.tilt, self.lean[0], self.lean[1]]))

    @property
    def size(self) -> Scalar:
        """One factor for radii and thicknesses."""
        return jnp.prod(self.scale) ** (1 / 3)

    @property
    def heads(self) -> Float[Array, "2 3"]:
        """(2, 3), centers of the left and the right femoral head."""
        right = self.shaped(jnp.asarray(_HEAD, jnp.float32))
        return self.placed(jnp.stack([mirrored(right), right]))

    @property
    def head_radius(self) -> Scalar:
        """Mm."""
        return _HEAD_RADIUS * self.size

    def both(self, points: Points) -> Float[Array, "2 *n 3"]:
        """Points of the right side's table, on the left and on the right."""
        right = self.shaped(points)
        return self.placed(jnp.stack([mirrored(right), right]))

    def hips(self) -> Float[Array, "2 n 4"]:
        """Vertices of the left and the right hip bone."""
        table = measured("hip")
        points = self.both(jnp.asarray(table.points, jnp.float32))
        return with_radii(points, jnp.asarray(table.radii, jnp.float32) * self.size)

    def sockets(self) -> Float[Array, "2 4"]:
        """The balls that the acetabula leave free: head and joint space."""
        return with_radii(self.heads, self.head_radius + _JOINT_SPACE)

    def femurs(self) -> Float[Array, "2 n 4"]:
        """Vertices of the left and the right femur."""
        right = jnp.asarray(FEMUR.points, jnp.float32) * self.scale
        signs = np.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
        sides = jnp.stack([mirrored(right), right])
        posed = jnp.einsum("knj,kij->kni", sides, turns(self.gait * signs))
        radii = jnp.asarray(FEMUR.radii, jnp.float32) * self.size
        return with_radii(posed + self.heads[:, None], radii)

    def sacrum(self) -> Float[Array, "1 n 4"]:
        """Vertices of the sacrum."""
        table = measured("sacrum")
        points = jnp.asarray(table.points, jnp.float32) * self.scale
        points = self.placed(points)
        return with_radii(points, jnp.asarray(table.radii, jnp.float32) * self.size)[
            None
        ]

    def spine(self) -> tuple[Float[Array, "6 3"], Float[Array, "6 3 3"]]:
        """Centers and rotations of T12 to L5."""
        middles = jnp.asarray(
            np.stack([np.zeros(6), _LUMBAR[:, 0], _LUMBAR[:, 1]], 1), jnp.float32
        )
        middles = middles * self.scale
        # Above the pelvis the tilt is taken back, so that the trunk lies straight.
        height = (middles[:, 2] - middles[-1, 2]) / 150.0
        bend = jnp.stack([jnp.sin(height * np.pi), jnp.sin(height * 2 * np.pi)], -1)
        side = bend @ self.scoliosis
        kept = jnp.clip(1.0 - height, 0.2, 1.0)
        tilts = jnp.stack(
            [-self.tilt * kept, self.lean[0] * kept, 0 * kept + self.lean[1]], axis=-1
        )
        carried = turns(tilts)
        between = (carried[1:] + carried[:-1]) / 2
        steps = jnp.einsum("kij,kj->ki", between, middles[:-1] - middles[1:])
        rise = jnp.cumsum(steps[::-1], axis=0)[::-1]
        lowest = self.pelvis_turn @ middles[-1]
        chain = lowest + jnp.concatenate([rise, jnp.zeros((1, 3))])
        own = np.zeros((6, 3), np.float32)
        own[:, 0] = _LUMBAR[:, 2]
        sideways = side[:, None] * np.array([1.0, 0.0, 0.0])
        return chain + sideways, carried @ turns(jnp.asarray(own))

    def lumbar(self) -> Float[Array, "6 n 4"]:
        """Vertices of T12 to L5."""
        table = measured("lumbar")
        sizes = jnp.asarray(_LUMBAR[:, 3], jnp.float32)
        middles, turned = self.spine()
        points = jnp.asarray(table.points, jnp.float32) * self.scale
        points = jnp.einsum("knj,kij->kni", sizes[:, None, None] * points, turned)
        points = points + middles[:, None]
        radii = sizes[:, None] * jnp.asarray(table.radii, jnp.float32) * self.size
        return with_radii(points, radii)
