"""CArm: an isocentric device, and the cameras it can take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require, require_positive, require_shape
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import INFERIOR, LEFT, POSTERIOR
from synthex_jax.geometry.transform import RigidTransform, axis_rotation
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.typing import ArrayLike, Scalar, Shape2, Vector2

# Columns are the camera's x, y and z in the world for the AP view: the source is in
# front of the patient, whose left is on the right of the image and whose head is up.
_WORLD_FROM_CAMERA_AP = np.stack([LEFT, INFERIOR, POSTERIOR], axis=1)

# Orbital angle of each named view, radians; all are proper rotations.
_VIEWS = {
    "AP": 0.0,
    "PA": np.pi,
    "left lateral": -np.pi / 2,
    "right lateral": np.pi / 2,
}


@noun
@dataclass(frozen=True)
class CArm:
    """A source and a detector that turn together about an isocenter.

    Angles are the device's, in radians. At zero the view is AP: the source is in
    front of the patient (anterior), the image shows the patient's right on its left
    and the head up, as radiographs are read, without any flip.

    * ``orbital`` slides the C within its plane, about the patient's long axis.
      Positive turns the source to the patient's **left**: the line of sight of an
      **LAO** view; negative is RAO.
    * ``angular`` tilts the plane of the C about the left-right axis. Positive turns
      the source towards the **head** (**CRAN**); negative is CAUD.
    * ``roll`` turns the detector about the central ray, clockwise as the source sees
      it, and so the image's content counterclockwise.

    LAO/RAO and CRAN/CAUD carry the signs of DICOM's positioner angles, whose zero has
    the *detector* in front of the patient; that geometry is
    ``geometry.convert.from_dicom_angles``.

    Attributes:
        source_to_detector: (), mm.
        source_to_isocenter: (), mm.
        pitch: (2,), mm between pixel centers (row, column).
        shape: (rows, cols), static.
    """

    source_to_detector: Scalar
    source_to_isocenter: Scalar
    pitch: Vector2
    shape: Shape2 = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        *,
        source_to_detector: ArrayLike,
        source_to_isocenter: ArrayLike,
        pitch: ArrayLike,
        shape: Shape2,
    ) -> CArm:
        """From the device's distances and detector, in mm.

        Raises:
            ValueError: for sizes that are not positive, or an isocenter that is not
                between source and detector.
        """
        carm = cls(
            jnp.asarray(source_to_detector, dtype=float),
            jnp.asarray(source_to_isocenter, dtype=float),
            jnp.broadcast_to(jnp.asarray(pitch, dtype=float), (2,)),
            tuple(shape),  # pyright: ignore[reportArgumentType]
        )
        require_positive("source_to_detector", carm.source_to_detector, "mm")
        require_positive("source_to_isocenter", carm.source_to_isocenter, "mm")
        distances = (carm.source_to_isocenter, carm.source_to_detector)
        if is_concrete(distances):
            require(
                float(distances[0]) < float(distances[1]),
                "source_to_isocenter must be below source_to_detector, got "
                f"{distances[0]} and {distances[1]} mm",
            )
        carm.at()  # the camera's own checks
        return carm

    @classmethod
    def generic(cls) -> CArm:
        """A 43 cm square flat panel (ISO 4090's largest) at 1.2 m, 512 x 512 pixels.

        Wide enough for a whole pelvis or chest: it sees 32 cm at the isocenter.
        """
        return cls.create(
            source_to_detector=1200.0,
            source_to_isocenter=900.0,
            pitch=0.84,
            shape=(512, 512),
        )

    @classmethod
    def cios_fusion(cls) -> CArm:
        """Siemens Cios Fusion: 1536 x 1536 pixels of 0.194 mm, 1020 mm.

        The distances of the DeepFluoro and SyntheX data (Grupp et al. 2020; Gao et
        al. 2022); 530 mm to the isocenter as in DeepDRR's mobile C-arm.
        """
        return cls.create(
            source_to_detector=1020.0,
            source_to_isocenter=530.0,
            pitch=0.194,
            shape=(1536, 1536),
        )

    @classmethod
    def loop_x(cls) -> CArm:
        """Brainlab Loop-X: 1388 x 1386 pixels of 0.3 mm, 1247.2 mm.

        Panel and distance are those of a published radiograph's projection matrix;
        its patient origin lies 746 mm from the source, taken for the isocenter.
        """
        return cls.create(
            source_to_detector=1247.2,
            source_to_isocenter=746.0,
            pitch=0.3,
            shape=(1388, 1386),
        )

    def at(
        self,
        orbital: ArrayLike = 0.0,
        angular: ArrayLike = 0.0,
        roll: ArrayLike = 0.0,
        *,
        isocenter: ArrayLike = (0.0, 0.0, 0.0),
    ) -> Camera:
        """The camera at given angles.

        Args:
            orbital: radians, positive towards LAO.
            angular: radians, positive towards CRAN.
            roll: radians.
            isocenter: (3,), world mm; the volume's ``center`` as a rule.

        Example:
            >>> import jax.numpy as jnp, synthex_jax as sx
            >>> camera = sx.CArm.cios_fusion().at(orbital=jnp.deg2rad(30.0))
            >>> [round(float(x)) for x in camera.source]
            [-265, 459, 0]
        """
        isocenter = jnp.asarray(isocenter, dtype=float)
        require_shape("isocenter", isocenter, (3,))
        world_from_arm = product(
            axis_rotation("x", angular), axis_rotation("z", orbital)
        )
        camera_roll = product(
            jnp.asarray(_WORLD_FROM_CAMERA_AP, float), axis_rotation("z", roll)
        )
        rotation = product(world_from_arm, camera_roll)
        source = isocenter - rotation[:, 2] * self.source_to_isocenter
        return Camera.create(
            RigidTransform(rotation, source),
            source_to_detector=self.source_to_detector,
            pitch=self.pitch,
            shape=self.shape,
        )

    def view(self, name: str, *, isocenter: ArrayLike = (0.0, 0.0, 0.0)) -> Camera:
        """The camera of a view by name, seen from the source.

        ``"AP"``: source in front. ``"PA"``: source behind, so the patient's right is on
        the image's right; mirror the picture for display if it is to be read as a
        PA film. ``"left lateral"``: the left side faces the detector, anterior on the
        image's right. ``"right lateral"``: the right side faces it, anterior on the
        left.

        Raises:
            ValueError: for any other name.
        """
        require(
            name in _VIEWS,
            f"name must be one of {', '.join(map(repr, _VIEWS))}, got {name!r}",
        )
        return self.at(orbital=_VIEWS[name], isocenter=isocenter)

    def resized(self, shape: Shape2) -> CArm:
        """The same device read out with another number of pixels."""
        camera = self.at().resized(shape)
        return replace(self, pitch=camera.pitch, shape=camera.shape)

    def binned(self, factor: int) -> CArm:
        """The same device with groups of ``factor`` x ``factor`` pixels read as one.

        Raises:
            ValueError: if the factor does not divide both sides.
        """
        camera = self.at().binned(factor)
        return replace(self, pitch=camera.pitch, shape=camera.shape)
