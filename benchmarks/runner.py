"""Runs cells in processes of their own, under a cap of memory and of time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cases import Case
from contenders import Contender
from results import NOT_RUN

_CELL = Path(__file__).with_name("cell.py")
# A process that fills memory at 5 GB/s gains 0.1 GB between two looks.
_LOOK_EVERY = 0.02  # seconds


@dataclass(frozen=True)
class Limits:
    """What a cell may use.

    Attributes:
        memory: bytes resident.
        seconds: from start to end.
        calls: timed calls an operation.
        call_seconds: stop timing an operation's calls when they add up to this.
    """

    memory: float
    seconds: float
    calls: int
    call_seconds: float


@dataclass
class Outcome:
    """What one run of one cell gave.

    Attributes:
        about: device, threads, versions; empty if nothing was built.
        done: per operation the measured numbers.
        failed: per operation why there are none.
        seconds: how long the process took.
        stem: how the names of the files begin that it left.
    """

    about: dict = field(default_factory=dict)
    done: dict[str, dict] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stem: str = ""


def run_cell(case: Case, contender: Contender, folder: Path, limits: Limits) -> Outcome:
    """Start the cell's process, watch it, and read what it wrote."""
    stem = f"{case.name}-{contender.name.replace(' ', '-')}"
    lines = folder / f"{stem}.jsonl"
    lines.unlink(missing_ok=True)
    spec = {
        "case": case.name,
        "contender": contender.name,
        "folder": str(folder),
        "stem": stem,
        "lines": str(lines),
        "calls": limits.calls,
        "seconds": limits.call_seconds,
    }
    spec_path = folder / f"{stem}.json"
    spec_path.write_text(json.dumps(spec))
    start = time.monotonic()
    stopped = _watched([str(_CELL), str(spec_path)], folder / f"{stem}.log", limits)
    outcome = _read(lines, case, stopped or _last_line(folder / f"{stem}.log"))
    outcome.seconds = time.monotonic() - start
    outcome.stem = stem
    return outcome


def _watched(arguments: list[str], log: Path, limits: Limits) -> str | None:
    """Run Python with these arguments; why it was stopped, or None."""
    # Compiled kernels go where the first round finds none and the end removes them.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(log.parent / "inductor")}
    deadline = time.monotonic() + limits.seconds
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if resident_bytes(process.pid) > limits.memory:
                    return f"over {limits.memory / 1e9:.0f} GB"
                if time.monotonic() > deadline:
                    return f"over {limits.seconds:.0f} s"
                time.sleep(_LOOK_EVERY)
        finally:
            _end(process)
    return None


def _end(process: subprocess.Popen) -> None:
    """Stop the process, if it still runs, and the compilers that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def resident_bytes(pid: int) -> int:
    """Memory that a process holds; 0 where there is no /proc to look it up."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _read(lines: Path, case: Case, reason: str) -> Outcome:
    """The operation that was under way takes the reason for which the process ended.

    Where there was none, since building the contender failed, all of them do.
    """
    outcome = Outcome()
    begun = ""
    for line in lines.read_text().splitlines() if lines.exists() else ():
        event = json.loads(line)
        match event.pop("event"):
            case "built":
                outcome.about = event["about"]
            case "begun":
                begun = event["operation"]
            case "done":
                outcome.done[event.pop("operation")] = event
            case "failed":
                outcome.failed[event["operation"]] = event["error"]
    for name in case.operations:
        if name not in outcome.done:
            under_way = name == begun or not begun
            outcome.failed.setdefault(name, reason if under_way else NOT_RUN)
    return outcome


def _last_line(log: Path) -> str:
    written = log.read_text().strip().splitlines()
    return written[-1][:300] if written else "ended without a word"
