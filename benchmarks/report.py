"""The Markdown of a run: one table a case, and the projector's shape figures."""

from __future__ import annotations

from dataclasses import dataclass

from cases import CASES, QUICK_CASES, Case
from contenders import CONTENDERS, OURS
from results import NOT_RUN, Measured, Row, Rows, gradient_distance

_TITLES = {
    "forward": "forward",
    "value_and_gradient": "value and pose gradient",
    "jacobian": "6-column Jacobian",
    "volume_gradient": "volume gradient",
}
# The projector's aims: each operation over forward, a view of a batch over a single
# one, GB of a value and pose gradient above the volume.
_OVER_FORWARD = {"value_and_gradient": 2.5, "jacobian": None, "volume_gradient": None}
_BATCH_TARGET = 0.8
_MEMORY_TARGETS = {"chest-512": 1.0, "chest-512-x8": 1.5}

# Load a core, before the run, above which the processors were not ours alone.
_BUSY = 0.25
_NEAREST_PEER = "nanodrr eager"


def markdown(document: dict, rows: Rows) -> str:
    """The whole report."""
    host, volumes = document["host"], document["volumes"]
    parts = [
        f"# Projector on {document['device']}",
        f"{document['date']}, {host['cpu']}, {host['cores']} cores, load average "
        f"{host['load_average_before']} before the run; "
        + ", ".join(f"{k} {v}" for k, v in sorted(document["versions"].items()))
        + ".",
        "Times are seconds a call, median (and least), each followed by its factor "
        f"over that of {OURS.name}. CPU time counts all threads. Compilation is what "
        "the first calls took beyond later ones, peak memory what the value and pose "
        "gradient took above the built volume. The error is the largest of the image "
        "over the maximum of a dense float64 trilinear reference. The gradient's "
        f"distance is from {_NEAREST_PEER}'s. A dash: the library has no forward mode "
        "here.",
    ]
    if host["load_average_before"] > _BUSY * host["cores"]:
        parts.append(
            "**The machine was busy:** wall times are too long, those of several "
            "threads most. Trust the CPU times, and repeat it on a quiet machine."
        )
    if document["skipped"]:
        parts.append("Not measured, not installed: " + ", ".join(document["skipped"]))
    unreached = [f"{r.case} {r.contender}" for r in rows.values() if not r.rounds]
    if unreached:
        parts.append("Not reached in the minutes given: " + ", ".join(unreached) + ".")
    for case in (CASES | QUICK_CASES).values():
        mine = [r for r in rows.values() if r.case == case.name and r.rounds]
        if mine:
            parts += [_heading(case, volumes[case.volume]), _table(case, mine, rows)]
    figures = shape_figures(rows)
    if figures:
        parts += [f"## Shape of {OURS.name}", _figures_table(figures)]
    return "\n\n".join(parts) + "\n"


def _heading(case: Case, volume: dict) -> str:
    size = "x".join(str(n) for n in volume["shape"])
    views = "one view" if case.views == 1 else f"{case.views} views a call"
    return (
        f"## {case.name}: {volume['what']} {size}, {case.pixels}x{case.pixels}, {views}"
    )


def _table(case: Case, mine: list[Row], rows: Rows) -> str:
    header = [
        "",
        *[_TITLES[name] for name in case.operations],
        "CPU time of the gradient",
        "compilation",
        "peak memory",
        "image error",
        "gradient's distance",
    ]
    ours = rows.get((case.name, OURS.name))
    peer = rows.get((case.name, _NEAREST_PEER))
    order = list(CONTENDERS)
    lines = [_line(header), _line(["---"] * len(header))]
    for row in sorted(mine, key=lambda row: order.index(row.contender)):
        times = [_time(row, ours, name) for name in case.operations]
        lines.append(_line([row.contender, *times, *_others(row, ours, peer)]))
    return "\n".join(lines)


def _line(fields: list[str]) -> str:
    return "| " + " | ".join(fields) + " |"


def _time(row: Row, ours: Row | None, name: str) -> str:
    measured = row.of(name)
    if measured is None:
        return _why(name, row.operations.get(name))
    text = f"{measured.median:.3g} ({measured.least:.3g})"
    base = None if ours is None or ours is row else ours.of(name)
    if base is None:
        return text
    factors = measured.median / base.median, measured.least / base.least
    return f"{text}, {factors[0]:.3g}x ({factors[1]:.3g}x)"


def _why(name: str, measured: Measured | None) -> str:
    if measured is None or measured.failed == NOT_RUN:
        return NOT_RUN
    if measured.failed.startswith("over "):
        return measured.failed
    return "-" if name == "jacobian" else "failed"


def _others(row: Row, ours: Row | None, peer: Row | None) -> list[str]:
    measured = [m for name in row.operations if (m := row.of(name)) is not None]
    gradient = row.of("value_and_gradient")
    distance = None if row is peer else gradient_distance(row, peer)
    return [
        _cpu_time(row, ours),
        f"{sum(m.compilation for m in measured):.2g} s" if measured else "",
        f"{gradient.peak_bytes / 1e6:.0f} MB" if gradient else "",
        "" if row.image_error is None else f"{row.image_error:.1e}",
        "" if distance is None else f"{distance:.1e}",
    ]


def _cpu_time(row: Row, ours: Row | None) -> str:
    measured = row.of("value_and_gradient")
    if measured is None:
        return ""
    base = None if ours is None or ours is row else ours.of("value_and_gradient")
    text = f"{measured.cpu:.3g}"
    return text if base is None else f"{text}, {measured.cpu / base.cpu:.3g}x"


# -- the projector's own proportions --------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A proportion, by wall and by CPU time, or an amount of memory, and its target.

    The two kinds of time differ where a machine is busy.
    """

    what: str
    unit: str
    by_wall: float
    by_cpu: float | None
    target: float | None


def shape_figures(rows: Rows) -> list[Figure]:
    """How synthex_jax's times and memory relate to each other, beside their targets."""
    figures: list[Figure | None] = []
    for name in ("body-256", "chest-512", "tiny-64"):
        for above, target in _OVER_FORWARD.items():
            what = f"{name}: {_TITLES[above]} / forward"
            pair = (_ours(rows, name, above), _ours(rows, name, "forward"))
            figures.append(_proportion(what, *pair, target))
        for operation in ("forward", "value_and_gradient"):
            what = f"{name}: {_TITLES[operation]}, a view of 8 / a single view"
            pair = (_ours(rows, f"{name}-x8", operation), _ours(rows, name, operation))
            figures.append(_proportion(what, *pair, _BATCH_TARGET, views=8))
    for name, target in _MEMORY_TARGETS.items():
        measured = _ours(rows, name, "value_and_gradient")
        what = f"{name}: memory of value and pose gradient"
        if measured is not None:
            peak = measured.peak_bytes / 1e9
            figures.append(Figure(what, " GB", peak, None, target))
    return [figure for figure in figures if figure is not None]


def _ours(rows: Rows, case: str, operation: str) -> Measured | None:
    row = rows.get((case, OURS.name))
    return None if row is None else row.of(operation)


def _proportion(
    what: str,
    above: Measured | None,
    below: Measured | None,
    target: float | None,
    views: int = 1,
) -> Figure | None:
    if above is None or below is None:
        return None
    wall = above.median / below.median / views
    return Figure(what, "", wall, above.cpu / below.cpu / views, target)


def _figures_table(figures: list[Figure]) -> str:
    lines = [_line(["", "measured", "by CPU time", "target"]), _line(["---"] * 4)]
    for figure in figures:
        value, cpu, target = (
            "" if number is None else f"{number:.2f}{figure.unit}"
            for number in (figure.by_wall, figure.by_cpu, figure.target)
        )
        lines.append(_line([figure.what, value, cpu, target and f"at most {target}"]))
    return "\n".join(lines)
