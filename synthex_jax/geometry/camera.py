"""Camera: an X-ray source and a flat detector, posed in the world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_finite,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.nouns import noun
from synthex_jax.numerics import away_from_zero, product
from synthex_jax.typing import (
    ArrayLike,
    Matrix3,
    Pixels,
    Points,
    ProjectionMatrix,
    Scalar,
    Shape2,
    Vector2,
    Vector3,
)

# Focal lengths from files agree to five digits or more where the pixels are what the
# pitch says; a pitch given in cm, or rows and columns exchanged, is far off.
_SAME_DISTANCE_WITHIN = 1e-3


@noun
@dataclass(frozen=True)
class Camera:
    """A pinhole: rays from the source to the pixel centers of a flat detector.

    The camera frame has its origin at the source, +z towards the detector, +x along
    columns (to the right in the image), +y along rows (downward), all in mm. Pixel
    centers lie at integer (row, column). The image is what the source sees: it is
    never mirrored (a display flip is a matter of display).

    All fields but the shape are leaves: gradients reach the intrinsics too.

    Attributes:
        world_from_camera: pose; its translation is the source in world mm.
        source_to_detector: (), mm along +z.
        pitch: (2,), mm between pixel centers, (along rows' index, along columns'
            index), that is (height, width) of a pixel.
        principal_point: (2,), pixel (row, column) that the +z axis hits.
        skew: (), pixels of column a pixel of row; 0 for every real detector.
        shape: (rows, cols), static.
    """

    world_from_camera: RigidTransform
    source_to_detector: Scalar
    pitch: Vector2
    principal_point: Vector2
    skew: Scalar
    shape: Shape2 = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        world_from_camera: RigidTransform,
        *,
        source_to_detector: ArrayLike,
        pitch: ArrayLike,
        shape: Shape2,
        principal_point: ArrayLike | None = None,
        skew: ArrayLike = 0.0,
    ) -> Camera:
        """From the physical description of the device.

        Args:
            world_from_camera: pose of the camera frame.
            source_to_detector: mm.
            pitch: mm, one number for square pixels or (row, column).
            shape: (rows, cols).
            principal_point: pixel (row, column); the image center by default.
            skew: pixels of column a pixel of row.

        Raises:
            ValueError: for a size, pitch or distance that is not positive; the
                detector would lie behind the source.
        """
        shape = checked_shape(shape)
        source_to_detector = jnp.asarray(source_to_detector, dtype=float)
        pitch = jnp.broadcast_to(jnp.asarray(pitch, dtype=float), (2,))
        if principal_point is None:
            principal_point = (np.asarray(shape) - 1) / 2
        principal_point = jnp.asarray(principal_point, dtype=float)
        require_positive(
            "source_to_detector", source_to_detector, "mm (detector before the source)"
        )
        require_positive("pitch", pitch, "mm a pixel")
        require_shape("principal_point", principal_point, (2,))
        require_finite("principal_point", principal_point)
        skew = jnp.asarray(skew, dtype=float)
        return cls(
            world_from_camera, source_to_detector, pitch, principal_point, skew, shape
        )

    @classmethod
    def from_krt(
        cls,
        K: ArrayLike,
        camera_from_world: RigidTransform | ArrayLike,
        *,
        shape: Shape2,
        pitch: ArrayLike,
    ) -> Camera:
        """From an intrinsic matrix and [R|t], as OpenCV and Hartley & Zisserman.

        Args:
            K: (3, 3), pixels; acts on (x, y, z) and yields (column, row, 1), with
                pixel centers at integers (subtract 0.5 from a principal point that
                counts from the pixel's corner).
            camera_from_world: [R|t] as a transform, (3, 4) or (4, 4), mm.
            shape: (rows, cols).
            pitch: mm, one number or (row, column). K alone knows pixels only; the
                pitch says how far away the detector is.

        Raises:
            ValueError: for a K that is not upper triangular with K[2, 2] = 1; for
                negative focal lengths (see ``convert.from_deepfluoro``); and where
                the two focal lengths and the pitch give two different distances.
        """
        K = jnp.asarray(K, dtype=float)
        require_shape("K", K, (3, 3))
        require_finite("K", K)
        pitch = jnp.broadcast_to(jnp.asarray(pitch, dtype=float), (2,))
        require_positive("pitch", pitch, "mm a pixel")
        _require_intrinsics(K, pitch)
        if not isinstance(camera_from_world, RigidTransform):
            camera_from_world = RigidTransform.from_matrix(camera_from_world)
        # The row pitch is taken as given, the column pitch from the focal ratio, so
        # that K comes back to the last digit.
        source_to_detector = K[1, 1] * pitch[0]
        exact_pitch = jnp.stack([pitch[0], source_to_detector / K[0, 0]])
        return cls.create(
            camera_from_world.inverse,
            source_to_detector=source_to_detector,
            pitch=exact_pitch,
            shape=shape,
            principal_point=jnp.stack([K[1, 2], K[0, 2]]),
            skew=K[0, 1] / K[1, 1],
        )

    @classmethod
    def from_projection(
        cls, P: ArrayLike, *, shape: Shape2, pitch: ArrayLike
    ) -> Camera:
        """From a (3, 4) projection matrix: world mm to (column, row, 1) times depth.

        The overall scale and sign of P do not matter: of P and -P, which give the
        same pixels, the one whose rotation is proper is taken. Where the image is a
        mirror image of what the source sees, that camera looks away from the body:
        ``convert.is_mirrored`` tells, ``convert.from_mirrored_projection`` helps. P
        is split by an RQ decomposition (Hartley & Zisserman 2004, section 6.2.4).

        Raises:
            ValueError: for a P of another shape, not finite or singular, and as in
                ``from_krt``.
        """
        concrete = np.asarray(P, dtype=float)
        require_shape("P", concrete, (3, 4))
        require_finite("P", concrete)
        K, rotation, translation = decompose_projection(concrete)
        return cls.from_krt(
            K,
            RigidTransform(jnp.asarray(rotation), jnp.asarray(translation)),
            shape=shape,
            pitch=pitch,
        )

    # -- matrices out ---------------------------------------------------------------

    @property
    def K(self) -> Matrix3:
        """(3, 3) intrinsic matrix: camera (x, y, z) to (column, row, 1) times z."""
        focal_row = self.source_to_detector / self.pitch[0]
        focal_col = self.source_to_detector / self.pitch[1]
        zero, one = jnp.zeros_like(focal_row), jnp.ones_like(focal_row)
        row, col = self.principal_point
        return jnp.stack(
            [
                jnp.stack([focal_col, self.skew * focal_row, col]),
                jnp.stack([zero, focal_row, row]),
                jnp.stack([zero, zero, one]),
            ]
        )

    @property
    def camera_from_world(self) -> RigidTransform:
        """[R|t] of the field's P = K [R|t]."""
        return self.world_from_camera.inverse

    @property
    def projection_matrix(self) -> ProjectionMatrix:
        """(3, 4): world mm to (column, row, 1) times depth in mm."""
        return product(self.K, self.camera_from_world.matrix[:3])

    @property
    def source(self) -> Vector3:
        """The X-ray source, world mm."""
        return self.world_from_camera.translation

    @property
    def principal_direction(self) -> Vector3:
        """Unit vector from the source at right angles to the detector, world."""
        return self.world_from_camera.rotation[:, 2]

    # -- points and rays ------------------------------------------------------------

    def project(self, points: Points) -> Pixels:
        """World points (..., 3) in mm to pixels (..., 2) as (row, column).

        A point in the plane of the source has no image; it gets a large finite one.
        Use ``depth`` to tell points behind the source.
        """
        in_camera = self.camera_from_world.apply(points)
        depth = away_from_zero(in_camera[..., 2], 1e-6)
        across = in_camera[..., 0] / depth * (self.source_to_detector / self.pitch[1])
        down = in_camera[..., 1] / depth * (self.source_to_detector / self.pitch[0])
        return jnp.stack([down, across + self.skew * down], -1) + self.principal_point

    def depth(self, points: Points) -> Float[Array, "*batch"]:
        """World points (..., 3) to their distance in mm from the source along +z."""
        return self.camera_from_world.apply(points)[..., 2]

    def back_project(self, pixels: Pixels) -> Points:
        """Pixels (..., 2) to world points (..., 3) in mm on the detector's plane.

        The ray of a pixel runs from ``source`` to this point.
        """
        return self.world_from_camera.apply(self._detector_points(pixels))

    def pixel_grid(self) -> Pixels:
        """(rows, cols, 2): the (row, column) of every pixel center."""
        rows, cols = (jnp.arange(n, dtype=self.pitch.dtype) for n in self.shape)
        return jnp.stack(jnp.meshgrid(rows, cols, indexing="ij"), axis=-1)

    def _detector_points(self, pixels: Pixels) -> Points:
        down, across = jnp.moveaxis(pixels - self.principal_point, -1, 0)
        x = (across - self.skew * down) * self.pitch[1]
        y = down * self.pitch[0]
        return jnp.stack([x, y, jnp.broadcast_to(self.source_to_detector, x.shape)], -1)

    # -- other cameras --------------------------------------------------------------

    def moved(self, twist: ArrayLike, *, about: ArrayLike = (0.0, 0.0, 0.0)) -> Camera:
        """The camera after a rigid motion of the world frame, exp(twist) on the left.

        Args:
            twist: (6,), rotation in radians, then translation in mm.
            about: (3,), world mm, the point that the rotation leaves in place. With
                the isocenter, rotation and translation are nearly independent; with
                the origin, the twist is the plain left perturbation of the pose.
        """
        return replace(
            self,
            world_from_camera=RigidTransform.from_twist(twist, about=about)
            @ self.world_from_camera,
        )

    def cropped(self, top_left: tuple[int, int], shape: Shape2) -> Camera:
        """The camera of ``image[r:r + rows, c:c + cols]`` for ``top_left = (r, c)``.

        Negative or oversized windows are allowed: they pad.
        """
        return replace(
            self,
            shape=checked_shape(shape),
            principal_point=self.principal_point - jnp.asarray(top_left, dtype=float),
        )

    def resized(self, shape: Shape2) -> Camera:
        """The same detector area with another number of pixels.

        Pixel edges, not centers, stay in place: the principal point p becomes
        (p + 1/2) * new / old - 1/2.
        """
        shape = checked_shape(shape)
        scale = np.asarray(shape) / np.asarray(self.shape)
        ratio = float(scale[0] / scale[1])
        return replace(
            self,
            shape=shape,
            pitch=self.pitch / scale,
            principal_point=(self.principal_point + 0.5) * scale - 0.5,
            skew=self.skew / ratio,
        )

    def binned(self, factor: int) -> Camera:
        """Square groups of ``factor`` x ``factor`` pixels read out as one.

        Raises:
            ValueError: if the factor does not divide both sides.
        """
        require(
            factor >= 1 and all(n % factor == 0 for n in self.shape),
            f"factor must be a positive divisor of the shape {self.shape}, "
            f"got {factor}; crop first",
        )
        return self.resized((self.shape[0] // factor, self.shape[1] // factor))


def decompose_projection(
    P: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split P ~ K [R|t] with positive focal lengths and K[2, 2] = 1, in float64.

    Raises:
        ValueError: if the left 3x3 part is singular.
    """
    P = np.asarray(P, dtype=np.float64)
    left = P[:, :3]
    require(
        np.linalg.cond(left) < 1e12,
        "P must have an invertible left 3x3 part; this one is singular",
    )
    # With J the exchange matrix, QR of (J M)^T gives M = (J R^T J) (J Q^T).
    exchange = np.eye(3)[::-1]
    q, r = np.linalg.qr((exchange @ left).T)
    K, rotation = exchange @ r.T @ exchange, exchange @ q.T
    signs = np.sign(np.diag(K))
    K, rotation = K * signs, signs[:, None] * rotation
    translation = np.linalg.solve(K, P[:, 3])
    # P and -P are the same camera; the one that is a rotation is kept.
    if np.linalg.det(rotation) < 0:
        rotation, translation = -rotation, -translation
    return K / K[2, 2], rotation, translation


def checked_shape(shape: Shape2) -> Shape2:
    """The shape as two ints; refuses anything but two whole numbers above zero."""
    sizes = tuple(int(n) for n in shape)
    require(
        len(sizes) == 2 and all(n >= 1 for n in sizes) and sizes == tuple(shape),
        f"shape must be two whole numbers (rows, cols) of at least 1, got {shape}",
    )
    return sizes[0], sizes[1]


def _require_intrinsics(K: Matrix3, pitch: Vector2) -> None:
    if not is_concrete(K, pitch):
        return
    k, p = np.asarray(K, dtype=float), np.asarray(pitch, dtype=float)
    lower = np.abs([k[1, 0], k[2, 0], k[2, 1], k[2, 2] - 1]).max()
    require(
        bool(lower < 1e-6 * max(1.0, float(np.abs(k).max()))),
        f"K must be upper triangular with K[2, 2] = 1, got {k.tolist()}; "
        "is it transposed, or a full projection matrix (Camera.from_projection)?",
    )
    require(
        k[0, 0] > 0 and k[1, 1] > 0,
        "K must have positive focal lengths, the detector in front of the source, "
        f"got {k[0, 0]:.6g} and {k[1, 1]:.6g}; cameras of the DeepFluoro and xReg "
        "convention come in through geometry.convert.from_deepfluoro",
    )
    by_rows, by_columns = k[1, 1] * p[0], k[0, 0] * p[1]
    require(
        bool(abs(by_rows - by_columns) <= _SAME_DISTANCE_WITHIN * by_rows),
        "K and pitch must agree on one source-to-detector distance, but the rows give "
        f"{by_rows:.6g} mm and the columns {by_columns:.6g} mm; give pitch as "
        "(row, column) in mm",
    )
