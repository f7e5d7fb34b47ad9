"""Volume: samples on a grid, and where the grid lies in the world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.geometry.frames import transform_points
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Matrix4, Points, Shape3, Vector3, Voxels

if TYPE_CHECKING:
    from synthex_jax.geometry.camera import Camera

# CT voxels are between 0.1 and 20 mm; an affine in meters or micrometers is not.
_SPACING_MM = (0.02, 50.0)
# Cosine between two grid axes above which an affine is refused as sheared: gantry
# tilts start at about a degree.
_SHEAR_COSINE = 0.01


@noun
@dataclass(frozen=True)
class Volume:
    """Samples at the nodes of a grid that an affine matrix puts into the world.

    World is RAS+ mm. Voxel (i, j, k)'s *center* is at ``affine @ (i, j, k, 1)``, as in
    nibabel. Between the nodes the volume is interpolated; beyond the outermost it is
    zero. What the values mean (HU, 1/mm, probabilities) is the caller's knowledge;
    ``attenuation`` turns HU into 1/mm.

    Attributes:
        data: (nx, ny, nz) or (nx, ny, nz, channels), any real dtype.
        affine: (4, 4), world from voxel.
    """

    data: Voxels
    affine: Matrix4

    @classmethod
    def from_array(
        cls,
        data: ArrayLike,
        affine: ArrayLike | None = None,
        *,
        spacing: ArrayLike | None = None,
    ) -> Volume:
        """From an array, with an affine or with a spacing.

        Args:
            data: (nx, ny, nz) or (nx, ny, nz, channels).
            affine: (4, 4) world-from-voxel, mm.
            spacing: instead of an affine, mm, one number or (x, y, z): the grid is
                then parallel to the world's axes and centered on its origin.

        Raises:
            ValueError: for an array that is empty, not 3-D (+ channels), or holds NaN
                or infinity; for an affine that is singular, sheared, or not in mm.
        """
        data = jnp.asarray(data)
        require(
            data.ndim in (3, 4) and data.size > 0,
            "data must have shape (nx, ny, nz) or (nx, ny, nz, channels), none of them "
            f"zero, got {data.shape}",
        )
        require(
            not jnp.issubdtype(data.dtype, jnp.complexfloating),
            f"data must be real, got {data.dtype}",
        )
        if not jnp.issubdtype(data.dtype, jnp.integer) and data.dtype != jnp.bool_:
            require_finite("data", data)
        require(
            (affine is None) != (spacing is None),
            "give either affine (world from voxel) or spacing (mm), and not both",
        )
        if affine is None:
            affine = centered_affine(data.shape[:3], spacing)  # pyright: ignore
        affine = jnp.asarray(affine, dtype=float)
        require_affine(affine)
        return cls(data, affine)

    @classmethod
    def from_nifti(cls, path: str | Path) -> Volume:
        """From a NIfTI file; see ``volumes.io.read_nifti``."""
        from synthex_jax.volumes import io

        return io.read_nifti(path)

    @classmethod
    def from_dicom(cls, folder: str | Path, *, series: str | None = None) -> Volume:
        """From a DICOM series; see ``volumes.io.read_dicom``."""
        from synthex_jax.volumes import io

        return io.read_dicom(folder, series=series)

    @classmethod
    def from_nrrd(cls, path: str | Path) -> Volume:
        """From an NRRD file; see ``volumes.io.read_nrrd``."""
        from synthex_jax.volumes import io

        return io.read_nrrd(path)

    @property
    def shape(self) -> Shape3:
        """(nx, ny, nz), without channels."""
        nx, ny, nz = self.data.shape[:3]
        return nx, ny, nz

    @property
    def spacing(self) -> Vector3:
        """(3,), mm between voxel centers along each axis."""
        return jnp.sqrt(jnp.sum(self.affine[:3, :3] ** 2, axis=0))

    @property
    def center(self) -> Vector3:
        """(3,), world mm: the middle of the grid."""
        middle = (np.asarray(self.shape) - 1) / 2
        return transform_points(self.affine, jnp.asarray(middle, self.affine.dtype))

    @property
    def voxel_from_world(self) -> Matrix4:
        """(4, 4), inverse of the affine."""
        return jnp.linalg.inv(self.affine)

    def attenuation(
        self, energy: ArrayLike = 60.0, *, ct_energy: ArrayLike = 70.0
    ) -> Volume:
        """This CT, in HU, as linear attenuation in 1/mm; see ``sx.attenuation``.

        Example:
            >>> import jax.numpy as jnp, synthex_jax as sx
            >>> water = sx.Volume.from_array(jnp.zeros((2, 2, 2)), spacing=1.0)
            >>> round(float(water.attenuation(60.0).data[0, 0, 0]), 5)
            0.02059
        """
        from synthex_jax.volumes.materials import attenuation

        return attenuation(self, energy, ct_energy=ct_energy)

    def corners(self) -> Points:
        """(8, 3), world mm: the outer corners of the outermost voxels."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        grid = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(8, 3)
        return transform_points(self.affine, jnp.asarray(grid, self.affine.dtype))

    def permuted(self, axes: tuple[int, int, int]) -> Volume:
        """The same body with the array's axes in another order.

        Args:
            axes: old axis that becomes new axis 0, 1 and 2; the affine follows.
        """
        channels = tuple(range(3, self.data.ndim))
        columns = jnp.asarray((*axes, 3))
        return Volume(
            jnp.transpose(self.data, (*axes, *channels)), self.affine[:, columns]
        )

    def facing(self, camera: Camera) -> Volume:
        """The same body laid out in memory for views like the given one.

        The axis nearest to the camera's viewing direction becomes the first, so that
        the projector walks through memory in order. Worth its one transposition when
        many views along a slow axis (with DICOM and NIfTI, head to feet) follow.
        """
        voxel_directions = product(
            self.voxel_from_world[:3, :3], camera.principal_direction
        )
        first = int(np.argmax(np.abs(np.asarray(voxel_directions))))
        rest = [axis for axis in range(3) if axis != first]
        return self.permuted((first, rest[0], rest[1]))

    def astype(self, dtype: DTypeLike) -> Volume:
        """The same volume stored in another type; float16 halves the memory."""
        return replace(self, data=self.data.astype(dtype))


def centered_affine(shape: Shape3, spacing: ArrayLike) -> Matrix4:
    """An affine without rotation whose grid is centered on the world's origin."""
    spacing = np.broadcast_to(np.asarray(spacing, dtype=float), (3,))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.asarray(shape) - 1) / 2
    return jnp.asarray(affine)


def require_affine(affine: Matrix4) -> None:
    """Refuse a concrete affine that is singular, sheared, projective or not in mm.

    Raises:
        ValueError: that says which, with the numbers.
    """
    require_shape("affine", affine, (4, 4))
    if not is_concrete(affine):
        return
    require_finite("affine", affine)
    matrix = np.asarray(affine, dtype=float)
    require(
        bool(np.allclose(matrix[3], [0, 0, 0, 1])),
        f"affine must end in the row (0, 0, 0, 1), got {matrix[3].tolist()}; "
        "is it transposed?",
    )
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    require(
        bool(np.all(spacing > 0))
        and abs(np.linalg.det(matrix[:3, :3] / spacing)) > 1e-3,
        "affine must be invertible: its columns, the steps from voxel to voxel, are "
        f"{matrix[:3, :3].T.tolist()}",
    )
    require(
        bool(np.all((spacing > _SPACING_MM[0]) & (spacing < _SPACING_MM[1]))),
        f"affine must be in millimeters, but its voxels measure {spacing.tolist()}; "
        "an affine in meters wants a factor of 1000, one in micrometers of 0.001",
    )
    directions = matrix[:3, :3] / spacing
    cosines = np.abs(directions.T @ directions - np.eye(3))
    require(
        bool(cosines.max() < _SHEAR_COSINE),
        "affine must have axes at right angles, but two of them are "
        f"{np.rad2deg(np.arccos(min(1.0, cosines.max()))):.1f} degrees apart (a gantry "
        "tilt, or mixed units); resample the volume to a straight grid first",
    )
