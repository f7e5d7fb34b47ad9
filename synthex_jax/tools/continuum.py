r"""The continuum manipulator: a notched nitinol tube that bends like a snake.

The device is that of Kutzer et al., "Design of a new cable-driven manipulator with a
large open lumen", ICRA 2011, seen in X-rays by SyntheX (Gao et al., arXiv 2206.06127,
sections 1.2.2 and 5.3.2). Notches cut in turn from two opposite sides each leave a
bridge on the other side and turn as a hinge; all hinges are parallel, so that the tube
bends in one plane.

From SyntheX: 27 alternating notches; angles at control points with a standard
deviation of 2.5 degrees; landmarks at both ends of the centerline; the mask shows the
notched body alone. From the literature on the device: nitinol, outer diameter 6 mm,
lumen 4 mm (Alambeigi et al., "A convex optimization framework for constrained
concurrent motion control of a hybrid redundant surgical system"), flexible length 35 mm
(Kutzer et al.). As Otake et al. (SPIE Medical Imaging 2014) register it,
each notch is a pin joint and a few control values, 5 by default, stand for all angles.

Assumed here: a notch 0.55 mm wide and a bridge over a sixth of the
circumference; notches evenly spaced, half a spacing from both ends; pins on the
centerline in the middle of the notches; the natural cubic spline between evenly spaced
control values, the first and the last at the first and the last notch; a shaft of
stainless steel, as wide as the body and 200 mm long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synthex_jax.checks import (
    is_concrete,
    positive_scalar,
    require,
    require_finite,
    require_positive,
)
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.physics.compounds import Material, material
from synthex_jax.tools.curves import natural_spline
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.solids import Tube
from synthex_jax.tools.sweep import split_quads
from synthex_jax.tools.tool import Part, Tool
from synthex_jax.typing import ArrayLike, PRNGKey, Scalar

# Radians, at the control points: SyntheX, section 5.3.2.
_SPREAD = np.deg2rad(2.5)


@noun
@dataclass(frozen=True)
class ContinuumManipulator:
    """A tube with notches, and the rigid shaft that holds it.

    The tool's frame: the origin at the base, where the notched body begins; z along the
    body's straight centerline to the tip, and the shaft on -z; the body bends in the
    plane of x and z, a positive angle towards +x. The first notch is open on +x.

    Attributes:
        length: (), mm, of the body's centerline.
        outer_diameter: (), mm.
        inner_diameter: (), mm, of the lumen.
        notch_width: (), mm, along the tube when it is straight.
        bridge_angle: (), radians, share of the circumference that a notch leaves.
        shaft_length: (), mm.
        body_material: of the notched body.
        shaft_material: of the shaft.
        notches: how many, static.
        sides: corners of a cross-section, static.
    """

    length: Scalar
    outer_diameter: Scalar
    inner_diameter: Scalar
    notch_width: Scalar
    bridge_angle: Scalar
    shaft_length: Scalar
    body_material: Material
    shaft_material: Material
    notches: int = field(metadata={"static": True})
    sides: int = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        *,
        notches: int = 27,
        length: ArrayLike = 35.0,
        outer_diameter: ArrayLike = 6.0,
        inner_diameter: ArrayLike = 4.0,
        notch_width: ArrayLike = 0.55,
        bridge_angle: ArrayLike = np.pi / 3,
        shaft_length: ArrayLike = 200.0,
        body_material: str | Material = "nitinol",
        shaft_material: str | Material = "stainless steel",
        sides: int = 24,
    ) -> ContinuumManipulator:
        """From dimensions in mm; the defaults are SyntheX's device.

        Raises:
            ValueError: for a dimension that is not positive, a lumen as wide as the
                tube, notches that fill the length, a bridge of half a turn or more,
                fewer than one notch, ``sides`` that is no multiple of six, and an
                unknown material.
        """
        length = positive_scalar("length", length)
        outer = positive_scalar("outer_diameter", outer_diameter)
        inner = positive_scalar("inner_diameter", inner_diameter)
        width = positive_scalar("notch_width", notch_width)
        bridge = positive_scalar("bridge_angle", bridge_angle)
        require(notches >= 1, f"notches must be at least 1, got {notches}")
        require(
            sides >= 6 and sides % 6 == 0,
            "sides must be a multiple of six, a sixth for each bridge and a third for "
            f"each gap between them, got {sides}",
        )
        if is_concrete(length, outer, inner, width, bridge):
            require(
                bool(inner < outer),
                f"inner_diameter must be smaller than outer_diameter, {outer:g} mm, "
                f"got {inner:g} mm",
            )
            require(
                bool(notches * width < length),
                f"notch_width must leave something of the length, {length:g} mm, "
                f"between {notches} notches, got {width:g} mm",
            )
            require(
                bool(bridge < np.pi),
                f"bridge_angle must be smaller than pi radians, got {bridge:g}",
            )
        return cls(
            length,
            outer,
            inner,
            width,
            bridge,
            positive_scalar("shaft_length", shaft_length),
            material(body_material),
            material(shaft_material),
            notches,
            sides,
        )

    @property
    def largest_angle(self) -> Scalar:
        """(), radians, of one notch in both directions: beyond, its walls meet."""
        return 2 * jnp.arctan(self.notch_width / self.outer_diameter)

    def joint_angles(
        self, control_angles: Float[Array, "controls"]
    ) -> Float[Array, "notches"]:
        """The notches' angles, radians, from those at the control points.

        Differentiable, and linear: the natural cubic spline through evenly spaced
        control points, from the first notch to the last. One value bends the body to
        an arc.
        """
        return natural_spline(control_angles, jnp.linspace(0.0, 1.0, self.notches))

    def centerline(
        self, joint_angles: Float[Array, "notches"]
    ) -> Float[Array, "points 3"]:
        """(notches + 2, 3), mm in the tool's frame: the base, the pins, the tip.

        The pieces between are straight and keep their lengths however the body bends.
        """
        spacing = self.length / self.notches
        lengths = spacing * np.array([0.5, *np.ones(self.notches - 1), 0.5])
        headings = _headings(joint_angles)
        zero = jnp.zeros_like(headings)
        directions = jnp.stack([jnp.sin(headings), zero, jnp.cos(headings)], axis=-1)
        ends = jnp.cumsum(lengths[:, None] * directions, axis=0)
        return jnp.concatenate([zero[:1, None] * ends[:1], ends])

    def random_angles(
        self, key: PRNGKey, *, controls: int = 5, spread: ArrayLike = _SPREAD
    ) -> Float[Array, "controls"]:
        """Control angles in radians, each from a normal distribution about 0.

        Cut off where the spline, which can overshoot its control points, could close a
        notch: of five control points with the default dimensions at 3.0 standard
        deviations.

        Args:
            key: a random key.
            controls: how many, static.
            spread: radians, standard deviation before the cut; SyntheX's by default.

        Raises:
            ValueError: for fewer than one control point, a spread that is not positive.
        """
        require(controls >= 1, f"controls must be at least 1, got {controls}")
        require_positive("spread", spread, "(radians)")
        weights = natural_spline(jnp.eye(controls), jnp.linspace(0, 1, self.notches))
        overshoot = jnp.max(jnp.sum(jnp.abs(weights), axis=1))
        spread = jnp.asarray(spread, float)
        cut = self.largest_angle / (overshoot * spread)
        return spread * jax.random.truncated_normal(key, -cut, cut, (controls,))

    def tool(
        self,
        control_angles: ArrayLike,
        *,
        world_from_tool: RigidTransform | None = None,
    ) -> Tool:
        """The manipulator bent: body and shaft, landmarks "base" and "tip".

        Masks show the body alone, as in SyntheX's task.

        The body is one closed mesh, the shaft a ``Tube``; they touch and do not
        overlap. Vertices and landmarks are differentiable in the control angles and
        the dimensions.

        Args:
            control_angles: (controls,), radians, see ``joint_angles``.
            world_from_tool: pose; the tool's frame is the class's.

        Returns:
            A tool named "continuum manipulator" of two parts: the notched body, then
            the shaft.

        Raises:
            ValueError: for angles that are not a vector, not finite, or close a notch
                (``largest_angle``), and for a material without density. Traced angles
                are not checked: beyond the limit the walls of a notch overlap.
        """
        control_angles = jnp.asarray(control_angles, float)
        require(
            control_angles.ndim == 1 and len(control_angles) >= 1,
            "control_angles must have shape (controls,) with controls >= 1, got "
            f"{control_angles.shape}",
        )
        require_finite("control_angles", control_angles)
        joint_angles = self.joint_angles(control_angles)
        self._require_open_notches(joint_angles)
        centerline = self.centerline(joint_angles)
        faces = jnp.asarray(_faces(self.notches, self.sides))
        body = Mesh(_vertices(self, joint_angles), faces)
        behind = self.shaft_length * jnp.array([0.0, 0.0, -1.0])
        shaft = Tube(
            behind, centerline[0], self.outer_diameter / 2, self.inner_diameter / 2
        )
        return Tool.create(
            "continuum manipulator",
            (
                Part.create(body, self.body_material),
                Part.create(shaft, self.shaft_material),
            ),
            landmarks={"base": centerline[0], "tip": centerline[-1]},
            world_from_tool=world_from_tool,
            labelled=(0,),
        )

    def _require_open_notches(self, joint_angles: Float[Array, "notches"]) -> None:
        if not is_concrete(joint_angles, self.largest_angle):
            return
        limit = float(self.largest_angle)
        most = float(np.max(np.abs(np.asarray(joint_angles))))
        require(
            most < limit,
            "control_angles must keep every notch within "
            f"{limit:.4f} radians ({np.rad2deg(limit):.1f} degrees), where its walls "
            f"meet, the spline through them reaches {most:.4f}; bend less, or make "
            "notch_width larger",
        )


def _headings(joint_angles: Float[Array, "notches"]) -> Float[Array, "links"]:
    """Of each link, radians from z towards x: the angles add up from the base."""
    return jnp.concatenate([joint_angles[:1] * 0, jnp.cumsum(joint_angles)])


@jax.jit
def _vertices(
    device: ContinuumManipulator, joint_angles: Float[Array, "notches"]
) -> Float[Array, "v 3"]:
    """The body's vertices: links, four loops each (see _faces), corners."""
    spacing = device.length / device.notches
    wall = (spacing - device.notch_width) / 2
    links = np.arange(device.notches + 1)
    is_base, is_tip = links == 0, links == device.notches
    # Along each link, from the pin behind it; the base link has none and starts at 0.
    start = jnp.where(is_base, 0.0, device.notch_width / 2)
    end = jnp.where(is_base, wall, spacing - device.notch_width / 2)
    end = jnp.where(is_tip, spacing / 2, end)
    along = jnp.stack([start, end, end, start], axis=1)[..., None]
    outer, inner = device.outer_diameter / 2, device.inner_diameter / 2
    radii = jnp.stack([outer, outer, inner, inner])[:, None]
    angles = _corner_angles(device)
    x, y = radii * jnp.cos(angles), radii * jnp.sin(angles)

    heading = _headings(joint_angles)[:, None, None]
    cosine, sine = jnp.cos(heading), jnp.sin(heading)
    pins = device.centerline(joint_angles)[:-1, None, None]
    turned = [
        cosine * x + sine * along,
        jnp.broadcast_to(y, (len(links), *y.shape)),
        cosine * along - sine * x,
    ]
    return (pins + jnp.stack(turned, axis=-1)).reshape(-1, 3)


def _corner_angles(device: ContinuumManipulator) -> Float[Array, "sides"]:
    """About the centerline from x to y: bridge on +x, gap, bridge on -x, gap.

    A bridge has a sixth of the corners, so that the default is a regular polygon.
    """
    sixth, half_bridge = device.sides // 6, device.bridge_angle / 2
    on_bridge = half_bridge * (2 * np.arange(sixth) / sixth - 1)
    share = np.arange(2 * sixth) / (2 * sixth)
    on_gap = half_bridge + (np.pi - 2 * half_bridge) * share
    half_turn = jnp.concatenate([on_bridge, on_gap])
    return jnp.concatenate([half_turn, half_turn + np.pi])


@lru_cache
def _faces(notches: int, sides: int) -> Int[np.ndarray, "faces 3"]:
    """Rings, open where a bridge joins them, and bridges, closed where they join.

    Each link has four loops of corners: outer wall at its start and its end, then
    inner wall at its end and its start.
    """
    corner = np.arange((notches + 1) * 4 * sides).reshape(notches + 1, 4, sides)
    onward = np.roll(corner, -1, axis=2)
    next_loop = (np.roll(onward, -1, axis=1), np.roll(corner, -1, axis=1))
    rings = np.stack([corner, onward, *next_loop], axis=-1)

    is_wall = np.ones(corner.shape, bool)
    bridges = []
    for notch in range(notches):
        first = 0 if notch % 2 else sides // 2
        on_bridge = np.arange(first, first + sides // 6)
        is_wall[notch, 1, on_bridge] = False
        is_wall[notch + 1, 3, on_bridge] = False
        behind, ahead = corner[notch], corner[notch + 1]
        for below, above in ((behind[1], ahead[0]), (ahead[3], behind[2])):
            sheet = [below[on_bridge], below[on_bridge + 1]]
            sheet += [above[on_bridge + 1], above[on_bridge]]
            bridges.append(np.stack(sheet, axis=-1))
        section = np.stack([behind[1], ahead[0], ahead[3], behind[2]])
        flanks = [section[:, first], section[::-1, first + sides // 6]]
        bridges.append(np.stack(flanks))
    return split_quads(np.concatenate([rings[is_wall], *bridges]))
