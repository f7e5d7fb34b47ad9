"""Trials of a PoseNetwork on renderings that it has not seen: errors and honesty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.registration.pose_network import (
    PoseEstimate,
    PoseNetwork,
    estimates,
    residual_twist,
)
from synthex_jax.registration.pose_renderings import PoseRenderings
from synthex_jax.typing import PRNGKey, Scalar

# Renderings at a time.
_BATCH = 32


@noun
@dataclass(frozen=True)
class PoseTrials:
    """What a network said of poses that are known. All leaves have n in front.

    Attributes:
        truth: the cameras, in the network's pixels.
        estimate: what the network said, in the same pixels.
        squared_distance: (n,), of Mahalanobis, from the estimate to the truth by the
            estimate's covariance: distributed as chi squared of 6 degrees of freedom
            where errors are normal and the covariance is right.
    """

    truth: Camera
    estimate: PoseEstimate
    squared_distance: Float[Array, "n"]

    def coverage(self, probability: float = 0.9) -> float:
        """The share of truths within the ellipsoid that is to hold so many.

        Raises:
            ValueError: for a probability that is not between 0 and 1.
        """
        return float(jnp.mean(self.squared_distance <= _radius(probability) ** 2))

    def temperature(self, probability: float = 0.9) -> float:
        """The factor on standard deviations with which that share would be right.

        Split conformal prediction (Vovk et al. 2005): new examples of the same kind
        then lie within with the probability asked for, whatever the errors'
        distribution.

        Raises:
            ValueError: for a probability that is not between 0 and 1, or too near 1 for
                so few trials.
        """
        radius = _radius(probability)
        n = len(self.squared_distance)
        rank = int(np.ceil((n + 1) * probability))
        require(
            rank <= n,
            f"probability must be at most {n / (n + 1):.3g} for {n} trials, got "
            f"{probability}",
        )
        reached = np.sort(np.asarray(self.squared_distance))[rank - 1]
        return float(np.sqrt(reached) / radius)


def pose_trials(
    key: PRNGKey, network: PoseNetwork, renderings: PoseRenderings, *, count: int = 512
) -> PoseTrials:
    """A network's estimates of new renderings.

    Args:
        key: another one than that of the training.
        network: trained.
        renderings: with the network's own camera, ``network.camera``.
        count: how many.

    Raises:
        ValueError: for renderings of another shape, or no trials.
    """
    require(count >= 1, f"count must be at least 1, got {count}")
    require(
        renderings.camera.shape == network.camera.shape,
        "renderings must have the shape of the network's own camera, "
        f"{network.camera.shape}, got {renderings.camera.shape}; create them with "
        "network.camera",
    )
    batches = -(-count // _BATCH)
    trials = [
        _tried(network, *renderings.batch(jax.random.fold_in(key, i), _BATCH))
        for i in range(batches)
    ]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:count], *trials)


@jax.jit
def _tried(
    network: PoseNetwork, truths: Camera, images: Float[Array, "batch rows cols"]
) -> PoseTrials:
    found = estimates(network, images)
    distances = jax.vmap(partial(_squared_distance, network))(found, truths)
    return PoseTrials(truths, found, distances)


def _squared_distance(
    network: PoseNetwork, estimate: PoseEstimate, truth: Camera
) -> Scalar:
    residual = residual_twist(estimate.camera, truth, network.center)
    # In units of the spread: radians and mm differ a thousandfold.
    scale = network.spread
    factor = jnp.linalg.cholesky(estimate.covariance / (scale[:, None] * scale))
    return jnp.sum(solve_triangular(factor, residual / scale, lower=True) ** 2)


def _radius(probability: float) -> float:
    """Of the ellipsoid in standard deviations."""
    from scipy.stats import chi2

    require(
        0 < probability < 1, f"probability must be between 0 and 1, got {probability}"
    )
    return float(np.sqrt(chi2.ppf(probability, 6)))
