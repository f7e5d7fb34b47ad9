"""Flexible tools: catheters and the leads of an electrocardiograph.

Both follow a smooth curve through given points, the natural cubic spline, and are
differentiable in those points. Evenly spaced points give the best curve.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    positive_scalar,
    require,
    require_finite,
    require_shape,
)
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.numerics import safe_norm
from synthex_jax.physics.compounds import Material, material
from synthex_jax.tools.curves import natural_spline, rotation_minimizing_frames
from synthex_jax.tools.solids import Cylinder
from synthex_jax.tools.sweep import hollow_tube, tube
from synthex_jax.tools.tool import Part, Tool
from synthex_jax.typing import ArrayLike, Scalar

# Cross-sections of a catheter's marker; it is short.
_MARKER_SECTIONS = 5
# Places, for each cross-section asked for, where the length of a catheter is measured.
_MEASURED = 8


def loaded_polymer(barium_sulfate: float = 0.4) -> Material:
    """Polyamide filled with barium sulfate, the wall of a catheter seen in X-rays.

    Fillings of 20 to 40 % by mass are usual (Shah, "Radiopaque polymer formulations for
    medical devices", Medical Device & Diagnostic Industry, March 2000). The density is
    that of a mixture of polyamide 12 (1.01 g/cm^3) and barium sulfate (4.5 g/cm^3).

    Args:
        barium_sulfate: share by mass, from 0 to 1.

    Raises:
        ValueError: for a share outside 0 to 1.
    """
    require(
        0 < barium_sulfate < 1,
        f"barium_sulfate must be a share between 0 and 1, got {barium_sulfate}",
    )
    shares = {"BaSO4": barium_sulfate, "C12H23NO": 1 - barium_sulfate}
    mixture: dict[str, float] = {}
    for formula, share in shares.items():
        for symbol, part in material(formula).composition:
            mixture[symbol] = mixture.get(symbol, 0.0) + share * part
    density = 1 / (shares["BaSO4"] / 4.5 + shares["C12H23NO"] / 1.01)
    percent = 100 * barium_sulfate
    return Material.create(f"polyamide, {percent:g} % BaSO4", mixture, density)


def catheter(
    control_points: ArrayLike,
    *,
    outer_diameter: ArrayLike = 5 / 3,
    inner_diameter: ArrayLike = 0.97,
    marker_length: ArrayLike = 1.5,
    marker_thickness: ArrayLike = 0.05,
    wall: str | Material | None = None,
    marker: str | Material = "Pt",
    sections: int = 96,
    sides: int = 12,
    world_from_tool: RigidTransform | None = None,
) -> Tool:
    """A catheter: a polymer tube with a lumen and a band of metal about its tip.

    The defaults are a diagnostic catheter of 5 French (a third of a millimeter each)
    that passes a guide wire of 0.038 inch, and a band of platinum; the band's
    length and thickness are assumed. The wires of a braid are not modeled one by one.

    Args:
        control_points: (points, 3), mm, from the hub to the tip, at least two.
        outer_diameter: mm.
        inner_diameter: mm.
        marker_length: mm, of the band; it ends at the tip.
        marker_thickness: mm, of the band, outside the wall.
        wall: material; ``loaded_polymer()`` by default.
        marker: material.
        sections: cross-sections along the catheter, static.
        sides: corners of a cross-section, static.
        world_from_tool: pose; control points are in the tool's frame.

    Returns:
        A tool named "catheter" of two parts, wall and marker, with landmarks "base",
        "marker" (the middle of the band) and "tip" on the centerline.

    Raises:
        ValueError: for points of another shape or not finite, dimensions that are not
            positive or do not fit in one another, a marker as long as the catheter,
            fewer than 10 sections, and what ``hollow_tube`` refuses.
    """
    control_points = _path("control_points", control_points)
    outer = positive_scalar("outer_diameter", outer_diameter, "mm") / 2
    inner = positive_scalar("inner_diameter", inner_diameter, "mm") / 2
    on_tip = positive_scalar("marker_length", marker_length, "mm")
    thickness = positive_scalar("marker_thickness", marker_thickness, "mm")
    if is_concrete(outer, inner):
        require(
            bool(inner < outer),
            f"inner_diameter must be smaller than outer_diameter, {2 * outer:g} mm, "
            f"got {2 * inner:g} mm",
        )
    require(
        sections >= 2 * _MARKER_SECTIONS,
        f"sections must be at least {2 * _MARKER_SECTIONS}, got {sections}",
    )
    centerline, length = _centerline(control_points, on_tip, sections)
    if is_concrete(length, on_tip):
        require(
            bool(on_tip < length),
            f"marker_length must be smaller than the catheter's length, {length:.4g} "
            f"mm, got {on_tip:g} mm",
        )
    frames = rotation_minimizing_frames(centerline)
    at_tip = slice(-_MARKER_SECTIONS, None)
    band = hollow_tube(
        centerline[at_tip],
        outer + thickness,
        outer,
        sides=sides,
        frames=frames[at_tip],
    )
    return Tool.create(
        "catheter",
        (
            Part.create(
                hollow_tube(centerline, outer, inner, sides=sides, frames=frames),
                loaded_polymer() if wall is None else wall,
            ),
            Part.create(band, marker),
        ),
        landmarks={
            "base": centerline[0],
            "marker": centerline[-1 - _MARKER_SECTIONS // 2],
            "tip": centerline[-1],
        },
        world_from_tool=world_from_tool,
    )


def ecg_lead(
    path: ArrayLike,
    *,
    normal: ArrayLike,
    wire_diameter: ArrayLike = 0.4,
    stud_diameter: ArrayLike = 4.0,
    stud_height: ArrayLike = 2.5,
    disc_diameter: ArrayLike = 10.0,
    disc_thickness: ArrayLike = 0.4,
    wire: str | Material = "copper",
    electrode: str | Material = "stainless steel",
    sections: int = 64,
    sides: int = 8,
    world_from_tool: RigidTransform | None = None,
) -> Tool:
    """A lead of an electrocardiograph: a wire and the snap electrode at its end.

    The stud's diameter is that of the common snap, 4.0 mm (ANSI/AAMI EC53); the wire's
    that of 26 AWG. The stud's height and the disc under it, which touches the skin, are
    assumed. Insulation, gel and tape hardly show in an X-ray and are left out.

    Args:
        path: (points, 3), mm, of the wire, at least two; the last lies on the stud.
        normal: (3,), out of the skin; its length does not matter.
        wire_diameter: mm, of the conductor.
        stud_diameter: mm.
        stud_height: mm.
        disc_diameter: mm.
        disc_thickness: mm.
        wire: material.
        electrode: material, of stud and disc.
        sections: cross-sections along the wire, static.
        sides: corners of the wire's cross-section, static.
        world_from_tool: pose; path and normal are in the tool's frame.

    Returns:
        A tool named "ECG lead" of three parts, wire, stud and disc, with landmarks
        "base" (the wire's start) and "electrode" (where the disc touches the skin).
        They touch and do not overlap if the wire comes from above the stud.

    Raises:
        ValueError: for points of another shape or not finite, a normal that is zero,
            dimensions that are not positive, fewer than two sections, and what
            ``tube`` refuses.
    """
    path = _path("path", path)
    normal = jnp.asarray(normal, float)
    require_shape("normal", normal, (3,))
    require_finite("normal", normal)
    if is_concrete(normal):
        require(bool(np.any(np.asarray(normal))), "normal must not be zero")
    wire_radius = positive_scalar("wire_diameter", wire_diameter, "mm") / 2
    stud_radius = positive_scalar("stud_diameter", stud_diameter, "mm") / 2
    disc_radius = positive_scalar("disc_diameter", disc_diameter, "mm") / 2
    height = positive_scalar("stud_height", stud_height, "mm")
    thickness = positive_scalar("disc_thickness", disc_thickness, "mm")
    require(sections >= 2, f"sections must be at least 2, got {sections}")
    centerline = natural_spline(path, jnp.linspace(0.0, 1.0, sections))
    down = -normal / safe_norm(normal)
    # The wire rests on the stud.
    top = path[-1] + down * wire_radius
    under = top + down * height
    skin = under + down * thickness
    return Tool.create(
        "ECG lead",
        (
            Part.create(tube(centerline, wire_radius, sides=sides), wire),
            Part.create(Cylinder(top, under, stud_radius), electrode),
            Part.create(Cylinder(under, skin, disc_radius), electrode),
        ),
        landmarks={"base": centerline[0], "electrode": skin},
        world_from_tool=world_from_tool,
    )


def _path(name: str, points: ArrayLike) -> Float[Array, "points 3"]:
    points = jnp.asarray(points, float)
    require(
        points.ndim == 2 and points.shape[1] == 3 and len(points) >= 2,
        f"{name} must have shape (points, 3) with at least two, got {points.shape}",
    )
    require_finite(name, points)
    return points


@partial(jax.jit, static_argnames="sections")
def _centerline(
    control_points: Float[Array, "points 3"], marker_length: Scalar, sections: int
) -> tuple[Float[Array, "sections 3"], Scalar]:
    """Even steps along the spline to the marker, even ones on it; and the length."""
    positions = jnp.linspace(0.0, 1.0, _MEASURED * sections)
    steps = safe_norm(jnp.diff(natural_spline(control_points, positions), axis=0))
    traveled = jnp.concatenate([0 * steps[:1], jnp.cumsum(steps)])
    length = traveled[-1]
    before = sections - _MARKER_SECTIONS
    to_marker = (length - marker_length) * jnp.arange(before) / before
    on_marker = length - marker_length * jnp.linspace(1.0, 0.0, _MARKER_SECTIONS)
    places = jnp.concatenate([to_marker, on_marker])
    at = jnp.interp(places, traveled, positions)
    return natural_spline(control_points, at), length
