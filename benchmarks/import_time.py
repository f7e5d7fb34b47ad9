"""What ``import synthex_jax`` costs beside ``import jax``, each in fresh interpreters.

    python benchmarks/import_time.py

The package loads its parts on first use, so it is measured bare and with the names
touched that a first radiograph needs. Prints medians (and least) and their ratios to
jax's; the package aims at under 1.5.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

_BASE = "import jax"
_STATEMENTS = {
    _BASE: _BASE,
    "import synthex_jax": "import synthex_jax",
    "import synthex_jax, and use it": "import synthex_jax as sx; "
    "sx.Volume, sx.Camera, sx.CArm, sx.line_integrals",
}
_PROGRAM = (
    "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
)


def main() -> None:
    """Take turns, so that all meet the same noise."""
    parser = argparse.ArgumentParser(description="Import times beside jax's.")
    parser.add_argument("--repeats", type=int, default=7, help="interpreters each (7)")
    repeats = parser.parse_args().repeats
    for statement in _STATEMENTS.values():
        import_seconds(statement)  # reads the files into the system's cache
    seconds: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    for number in range(repeats):
        for name in list(_STATEMENTS)[:: -1 if number % 2 else 1]:
            seconds[name].append(import_seconds(_STATEMENTS[name]))
    base = statistics.median(seconds[_BASE])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        ratio = f"{middle / base:.2f} of {_BASE}"
        print(f"{name}: {middle:.2f} s ({min(taken):.2f}), {ratio}")
    print("target: under 1.5")


def import_seconds(statement: str) -> float:
    """Seconds that a statement takes in an interpreter of its own."""
    program = _PROGRAM.format(statement)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


if __name__ == "__main__":
    main()
