"""``synthex check``: whether a data set is whole, byte by byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Check:
    """Compare every file of a data set with what was recorded when it was written."""

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
    """Folder of the data set."""
    forget: bool = False
    """Forget what is damaged, so that the command that made the data set remakes it."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> None:
        """Read everything and say what was found.

        Raises:
            ValueError: for a data set that is not whole.
        """
        from rich.console import Console

        from synthex_jax.synthesis.records import forget
        from synthex_jax.synthesis.verify import verify

        console = Console(stderr=True)
        with console.status(f"reading {self.data}") as status:
            verdict = verify(
                self.data,
                progress=lambda done, of: status.update(f"read {done} of {of} shards"),
            )
        for path, fault in verdict.damaged.items():
            print(f"{path} {fault}")
        for path in verdict.unknown:
            print(f"{path} is not of the data set")
        if verdict.missing:
            print(f"{len(verdict.missing)} of {verdict.items} shards are missing")
        if verdict.is_whole:
            print(f"{self.data}: {verdict.items} shards, all whole")
            return
        if self.forget:
            forget(self.data, verdict.damaged_items)
            remedy = "run the command that made it again"
        elif verdict.damaged:
            remedy = "synthex check --forget, then run the command that made it again"
        else:
            remedy = "run the command that made it again"
        raise ValueError(f"{self.data} is not whole; {remedy}")
