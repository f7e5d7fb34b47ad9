"""Files that appear whole or not at all, and errors that name them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthex_jax.checks import require

# What ``written_whole`` names a file that is not finished.
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}-.+")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, moved onto it when the block ends well.

    A reader sees the old file or the whole new one; after an error or an
    interruption the old one is still there and the temporary file is gone. The
    temporary name ends as the final one does, for writers that go by the suffix.

        with written_whole("xray.npy") as temporary:
            np.save(temporary, image)

    Raises:
        FileNotFoundError: if the folder of ``path`` does not exist.
        ValueError: if ``path`` is there and is no regular file.
    """
    # Resolved, so that a link keeps pointing at the file that is replaced.
    final = Path(os.path.realpath(path))
    if not final.parent.is_dir():
        raise FileNotFoundError(
            f"path must lie in a folder that exists, {final.parent} does not; "
            "create it first"
        )
    require(
        final.is_file() or not final.exists(),
        f"path must be a file that may be replaced, {path} is a folder or a device",
    )
    temporary = final.with_name(f".{secrets.token_hex(4)}-{final.name}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file's name is that of one ``written_whole`` had not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def existing(path: str | Path, what: str) -> Path:
    """The path, if there is something at it.

    Args:
        path: file or folder.
        what: what the caller wants there, for the error.

    Raises:
        FileNotFoundError: that names the path and, if it is relative, the folder.
    """
    found = Path(path).expanduser()
    if not found.exists():
        where = "" if found.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"{path} does not exist{where}; give the path of {what}"
        )
    return found


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the path before the message of every ``ValueError`` of the block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _flush_to_disk(path: Path) -> None:
    """Have the contents on the disk before the name, or a crash leaves it empty."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
