"""Phantoms: what is where, how dense it is, and what a key and a grid may change."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.frames import transform_points
from synthex_jax.phantoms import HIP_LANDMARKS, LABELS, canvas, pelvis, thorax

# 4 mm: the coarsest grid on which thin bones keep most of their voxels.
PELVIS = {"shape": (104, 72, 88), "spacing": 4.0}
THORAX = {"shape": (96, 72, 88), "spacing": 4.0}
TINY = {"shape": (26, 18, 22), "spacing": 16.0}


@functools.cache
def _pelvis(seed=0):
    return pelvis(jax.random.key(seed), **PELVIS)


@functools.cache
def _thorax(seed=0):
    return thorax(jax.random.key(seed), **THORAX)


def _id(name):
    return next(i for i, n in LABELS.items() if n == name)


def _where(body, name):
    """Voxel centers with a label, world mm."""
    index = np.argwhere(np.asarray(body.labels.data) == _id(name))
    assert len(index), name
    return np.asarray(transform_points(body.ct.affine, jnp.asarray(index, jnp.float32)))


def _mean_hu(body, name):
    inside = np.asarray(body.labels.data) == _id(name)
    return float(np.asarray(body.ct.data)[inside].mean())


@pytest.mark.parametrize("body", [_pelvis, _thorax])
def test_values_are_those_of_a_ct(body):
    body = body()
    hu, labels = np.asarray(body.ct.data), np.asarray(body.labels.data)
    assert np.isfinite(hu).all()
    assert hu.min() >= -1001
    assert hu.max() < 2000
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, *LABELS}
    assert np.median(hu[labels == 0]) == -1000
    corners = hu[[0, 0, -1, -1], [0, -1, 0, -1], -1]
    np.testing.assert_allclose(corners, -1000)


def test_pelvis_tissue_densities():
    bones = ["hip_left", "hip_right", "femur_left", "femur_right", "sacrum"]
    for name in [*bones, *(f"vertebrae_L{i}" for i in (2, 3, 4, 5))]:
        assert 100 < _mean_hu(_pelvis(), name) < 900, name
    assert -140 < _mean_hu(_pelvis(), "subcutaneous_fat") < -60
    assert 0 < _mean_hu(_pelvis(), "muscle") < 70


def test_thorax_tissue_densities():
    for name in ("lung_left", "lung_right"):
        assert -900 < _mean_hu(_thorax(), name) < -700
    bones = [f"rib_{side}_{i}" for side in ("left", "right") for i in range(2, 11)]
    bones += ["sternum", "vertebrae_T8", "scapula_left", "clavicula_right"]
    for name in bones:
        assert _mean_hu(_thorax(), name) > 100, name
    assert 30 < _mean_hu(_thorax(), "heart") < 60
    assert 40 < _mean_hu(_thorax(), "liver") < 75


def test_organs_have_the_sizes_of_organs():
    """Milliliters of adults: bladders from little to well filled, kidneys, psoas."""
    voxels = np.asarray(_pelvis().labels.data)
    milliliters = {
        name: (voxels == _id(name)).sum() * 0.064
        for name in ("urinary_bladder", "kidney_left", "kidney_right", "iliopsoas_left")
    }
    assert 50 < milliliters["urinary_bladder"] < 400
    # The upper poles lie beyond the grid.
    assert 60 < milliliters["kidney_left"] < 250
    assert 60 < milliliters["kidney_right"] < 250
    assert 100 < milliliters["iliopsoas_left"] < 500
    assert 0 < _mean_hu(_pelvis(), "urinary_bladder") < 20


def test_lungs_hold_what_lungs_hold():
    for seed in range(3):
        voxels = np.asarray(_thorax(seed).labels.data)
        liters = np.isin(voxels, (10, 12)).sum() * 64 / 1e6
        # Lungs at rest to full breath in adults, vessels included.
        assert 2.0 < liters < 7.5


def test_sides_are_the_patients():
    for body, pairs in (
        (_pelvis(), ["hip", "femur"]),
        (_thorax(), ["lung", "scapula", "clavicula"]),
    ):
        for name in pairs:
            assert _where(body, f"{name}_right")[:, 0].mean() > 25
            assert _where(body, f"{name}_left")[:, 0].mean() < -25
    assert _where(_thorax(), "rib_right_7")[:, 0].min() > 0
    assert _where(_thorax(), "heart")[:, 0].mean() < -8
    assert _where(_thorax(), "liver")[:, 0].mean() > 20
    assert _where(_thorax(), "stomach")[:, 0].mean() < -20
    # The right half of the diaphragm stands higher.
    tops = [_where(_thorax(), n)[:, 2].max() for n in ("liver", "stomach")]
    assert tops[0] > tops[1] + 10


def test_order_from_head_to_feet_and_front_to_back():
    heights = [_where(_pelvis(), f"vertebrae_L{i}")[:, 2].mean() for i in (2, 3, 4, 5)]
    heights.append(_where(_pelvis(), "sacrum")[:, 2].mean())
    heights.append(_where(_pelvis(), "femur_left")[:, 2].mean())
    assert (np.diff(heights) < -15).all()
    spine = [_where(_thorax(), f"vertebrae_T{i}")[:, 2].mean() for i in range(2, 13)]
    assert (np.diff(spine) < -10).all()
    front = _where(_thorax(), "sternum")[:, 1].min()
    assert front > _where(_thorax(), "vertebrae_T8")[:, 1].max() + 50


@pytest.mark.slow
def test_landmarks_lie_on_the_bones_of_many():
    for seed in range(3, 20):
        _landmarks_lie_on_their_bones(pelvis(jax.random.key(seed), **PELVIS))


@pytest.mark.parametrize("seed", range(3))
def test_landmarks_lie_on_their_bones(seed):
    _landmarks_lie_on_their_bones(_pelvis(seed))


def _landmarks_lie_on_their_bones(body):
    assert set(body.landmarks) == set(HIP_LANDMARKS)
    for name, point in body.landmarks.items():
        side = "left" if name.endswith("-l") else "right"
        bone = "femur" if name.startswith("FH") else "hip"
        gap = np.linalg.norm(_where(body, f"{bone}_{side}") - point, axis=1).min()
        # 2 mm off the surface, and half the diagonal of a 4 mm voxel.
        assert gap < 2 + 3.5, name


def test_landmarks_are_arranged_as_in_a_body():
    at = {name: np.asarray(p) for name, p in _pelvis().landmarks.items()}
    for side, sign in (("l", -1), ("r", 1)):
        assert all(sign * at[f"{n}-{side}"][0] > 0 for n in ("FH", "SPS", "MOF", "IOF"))
        assert at[f"ASIS-{side}"][2] > at[f"FH-{side}"][2] + 50
        assert at[f"SPS-{side}"][2] > at[f"IPS-{side}"][2] + 20
        assert at[f"GSN-{side}"][1] < at[f"FH-{side}"][1] - 20
        assert abs(at[f"MOF-{side}"][0]) < abs(at[f"IOF-{side}"][0])
    width = np.linalg.norm(at["ASIS-r"] - at["ASIS-l"])
    heads = np.linalg.norm(at["FH-r"] - at["FH-l"])
    # Interspinous distance and distance of the hip centers in adults.
    assert 200 < width < 300
    assert 150 < heads < 215


def test_halves_are_alike_but_not_equal():
    labels = np.asarray(_pelvis().labels.data)
    sizes = {s: (labels == _id(f"hip_{s}")).sum() for s in ("left", "right")}
    assert sizes["left"] == pytest.approx(sizes["right"], rel=0.08)
    assert (labels != labels[::-1]).any()


@pytest.mark.slow
def test_a_finer_grid_shows_the_same_patient():
    fine = pelvis(jax.random.key(0), shape=(139, 96, 117), spacing=3.0)
    ours, theirs = np.asarray(_pelvis().labels.data), np.asarray(fine.labels.data)
    for name in ("hip_left", "hip_right", "sacrum", "vertebrae_L4", "femur_right"):
        volumes = [(a == _id(name)).sum() * v for a, v in ((ours, 64), (theirs, 27))]
        # The bottom of the femur is cut up to half a voxel apart.
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05), name
    for name, point in _pelvis().landmarks.items():
        np.testing.assert_allclose(point, fine.landmarks[name], atol=1e-3)
    means = [
        float(_pelvis().ct.data[20:-20, 15:-15, 20:-20].mean()),
        float(fine.ct.data[27:-27, 20:-20, 27:-27].mean()),
    ]
    # The same 256 x 168 x 192 mm within a voxel: bone and bowel gas average out.
    assert abs(means[0] - means[1]) < 15


def test_keys_differ_within_human_bounds():
    bodies = [_pelvis(seed) for seed in range(3)]
    heads = [float(b.landmarks["FH-r"][0] - b.landmarks["FH-l"][0]) for b in bodies]
    assert np.std(heads) > 0.5
    assert np.ptp(heads) < 60
    again = pelvis(jax.random.key(1), **PELVIS)
    np.testing.assert_array_equal(again.ct.data, bodies[1].ct.data)


@pytest.mark.slow
@pytest.mark.parametrize("phantom", [pelvis, thorax])
def test_jit_and_vmap_over_keys(phantom):
    keys = jax.random.split(jax.random.key(3), 2)
    batch = jax.jit(jax.vmap(lambda key: phantom(key, **TINY)))(keys)
    one = phantom(keys[1], **TINY)
    assert batch.ct.data.shape == (2, *TINY["shape"])
    # Sums in another order: a share of a voxel may differ in its last digits.
    np.testing.assert_allclose(batch.ct.data[1], one.ct.data, atol=0.5)
    np.testing.assert_array_equal(batch.labels.data[1], one.labels.data)


@pytest.mark.parametrize("region", ["pelvis", "thorax"])
def test_solids_fit_into_their_blocks(region):
    """A block too small would cut a solid off."""
    module = importlib.import_module(f"synthex_jax.phantoms.{region}")

    skeletons = []

    @jax.jit
    def drawn(key):
        groups = module.solids(module.Flesh.draw(key), module.Build.draw(key))
        skeletons[:] = [[solids.skeleton for solids in group] for group in groups]
        return [solids.vertices for group in groups for solids in group]

    drawn(jax.random.key(0))
    for seed in range(8):
        vertices = iter(drawn(jax.random.key(seed)))
        for group in skeletons:
            room = np.max([s.extent for s in group], axis=0) * canvas._ROOM
            part_room = max(s.part_extent for s in group) * canvas._PART_ROOM
            for skeleton in group:
                posed = np.asarray(next(vertices))
                assert (_box(posed).max(axis=0) < room).all()
                parts = posed[:, skeleton.faces].reshape(-1, 3, 4)
                assert _box(parts).max() < part_room


def _box(vertices):
    """Sides of the boxes around groups of balls, (k, n, 4) to (k, 3)."""
    points, radii = vertices[..., :3], np.maximum(vertices[..., 3:], 0)
    return (points + radii).max(axis=1) - (points - radii).min(axis=1)


def test_refuses_what_is_no_grid():
    with pytest.raises(ValueError, match="spacing must be positive mm"):
        pelvis(jax.random.key(0), spacing=0.0)
    with pytest.raises(ValueError, match="shape must be three whole numbers"):
        thorax(jax.random.key(0), shape=(10, 10, 1))
