r"""Scatter as a blurred primary image: kernels by thickness, energy and distance.

Every pixel's pencil beam scatters as it would in a slab of water as thick as the body
is there (thickness-adapted superposition; Sun and Star-Lack 2010, Phys. Med. Biol.
55:6695). The kernel is a sum of Gaussians whose widths are fixed shares $w_g$ of the
distance $c$ from the body's middle to the detector, and whose shares $A_g$ of the
primary's energy come from a table (``bake_kernels``). Linear in $A_g$, all pixels take
few convolutions, which are products with small matrices:

$$ S = \sum_g G_{w_g c} * \sum_k P_k\,A_g(t, E_k, c). $$
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera, checked_shape
from synthex_jax.physics.scattering import compton_energy
from synthex_jax.physics.scintillators import Absorber
from synthex_jax.physics.signal import Illumination, Signal
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.scatter.body import box_averaged, contracted
from synthex_jax.scatter.flights import Pixels
from synthex_jax.scatter.single import require_coarse
from synthex_jax.scatter.upsampling import enlarged
from synthex_jax.typing import Scalar, Shape2
from synthex_jax.volumes.composition import Composition

_FEWEST_PIXELS = 4
GAMMA = 0.0
MODE = "tau"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KernelScatter:
    shape: Shape2 = field(default=(64, 64), metadata={"static": True})

    def signal(self, composition, camera, illumination, absorber, path_lengths):
        require_coarse(illumination, self.shape)
        return _signal(self, composition, camera, illumination, absorber, path_lengths)


@jax.jit
def _signal(model, composition, camera, illumination, absorber, path_lengths):
    pixels = Pixels.of(camera.resized(model.shape))
    energies = illumination.energies
    paths = box_averaged(path_lengths, model.shape)
    attenuation = composition.linear_attenuation(energies)
    left = illumination.photons * jnp.exp(-contracted("vum,km->vuk", paths, attenuation))
    e = jnp.sum(left * energies) / jnp.sum(left)
    if MODE == "tau":
        mu = composition.linear_attenuation(e[None])[0] / linear_attenuation("water", e)
    else:
        from synthex_jax.physics.tables import compton
        mu = jnp.stack([compton(s, e) * s.density for s in composition.substances]) / compton("water", e)
    t = jnp.maximum(paths @ mu, 0.0)
    center = camera.camera_from_world.apply(composition.fractions.center)
    distance = pixels.distance - center[2]
    f = _table()
    A = jnp.asarray(f["shares"])
    A = jnp.concatenate([jnp.zeros_like(A[:1]), A])
    A = jnp.einsum("tecg,c,ke->ktg", A, _hats(f["distances"], distance), _hats(f["energies"], energies))
    ht = _hats(np.concatenate([[0.0], f["thicknesses"]]), t)
    after = compton_energy(energies, 0.5)
    r = absorber.response(after)
    P = left * energies
    out = []
    for q in (r.first / after, r.second / after):
        src = contracted("vuk,ktg,vut->vug", P * q, A, ht)
        def conv(s):
            tot = 0
            for g, w in enumerate(f["widths"]):
                tot = tot + contracted("ab,bc,dc->ad", _blur(pixels.rows, w * distance), s[..., g], _blur(pixels.cols, w * distance))
            return tot
        tt = t / 100
        img = conv(src * (1 - GAMMA * tt)[..., None]) + GAMMA * tt * conv(src)
        out.append(img)
    return enlarged(Signal(*out), camera.shape)


def _blur(places, width):
    p = places[1] - places[0]
    d = places[:, None] - places
    return norm.cdf((d + p / 2) / width) - norm.cdf((d - p / 2) / width)


def _hats(nodes, x):
    nodes = np.asarray(nodes)
    n = len(nodes)
    x = jnp.clip(x, nodes[0], nodes[-1])
    i = jnp.clip(jnp.searchsorted(jnp.asarray(nodes), x, side="right") - 1, 0, n - 2)
    nn = jnp.asarray(nodes, x.dtype)
    s = (x - nn[i]) / (nn[i + 1] - nn[i])
    return jax.nn.one_hot(i, n) * (1 - s)[..., None] + jax.nn.one_hot(i + 1, n) * s[..., None]


@cache
def _table():
    with np.load(Path(__file__).parent / "data" / "kernels.npz") as file:
        return dict(file)
