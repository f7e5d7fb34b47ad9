"""Training a PoseNetwork on renderings of one patient's CT, made as they are needed.

As DiffPose (Gopalakrishnan et al. 2024, CVPR) and xvr (2025, arXiv 2503.16309) do: the
patient's own CT, seen from poses about a nominal one, is all there is to learn from.
Here the network also says how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.models.pose_regressor import (
    PoseRegressor,
    pose_regressor_of,
    weights_of,
)
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.registration.metrics import in_plane_error
from synthex_jax.registration.pose_network import PoseNetwork, residual_twist
from synthex_jax.registration.pose_renderings import PoseRenderings, RandomAppearance
from synthex_jax.registration.pose_trials import pose_trials
from synthex_jax.registration.pyramid import coarsened
from synthex_jax.typing import Matrix6, PRNGKey, Scalar, Shape2, Twist
from synthex_jax.volumes.volume import Volume

# The share of the steps in which the rate rises to its peak.
_WARMUP = 0.05
# Largest norm of a step's gradient; the loss is of the order of 1.
_LARGEST_SLOPE = 1.0


@dataclass(frozen=True)
class PoseTraining:
    """How a PoseNetwork is trained.

    Attributes:
        rotation: (3,), radians, standard deviation of the poses about each world axis.
        translation: (3,), mm, that along each axis.
        pixels: about so many along the longer side of the network's images.
        spacing: mm, about so much between voxels of the body that is rendered.
        widths: of ``PoseRegressor``.
        hidden: of ``PoseRegressor``.
        steps: of the optimizer.
        batch: renderings a step.
        rate: of AdamW at its peak; it rises to it at first and then falls as a cosine.
        weight_decay: of AdamW, on kernels.
        reprojection: 1/mm, what a mm in the image, at the body's depth, counts for
            beside the negative log-likelihood.
        held_out: renderings by which the temperature is set.
    """

    rotation: tuple[float, ...]
    translation: tuple[float, ...]
    pixels: int
    spacing: float
    widths: tuple[int, ...]
    hidden: int
    steps: int
    batch: int
    rate: float
    weight_decay: float
    reprojection: float
    held_out: int

    @classmethod
    def create(
        cls,
        *,
        rotation: float | Sequence[float] = float(np.deg2rad(15.0)),
        translation: float | Sequence[float] = 30.0,
        pixels: int = 128,
        spacing: float = 4.0,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        hidden: int = 256,
        steps: int = 10_000,
        batch: int = 64,
        rate: float = 1e-3,
        weight_decay: float = 1e-4,
        reprojection: float = 0.1,
        held_out: int = 1024,
    ) -> PoseTraining:
        """Checked; made for some minutes on a GPU.

        On a CPU ``pixels=64, spacing=8, widths=(16, 32, 64, 128), steps=2000,
        batch=32`` are some minutes too.

        Raises:
            ValueError: for spreads that are not positive, counts below 1, fewer than 8
                pixels or held-out renderings, and rates that are not positive.
        """
        for name, count, least in (
            ("pixels", pixels, 8),
            ("steps", steps, 1),
            ("batch", batch, 1),
            ("held_out", held_out, 10),
        ):
            require(count >= least, f"{name} must be at least {least}, got {count}")
        for name, number in (("spacing", spacing), ("rate", rate)):
            require(number > 0, f"{name} must be positive, got {number}")
        for name, number in (
            ("weight_decay", weight_decay),
            ("reprojection", reprojection),
        ):
            require(number >= 0, f"{name} must not be negative, got {number}")
        return cls(
            rotation=_three("rotation", rotation, "radians"),
            translation=_three("translation", translation, "mm"),
            pixels=pixels,
            spacing=spacing,
            widths=tuple(widths),
            hidden=hidden,
            steps=steps,
            batch=batch,
            rate=rate,
            weight_decay=weight_decay,
            reprojection=reprojection,
            held_out=held_out,
        )


def train_pose_network(
    key: PRNGKey,
    body: Volume,
    nominal: Camera,
    training: PoseTraining | None = None,
    *,
    appearance: RandomAppearance | None = None,
    projector: Joseph | None = None,
    callback: Callable[[int, Scalar], None] | None = None,
) -> PoseNetwork:
    """A network that tells a body's pose from a radiograph, with its uncertainty.

    The uncertainty is right on average for renderings as in training: one factor is
    fitted to held-out ones, so that 90 % lie within the ellipsoid of 90 %. Radiographs
    that differ more from the renderings than those among themselves have larger
    errors than it says.

    Args:
        key: what everything is drawn from; the same key makes the same network.
        body: 1/mm: ``ct.attenuation()``.
        nominal: the radiographs' camera, at the pose about which others are drawn.
        training: by default ``PoseTraining.create()``.
        appearance: by default ``RandomAppearance.create()``.
        projector: as ``PoseRenderings.create`` takes it.
        callback: takes the step, from 0, and its loss; waiting for the loss's value
            every time costs an accelerator some of its speed.

    Raises:
        ValueError: as ``PoseRenderings.create``, and where the loss has not stayed
            finite.

        network = train_pose_network(key, ct.attenuation(), nominal)
        start = network.predict(fixed)
        found = register(fixed, ct.attenuation(), start.camera, search=start.search())
    """
    training = PoseTraining.create() if training is None else training
    appearance = RandomAppearance.create() if appearance is None else appearance
    for_weights, for_steps, for_trials = jax.random.split(key, 3)
    network = _untrained(for_weights, body, nominal, training)
    renderings = PoseRenderings.create(
        coarsened(body, training.spacing),
        network.camera,
        network.spread,
        center=network.center,
        projector=projector,
        appearance=appearance,
    )
    weights = network.weights
    moments = _optimizer(training).init(weights)
    for step in range(training.steps):
        drawn = renderings.batch(jax.random.fold_in(for_steps, step), training.batch)
        weights, moments, loss = _stepped(
            weights, moments, renderings, *drawn, training=training
        )
        if callback is not None:
            callback(step, loss)
    finite = all(bool(jnp.all(jnp.isfinite(value))) for value in weights.values())
    require(
        finite, f"rate must be lower, the loss did not stay finite with {training.rate}"
    )
    network = replace(network, weights=weights)
    trials = pose_trials(for_trials, network, renderings, count=training.held_out)
    return replace(network, temperature=jnp.asarray(trials.temperature(), float))


def gaussian_nll(residual: Float[Array, "n"], factor: Float[Array, "n n"]) -> Scalar:
    """Negative log-likelihood of a normal distribution of mean zero.

    Args:
        residual: (n,), what was drawn.
        factor: (n, n), lower Cholesky factor of the covariance.
    """
    white = solve_triangular(factor, residual, lower=True)
    log_root = jnp.sum(jnp.log(jnp.diagonal(factor)))
    return 0.5 * (jnp.sum(white**2) + len(residual) * np.log(2 * np.pi)) + log_root


def pose_loss(
    twist: Twist,
    factor: Matrix6,
    truth: Camera,
    renderings: PoseRenderings,
    *,
    reprojection: float,
) -> Scalar:
    """Of one estimate, in units of the spread.

    The likelihood is that of the twist from the estimate to the truth (Barfoot and
    Furgale 2014, IEEE Trans. Robotics 30(3)). Beside it counts how far the body's box
    is off in the image: with likelihood alone, what is unsure is slow to be learned
    (Seitzer et al. 2022, ICLR).

    Args:
        twist: (6,), from the nominal camera.
        factor: (6, 6), of the covariance of what is left.
        truth: the camera of the rendering.
        renderings: what it was drawn from.
        reprojection: 1/mm.
    """
    center, spread = renderings.center, renderings.spread
    estimate = renderings.camera.moved(spread * twist, about=center)
    residual = residual_twist(estimate, truth, center) / spread
    # Corners whose mean square is that of the whole box.
    points = center + (renderings.body.corners() - center) / np.sqrt(3)
    off = in_plane_error(estimate, truth, points, isocenter=center)
    return gaussian_nll(residual, factor) + reprojection * off


def _untrained(
    key: PRNGKey, body: Volume, nominal: Camera, training: PoseTraining
) -> PoseNetwork:
    factor = max(1, round(max(nominal.shape) / training.pixels))
    rows, cols = (n // factor for n in nominal.shape)
    return PoseNetwork(
        weights=_first_weights(key, (rows, cols), training.widths, training.hidden),
        nominal=nominal,
        center=body.center,
        spread=jnp.asarray((*training.rotation, *training.translation), float),
        temperature=jnp.ones(()),
        factor=factor,
        widths=training.widths,
        hidden=training.hidden,
    )


@partial(jax.jit, static_argnums=(1, 2, 3))
def _first_weights(
    key: PRNGKey, shape: Shape2, widths: tuple[int, ...], hidden: int
) -> dict[str, Array]:
    return weights_of(PoseRegressor(shape, widths, hidden, rngs=nnx.Rngs(params=key)))


@partial(jax.jit, static_argnames="training")
def _stepped(
    weights: dict[str, Array],
    moments: optax.OptState,
    renderings: PoseRenderings,
    truths: Camera,
    images: Float[Array, "batch rows cols"],
    *,
    training: PoseTraining,
) -> tuple[dict[str, Array], optax.OptState, Scalar]:
    of_one = partial(
        pose_loss, renderings=renderings, reprojection=training.reprojection
    )

    def loss(weights: dict[str, Array]) -> Scalar:
        regressor = pose_regressor_of(
            renderings.camera.shape, training.widths, training.hidden, weights
        )
        return jnp.mean(jax.vmap(of_one)(*regressor(images[..., None]), truths))

    value, slope = jax.value_and_grad(loss)(weights)
    changes, moments = _optimizer(training).update(slope, moments, weights)
    moved = {name: value + changes[name] for name, value in weights.items()}  # pyright: ignore
    return moved, moments, value


def _optimizer(training: PoseTraining) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0, training.rate, max(1, round(_WARMUP * training.steps)), training.steps + 1
    )
    kernels = lambda weights: {name: w.ndim > 1 for name, w in weights.items()}
    return optax.chain(
        optax.clip_by_global_norm(_LARGEST_SLOPE),
        optax.adamw(rate, weight_decay=training.weight_decay, mask=kernels),
    )


def _three(name: str, value: float | Sequence[float], unit: str) -> tuple[float, ...]:
    numbers = np.asarray(value, float)
    require(
        numbers.shape in ((), (3,))
        and bool(np.all(np.isfinite(numbers) & (numbers > 0))),
        f"{name} must be one positive number or three, in {unit}, got {value}",
    )
    return tuple(np.broadcast_to(numbers, 3).tolist())
