from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.carm import CArm
from synthex_jax.physics.beam import Beam, coarse_illumination
from synthex_jax.physics.collimators import RectangularCollimator
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.scintillators import PerfectAbsorber
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume

MODEL = KernelScatter.create((32, 32))
BEAM = Beam.monochromatic(60.0)


def slab(thickness, *, size=340.0, offset=0.0):
    """Water across an AP ray, in three voxels of its thickness, exit face at y = 0."""
    count = int(size / 10)
    data = jnp.ones((count, 3, count, 1))
    affine = jnp.diag(jnp.array([10.0, thickness / 3, 10.0, 1.0]))
    first = jnp.array([-size / 2 + 5, thickness / 6 + offset, -size / 2 + 5])
    return Composition.create(Volume(data, affine.at[:3, 3].set(first)), ("water",))


def camera(gap, shape=(16, 16), width=300.0):
    """1020 mm from source to detector, the detector a gap behind y = 0."""
    return CArm.create(
        source_to_detector=1020.0,
        source_to_isocenter=1020.0 - gap,
        pitch=width / shape[0],
        shape=shape,
    ).at()


def scattered(body, view, beam=BEAM, model=MODEL):
    lengths = Joseph(axis=1).project(body.fractions, view)
    light = coarse_illumination(beam, view, model.shape)
    return model.signal(body, view, light, PerfectAbsorber(), lengths)


def ratio(body, view):
    """Scatter to primary in the middle, by energy."""
    lengths = Joseph(axis=1).project(body.fractions, view)
    light = BEAM.illumination(DetectorPlane.from_camera(view))
    mu = body.linear_attenuation(light.energies)
    primary = light.photons[..., 0] * 60.0 * jnp.exp(-lengths[..., 0] * mu)
    middle = tuple(slice(n // 2 - 2, n // 2 + 2) for n in view.shape)
    mean = scattered(body, view).mean
    return float(jnp.mean(mean[middle]) / jnp.mean(primary[middle]))


@pytest.mark.parametrize(
    # By an independent NumPy Monte Carlo, 3e6 histories each: within 1 %.
    ("thickness", "gap", "expected"),
    [(100.0, 320.0, 0.370), (200.0, 320.0, 0.882), (300.0, 320.0, 1.495)],
)
def test_slabs_scatter_as_by_monte_carlo(thickness, gap, expected):
    # Kernels are means over rings of 12 mm, of a slab 360 mm wide instead of 340.
    assert ratio(slab(thickness), camera(gap)) == pytest.approx(expected, rel=0.08)


def test_goes_the_right_way():
    thin, thick = (ratio(slab(t), camera(320.0)) for t in (5.0, 200.0))
    assert thin < 0.05 * thick  # nothing scatters where there is nothing
    near, far = (ratio(slab(200.0), camera(gap)) for gap in (100.0, 400.0))
    assert near > 1.5 * far
    # A smaller field scatters less into its middle.
    fields = [
        replace(BEAM, collimator=RectangularCollimator.create(side))
        for side in (60.0, 150.0, 400.0)
    ]
    middles = [
        float(scattered(slab(200.0), camera(320.0), beam).mean[8, 8]) for beam in fields
    ]
    assert middles[0] < 0.6 * middles[1] < 0.6 * middles[2]


def test_linear_in_photons_and_the_same_on_any_pixels():
    body = slab(150.0)
    one = scattered(body, camera(320.0))
    ten = scattered(body, camera(320.0), replace(BEAM, photons=10 * BEAM.photons))
    np.testing.assert_allclose(ten.mean, 10 * one.mean, rtol=1e-4)
    np.testing.assert_allclose(one.variance, 60.0 * one.mean, rtol=1e-4)
    fine = scattered(body, camera(320.0, (64, 64)))
    np.testing.assert_allclose(fine.mean[32, 32], one.mean[8, 8], rtol=0.02)
    assert jnp.all(fine.mean >= 0)


def test_derivatives(x64):
    """In the body, the depth, the energies and the photons."""
    view = camera(320.0, (8, 8))
    weights = jnp.cos(jnp.arange(64.0)).reshape(8, 8) + 1.5
    model = KernelScatter.create((8, 8))

    @jax.jit
    def total(share, depth, kvp, photons):
        body = slab(180.0, offset=depth)
        fractions = replace(body.fractions, data=share * body.fractions.data)
        beam = Beam.tungsten(kvp, photons=photons, bins=4)
        body = replace(body, fractions=fractions)
        return jnp.sum(weights * scattered(body, view, beam, model).mean)

    point = [jnp.asarray(v) for v in (0.93, 11.0, 83.7, 3.0)]
    slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(*point)
    for i, slope in enumerate(slopes):
        step = 1e-6 * point[i]
        up, down = list(point), list(point)
        up[i], down[i] = point[i] + step, point[i] - step
        expected = (total(*up) - total(*down)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match=r"at least 8 pixels a side, got \(4, 16\)"):
        KernelScatter.create((4, 16))
    view = camera(320.0)
    body = slab(100.0)
    lengths = Joseph(axis=1).project(body.fractions, view)
    light = BEAM.illumination(DetectorPlane.from_camera(view))
    with pytest.raises(ValueError, match=r"detector of \(32, 32\) pixels, got"):
        MODEL.signal(body, view, light, PerfectAbsorber(), lengths)
