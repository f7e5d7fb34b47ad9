import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.carm import CArm
from synthex_jax.physics.plane import DetectorPlane
from synthex_jax.physics.shaped_filters import BowTie, Wedge


@pytest.fixture
def plane():
    return DetectorPlane.from_camera(CArm.generic().resized((100, 100)).at())


def test_bow_tie_profile(plane):
    filter_ = BowTie.create("Al", center=1.0, edge=5.0, half_width=100.0)
    expected = 1 + 4 * np.minimum((np.asarray(plane.x) / 100) ** 2, 1)
    np.testing.assert_allclose(filter_.thickness(plane), expected, rtol=1e-5)


def test_wedge_profile(plane):
    """Thick beyond its edge on the side it is pushed in from."""
    down = Wedge.create(
        "Cu", full=2.0, offset=20.0, slope_width=30.0, direction=np.pi / 2
    )
    expected = 2 * np.clip((np.asarray(plane.y) - 20) / 30, 0, 1)
    np.testing.assert_allclose(down.thickness(plane), expected, atol=1e-5)


def test_derivatives(plane, x64):
    def total(v):
        bowtie = BowTie.create("Al", center=v[0], edge=v[1], half_width=v[2])
        wedge = Wedge.create(
            "Cu", full=v[3], offset=v[4], slope_width=v[5], direction=v[6]
        )
        return jnp.sum(
            jnp.cos(plane.y / 40) * bowtie.thickness(plane)
            + jnp.sin(plane.x / 30) * wedge.thickness(plane)
        )

    point = jnp.array([1.0, 4.0, 95.0, 2.0, 11.0, 25.0, 0.7])
    slope, total = jax.grad(total)(point), jax.jit(total)
    for i in range(7):
        step = 1e-6 * jnp.eye(7)[i]
        expected = (total(point + step) - total(point - step)) / 2e-6
        np.testing.assert_allclose(slope[i], expected, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="full must not be negative"):
        Wedge.create("Cu", full=-1.0, offset=0.0)
    with pytest.raises(ValueError, match="slope_width must be positive"):
        Wedge.create("Cu", full=1.0, offset=0.0, slope_width=0.0)
    with pytest.raises(ValueError, match="material must be one of"):
        BowTie.create("aluminium", center=1.0, edge=2.0, half_width=10.0)
