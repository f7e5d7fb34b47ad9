"""PoseRegressor: from an image to a six-vector and the covariance of its error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.numerics import at_least, product
from synthex_jax.typing import Shape2

# Channels a group of normalization: enough values for a mean at the smallest grid.
_GROUP = 8
# First weights: variance 1 / inputs (LeCun et al. 1998), since shortcuts add to what
# the normalized branch gives. Uniform numbers compile faster than normal ones.
_FIRST = nnx.initializers.lecun_uniform()
# Of the standard deviation of an image, below which it counts as constant.
_FLAT = 1e-6
# Least diagonal of the covariance's factor, in units of the training spread: without
# it, examples that are predicted exactly would have a likelihood without bound.
_LEAST_SPREAD = 1e-3

# (21, 36): where each number of a lower triangle goes, row by row.
_PLACES = np.eye(36)[np.flatnonzero(np.tril(np.ones((6, 6))))]


class PoseRegressor(nnx.Module):
    """A small residual network with a mean and the covariance of what is left.

    Each block halves the resolution. The last grid, of a few pixels, is flattened, not
    averaged: where something is seen is what a pose is about. Images are normalized to
    mean 0 and standard deviation 1, so that their gain (above 0) and offset do not
    matter. Untrained, it predicts zero with the unit matrix: the spread of training.

    Args:
        shape: (rows, cols) of the images.
        widths: channels of each block, multiples of 8.
        hidden: units of the layer before the heads.
        rngs: for the first weights.

    Raises:
        ValueError: for no or other widths, or no hidden units.
    """

    def __init__(
        self, shape: Shape2, widths: tuple[int, ...], hidden: int, *, rngs: nnx.Rngs
    ) -> None:
        require(
            len(widths) > 0 and all(w > 0 and w % _GROUP == 0 for w in widths),
            f"widths must be one multiple of {_GROUP} or more, got {widths}",
        )
        require(hidden > 0, f"hidden must be at least 1, got {hidden}")
        channels = (1, *widths)
        self.blocks = nnx.List(_Block(*both, rngs=rngs) for both in pairwise(channels))
        rows, cols = (-(-n // 2 ** len(widths)) for n in shape)
        self.dense = nnx.Linear(
            rows * cols * channels[-1], hidden, kernel_init=_FIRST, rngs=rngs
        )
        still = nnx.initializers.zeros
        self.mean = nnx.Linear(hidden, 6, kernel_init=still, rngs=rngs)
        self.factor = nnx.Linear(hidden, len(_PLACES), kernel_init=still, rngs=rngs)

    def __call__(
        self, images: Float[Array, "batch rows cols 1"]
    ) -> tuple[Float[Array, "batch 6"], Float[Array, "batch 6 6"]]:
        """Means, and lower Cholesky factors of covariances."""
        x = _normalized(images)
        for block in self.blocks:
            x = block(x)
        x = nnx.relu(self.dense(x.reshape(len(x), -1)))
        return self.mean(x), cholesky_factor(self.factor(x))


def cholesky_factor(values: Float[Array, "*batch 21"]) -> Float[Array, "*batch 6 6"]:
    """Any numbers as a lower triangle with a positive diagonal; zeros as the identity.

    Args:
        values: (..., 21), row by row.
    """
    places = jnp.asarray(_PLACES, values.dtype)
    lower = product(values, places).reshape(*values.shape[:-1], 6, 6)
    raw = jnp.diagonal(lower, axis1=-2, axis2=-1)
    # softplus(0) = log 2.
    positive = jax.nn.softplus(raw) / jnp.asarray(np.log(2), raw.dtype)
    diagonal = _LEAST_SPREAD + (1 - _LEAST_SPREAD) * positive
    return jnp.tril(lower, -1) + diagonal[..., None] * jnp.eye(6, dtype=raw.dtype)


def weights_of(network: nnx.Module) -> dict[str, Array]:
    """All parameters by their path, as ``"blocks/0/first/kernel"``."""
    flat = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {"/".join(map(str, path)): leaf[...] for path, leaf in flat}


def pose_regressor_of(
    shape: Shape2,
    widths: tuple[int, ...],
    hidden: int,
    weights: Mapping[str, Array],
) -> PoseRegressor:
    """The network of given sizes with given parameters; ``weights_of`` undone.

    Raises:
        ValueError: for parameters that are not those of a network of these sizes.
    """
    empty = nnx.eval_shape(
        lambda: PoseRegressor(shape, widths, hidden, rngs=nnx.Rngs(0))
    )
    graph, state = nnx.split(empty)
    flat = nnx.to_flat_state(state)
    wanted = {"/".join(map(str, path)): leaf.shape for path, leaf in flat}
    found = {name: np.shape(value) for name, value in weights.items()}
    require(
        wanted == found,
        f"weights must be those of a network for {shape} with widths {widths} and "
        f"{hidden} hidden units; these differ: "
        f"{sorted(n for n in wanted | found if wanted.get(n) != found.get(n))}",
    )
    filled = [
        (path, leaf.replace(weights["/".join(map(str, path))])) for path, leaf in flat
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled), copy=True)


class _Block(nnx.Module):
    """Two convolutions beside a shortcut (He et al. 2016, CVPR), at half the size."""

    def __init__(self, before: int, after: int, *, rngs: nnx.Rngs) -> None:
        conv = partial(nnx.Conv, kernel_init=_FIRST, rngs=rngs)
        self.first = conv(before, after, (3, 3), strides=2)
        self.second = conv(after, after, (3, 3))
        self.shortcut = conv(before, after, (1, 1), strides=2)
        groups = after // _GROUP
        self.norms = nnx.List(nnx.GroupNorm(after, groups, rngs=rngs) for _ in range(2))

    def __call__(
        self, x: Float[Array, "batch rows cols before"]
    ) -> Float[Array, "batch down across after"]:
        within = nnx.relu(self.norms[0](self.first(x)))
        return nnx.relu(self.shortcut(x) + self.norms[1](self.second(within)))


def _normalized(
    images: Float[Array, "batch rows cols 1"],
) -> Float[Array, "batch rows cols 1"]:
    centered = images - jnp.mean(images, axis=(1, 2, 3), keepdims=True)
    variance = jnp.mean(centered**2, axis=(1, 2, 3), keepdims=True)
    return centered / jnp.sqrt(at_least(variance, _FLAT**2))
