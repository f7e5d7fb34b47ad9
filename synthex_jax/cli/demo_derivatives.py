"""The demonstration's derivatives: how the image changes with the pose."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthex_jax import viz
from synthex_jax.cli.stage import Outcome, Stage
from synthex_jax.geometry.camera import Camera
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import Image, Twist
from synthex_jax.volumes.volume import Volume


def derivatives(stage: Stage) -> Outcome:
    """The derivative of a radiograph in each degree of freedom of the pose."""
    camera = stage.views(stage.pelvis)[0]
    _, jacobian = image_and_jacobian(stage.pelvis, camera)
    images = [viz.signed(column) for column in jnp.moveaxis(jacobian, -1, 0)]
    titles = [
        f"{kind} {axis}"
        for kind, axes in (
            ("turn about", ("right", "anterior", "superior")),
            ("move to the", ("right", "front", "head")),
        )
        for axis in axes
    ]
    sheet = viz.contact_sheet(
        images, titles, columns=3, heading="How the image changes as the C-arm moves"
    )
    return Outcome([stage.save(sheet, "pose_derivatives.png")])


def image_and_jacobian(body: Volume, camera: Camera) -> tuple[Image, jax.Array]:
    """(rows, cols), and (rows, cols, 6): its derivative in a twist about the center."""
    return _image_and_jacobian(along_one_axis(body, camera), body, camera)


def along_one_axis(body: Volume, camera: Camera) -> Joseph:
    """The projector for views near this one; it spares compiling for all three axes."""
    axis = principal_axis(body, camera)
    assert isinstance(axis, int)
    return Joseph(axis=axis)


@jax.jit
def _image_and_jacobian(
    projector: Joseph, body: Volume, camera: Camera
) -> tuple[Image, jax.Array]:
    def moved_image(twist: Twist) -> tuple[Image, Image]:
        moved = camera.moved(twist, about=body.center)
        image = line_integrals(body, moved, projector=projector)
        return image, image

    jacobian, image = jax.jacfwd(moved_image, has_aux=True)(jnp.zeros(6))
    return image, jacobian
