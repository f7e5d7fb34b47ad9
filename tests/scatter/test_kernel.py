"""Scatter by kernels against Monte Carlo, and what must hold for any scatter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.scintillators import PerfectAbsorber, Scintillator
from synthex_jax.physics.signal import Illumination
from synthex_jax.scatter.bake_kernels import WIDTHS
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.volumes.composition import Composition

MODEL = KernelScatter.create(shape=(16, 16))
DISTANCE = 1020.0


def view(pixels=32, width=300.0):
    """Looks along z, the detector at 0."""
    return sx.Camera.create(
        sx.RigidTransform.from_rotation(np.eye(3), [0.0, 0.0, -DISTANCE]),
        source_to_detector=DISTANCE,
        pitch=width / pixels,
        shape=(pixels, pixels),
    )


def body(from_detector, substances=("water",)):
    """Only the middle of its grid counts."""
    affine = np.eye(4)
    affine[2, 3] = -from_detector
    data = jnp.zeros((1, 1, 1, len(substances)))
    return Composition.create(sx.Volume(data, jnp.asarray(affine)), substances)


def lit(camera, energies=(60.0,)):
    """A photon a steradian of each energy."""
    plane = DetectorPlane.from_camera(camera.resized(MODEL.shape))
    solid = plane.cosine**3 * plane.pitch[0] * plane.pitch[1] / plane.distance**2
    energies = jnp.asarray(energies, float)
    return Illumination(energies, solid[..., None] * jnp.ones(len(energies)))


def slab(camera, thickness):
    cosine = DetectorPlane.from_camera(camera).cosine
    return (thickness / cosine)[..., None]


def scattered(paths, camera=None, light=None, absorber=None, middle=420.0):
    camera = view() if camera is None else camera
    return MODEL.signal(
        body(middle),
        camera,
        lit(camera) if light is None else light,
        PerfectAbsorber() if absorber is None else absorber,
        paths,
    )


@pytest.mark.parametrize(
    ("thickness", "middle", "ratio"),
    [(100.0, 370.0, 0.370), (200.0, 420.0, 0.874), (300.0, 470.0, 1.50)],
)
def test_slabs_against_monte_carlo(thickness, middle, ratio):
    """Scatter over primary at the middle, by a Monte Carlo in NumPy with xraylib.

    Slabs of 30 by 30 cm, their faces 320 mm from the detector, 60 keV, 3 million
    photons: known to 1 %.
    """
    camera = view()
    signal = scattered(slab(camera, thickness), middle=middle)
    attenuation = float(sx.linear_attenuation("water", 60.0))
    pixel = (300.0 / 32) ** 2 / DISTANCE**2
    primary = 60 * np.exp(-attenuation * thickness) * pixel
    center = float(jnp.mean(signal.mean[14:18, 14:18]))
    # The kernels are those of slabs of the proportions of a trunk.
    assert center / primary == pytest.approx(ratio, rel=0.08)


def test_no_body_no_scatter():
    signal = scattered(jnp.zeros((32, 32, 1)))
    assert not jnp.any(signal.mean)
    assert not jnp.any(signal.variance)


def test_photons_in_scatter_out():
    camera = view()
    light, paths = lit(camera), slab(camera, 150.0)
    once = scattered(paths)
    twice = scattered(paths, light=Illumination(light.energies, 2 * light.photons))
    np.testing.assert_allclose(twice.mean, 2 * once.mean, rtol=1e-5)
    # What leaves is what came, of a beam of two energies the sum of each one's, though
    # at the mean energy of both thicknesses of water are the same.
    both, low, high = (
        scattered(paths, light=lit(camera, energies)).mean
        for energies in ((50.0, 70.0), (50.0,), (70.0,))
    )
    np.testing.assert_allclose(both, low + high, rtol=1e-4)


def test_more_body_more_field_less_gap_more_scatter():
    camera = view()
    attenuation = float(sx.linear_attenuation("water", 60.0))
    ratios = [
        float(scattered(slab(camera, t)).mean[16, 16] * np.exp(attenuation * t))
        for t in (1.0, 10.0, 50.0, 120.0, 240.0, 330.0)
    ]
    assert np.all(np.diff(ratios) > 0)
    assert ratios[0] < 0.02 * ratios[3]
    by_gap = [
        float(scattered(slab(camera, 150.0), middle=middle).mean[16, 16])
        for middle in (300.0, 400.0, 550.0)
    ]
    assert np.all(np.diff(by_gap) < 0)
    light = lit(camera)
    collimated = light.photons.at[:4].set(0).at[12:].set(0)
    narrow = scattered(
        slab(camera, 150.0), light=Illumination(light.energies, collimated)
    )
    assert narrow.mean[16, 16] < 0.9 * scattered(slab(camera, 150.0)).mean[16, 16]


def test_nothing_wraps():
    camera = view()
    light = lit(camera)
    corner = jnp.zeros_like(light.photons).at[0, 0].set(1.0)
    image = scattered(
        slab(camera, 150.0), light=Illumination(light.energies, corner)
    ).mean
    # From the lit corner on, along a side and on the diagonal, ever less.
    assert jnp.all(jnp.diff(image[0, 2:]) <= 0)
    assert jnp.all(jnp.diff(jnp.diagonal(image)[2:]) <= 0)


def test_absorbers_and_bones(rng):
    camera = view()
    paths = slab(camera, 200.0)
    perfect = scattered(paths)
    # Photons of 57 keV: a perfect absorber's variance is that many times the mean.
    np.testing.assert_allclose(perfect.variance / perfect.mean, 56.7, rtol=0.01)
    screen = scattered(paths, absorber=Scintillator.csi())
    assert jnp.all(screen.mean < perfect.mean)
    assert jnp.all(screen.mean > 0.3 * perfect.mean)
    # Bone takes from the primary and from what it scatters.
    mixed = jnp.concatenate([0.9 * paths, 0.1 * paths], -1)
    bony = MODEL.signal(
        body(420.0, ("water", "cortical bone")), camera, lit(camera), PerfectAbsorber(),
        mixed,
    )  # fmt: skip
    assert jnp.all(bony.mean < perfect.mean)


def test_derivatives(x64, rng):
    camera = view(16)
    paths = slab(camera, 130.0) * jnp.asarray(0.8 + 0.4 * rng.random((16, 16, 1)))
    weights = jnp.asarray(rng.random((16, 16)))
    # Two turns of different kinds and a shift along the beam; paths and photons.
    direction = jnp.array([0.5, 0.2, 0.1, 3.0, 2.0, 50.0])
    light = lit(camera, (45.0, 75.0))

    def loss(place):
        moved = camera.moved(place[0] * direction)
        photons = (1 + place[2]) * light.photons
        signal = scattered(
            (1 + place[1]) * paths, moved, Illumination(light.energies, photons)
        )
        return 1e3 * jnp.sum(weights * (signal.mean + 0.01 * signal.variance))

    evaluate = jax.jit(jax.value_and_grad(loss))
    slope = evaluate(jnp.zeros(3))[1]
    for index in range(3):
        step = 1e-6 * jnp.eye(3)[index]
        difference = (evaluate(step)[0] - evaluate(-step)[0]) / 2e-6
        assert float(slope[index]) == pytest.approx(float(difference), rel=1e-3)


def test_batches_and_darkness():
    camera = view()
    thicknesses = jnp.array([100.0, 200.0])
    paths = jax.vmap(lambda t: slab(camera, t))(thicknesses)
    batch = jax.vmap(lambda p: scattered(p).mean)(paths)
    np.testing.assert_allclose(batch[1], scattered(paths[1]).mean, rtol=1e-5)
    dark = lit(camera)
    slope = jax.grad(
        lambda photons: jnp.sum(
            scattered(paths[0], light=Illumination(dark.energies, photons)).mean
        )
    )(jnp.zeros_like(dark.photons))
    assert jnp.all(jnp.isfinite(slope))
    assert jnp.all(slope > 0)


def test_table():
    """Gaussians from the forward peak to wider than the distance."""
    assert np.all(np.diff(WIDTHS) > 0)
    assert WIDTHS[0] < 0.1
    assert WIDTHS[-1] > 1


def test_refusals():
    with pytest.raises(ValueError, match="shape must be at least 4 pixels"):
        KernelScatter.create(shape=(2, 64))
    camera = view()
    light = Illumination(jnp.array([60.0]), jnp.ones((8, 8, 1)))
    with pytest.raises(ValueError, match=r"photons must be .* = \(16, 16, 1\)"):
        scattered(jnp.zeros((32, 32, 1)), camera, light)
