"""``synthex demo``: what the library does, on bodies it makes itself."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from synthex_jax.cli.stage import Row


@dataclass(frozen=True)
class Demo:
    """Make radiographs, gradients and a registration of the built-in phantoms."""

    out: Path = Path("synthex_demo")
    """Folder for the pictures and tables; made where it is not there."""
    size: int = 256
    """Pixels a side of the radiographs; the gradients take half of it."""
    spacing: float = 2.5
    """Mm a voxel of the phantoms."""
    seed: int = 0
    """Of the phantoms: another seed, another patient."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> None:
        """Go through the steps, write the table and name everything written."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from synthex_jax.checks import require
        from synthex_jax.cli.demo_steps import STEPS
        from synthex_jax.cli.stage import Stage

        require(self.size >= 32, f"--size must be at least 32, got {self.size}")
        require(
            1.0 <= self.spacing <= 10.0,
            f"--spacing must be from 1 to 10 mm, got {self.spacing}",
        )
        self.out.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        files, rows = [], []
        console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("the phantoms", total=len(STEPS) + 1)
            stage = Stage.build(self.out, self.size, self.spacing, self.seed)
            progress.advance(bar)
            for step in STEPS:
                progress.update(bar, description=step.title)
                outcome = step.run(stage)
                files += outcome.files
                rows += outcome.rows
                progress.advance(bar)
                progress.print(f"[green]done[/] {step.title}")
        files.append(_write_table(self.out / "table.csv", rows))
        _print_table(console, rows)
        console.print(f"\n{time.perf_counter() - began:.0f} seconds. Written:")
        for path in files:
            console.print(f"  {path}", highlight=False, soft_wrap=True)


def _write_table(path: Path, rows: Sequence[Row]) -> Path:
    from synthex_jax.files import written_whole

    with (
        written_whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("what", "value", "unit"))
        writer.writerows((row.what, f"{row.value:.6g}", row.unit) for row in rows)
    return path


def _print_table(console: Console, rows: Sequence[Row]) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for row in rows:
        table.add_row(row.what, f"{row.value:.3g}", row.unit)
    console.print(table)
