r"""Soft masks: differentiable in the pose.

A mask jumps from 0 to 1 and has no derivative. What stands in for it is the opacity of
the structure, $1 - \exp(-L / s)$ with $L$ the length of ray within it: the share of
photons of mean free path $s$ that meet it (Beer and Lambert), as in volume rendering
(Max 1995, IEEE TVCG 1(2)). Its merit over other rising functions of $L$ is that masks
compose: $1 - (1 - p)(1 - q)$ is the mask of two disjoint structures taken as one. It
exceeds 1/2 where $L > s \ln 2$; for $s \to 0$ it becomes the mask.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from synthex_jax.checks import require_positive
from synthex_jax.numerics import at_least
from synthex_jax.typing import ArrayLike


def soft_masks(
    path_lengths: Float[Array, "*batch"], *, scale: ArrayLike
) -> Float[Array, "*batch"]:
    """Masks from 0 to 1 that rise with the length of ray within the structures.

    Args:
        path_lengths: mm, of any shape; ``masks.path_lengths`` gives them. Negative ones
            (of a sharpening projector) count as zero.
        scale: mm of ray that give 0.63. About the spacing of the voxels for masks close
            to binary ones; larger for slopes that reach further into the structures.

    Returns:
        The same shape. The slope is greatest at the outline and zero outside.

    Raises:
        ValueError: for a scale that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> soft_masks(jnp.array([0.0, 2.0, 20.0]), scale=2.0).round(3).tolist()
        [0.0, 0.6320000290870667, 1.0]
    """
    require_positive("scale", scale, "mm")
    return -jnp.expm1(-at_least(path_lengths, 0.0) / jnp.asarray(scale))
