"""Pictures on disk, and the gray values that real numbers become in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt

from synthex_jax.checks import require
from synthex_jax.files import existing
from synthex_jax.synthesis.examples import Examples, finite, numbered


@dataclass(frozen=True)
class GrayScale:
    """How the values of a whole data set become gray: value = offset + step * gray.

    Attributes:
        offset: value of gray 0.
        step: value of one gray level, above 0.
        bits: 8 or 16.
    """

    offset: float
    step: float
    bits: int

    @classmethod
    def create(
        cls, examples: Examples, *, window: tuple[float, float] | None, bits: int
    ) -> GrayScale:
        """One scale for all images.

        Args:
            examples: whose images are to be written.
            window: values of black and of white; what lies outside is cut off. None
                keeps integers that fit as they are, and otherwise takes the least and
                the greatest value of all images, for which it reads each one.
            bits: at most, 8 or 16.

        Raises:
            ValueError: for a window that does not rise, or images that are not finite.
        """
        if window is None:
            dtype = np.asarray(examples[0]["image"]).dtype
            if dtype.kind == "u" and 8 * dtype.itemsize <= bits:
                return cls(0.0, 1.0, 8 * dtype.itemsize)
            window = _extremes(examples)
        low, high = map(float, window)
        require(
            np.isfinite([low, high]).all() and low < high,
            f"window must be two finite values that rise, got {window}",
        )
        return cls(low, (high - low) / (2**bits - 1), bits)

    def gray(self, image: Shaped[np.ndarray, "rows cols"]) -> UInt[np.ndarray, "..."]:
        """(rows, cols), uint8 or uint16."""
        levels = np.rint((np.asarray(image, np.float64) - self.offset) / self.step)
        dtype = np.uint8 if self.bits == 8 else np.uint16
        return np.clip(levels, 0, 2**self.bits - 1).astype(dtype)

    def described(self) -> dict[str, Any]:
        """JSON, with the way back."""
        return {
            "bits": self.bits,
            "offset": self.offset,
            "step": self.step,
            "rule": "value = offset + step * gray",
        }


def write_picture(path: Path, image: Shaped[np.ndarray, "rows cols"]) -> None:
    """PNG or TIFF by the suffix: 8 or 16 bits; TIFF also float32 and 32 bits."""
    from PIL import Image

    # Zlib's level 3 takes a third to a half of the time of the usual 6, and a few
    # percent more room, for 16-bit radiographs and 8-bit ones; TIFF has no use for it.
    Image.fromarray(image).save(path, compress_level=3)


def read_picture(path: Path) -> Shaped[np.ndarray, "rows cols"]:
    """The gray picture at a path, with the file's own type of numbers.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for a file that is no picture, cut short, or in color.
    """
    from PIL import Image

    path = existing(path, "a picture (PNG, TIFF)")
    try:
        with Image.open(path) as picture:
            image = np.array(picture)
    except (OSError, SyntaxError) as error:  # what Pillow raises for broken files
        raise ValueError(
            f"{path} cannot be read as a picture ({error}); is it another format, or "
            "cut short?"
        ) from error
    require(
        image.ndim == 2,
        f"{path} must be a gray picture, it has the shape {image.shape}; convert it "
        "first (Pillow's image.convert('L'))",
    )
    return image


def _extremes(examples: Examples) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for index, example in numbered(examples):
        image = finite(example, "image", index)
        low, high = min(low, float(image.min())), max(high, float(image.max()))
    return (low, high) if low < high else (low, low + 1)
