"""From the poses that were found to errors, rates with intervals, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from registration_bodies import NAMES
from registration_noise import LEVEL, error_twist, mahalanobis
from registration_ours import camera_at
from registration_problems import CLASSES, Settings, Target, load_body

import synthex_jax as sx
from synthex_jax.registration import metrics

OURS = "synthex_jax"

IN_PLANE_MM = 1.0
MTRE_MM = 1.5
_ITERATIONS = 15
# Of starts, mm: bins of a capture range should hold twenty.
_BIN = 10.0
_ERRORS = ("mtre", "xvr_mtre", "in_plane", "depth", "degrees")
_KEPT = ("seconds", "cpu_seconds", "iterations", "iterations_to_optimum", "status")
# Of a normal distribution in six dimensions: a squared radius that holds LEVEL of it.
_CHI_SQUARED = 10.645


@dataclass(frozen=True)
class Result:
    """A problem's errors under one contender; infinite where nothing was found.

    Attributes:
        key: of the problem.
        ct: of the body.
        level: class of the start.
        initial: mTRE of the start, mm.
        mtre: mm.
        xvr_mtre: mm, by xvr's formula.
        in_plane: mm.
        depth: mm, signed.
        degrees: of the rotation.
        mahalanobis: squared, of the truth; None without a covariance.
        line: what the contender wrote.
    """

    key: str
    ct: str
    level: str
    initial: float
    mtre: float
    xvr_mtre: float
    in_plane: float
    depth: float
    degrees: float
    mahalanobis: float | None
    line: dict = field(repr=False)

    @property
    def is_found(self) -> bool:
        """Below the limit in the plane of the detector."""
        return self.in_plane < IN_PLANE_MM


def results(
    lines: Sequence[dict], folder: Path, settings: Settings, seed: int
) -> list[Result]:
    """Errors of all problems in a contender's lines."""
    return [_result(line, folder, settings, seed) for line in lines]


@jax.jit
def _errors(
    estimate: sx.Camera, truth: sx.Camera, points: jax.Array, center: jax.Array
) -> tuple[jax.Array, ...]:
    """In the order of ``_ERRORS``."""
    return (
        metrics.mean_target_registration_error(estimate, truth, points),
        metrics.xvr_mtre(estimate, truth, points, isocenter=center),
        metrics.in_plane_error(estimate, truth, points),
        metrics.depth_error(estimate, truth, points),
        jnp.rad2deg(metrics.geodesic_se3(estimate, truth).rotation),
    )


def _result(line: dict, folder: Path, settings: Settings, seed: int) -> Result:
    name, level = line["key"].split()
    ct, number = name.rsplit("-", 1)
    body = load_body(folder, ct, settings)
    with np.load(Target(ct, int(number), seed).path(folder, settings)) as arrays:
        poses = (arrays["world_from_camera"], arrays[f"start_{level}"])
        device = (float(arrays["source_to_detector"]), arrays["pitch"])
        shape = arrays["image"].shape
    truth, start = (camera_at(pose, *device, shape) for pose in poses)
    points = jnp.asarray(body.points, float)
    middle = (np.asarray(body.attenuation.shape) - 1) / 2
    center = jnp.asarray(body.affine[:3, :3] @ middle + body.affine[:3, 3], float)
    initial = float(_errors(start, truth, points, center)[0])
    pose = np.asarray(line.get("world_from_camera", np.nan), float)
    errors, distance = [float("inf")] * 5, None
    if np.all(np.isfinite(pose)):
        found = camera_at(pose, *device, shape)
        errors = [float(e) for e in _errors(found, truth, points, center)]
        if "covariance" in line:
            twist = error_twist(found, truth, np.asarray(line["center"]))
            distance = mahalanobis(twist, np.asarray(line["covariance"]))
    named = dict(zip(_ERRORS, errors, strict=True))
    return Result(
        line["key"], ct, level, initial, **named, mahalanobis=distance, line=line
    )


# -- summaries ------------------------------------------------------------------------


def summary(found: Sequence[Result]) -> dict:
    """Of one contender on one class."""
    targets = [r.key.split()[0] for r in found]

    def percentile(values: Sequence[float], at: float = 50.0) -> dict:
        return asdict(metrics.percentile_interval(values, at, groups=targets))

    def rate(test: Callable[[Result], bool]) -> dict:
        return asdict(metrics.success_rate([test(r) for r in found]))

    def times(name: str) -> float | None:
        taken = [r.line[name] for r in found if name in r.line]
        return float(np.median(taken)) if taken else None

    reached = [r.line.get("iterations_to_optimum") for r in found]
    distances = [r.mahalanobis for r in found if r.mahalanobis is not None]
    return {
        "problems": len(found),
        "in_plane_below_1_mm": rate(lambda r: r.in_plane < IN_PLANE_MM),
        "mtre_below_1.5_mm": rate(lambda r: r.mtre < MTRE_MM),
        "median_in_plane": percentile([r.in_plane for r in found]),
        "median_mtre": percentile([r.mtre for r in found]),
        "median_xvr_mtre": percentile([r.xvr_mtre for r in found]),
        "median_depth": percentile([abs(r.depth) for r in found]),
        "median_degrees": percentile([r.degrees for r in found]),
        "median_initial": percentile([r.initial for r in found]),
        "mean_depth_of_found": _mean([r.depth for r in found if r.is_found]),
        "seconds": times("seconds"),
        "cpu_seconds": times("cpu_seconds"),
        "iterations": times("iterations"),
        "iterations_to_optimum": times("iterations_to_optimum"),
        "iterations_to_optimum_finest": times("iterations_to_optimum_finest"),
        "reaches_optimum_in_15": rate(
            lambda r: 0 < r.line.get("iterations_to_optimum", 0) <= _ITERATIONS
        )
        if any(reached)
        else None,
        "covered": coverage(distances) if distances else None,
        "failed": sum("failed" in r.line for r in found),
        "stopped": sum(bool(r.line.get("stopped")) for r in found),
    }


def coverage(distances: Sequence[float]) -> dict:
    """How many true poses the ellipsoid that should hold ``LEVEL`` of them holds."""
    return asdict(metrics.success_rate([d <= _CHI_SQUARED for d in distances]))


def capture(found: Sequence[Result]) -> float:
    """Mm, of all classes together."""
    initial = [r.initial for r in found]
    return metrics.capture_range(initial, [r.is_found for r in found], bin_width=_BIN)


def hips_summary(lines: Sequence[dict]) -> dict:
    """Of the joint registrations, body by body."""
    rows = {}
    for name in NAMES:
        errors = [line[name] for line in lines]
        rows[name] = {
            "below_1_mm_and_1_degree": asdict(
                metrics.success_rate(
                    [e["in_plane"] < 1 and e["degrees"] < 1 for e in errors]
                )
            ),
            **{
                f"median_{what}": float(np.median([abs(e[what]) for e in errors]))
                for what in ("in_plane", "depth", "degrees")
            },
        }
    return rows


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


# -- tables ---------------------------------------------------------------------------


def markdown(document: dict) -> str:
    """The whole report."""
    host = document["host"]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(document["versions"].items()))
    cts = "; ".join(f"{name}: {what}" for name, what in document["cts"].items())
    parts = [
        f"# Registration on {document['device']}",
        f"{document['date']}, {host['cpu']}, {host['cores']} cores, load average "
        f"{host['load_average_before']} before the run; {versions}.",
        f"{document['targets']} radiographs of {document['pixels']}x"
        f"{document['pixels']} pixels, single views. CTs: {cts}.",
        "In parentheses: 95 % intervals (Wilson; bootstrap over radiographs). Times "
        "are medians, without compilation. mTRE is the usual one, world to camera; "
        "xvr's has its own formula.",
        f"## {OURS}",
        _table(
            ["", *_COLUMNS],
            [
                [name, *(column(row) for column in _COLUMNS.values())]
                for name, row in document["ours"].items()
            ],
        ),
        f"Capture range, 95 % within 1 mm in the plane: "
        f"{document['capture_range']:.0f} mm of initial mTRE.",
        "## Aims",
        _table(["", "measured", "aim", ""], _aims(document)),
    ]
    if document["peers"]:
        rows = [
            [level, name, *_compared(row, base)]
            for level, contenders in document["peers"].items()
            for base in [contenders[OURS]]
            for name, row in contenders.items()
        ]
        header = ["start", "", "problems", "in plane < 1 mm", "median in plane, mm"]
        header += ["median mTRE, mm", "wall s", "CPU s", "iterations", "out of time"]
        parts += ["## Beside the peers, on the same problems", _table(header, rows)]
        checks = ", ".join(f"{k} {v:.1e}" for k, v in document["image_checks"].items())
        parts.append(f"Images at a start differ, of the maximum, by: {checks}.")
    if document["skipped"]:
        parts.append(f"Not measured, not installed: {', '.join(document['skipped'])}.")
    if document["hips"]:
        header = ["", "below 1 mm and 1 degree", "median in plane, mm"]
        header += ["median depth, mm", "median degrees"]
        rows = [
            [
                name,
                _rate(row["below_1_mm_and_1_degree"]),
                f"{row['median_in_plane']:.2f}",
                f"{row['median_depth']:.2f}",
                f"{row['median_degrees']:.2f}",
            ]
            for name, row in document["hips"].items()
        ]
        parts += ["## Pelvis and femurs together, easy starts", _table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _rate(rate: dict) -> str:
    return "{:.1f} % ({:.1f}-{:.1f})".format(*(100 * x for x in rate.values()))


def _mm(interval: dict) -> str:
    return "{:.2f} ({:.2f}-{:.2f})".format(*interval.values())


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


_COLUMNS: dict[str, Callable[[dict], str]] = {
    "problems": lambda row: str(row["problems"]),
    "in plane < 1 mm": lambda row: _rate(row["in_plane_below_1_mm"]),
    "mTRE < 1.5 mm": lambda row: _rate(row["mtre_below_1.5_mm"]),
    "median in plane, mm": lambda row: _mm(row["median_in_plane"]),
    "median mTRE, mm": lambda row: _mm(row["median_mtre"]),
    "median xvr mTRE, mm": lambda row: _mm(row["median_xvr_mtre"]),
    "median depth, mm": lambda row: _mm(row["median_depth"]),
    "mean depth where found, mm": lambda row: _seconds(row["mean_depth_of_found"]),
    "median degrees": lambda row: _mm(row["median_degrees"]),
    "wall s": lambda row: _seconds(row["seconds"]),
    "CPU s": lambda row: _seconds(row["cpu_seconds"]),
    "iterations": lambda row: _seconds(row["iterations"]),
}


def _compared(row: dict, base: dict) -> list[str]:
    def time(name: str) -> str:
        if row[name] is None or row is base or not base[name]:
            return _seconds(row[name])
        return f"{row[name]:.3g}, {row[name] / base[name]:.3g}x"

    return [
        str(row["problems"]),
        _rate(row["in_plane_below_1_mm"]),
        f"{row['median_in_plane']['estimate']:.2f}",
        f"{row['median_mtre']['estimate']:.2f}",
        time("seconds"),
        time("cpu_seconds"),
        _seconds(row["iterations"]),
        str(row["stopped"]),
    ]


def _aims(document: dict) -> list[list[str]]:
    """What was asked for, beside what was measured."""
    ours, rows = document["ours"], []

    def aim(what: str, value: float | None, text: str, least: float, sign: int) -> None:
        if value is not None:
            sort = "at least" if sign > 0 else "at most"
            met = "yes" if sign * value >= sign * least else "no"
            rows.append([what, text, f"{sort} {least:g}", met])

    for level, least in (("easy", 99.0), ("medium", 90.0), ("hard", 60.0)):
        if level in ours:
            rate = ours[level]["in_plane_below_1_mm"]
            what = f"{level}: % below 1 mm in plane"
            aim(what, 100 * rate["estimate"], _rate(rate), least, 1)
    if "easy" in ours:
        easy = ours["easy"]
        rate, median = easy["mtre_below_1.5_mm"], easy["median_mtre"]
        aim("easy: % below 1.5 mm mTRE", 100 * rate["estimate"], _rate(rate), 90, 1)
        aim("easy: median mTRE, mm", median["estimate"], _mm(median), 0.5, -1)
        rate = easy["reaches_optimum_in_15"]
        if rate is not None:
            what = "easy: % within 0.1 mm of the optimum in 15 iterations"
            aim(what, 100 * rate["estimate"], _rate(rate), 100, 1)
    if "medium" in ours:
        seconds = ours["medium"]["seconds"]
        aim("medium: seconds a problem", seconds, _seconds(seconds), 4, -1)
    for level, contenders in document["peers"].items():
        for name, row in contenders.items():
            base = contenders[OURS]["seconds"]
            if name != OURS and row["seconds"] and base:
                factor = row["seconds"] / base
                what = f"{level}: times faster than {name}"
                text = f"over {factor:.3g}" if row["stopped"] else f"{factor:.3g}"
                aim(what, factor, text, 10, 1)
    for quanta, covered in document["noise"].items():
        share = 100 * covered["estimate"]
        what = f"% of true poses in {100 * LEVEL:.0f} % ellipsoids, noise alone, "
        what += f"{quanta} quanta a pixel"
        met = "yes" if 85 <= share <= 95 else "no"
        rows.append([what, _rate(covered), "85 to 95", met])
    for name, row in document["hips"].items():
        rate = row["below_1_mm_and_1_degree"]
        what = f"{name} of three bodies: % below 1 mm and 1 degree"
        aim(what, 100 * rate["estimate"], _rate(rate), 100, 1)
    return rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rows(found: Sequence[Result]) -> list[str]:
    """A line of comma-separated values a problem, the first of their names."""
    names = ("initial", *_ERRORS, "mahalanobis")
    lines = [",".join(("key", *names, *_KEPT))]
    for r in found:
        values = [getattr(r, name) for name in names] + [r.line.get(k) for k in _KEPT]
        texts = ["" if value is None else f"{value:.4g}" for value in values]
        lines.append(",".join((r.key, *texts)))
    return lines


def by_class(found: Sequence[Result]) -> dict[str, dict]:
    """Summaries of a contender: a row a class, and one a CT of each."""
    parts = {}
    for level in CLASSES:
        mine = [r for r in found if r.level == level]
        if mine:
            parts[level] = summary(mine)
        cts = list(dict.fromkeys(r.ct for r in mine))
        if len(cts) > 1:
            for ct in cts:
                parts[f"{level}, {ct}"] = summary([r for r in mine if r.ct == ct])
    return parts
