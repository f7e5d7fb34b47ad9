r"""Closed surfaces swept along curves: wires, tubes, bars.

Vertices are differentiable in the centerline and the profile; faces are constants.
Each cross-section is plane and at a right angle to the curve. Round profiles are
regular polygons within the circle: of s sides, they have $\sin(2\pi/s)/(2\pi/s)$ of
its area, 0.974 of it for 16.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_positive,
    require_shape,
)
from synthex_jax.tools.curves import rotation_minimizing_frames
from synthex_jax.tools.mesh import Mesh
from synthex_jax.typing import ArrayLike

# Mm. A meter away, float32 coordinates are 6e-5 mm apart.
_APART = 1e-4


def tube(
    centerline: ArrayLike,
    radii: ArrayLike,
    *,
    sides: int = 16,
    frames: Float[Array, "rows 3 3"] | None = None,
) -> Mesh:
    """A round bar along a curve, closed by flat ends.

    Args:
        centerline: (n, 3), mm, n >= 2.
        radii: mm, one number or (n,).
        sides: corners of a cross-section, static.
        frames: (n, 3, 3), as of ``rotation_minimizing_frames``, which gives them by
            default; for parts that are to share cross-sections.

    Raises:
        ValueError: for a centerline that is not (n, 3), not finite, or has neighbors
            at one place; radii that are not positive; fewer than three sides; a bend
            that is tighter than the radius, so that cross-sections would meet.
    """
    centerline = _curve(centerline)
    radii = _radii("radii", radii, len(centerline))
    profiles = radii[:, None, None] * _circle(sides)
    return _bar(centerline, profiles, _frames(centerline, frames))


def hollow_tube(
    centerline: ArrayLike,
    outer_radii: ArrayLike,
    inner_radii: ArrayLike,
    *,
    sides: int = 16,
    frames: Float[Array, "rows 3 3"] | None = None,
) -> Mesh:
    """A tube with a lumen along a curve, open at both ends for what flows through.

    The surface is closed: outer wall, inner wall and an annulus at each end.

    Args:
        centerline: (n, 3), mm, n >= 2.
        outer_radii: mm, one number or (n,).
        inner_radii: mm, one number or (n,), smaller.
        sides: corners of a cross-section, static.
        frames: (n, 3, 3), see ``tube``.

    Raises:
        ValueError: as ``tube``, and for inner radii that are not smaller than the
            outer ones.
    """
    centerline = _curve(centerline)
    outer = _radii("outer_radii", outer_radii, len(centerline))
    inner = _radii("inner_radii", inner_radii, len(centerline))
    if is_concrete(outer, inner):
        require(
            bool(np.all(np.asarray(inner) < np.asarray(outer))),
            f"inner_radii must be smaller than outer_radii, got {inner} and {outer} mm",
        )
    frames = _frames(centerline, frames)
    circle = _circle(sides)
    wall = _loops(centerline, outer[:, None, None] * circle, frames)
    lumen = _loops(centerline, inner[:, None, None] * circle, frames)
    vertices = jnp.concatenate([wall, lumen[::-1]]).reshape(-1, 3)
    return Mesh(vertices, jnp.asarray(_torus(2 * len(centerline), sides)))


def sweep(
    centerline: ArrayLike,
    profile: ArrayLike,
    *,
    frames: Float[Array, "rows 3 3"] | None = None,
) -> Mesh:
    """A bar of any profile along a curve, closed by flat ends.

    Args:
        centerline: (n, 3), mm, n >= 2.
        profile: (sides, 2) or (n, sides, 2), mm from the centerline along the frames'
            normals and binormals: a polygon of which the centerline sees all corners,
            counterclockwise.
        frames: (n, 3, 3), see ``tube``.

    Raises:
        ValueError: as ``tube``, and for a profile of another shape or one that does
            not run once and counterclockwise around the centerline.
    """
    centerline = _curve(centerline)
    profile = jnp.asarray(profile, float)
    rows = len(centerline)
    require(
        profile.ndim in (2, 3)
        and profile.shape[:-2] in ((), (rows,))
        and profile.shape[-1] == 2
        and profile.shape[-2] >= 3,
        f"profile must have shape (sides, 2) or ({rows}, sides, 2) with sides >= 3, "
        f"got {profile.shape}",
    )
    require_finite("profile", profile)
    _require_counterclockwise(profile)
    profiles = jnp.broadcast_to(profile, (rows, *profile.shape[-2:]))
    return _bar(centerline, profiles, _frames(centerline, frames))


def split_quads(quads: Int[np.ndarray, "*rows 4"]) -> Int[np.ndarray, "faces 3"]:
    """Two triangles for each four corners, in the corners' sense."""
    corners = quads.reshape(-1, 4)
    return np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(
        np.int32
    )


def _curve(centerline: ArrayLike) -> Float[Array, "n 3"]:
    """The centerline as an array, checked."""
    centerline = jnp.asarray(centerline, float)
    require(
        centerline.ndim == 2 and centerline.shape[1] == 3 and len(centerline) >= 2,
        f"centerline must have shape (n, 3) with n >= 2, got {centerline.shape}",
    )
    require_finite("centerline", centerline)
    if is_concrete(centerline):
        steps = np.linalg.norm(np.diff(np.asarray(centerline), axis=0), axis=-1)
        nearest = int(np.argmin(steps))
        require(
            steps[nearest] > _APART,
            f"centerline must have its neighbors apart, points {nearest} and "
            f"{nearest + 1} are at one place; drop one",
        )
    return centerline


def _frames(
    centerline: Float[Array, "n 3"], frames: Float[Array, "rows 3 3"] | None
) -> Float[Array, "n 3 3"]:
    if frames is None:
        return rotation_minimizing_frames(centerline)
    require_shape("frames", frames, (len(centerline), 3, 3))
    return frames


def _bar(
    centerline: Float[Array, "n 3"],
    profiles: Float[Array, "n sides 2"],
    frames: Float[Array, "n 3 3"],
) -> Mesh:
    loops = _loops(centerline, profiles, frames)
    ends = jnp.stack([centerline[0], centerline[-1]])
    vertices = jnp.concatenate([loops.reshape(-1, 3), ends])
    return Mesh(vertices, jnp.asarray(_capped(*loops.shape[:2])))


def _loops(
    centerline: Float[Array, "n 3"],
    profiles: Float[Array, "n sides 2"],
    frames: Float[Array, "n 3 3"],
) -> Float[Array, "n sides 3"]:
    """The cross-sections in space."""
    _require_open_bends(centerline, frames, profiles)
    return _placed(centerline, frames, profiles)


@jax.jit
def _placed(
    centerline: Float[Array, "n 3"],
    frames: Float[Array, "n 3 3"],
    profile: Float[Array, "n sides 2"],
) -> Float[Array, "n sides 3"]:
    across = profile[..., :1] * frames[:, None, :, 0]
    return centerline[:, None] + across + profile[..., 1:] * frames[:, None, :, 1]


def _circle(sides: int) -> Float[Array, "sides 2"]:
    require(sides >= 3, f"sides must be at least 3, got {sides}")
    angles = np.arange(sides) * (2 * np.pi / sides)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1), float)


def _radii(name: str, radii: ArrayLike, points: int) -> Float[Array, "n"]:
    radii = jnp.asarray(radii, float)
    require(
        radii.shape in ((), (points,)),
        f"{name} must be one number or one for each of the {points} points of the "
        f"centerline, got shape {radii.shape}",
    )
    require_positive(name, radii, "(mm)")
    return jnp.broadcast_to(radii, (points,))


def _require_counterclockwise(profile: Float[Array, "*n sides 2"]) -> None:
    if not is_concrete(profile):
        return
    corners = np.asarray(profile, np.float64)
    bearing = np.arctan2(corners[..., 1], corners[..., 0])
    turns = (np.roll(bearing, -1, axis=-1) - bearing) % (2 * np.pi)
    require(
        bool(np.all((turns > 0) & (turns < np.pi)))
        and bool(np.allclose(turns.sum(axis=-1), 2 * np.pi)),
        "profile must run once and counterclockwise around the centerline, all corners "
        "seen from it; turn it (profile[::-1]), or move it onto the centerline",
    )


def _require_open_bends(
    centerline: Float[Array, "n 3"],
    frames: Float[Array, "n 3 3"],
    profile: Float[Array, "n sides 2"],
) -> None:
    """Each cross-section must lie wholly ahead of the one before."""
    if not is_concrete(centerline, frames, profile):
        return
    steps = np.diff(np.asarray(centerline, np.float64), axis=0)
    tangents = np.asarray(frames, np.float64)[..., 2]
    radii = np.linalg.norm(np.asarray(profile), axis=-1).max(axis=-1)
    cosine = np.sum(tangents[:-1] * tangents[1:], axis=-1)
    lean = np.sqrt(np.clip(1 - cosine**2, 0, None))
    spare = np.minimum(
        np.sum(steps * tangents[:-1], axis=-1) - lean * radii[1:],
        np.sum(steps * tangents[1:], axis=-1) - lean * radii[:-1],
    )
    tightest = int(np.argmin(spare))
    require(
        spare[tightest] > 0,
        f"centerline must bend less than its cross-section is wide, between points "
        f"{tightest} and {tightest + 1} cross-sections of {radii[tightest]:.4g} mm "
        "about it meet; smooth the curve or make the profile smaller",
    )


def _grid(rows: int, sides: int) -> Int[np.ndarray, "rows sides 4"]:
    """Corners between each of ``rows`` loops and the next, the last with the first."""
    loop = np.arange(rows * sides).reshape(rows, sides)
    onward = np.roll(loop, -1, axis=1)
    ahead = (np.roll(onward, -1, axis=0), np.roll(loop, -1, axis=0))
    return np.stack([loop, onward, *ahead], axis=-1)


@lru_cache
def _torus(rows: int, sides: int) -> Int[np.ndarray, "faces 3"]:
    return split_quads(_grid(rows, sides))


@lru_cache
def _capped(rows: int, sides: int) -> Int[np.ndarray, "faces 3"]:
    """Loops in a row and, behind them in the vertices, the middles of both ends."""
    wall = split_quads(_grid(rows, sides)[:-1])
    corner = np.arange(sides)
    onward = np.roll(corner, -1)
    end = (rows - 1) * sides
    middle = np.full(sides, rows * sides)
    behind = np.stack([middle, onward, corner], axis=-1)
    front = np.stack([middle + 1, end + corner, end + onward], axis=-1)
    return np.concatenate([wall, behind, front]).astype(np.int32)
