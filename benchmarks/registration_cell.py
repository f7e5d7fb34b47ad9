"""One contender on many problems, in a process of its own: ``... SPEC.json``.

Writes a JSON line a problem; those of an earlier run that are there already are kept.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from registration_problems import (
    Problem,
    Settings,
    Target,
    load_problem,
)


class Contender(Protocol):
    """A library with its recipe.

    Attributes:
        about: device and versions.
    """

    about: dict

    def compilations(self) -> int:
        """Programs compiled so far in this process."""
        ...

    def render(self, problem: Problem) -> np.ndarray:
        """(n, n), line integrals of the problem's body at its start."""
        ...

    def register(self, problem: Problem) -> Any:
        """The pose, when it is there."""
        ...

    def line(self, problem: Problem, found: Any) -> dict:
        """``world_from_camera`` and what else of it goes into the results' file."""
        ...


def main(spec_path: str) -> None:
    """All problems that are not done yet, line by line."""
    spec = json.loads(Path(spec_path).read_text())
    folder = Path(spec["folder"])
    settings = Settings(
        **spec["settings"] | {"basis": tuple(spec["settings"]["basis"])}
    )
    module = importlib.import_module(spec["module"])
    contender: Contender = module.build(spec["contender"], folder, settings, spec)
    lines = Path(spec["lines"])
    with lines.open("a", buffering=1) as file:
        file.write(json.dumps({"about": contender.about}) + "\n")

        def load(ct: str, number: int, level: str) -> Problem:
            target = Target(ct, number, spec["seed"])
            return load_problem(folder, target, level, settings)

        np.save(spec["check"], contender.render(load(*spec["check_problem"])))
        for i, which in enumerate(spec["problems"]):
            problem = load(*which)
            line = measured(contender, problem)
            file.write(json.dumps(line) + "\n")
            what = line.get("failed") or f"{line['seconds']:.2f} s"
            print(
                f"  {i + 1}/{len(spec['problems'])} {problem.key}: {what}", flush=True
            )


def measured(contender: Contender, problem: Problem) -> dict:
    """A problem in whose course a program was compiled is done, and timed, again."""
    try:
        before = contender.compilations()
        seconds, cpu_seconds, found = timed(lambda: contender.register(problem))
        first = seconds
        if contender.compilations() > before:
            seconds, cpu_seconds, found = timed(lambda: contender.register(problem))
        line = contender.line(problem, found)
    except (ValueError, RuntimeError, FloatingPointError) as error:
        reason = " ".join(str(error).split())[:200]
        return {"key": problem.key, "failed": f"{type(error).__name__}: {reason}"}
    return {
        "key": problem.key,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "first_seconds": first,
        **line,
    }


def timed(operation: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, CPU seconds of all threads, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = operation()
    return time.perf_counter() - wall, time.process_time() - cpu, result


if __name__ == "__main__":
    main(sys.argv[1])
