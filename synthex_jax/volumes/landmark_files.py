"""Named points of the patient: from and to files, and from label maps.

Everything outside the files is world RAS+ mm. The formats are 3D Slicer's point lists
(.fcsv, .mrk.json) as its manual describes them ("Markups", developer guide), and tables
(.csv) with a header.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from synthex_jax.checks import require, require_finite, require_shape
from synthex_jax.files import existing, naming, written_whole
from synthex_jax.geometry.frames import RAS_FROM_LPS
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.volume import Volume

Point = Float[np.ndarray, "3"]

_KEEP, _LPS = np.ones(3), np.diag(RAS_FROM_LPS)[:3]
# Slicer wrote numbers up to version 4.10 and letters since; its 2 is voxel indices.
_FCSV_SYSTEMS = {"0": _KEEP, "RAS": _KEEP, "1": _LPS, "LPS": _LPS}
_JSON_SYSTEMS = {"RAS": _KEEP, "LPS": _LPS}
_CSV_SYSTEMS = {"xyz": _KEEP, "ras": _KEEP, "lps": _LPS}
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


def read_landmarks(path: str | Path) -> dict[str, Point]:
    """Named points from a Slicer point list or a table.

    Args:
        path: .fcsv or .json (.mrk.json) of 3D Slicer, which say whether they are in
            RAS or LPS, points that were never placed left out; or .csv with a header
            that holds ``name`` (or ``label``) and ``x,y,z`` (RAS), ``r,a,s`` or
            ``l,p,s``, the last two as Slicer exports them.

    Returns:
        name to (3,), float64, world RAS+ mm, in the file's order.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: that names the path, and the line or point, for another suffix; no
            points; a name that is empty or there twice; coordinates that are missing or
            not finite; a frame or a unit that is not known.
    """
    path = existing(path, f"a file of landmarks {tuple(_FORMATS)}")
    with naming(path):
        require(path.is_file(), "must be a file of landmarks, it is a folder")
        form = _format_of(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"must be text in UTF-8 ({error}); save it so") from error
        return _collected(form.points(text))


def write_landmarks(path: str | Path, landmarks: Mapping[str, ArrayLike]) -> None:
    """Named points as a Slicer point list (.fcsv, .mrk.json; LPS) or a table (.csv).

    Args:
        path: the suffix says the format; a file that is there is replaced.
        landmarks: name to (3,), world RAS+ mm. A table gets the header ``name,x,y,z``.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: for another suffix, no landmarks, a name that is empty or holds a
            line break, points of another shape or not finite.
    """
    with naming(path):
        form = _format_of(Path(path))
        require(len(landmarks) > 0, "landmarks must hold at least one point, got none")
        points = {}
        for name, point in landmarks.items():
            require(
                bool(name.strip()) and len(name.splitlines()) == 1,
                f"names must be one line of text, got {name!r}",
            )
            require_shape(f"landmarks[{name!r}]", point, (3,))
            require_finite(f"landmarks[{name!r}]", point)
            points[name] = np.asarray(point, dtype=np.float64)
    with written_whole(path) as temporary:
        temporary.write_text(form.text(points), encoding="utf-8", newline="")


def label_centroids(
    labels: Volume, names: Mapping[int, str] | None = None
) -> dict[str, Point]:
    """The center of mass of each label: landmarks painted as small blobs.

    Args:
        labels: whole numbers without channels, 0 for background (``read_labels``).
        names: of the labels; those it does not name are left out. By default all are
            kept, and named by their number.

    Returns:
        name to (3,), float64, world mm: the mean of the voxels' centers.

    Raises:
        ValueError: for samples that are no whole numbers, channels, or a volume that
            holds no label that is named.
    """
    data = np.asarray(labels.data)
    require(
        data.ndim == 3 and data.dtype.kind in "iu",
        "labels must be (nx, ny, nz) whole numbers, got "
        f"{data.dtype} of shape {data.shape}; volumes.io.read_labels reads them",
    )
    found = np.unique(data)
    name_of = {int(i): str(i) for i in found if i} if names is None else dict(names)
    affine = np.asarray(labels.affine, dtype=np.float64)
    centers = affine[:3, :3] @ _mean_index(data, found) + affine[:3, 3:]
    points = {
        name_of[int(label)]: center
        for label, center in zip(found, centers.T, strict=True)
        if label != 0 and int(label) in name_of
    }
    require(
        len(points) > 0,
        "labels must hold a voxel of a label that names lists, it holds "
        f"{found.tolist()[:20]} and names lists {sorted(name_of)[:20]}",
    )
    return points


class _Row(NamedTuple):
    where: str
    name: str
    position: np.ndarray


class _Format(NamedTuple):
    points: Callable[[str], Iterator[_Row]]
    text: Callable[[Mapping[str, np.ndarray]], str]


def _format_of(path: Path) -> _Format:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise ValueError(f"path must end in one of {tuple(_FORMATS)}")
    return found


def _collected(rows: Iterator[_Row]) -> dict[str, Point]:
    points: dict[str, Point] = {}
    for where, name, position in rows:
        require(bool(name), f"{where}: a landmark must have a name, this one has none")
        require(
            name not in points,
            f"{where}: names must differ, {name!r} is there twice; rename one",
        )
        require(
            bool(np.isfinite(position).all()),
            f"{where}: {name!r} must have finite coordinates, got {position.tolist()}",
        )
        points[name] = position
    require(len(points) > 0, "must hold at least one point that was placed, has none")
    return points


def _numbers(where: str, fields: object) -> np.ndarray:
    try:
        return np.array([float(field) for field in fields])  # pyright: ignore
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: coordinates must be three numbers, got {fields}"
        ) from None


def _table_rows(
    lines: list[tuple[int, list[str]]], columns: list[str], axes: str, sign: np.ndarray
) -> Iterator[_Row]:
    """Rows of a table, but for those whose ``defined`` is 0."""
    name_at = columns.index("label" if "label" in columns else "name")
    at = [columns.index(axis) for axis in axes]
    defined_at = columns.index("defined") if "defined" in columns else None
    for number, fields in lines:
        where = f"line {number}"
        require(
            len(fields) > max(name_at, *at),
            f"{where} must hold {','.join(columns)}, got {','.join(fields)!r}",
        )
        if defined_at is None or fields[defined_at].strip() != "0":
            position = sign * _numbers(where, [fields[i] for i in at])
            yield _Row(where, fields[name_at].strip(), position)


def _csv_points(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""))
    lines = [(reader.line_num, row) for row in reader if any(row)]
    columns = [column.strip().lower() for column in lines[0][1]] if lines else []
    axes = [a for a in _CSV_SYSTEMS if set(a) <= set(columns)]
    require(
        len(axes) == 1 and bool({"name", "label"} & set(columns)),
        "line 1 must name the columns: name (or label), and x,y,z or r,a,s or l,p,s; "
        f"got {','.join(columns)!r}",
    )
    return _table_rows(lines[1:], columns, axes[0], _CSV_SYSTEMS[axes[0]])


def _fcsv_points(text: str) -> Iterator[_Row]:
    header: dict[str, str] = {}
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            header[key.strip().lower()] = value.strip()
        elif line.strip():
            lines.append((number, next(csv.reader([line]))))
    # Slicer 3 had another header and no choice of frames.
    is_slicer_3 = any(key.startswith("fiducial list file") for key in header)
    system = header.get("coordinatesystem", "RAS" if is_slicer_3 else "not given")
    require(
        system.upper() in _FCSV_SYSTEMS,
        "the line '# CoordinateSystem = ' must say RAS (0) or LPS (1), got "
        f"{system}; load and save the points in 3D Slicer",
    )
    columns = header.get("columns", _FCSV_COLUMNS).split(",")
    require(
        {"x", "y", "z", "label"} <= set(columns),
        f"the line '# columns = ' must name x, y, z and label, got {columns}",
    )
    return _table_rows(lines, columns, "xyz", _FCSV_SYSTEMS[system.upper()])


def _json_points(text: str) -> Iterator[_Row]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot be read as JSON ({error})") from error
    markups = content.get("markups") if isinstance(content, dict) else None
    require(
        isinstance(markups, list) and all(isinstance(m, dict) for m in markups),
        'must be a markups file of 3D Slicer, a dictionary with a list "markups"',
    )
    for markup in markups:  # pyright: ignore[reportOptionalIterable]
        yield from _control_points(markup)


def _control_points(markup: dict) -> Iterator[_Row]:
    # Both defaults are the schema's.
    system = markup.get("coordinateSystem", "LPS")
    unit = markup.get("coordinateUnits", "mm")
    require(
        system in _JSON_SYSTEMS, f"coordinateSystem must be LPS or RAS, got {system!r}"
    )
    require(
        unit == "mm" or (isinstance(unit, list) and unit[:1] == ["mm"]),
        f"coordinateUnits must be mm, got {unit!r}; scale the points in 3D Slicer",
    )
    for number, point in enumerate(markup.get("controlPoints") or [], start=1):
        where = f"control point {number} of {markup.get('type', 'a markup')}"
        require(isinstance(point, dict), f"{where} must be a dictionary, got {point!r}")
        if point.get("positionStatus", "defined") == "defined":
            position = _numbers(where, point.get("position"))
            require(
                position.shape == (3,),
                f"{where}: position must be three numbers, got {position.tolist()}",
            )
            name = str(point.get("label", "")).strip()
            yield _Row(where, name, _JSON_SYSTEMS[system] * position)


def _csv_text(points: Mapping[str, np.ndarray]) -> str:
    rows = [(name, *point.tolist()) for name, point in points.items()]
    return _table_text([("name", "x", "y", "z"), *rows])


def _fcsv_text(points: Mapping[str, np.ndarray]) -> str:
    header = (
        "# Markups fiducial file version = 4.13\n# CoordinateSystem = LPS\n"
        f"# columns = {_FCSV_COLUMNS}\n"
    )
    # Turned by nothing; visible, selected and not locked.
    rows = [
        (i, *(_LPS * point).tolist(), 0, 0, 0, 1, 1, 1, 0, name, "", "")
        for i, (name, point) in enumerate(points.items(), start=1)
    ]
    return header + _table_text(rows)


def _table_text(rows: list) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _json_text(points: Mapping[str, np.ndarray]) -> str:
    control_points = [
        {
            "id": str(i),
            "label": name,
            "position": (_LPS * point).tolist(),
            "positionStatus": "defined",
        }
        for i, (name, point) in enumerate(points.items(), start=1)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": control_points,
    }
    return json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=1)


def _mean_index(data: np.ndarray, found: np.ndarray) -> Float[np.ndarray, "3 labels"]:
    """Mean voxel index of each value of ``found``, slice by slice to bound memory."""
    nx, ny, nz = data.shape
    j, k = np.indices((ny, nz), dtype=np.float64).reshape(2, -1)
    count = np.zeros(len(found))
    total = np.zeros((3, len(found)))
    for i in range(nx):
        kind = np.searchsorted(found, data[i].ravel())
        voxels, down, along = (
            np.bincount(kind, weights, len(found)) for weights in (None, j, k)
        )
        count += voxels
        total += [i * voxels, down, along]
    return total / count


_FORMATS = {
    ".fcsv": _Format(_fcsv_points, _fcsv_text),
    ".json": _Format(_json_points, _json_text),
    ".csv": _Format(_csv_points, _csv_text),
}
