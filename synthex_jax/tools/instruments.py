"""Instruments of orthopedic surgery: wires, screws, drills and plates.

Each has its tip at the origin of its frame and its axis along +z, from the tip to the
base; a plate lies along z with the side that faces the bone at y = 0. Sizes are in mm.
They are typical ones, to be overridden where it matters.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from synthex_jax.checks import require, require_not_negative, require_positive
from synthex_jax.physics.compounds import Material
from synthex_jax.tools.mesh import Mesh
from synthex_jax.tools.solids import Cone, Cylinder
from synthex_jax.tools.tool import Part, Tool

# Corners of a round cross-section; six of them are the corners of a hexagon.
_SIDES = 48

# Form HB of ISO 5835:1991 for cancellous bone: the flanks towards the head and the tip,
# from the normal to the axis, and the width of the crest.
_HEADWARD_FLANK, _TIPWARD_FLANK = np.deg2rad(5), np.deg2rad(25)
_CREST = 0.2

# Bertollo & Walsh 2011, Drilling of bone: points of 118 degrees, flutes inclined by 24
# to 36 degrees to the axis.
_POINT_ANGLE, _FLUTE_ANGLE = np.deg2rad(118), np.deg2rad(30)


def k_wire(
    length: float = 150.0,
    diameter: float = 1.6,
    *,
    point_length: float | None = None,
    material: str | Material = "stainless steel",
) -> Tool:
    """A Kirschner wire with a pointed tip.

    Args:
        length: mm, over all.
        diameter: mm, 0.8 to 2.5 in ISO 5838-1.
        point_length: mm; by default 2.5 diameters, a point of 23 degrees, about that
            of a trocar's edges.
        material: or its name.

    Returns:
        A tool with landmarks "tip" and "base".

    Raises:
        ValueError: for sizes that are not positive, a point longer than the wire.
    """
    point = 2.5 * diameter if point_length is None else point_length
    _require_sizes(length=length, diameter=diameter, point_length=point)
    _require_ordered(point_length=point, length=length)
    shoulder, base, radius = (0, 0, point), (0, 0, length), diameter / 2
    return Tool.create(
        "K-wire",
        [
            Part.create(Cone.create((0, 0, 0), shoulder, 0.0, radius), material),
            Part.create(Cylinder.create(shoulder, base, radius), material),
        ],
        landmarks={"tip": (0, 0, 0), "base": base},
    )


def cannulated_screw(
    length: float = 90.0,
    *,
    diameter: float = 7.0,
    thread_length: float = 32.0,
    core_diameter: float = 4.5,
    shank_diameter: float = 4.5,
    cannula_diameter: float = 2.1,
    pitch: float = 2.75,
    head_diameter: float = 8.0,
    hex_width: float = 3.5,
    material: str | Material = "stainless steel",
) -> Tool:
    """A cannulated screw for cancellous bone, with half a ball for a head.

    The defaults are those of the 7.0 mm screw for a 2.0 mm guide wire (Synthes, 7.0 mm
    Cannulated Screws, technique guide), with the pitch of form HB 6.5 in ISO 5835; the
    form of the thread is HB's.

    Args:
        length: mm, over all.
        diameter: mm, of the thread.
        thread_length: mm, from the tip.
        core_diameter: mm, between the threads.
        shank_diameter: mm, between thread and head.
        cannula_diameter: mm, of the bore.
        pitch: mm, between threads.
        head_diameter: mm.
        hex_width: mm across the flats of the socket in the head.
        material: or its name.

    Returns:
        A tool with landmarks "tip", "base", and "thread end" on its axis.

    Raises:
        ValueError: for sizes that are not positive or do not fit into one another.
    """
    _require_sizes(
        length=length,
        diameter=diameter,
        thread_length=thread_length,
        pitch=pitch,
        cannula_diameter=cannula_diameter,
    )
    head_radius = head_diameter / 2
    under_head = length - head_radius
    _require_ordered(
        cannula_diameter=cannula_diameter,
        core_diameter=core_diameter,
        diameter=diameter,
    )
    _require_ordered(
        cannula_diameter=cannula_diameter,
        hex_width=hex_width,
        three_quarters_of_head_diameter=0.75 * head_diameter,
    )
    _require_ordered(
        cannula_diameter=cannula_diameter,
        shank_diameter=shank_diameter,
        head_diameter=head_diameter,
    )
    _require_ordered(thread_length=thread_length, length_without_head=under_head)
    depth = (diameter - core_diameter) / 2
    flanks = depth * (np.tan(_TIPWARD_FLANK) + np.tan(_HEADWARD_FLANK)) + _CREST
    _require_ordered(width_of_a_thread=flanks, pitch=pitch)
    bore = cannula_diameter / 2
    thread = _thread(diameter / 2, core_diameter / 2, bore, thread_length, pitch)
    # The head is half a ball that the shank enters, with a socket half as deep.
    shank = shank_diameter / 2
    angles = np.linspace(np.arcsin(shank / head_radius), np.pi / 2, 9)
    head = [(length - head_radius * np.cos(a), head_radius * np.sin(a)) for a in angles]
    floor = length - head_radius / 2
    socket = hex_width / 2 / np.cos((_angles() + np.pi / 6) % (np.pi / 3) - np.pi / 6)
    rings = [
        _ring(thread_length, core_diameter / 2),
        *(_ring(z, r) for z, r in [(thread_length, shank), *head]),
        _ring(length, socket),
        _ring(floor, socket),
        _ring(floor, bore),
        _ring(0.0, bore),
        thread[0],
    ]
    mesh = Mesh.from_corners(_triangles(thread, np.stack(rings)))
    return Tool.create(
        "cannulated screw",
        [Part.create(mesh, material)],
        landmarks={
            "tip": (0, 0, 0),
            "thread end": (0, 0, thread_length),
            "base": (0, 0, length),
        },
    )


def drill(
    length: float = 145.0,
    diameter: float = 3.2,
    *,
    flute_length: float = 60.0,
    chuck_length: float = 40.0,
    chuck_diameter: float = 22.0,
    material: str | Material = "stainless steel",
) -> Tool:
    """A twist drill with two flutes, in a chuck.

    The defaults are a bit of 3.2 mm, which makes the hole for screws of 4.5 and 6.5 mm,
    and a chuck of a common size.

    Args:
        length: mm, of the bit up to the chuck.
        diameter: mm, of the bit.
        flute_length: mm, from the tip.
        chuck_length: mm, 0 for none.
        chuck_diameter: mm.
        material: or its name.

    Returns:
        A tool with landmarks "tip", "chuck" (where the bit leaves it) and "base".

    Raises:
        ValueError: for sizes that are not positive or do not fit into one another.
    """
    _require_sizes(length=length, diameter=diameter, flute_length=flute_length)
    require_not_negative("chuck_length", chuck_length, "mm")
    radius = diameter / 2
    point = radius / np.tan(_POINT_ANGLE / 2)
    _require_ordered(point_length=point, flute_length=flute_length, length=length)
    front, base = (0, 0, length), (0, 0, length + chuck_length)
    bit = Cylinder.create((0, 0, flute_length), front, radius)
    parts: list[Mesh | Cone | Cylinder] = [_fluted(radius, point, flute_length), bit]
    if chuck_length > 0:
        _require_ordered(diameter=diameter, chuck_diameter=chuck_diameter)
        wide, jaws = chuck_diameter / 2, (0, 0, length + 0.4 * chuck_length)
        parts += [
            Cone.create(front, jaws, (radius + wide) / 2, wide),
            Cylinder.create(jaws, base, wide),
        ]
    return Tool.create(
        "drill",
        [Part.create(part, material) for part in parts],
        landmarks={"tip": (0, 0, 0), "chuck": front, "base": base},
    )


def plate(
    holes: int = 8,
    *,
    spacing: float = 18.0,
    width: float = 13.5,
    thickness: float = 4.6,
    hole_diameter: float = 5.4,
    countersink_diameter: float = 8.4,
    material: str | Material = "stainless steel",
) -> Tool:
    """A straight bone plate with a row of countersunk holes and round ends.

    The defaults are those of a narrow plate for 4.5 mm screws (LC-DCP), whose heads of
    8 mm the countersinks take.

    Args:
        holes: how many.
        spacing: mm between the middles of neighboring holes.
        width: mm, along x.
        thickness: mm, along y.
        hole_diameter: mm, on the side of the bone.
        countersink_diameter: mm, on the other side.
        material: or its name.

    Returns:
        A tool with landmarks "tip", "base", and "hole 1", "hole 2", ... in the middle
        of each hole on the side of the bone.

    Raises:
        ValueError: for no hole, sizes that are not positive or that do not fit into
            one another.
    """
    require(holes >= 1, f"holes must be at least 1, got {holes}")
    _require_sizes(spacing=spacing, width=width, thickness=thickness)
    _require_sizes(hole_diameter=hole_diameter)
    for name, room in (("width", width), ("spacing", spacing)):
        _require_ordered(
            hole_diameter=hole_diameter,
            countersink_diameter=countersink_diameter,
            **{name: room},
        )
    middles = width / 2 + spacing * np.arange(holes)
    length = middles[-1] + width / 2
    radii = hole_diameter / 2, countersink_diameter / 2
    pieces = []
    for n, z in enumerate(middles):
        outline, is_edge = _plate_outline(width, spacing, n == 0, n == holes - 1)
        pieces.append(_plate_piece(outline, is_edge, radii, thickness, z))
    return Tool.create(
        "plate",
        [Part.create(Mesh.from_corners(np.concatenate(pieces)), material)],
        landmarks={
            "tip": (0, 0, 0),
            "base": (0, 0, length),
            **{f"hole {n + 1}": (0, 0, z) for n, z in enumerate(middles)},
        },
    )


def _thread(
    major: float, core: float, bore: float, length: float, pitch: float
) -> np.ndarray:
    """(rows, sides + 1, 3): a threaded surface whose rows follow the thread.

    From end to end around the axis it advances by a pitch. At the tip it starts halfway
    between bore and core and grows to the full thread over a pitch; at its other end it
    runs out over half a pitch.
    """
    depth = major - core
    rise = depth * np.tan(_TIPWARD_FLANK)
    fall = depth * np.tan(_HEADWARD_FLANK)
    offsets = np.cumsum([0.0, rise, _CREST, fall])
    turns = np.arange(-1, int(np.ceil(length / pitch)) + 1)
    around = np.arange(_SIDES + 1) / _SIDES
    z = pitch * (turns[:, None, None] + around) + offsets[:, None]
    z = np.clip(z, 0.0, length).reshape(-1, _SIDES + 1)
    radius = np.tile([core, major, major, core], len(turns))[:, None]
    tip = (bore + core) / 2
    growing = tip + (major - tip) * z / pitch
    running_out = core + depth * (length - z) / (pitch / 2)
    radius = np.minimum(radius, np.minimum(growing, running_out))
    turn = np.append(_angles(), 0.0)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=-1)


def _fluted(radius: float, point: float, length: float) -> Mesh:
    """The cutting end of a twist drill: two flutes, turning, behind a conical point."""
    lead = 2 * np.pi * radius / np.tan(_FLUTE_ANGLE)
    steps = int(np.ceil(length / lead * 24))
    behind = np.linspace(point, length, steps + 1)
    z = np.concatenate([np.linspace(0.0, point, 5)[:-1], behind])[:, None]
    turn = _angles() - 2 * np.pi * z / lead
    # Two lands on the full radius, two flutes down to a web of a third of it; the
    # flutes run out over a diameter.
    flute = np.clip(1.4 * np.cos(2 * turn) + 0.3, 0, 1) ** 0.7
    flute = flute * np.clip((length - z) / (2 * radius), 0, 1)
    section = radius * (1 - 0.67 * flute)
    along = np.minimum(section, z / point * radius)
    rings = np.stack([_ring(z, r) for z, r in zip(z[:, 0], along, strict=True)])
    ends = np.stack([_ring(0.0, 0.0), *rings, _ring(length, 0.0)])
    return Mesh.from_corners(_triangles(ends))


def _plate_outline(
    width: float, spacing: float, is_first: bool, is_last: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Outline of the piece around a hole, as (corners, 2) of x and z from its middle.

    Its corners lie at the same heights on the side towards each neighbor, so that
    pieces fit together.

    Returns:
        The corners, and which of the edges that begin at them are the plate's own.
    """
    half, ahead = width / 2, spacing / 2
    angles = np.union1d(_angles(), np.arctan2([half] * 2, [ahead, -ahead]))
    angles = np.union1d(angles, np.arctan2([-half] * 2, [ahead, -ahead]) % (2 * np.pi))
    x, z = np.sin(angles), np.cos(angles)
    box = np.minimum(
        half / np.maximum(np.abs(x), 1e-9), ahead / np.maximum(np.abs(z), 1e-9)
    )
    is_round = ((z < 0) & is_first) | ((z > 0) & is_last)
    reach = np.where(is_round, half, box)
    outline = np.stack([reach * x, reach * z], axis=-1)
    on_seam = (np.abs(np.abs(outline[:, 1]) - ahead) < 1e-9) & ~is_round
    same_side = np.sign(outline[:, 1]) == np.sign(np.roll(outline[:, 1], -1))
    return outline, ~(on_seam & np.roll(on_seam, -1) & same_side)


def _plate_piece(
    outline: np.ndarray,
    is_edge: np.ndarray,
    radii: tuple[float, float],
    thickness: float,
    z: float,
) -> np.ndarray:
    """Triangles of the plate around one hole: two faces, the hole, the outer edge."""
    unit = outline / np.linalg.norm(outline, axis=-1, keepdims=True)

    def ring(corners: np.ndarray, y: float) -> np.ndarray:
        closed = np.concatenate([corners, corners[:1]])
        return np.stack([closed[:, 0], np.full(len(closed), y), closed[:, 1] + z], -1)

    bottom, top = ring(outline, 0.0), ring(outline, thickness)
    hole = ring(radii[0] * unit, 0.0), ring(radii[1] * unit, thickness)
    faces = _triangles(np.stack([bottom, *hole, top]))
    edge = _triangles(np.stack([top, bottom])).reshape(2, -1, 3, 3)
    return np.concatenate([faces, edge[:, is_edge].reshape(-1, 3, 3)])


def _angles() -> np.ndarray:
    return np.arange(_SIDES) * (2 * np.pi / _SIDES)


def _ring(z: float, radius: float | np.ndarray) -> np.ndarray:
    """(sides + 1, 3): a closed ring about the axis."""
    turn = _angles()
    x, y = radius * np.cos(turn), radius * np.sin(turn)
    ring = np.stack([x, y, np.full(_SIDES, float(z))], axis=-1)
    return np.concatenate([ring, ring[:1]])


def _triangles(*sheets: np.ndarray) -> np.ndarray:
    """(triangles, 3, 3) of sheets of (rows, columns, 3) points, two for each four."""
    halves = []
    for sheet in sheets:
        a, b, c, d = sheet[:-1, :-1], sheet[:-1, 1:], sheet[1:, 1:], sheet[1:, :-1]
        for corners in ((a, b, c), (a, c, d)):
            halves.append(np.stack(corners, axis=-2).reshape(-1, 3, 3))
    return np.concatenate(halves)


def _require_sizes(**sizes: float) -> None:
    for name, size in sizes.items():
        require_positive(name, size, "mm")


def _require_ordered(**sizes: float) -> None:
    names, values = list(sizes), list(sizes.values())
    require(
        all(low < high for low, high in pairwise(values)),
        f"{' < '.join(names)} must hold, got {' < '.join(f'{v:g}' for v in values)} mm",
    )
