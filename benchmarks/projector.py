"""The projector against its peers, side by side in one run; see README.md.

    python benchmarks/projector.py             # under half an hour on two cores
    python benchmarks/projector.py --quick     # minutes, tiny sizes: does it run?

Writes ``<device>.json`` and ``<device>.md`` into ``--out`` and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from cases import CASES, QUICK_CASES, Case, make_volume
from contenders import CONTENDERS, OURS, Contender
from reference import reference_image, reference_rows
from report import markdown, shape_figures
from results import Measured, Row, Rows, compare, host
from runner import Limits, Outcome, run_cell

_RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Prepare the volumes, run the rounds, write the report."""
    options = _options()
    cases = [(CASES | QUICK_CASES)[name] for name in options.cases]
    contenders = [CONTENDERS[name] for name in options.contenders]
    present = [contender for contender in contenders if contender.is_installed]
    with tempfile.TemporaryDirectory(prefix="projector-") as folder:
        bench = Run(Path(folder), options, cases, present)
        bench.prepare()
        bench.measure()
        document = bench.document()
    document["skipped"] = [c.name for c in contenders if c not in present]
    text = markdown(document, bench.rows)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{document['device']}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)
    print(f"\n{text}\nWritten: {path} and {path.with_suffix('.md').name}")


class Run:
    """The state of one run: what is prepared, and what was measured so far."""

    def __init__(
        self,
        folder: Path,
        options: argparse.Namespace,
        cases: list[Case],
        contenders: list[Contender],
    ) -> None:
        self.folder = folder
        self.options = options
        self.cases = cases
        self.contenders = contenders
        self.rows: Rows = {}
        self.volumes: dict[str, dict] = {}
        self.references: dict[str, np.ndarray] = {}
        self.about: dict = {}
        self.versions: dict[str, str] = {}
        self.host = host()
        self.deadline = time.monotonic() + 60 * options.minutes

    def prepare(self) -> None:
        """Save the volumes for the cells, and render the references."""
        for name in dict.fromkeys(case.volume for case in self.cases):
            data, affine, what = make_volume(name)
            np.save(self.folder / f"{name}.npy", data)
            np.save(self.folder / f"{name}-affine.npy", affine)
            self.volumes[name] = {"what": what, "shape": list(data.shape)}
            for case in self.cases:
                if case.volume == name:
                    print(f"{case.name}: float64 reference", flush=True)
                    self.references[case.name] = reference_image(
                        data, affine, case, view=case.views - 1
                    )

    def measure(self) -> None:
        """Rounds over all cells, each in the opposite order of the one before."""
        for number in range(self.options.repeats):
            order = self.contenders[:: -1 if number % 2 else 1]
            for case in self.cases:
                for contender in order:
                    self._cell(number, case, contender)

    def _cell(self, number: int, case: Case, contender: Contender) -> None:
        key = (case.name, contender.name)
        row = self.rows.setdefault(key, Row(*key))
        left = self.deadline - time.monotonic()
        # What took longer than is left will again, and what failed will fail again.
        if left < row.process_seconds or left < 0 or (number and not row.of("forward")):
            return
        limits = Limits(
            memory=self.options.memory_gb * 1e9,
            seconds=self.options.cell_seconds,
            calls=self.options.calls,
            call_seconds=self.options.call_seconds,
        )
        outcome = run_cell(case, contender, self.folder, limits)
        self._take(row, outcome)
        stem = self.folder / outcome.stem
        compare(row, self.references[case.name], reference_rows(case), stem)
        print(f"round {number + 1}, {_summary(row)}", flush=True)

    def _take(self, row: Row, outcome: Outcome) -> None:
        row.rounds += 1
        row.process_seconds = outcome.seconds
        for name, line in outcome.done.items():
            row.operations.setdefault(name, Measured()).add(line)
        for name, reason in outcome.failed.items():
            measured = row.operations.setdefault(name, Measured())
            measured.failed = "" if measured.seconds else reason
        self.versions |= outcome.about.get("versions", {})
        if row.contender == OURS.name:
            self.about = self.about or outcome.about

    def document(self) -> dict:
        """All of it, for JSON."""
        return {
            "device": self.options.device_name or _device_name(self.about, self.host),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "host": self.host,
            "about": self.about,
            "versions": self.versions,
            "limits": {
                "memory_gb": self.options.memory_gb,
                "cell_seconds": self.options.cell_seconds,
            },
            "volumes": self.volumes,
            "rows": [asdict(row) for row in self.rows.values()],
            "shape": [asdict(figure) for figure in shape_figures(self.rows)],
        }


def _summary(row: Row) -> str:
    times = [
        f"{name} {measured.median:.3g} s" if measured.seconds else f"{name} none"
        for name, measured in row.operations.items()
    ]
    took = f"{row.process_seconds:.0f} s in all"
    return f"{row.case}, {row.contender}: {', '.join(times)} ({took})"


def _device_name(about: dict, machine: dict) -> str:
    """A file's name: the accelerator's kind, or the processor and its cores."""
    if about.get("platform", "cpu") == "cpu":
        words = f"cpu {machine['cpu']} {machine['cores']} cores"
    else:
        words = about["device"]
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The projector against its peers, side by side in one run."
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round")
    parser.add_argument(
        "--cases", nargs="+", choices=[*CASES, *QUICK_CASES], metavar="CASE",
        help=f"of {', '.join([*CASES, *QUICK_CASES])}",
    )  # fmt: skip
    parser.add_argument(
        "--contenders", nargs="+", choices=list(CONTENDERS), metavar="NAME",
        help=f"of {'; '.join(CONTENDERS)}",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, help="rounds over all cells (3)")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="folder")
    parser.add_argument("--device-name", help="name of the files written")
    parser.add_argument(
        "--minutes", type=float, default=22, help="begin no cell after these (22)"
    )
    parser.add_argument(
        "--memory-gb", type=float, default=13, help="a process may hold (13)"
    )
    parser.add_argument(
        "--cell-seconds", type=float, default=180, help="a process may take (180)"
    )
    parser.add_argument("--calls", type=int, default=10, help="timed, at most (10)")
    parser.add_argument(
        "--call-seconds", type=float, default=2, help="stop timing after these (2)"
    )
    options = parser.parse_args()
    options.cases = options.cases or list(QUICK_CASES if options.quick else CASES)
    options.repeats = options.repeats or (1 if options.quick else 3)
    options.contenders = options.contenders or [
        name
        for name, contender in CONTENDERS.items()
        if not options.quick or contender.is_ready_at_once
    ]
    return options


if __name__ == "__main__":
    main()
