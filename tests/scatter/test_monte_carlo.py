import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.scattering import (
    compton_differential,
    compton_energy,
    rayleigh_differential,
)
from synthex_jax.physics.scintillators import PerfectAbsorber
from synthex_jax.physics.signal import Illumination, Response
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.scatter.monte_carlo import monte_carlo
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.volume import Volume

# Bodies are 300 mm wide and high, in 15 x 15 x 10 voxels, the source is the world's
# origin and the detector 300 x 300 mm in 8 x 8 pixels: all tests share one program.
SHAPE = (15, 15, 10)
PIXELS = 8
SUBSTANCES = ("water", "cortical bone")
KEV = 60.0


def slab(thickness, end, *, water: ArrayLike = 1.0, bone: ArrayLike = 0.0):
    """A body that ends ``end`` mm below the source."""
    spacing = np.array([300.0, 300.0, thickness]) / SHAPE
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array([-150.0, -150.0, end - thickness]) + spacing / 2
    data = np.stack(np.broadcast_arrays(water, bone, np.zeros(SHAPE))[:2], -1)
    return Composition.create(Volume.from_array(data, affine), SUBSTANCES)


def with_inserts():
    """20 cm of water, 50 to 70 cm from the source, a bar of bone and a hole across."""
    water, bone = np.ones(SHAPE), np.zeros(SHAPE)
    water[3:6, :, 3:6], bone[3:6, :, 3:6] = 0.0, 1.0
    water[9:12, :, 3:7] = 0.0
    return slab(200.0, 700.0, water=water, bone=bone)


def camera_at(distance, pose=None):
    return Camera.create(
        RigidTransform.identity() if pose is None else pose,
        source_to_detector=distance,
        pitch=300.0 / PIXELS,
        shape=(PIXELS, PIXELS),
    )


def point_source(camera, at_center=1e4):
    """Photons of one energy, by the solid angles of the pixels."""
    photons = at_center * DetectorPlane.from_camera(camera).cosine ** 3
    return Illumination(jnp.array([KEV]), photons[..., None])


def tallied(composition, camera, seed=0, histories=20_000, absorber=None, scale=1.0):
    absorber = PerfectAbsorber() if absorber is None else absorber
    light = point_source(camera, 1e4 * scale)
    return monte_carlo(
        jax.random.key(seed), composition, camera, light, absorber, histories=histories
    )


def assert_same(a, b, widest=4.0):
    """Two images of independent histories agree within their standard errors."""
    apart = np.asarray(a.signal.mean - b.signal.mean)
    error = np.sqrt(np.asarray(a.standard_error**2 + b.standard_error**2))
    # The mean of the image, and every pixel.
    assert abs(apart.sum()) < widest * np.sqrt(np.sum(error**2))
    assert 0.4 < np.mean((apart / error) ** 2) < 2.0  # 64 pixels: 1.0, give or take 0.2


@pytest.mark.parametrize(
    ("thickness", "end", "center", "mean", "once"),
    # Scatter over primary in the middle quarter of the sides and in all of the field,
    # and the share of photons scattered once: by another program (NumPy, xraylib's
    # cross sections, flights to the faces of a box), within 1 %.
    [
        (100.0, 700.0, 0.370, 0.318, 0.56),
        (200.0, 700.0, 0.879, 0.770, 0.40),
        (300.0, 750.0, 1.50, 1.317, 0.31),
    ],
)
def test_water_slabs(thickness, end, center, mean, once):
    camera = camera_at(end + 320.0)
    tally = tallied(slab(thickness, end), camera, histories=200_000)
    cosine = DetectorPlane.from_camera(camera).cosine
    depth = linear_attenuation("water", KEV) * thickness / cosine
    primary = KEV * point_source(camera).photons[..., 0] * jnp.exp(-depth)
    middle = np.s_[3:5, 3:5]
    for part, expected in ((middle, center), (np.s_[:], mean)):
        scatter, error = tally.signal.mean[part], tally.standard_error[part]
        found = scatter.mean() / primary[part].mean()
        relative = np.sqrt(np.sum(error**2)) / np.sum(scatter)
        assert relative < 0.03
        assert abs(found / expected - 1) < 0.01 + 4 * relative
    np.testing.assert_allclose(tally.shares[0], once, atol=0.015)
    np.testing.assert_allclose(tally.by_order.sum(0), tally.signal.mean, rtol=1e-4)


def test_bone_and_a_hole_in_water():
    """Column by column against the same other program, which is good to 0.5 %."""
    reference = [7.91, 9.49, 11.46, 13.19, 14.82, 16.32, 17.07, 15.38]
    tally = tallied(with_inserts(), camera_at(1020.0), histories=200_000)
    # In thousandths of the energy that a pixel in the middle gets without a body.
    columns = 1e3 * np.asarray(tally.signal.mean).mean(0) / (1e4 * KEV)
    np.testing.assert_allclose(columns.mean(), np.mean(reference), rtol=0.02)
    np.testing.assert_allclose(columns, reference, rtol=0.06)  # their error is 1.5 %
    np.testing.assert_allclose(tally.shares[:3], [0.502, 0.204, 0.117], atol=0.015)


@pytest.mark.parametrize(
    ("water", "bone"),
    [(1.0, 0.0), (0.0, 0.3), (1.4, -0.15)],  # the last as a basis may have it
)
def test_first_order_is_an_integral(water, bone):
    """Against a sum over the body's points and the detector's."""
    thickness, end, distance = 40.0, 700.0, 1020.0
    camera = camera_at(distance)
    tally = tallied(
        slab(thickness, end, water=water, bone=bone), camera, histories=60_000
    )

    def mixture(function):
        return sum(
            s * function(n) for s, n in zip((water, bone), SUBSTANCES, strict=True)
        )

    # Points on rays through an even grid of the field, at even depths.
    across = (np.arange(20) + 0.5) * 15.0 - 150.0
    z = end - thickness + (np.arange(4) + 0.5) * thickness / 4
    body = np.stack(np.meshgrid(across, across, distance, z, indexing="ij"), -1)
    body = (body[..., :3] * body[..., 3:] / distance).reshape(-1, 3)
    volume = (15.0 * body[:, 2] / distance) ** 2 * thickness / 4
    pixel = (np.arange(PIXELS) + 0.5) * 37.5 - 150.0
    ends = np.stack(np.meshgrid(pixel, pixel, [distance]), -1).reshape(-1, 1, 3)
    length = np.linalg.norm(body, axis=-1)
    way = ends - body
    reach = np.linalg.norm(way, axis=-1)
    cosine = np.sum(way * body, -1) / (reach * length)
    before = length * (1 - (end - thickness) / body[:, 2])
    after = reach * (end - body[:, 2]) / way[..., 2]
    energy = np.asarray(compton_energy(KEV, cosine))
    rho = {"water": 0.1, "cortical bone": 0.192}  # g/cm^3 * mm/cm^-1: to 1/mm
    compton = mixture(lambda n: rho[n] * compton_differential(n, KEV, cosine))
    rayleigh = mixture(lambda n: rho[n] * rayleigh_differential(n, KEV, cosine))
    mu = mixture(lambda n: linear_attenuation(n, KEV))
    mu_after = mixture(lambda n: linear_attenuation(n, energy))
    sent = compton * energy * np.exp(-mu_after * after)
    sent += rayleigh * KEV * np.exp(-mu * after)
    per_steradian = 1e4 * distance**2 / 37.5**2
    to_pixel = 37.5**2 * way[..., 2] / reach**3
    expected = per_steradian * np.sum(
        np.exp(-mu * before) / length**2 * sent * to_pixel * volume, axis=-1
    ).reshape(PIXELS, PIXELS)
    # 60,000 histories leave 1 % in the sum and 3 % in rows and columns.
    once = np.asarray(tally.by_order[0])
    np.testing.assert_allclose(once.sum(), expected.sum(), rtol=0.03)
    np.testing.assert_allclose(once.sum(0), expected.sum(0), rtol=0.15)
    np.testing.assert_allclose(once.sum(1), expected.sum(1), rtol=0.15)


def test_without_a_body_or_light_nothing_is_scattered():
    nothing = slab(200.0, 700.0, water=0.0)
    assert np.all(tallied(nothing, camera_at(1020.0)).by_order == 0)
    dark = tallied(slab(200.0, 700.0), camera_at(1020.0), scale=0.0)
    assert np.all(dark.by_order == 0)
    assert np.all(dark.signal.variance == 0)


def test_the_key_is_all_that_is_random_and_light_is_linear():
    body, camera = with_inserts(), camera_at(1020.0)
    first, again, other = (tallied(body, camera, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.signal.mean, again.signal.mean)
    assert not np.array_equal(first.signal.mean, other.signal.mean)
    assert_same(first, other)
    brighter = tallied(body, camera, scale=4.0)
    np.testing.assert_allclose(brighter.by_order, 4 * first.by_order, rtol=1e-5)
    np.testing.assert_allclose(
        brighter.signal.variance, 4 * first.signal.variance, rtol=1e-5
    )


def test_scene_that_is_moved_as_a_whole():
    body, camera = with_inserts(), camera_at(1020.0)
    pose = RigidTransform.from_twist(jnp.array([0.4, -2.0, 0.9, 30.0, -200.0, 70.0]))
    volume = body.fractions
    moved = Composition.create(
        Volume.from_array(volume.data, pose.matrix @ volume.affine), SUBSTANCES
    )
    # The voxels' x axis the other way round, too.
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = SHAPE[0] - 1
    flipped = Composition.create(
        Volume.from_array(volume.data[::-1], volume.affine @ flip), SUBSTANCES
    )
    still = tallied(body, camera, histories=40_000)
    assert_same(still, tallied(moved, camera_at(1020.0, pose), 1, histories=40_000))
    assert_same(still, tallied(flipped, camera, 2, histories=40_000))


def test_voxels_of_another_size_are_the_same_body():
    camera = camera_at(1020.0)
    # 12 x 12 x 5 of 15 x 15 x 10 voxels, 25 x 25 x 40 mm instead of 20 mm each.
    water = np.zeros(SHAPE)
    water[:12, :12, :5] = 1.0
    affine = np.diag([25.0, 25.0, 40.0, 1.0])
    affine[:3, 3] = [-137.5, -137.5, 520.0]
    data = np.stack([water, np.zeros(SHAPE)], -1)
    coarse = Composition.create(Volume.from_array(data, affine), SUBSTANCES)
    assert_same(
        tallied(slab(200.0, 700.0), camera, histories=40_000),
        tallied(coarse, camera, 1, histories=40_000),
    )


def test_variance_of_a_detector_that_counts():
    class Counter:
        def response(self, energies):
            return Response(jnp.ones_like(energies), jnp.ones_like(energies))

    body, camera = slab(200.0, 700.0), camera_at(1020.0)
    counted = tallied(body, camera, absorber=Counter()).signal
    np.testing.assert_allclose(counted.variance, counted.mean, rtol=1e-4)
    taken = tallied(body, camera).signal  # the same photons
    # From the energy after being thrown straight back to that at the start.
    energies = taken.mean / counted.mean
    assert np.all((energies > 48.6) & (energies < KEV))
    assert np.all(taken.variance > counted.mean * energies**2)


@pytest.mark.slow  # it compiles a program of its own
def test_under_jit_and_vmap():
    body, camera = slab(200.0, 700.0), camera_at(1020.0)
    light = point_source(camera)

    @jax.jit
    @jax.vmap
    def run(key):
        absorber = PerfectAbsorber()
        return monte_carlo(key, body, camera, light, absorber, histories=1000)

    keys = jnp.stack([jax.random.key(0), jax.random.key(1)])
    both = run(keys)
    for seed in (0, 1):
        single = tallied(body, camera, seed, histories=1000)
        np.testing.assert_allclose(
            both.signal.mean[seed].sum(), single.signal.mean.sum(), rtol=1e-3
        )


@pytest.mark.slow  # likewise
def test_double_precision(x64):
    single = tallied(with_inserts(), camera_at(1020.0), 1)
    assert single.signal.mean.dtype == jnp.float64
    reference = 13.2e-3 * 1e4 * KEV  # as in the test of the inserts
    np.testing.assert_allclose(single.signal.mean.mean(), reference, rtol=0.05)


def test_it_refuses_to_be_differentiated():
    body, camera = slab(200.0, 700.0), camera_at(1020.0)

    def energy(scale):
        light = point_source(camera, 1e4 * scale)
        tally = monte_carlo(
            jax.random.key(0), body, camera, light, PerfectAbsorber(), histories=1000
        )
        return jnp.sum(tally.signal.mean)

    with pytest.raises(NotImplementedError, match="no derivative"):
        jax.grad(energy)(1.0)
    with pytest.raises(NotImplementedError, match="stop_gradient"):
        jax.jvp(energy, (1.0,), (1.0,))
    held = lambda s: s * energy(jax.lax.stop_gradient(s))
    np.testing.assert_allclose(jax.grad(held)(1.0), energy(1.0), rtol=1e-6)


def test_arguments_are_checked():
    body, camera = slab(200.0, 700.0), camera_at(1020.0)
    light, key = point_source(camera), jax.random.key(0)

    def run(light=light, histories=1000, orders=12):
        return monte_carlo(
            key,
            body,
            camera,
            light,
            PerfectAbsorber(),
            histories=histories,
            orders=orders,
        )

    with pytest.raises(ValueError, match=r"histories must be between 16 .*, got 0"):
        run(histories=0)
    with pytest.raises(ValueError, match="orders must be at least 1, got 0"):
        run(orders=0)
    with pytest.raises(ValueError, match=r"= \(8, 8, 1\) .* got \(8, 4, 1\)"):
        run(Illumination(light.energies, light.photons[:, :4]))
    with pytest.raises(ValueError, match="must not be negative"):
        run(Illumination(light.energies, -light.photons))
    with pytest.raises(ValueError, match="energies must be between 5 and 160 keV"):
        run(Illumination(jnp.array([60e3]), light.photons))
