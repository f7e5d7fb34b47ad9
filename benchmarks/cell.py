"""One contender on one case, in a process of its own: ``python cell.py SPEC.json``.

Writes a JSON line before and after each operation, so that what was measured survives
when the process is stopped for its memory or its time.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cases import CASES, QUICK_CASES
from contenders import CONTENDERS, Bench

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def main(spec_path: str) -> None:
    """Build, then run each operation, reporting line by line."""
    spec = json.loads(Path(spec_path).read_text())
    folder = Path(spec["folder"])
    case = (CASES | QUICK_CASES)[spec["case"]]
    data = np.load(folder / f"{case.volume}.npy", mmap_mode="r")
    affine = np.load(folder / f"{case.volume}-affine.npy")
    with Path(spec["lines"]).open("a", buffering=1) as lines:

        def report(**line: object) -> None:
            lines.write(json.dumps(line) + "\n")

        contender = CONTENDERS[spec["contender"]]
        bench = contender.build(case, data, affine)
        report(event="built", about=bench.about)
        built = resident_bytes()
        for name in case.operations:
            report(event="begun", operation=name)
            try:
                line, result = measure(bench, name, contender.compiled, spec)
            except Exception as error:
                message = " ".join(str(error).split())[:300]
                report(event="failed", operation=name, error=message)
                continue
            if line["peak_bytes"] is None:
                line["peak_bytes"] = peak_resident_bytes() - built
            report(event="done", operation=name, **line)
            if name in ("forward", "value_and_gradient"):
                save(folder / f"{spec['stem']}-{name}.npy", name, result)


def measure(bench: Bench, name: str, compiled: bool, spec: dict) -> tuple[dict, object]:
    """A first call, then calls until the time or their number is spent.

    A first call without compilation that alone takes longer than that counts too. One
    more call warms up what compiles, for torch compiles some things on the second.
    """
    operation = bench.operations[name]
    reset_peak()
    bench.reset_device_memory()
    first, first_cpu, result = timed(operation)
    seconds, cpu_seconds = [first], [first_cpu]
    if compiled or first < spec["seconds"]:
        seconds, cpu_seconds = [], []
        if compiled:
            timed(operation)
    while not seconds or (
        len(seconds) < spec["calls"] and sum(seconds) < spec["seconds"]
    ):
        wall, cpu, result = timed(operation)
        seconds.append(wall)
        cpu_seconds.append(cpu)
    line = {
        "first": first,
        "seconds": seconds,
        "cpu_seconds": statistics.median(cpu_seconds),
        "peak_bytes": bench.device_memory(),
    }
    return line, result


def timed(operation: Callable[[], object]) -> tuple[float, float, object]:
    """Wall seconds, CPU seconds of all threads, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = operation()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def save(path: Path, name: str, result: object) -> None:
    """Keep what the libraries are compared by: images, and gradients in the twists."""
    kept = result if name == "forward" else result[1]  # pyright: ignore
    kept = kept.cpu() if hasattr(kept, "cpu") else kept  # pyright: ignore
    np.save(path, np.asarray(kept, dtype=np.float64))


def resident_bytes() -> int:
    """What the process holds now (Linux) or held at most (elsewhere)."""
    return _status("VmRSS") if _STATUS.exists() else peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most the process held since ``reset_peak`` (Linux) or its start."""
    if _STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak() -> None:
    """Start a new peak where the kernel can (Linux: 5 into clear_refs, proc(5))."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _status(field: str) -> int:
    line = next(row for row in _STATUS.read_text().splitlines() if field in row)
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1])
