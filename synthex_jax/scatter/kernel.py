r"""Scatter as a blurred primary image: kernels by thickness, energy and distance.

Every pixel's pencil beam scatters as it would in a slab of water that has as many
electrons in its way (thickness-adapted superposition with asymmetric kernels: Sun and
Star-Lack 2010, Phys. Med. Biol. 55:6695). The kernel is a sum of Gaussians of widths
that are fixed shares $w_g$ of the distance $c$ from the body's middle to the detector.
Their shares $A_g$ of the primary's energy come from a table (``bake_kernels``: Monte
Carlo in slabs of the proportions of a trunk). As the sum is linear in $A_g$, pixels of
all thicknesses take one convolution a Gaussian, a product of small matrices:

$$ S = \sum_g G_g * \sum_k P_k\,A_g(t, E_k, c). $$

Beams spread from the source, while what scatters evenly leaves a body by the shortest
way. Wide Gaussians are hence centered at the place $1 - \kappa_g c/D$ as far from the
central ray as the beam that makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera, checked_shape
from synthex_jax.nouns import noun
from synthex_jax.numerics import at_least, between, product
from synthex_jax.physics.compounds import Material
from synthex_jax.physics.scattering import compton_energy
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.signal import Illumination, Signal, transmitted
from synthex_jax.physics.tables import compton
from synthex_jax.scatter.body import box_averaged, contracted
from synthex_jax.scatter.flights import Pixels
from synthex_jax.scatter.primary import shares_of_sum
from synthex_jax.scatter.single import require_coarse
from synthex_jax.scatter.upsampling import enlarged
from synthex_jax.typing import Image, Scalar, Shape2
from synthex_jax.volumes.composition import Composition

_FEWEST_PIXELS = 4

# Scattered photons arrive with the energy of this cosine, as far as an absorber asks:
# 57 of 60 keV.
_COSINE = 0.5
# Least distance from a body's middle to the detector, mm: kernels narrower than a pixel
# would be left.
_NEAREST = 50.0
# By Gaussian: 0 where it is the forward peak, 1 where scattering is even. Chosen to
# give Monte Carlo's images of slabs of 5 to 30 cm at 60 keV; the next, those of a slab
# with a step and of one that ends within the field.
_SPREAD = (0.0, 0.0, 0.3, 0.7, 1.0)
# 1/mm: scatter that arrives where the body is thicker than where it comes from is less
# by this times the difference.
_ASYMMETRY = -1e-3


@noun
@dataclass(frozen=True)
class KernelScatter:
    """Fast scatter: milliseconds an image, within 2 to 8 % in slabs and trunks.

    That is the root mean square of the difference from Monte Carlo over its mean. At
    the rim of bodies that end within the field it is 25 to 30 %, and of limbs and heads
    it makes 20 to 40 % too much: a slab's scatter has fewer ways out. Scatter from
    outside the field is left out.

    Attributes:
        shape: (rows, cols), coarse pixels of the detector's area, static.
    """

    shape: Shape2 = field(default=(64, 64), metadata={"static": True})

    @classmethod
    def create(cls, shape: Shape2 = (64, 64)) -> KernelScatter:
        """With another number of pixels.

        Raises:
            ValueError: for fewer than 4 pixels a side.
        """
        shape = checked_shape(shape)
        require(
            min(shape) >= _FEWEST_PIXELS,
            f"shape must be at least {_FEWEST_PIXELS} pixels each way, got {shape}; 32 "
            "to 128 are usual",
        )
        return cls(shape)

    def signal(
        self,
        composition: Composition,
        camera: Camera,
        illumination: Illumination,
        absorber: Absorber,
        path_lengths: Float[Array, "rows cols substances"],
    ) -> Signal:
        """What scattered photons leave in the pixels of a detector.

        Args:
            composition: the body; only its substances and the middle of its grid count.
            camera: the view, with all its pixels.
            illumination: without the body, on ``camera.resized(self.shape)``.
            absorber: the detector's layer.
            path_lengths: mm through each substance, on the camera's pixels.

        Returns:
            keV and keV^2 a pixel of the camera, before a grid.

        Raises:
            ValueError: for an illumination of another shape.
        """
        require_coarse(illumination, self.shape)
        return _signal(self, composition, camera, illumination, absorber, path_lengths)


@jax.jit
def _signal(
    model: KernelScatter,
    composition: Composition,
    camera: Camera,
    illumination: Illumination,
    absorber: Absorber,
    path_lengths: Float[Array, "rows cols substances"],
) -> Signal:
    pixels = Pixels.of(camera.resized(model.shape))
    energies = illumination.energies
    attenuation = composition.linear_attenuation(energies)
    paths = box_averaged(path_lengths, model.shape)
    photons = transmitted(illumination.photons, paths, attenuation)
    center = camera.camera_from_world.apply(composition.fractions.center)
    distance = at_least(pixels.distance - center[2], _NEAREST)
    thickness = _thickness(composition.substances, paths, photons, energies)
    kernels = _Kernels.read(energies.dtype)
    shares = kernels.shares_at(thickness, energies, distance)
    after = compton_energy(energies, _COSINE)
    response = absorber.response(after)
    detected = energies / after * jnp.stack([response.first, response.second])
    sources = contracted("vuk,ck,vukg->cvug", photons, detected, shares)
    mean, variance = (
        _spread(source, thickness, kernels.widths * distance, distance, pixels)
        for source in sources
    )
    return enlarged(Signal(mean, variance), camera.shape)


def _thickness(
    substances: tuple[Material, ...],
    paths: Float[Array, "rows cols substances"],
    photons: Float[Array, "rows cols bins"],
    energies: Float[Array, "bins"],
) -> Image:
    """Water, mm, that Compton scatters as much at the image's mean energy."""
    carried = shares_of_sum(jnp.sum(photons, axis=(0, 1)))
    energy = jnp.sum(carried * energies) / jnp.sum(carried)
    per_water = jnp.stack(
        [compton(s, energy) * jnp.asarray(s.density) for s in substances]
    ) / compton("water", energy)
    return at_least(product(paths, per_water), 0.0)


class _Kernels(NamedTuple):
    """The table of ``bake_kernels``, with a slab of no thickness.

    Attributes:
        thicknesses: (t,), mm.
        energies: (e,), keV.
        distances: (c,), mm.
        widths: (gaussians,), standard deviations over the distance.
        shares: (t, e, c, gaussians), of the primary's energy.
    """

    thicknesses: Float[Array, "t"]
    energies: Float[Array, "e"]
    distances: Float[Array, "c"]
    widths: Float[Array, "gaussians"]
    shares: Float[Array, "t e c gaussians"]

    @classmethod
    def read(cls, dtype: jnp.dtype) -> _Kernels:
        return cls(*(jnp.asarray(values, dtype) for values in _file()))

    def shares_at(
        self, thickness: Image, energies: Float[Array, "k"], distance: Scalar
    ) -> Float[Array, "rows cols k gaussians"]:
        """Linear between the nodes, even beyond the last."""
        return contracted(
            "vut,ke,c,tecg->vukg",
            _hats(self.thicknesses, thickness),
            _hats(self.energies, energies),
            _hats(self.distances, distance),
            self.shares,
        )


def _hats(
    nodes: Float[Array, "n"], places: Float[Array, "*batch"]
) -> Float[Array, "*batch n"]:
    """Weights of the nodes in the linear interpolation at places."""
    places = between(places, nodes[0], nodes[-1])
    low = jnp.clip(jnp.searchsorted(nodes, places, side="right") - 1, 0, len(nodes) - 2)
    share = ((places - nodes[low]) / (nodes[low + 1] - nodes[low]))[..., None]
    return (1 - share) * jax.nn.one_hot(low, len(nodes), dtype=nodes.dtype) + (
        share * jax.nn.one_hot(low + 1, len(nodes), dtype=nodes.dtype)
    )


def _spread(
    source: Float[Array, "rows cols gaussians"],
    thickness: Image,
    widths: Float[Array, "gaussians"],
    distance: Scalar,
    pixels: Pixels,
) -> Image:
    """Asymmetric convolution; no border wraps, what leaves the field is gone."""
    closer = 1 - jnp.asarray(_SPREAD) * distance / pixels.distance
    down, across = (
        jax.vmap(_blur, (None, 0, 0))(places, widths, closer)
        for places in (pixels.rows, pixels.cols)
    )
    weighted = jnp.stack([source, source * thickness[..., None]])
    plain, by_thickness = contracted("gav,cvug,gbu->cab", down, weighted, across)
    return plain + _ASYMMETRY * (thickness * plain - by_thickness)


def _blur(
    places: Float[Array, "n"], width: Scalar, closer: Scalar
) -> Float[Array, "n n"]:
    """Share in each pixel (first axis) of a Gaussian that each pixel sends out."""
    half = jnp.abs(places[1] - places[0]) / 2
    apart = places[:, None] - closer * places
    return norm.cdf((apart + half) / width) - norm.cdf((apart - half) / width)


@cache
def _file() -> tuple[np.ndarray, ...]:
    """The fields of ``_Kernels``."""
    with np.load(Path(__file__).parent / "data" / "kernels.npz") as file:
        shares = np.pad(file["shares"], ((1, 0), (0, 0), (0, 0), (0, 0)))
        return (
            np.concatenate([[0.0], file["thicknesses"]]),
            file["energies"],
            file["distances"],
            file["widths"],
            shares,
        )
