import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.volumes.materials import attenuation
from synthex_jax.volumes.volume import Volume

ENERGIES = [5.0, 30.0, 60.0, 70.0, 150.0]


def line(hounsfield, dtype=np.float32):
    """A volume of one row of voxels."""
    data = np.asarray(hounsfield, dtype).reshape(-1, 1, 1)
    return Volume.from_array(data, spacing=1.0)


def attenuated(hounsfield, energy, **options):
    return np.asarray(attenuation(line(hounsfield), energy, **options).data).ravel()


def hounsfield_of(substance, energy):
    """By the definition of the unit."""
    air, water = (linear_attenuation(s, energy) for s in ("air", "water"))
    return 1000 * (linear_attenuation(substance, energy) - water) / (water - air)


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("ct_energy", [60.0, 70.0])
def test_air_and_water_are_right_at_any_energy(energy, ct_energy):
    found = attenuated([-1000.0, 0.0], energy, ct_energy=ct_energy)
    expected = [linear_attenuation(s, energy) for s in ("air", "water")]
    # Float32 rounding of a thousand times a slope.
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("substance", ["soft tissue", "adipose", "cortical bone"])
def test_tissues_are_right_at_any_energy(substance, energy):
    found = attenuated([hounsfield_of(substance, 70.0)], energy)
    np.testing.assert_allclose(found, linear_attenuation(substance, energy), rtol=1e-4)


@pytest.mark.parametrize("energy", [30.0, 60.0, 90.0])
@pytest.mark.parametrize("substance", ["muscle", "blood"])
def test_tissues_in_between_are_nearly_right(substance, energy):
    found = attenuated([hounsfield_of(substance, 70.0)], energy)
    np.testing.assert_allclose(found, linear_attenuation(substance, energy), rtol=5e-3)


@pytest.mark.parametrize("ct_energy", [55.0, 70.0, 80.0])
def test_at_the_energy_of_the_ct_it_is_what_hounsfield_units_mean(ct_energy):
    hounsfield = np.linspace(-1000, 4000, 501)
    air, water = (float(linear_attenuation(s, ct_energy)) for s in ("air", "water"))
    expected = water + hounsfield / 1000 * (water - air)
    found = attenuated(hounsfield, ct_energy, ct_energy=ct_energy)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5 * water)


@pytest.mark.parametrize("energy", ENERGIES)
def test_continuous_and_monotone(energy):
    hounsfield = np.arange(-1100.0, 4000.0, 0.5)
    found = attenuated(hounsfield, energy)
    steps = np.diff(found)
    water = float(linear_attenuation("water", energy))
    # A rounding error of float32 is allowed to fall.
    assert steps.min() >= -1e-6 * found.max()
    # A step of 1 HU is 0.1 % of water by definition; nowhere is it above 2 %.
    assert steps.max() < 0.5 * 0.02 * water
    assert np.all(steps[hounsfield[1:] > -1000] > -1e-6 * water)


def test_below_air_there_is_air():
    found = attenuated([-3024.0, -1500.0, -1000.0], 60.0)
    np.testing.assert_allclose(found, linear_attenuation("air", 60.0), rtol=1e-6)


def test_beyond_bone_the_line_goes_on():
    a, b, c = attenuated([2000.0, 2500.0, 3000.0], 60.0)
    np.testing.assert_allclose(b - a, c - b, rtol=1e-4)
    assert b > a


@pytest.mark.parametrize("hounsfield", [-500.0, -30.0, 20.0, 150.0, 700.0, 2500.0])
def test_derivatives(hounsfield):
    with jax.enable_x64(True):

        def one(hu, energy, ct_energy):
            data = jnp.full((1, 1, 1), hu)
            volume = Volume(data, jnp.eye(4))
            return attenuation(volume, energy, ct_energy=ct_energy).data[0, 0, 0]

        # 61.7 and 71.3 keV are no nodes of the tables.
        point = (hounsfield, 61.7, 71.3)
        slopes = jax.grad(one, argnums=(0, 1, 2))(*point)
        for i, step in enumerate((1e-2, 1e-4, 1e-4)):
            up, down = list(point), list(point)
            up[i] += step
            down[i] -= step
            expected = (one(*up) - one(*down)) / (2 * step)
            np.testing.assert_allclose(slopes[i], expected, rtol=1e-5, atol=1e-12)


def test_derivatives_are_finite_at_the_substances_themselves():
    function = lambda hu: attenuation(Volume(hu, jnp.eye(4)), 60.0).data.sum()
    hounsfield = jnp.array([-1000.0, 0.0, -2000.0]).reshape(-1, 1, 1)
    slopes = jax.grad(function)(hounsfield).ravel()
    assert np.all(np.isfinite(slopes))
    assert slopes[1] > 0
    assert slopes[2] == 0


def test_dtypes():
    hounsfield = [-1000, 0, 60, 1200]
    expected = attenuated(hounsfield, 60.0)
    integers = attenuation(line(hounsfield, np.int16), 60.0).data
    assert integers.dtype == jnp.float32
    np.testing.assert_array_equal(integers.ravel(), expected)
    halves = attenuation(line(hounsfield, np.float16), 60.0).data
    assert halves.dtype == jnp.float16
    # Half precision: 2^-11, and 2^-25 absolute where air is subnormal.
    np.testing.assert_allclose(halves.ravel(), expected, rtol=5e-4, atol=3e-8)


def test_jit_vmap_channels_and_affine():
    data = jnp.linspace(-1000.0, 2000.0, 48).reshape(2, 3, 4, 2)
    volume = Volume.from_array(data, spacing=(1.0, 2.0, 3.0))
    expected = attenuation(volume, 60.0)
    assert expected.data.shape == data.shape
    np.testing.assert_array_equal(expected.affine, volume.affine)
    compiled = jax.jit(attenuation)(volume, 60.0)
    np.testing.assert_allclose(compiled.data, expected.data, rtol=1e-6)
    energies = jnp.array([40.0, 60.0])
    several = jax.vmap(attenuation, in_axes=(None, 0))(volume, energies)
    np.testing.assert_allclose(several.data[1], expected.data, rtol=1e-6)


def test_errors():
    volume = line([-1000.0, 0.0])
    with pytest.raises(ValueError, match="energy must be between 5 and 160 keV, got"):
        attenuation(volume, 60_000.0)
    with pytest.raises(ValueError, match="ct_energy must be between 5 and 160 keV"):
        attenuation(volume, 60.0, ct_energy=120_000.0)
    with pytest.raises(ValueError, match=r"energy must have shape \(\), got \(2,\)"):
        attenuation(volume, np.array([60.0, 70.0]))
    broken = Volume(jnp.full((2, 2, 2), jnp.nan), jnp.eye(4))
    with pytest.raises(ValueError, match="volume must hold finite HU"):
        attenuation(broken, 60.0)


@pytest.mark.parametrize("values", [[0.0, 0.5, 1.0], [0.0, 0.02], [1.0, 1.0]])
def test_what_is_not_in_hounsfield_units_is_refused(values):
    with pytest.raises(
        ValueError, match=r"volume must be in HU \(air -1000, water 0\)"
    ):
        attenuation(line(values), 60.0)


def test_water_alone_is_a_ct():
    assert np.all(attenuated([0.0, 0.0], 60.0) > 0)
