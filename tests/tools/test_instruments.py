"""Instruments: closed, of the size asked for, and in the frame that is promised."""

import numpy as np
import pytest
import trimesh

from synthex_jax.tools.instruments import cannulated_screw, drill, k_wire, plate
from synthex_jax.tools.mesh import Mesh


def meshes(tool):
    for part in tool.parts:
        if isinstance(part.shape, Mesh):
            yield trimesh.Trimesh(
                np.asarray(part.shape.vertices, float),
                np.asarray(part.shape.faces),
                process=False,
            )


@pytest.mark.parametrize(
    ("tool", "length"),
    [
        (k_wire(180.0, 2.0), 180),
        (cannulated_screw(110.0, thread_length=16.0), 110),
        (cannulated_screw(45.0, diameter=4.5, core_diameter=3.1, shank_diameter=3.1,
                          cannula_diameter=1.4, pitch=1.75, head_diameter=6.0,
                          hex_width=2.5, thread_length=15.0), 45),
        (drill(145.0, 3.2, chuck_length=40.0), 185),
        (drill(90.0, 2.5, flute_length=35.0, chuck_length=0.0), 90),
        (plate(8), 7 * 18 + 13.5),
        (plate(1, width=10.0), 10),
    ],
)  # fmt: skip
def test_frame_and_surfaces(tool, length):
    np.testing.assert_allclose(tool.landmarks["tip"], 0)
    np.testing.assert_allclose(tool.landmarks["base"], [0, 0, length], rtol=1e-6)
    for mesh in meshes(tool):
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.volume > 0
        assert mesh.body_count == 1
        assert mesh.bounds[0, 2] >= 0
        assert mesh.bounds[1, 2] <= length + 1e-4


def test_screw_is_threaded_and_bored():
    (mesh,) = meshes(cannulated_screw(90.0))
    # One hole: the cannula.
    assert mesh.euler_number == 0
    np.testing.assert_allclose(mesh.extents, [8, 8, 90], atol=0.02)
    threads = mesh.vertices[(mesh.vertices[:, 2] > 4) & (mesh.vertices[:, 2] < 30)]
    radius = np.hypot(*threads[:, :2].T)
    assert radius.max() == pytest.approx(3.5, abs=1e-4)
    # A right-handed thread of 2.75 mm: where it turns by a right angle it climbs by a
    # quarter of that.
    crest = threads[radius > 3.499]
    turns = np.arctan2(crest[:, 1], crest[:, 0]) / (2 * np.pi)
    phase = (crest[:, 2] / 2.75 - turns + 0.5) % 1
    assert np.ptp(phase) < 0.2 / 2.75 + 1e-3
    # What a longer one has more is shank, of 48 sides.
    (longer,) = meshes(cannulated_screw(110.0))
    sides = np.sin(2 * np.pi / 48) / (2 * np.pi / 48)
    assert longer.volume - mesh.volume == pytest.approx(
        20 * sides * np.pi / 4 * (4.5**2 - 2.1**2), rel=1e-4
    )


def test_drill_turns_to_the_right():
    tool = drill(145.0, 3.2, flute_length=60.0, chuck_length=0.0)
    (mesh,) = meshes(tool)
    assert mesh.extents[0] == pytest.approx(3.2, rel=1e-3)
    full = mesh.volume / (np.pi * 1.6**2 * 60)
    # Flutes take a third to two thirds of the section.
    assert 0.3 < full < 0.7
    lands = mesh.vertices[(np.hypot(*mesh.vertices[:, :2].T) > 1.599)]
    lands = lands[(lands[:, 2] > 5) & (lands[:, 2] < 50)]
    turn = np.arctan2(lands[:, 1], lands[:, 0])
    lead = np.pi * 3.2 / np.tan(np.deg2rad(30))
    # Both lands have one phase in the double angle.
    middle = np.mean(np.exp(2j * (turn - 2 * np.pi * lands[:, 2] / lead)))
    other = np.mean(np.exp(2j * (turn + 2 * np.pi * lands[:, 2] / lead)))
    assert abs(middle) > 0.5 > 10 * abs(other)


def test_plate_has_holes():
    tool = plate(6)
    (mesh,) = meshes(tool)
    # Each hole is a handle.
    assert mesh.euler_number == 2 - 2 * 6
    outline = 13.5 * 5 * 18 + np.pi / 4 * 13.5**2
    cone = np.pi / 3 * 4.6 * (2.7**2 + 2.7 * 4.2 + 4.2**2)
    # Circles are polygons of 48 sides, 0.3 % smaller.
    assert mesh.volume == pytest.approx(4.6 * outline - 6 * cone, rel=2e-3)
    np.testing.assert_allclose(tool.landmarks["hole 6"], [0, 0, 6.75 + 90], rtol=1e-6)
    np.testing.assert_allclose(
        mesh.bounds, [[-6.75, 0, 0], [6.75, 4.6, 103.5]], atol=1e-4
    )


def test_parts_touch_but_do_not_overlap():
    tip, bar = (part.shape for part in k_wire(150.0, 1.6).parts)
    np.testing.assert_allclose(tip.end, bar.start)
    bit, shank, jaws, chuck = (part.shape for part in drill().parts)
    np.testing.assert_allclose(bit.bounds()[1, 2], shank.start[2])
    np.testing.assert_allclose(shank.end, jaws.start)
    np.testing.assert_allclose(jaws.end, chuck.start)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: k_wire(-1.0), "length must be positive mm"),
        (lambda: k_wire(10.0, point_length=12.0), "point_length < length must hold"),
        (lambda: cannulated_screw(30.0), "thread_length < length_without_head"),
        (lambda: cannulated_screw(cannula_diameter=5.0), "cannula_diameter < core"),
        (lambda: cannulated_screw(pitch=0.5), "width_of_a_thread < pitch"),
        (lambda: cannulated_screw(hex_width=7.0), "hex_width < three_quarters"),
        (lambda: drill(flute_length=200.0), "flute_length < length must hold"),
        (lambda: drill(chuck_length=-1.0), "chuck_length must not be negative"),
        (lambda: drill(chuck_diameter=2.0), "diameter < chuck_diameter"),
        (lambda: plate(0), "holes must be at least 1"),
        (lambda: plate(spacing=8.0), "countersink_diameter < spacing"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
