"""``synthex export``: a data set in the layouts that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Export:
    """Write a data set as pictures and tables, COCO, or in SyntheX's own layouts."""

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
    """Folder of a data set that "synthex synthesize" made."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to: a new or empty folder; for hip-hdf5 a file."""
    layout: Literal["png", "tiff", "coco", "hip", "tool", "chest", "hip-hdf5"] = "png"
    """png, tiff: pictures and CSV tables. coco: COCO JSON. hip, tool, chest: the
    folders of SyntheX. hip-hdf5: its HDF5 file of the controlled study."""
    window: Annotated[
        tuple[float, float] | None,
        tyro.conf.arg(
            metavar="BLACK WHITE", help_behavior_hint="(default: the values' range)"
        ),
    ] = None
    """Values shown black and white, where pictures cannot hold the values."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> None:
        """Write, and name what was written.

        Raises:
            ValueError: for a data set that is unfinished or lacks what a layout needs.
        """
        from rich.console import Console

        from synthex_jax.synthesis.reader import Dataset

        dataset = Dataset.open(self.data)
        with Console(stderr=True).status(f"writing {len(dataset)} examples"):
            written = self._write(dataset)
        print(f"{written}: {len(dataset)} examples, {self.layout}")

    def _write(self, dataset) -> Path:
        from synthex_jax.synthesis import coco, export, folders, hdf5

        if self.layout == "hip-hdf5":
            hdf5.write_controlled_hip(dataset, self.out)
        elif self.layout == "coco":
            coco.export_coco(dataset, self.out, window=self.window)
        elif self.layout in ("png", "tiff"):
            export.export_images(
                dataset,
                self.out,
                format="png" if self.layout == "png" else "tiff",
                window=self.window,
            )
        else:
            layout = getattr(folders, self.layout.upper())
            folders.write_folder(dataset, self.out, layout, window=self.window)
        return self.out
