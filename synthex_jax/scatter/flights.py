r"""Path lengths of scattered photons on their straight ways to the detector.

A line from a point at $(x, y, z)$ to a detector's pixel at $(u, v, D)$ is, in the layer
at depth $z_j$, at $x + (u - x)(z_j - z)/(D - z)$, and likewise in $y$. For all columns
$x$ and $u$ together the weights of linear interpolation in a layer are a matrix, and
those for all rows $y$ and $v$ another: what lies on the lines between all points of one
depth and all pixels is a sum over layers of products of matrices. There is no ray
marching, and no gathering from memory.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.geometry.camera import Camera
from synthex_jax.numerics import between
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.scatter.body import CoarseBody, contracted
from synthex_jax.typing import Scalar


class Pixels(NamedTuple):
    """A detector with few pixels, rows and columns apart; a camera's skew is left out.

    Attributes:
        rows: (v,), mm along the camera's y.
        cols: (u,), mm along its x.
        distance: (), mm, from the source.
        area: (), mm^2, of a pixel.
    """

    rows: Float[Array, "v"]
    cols: Float[Array, "u"]
    distance: Scalar
    area: Scalar

    @classmethod
    def of(cls, camera: Camera) -> Pixels:
        """The camera's."""
        plane = DetectorPlane.from_camera(camera)
        return cls(
            plane.y[:, 0], plane.x[0], plane.distance, plane.pitch[0] * plane.pitch[1]
        )


class Flights(NamedTuple):
    """Straight ways from a grid of points at one depth to all pixels.

    Attributes:
        paths: (y, v, x, u, substances), mm through each.
        directions: (y, v, x, u, 3), unit vectors, camera (z, y, x).
        solid_angles: (y, v, x, u), sr, of the pixels.
    """

    paths: Float[Array, "y v x u substances"]
    directions: Float[Array, "y v x u 3"]
    solid_angles: Float[Array, "y v x u"]


def flights(
    body: CoarseBody,
    depth: Scalar,
    starts: tuple[Float[Array, "y"], Float[Array, "x"]],
    pixels: Pixels,
) -> Flights:
    """From points at the places ``starts`` (rows', columns'), mm, at one depth."""
    layers, step = body.places(0), body.steps[0]
    length = between(layers + step / 2 - depth, 0.0, step)
    middle = layers + (step - length) / 2
    along = pixels.distance - depth
    share = (middle - depth) / along
    down = pixels.rows - starts[0][:, None]
    across = pixels.cols - starts[1][:, None]
    rows = body.weights(1, starts[0][:, None] + share[:, None, None] * down)
    cols = body.weights(2, starts[1][:, None] + share[:, None, None] * across)
    by_cols = contracted("jrcm,jxuc->jrxum", body.fractions, cols)
    straight = contracted("j,jyvr,jrxum->yvxum", length, rows, by_cols)
    slopes = jnp.stack(
        jnp.broadcast_arrays(1.0, down[:, :, None, None] / along, across / along), -1
    )
    secant = jnp.sqrt(jnp.sum(slopes**2, axis=-1))
    return Flights(
        straight * secant[..., None],
        slopes / secant[..., None],
        pixels.area / (along**2 * secant**3),
    )
