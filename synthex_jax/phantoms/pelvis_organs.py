"""The organs of a pelvis phantom: psoas muscles, kidneys, bladder and bowel."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.phantoms import anatomy
from synthex_jax.phantoms.canvas import Solids
from synthex_jax.phantoms.pelvis_bones import Build
from synthex_jax.phantoms.skeleton import Skeleton
from synthex_jax.phantoms.variation import with_radii

# Where the middle between the femoral heads lies in the world, mm: a supine body is
# then centered on the default grid.
HIPS = np.array([0.0, 18.0, -52.0])
ORIGIN = np.array([*HIPS, 0.0])

# Courses in the hip frame, right side, (x, y, z, radius) in mm: the psoas from the
# first lumbar vertebra over the pelvic brim to the lesser trochanter, a kidney from its
# lower to its upper pole.
_PSOAS = [
    (26, -40, 235, 7),
    (36, -34, 200, 13),
    (46, -26, 155, 18),
    (60, -4, 105, 19),
    (76, 22, 58, 17),
    (92, 26, 10, 14),
    (106, 2, -34, 9),
]
_KIDNEY = [(71, -36, 196, 24), (65, -42, 222, 27), (55, -50, 252, 24)]
_BLADDER = np.array([0.0, 24.0, 14.0])


# Courses of the colon in the hip frame: ascending, descending, sigmoid and rectum,
# then a field of small bowel; mm.
_COLON = {
    "ascending": [
        (88, 8, 70),
        (96, 2, 100),
        (98, -4, 135),
        (97, -8, 170),
        (92, 0, 205),
    ],
    "descending": [(-92, 4, 80), (-99, -6, 115), (-100, -12, 150), (-98, -10, 190)],
    "rectum": [
        (-60, 12, 52),
        (-30, 20, 45),
        (-8, -20, 50),
        (0, -45, 20),
        (0, -42, -10),
    ],
    "transverse": [(60, 60, 180), (20, 70, 165), (-25, 70, 168), (-65, 58, 185)],
    "small": [
        (40, 30, 95),
        (-20, 40, 120),
        (15, 45, 70),
        (-50, 30, 130),
        (55, 40, 130),
    ],
}


# Pockets along each of them.
HAUSTRA = 16


def organs(u: Float[Array, "10"], build: Build) -> list[Solids]:
    """Psoas muscles, kidneys in their fat, and the bladder.

    Args:
        u: (10,), standard normal: sizes and places.
        build: the bones that they lie along.
    """

    def pair(course: list) -> tuple[Skeleton, Float[Array, "2 n 4"]]:
        table = np.asarray(course, dtype=float)
        points = build.both(jnp.asarray(table[:, :3], jnp.float32))
        # The pelvis tilts by up to 0.14 radians, and what is long with it.
        leaning = np.outer(table[:, 2], [0.0, 0.14, 0.0])
        shape = Skeleton.chain(table[:, :3], table[:, 3])
        shape = shape.reaching([table[:, :3] + leaning, table[:, :3] - leaning])
        return shape, with_radii(points, table[:, 3] * build.size) + ORIGIN

    psoas, muscles = pair(_PSOAS)
    kidney, kidneys = pair(_KIDNEY)
    # Kidneys lie up to 15 mm higher or lower, the right one lower.
    drop = jnp.stack([7.0 * u[0], 7.0 * u[1] - 12.0])
    kidneys = kidneys.at[..., 2].add(drop[:, None])
    kidneys = kidneys.at[..., 3].multiply(1 + 0.06 * u[2:4, None])
    middle = _BLADDER + 4.0 * u[4:7] * np.array([1.0, 1.0, 0.0])
    bladder = with_radii(jnp.asarray(middle + HIPS), 29.0 + 5.0 * u[7])[None, None]
    return [
        Solids.create(psoas, muscles, [88, 89], spongy=58.0, lumps=1.5),
        Solids.create(
            kidney.thickened(9.0),
            kidneys.at[..., 3].add(9.0),
            anatomy.VISCERA,
            spongy=-105.0,
            lumps=2.0,
        ),
        Solids.create(kidney, kidneys, [3, 2], spongy=34.0),
        # Urine, 5 HU, in a wall of 3 mm.
        Solids.create(
            Skeleton.balls(_BLADDER[None], 34.0),
            bladder,
            21,
            spongy=5.0,
            compact=38.0,
            shell=3.0,
        ),
    ]


def bowel(u: Float[Array, "5 n 5"], build: Build) -> list[Solids]:
    """Stool, mottled with small bubbles, and pockets of gas above it.

    Args:
        u: (5, HAUSTRA, 5), standard normal: displacements, widths and gas.
        build: whose size the bowel follows.
    """
    courses = [np.asarray(course, dtype=float) for course in _COLON.values()]
    balls = np.stack([_resampled(course, HAUSTRA) for course in courses])
    points = jnp.asarray(balls, jnp.float32) * build.scale
    points = points + 5 * u[..., :3] + HIPS
    shape = Skeleton.balls(balls[0], 22.0).reaching(balls)
    stool = with_radii(points, 15.0 + 3.0 * u[..., 3])[:3]
    # Gas comes in stretches and rises to the front of a supine patient.
    more = u[..., 4]
    stretches = jnp.roll(more, 1, axis=1) + more + jnp.roll(more, -1, axis=1)
    gas = jnp.clip(1.0 + 7.0 / 3**0.5 * stretches + 2.0 * u[..., 3], -30.0, 13.0)
    pockets = with_radii(points + np.array([0.0, 6.0, 0.0]), gas)
    return [
        Solids.create(
            shape, stool, anatomy.VISCERA, spongy=-10.0, texture=110.0, lumps=3.0
        ),
        Solids.create(shape, pockets, anatomy.GAS, spongy=-930.0, lumps=3.5),
    ]


def _resampled(course: np.ndarray, count: int) -> np.ndarray:
    at = np.linspace(0, len(course) - 1, count)
    return np.stack([np.interp(at, range(len(course)), c) for c in course.T], axis=1)
