"""Animations: a GIF of images, as over a sweep of views."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from synthex_jax.checks import require, require_positive
from synthex_jax.files import written_whole
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.display import Window, robust_window, to_uint8


def sweep(
    path: str | Path,
    images: Iterable[ArrayLike],
    *,
    frames_per_second: float = 12.0,
    there_and_back: bool = True,
    window: Window | None = None,
    invert: bool = False,
) -> Path:
    """An animated GIF of images of one size, which appears whole or not at all.

    Args:
        path: ends in ``.gif``.
        images: each (rows, cols), or (rows, cols, 3) colors from ``overlay`` or
            ``signed``; a generator is read once, so that the views may be rendered as
            they are written.
        frames_per_second: GIF counts in hundredths of a second, rounded here.
        there_and_back: append the frames in reverse, so that the loop has no jump.
        window: of all gray frames; by default the robust window of the first.
        invert: bone black, of gray frames.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, no images, or sizes that differ.

    Example:
        >>> import numpy as np, tempfile
        >>> ramp = np.linspace(0, 1, 64).reshape(8, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sweep(folder + "/turn.gif", (ramp * a for a in (1, 2, 3))).name
        'turn.gif'
    """
    path = Path(path)
    require(path.suffix == ".gif", f"path must end in .gif, got {path.name!r}")
    require_positive("frames_per_second", frames_per_second)
    frames = []
    for image in images:
        pixels = np.asarray(image)
        if pixels.ndim != 3 or pixels.dtype != np.uint8:
            window = window or robust_window(pixels)
            pixels = to_uint8(pixels, window=window, invert=invert)
        frames.append(Image.fromarray(pixels))
        require(
            frames[-1].size == frames[0].size,
            f"images must be of one size, got {frames[0].size[::-1]} and "
            f"{frames[-1].size[::-1]}",
        )
    require(len(frames) > 0, "images must hold at least one image, got none")
    if there_and_back:
        frames += frames[-2:0:-1]
    with written_whole(path) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(100 / frames_per_second) * 10,
            loop=0,
        )
    return path
