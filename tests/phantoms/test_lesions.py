"""Lesions: how much, where, how dense, and what stays as it was."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from synthex_jax.phantoms import Lesions, with_lesions
from synthex_jax.phantoms.lesions import CONSOLIDATION, GROUND_GLASS
from synthex_jax.volumes.volume import Volume

# Two ellipsoids for lungs, a voxel of vessel in each thousand.
SHAPE, SPACING = (64, 44, 56), 5.0


@functools.cache
def _chest():
    x, y, z = (
        (np.arange(n) - (n - 1) / 2).reshape([-1 if a == i else 1 for a in range(3)])
        * SPACING
        for i, n in enumerate(SHAPE)
    )
    labels = np.zeros(SHAPE, np.uint8)
    for side, middle in ((10, -75.0), (12, 75.0)):
        labels[((x - middle) / 60) ** 2 + (y / 85) ** 2 + (z / 125) ** 2 < 1] = side
    rng = np.random.default_rng(0)
    hu = np.where(labels > 0, -860 + 20 * rng.normal(size=SHAPE), 40.0)
    hu[(labels > 0) & (rng.uniform(size=SHAPE) < 1e-3)] = 35.0
    ct = Volume.from_array(hu.astype(np.float32), spacing=SPACING)
    return ct, Volume(jnp.asarray(labels), ct.affine)


def _ill(seed=0, **kinds):
    ct, labels = _chest()
    lesions = Lesions.create(**kinds)
    ill, where = with_lesions(jax.random.key(seed), ct, labels, lesions=lesions)
    return np.asarray(ill.data), np.asarray(where.data)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_severity_is_met(share):
    hu, where = _ill(share=share, consolidated=0.3)
    lungs = np.asarray(_chest()[1].data) > 0
    assert where.dtype == np.uint8
    # To a voxel of about 20,000.
    assert (where > 0).sum() / lungs.sum() == pytest.approx(share, abs=1e-4)
    dense = (where == CONSOLIDATION).sum() / (where > 0).sum()
    assert dense == pytest.approx(0.3, abs=2 / (where > 0).sum())
    assert np.isfinite(hu).all()


def test_nothing_changes_outside_of_the_lungs():
    hu, where = _ill(share=0.4)
    ct, labels = _chest()
    outside = np.asarray(labels.data) == 0
    assert not where[outside].any()
    np.testing.assert_array_equal(hu[outside], np.asarray(ct.data)[outside])
    healthy, none = _ill(share=0.0)
    assert not none.any()
    np.testing.assert_array_equal(healthy, ct.data)


def test_densities_are_those_of_the_kinds():
    hu, where = _ill(share=0.3, ground_glass=-550.0, consolidation=20.0)
    assert hu[where == GROUND_GLASS].mean() == pytest.approx(-550, abs=50)
    deep = ndimage.binary_erosion(where == CONSOLIDATION)
    # The texture of 30 HU is coarse; the edges are soft.
    assert hu[deep].mean() == pytest.approx(20, abs=40)
    assert hu[where == GROUND_GLASS].std() > 20
    # Consolidations lie within lesions, mostly with a margin of ground glass.
    grown = ndimage.binary_dilation(where == CONSOLIDATION)
    assert (where[grown] == GROUND_GLASS).any()


def test_vessels_show_through_ground_glass():
    before = np.asarray(_chest()[0].data)
    hu, where = _ill(share=0.4, consolidated=0.0)
    vessels = (before == 35.0) & (where == GROUND_GLASS)
    assert vessels.any()
    np.testing.assert_array_equal(hu[vessels], before[vessels])
    assert (hu >= before).all()


def test_a_severer_case_contains_the_less_severe():
    (_, mild), (_, severe) = (_ill(3, share=share) for share in (0.05, 0.2))
    assert (severe[mild > 0] > 0).all()


def test_bronchograms_are_dark_within_consolidations():
    kinds = {"share": 0.4, "consolidated": 0.9}
    (filled, where), (airy, _) = (_ill(1, **kinds, bronchograms=b) for b in (0.0, 1.0))
    changed = airy < filled - 300
    assert changed.any()
    # Some in the soft edge, that counts as ground glass.
    assert (where[changed] == CONSOLIDATION).mean() > 0.9
    # A tube of 3 mm a wavelength: a few percent.
    assert 0.003 < changed.sum() / (where == CONSOLIDATION).sum() < 0.15


def test_where_lesions_lie():
    """Bilateral, peripheral, behind and below, in most patients (see the sources)."""
    ct, labels = _chest()
    sides = np.asarray(labels.data)
    depth = ndimage.distance_transform_edt(sides > 0, SPACING)
    outer = depth < np.quantile(depth[sides > 0], 1 / 3)
    kinds = Lesions.create(0.06)
    draw = jax.vmap(lambda key, lungs: with_lesions(key, ct, lungs, lesions=kinds))
    keys = jax.random.split(jax.random.key(2), 13)
    lungs = jnp.broadcast_to(labels.data, (13, *SHAPE)).at[-1].set(0)
    affines = jnp.broadcast_to(labels.affine, (13, 4, 4))
    ill, where = draw(keys, Volume(lungs, affines))
    # The last has no lungs, and no lesions.
    assert not where.data[-1].any()
    np.testing.assert_array_equal(ill.data[-1], ct.data)
    one = with_lesions(keys[3], ct, labels, lesions=kinds)[1].data
    # Voxels on the edge of a lesion, in sums of another order.
    assert (one != where.data[3]).mean() < 1e-4

    found = np.asarray(where.data[:-1]) > 0
    total = found.sum(axis=(1, 2, 3))
    shares = {
        "left": (found & (sides == 10)).sum(axis=(1, 2, 3)) / total,
        "outer": (found & outer).sum(axis=(1, 2, 3)) / total,
        "behind": found[:, :, : SHAPE[1] // 2].sum(axis=(1, 2, 3)) / total,
        "below": found[:, :, :, : SHAPE[2] // 2].sum(axis=(1, 2, 3)) / total,
    }
    assert ((shares["left"] > 0.02) & (shares["left"] < 0.98)).mean() > 0.8
    assert (shares["behind"] > 0.5).mean() > 0.8
    assert shares["below"].mean() > 0.6
    # A third of the volume holds half of them.
    assert shares["outer"].mean() > 0.45


def test_draws_lie_within_the_published_ranges():
    draw = jax.jit(jax.vmap(Lesions.draw))
    drawn = draw(jax.random.split(jax.random.key(0), 300))
    assert 0.01 <= drawn.share.min() < 0.013
    assert 0.3 < drawn.share.max() <= 0.4
    # Ground glass alone in 34 % of Bernheim's patients, here a third.
    assert float((drawn.consolidated == 0).mean()) == pytest.approx(0.34, abs=0.08)
    assert (drawn.ground_glass < drawn.consolidation - 200).all()


def test_keys_make_different_patients():
    (_, first), (_, again), (_, other) = (_ill(seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_type_of_the_voxels_is_kept():
    ct, labels = _chest()
    for dtype in (jnp.int16, jnp.float16, jnp.float32):
        ill, where = jax.eval_shape(
            with_lesions, jax.random.key(0), ct.astype(dtype), labels
        )
        assert (ill.data.dtype, where.data.dtype) == (dtype, jnp.uint8)


def test_gradients_agree_with_differences(x64):
    ct, labels = _chest()
    ct = Volume(jnp.asarray(ct.data, float)[::2, ::2, ::2], ct.affine)
    labels = Volume(labels.data[::2, ::2, ::2], ct.affine)
    weights = jax.random.normal(jax.random.key(1), ct.data.shape)

    def value(data, glass, dense, key, lungs):
        kinds = Lesions.create(0.3, ground_glass=glass, consolidation=dense)
        ill, _ = with_lesions(key, Volume(data, ct.affine), lungs, lesions=kinds)
        return jnp.sum(weights * ill.data)

    # The key as an argument: the compiler would evaluate all that follows from a known.
    program = jax.jit(jax.value_and_grad(value, (0, 1, 2)))
    both = functools.partial(program, key=jax.random.key(0), lungs=labels)
    arguments = (ct.data, jnp.asarray(-500.0), jnp.asarray(10.0))
    slopes = both(*arguments)[1]
    for number, slope in enumerate(slopes):
        direction = jax.random.normal(jax.random.key(number), slope.shape)
        ends = []
        for step in (1e-4, -1e-4):
            moved = list(arguments)
            moved[number] = moved[number] + step * direction
            ends.append(float(both(*moved)[0]))
        difference = (ends[0] - ends[1]) / 2e-4
        assert float(jnp.sum(slope * direction)) == pytest.approx(difference, rel=1e-3)


def test_refuses_what_is_no_chest():
    ct, labels = _chest()
    with pytest.raises(ValueError, match="lungs must hold labels from 10 to 14"):
        with_lesions(jax.random.key(0), ct, Volume(0 * labels.data, ct.affine))
    cut = Volume(labels.data[1:], labels.affine)
    with pytest.raises(ValueError, match="ct and lungs must be on one grid"):
        with_lesions(jax.random.key(0), ct, cut)
    with pytest.raises(ValueError, match="volume must be in HU"):
        with_lesions(jax.random.key(0), Volume(0.01 + 0 * ct.data, ct.affine), labels)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"share": 1.2}, "share must be a share from 0 to 1, got 1.2"),
        ({"consolidated": -0.1}, "consolidated must be a share"),
        ({"ground_glass": 50.0}, "ground_glass and consolidation must be HU that rise"),
        ({"number": 0}, "number must be at least 1 lesion"),
        ({"share": [0.1, 0.2]}, "share must have shape"),
    ],
)
def test_refuses_what_are_no_lesions(kinds, message):
    with pytest.raises(ValueError, match=message):
        Lesions.create(**kinds)
