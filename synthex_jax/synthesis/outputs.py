"""Folders that appear whole or not at all, and JSON and HDF5 in them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthex_jax.checks import require


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, moved to it when the block ends well.

    After an error the temporary folder is gone and ``path`` is as it was.

    Raises:
        FileNotFoundError: if the folder that ``path`` is to lie in does not exist.
        ValueError: if ``path`` is a file, or a folder that is not empty.
    """
    final = Path(os.path.realpath(Path(path).expanduser()))
    if not final.parent.is_dir():
        raise FileNotFoundError(
            f"out must lie in a folder that exists, {final.parent} does not; create it "
            "first"
        )
    require(
        not final.exists() or (final.is_dir() and not any(final.iterdir())),
        f"out must be a new or an empty folder, {path} is not; give another one, or "
        "remove it first",
    )
    temporary = final.with_name(f".{secrets.token_hex(4)}-{final.name}")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON; the numbers must be finite, as JSON's are."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")
