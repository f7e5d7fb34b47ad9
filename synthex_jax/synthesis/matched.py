"""DeepFluoro's X-rays prepared as networks take them, with the cameras to match.

The steps of Grupp et al. (2020): the border, which shows the collimator, is cut off;
readings become attenuation; patients are turned head up; pixels are averaged.

    file = FullResolution.open("ipcai_2020_full_res_data.h5")
    for view in matched_views(file, ds_factor=4):
        render(scenes[view.specimen], view.camera)    # fits the prepared image
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from synthex_jax.annotations.structures import HIP_STRUCTURES
from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.numerics import product
from synthex_jax.phantoms.anatomy import HIP_LANDMARKS
from synthex_jax.processing import log_image
from synthex_jax.synthesis.deepfluoro import FullResolution, Projection
from synthex_jax.synthesis.examples import Example, in_image, position
from synthex_jax.typing import ArrayLike, Image, Shape2

# Pixels a side (Grupp et al. 2020, appendix A.3).
_BORDER = 50
# Readings are kept above the largest over this: a step of a 16-bit detector.
_STEPS = 65535


@dataclass(frozen=True)
class Preparation:
    """What is done to an X-ray of a given size, and to all that belongs to it.

    Attributes:
        shape: (rows, cols) before.
        ds_factor: how many pixels, along rows and columns, become one; about, since
            the result has an even number of them: 180, 360 and 480 for the factors 8,
            4 and 3 of the published sets.
        upside_down: whether it is turned by half a turn.
        border: pixels cut off at each side.
    """

    shape: Shape2
    ds_factor: int
    upside_down: bool = False
    border: int = _BORDER

    @classmethod
    def of(cls, projection: Projection, ds_factor: int) -> Preparation:
        """That of an X-ray of the full-resolution file.

        Raises:
            ValueError: for a factor below 1, an image that is all border.
        """
        shape = projection.cameras["pelvis"].shape
        require(ds_factor >= 1, f"ds_factor must be at least 1, got {ds_factor}")
        require(
            min(shape) > 2 * _BORDER,
            f"the image must have more than {2 * _BORDER} pixels a side, which are cut "
            f"off, it has {shape}",
        )
        return cls(shape, ds_factor, projection.upside_down)

    @property
    def inner_shape(self) -> Shape2:
        """(rows, cols) without the border."""
        return self.shape[0] - 2 * self.border, self.shape[1] - 2 * self.border

    @property
    def final_shape(self) -> Shape2:
        """(rows, cols) after: the even numbers that are nearest from above."""
        rows, cols = (2 * -(-n // (2 * self.ds_factor)) for n in self.inner_shape)
        return rows, cols

    def image(self, readings: ArrayLike) -> Image:
        """Attenuation, bone bright, from readings of the detector.

        The logarithm is of the largest reading over each, since the file does not hold
        the reading of the open field.

        Args:
            readings: (rows, cols), 0 or above in any unit.

        Raises:
            ValueError: for readings of another shape, or without one above 0.
        """
        readings = np.asarray(readings)
        require(
            readings.shape == self.shape,
            f"readings must have shape {self.shape}, got {readings.shape}",
        )
        inner = jnp.asarray(self._inner(readings), float)
        require(bool(jnp.max(inner) > 0), "readings must be above 0 somewhere")
        return _prepared(inner, self.upside_down, self.final_shape)

    def mask(self, mask: UInt8[np.ndarray, "rows cols"]) -> UInt8[np.ndarray, "r c"]:
        """The label at the center of each new pixel."""
        inner = self._inner(mask)
        inner = inner[::-1, ::-1] if self.upside_down else inner
        at = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for old, new in zip(self.inner_shape, self.final_shape, strict=True)
        )
        return inner[np.ix_(*at)]

    def pixels(
        self, pixels: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Where (row, column) come to lie; pixel edges stay together."""
        if self.upside_down:
            pixels = np.asarray(self.shape) - 1 - pixels
        scale = np.divide(self.final_shape, self.inner_shape)
        return (pixels - self.border + 0.5) * scale - 0.5

    def camera(self, camera: Camera) -> Camera:
        """The camera of the prepared image."""
        if self.upside_down:
            half_turn = RigidTransform.from_rotation(np.diag([-1.0, -1.0, 1.0]))
            camera = replace(
                camera,
                world_from_camera=camera.world_from_camera @ half_turn,
                principal_point=jnp.asarray(self.shape) - 1 - camera.principal_point,
            )
        inner = camera.cropped((self.border, self.border), self.inner_shape)
        return inner.resized(self.final_shape)

    def _inner(self, image: np.ndarray) -> np.ndarray:
        (rows, cols), edge = self.inner_shape, self.border
        return image[edge : edge + rows, edge : edge + cols]


@dataclass(frozen=True)
class View:
    """An X-ray and the camera of its prepared image.

    Attributes:
        specimen: name of the specimen's group in the file.
        index: of the view among all of the file.
        camera: by which the CT projects onto the prepared image.
        projection: the X-ray itself.
    """

    specimen: str
    index: int
    camera: Camera
    projection: Projection


def matched(projection: Projection, ds_factor: int) -> Camera:
    """The camera of the prepared image, by the registration of the pelvis.

    Raises:
        ValueError: as ``Preparation.of``.
    """
    preparation = Preparation.of(projection, ds_factor)
    return preparation.camera(projection.cameras["pelvis"])


def matched_views(file: FullResolution, ds_factor: int) -> Iterator[View]:
    """Every X-ray of the file with its camera, specimen by specimen, without pixels."""
    index = 0
    for specimen, projections in file.projections.items():
        for name in projections:
            projection = file.projection(specimen, name)
            yield View(specimen, index, matched(projection, ds_factor), projection)
            index += 1


@dataclass(frozen=True)
class MatchedViews:
    """The prepared X-rays as examples, numbered as ``matched_views`` numbers them.

    An example holds ``image`` (float32, bone bright), ``mask``, ``landmarks``,
    ``visible``, its camera (``intrinsics``, ``camera_from_world``,
    ``source_to_detector``, ``pitch``) and ``specimen``, as the source sees it.

    Attributes:
        file: the full-resolution file.
        ds_factor: see ``Preparation``.
    """

    file: FullResolution
    ds_factor: int

    @classmethod
    def open(cls, path: str | Path, *, ds_factor: int = 4) -> MatchedViews:
        """From the path of the full-resolution file; see ``FullResolution.open``."""
        require(ds_factor >= 1, f"ds_factor must be at least 1, got {ds_factor}")
        return cls(FullResolution.open(path), ds_factor)

    @property
    def attributes(self) -> dict[str, Any]:
        """Names of landmarks, structures and specimens, and where it all is from."""
        return {
            "landmark_names": list(HIP_LANDMARKS),
            "structure_names": list(HIP_STRUCTURES.names),
            "specimen_names": list(self.file.projections),
            "source": "DeepFluoro, doi:10.7281/T1/IFSXNV",
            "license": "CC BY-NC 4.0",
        }

    def __len__(self) -> int:
        return sum(map(len, self.file.projections.values()))

    def __getitem__(self, index: int) -> Example:
        specimen, name = self._members[position(index, len(self))]
        projection = self.file.projection(specimen, name)
        preparation = Preparation.of(projection, self.ds_factor)
        camera = matched(projection, self.ds_factor)
        missing = [name for name in HIP_LANDMARKS if name not in projection.landmarks]
        require(
            not missing,
            f"{self.file.path}: projection {name} of {specimen} lacks the landmarks "
            f"{missing}",
        )
        landmarks = np.stack([projection.landmarks[name] for name in HIP_LANDMARKS])
        landmarks = preparation.pixels(landmarks)
        numbers = {
            "landmarks": landmarks,
            "intrinsics": camera.K,
            "camera_from_world": camera.camera_from_world.matrix,
            "source_to_detector": camera.source_to_detector,
            "pitch": camera.pitch,
            "image": preparation.image(projection.image()),
        }
        return {
            **{key: np.asarray(value, np.float32) for key, value in numbers.items()},
            "mask": preparation.mask(projection.mask()),
            "visible": in_image(landmarks, camera.shape),
            "specimen": np.asarray(list(self.file.projections).index(specimen), "i4"),
        }

    @property
    def _members(self) -> list[tuple[str, str]]:
        return [(s, name) for s, all_ in self.file.projections.items() for name in all_]


@partial(jax.jit, static_argnames=("upside_down", "shape"))
def _prepared(
    inner: Image, upside_down: bool, shape: Shape2
) -> Float[Array, "new_rows new_cols"]:
    brightest = jnp.max(inner)
    flat = jnp.broadcast_to(brightest, inner.shape)
    image = log_image(inner, flat, floor=brightest / _STEPS)
    image = image[::-1, ::-1] if upside_down else image
    down, across = (
        jnp.asarray(_area_weights(old, new), image.dtype)
        for old, new in zip(image.shape, shape, strict=True)
    )
    return product(product(down, image), across.T)


def _area_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Share of each old pixel in the mean of each new one, by overlap."""
    edges = np.arange(new + 1)[:, None] * old / new
    pixel = np.arange(old)
    overlap = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
    return np.maximum(overlap, 0) * new / old
