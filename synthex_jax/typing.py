"""The shape vocabulary: names for the array shapes that signatures speak of.

Shapes are jaxtyping annotations. They are documentation that a reader and a type
checker share; the test suite checks them at run time.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

ArrayLike: TypeAlias = jax.typing.ArrayLike | Sequence[Any]
"""What ``jnp.asarray`` takes: arrays, numbers, and (nested) sequences of them."""

PRNGKey: TypeAlias = PRNGKeyArray
"""A JAX random key, always the first argument of a function that draws."""

Scalar: TypeAlias = Float[Array, ""]
Vector2: TypeAlias = Float[Array, "2"]
Vector3: TypeAlias = Float[Array, "3"]
Vector4: TypeAlias = Float[Array, "4"]
Twist: TypeAlias = Float[Array, "6"]
"""A tangent of SE(3): three of rotation (radians), then three of translation (mm)."""

Matrix3: TypeAlias = Float[Array, "3 3"]
Matrix4: TypeAlias = Float[Array, "4 4"]
Matrix6: TypeAlias = Float[Array, "6 6"]
ProjectionMatrix: TypeAlias = Float[Array, "3 4"]

Points: TypeAlias = Float[Array, "*batch 3"]
"""Points or directions in mm, in the frame that the argument's name says."""
Pixels: TypeAlias = Float[Array, "*batch 2"]
"""Pixel coordinates as (row, column); pixel centers lie at integers."""

Image: TypeAlias = Float[Array, "rows cols"]
ChannelImage: TypeAlias = Float[Array, "rows cols *channels"]
Voxels: TypeAlias = Shaped[Array, "nx ny nz *channels"]
"""A volume's samples, indexed ``[x, y, z]`` or ``[x, y, z, channel]``."""

Shape2: TypeAlias = tuple[int, int]
Shape3: TypeAlias = tuple[int, int, int]
