r"""Scatter by following photons one by one: the reference for faster models.

Photons start towards random points of the detector's pixels, in proportion to the
illumination, fly by delta tracking through voxels that are boxes of one mixture each,
and lose, instead of being absorbed, the absorbed share of their weight; below a tenth
of it they end by Russian roulette. At each collision the expected contribution to one
random point of the detector is added up (the next-event estimator): the cross sections
of Compton and Rayleigh scattering towards it, the solid angle, and the transmission of
the way out, of Compton-scattered photons at their new energy. In pixel $p$
$$ S_p = \sum_i w_i \frac{A}{\mu} \Big(\frac{d\mu_C}{d\Omega} e^{-\tau(E')} q(E') +
   \frac{d\mu_R}{d\Omega} e^{-\tau(E)} q(E)\Big) \frac{\cos\alpha}{r^2}, $$

over the collisions $i$ whose random points lie in $p$, with the detector's area $A$.

Left out: polarization, binding of electrons beyond the incoherent scattering function
(so no Doppler broadening), interference between molecules, characteristic radiation of
the body, and electrons, which stay where they are set free.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from synthex_jax.checks import is_concrete, require
from synthex_jax.geometry.camera import Camera
from synthex_jax.nouns import noun
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.signal import Illumination, Response, Signal
from synthex_jax.physics.tables import require_energy
from synthex_jax.scatter.medium import ENERGIES, Medium, mixed
from synthex_jax.scatter.next_event import expected_at_detector
from synthex_jax.scatter.photons import (
    LANES,
    Photons,
    Source,
    nobody,
    refilled,
    scattered,
)
from synthex_jax.scatter.sampling import ENDS, angle_tables, recurrence
from synthex_jax.scatter.tracking import fly
from synthex_jax.typing import Image, PRNGKey, Scalar
from synthex_jax.volumes.composition import Composition

# The standard error comes from the spread between this many parts of the histories.
_BATCHES = 16


@noun
@dataclass(frozen=True)
class Tally:
    """Scatter at a detector, as counted.

    Attributes:
        by_order: (orders, rows, cols), mean keV a pixel of photons scattered once,
            twice, ...; the last order holds all that follow.
        signal: of all orders.
        standard_error: (rows, cols), keV, of the mean of ``signal``: how far, for the
            finite number of histories, it is from its expectation.
    """

    by_order: Float[Array, "orders rows cols"]
    signal: Signal
    standard_error: Image

    @property
    def shares(self) -> Float[Array, "orders"]:
        """(orders,), of each order in the energy of scatter in the detector."""
        return jnp.sum(self.by_order, axis=(1, 2)) / jnp.sum(self.by_order)


def monte_carlo(
    key: PRNGKey,
    composition: Composition,
    camera: Camera,
    illumination: Illumination,
    absorber: Absorber,
    *,
    histories: int,
    orders: int = 12,
) -> Tally:
    """The scattered part of a radiograph, by simulation of photons.

    Scatter is smooth: give a camera of few pixels (``camera.resized((32, 32))``) and a
    volume of few voxels (5 to 10 mm). The time goes as histories times the longest side
    of the volume in voxels. Shares that a basis of substances makes negative count in
    all sums; where only the angle of a collision is drawn, they count as 0.

    It has no derivative: that of what is counted, with its random choices held, is not
    that of the expectation, and asking for it is an error.

    Args:
        key: for all that is random.
        composition: the body.
        camera: whose pixels are tallied.
        illumination: photons on these pixels without the body.
        absorber: ``absorber.response(energies)`` is what the detector takes.
        histories: photons to follow; the standard error falls as its root.
        orders: of scattering to tell apart, static; all are followed.

    Raises:
        ValueError: for fewer than 16 histories or more than 2^31 - 1, fewer orders than
            one, an illumination of another shape than the camera's, energies outside
            5 to 160 keV, negative photons.
        NotImplementedError: where it is differentiated.
    """
    require(
        _BATCHES <= histories < 2**31,
        f"histories must be between {_BATCHES} (the parts whose spread gives the "
        f"standard error) and 2^31 - 1, got {histories}",
    )
    require(orders >= 1, f"orders must be at least 1, got {orders}")
    expected = (*camera.shape, *illumination.energies.shape)
    require(
        illumination.photons.shape == expected,
        f"illumination.photons must be (rows, cols, bins) = {expected} for this camera "
        f"and these energies, got {illumination.photons.shape}",
    )
    require_energy("illumination.energies", illumination.energies)
    if is_concrete(illumination.photons):
        least = np.min(np.asarray(illumination.photons))
        require(
            least >= 0,
            f"illumination.photons must not be negative, the least is {least}",
        )
    response = absorber.response(jnp.asarray(ENERGIES, float))
    count = jnp.int32(histories)
    return _simulated(key, composition, camera, illumination, response, count, orders)


class _Counts(NamedTuple):
    """What has been counted, pixels in one row.

    Attributes:
        by_order: (orders, pixels), keV.
        by_batch: (batches, pixels), keV.
        second: (pixels,), keV^2.
    """

    by_order: Float[Array, "orders pixels"]
    by_batch: Float[Array, "batches pixels"]
    second: Float[Array, "pixels"]


@partial(jax.custom_jvp, nondiff_argnums=(6,))
@partial(jax.jit, static_argnums=6)
def _simulated(
    key: PRNGKey,
    composition: Composition,
    camera: Camera,
    illumination: Illumination,
    response: Response,
    histories: Int[Array, ""],
    orders: int,
) -> Tally:
    key, starts_key, ends_key = jax.random.split(key, 3)
    medium = Medium.create(composition, response)
    tables = angle_tables(composition.substances)
    photons = jnp.cumsum(illumination.photons.astype(float).reshape(-1))
    source = Source(
        camera,
        illumination.energies.astype(float),
        photons / jnp.where(photons[-1] > 0, photons[-1], 1.0),
        jax.random.bits(starts_key, (3,), jnp.uint32),
    )
    end_shifts = jax.random.bits(ends_key, (2,), jnp.uint32)
    a_batch = (histories + _BATCHES - 1) // _BATCHES

    def goes_on(state: tuple[Array, Array, Photons, _Counts]) -> Bool[Array, ""]:
        _, started, flock, _ = state
        return (started < histories) | jnp.any(flock.alive)

    def advance(
        state: tuple[Array, Array, Photons, _Counts],
    ) -> tuple[Array, Array, Photons, _Counts]:
        turn, started, flock, counts = state
        flight_key, draws_key = jax.random.split(jax.random.fold_in(key, turn))
        draws = jax.random.uniform(draws_key, (6, LANES))
        flock, started = refilled(flock, source, medium, started, histories)
        met = medium.at_energy(flock.energy)
        flight = fly(
            flight_key, medium, flock.position, flock.direction, met, flock.alive
        )
        flock = flock._replace(
            position=flock.position + flight.travelled * flock.direction,
            order=flock.order + flight.collided,
            alive=flight.collided | flight.flying,
        )
        end = recurrence(
            turn.astype(jnp.uint32) * LANES + jnp.arange(LANES, dtype=jnp.uint32),
            ENDS,
            end_shifts,
        )
        total = mixed(flight.fractions, met.total)
        first, second, pixel = expected_at_detector(
            composition.substances,
            medium,
            camera,
            flock,
            met,
            flight.fractions / jnp.where(total > 0, total, 1.0)[:, None],
            end,
            draws[0],
        )
        first = jnp.where(flight.collided, first, 0.0)
        second = jnp.where(flight.collided, second, 0.0)
        order = jnp.clip(flock.order, 1, orders) - 1
        counts = _Counts(
            counts.by_order.at[order, pixel].add(first),
            counts.by_batch.at[flock.history // a_batch, pixel].add(first),
            counts.second.at[pixel].add(second),
        )
        turned_away = scattered(tables, flock, met, flight.fractions, total, draws[1:])
        flock = jax.tree.map(
            lambda new, old: jnp.where(flight.collided, new, old), turned_away, flock
        )
        return turn + 1, started, flock, counts

    pixels = camera.shape[0] * camera.shape[1]
    counts = _Counts(
        jnp.zeros((orders, pixels)), jnp.zeros((_BATCHES, pixels)), jnp.zeros(pixels)
    )
    state = (jnp.int32(0), jnp.int32(0), nobody(), counts)
    counts = lax.while_loop(goes_on, advance, state)[3]
    return _tally(counts, camera, photons[-1], histories, a_batch)


@_simulated.defjvp
def _refuse_derivatives(orders: int, primals: tuple, tangents: tuple) -> NoReturn:
    raise NotImplementedError(
        "monte_carlo has no derivative: differentiate a deterministic model of "
        "scatter, or hold it constant with jax.lax.stop_gradient on its arguments"
    )


def _tally(
    counts: _Counts,
    camera: Camera,
    photons: Scalar,
    histories: Int[Array, ""],
    a_batch: Int[Array, ""],
) -> Tally:
    """Counts of photons of weight 1 as those of all photons."""
    scale = photons / histories
    by_order = scale * counts.by_order.reshape(-1, *camera.shape)
    mean = jnp.sum(by_order, axis=0)
    sizes = jnp.clip(histories - a_batch * jnp.arange(_BATCHES), 0, a_batch)
    shares = (sizes / histories)[:, None, None]
    by_batch = scale * counts.by_batch.reshape(-1, *camera.shape)
    spread = jnp.sum((by_batch - shares * mean) ** 2, axis=0)
    return Tally(
        by_order,
        Signal(mean, scale * counts.second.reshape(camera.shape)),
        jnp.sqrt(spread * _BATCHES / (_BATCHES - 1)),
    )
