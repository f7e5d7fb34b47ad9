"""Affine transforms of the image plane, and what they do to points and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthex_jax.annotations.landmarks import in_image
from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.camera import Camera, checked_shape
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.numerics import away_from_zero, product, safe_norm
from synthex_jax.typing import ArrayLike, Pixels, Scalar, Shape2

# Area ratio below which a transform counts as flat; one that shrinks a radiograph of
# 3000 pixels to a single one has 1e-7.
_FLAT = 1e-9


@noun
@dataclass(frozen=True)
class Affine2:
    """An affine transform of images: where each pixel of the new image is taken from.

    All coordinates are (row, column) with pixel centers at integers. Name a transform
    for what happens to what is seen: ``rotate(0.1)`` turns the picture, ``scale(1.2)``
    makes it larger, ``crop((5, 5))`` moves it up and left. ``second @ first`` does the
    first one first.

    Attributes:
        input_from_output: (2, 3), input pixel from output pixel (row, column, 1).
        shape: (rows, cols) of the output, static.
        samples: static; an output pixel is the mean of samples x samples points spread
            evenly over it. 1 takes the point at its center, right unless the image
            shrinks by more than about a third; ``resize`` chooses the number itself,
            ``dataclasses.replace`` sets another.
    """

    input_from_output: Float[Array, "2 3"]
    shape: Shape2 = field(metadata={"static": True})
    samples: int = field(default=1, metadata={"static": True})

    @classmethod
    def create(cls, input_from_output: ArrayLike, shape: Shape2) -> Affine2:
        """From a matrix.

        Raises:
            ValueError: for a matrix that is not (2, 3), not finite or not invertible.
        """
        matrix = jnp.asarray(input_from_output, float)
        require_shape("input_from_output", matrix, (2, 3))
        require_finite("input_from_output", matrix)
        if is_concrete(matrix):
            area = abs(np.linalg.det(np.asarray(matrix, np.float64)[:, :2]))
            require(
                area > _FLAT,
                "input_from_output must be invertible, its left part is "
                f"{matrix[:, :2].tolist()}",
            )
        return cls(matrix, checked_shape(shape))

    @classmethod
    def identity(cls, shape: Shape2) -> Affine2:
        """The image as it is."""
        return cls.crop((0.0, 0.0), shape)

    @classmethod
    def crop(cls, top_left: ArrayLike, shape: Shape2) -> Affine2:
        """``image[r:r + rows, c:c + cols]`` for ``top_left = (r, c)``.

        Args:
            top_left: whole numbers copy pixels, others interpolate; the window may
                reach out of the image.
            shape: (rows, cols) of the window.
        """
        return cls._of(jnp.eye(2), jnp.asarray(top_left, float), shape)

    @classmethod
    def resize(cls, old: Shape2, new: Shape2) -> Affine2:
        """The same picture in another number of pixels, as ``Camera.resized``.

        Pixel edges, not centers, stay in place. Where it shrinks, a pixel is the mean
        over its area: exactly so by whole factors, else to interpolation's accuracy.

        Args:
            old: (rows, cols) of the input.
            new: (rows, cols) of the output.
        """
        ratio = np.divide(checked_shape(old), checked_shape(new))
        resized = cls._of(jnp.diag(jnp.asarray(ratio, float)), (ratio - 1) / 2, new)
        return replace(resized, samples=int(np.ceil(ratio.max())))

    @classmethod
    def flip(cls, shape: Shape2, axis: int = 1) -> Affine2:
        """The mirror image: left and right (axis 1), or top and bottom (axis 0)."""
        require(axis in (0, 1), f"axis must be 0 (rows) or 1 (columns), got {axis}")
        signs = np.ones(2)
        signs[axis] = -1.0
        return cls._centered(jnp.diag(jnp.asarray(signs, float)), shape)

    @classmethod
    def rotate(cls, angle: ArrayLike, shape: Shape2) -> Affine2:
        """Turned about the middle of the image, by radians from +x to +y.

        With rows downward that is clockwise.
        """
        angle = jnp.asarray(angle, float)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return cls._centered(_matrix(cos, -sin, sin, cos), shape)

    @classmethod
    def scale(cls, factor: ArrayLike, shape: Shape2) -> Affine2:
        """Larger by a factor about the middle of the image.

        Args:
            factor: one number or (down, across); above 1 magnifies.
            shape: (rows, cols).

        Raises:
            ValueError: for a factor that is not positive.
        """
        require_positive("factor", factor)
        inverse = 1 / jnp.broadcast_to(jnp.asarray(factor, float), (2,))
        return cls._centered(jnp.diag(inverse), shape)

    @classmethod
    def shear(cls, angles: ArrayLike, shape: Shape2) -> Affine2:
        """Sheared about the middle of the image.

        Args:
            angles: radians, (of columns, of rows): first every pixel moves across by
                tan(first) times its row, then down by tan(second) times its column.
            shape: (rows, cols).
        """
        across, down = jnp.tan(jnp.broadcast_to(jnp.asarray(angles, float), (2,)))
        one, zero = jnp.ones_like(down), jnp.zeros_like(down)
        undo_down = _matrix(one, -down, zero, one)
        undo_across = _matrix(one, zero, -across, one)
        return cls._centered(product(undo_across, undo_down), shape)

    @classmethod
    def translate(cls, offset: ArrayLike, shape: Shape2) -> Affine2:
        """Moved down and right by ``offset`` = (rows, columns) pixels."""
        return cls.crop(-jnp.asarray(offset, float), shape)

    @classmethod
    def _of(cls, linear: Array, offset: ArrayLike, shape: Shape2) -> Affine2:
        offset = jnp.asarray(offset, float)
        require_shape("the offset (row, column)", offset, (2,))
        return cls(jnp.column_stack([linear, offset]), checked_shape(shape))

    @classmethod
    def _centered(cls, linear: Array, shape: Shape2) -> Affine2:
        center = (np.asarray(checked_shape(shape)) - 1) / 2
        return cls._of(linear, jnp.zeros(2), shape).about(center)

    def about(self, center: ArrayLike) -> Affine2:
        """The same turn, scale, shear or flip with one pixel kept in place.

        Args:
            center: (row, column).
        """
        center = jnp.asarray(center, float)
        linear = self.input_from_output[:, :2]
        moved = self._of(linear, center - product(linear, center), self.shape)
        return replace(moved, samples=self.samples)

    def __matmul__(self, first: Affine2) -> Affine2:
        """This transform after another; the output has this one's shape."""
        linear, offset = jnp.split(first.input_from_output, [2], axis=1)
        matrix = product(linear, self.input_from_output)
        return Affine2(
            matrix.at[:, 2:].add(offset), self.shape, self.samples * first.samples
        )

    def inverse(self, shape: Shape2) -> Affine2:
        """The way back, to an image of the input's ``shape``."""
        return Affine2(self.output_from_input, checked_shape(shape))

    @property
    def output_from_input(self) -> Float[Array, "2 3"]:
        """Output pixel from input pixel (row, column, 1)."""
        (a, b, e), (c, d, f) = self.input_from_output
        area = away_from_zero(a * d - b * c, _FLAT)
        linear = _matrix(d, -b, -c, a) / area
        return jnp.column_stack([linear, -product(linear, jnp.stack([e, f]))])

    @property
    def is_mirrored(self) -> Bool[Array, ""]:
        """Whether what was seen is now seen in a mirror."""
        (a, b), (c, d) = self.input_from_output[:, :2]
        return a * d < b * c


def warp_points(points: Pixels, transform: Affine2) -> Pixels:
    """Where points of the input lie in the output.

    Args:
        points: (..., 2), (row, column) of the input.
        transform: of the image.

    Returns:
        (..., 2), (row, column) of the output; it may lie outside.
    """
    matrix = transform.output_from_input
    return product(points, matrix[:, :2].T) + matrix[:, 2]


def warp_visible(
    visible: Bool[Array, "*batch"],
    points: Float[Array, "*batch 2"],
    transform: Affine2,
) -> Bool[Array, "*batch"]:
    """Which points are still in the image.

    Args:
        visible: (...), which are in the input. What was not seen stays unseen.
        points: (..., 2), (row, column) of the input.
        transform: of the image.
    """
    return visible & in_image(warp_points(points, transform), transform.shape)


def warp_camera(camera: Camera, transform: Affine2) -> Camera:
    """The camera that takes the transformed image.

    Source and plane of the detector stay where they are: crops move the principal
    point, scales change the pitch, turns roll the camera about its axis, and the rest
    is skew. With $K$ the intrinsic matrix and $A$ the transform of (column, row, 1),
    $A K$ is split into an intrinsic matrix and a turn (RQ decomposition; Hartley &
    Zisserman 2004, section A4.1.1).

    Args:
        camera: of the input.
        transform: of the image; no mirror image. A traced one is not checked; if it
            is mirrored, the pitch along columns comes out negative.

    Raises:
        ValueError: for a mirror image. No camera takes one: it shows a patient whose
            left and right are exchanged.
    """
    require_no_mirror(transform)
    return _through(camera, transform)


def require_no_mirror(transform: Affine2) -> None:
    """Refuse a concrete transform that mirrors the image."""
    if is_concrete(transform):
        require(
            not bool(transform.is_mirrored),
            "transform must not mirror the image, no camera does; render a mirrored "
            "patient, or flip images without the fields of a camera",
        )


@jax.jit
def _through(camera: Camera, transform: Affine2) -> Camera:
    down, across = transform.output_from_input
    # In the order (column, row, 1) of the intrinsic matrix.
    a = jnp.stack([across[jnp.array([1, 0, 2])], down[jnp.array([1, 0, 2])]])
    (k_xx, k_xy, column), (k_yx, k_yy, row) = product(a, camera.K)
    focal_row = safe_norm(jnp.stack([k_yx, k_yy]))
    cos, sin = k_yy / focal_row, k_yx / focal_row
    focal_column = k_xx * cos - k_xy * sin
    skew = (k_xx * sin + k_xy * cos) / focal_row
    old_from_new = jnp.eye(3).at[:2, :2].set(_matrix(cos, sin, -sin, cos))
    return Camera(
        camera.world_from_camera @ RigidTransform(old_from_new, jnp.zeros(3)),
        camera.source_to_detector,
        camera.source_to_detector / jnp.stack([focal_row, focal_column]),
        jnp.stack([row, column]),
        skew,
        transform.shape,
    )


def _matrix(a: Scalar, b: Scalar, c: Scalar, d: Scalar) -> Float[Array, "2 2"]:
    return jnp.stack([jnp.stack([a, b]), jnp.stack([c, d])])
