"""Point lists as 3D Slicer writes them, against the numbers in them."""

import csv
import json

import numpy as np
import pytest
from scipy import ndimage

from synthex_jax.volumes.landmark_files import (
    label_centroids,
    read_landmarks,
    write_landmarks,
)
from synthex_jax.volumes.volume import Volume
from tests.volumes.worlds import oblique

# In RAS.
POINTS = {"FH-l": [-90.5, 12.25, -7.0], "ASIS-r": [120.0, 60.5, 1.0e-3]}
SLICER_4 = """\
# Markups fiducial file version = 4.6
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,{0},{1},{2},0,0,0,1,1,1,0,FH-l,,vtkMRMLScalarVolumeNode1
vtkMRMLMarkupsFiducialNode_1,{3},{4},{5},0,0,0,1,1,1,0,ASIS-r,"a, b",
"""
SLICER_3 = """\
# Fiducial List file points.fcsv
# version = 2
# numPoints = 2
# columns = label,x,y,z,sel,vis
FH-l,-90.5,12.25,-7,1,1

ASIS-r,120,60.5,1e-3,1,1
"""
MARKUP = {
    "type": "Fiducial",
    "coordinateSystem": "LPS",
    "coordinateUnits": "mm",
    "controlPoints": [
        {
            "label": "FH-l",
            "position": [90.5, -12.25, -7.0],
            "positionStatus": "defined",
        },
        {"label": "gone", "position": [0, 0, 0], "positionStatus": "undefined"},
        {"label": "ASIS-r", "position": [-120.0, -60.5, 1e-3]},
    ],
}


def save(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return path


def assert_points(found, expected=POINTS, atol=0.0):
    assert list(found) == list(expected)
    for name, point in expected.items():
        assert found[name].shape == (3,)
        np.testing.assert_allclose(found[name], point, rtol=0, atol=atol)


@pytest.mark.parametrize("system", ["0", "RAS", "1", "LPS"])
def test_fcsv_of_slicer_4_and_5(tmp_path, system):
    sign = [-1, -1, 1] if system in ("1", "LPS") else [1, 1, 1]
    numbers = [x for p in POINTS.values() for x in np.multiply(p, sign).tolist()]
    path = save(tmp_path / "points.fcsv", SLICER_4.format(*numbers, system=system))
    assert_points(read_landmarks(path))


def test_fcsv_of_slicer_3(tmp_path):
    assert_points(read_landmarks(save(tmp_path / "points.fcsv", SLICER_3)))


def test_markups_json(tmp_path):
    path = save(tmp_path / "points.mrk.json", {"markups": [MARKUP]})
    assert_points(read_landmarks(path))
    ras = {
        "type": "Line",
        "coordinateSystem": "RAS",
        "coordinateUnits": ["mm", "UCUM", "millimeter"],
        "controlPoints": [{"label": "tip", "position": [1, 2, 3]}],
    }
    path = save(tmp_path / "both.json", {"markups": [MARKUP, ras]})
    assert_points(read_landmarks(path), POINTS | {"tip": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("header", "sign"), [("x,y,z", 1), ("r,a,s", 1), ("L,P,S", -1)]
)
def test_tables(tmp_path, header, sign):
    rows = [
        f"label,{header},defined,description",
        f"FH-l,{sign * -90.5},{sign * 12.25},-7,1,",
        "gone,0,0,0,0,",
        f'ASIS-r,{sign * 120},{sign * 60.5},1e-3,1,"one, two"',
    ]
    # With a byte order mark and line ends as spreadsheets write them.
    path = save(tmp_path / "points.csv", "\ufeff" + "\r\n".join(rows))
    assert_points(read_landmarks(path))


def test_table_with_the_columns_in_another_order(tmp_path):
    path = save(tmp_path / "p.csv", "z, y, x, name\n3,2,1,tip\n")
    assert_points(read_landmarks(path), {"tip": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize("name", ["p.fcsv", "p.mrk.json", "p.json", "p.csv"])
def test_round_trip(tmp_path, name, rng):
    points = {
        "a, b": rng.normal(size=3) * 100,
        'quoted "c"': rng.normal(size=3),
        "Hüfte-l": rng.normal(size=3).astype(np.float32),
    }
    write_landmarks(tmp_path / name, points)
    assert_points(read_landmarks(tmp_path / name), points)
    write_landmarks(tmp_path / name, POINTS)
    assert_points(read_landmarks(tmp_path / name))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_is_written(tmp_path):
    """Read back by other means: LPS for Slicer, RAS in tables."""
    for name in ("p.fcsv", "p.mrk.json", "p.csv"):
        write_landmarks(tmp_path / name, POINTS)
    lines = (tmp_path / "p.fcsv").read_text().splitlines()
    assert lines[1] == "# CoordinateSystem = LPS"
    columns = lines[2].removeprefix("# columns = ").split(",")
    row = dict(zip(columns, lines[3].split(","), strict=True))
    assert [row[c] for c in ("label", "x", "y", "z")] == [
        "FH-l",
        "90.5",
        "-12.25",
        "-7.0",
    ]
    assert [row[c] for c in ("ox", "oy", "oz", "ow")] == ["0", "0", "1", "0"]
    markup = json.loads((tmp_path / "p.mrk.json").read_text())["markups"][0]
    assert markup["coordinateSystem"] == "LPS"
    assert markup["controlPoints"][1]["position"] == [-120.0, -60.5, 0.001]
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"name": "FH-l", "x": "-90.5", "y": "12.25", "z": "-7.0"}


HEADER = "name,x,y,z\n"
FCSV = "# CoordinateSystem = LPS\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", "", r"must end in one of \('.fcsv', '.json', '.csv'\)"),
        ("p.csv", "", "line 1 must name the columns"),
        ("p.csv", "a,1,2,3\n", "line 1 must name the columns.*got 'a,1,2,3'"),
        ("p.csv", "name,x,y,z,r,a,s\n", "line 1 must name the columns"),
        ("p.csv", HEADER, "must hold at least one point"),
        (
            "p.csv",
            HEADER + "a,1,2,3\nb,1,2\n",
            "line 3 must hold name,x,y,z, got 'b,1,2'",
        ),
        ("p.csv", HEADER + "a,1,2,high\n", "line 2: coordinates must be three numbers"),
        ("p.csv", HEADER + "a,1,2,nan\n", "line 2: 'a' must have finite coordinates"),
        ("p.csv", HEADER + "a,1,2,3\n\na,4,5,6\n", "line 4: names must differ, 'a'"),
        ("p.csv", HEADER + " ,1,2,3\n", "line 2: a landmark must have a name"),
        ("p.fcsv", "0,1,2,3,0,0,0,1,1,1,0,a,,\n", "must say RAS .* got not given"),
        ("p.fcsv", "# CoordinateSystem = 2\n", "must say RAS .* got 2"),
        ("p.fcsv", FCSV + "0,1,2\n", "line 2 must hold id,x,y,z"),
        ("p.fcsv", FCSV + "0,1,inf,3,0,0,0,1,1,1,0,a,,\n", "line 2: 'a' must have fin"),
        ("p.fcsv", FCSV + "# columns = a,b\n", "must name x, y, z and label"),
        ("p.fcsv", FCSV, "must hold at least one point"),
        ("p.json", "{", "cannot be read as JSON"),
        ("p.json", "[1]", "must be a markups file of 3D Slicer"),
        ("p.json", {"markups": [MARKUP, MARKUP]}, "control point 1 of Fiducial: names"),
        ("p.json", {"markups": [{**MARKUP, "coordinateSystem": "IJK"}]}, "LPS or RAS"),
        ("p.json", {"markups": [{**MARKUP, "coordinateUnits": "um"}]}, "must be mm"),
        (
            "p.json",
            {"markups": [{"controlPoints": [{"label": "a", "position": [1, 2]}]}]},
            r"control point 1 of a markup: position must be three numbers, got \[1",
        ),
        (
            "p.json",
            {"markups": [{"controlPoints": [{"label": "a"}]}]},
            "coordinates must be three numbers, got None",
        ),
        ("p.json", {"markups": [{"controlPoints": ["a"]}]}, "must be a dictionary"),
    ],
)
def test_errors_name_the_file_and_the_place(tmp_path, name, text, message):
    path = save(tmp_path / name, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_landmarks(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"p\.csv does not exist; give the path"
    ):
        read_landmarks(tmp_path / "p.csv")
    with pytest.raises(ValueError, match="it is a folder"):
        read_landmarks(tmp_path)
    with pytest.raises(FileNotFoundError, match="folder that exists"):
        write_landmarks(tmp_path / "none" / "p.csv", POINTS)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"name,x,y,z\n\xff\xfe,1,2,3\n")
    with pytest.raises(ValueError, match=r"p\.csv: must be text in UTF-8"):
        read_landmarks(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("name", "points", "message"),
    [
        ("p.xlsx", POINTS, "must end in one of"),
        ("p.csv", {}, "at least one point"),
        ("p.csv", {"a": [1.0, 2.0]}, r"landmarks\['a'\] must have shape \(3,\)"),
        ("p.csv", {"a": [1.0, 2.0, np.nan]}, r"landmarks\['a'\] must be finite"),
        ("p.csv", {" ": [1.0, 2.0, 3.0]}, "names must be one line of text"),
        ("p.csv", {"a\nb": [1.0, 2.0, 3.0]}, "names must be one line of text"),
    ],
)
def test_nothing_is_written_of_what_is_refused(tmp_path, name, points, message):
    with pytest.raises(ValueError, match=message):
        write_landmarks(tmp_path / name, points)
    assert not list(tmp_path.iterdir())


def test_label_centroids_by_scipy(rng):
    data = rng.integers(0, 4, (7, 8, 9)).astype(np.uint8) * 50
    volume = Volume.from_array(data, oblique())
    centers = ndimage.center_of_mass(np.ones_like(data), data, [50, 100, 150])
    expected = np.asarray(centers) @ oblique()[:3, :3].T + oblique()[:3, 3]
    # The affine is kept in float32: 500 mm to 3e-5.
    found = label_centroids(volume)
    assert_points(found, dict(zip(["50", "100", "150"], expected, strict=True)), 1e-4)
    named = label_centroids(volume, {100: "FH-l", 7: "not there"})
    assert_points(named, {"FH-l": expected[1]}, 1e-4)


def test_label_centroids_refuse():
    affine = np.eye(4)
    with pytest.raises(ValueError, match="whole numbers, got float32 of shape"):
        label_centroids(Volume.from_array(np.ones((2, 2, 2), np.float32), affine))
    empty = Volume.from_array(np.zeros((2, 2, 2), np.uint8), affine)
    with pytest.raises(ValueError, match=r"it holds \[0\] and names lists \[1\]"):
        label_centroids(empty, {1: "FH-l"})
