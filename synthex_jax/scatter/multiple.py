r"""Photons scattered twice and more: integral transport on a grid of coarse cells.

The field of photons that arrive in a cell is kept as its moments of direction up to the
second, $\phi$, $J_i$, $T_{ij}$ (Peierls's equation with anisotropic scattering). A
scattering with Legendre moments $\mu_l$ (``orders``) sends out towards $\Omega$

$$ e(\Omega) = \frac{V}{4\pi} \big[\mu_0 \phi + 3 \mu_1 J \cdot \Omega +
   \tfrac{5}{2} \mu_2 (3\,\Omega T \Omega - \phi) \big]; $$

flights between cells (``cells``) make it the next field. Each order has one energy for
each of the primary beam's. The last flights, to the detector, are those of ``flights``.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from synthex_jax.numerics import between, product
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import compton_energy
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.signal import Signal
from synthex_jax.scatter.body import CoarseBody, contracted
from synthex_jax.scatter.cells import flight_means, fractions_between
from synthex_jax.scatter.flights import Pixels, flights
from synthex_jax.scatter.orders import Moments
from synthex_jax.scatter.primary import Primary
from synthex_jax.typing import Shape3

# The energy after a scattering is that at this cosine. The mean is near 0, but those
# that get out are more often those that kept their energy. The one number of this model
# that is fitted, to Monte Carlo of slabs of water of 5, 10, 20 and 30 cm and a ball of
# 18 cm at 60 keV: their scatter in all comes out 5, 4, 2, 1 and 3 % too bright.
_COSINE = 0.25


class Field(NamedTuple):
    """Moments of direction, of photons that arrive or, times V mu, that leave.

    Attributes:
        flux: (cells,).
        current: (cells, 3).
        tensor: (cells, 3, 3), symmetric; its trace is the flux of those that arrive.
    """

    flux: Float[Array, "cells"]
    current: Float[Array, "cells 3"]
    tensor: Float[Array, "cells 3 3"]

    def scattered(self, moments: Float[Array, "3 cells"]) -> Field:
        """Coefficients of what leaves, by 1, Omega and Omega Omega."""
        return Field(
            (moments[0] - 2.5 * moments[2]) * self.flux,
            3 * moments[1, :, None] * self.current,
            7.5 * moments[2, :, None, None] * self.tensor,
        )


def multiple_scatter(
    body: CoarseBody,
    primary: Primary,
    pixels: Pixels,
    substances: tuple[Material, ...],
    absorber: Absorber,
    cells: Shape3,
    orders: int,
) -> Signal:
    """What photons leave in the detector that were scattered 2 to ``orders`` times.

    Forward peaks of Rayleigh scattering are no scattering here: photons that were
    scattered once besides belong to the first order, seen through a body that
    attenuates less by the peaks.

    Args:
        body: in fine layers, for the last flights.
        primary: through the same layers.
        pixels: of the detector.
        substances: of the body.
        absorber: takes the energy.
        cells: (layers, rows, cols) of the grid.
        orders: at least 2.
    """
    coarse = body.averaged(cells)
    energies = [primary.energies]
    for _ in range(orders):
        energies.append(compton_energy(energies[-1], _COSINE))
    by_order = jnp.stack(energies)
    moments = jax.tree.map(
        lambda table: table.reshape(*table.shape[:-2], *by_order.shape, -1),
        Moments.create(substances, by_order.reshape(-1)),
    )
    sent = _all_orders(coarse, body, primary, pixels, moments, orders)
    return _at_detector(
        coarse, body, pixels, sent, moments.attenuation[2:], absorber, by_order[2:]
    )


def _all_orders(
    coarse: CoarseBody,
    body: CoarseBody,
    primary: Primary,
    pixels: Pixels,
    moments: Moments,
    orders: int,
) -> Field:
    """What leaves the cells after collisions 2 to ``orders``: (orders - 1, g, ...)."""
    collided = _first_collisions(coarse, body, primary, pixels, moments)
    centers = jnp.stack(
        jnp.meshgrid(*(coarse.places(axis) for axis in range(3)), indexing="ij"), -1
    ).reshape(-1, 3)
    geometry, lengths = flight_means(coarse.steps, coarse.shape)
    between = fractions_between(coarse) * lengths[..., None]
    shares = coarse.fractions.reshape(len(centers), -1) * jnp.prod(coarse.steps)
    towards = centers / jnp.linalg.norm(centers, axis=-1, keepdims=True)
    beam = Field(
        jnp.ones(len(centers)), towards, towards[:, :, None] * towards[:, None, :]
    )
    flight = _Flight.create(centers)

    def of_one_energy(inputs: tuple[Array, Array, Array]) -> Field:
        first, attenuations, scatterings = inputs

        @jax.checkpoint
        def collide(leaving: Field, step: tuple[Array, Array]) -> tuple[Field, Field]:
            attenuation, scattering = step
            depths = contracted("abm,m->ab", between, attenuation)
            arriving = flight.arriving(geometry * jnp.exp(-depths), leaving)
            leaving = arriving.scattered(contracted("lm,am->la", scattering, shares))
            return leaving, leaving

        return lax.scan(
            collide,
            beam.scattered(first),
            (attenuations[1:orders], scatterings[1:orders]),
        )[1]

    inputs = (
        jnp.moveaxis(collided, 2, 0),
        jnp.moveaxis(moments.attenuation, 1, 0),
        jnp.moveaxis(moments.scattering, (2, 1, 0), (0, 1, 2)),
    )
    return jax.tree.map(
        lambda leaves: jnp.swapaxes(leaves, 0, 1), lax.map(of_one_energy, inputs)
    )


def _first_collisions(
    coarse: CoarseBody,
    body: CoarseBody,
    primary: Primary,
    pixels: Pixels,
    moments: Moments,
) -> Float[Array, "3 cells energies"]:
    """Numbers of photons times moments of scattering, given to the nearest cells."""
    depths = body.places(0)
    share = (depths / pixels.distance)[:, None]
    weights = [
        # What lies beyond the outermost centers is given to them.
        coarse.weights(
            axis, between(places, coarse.places(axis)[0], coarse.places(axis)[-1])
        )
        for axis, places in enumerate(
            (depths, share * pixels.rows, share * pixels.cols)
        )
    ]
    tracks = primary.arriving(moments.attenuation[0]) * primary.length[..., None]
    scattering = contracted(
        "lgm,jvum->ljvug", moments.scattering[:, 0], primary.fractions
    )
    collided = contracted("jz,jvy,jux,ljvug->lzyxg", *weights, tracks * scattering)
    return collided.reshape(3, -1, collided.shape[-1])


class _Flight(NamedTuple):
    r"""Sums over all pairs of cells, without an array that has a direction a pair.

    With $\Omega = (x_a - x_b)/r$ sums over $b$ of $\Omega$ and $\Omega\Omega$ are
    matrix products with $1$, $x_b$ and $x_b x_b$.

    Attributes:
        centers: (cells, 3), mm, from their mean.
        inverse: (cells, cells), 1/mm, one over their distances; 0 for a cell and
            itself.
        own: (cells, cells), the identity.
    """

    centers: Float[Array, "cells 3"]
    inverse: Float[Array, "cells cells"]
    own: Float[Array, "cells cells"]

    @classmethod
    def create(cls, centers: Float[Array, "cells 3"]) -> _Flight:
        centers = centers - jnp.mean(centers, axis=0)
        own = jnp.eye(len(centers), dtype=centers.dtype)
        squares = jnp.sum(centers**2, axis=-1)
        squared = squares[:, None] + squares - 2 * product(centers, centers.T)
        inverse = jnp.where(
            own > 0, 0.0, 1 / jnp.sqrt(jnp.where(own > 0, 1.0, squared))
        )
        return cls(centers, inverse, own)

    def arriving(self, kernel: Float[Array, "cells cells"], leaving: Field) -> Field:
        """The field that flights make of what leaves the cells."""
        x, ones = self.centers, jnp.ones((len(self.centers), 1), kernel.dtype)
        squares = (x[:, :, None] * x[:, None, :]).reshape(-1, 9)
        along = contracted("bi,bi->b", leaving.current, x)
        turned = contracted("bij,bj->bi", leaving.tensor, x)
        once = product(
            jnp.concatenate([x, ones], -1),
            jnp.concatenate([leaving.current, -along[:, None]], -1).T,
        )
        twice = product(
            jnp.concatenate([squares, -2 * x, ones], -1),
            jnp.concatenate(
                [
                    leaving.tensor.reshape(-1, 9),
                    turned,
                    contracted("bi,bi->b", turned, x)[:, None],
                ],
                -1,
            ).T,
        )
        # Within a cell all directions are alike: the mean of Omega Omega is a third.
        even = jnp.trace(leaving.tensor, axis1=1, axis2=2) / 3
        sent = kernel * (
            leaving.flux
            + self.inverse * once
            + self.inverse**2 * twice
            + self.own * even
        )
        first = product(sent * self.inverse, jnp.concatenate([x, ones], -1))
        second = product(
            sent * self.inverse**2, jnp.concatenate([squares, x, ones], -1)
        )
        mixed = x[:, :, None] * second[:, None, 9:12]
        stayed = jnp.diagonal(sent)[:, None, None] / 3 * jnp.eye(3)
        return Field(
            jnp.sum(sent, axis=1),
            x * first[:, 3:] - first[:, :3],
            squares.reshape(-1, 3, 3) * second[:, 12:, None]
            - mixed
            - jnp.swapaxes(mixed, 1, 2)
            + second[:, :9].reshape(-1, 3, 3)
            + stayed,
        )


def _at_detector(
    coarse: CoarseBody,
    body: CoarseBody,
    pixels: Pixels,
    sent: Field,
    attenuation: Float[Array, "orders energies substances"],
    absorber: Absorber,
    energies: Float[Array, "orders energies"],
) -> Signal:
    """Last flights from the cells, all orders at their own energies."""
    response = absorber.response(energies)
    layers, rows, cols = coarse.shape
    by_layer = jax.tree.map(
        lambda leaves: jnp.moveaxis(
            leaves.reshape(*energies.shape, layers, rows, cols, *leaves.shape[3:]), 2, 0
        ),
        sent,
    )
    starts = coarse.places(1), coarse.places(2)

    @jax.checkpoint
    def add(total: Signal, layer: tuple[Array, Field]) -> tuple[Signal, None]:
        depth, leaving = layer
        ways = flights(body, depth, starts, pixels)
        solid = ways.solid_angles / (4 * jnp.pi)

        def add_order(total: Signal, inputs: tuple) -> tuple[Signal, None]:
            field, attenuation, first, second = inputs
            towards = contracted("gyxij,yvxuj->yvxugi", field.tensor, ways.directions)
            towards += field.current.transpose(1, 2, 0, 3)[:, None, :, None]
            out = contracted("yvxugi,yvxui->yvxug", towards, ways.directions)
            out += field.flux.transpose(1, 2, 0)[:, None, :, None]
            depths = contracted("yvxum,gm->yvxug", ways.paths, attenuation)
            photons = contracted("yvxug,yvxu->vug", out * jnp.exp(-depths), solid)
            return Signal(
                total.mean + product(photons, first),
                total.variance + product(photons, second),
            ), None

        steps = (leaving, attenuation, response.first, response.second)
        return lax.scan(add_order, total, steps)

    zero = jnp.zeros((len(pixels.rows), len(pixels.cols)), body.first.dtype)
    return lax.scan(add, Signal(zero, zero), (coarse.places(0), by_layer))[0]
