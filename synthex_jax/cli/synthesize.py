"""``synthex synthesize``: a labelled data set of one of the three tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from rich.console import Console

    from synthex_jax.cli.specimens import Specimens
    from synthex_jax.synthesis.recipe import Recipe
    from synthex_jax.synthesis.writer import Report

_DEFAULT_SIZES = "hip 360, tool 480, chest 224"
_PHANTOMS = 6


@dataclass(frozen=True)
class Synthesize:
    """Make a data set of labelled X-ray images; the same command again completes it."""

    task: Annotated[
        tyro.conf.Positional[Literal["hip", "tool", "chest"]],
        tyro.conf.arg(
            help="hip: bones, landmarks; tool: continuum manipulator; chest: lesions."
        ),
    ]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the data set: new, empty, or of this very data set."""
    num: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """Images."""
    seed: int = 0
    """Of everything random; another seed, other images."""
    volumes: Path | None = None
    """Folder of CTs: NAME.nii.gz with NAME.labels.nii.gz and NAME.landmarks.fcsv (or
    .mrk.json, .csv) beside. Without it, phantoms."""
    phantoms: int = _PHANTOMS
    """Number of made-up patients where there are no --volumes."""
    spacing: float = 2.0
    """Mm a voxel that bodies are resampled to, or made at."""
    size: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="PIXELS", help_behavior_hint=f"(default: {_DEFAULT_SIZES})"
        ),
    ] = None
    """Pixels a side of the images."""
    tier: Literal["naive", "heuristic", "realistic"] = "realistic"
    """How images are made; see "synthex render --help"."""
    kvp: float = 90.0
    """Peak tube voltage, realistic tier."""
    no_scatter: bool = False
    """Leave scattered photons out, realistic tier."""
    quanta: float = 500.0
    """A pixel behind the body: what automatic exposure aims at, and so the noise,
    realistic tier."""
    views: Literal["paper", "clinical"] = "paper"
    """Poses: those of the SyntheX paper, or spread as in the clinic (hip only)."""
    image: Literal["attenuation", "gray", "readings"] = "attenuation"
    """What is kept: line integrals in steps of 2^-12, 8-bit gray values as on a
    workstation, or the detector's readings."""
    batch: int = 8
    """Images computed together."""
    shard_size: int = 64
    """Images a file, a multiple of --batch."""
    shard: Annotated[str | None, tyro.conf.arg(metavar="I/N")] = None
    """Make part I of N only (0/4, 1/4, ...): each on a process or machine of its own,
    into one folder."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> None:
        """Make what is missing, and say where it is."""
        from rich.console import Console

        part, recipe = self._part(), self._recipe()
        console = Console(stderr=True)
        with console.status("reading the specimens") as status:
            specimens = self._specimens(status.update)
        recipe = _anchored(recipe, specimens)
        report = self._written(console, recipe, specimens, part)
        shape = f"{recipe.carm.shape[0]} x {recipe.carm.shape[1]}"
        if report.made:
            print(
                f"{report.made} images of {shape} pixels made in "
                f"{report.seconds:.0f} s "
                f"({report.rate:.2f} a second, compilation included), "
                f"{report.bytes_per_example / 1e3:.0f} kB each; "
                f"the device waited {report.waited:.1f} s for the disk"
            )
        if report.kept:
            print(f"{report.kept} images were there")
        if report.left:
            print(f"{report.left} images are left to the other parts")
            return
        print(f"{self.out}: {self.num} images, complete")
        print(self._preview())

    def _part(self) -> tuple[int, int] | None:
        from synthex_jax.checks import require

        if self.shard is None:
            return None
        which, _, count = self.shard.partition("/")
        fits = which.isdecimal() and count.isdecimal() and int(which) < int(count)
        require(
            fits,
            f"--shard must be I/N with I from 0 to N - 1, as 0/4, got {self.shard!r}",
        )
        return int(which), int(count)

    def _recipe(self) -> Recipe:
        from synthex_jax.checks import require
        from synthex_jax.sampling import named
        from synthex_jax.scatter.kernel import KernelScatter
        from synthex_jax.simulation import heuristic, naive, realistic
        from synthex_jax.synthesis import recipes
        from synthex_jax.synthesis.intensities import Attenuation, Gray, Readings

        require(self.num >= 1, f"--num must be at least 1, got {self.num}")
        require(
            self.size is None or self.size >= 16,
            f"--size must be at least 16 pixels, got {self.size}",
        )
        require(
            0.2 <= self.spacing <= 10.0,
            f"--spacing must be from 0.2 to 10 mm, got {self.spacing}",
        )
        require(
            self.phantoms >= 1, f"--phantoms must be 1 or more, got {self.phantoms}"
        )
        require(
            self.views == "paper" or self.task == "hip",
            f"--views {self.views} is for the hip task, not for {self.task}",
        )
        is_realistic = self.tier == "realistic"
        simulation = (
            realistic(self.kvp, scatter=None if self.no_scatter else KernelScatter())
            if is_realistic
            else {"naive": naive, "heuristic": heuristic}[self.tier]()
        )
        options = {
            "simulation": simulation,
            "quanta": self.quanta if is_realistic else None,
            "intensities": {
                "attenuation": Attenuation(),
                "gray": Gray(),
                "readings": Readings(),
            }[self.image],
        }
        if self.size is not None:
            options["size"] = self.size
        if self.views == "clinical":
            options["views"] = named.clinical_hip_views()
        return getattr(recipes, self.task)(**options)

    def _specimens(self, told) -> Specimens:
        from synthex_jax.cli import specimens

        options = {"spacing": self.spacing, "seed": self.seed, "told": told}
        if self.volumes is not None:
            return specimens.from_folder(self.task, self.volumes, **options)
        return specimens.from_phantoms(self.task, self.phantoms, **options)

    def _written(
        self,
        console: Console,
        recipe: Recipe,
        specimens: Specimens,
        part: tuple[int, int] | None,
    ) -> Report:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
        )

        from synthex_jax.synthesis.source import SceneSource
        from synthex_jax.synthesis.writer import synthesize

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        source = SceneSource.create(recipe, specimens)
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("compiling", total=self.num, pace="")
            return synthesize(
                source,
                self.out,
                num=self.num,
                seed=self.seed,
                batch=self.batch,
                shard=self.shard_size,
                part=part,
                progress=lambda now: progress.update(
                    bar,
                    description="images",
                    completed=now.done,
                    total=now.total,
                    pace=f"{now.rate:.2f} a second, {_duration(now.remaining)} left",
                ),
            )

    def _preview(self) -> Path:
        """A sheet of the first images with their labels."""
        from synthex_jax.cli.preview import write_preview
        from synthex_jax.synthesis.reader import Dataset

        return write_preview(Dataset.open(self.out), self.out / "preview.png")


def _anchored(recipe: Recipe, specimens: Specimens) -> Recipe:
    """The recipe, about the middle of CTs that lack the landmarks it is about."""
    from dataclasses import replace

    names = [s.landmarks.names if s.landmarks else () for s in specimens.values()]
    if all(set(recipe.anchor) <= set(found) for found in names):
        return recipe
    print(
        f"views are about the middle of the CTs, since not all have the landmarks "
        f"{', '.join(recipe.anchor)}"
    )
    return replace(recipe, anchor=())


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
