import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from synthex_jax.geometry.carm import CArm
from synthex_jax.physics.collimators import (
    CircularCollimator,
    IrisCollimator,
    RectangularCollimator,
)
from synthex_jax.physics.plane import DetectorPlane


@pytest.fixture
def plane():
    """2 mm pixels, 300 mm wide."""
    return DetectorPlane.from_camera(CArm.generic().resized((150, 150)).at())


def area(collimator, plane):
    """Mm^2 that the collimator leaves open."""
    return float(collimator.transmission(plane).sum() * jnp.prod(plane.pitch))


def test_open_areas(plane):
    # A symmetric soft edge leaves a straight side's area as it is; a circle's grows by
    # pi * penumbra^2, and pixels of 2 mm count it to a few tenths of a percent.
    circle = CircularCollimator.create(100.0, center=(10.0, -20.0), penumbra=2.0)
    np.testing.assert_allclose(area(circle, plane), np.pi * (1e4 + 4), rtol=1e-3)
    box = RectangularCollimator.create((120.0, 80.0), rotation=0.4, penumbra=2.0)
    np.testing.assert_allclose(area(box, plane), 9600.0, rtol=1e-3)
    iris = IrisCollimator.create(100.0, leaves=6, penumbra=2.0)
    hexagon = 6 * 100.0**2 * np.tan(np.pi / 6)
    np.testing.assert_allclose(area(iris, plane), hexagon, rtol=2e-3)


def test_edge_is_the_penumbra_of_a_gaussian_spot(plane):
    edge = RectangularCollimator.create((100.0, 1e4), penumbra=3.0)
    middle = edge.transmission(plane)[75]
    x = np.asarray(plane.x[75])
    expected = (erf((50 - x) / 3 / 2**0.5) + erf((50 + x) / 3 / 2**0.5)) / 2
    np.testing.assert_allclose(middle, expected, atol=1e-5)


def test_placed_where_asked(plane):
    circle = CircularCollimator.create(20.0, center=(60.0, -40.0)).transmission(plane)
    np.testing.assert_allclose(jnp.sum(circle * plane.x) / circle.sum(), 60.0, atol=0.1)
    np.testing.assert_allclose(jnp.sum(circle * plane.y) / circle.sum(), -40, atol=0.1)
    # Turned from x towards y: the long side of the box points down to the right.
    box = RectangularCollimator.create((160.0, 30.0), rotation=np.pi / 4)
    tilted = box.transmission(plane)
    assert jnp.sum(tilted * plane.x * plane.y) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda r: CircularCollimator.create(r, center=(0.0, 0.0), penumbra=4.0),
        lambda r: RectangularCollimator.create(2 * r, rotation=r / 300, penumbra=4.0),
        lambda r: IrisCollimator.create(r, rotation=r / 200, penumbra=r / 20),
    ],
)
def test_derivatives(plane, x64, make):
    weights = jnp.cos(plane.x / 50) + plane.y / 300
    total = jax.jit(lambda r: jnp.sum(weights * make(r).transmission(plane)))
    slope = jax.grad(total)(90.0)
    expected = (total(90.0 + 1e-4) - total(90.0 - 1e-4)) / 2e-4
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
    center = jax.grad(lambda c: jnp.sum(CircularCollimator.create(50.0, center=c)
        .transmission(plane)))(jnp.zeros(2))  # fmt: skip
    assert np.isfinite(center).all()


def test_errors():
    with pytest.raises(ValueError, match="radius must be positive"):
        CircularCollimator.create(0.0)
    with pytest.raises(ValueError, match="size must be positive"):
        RectangularCollimator.create((10.0, -1.0))
    with pytest.raises(ValueError, match=r"leaves must be at least 3 .* got 2"):
        IrisCollimator.create(10.0, leaves=2)
    with pytest.raises(ValueError, match="penumbra must be positive"):
        IrisCollimator.create(10.0, penumbra=0.0)
    with pytest.raises(ValueError, match=r"center must have shape \(2,\)"):
        CircularCollimator.create(10.0, center=1.0)
