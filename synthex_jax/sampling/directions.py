"""Random directions, and frames about a direction."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthex_jax.checks import is_concrete, require
from synthex_jax.typing import ArrayLike, Matrix3, PRNGKey, Scalar, Vector3


def uniform_direction(key: PRNGKey, dtype: Any = float) -> Vector3:
    """A unit vector, every direction alike."""
    return cap_direction(key, jnp.asarray(jnp.pi, dtype))


def cap_direction(key: PRNGKey, half_angle: Scalar) -> Vector3:
    """A unit vector, every direction within a cone about +z alike.

    Args:
        key: consumed here.
        half_angle: radians between the cone's axis and its side; pi for all directions.
    """
    dtype = half_angle.dtype
    share, turn = jax.random.uniform(key, (2,), dtype)
    # The area of a cap is 4 pi sin^2(angle / 2).
    half_sine = jnp.sqrt(share) * jnp.sin(half_angle / 2)
    across = 2 * half_sine * jnp.sqrt(1 - half_sine**2)
    azimuth = 2 * jnp.pi * turn
    return jnp.stack(
        [
            across * jnp.cos(azimuth),
            across * jnp.sin(azimuth),
            1 - 2 * half_sine**2,
        ]
    )


def frame_about(direction: Vector3) -> Matrix3:
    """A rotation that takes +z to a unit vector.

    Smooth but for a jump where the vector is at right angles to z (Duff et al. 2017,
    J. Computer Graphics Techniques 6(1), "Building an orthonormal basis, revisited").
    """
    x, y, z = direction
    sign = jnp.where(z < 0, -1.0, 1.0).astype(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    return jnp.stack(
        [
            jnp.stack([1 + sign * x * x * a, b, x]),
            jnp.stack([sign * b, sign + y * y * a, y]),
            jnp.stack([-sign * x, -y, z]),
        ]
    )


def require_at_most_half_turn(name: str, angle: ArrayLike) -> None:
    """Refuse a concrete angle above pi radians."""
    if is_concrete(angle):
        # A float32 pi is a little above pi.
        require(
            float(np.asarray(angle)) <= np.pi * (1 + 1e-6),
            f"{name} must be at most pi radians, got {angle}; are these degrees?",
        )
