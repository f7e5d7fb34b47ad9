"""What was measured, in a form that JSON and the tables share."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# Why there are no numbers of an operation that was never begun.
NOT_RUN = "not run"


@dataclass
class Measured:
    """One operation of one contender on one case, all rounds together.

    Attributes:
        seconds: wall time of each call.
        cpu_seconds: CPU time a call, all threads, the median of each round.
        first: wall time of the first call in the first round, compilation included.
        peak_bytes: the most memory above the built volume in any round.
        failed: why there are no numbers, or empty.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    first: float = 0.0
    peak_bytes: int = 0
    failed: str = ""

    def add(self, line: dict) -> None:
        """Take in a round's numbers."""
        self.first = self.first or line["first"]
        self.seconds += line["seconds"]
        self.cpu_seconds.append(line["cpu_seconds"])
        self.peak_bytes = max(self.peak_bytes, line["peak_bytes"])
        self.failed = ""

    @property
    def median(self) -> float:
        """Wall seconds a call."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """Wall seconds of the fastest call."""
        return min(self.seconds)

    @property
    def cpu(self) -> float:
        """CPU seconds a call, all threads."""
        return statistics.median(self.cpu_seconds)

    @property
    def compilation(self) -> float:
        """Seconds that the first call took beyond a later one."""
        return max(self.first - self.median, 0.0)


@dataclass
class Row:
    """One contender on one case.

    Attributes:
        case: the case's name.
        contender: the contender's name.
        operations: what was measured, by operation.
        image_error: largest error of the last view over the reference's maximum.
        gradient: (6,) of the last view's loss in its twist.
        rounds: processes that were run.
        process_seconds: how long the last of them took.
    """

    case: str
    contender: str
    operations: dict[str, Measured] = field(default_factory=dict)
    image_error: float | None = None
    gradient: list[float] | None = None
    rounds: int = 0
    process_seconds: float = 0.0

    def of(self, operation: str) -> Measured | None:
        """The operation's numbers if it has any."""
        measured = self.operations.get(operation)
        return measured if measured is not None and measured.seconds else None


Rows = dict[tuple[str, str], Row]


def compare(row: Row, reference: np.ndarray, kept_rows: np.ndarray, stem: Path) -> None:
    """Fill in the error and the gradient from the arrays that the cell saved."""
    image, gradient = (
        Path(f"{stem}-{name}.npy") for name in ("forward", "value_and_gradient")
    )
    if image.exists():
        off = np.abs(np.load(image)[-1][kept_rows] - reference).max()
        row.image_error = float(off / reference.max())
    if gradient.exists():
        row.gradient = np.load(gradient)[-1].tolist()


def gradient_distance(row: Row, other: Row | None) -> float | None:
    """Length of the difference of two gradients over the length of the other one."""
    if row.gradient is None or other is None or other.gradient is None:
        return None
    theirs = np.asarray(other.gradient)
    return float(np.linalg.norm(row.gradient - theirs) / np.linalg.norm(theirs))


def host() -> dict:
    """The machine, and how busy it was."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines: Iterable[str] = info.read_text().splitlines() if info.exists() else ()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
