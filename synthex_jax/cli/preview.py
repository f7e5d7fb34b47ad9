"""The preview sheet of a data set: its first images with their labels."""

from __future__ import annotations

from pathlib import Path

from synthex_jax.files import written_whole
from synthex_jax.synthesis.examples import Examples
from synthex_jax.viz.annotated import annotated

_COUNT = 12


def write_preview(examples: Examples, path: Path, *, count: int = _COUNT) -> Path:
    """Draw the sheet, at most ``count`` images, spread over the data set."""
    count = min(count, len(examples))
    indices = [i * len(examples) // count for i in range(count)]
    chosen = [examples[i] for i in indices]
    specimens = examples.attributes.get("specimen_names", [])
    titles = [
        f"{i}: {specimens[int(e['specimen'])]}" if "specimen" in e else str(i)
        for i, e in zip(indices, chosen, strict=True)
    ]
    for example in chosen:
        example.pop("boxes", None)
    figure = annotated(
        chosen,
        structure_names=examples.attributes.get("structure_names", ()),
        titles=titles,
        columns=4,
    )
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    return path
