import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.compounds import iodine_contrast, material
from synthex_jax.physics.tables import linear_attenuation
from synthex_jax.volumes.basis import in_basis
from synthex_jax.volumes.calibration import TISSUES
from synthex_jax.volumes.composition import Composition
from synthex_jax.volumes.materials import attenuation
from synthex_jax.volumes.structures import TOTALSEGMENTATOR_V2
from synthex_jax.volumes.tissues import Tissues, holds_metal
from synthex_jax.volumes.volume import Volume

NUMBERS = {name: number for number, name in TOTALSEGMENTATOR_V2.items()}


def column(values, dtype=jnp.float32):
    """A CT, or labels, one voxel thick."""
    return Volume.from_array(jnp.asarray(values, dtype)[:, None, None], spacing=1.0)


def ct_number(substance):
    """HU at 70 keV."""
    mu, air, water = (
        float(linear_attenuation(s, 70.0)) for s in (substance, "air", "water")
    )
    return 1000 * (mu - water) / (water - air)


def flat(volume):
    return np.asarray(volume.data)[:, 0, 0]


RULES = {
    "water and bone": Tissues.create(),
    "three": Tissues.create(("adipose", "soft tissue", "cortical bone")),
    "the row": Tissues.create(TISSUES),
    "another CT": Tissues.create(ct_energy=60.0),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_attenuation_is_what_the_ct_number_means(rule):
    """Water 0, air -1000, a line between and beyond: at the CT's energy."""
    hu = np.arange(-1000.0, 3001.0)
    found = flat(rule.composition(column(hu)).attenuation(rule.ct_energy))
    water, air = (
        float(linear_attenuation(s, rule.ct_energy)) for s in ("water", "air")
    )
    expected = water + hu / 1000 * (water - air)
    # Float32 in sums of ramps; the target is 5e-3.
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    np.testing.assert_allclose(found[[0, 1000]], [air, water], rtol=1e-4)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("energy", [25.0, 50.0, 120.0])
def test_no_jumps_and_no_fall(rule, energy):
    hu = np.arange(-1100.0, 3001.0)
    found = flat(rule.composition(column(hu)).attenuation(energy))
    steps = np.diff(found)
    assert np.all(steps >= -1e-6 * found[1:])
    # A step of 1 HU is a thousandth of water by definition, here at any energy, and
    # more where calcium's share rises; 2 % of the voxel's own or of a lung's.
    lung = found[hu == -742.0]
    assert np.all(steps < 0.02 * np.maximum(found[:-1], lung))


@pytest.mark.parametrize(
    ("rule", "within"),
    [
        # At 30 keV; two substances are off most for fat.
        (RULES["water and bone"], 7e-3),
        (RULES["three"], 1e-3),
        (RULES["the row"], 1e-5),
    ],
)
def test_tissues_are_right_at_other_energies(rule, within):
    hu = np.arange(-900.0, 2500.0, 7.0)
    ct = column(hu)
    for energy in (30.0, 60.0, 110.0):
        expected = flat(attenuation(ct, energy))
        found = flat(rule.composition(ct).attenuation(energy))
        np.testing.assert_allclose(found, expected, rtol=within)


def test_the_row_gives_fractions_and_density():
    hu = np.arange(-1100.0, 1500.0)
    found = RULES["the row"].composition(column(hu))
    shares = np.asarray(found.fractions.data)
    assert shares.min() > -1e-5
    np.testing.assert_allclose(shares.sum(-1), 1.0, atol=1e-4)
    knots = [ct_number(t) for t in TISSUES]
    at_tissues = RULES["the row"].composition(column(knots)).density()
    expected = [float(material(t).density) for t in TISSUES]
    np.testing.assert_allclose(flat(at_tissues), expected, rtol=1e-4)
    # In the basis of water and bone density is right for all tissues within 3 %, and
    # for water itself exactly.
    in_two = flat(RULES["water and bone"].composition(column(knots)).density())
    np.testing.assert_allclose(in_two[1:], expected[1:], rtol=0.03)
    np.testing.assert_allclose(in_two[TISSUES.index("water")], 1.0, rtol=1e-5)


def test_metal_is_recognised():
    rule = Tissues.create(metal="titanium")
    composition = rule.composition(
        column([-1000.0, 0.0, 2500.0, 2750.0, 3000.0, 3071.0])
    )
    assert [s.name for s in composition.substances] == [
        "water",
        "cortical bone",
        "titanium",
    ]
    shares = np.asarray(composition.fractions.data)[:, 0, 0]
    np.testing.assert_allclose(shares[:, 2], [0, 0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(shares[-1], [0, 0, 1], atol=1e-6)
    mu = flat(composition.attenuation(60.0))
    np.testing.assert_allclose(mu[-1], linear_attenuation("titanium", 60.0), rtol=1e-5)
    steps = flat(rule.composition(column(np.arange(2400.0, 3100.0))).attenuation(70.0))
    assert np.all(np.diff(steps) < 0.02 * steps[:-1])


def test_holds_metal():
    ct = Volume.from_array(jnp.zeros((10, 10, 10)), spacing=1.0)
    assert not holds_metal(ct)
    assert holds_metal(Volume(ct.data.at[:4, :4, :4].set(3071.0), ct.affine))


def test_labels_tell_contrast_from_bone():
    agent = iodine_contrast(20.0)
    rule = Tissues.create(contrast=agent)
    bright = ct_number(agent)
    ct = column([bright, bright, bright, -500.0, -500.0])
    labels = column(
        [NUMBERS["aorta"], NUMBERS["hip_left"], 0, NUMBERS["aorta"], 0], jnp.int32
    )
    shares = np.asarray(rule.composition(ct, labels).fractions.data)[:, 0, 0]
    np.testing.assert_allclose(shares[0], [0, 0, 1], atol=1e-4)
    assert shares[1, 1] > 0.3  # bone
    assert np.all(shares[1:, 2] == 0)
    np.testing.assert_allclose(shares[2], shares[1], rtol=1e-5)
    np.testing.assert_allclose(shares[3], shares[4], rtol=1e-5)  # gas is gas
    # The CT number holds for all of them.
    found = flat(rule.composition(ct, labels).attenuation(70.0))
    expected = flat(attenuation(ct, 70.0))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_dense_organs_hold_no_bone():
    ct = column([200.0, 200.0])
    labels = column([NUMBERS["liver"], NUMBERS["vertebrae_L3"]], jnp.uint8)
    found = Tissues.create(TISSUES).composition(ct, labels).fractions.data[:, 0, 0]
    bones = [TISSUES.index("spongy bone"), TISSUES.index("cortical bone")]
    assert jnp.all(found[0, jnp.array(bones)] == 0)
    assert found[1, bones[0]] > 0.5
    np.testing.assert_allclose(
        flat(Tissues.create().composition(ct, labels).attenuation(70.0)),
        flat(attenuation(ct, 70.0)),
        rtol=1e-3,
    )


def test_overrides():
    rule = Tissues.create(overrides={300: "PMMA", -7: "stainless steel"})
    labels = column([300, -7, 1, 0, 5000], jnp.int32)
    found = rule.composition(column([-1000.0, 40.0, 0.0, 0.0, 0.0]), labels)
    mu = flat(found.attenuation(50.0))
    expected = [float(linear_attenuation(s, 50.0)) for s in ("PMMA", "stainless steel")]
    np.testing.assert_allclose(mu[:2], expected, rtol=1e-5)
    np.testing.assert_allclose(mu[2:], linear_attenuation("water", 50.0), rtol=2e-3)


def test_basis_fits():
    basis = (material("water"), material("cortical bone"))
    tissues = tuple(material(t) for t in (*TISSUES, "muscle", "blood"))
    shares = in_basis(tissues, basis)
    energies = jnp.linspace(20.0, 140.0, 50)
    own = jnp.stack([linear_attenuation(b, energies) for b in basis], -1)
    for tissue, share in zip(tissues, shares, strict=True):
        exact = linear_attenuation(tissue, energies)
        worst = jnp.max(jnp.abs(own @ share / exact - 1))
        assert worst < (0.013 if tissue.name == "adipose" else 0.004)
    doubled = material("blood", density=2.12)
    np.testing.assert_allclose(
        in_basis((doubled,), basis)[0], 2 * shares[-1], rtol=1e-5
    )


def test_derivatives(x64):
    """In HU and in the CT's energy, away from the tissues themselves."""
    hu = jnp.array([-950.0, -500.0, -30.0, 20.0, 120.0, 700.0, 2600.0, 2900.0])
    weights = jnp.arange(1.0, 9.0)

    def total(hu, ct_energy, metal_hu):
        rule = Tissues.create(metal="titanium", ct_energy=ct_energy, metal_hu=metal_hu)
        composition = rule.composition(column(hu, jnp.float64))
        return jnp.sum(weights * composition.attenuation(55.0).data[:, 0, 0])

    point = (hu, jnp.asarray(71.3), jnp.array([2550.0, 3050.0]))
    slopes, total = jax.grad(total, argnums=(0, 1, 2))(*point), jax.jit(total)
    for i, slope in enumerate(slopes):
        for j in np.ndindex(point[i].shape):
            up, down = list(point), list(point)
            up[i], down[i] = point[i].at[j].add(1e-4), point[i].at[j].add(-1e-4)
            expected = (total(*up) - total(*down)) / 2e-4
            np.testing.assert_allclose(slope[j], expected, rtol=1e-5, atol=1e-12)


def test_transformations_and_dtypes():
    rule = Tissues.create(metal="titanium")
    ct = column([-1000.0, 3.0, 300.0])
    expected = rule.composition(ct)
    compiled = jax.jit(lambda r, v: r.composition(v))(rule, ct)
    np.testing.assert_allclose(
        compiled.fractions.data, expected.fractions.data, atol=1e-6
    )
    whole = rule.composition(column([-1000, 3, 300], jnp.int16))
    assert whole.fractions.data.dtype == jnp.float32
    np.testing.assert_allclose(whole.fractions.data, expected.fractions.data, atol=1e-6)
    both = jax.vmap(lambda d: rule.composition(Volume(d, ct.affine)).fractions.data)(
        jnp.stack([ct.data, 2 * ct.data])
    )
    np.testing.assert_allclose(both[0], expected.fractions.data, atol=1e-6)


def test_errors():
    ct = column([-1000.0, 0.0])
    with pytest.raises(ValueError, match="material must be one of"):
        Tissues.create(metal="unobtainium")
    with pytest.raises(ValueError, match=r"stand for 'air' .* titanium miss it by"):
        Tissues.create(("titanium",))
    with pytest.raises(ValueError, match="metal_hu must rise, got 3000 to 2500 HU"):
        Tissues.create(metal_hu=(3000.0, 2500.0))
    with pytest.raises(ValueError, match="ct_energy must be between 5 and 160 keV"):
        Tissues.create(ct_energy=120e3)
    with pytest.raises(ValueError, match="labels must be given with contrast"):
        Tissues.create(contrast=iodine_contrast(10)).composition(ct)
    with pytest.raises(ValueError, match="labels must be given with overrides"):
        Tissues.create(overrides={3: "Ti"}).composition(ct)
    with pytest.raises(
        ValueError, match=r"grid of \(2, 1, 1\) voxels, got \(3, 1, 1\)"
    ):
        Tissues.create().composition(ct, column([0, 0, 0], jnp.int32))
    with pytest.raises(ValueError, match="labels must be integers, got float32"):
        Tissues.create().composition(ct, column([0.0, 0.0]))
    moved = Volume(jnp.zeros((2, 1, 1), jnp.int32), ct.affine.at[0, 3].add(2.0))
    with pytest.raises(ValueError, match="affines differ by 2 mm"):
        Tissues.create().composition(ct, moved)
    with pytest.raises(ValueError, match="volume must be in HU"):
        Tissues.create().composition(column([0.02, 0.05]))
    with pytest.raises(ValueError, match="must have a density, 'CaCO3' has none"):
        Composition.create(column([0.0]), ("CaCO3",))
    with pytest.raises(ValueError, match=r"\(nx, ny, nz, 2\), got \(1, 1, 1\)"):
        Composition.create(column([0.0]), ("water", "air"))
