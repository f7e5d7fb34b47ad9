"""Examples of recipes over specimens: deterministic, labelled, refused when unfit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.annotations.structures import Structures
from synthex_jax.sampling.distributions import Uniform
from synthex_jax.sampling.placements import CameraFacing
from synthex_jax.sampling.tools import PlacedTool
from synthex_jax.sampling.views import CArmViews
from synthex_jax.scene import Scene
from synthex_jax.synthesis.intensities import Attenuation, Gray, Readings
from synthex_jax.synthesis.live import live
from synthex_jax.synthesis.reader import Dataset
from synthex_jax.synthesis.recipe import Recipe, make_example
from synthex_jax.synthesis.source import SceneSource
from synthex_jax.synthesis.writer import synthesize
from synthex_jax.tools.solids import Sphere
from synthex_jax.tools.tool import Part, Tool

ORGAN = Structures.create({"organ": 3})
CARM = sx.CArm.generic().resized((24, 20))
VIEWS = CArmViews.create(
    orbital=Uniform.degrees(-20.0, 20.0), offset=(Uniform.create(-60.0, 60.0), 0.0, 0.0)
)
BALL = Tool.create(
    "ball",
    [Part.create(Sphere.create((0.0, 0.0, 0.0), 10.0), "titanium")],
    landmarks={"middle": (0.0, 0.0, 0.0)},
)


def recipe(**options):
    given = {"carm": CARM, "views": VIEWS, "simulation": sx.naive()} | options
    return Recipe.create("test", **given)


def scene(density=0.0):
    data = np.zeros((16, 14, 12), np.float32)
    data[4:8, 5:9, 4:8] = 400.0 + density
    body = sx.Volume.from_array(data, spacing=15.0)
    labels = sx.Volume.from_array(np.where(data > 0, 3, 0), body.affine)
    return Scene.create(
        body,
        labels=labels,
        structures=ORGAN,
        landmarks={"top": (-30.0, 0.0, 60.0), "low": (30.0, 0.0, -60.0)},
    )


@pytest.fixture(scope="module")
def source():
    tools = (PlacedTool(BALL, CameraFacing.create(shift=(5.0, -5.0, 0.0))),)
    specimens = {"one": scene(), "two": scene(100.0)}
    return SceneSource.create(recipe(tools=tools, anchor=["top"]), specimens)


def test_fields_and_names(source):
    made = jax.tree.map(np.asarray, source.batch(0, np.arange(3, dtype=np.int32)))
    expected = source.fields()
    assert set(made) == set(expected)
    for name, values in made.items():
        assert values.shape == (3, *expected[name].shape), name
        assert values.dtype == expected[name].dtype, name
    described = source.describe()
    assert described["structure_names"] == ["organ", "ball"]
    assert described["landmark_names"] == ["top", "low", "ball middle"]
    assert described["recipe"]["intensities"] == {"kind": "attenuation", "step": 2**-12}


def test_an_example_depends_on_its_number_alone(source):
    numbers = np.arange(10, dtype=np.int32)
    whole = source.batch(7, numbers)
    shuffled = np.random.default_rng(0).permutation(numbers)
    parts = source.batch(7, shuffled)
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], np.asarray(values)[shuffled], name)
    np.testing.assert_array_equal(whole["specimen"], numbers // 4 % 2)
    key = jax.random.fold_in(jax.random.key(7), 5)
    alone = make_example(key, source.scenes[1], source.recipe)
    for name, values in alone.items():
        # Compiled otherwise, an image may round otherwise: one count.
        np.testing.assert_allclose(
            np.asarray(values, float), np.asarray(whole[name][5], float),
            atol=1 if name == "image" else 2e-3, err_msg=name,
        )  # fmt: skip
    other = source.batch(8, numbers)
    assert not np.array_equal(other["image"], whole["image"])


def test_labels_agree_with_the_camera_that_is_kept(source):
    made = jax.tree.map(np.asarray, source.batch(0, np.arange(4, dtype=np.int32)))
    points = np.array([[-30.0, 0.0, 60.0], [30.0, 0.0, -60.0]])
    for i in range(4):
        pose, intrinsics = made["camera_from_world"][i], made["intrinsics"][i]
        in_camera = points @ pose[:3, :3].T + pose[:3, 3]
        x, y, z = (in_camera @ intrinsics.T).T
        np.testing.assert_allclose(
            made["landmarks"][i, :2], np.stack([y / z, x / z], -1), atol=1e-3
        )


def test_a_data_set_is_the_same_in_any_parts_and_can_be_read(source, tmp_path):
    options = {"num": 10, "seed": 3, "batch": 2, "shard": 4}
    synthesize(source, tmp_path / "whole", **options)
    for part in (2, 0, 1):
        synthesize(source, tmp_path / "parts", part=(part, 3), **options)
    files = sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert len(files) > 30
    for file in files:
        other = tmp_path / "parts" / file.relative_to(tmp_path / "whole")
        assert other.read_bytes() == file.read_bytes(), file
    dataset = Dataset.open(tmp_path / "whole")
    batches = live(source, batch=5, seed=3)
    for start in (0, 5):
        batch = next(batches)
        for i in range(5):
            example = dataset[start + i]
            for name, values in batch.items():
                np.testing.assert_array_equal(example[name], values[i], name)


def test_views_are_drawn_until_landmarks_show():
    far = CArmViews.create(offset=(Uniform.create(-800.0, 800.0), 0.0, 0.0))
    strict = recipe(views=far, least_visible=2)
    keys = jax.random.split(jax.random.key(0), 20)
    body = scene()
    one = jax.jit(lambda key: make_example(key, body, strict))
    made = [one(key) for key in keys]
    assert all(bool(m["accepted"]) for m in made)
    assert all(int(m["visible"].sum()) == 2 for m in made)
    loose = recipe(views=far)
    one = jax.jit(lambda key: make_example(key, body, loose))
    assert min(int(one(key)["visible"].sum()) for key in keys[:8]) == 0


def test_shear_moves_body_labels_and_landmarks():
    plain, sheared = (
        make_example(jax.random.key(1), scene(), recipe(shear=shear))
        for shear in (None, 0.3)
    )
    assert not np.allclose(plain["landmarks"], sheared["landmarks"], atol=0.2)
    assert not np.array_equal(plain["mask"], sheared["mask"])


@pytest.mark.parametrize(
    ("kept", "dtype"),
    [(Attenuation(), "uint16"), (Gray(), "uint8"), (Readings(), "f4")],
)
def test_intensities(kept, dtype):
    made = make_example(jax.random.key(0), scene(), recipe(intensities=kept))["image"]
    assert made.dtype == dtype
    camera = CARM.at()
    raw = sx.render(scene(), camera)
    flat = sx.flat_field(camera)
    image = kept.image(raw, flat, 1e-30)
    if dtype == "uint16":
        # 180 mm of water and bone at 60 keV, within half a step.
        np.testing.assert_allclose(image * 2.0**-12, -jnp.log(raw), atol=1.3e-4)
    if dtype == "uint8":
        assert int(image.max()) > 200
    if dtype == "f4":
        np.testing.assert_array_equal(image, raw)


def test_unfit_specimens_are_refused():
    with pytest.raises(ValueError, match="at least one scene"):
        SceneSource.create(recipe(), {})
    with pytest.raises(ValueError, match=r"of one must hold hip,.*top, low; anchor"):
        SceneSource.create(recipe(anchor=["hip"]), {"one": scene()})
    with pytest.raises(ValueError, match="at most the 2 landmarks of one, got 3"):
        SceneSource.create(recipe(least_visible=3), {"one": scene()})
    other = dataclasses.replace(scene(), landmarks=None)
    with pytest.raises(ValueError, match="same landmarks, one has top, low and two"):
        SceneSource.create(recipe(), {"one": scene(), "two": other})
    with pytest.raises(ValueError, match="quanta must be positive"):
        recipe(quanta=0.0)


def test_bodies_larger_than_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("synthex_jax.synthesis.source._memory", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"of 1 specimens take 1.1.e-05 GB and the"):
        SceneSource.create(recipe(), {"one": scene()})


def test_another_body_is_another_data_set(source, tmp_path):
    synthesize(source, tmp_path / "set", num=2, batch=2, shard=2)
    other = SceneSource.create(source.recipe, {"one": scene(), "two": scene(99.0)})
    with pytest.raises(ValueError, match="specimen_sha256"):
        synthesize(other, tmp_path / "set", num=2, batch=2, shard=2)
