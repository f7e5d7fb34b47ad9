"""Renderings of a CT from poses about a nominal one, looking like radiographs.

A network that is trained on line integrals alone takes their exact gray values for
granted. Here beam hardening, scatter, uneven fields, blur, noise, collimators and tools
vary at random, in the order in which they arise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import (
    is_concrete,
    require,
    require_not_negative,
    require_positive,
    require_shape,
)
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, at_most
from synthex_jax.physics.blur import Blur, blurred
from synthex_jax.physics.collimators import CircularCollimator, RectangularCollimator
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.typing import (
    ArrayLike,
    Image,
    PRNGKey,
    Scalar,
    Twist,
    Vector2,
    Vector3,
)
from synthex_jax.volumes.volume import Volume

# 1/mm; tungsten has 15 at 60 keV. Beyond, it is a CT in HU.
_MOST_ATTENUATION = 20.0

# Waves along each side of an uneven field: none, half a period, a whole one.
_WAVES = 3
# Readings are raised to this share of the quanta: a converter's first step.
_LEAST_READING = 1e-3
# Rectangles that hide something: a tool's shaft, a marker, a hand.
_TOOLS = 2
# Numbers that an appearance draws: contrast, scatter, blur, quanta; two fields; a
# tool's size, place, turn and presence; the same and the shape of a collimator; their
# levels.
_DRAWS = 4 + 2 * _WAVES**2 + 6 * _TOOLS + 7 + _TOOLS + 1
# Of the largest attenuation, above which a pixel is behind the body.
_BODY_ABOVE = 0.1
# Of the largest attenuation, to which air is raised; powers of 0 have no logarithm.
_LEAST_SHARE = 1e-6
# Exponent of the brightest reading over that behind the body: open field reads beyond
# the end of a converter's scale.
_END_OF_SCALE = 4.0


@noun
@dataclass(frozen=True)
class PoseRenderings:
    """Images of a body, and the cameras that they were taken with.

    Attributes:
        body: 1/mm.
        camera: at the nominal pose.
        spread: (6,), standard deviation of the twists: radians, then mm.
        center: (3,), world mm, about which they turn.
        projector: how to integrate.
        appearance: what happens to line integrals; None leaves them as they are.
    """

    body: Volume
    camera: Camera
    spread: Twist
    center: Vector3
    projector: Joseph
    appearance: RandomAppearance | None

    @classmethod
    def create(
        cls,
        body: Volume,
        camera: Camera,
        spread: ArrayLike,
        *,
        center: ArrayLike | None = None,
        projector: Joseph | None = None,
        appearance: RandomAppearance | None = None,
    ) -> PoseRenderings:
        """Checked.

        Args:
            body: 1/mm: ``ct.attenuation()``.
            camera: at the nominal pose.
            spread: (6,), radians, then mm.
            center: (3,), world mm; by default the body's. That of a body whose voxels
                were averaged may be another than before.
            projector: by default along the principal axis of the nominal view, which
                suits batches; its rays may be steeper than 45 degrees at poses far off.
            appearance: None for plain line integrals.

        Raises:
            ValueError: for a body in HU, with channels, or that is not between source
                and detector; for spreads that are negative.
        """
        require(
            body.data.ndim == 3,
            "body must have shape (nx, ny, nz), without channels, got "
            f"{body.data.shape}",
        )
        most = float(jnp.max(body.data))
        require(
            0 < most <= _MOST_ATTENUATION,
            f"body must be in 1/mm and attenuate, but its largest value is {most:.6g}; "
            "a CT in HU becomes that by ct.attenuation()",
        )
        depth, far = float(camera.depth(body.center)), float(camera.source_to_detector)
        require(
            0 < depth < far,
            "camera must have the body between source and detector, but its center is "
            f"at {depth:.6g} mm from the source, the detector at {far:.6g} mm",
        )
        spread = jnp.asarray(spread, float)
        require_shape("spread", spread, (6,))
        require_not_negative("spread", spread, "(radians, mm)")
        if projector is None:
            projector = Joseph(axis=int(principal_axis(body, camera)))
        center = jnp.asarray(body.center if center is None else center, float)
        require_shape("center", center, (3,))
        return cls(body, camera, spread, center, projector, appearance)

    def sample(self, key: PRNGKey) -> tuple[Camera, Image]:
        """A camera, and what it sees."""
        for_pose, for_look = jax.random.split(key)
        twist = self.spread * jax.random.normal(for_pose, (6,), self.spread.dtype)
        camera = self.camera.moved(twist, about=self.center)
        image = self.projector.project(self.body, camera)
        if self.appearance is None:
            return camera, image
        return camera, self.appearance.apply(for_look, image, camera)

    def batch(
        self, key: PRNGKey, size: int
    ) -> tuple[Camera, Float[Array, "size rows cols"]]:
        """So many at once: cameras with leaves of (size, ...), and images."""
        return _sampled(key, self, size)


@partial(jax.jit, static_argnames="size")
def _sampled(
    key: PRNGKey, renderings: PoseRenderings, size: int
) -> tuple[Camera, Float[Array, "size rows cols"]]:
    return jax.vmap(renderings.sample)(jax.random.split(key, size))


@noun
@dataclass(frozen=True)
class RandomAppearance:
    """What an image of line integrals goes through, drawn anew for each image.

    Gain and offset are not among them: ``PoseRegressor`` does not see them.

    Attributes:
        contrast: (2,), range of the exponent of attenuation: below 1 by beam
            hardening, above where bone attenuates more than it was rendered with.
        scatter: (2,), range of scattered over primary photons behind the body.
        unevenness: (), standard deviation of a slow field that is added to the
            attenuation: heel effect, veiling glare, a flat field of another day.
        blur: (), pixels, the largest standard deviation.
        quanta: (2,), range of the photons a pixel behind the body.
        collimated: (), how probable a collimator is, round or rectangular alike.
        covered: (), how probable each of two rectangles is that hide something.
    """

    contrast: Vector2
    scatter: Vector2
    unevenness: Scalar
    blur: Scalar
    quanta: Vector2
    collimated: Scalar
    covered: Scalar

    @classmethod
    def create(
        cls,
        *,
        contrast: ArrayLike = (0.6, 1.3),
        scatter: ArrayLike = (0.02, 2.0),
        unevenness: ArrayLike = 0.1,
        blur: ArrayLike = 1.0,
        quanta: ArrayLike = (1e3, 1e5),
        collimated: ArrayLike = 0.3,
        covered: ArrayLike = 0.2,
    ) -> RandomAppearance:
        """Checked; as wide as radiographs of a trunk vary.

        Behind an antiscatter grid ``realistic()`` has a third as much scatter as
        primary in a frontal view of a pelvis, in the median, and one and a half times
        as much in a lateral one. Quanta are those of ``automatic_exposure``, in pixels
        that gather those of a hundred small ones.

        Raises:
            ValueError: for ranges that are not positive or fall, a negative size, and
                probabilities beyond 0 to 1.
        """
        require_not_negative("unevenness", unevenness)
        require_not_negative("blur", blur, "(pixels)")
        for name, value in (("collimated", collimated), ("covered", covered)):
            require_not_negative(name, value)
            require(
                not is_concrete(value) or bool(np.asarray(value) <= 1),
                f"{name} must be a probability from 0 to 1, got {value}",
            )
        return cls(
            contrast=_range("contrast", contrast),
            scatter=_range("scatter", scatter),
            unevenness=jnp.asarray(unevenness, float),
            blur=jnp.asarray(blur, float),
            quanta=_range("quanta", quanta),
            collimated=jnp.asarray(collimated, float),
            covered=jnp.asarray(covered, float),
        )

    def apply(self, key: PRNGKey, image: Image, camera: Camera) -> Image:
        """One image's appearance.

        Args:
            key: what to draw from.
            image: (rows, cols), line integrals without unit.
            camera: the image's; where its pixels lie matters, not its pose.
        """
        for_numbers, for_noise = jax.random.split(key)
        # All at once: each call of a generator takes long to compile.
        draws = iter(jax.random.uniform(for_numbers, (_DRAWS,), image.dtype))
        noise = jax.random.normal(for_noise, image.shape, image.dtype)
        light = self._light(draws, image)
        light = self._blurred(draws, light, camera)
        quanta = _log_between(draws, self.quanta)
        light = at_least(light, _LEAST_READING)
        light = at_least(light + noise * jnp.sqrt(light / quanta), _LEAST_READING)
        seen = -jnp.log(light) + self.unevenness * _slow_field(draws, image)
        plane = DetectorPlane.from_camera(camera)
        low, high = jnp.min(seen), jnp.max(seen)
        hiding = [self._tool(draws, plane) for _ in range(_TOOLS)]
        for hidden in (*hiding, self._closed(draws, plane)):
            level = low + (high - low) * _between(draws, -0.2, 1.2)
            seen = seen + hidden * (level - seen)
        return seen

    def _light(self, draws: Iterator[Scalar], image: Image) -> Image:
        """What arrives: 1 on average behind the body."""
        most = at_least(jnp.max(image), jnp.finfo(image.dtype).tiny)
        share = at_least(image / most, _LEAST_SHARE)
        hardened = most * share ** _log_between(draws, self.contrast)
        # At least the largest is behind the body.
        behind = (share > _BODY_ABOVE).astype(image.dtype)
        typical = jnp.sum(behind * hardened) / jnp.sum(behind)
        primary = jnp.exp(at_most(typical - hardened, _END_OF_SCALE))
        ratio = _log_between(draws, self.scatter)
        return primary + ratio * jnp.exp(0.5 * _slow_field(draws, image))

    def _blurred(self, draws: Iterator[Scalar], light: Image, camera: Camera) -> Image:
        nothing = jnp.zeros((), light.dtype)
        blur = Blur(self.blur * next(draws), nothing, nothing)
        return blurred(light, blur, jnp.ones_like(camera.pitch))

    def _tool(self, draws: Iterator[Scalar], plane: DetectorPlane) -> Image:
        """The share of each pixel that a rectangle hides; its sides differ a lot."""
        side = _side(plane)
        limits = jnp.array([0.03, 0.5], side.dtype)
        size = side * jnp.stack([_log_between(draws, limits) for _ in range(2)])
        center = side * jnp.stack([_between(draws, -0.5, 0.5) for _ in range(2)])
        turn = np.pi * next(draws)
        tool = RectangularCollimator(size, center, turn, plane.pitch[0] / 4)
        return jnp.where(next(draws) < self.covered, tool.transmission(plane), 0)

    def _closed(self, draws: Iterator[Scalar], plane: DetectorPlane) -> Image:
        """The share of each pixel that a collimator hides."""
        side, edge = _side(plane), plane.pitch[0] / 4
        center = side * jnp.stack([_between(draws, -0.1, 0.1) for _ in range(2)])
        size = side * jnp.stack([_between(draws, 0.6, 1.1) for _ in range(2)])
        turn = _between(draws, -0.3, 0.3)
        around = CircularCollimator(size[0] / 2, center, edge).transmission(plane)
        leaves = RectangularCollimator(size, center, turn, edge).transmission(plane)
        closed = 1 - jnp.where(next(draws) < 0.5, around, leaves)
        return jnp.where(next(draws) < self.collimated, closed, 0)


def _slow_field(draws: Iterator[Scalar], image: Image) -> Image:
    """Cosine waves with random weights; mean 0, variance 1 in expectation."""
    waves = [
        np.cos(np.pi * np.arange(_WAVES)[:, None] * (np.arange(n) + 0.5) / n)
        for n in image.shape
    ]
    # Faster waves are fainter, and there is no constant one. The mean square of a
    # wave is 1/2 along each side that it varies along.
    index = np.indices((_WAVES, _WAVES))
    fading = 1 / np.maximum(np.hypot(*index), 1)
    fading[0, 0] = 0
    fading /= np.sqrt((fading**2 / 2.0 ** (index > 0).sum(0)).sum())
    # Uniform numbers of variance 1.
    limit = float(np.sqrt(3))
    weights = jnp.stack([_between(draws, -limit, limit) for _ in range(_WAVES**2)])
    weights = weights.reshape(_WAVES, _WAVES)
    down, across, fading = (jnp.asarray(x, image.dtype) for x in (*waves, fading))
    return jnp.einsum("uv,ur,vc->rc", weights * fading, down, across)


def _between(draws: Iterator[Scalar], low: float, high: float) -> Scalar:
    return low + (high - low) * next(draws)


def _log_between(draws: Iterator[Scalar], limits: Vector2) -> Scalar:
    """All ratios alike."""
    low, high = jnp.log(limits)
    return jnp.exp(low + (high - low) * next(draws))


def _side(plane: DetectorPlane) -> Scalar:
    """Mm of the detector's longer side."""
    return jnp.max(plane.pitch * np.asarray(plane.shape))


def _range(name: str, value: ArrayLike) -> Vector2:
    limits = jnp.asarray(value, float)
    require_shape(name, limits, (2,))
    require_positive(name, limits)
    require(
        not is_concrete(limits) or bool(limits[0] <= limits[1]),
        f"{name} must be (smallest, largest), got {value}",
    )
    return limits
