import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.carm import CArm
from synthex_jax.physics.beam import Beam
from synthex_jax.physics.collimators import CircularCollimator
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.shaped_filters import BowTie
from synthex_jax.physics.spectra import Filter, Spectrum, tungsten
from synthex_jax.physics.tables import linear_attenuation

ALUMINUM = (Filter("Al", 4.0),)


def pixel(x, y, distance=1000.0):
    """A plane of one pixel."""
    return DetectorPlane(
        jnp.full((1, 1), x), jnp.full((1, 1), y), jnp.asarray(distance), jnp.ones(2)
    )


def test_plane_of_a_camera():
    camera = CArm.cios_fusion().resized((6, 8)).at(orbital=0.3)
    plane = DetectorPlane.from_camera(camera)
    points = camera.back_project(camera.pixel_grid())
    in_camera = camera.camera_from_world.apply(points)
    np.testing.assert_allclose(plane.x, in_camera[..., 0], atol=1e-3)
    np.testing.assert_allclose(plane.y, in_camera[..., 1], atol=1e-3)
    ray = points - camera.source
    ray /= jnp.linalg.norm(ray, axis=-1, keepdims=True)
    np.testing.assert_allclose(plane.cosine, ray @ camera.principal_direction, 1e-5)
    assert plane.shape == (6, 8)


def test_photons_go_with_the_solid_angle():
    """Against the solid angle of a rectangle in closed form (two triangles)."""
    beam = Beam.monochromatic(60.0, photons=1e4)
    corner = lambda a, b: np.arctan2(a * b, 1000 * np.sqrt(a**2 + b**2 + 1e6))
    for x, y in [(0.0, 0.0), (150.0, 0.0), (-150.0, 120.0)]:
        angle = sum(
            i * j * corner(x + i / 2, y + j / 2) for i in (1, -1) for j in (1, -1)
        )
        found = beam.illumination(pixel(x, y)).photons[0, 0, 0]
        # Pixels of 1 mm are small beside 1 m, up to 1e-6.
        np.testing.assert_allclose(found, 1e4 * angle * 1e6, rtol=1e-5)
    even = Beam.monochromatic(60.0, falloff=0.0).illumination(pixel(150.0, 120.0))
    np.testing.assert_allclose(even.photons, 1.0)


@pytest.mark.parametrize("off_axis", [-9.0, -8.3, -3.0, 2.0, 8.3])
def test_heel_effect_is_that_of_the_tube(off_axis):
    """Fluence and mean energy of the spectrum at that take-off angle."""
    exact = tungsten(80.0, off_axis_deg=off_axis, filtration=ALUMINUM)
    central = tungsten(80.0, filtration=ALUMINUM)
    beam = Beam.tungsten(80.0, photons=1.0, filtration=ALUMINUM, anode="top", bins=32)
    along = 1000 * np.tan(np.deg2rad(off_axis))
    ratio = beam.heel.ratios(pixel(55.0, along))[0, 0]
    photons = ratio * beam.spectrum.fluence
    expected = exact.fluence.sum() / central.fluence.sum()
    # Between the nodes log fluence is taken for a line; the groups are a few keV wide.
    np.testing.assert_allclose(photons.sum(), expected, rtol=2e-3)
    mean = jnp.sum(photons * beam.spectrum.energies) / photons.sum()
    np.testing.assert_allclose(mean, exact.mean_energy, rtol=2e-3)


def test_the_anode_is_on_the_dim_side():
    plane = DetectorPlane.from_camera(CArm.generic().resized((9, 9)).at())
    dim = {"left": (4, 0), "right": (4, 8), "top": (0, 4), "bottom": (8, 4)}
    for side, place in dim.items():
        beam = Beam.tungsten(80.0, photons=1.0, anode=side, falloff=0.0)
        total = beam.illumination(plane).photons.sum(-1)
        assert total.shape == (9, 9)
        opposite = tuple(8 - i for i in place)
        assert total[place] < 0.9 * total[4, 4] < total[opposite]


def test_oblique_rays_cross_more_of_a_flat_filter():
    beam = Beam.tungsten(80.0, photons=1.0, filtration=ALUMINUM, falloff=0.0)
    cosine = float(pixel(200.0, 0.0).cosine[0, 0])
    found = beam.illumination(pixel(200.0, 0.0)).photons[0, 0]
    mu = linear_attenuation("Al", beam.spectrum.energies)
    longer = 4.0 / cosine - 4.0
    np.testing.assert_allclose(
        found, beam.spectrum.fluence * jnp.exp(-mu * longer), rtol=1e-5
    )


def test_shaped_filters_and_collimator_multiply():
    bowtie = BowTie.create("Al", center=1.0, edge=3.0, half_width=100.0)
    round_field = CircularCollimator.create(80.0)
    spectrum = Spectrum.monochromatic(60.0)
    beam = Beam.from_spectrum(
        spectrum, photons=5.0, falloff=0.0, shaped=[bowtie], collimator=round_field
    )
    mu = float(linear_attenuation("Al", 60.0))
    inside = beam.illumination(pixel(50.0, 0.0))
    cosine = float(pixel(50.0, 0.0).cosine[0, 0])
    expected = 5 * np.exp(-mu * (1.0 + 2.0 * 0.25) / cosine)
    np.testing.assert_allclose(inside.photons[0, 0, 0], expected, rtol=1e-5)
    assert beam.illumination(pixel(85.0, 0.0)).photons[0, 0, 0] == 0


def test_every_parameter_has_a_derivative(x64):
    def total(kvp, photons, thickness, angle, radius, edge):
        beam = Beam.tungsten(
            kvp,
            photons=photons,
            filtration=[Filter("Al", thickness)],
            anode_angle_deg=angle,
            anode="right",
            shaped=[BowTie.create("Al", center=1.0, edge=edge, half_width=90.0)],
            collimator=CircularCollimator.create(radius, penumbra=9.0),
        )
        plane = DetectorPlane.from_camera(CArm.generic().resized((8, 8)).at())
        light = beam.illumination(plane)
        weights = jnp.arange(64.0).reshape(8, 8, 1) * light.energies
        return jnp.sum(weights * light.photons)

    # Between the nodes of the spectra, where they have a bend.
    point = [81.3, 2e4, 3.0, 11.3, 80.0, 4.0]
    slopes = jax.jit(jax.grad(total, argnums=tuple(range(6))))(*point)
    evaluate = jax.jit(total)
    for i, slope in enumerate(slopes):
        step = 1e-6 * point[i]
        up, down = list(point), list(point)
        up[i] += step
        down[i] -= step
        expected = (evaluate(*up) - evaluate(*down)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match=r"photons must be positive .*got 0"):
        Beam.tungsten(80.0, photons=0)
    with pytest.raises(ValueError, match=r"photons must be positive .*got -1"):
        Beam.monochromatic(60.0, photons=-1.0)
    with pytest.raises(ValueError, match="anode must be 'left', 'right', 'top', 'b"):
        Beam.tungsten(80.0, photons=1.0, anode="up")
    with pytest.raises(ValueError, match="even number of bins, at least 2, got 5"):
        Beam.tungsten(80.0, photons=1.0, bins=5)
    with pytest.raises(ValueError, match="kvp must be one number between 40 and 150"):
        Beam.tungsten(200.0, photons=1.0)
    with pytest.raises(ValueError, match="edge must not be negative"):
        BowTie.create("Al", center=1.0, edge=-3.0, half_width=100.0)
