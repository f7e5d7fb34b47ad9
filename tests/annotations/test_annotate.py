"""Annotations of scenes: the right side, the right bone, the right pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import synthex_jax as sx
from synthex_jax.annotations.annotate import annotate, packed
from synthex_jax.sampling.named import hip_views
from synthex_jax.scene import Scene
from synthex_jax.synthesis.recipes import cropped_cios
from synthex_jax.tools.solids import Cylinder, Sphere
from synthex_jax.tools.tool import Part, Tool

# The bone that each kind of landmark is on.
BONES = {"FH": "femur"}


@pytest.fixture(scope="module")
def scene():
    anatomy = sx.phantoms.pelvis(jax.random.key(3), shape=(104, 72, 88), spacing=4.0)
    return Scene.from_anatomy(anatomy)


def bone_of(name):
    kind, side = name.split("-")
    side = {"l": "left", "r": "right"}[side]
    return f"{side} {BONES.get(kind, 'hemipelvis')}"


def test_a_thousand_hip_views(scene):
    """Each landmark in the picture lies on its bone, and no picture is mirrored."""
    carm, views = cropped_cios(96), hip_views()

    def one(key):
        camera = views.sample(key, carm, scene.center)
        found = annotate(scene, camera)
        rotation = camera.camera_from_world.rotation
        return packed(found.masks), found.landmarks, camera.K, rotation

    keys = jax.random.split(jax.random.key(0), 1000)
    hits, landmarks, intrinsics, rotations = jax.lax.map(one, keys)
    names = scene.landmarks.names
    # A landmark is on the surface: it may fall a voxel, 4 mm, beside the mask, which on
    # the detector is 6 mm, two pixels of 2.9.
    near = ndimage.generate_binary_structure(2, 2)
    counted = 0
    for i in range(len(keys)):
        bits = np.asarray(hits[i])
        for bone in (
            "left femur",
            "right femur",
            "left hemipelvis",
            "right hemipelvis",
        ):
            mask = (bits >> scene.structures.index(bone)) & 1
            grown = ndimage.binary_dilation(mask, near, iterations=2)
            for j, name in enumerate(names):
                if bone_of(name) == bone and landmarks.visible[i, j]:
                    row, col = np.rint(np.asarray(landmarks.pixels[i, j])).astype(int)
                    assert grown[row, col], (i, name)
                    counted += 1
    assert counted > 5000
    # Independently of the camera's own code: a rotation and positive focal lengths.
    determinants = np.linalg.det(np.asarray(rotations))
    np.testing.assert_allclose(determinants, 1, atol=1e-4)
    assert np.all(np.asarray(intrinsics)[:, [0, 1], [0, 1]] > 0)


def test_left_is_on_the_right_of_an_ap_image(scene):
    camera = sx.CArm.generic().resized((96, 96)).at(isocenter=scene.center)
    found = annotate(scene, camera)
    columns = np.arange(96)
    middle = {
        name: np.average(columns, weights=np.asarray(mask).sum(axis=0))
        for name, mask in zip(scene.class_names, found.masks, strict=True)
    }
    assert middle["left femur"] > middle["upper sacrum"] > middle["right femur"]
    assert np.asarray(found.classes)[48:, 80:].max() == 5


@pytest.mark.parametrize("view", [(0.0, 0.0), (0.5, -0.3)])
def test_tool_mask_landmark_and_image_agree(view):
    center = (20.0, -10.0, 15.0)
    ball = Tool.create(
        "ball",
        [Part.create(Sphere.create(center, 15.0), "titanium")],
        landmarks={"middle": center},
    )
    air = sx.Volume.from_array(jnp.full((4, 4, 4), -1000.0), spacing=40.0)
    scene = Scene.create(air, tools=[ball])
    full = sx.CArm.generic().resized((480, 480)).at(*view)
    for camera in (
        full,
        full.cropped((100, 150), (260, 240)),
        full.resized((320, 250)),
    ):
        found = annotate(scene, camera)
        pixel = np.asarray(found.landmarks.pixels[0])
        grid = np.asarray(camera.pixel_grid())
        image = -np.log(np.asarray(sx.render(scene, camera)))
        of_image = (image[..., None] * grid).sum((0, 1)) / image.sum()
        of_mask = grid[np.asarray(found.masks[0])].mean(0)
        top, left, bottom, right = np.asarray(found.boxes[0])
        np.testing.assert_allclose(of_image, pixel, atol=0.1)
        np.testing.assert_allclose(of_mask, pixel, atol=0.1)
        np.testing.assert_allclose(
            [(top + bottom) / 2, (left + right) / 2], pixel, atol=0.51
        )


def test_tools_go_before_structures_and_the_later_before_the_earlier(scene):
    rod = Cylinder.create((0.0, 0.0, -60.0), (0.0, 0.0, 100.0), 8.0)
    across = Cylinder.create((-150.0, 0.0, 20.0), (150.0, 0.0, 20.0), 8.0)
    tools = [
        Tool.create(name, [Part.create(shape, "titanium")])
        for name, shape in (("rod", rod), ("bar", across))
    ]
    camera = sx.CArm.generic().resized((96, 96)).at(isocenter=scene.center)
    scene = scene.with_tools(*tools)
    found = annotate(scene, camera)
    classes = np.asarray(found.classes)
    masks = dict(zip(scene.class_names, np.asarray(found.masks), strict=True))
    assert np.all(classes[masks["bar"]] == 8)
    assert np.all(classes[masks["rod"] & ~masks["bar"]] == 7)
    assert np.any(masks["rod"] & masks["bar"])
    assert np.any(masks["rod"] & masks["upper sacrum"])


def test_only_labelled_parts_show():
    shapes = [Sphere.create((x, 0.0, 0.0), 8.0) for x in (-30.0, 30.0)]
    parts = [Part.create(shape, "titanium") for shape in shapes]
    air = sx.Volume.from_array(jnp.full((4, 4, 4), -1000.0), spacing=40.0)
    camera = sx.CArm.generic().resized((64, 64)).at()
    scene = Scene.create(air, tools=[Tool.create("two", parts, labelled=[0])])
    columns = np.nonzero(np.asarray(annotate(scene, camera).masks[0]).any(0))[0]
    # The first ball is on the patient's left, which is on the image's right.
    assert columns.size > 0
    assert columns.min() > 32


def test_a_scene_without_labels():
    air = sx.Volume.from_array(jnp.zeros((4, 4, 4)), spacing=40.0)
    found = annotate(Scene.create(air), sx.CArm.generic().resized((8, 8)).at())
    assert found.fields() == {}
    assert found.masks.shape == (0, 8, 8)


def test_packed_bits():
    masks = np.random.default_rng(0).random((11, 3, 4)) > 0.5
    bits = np.asarray(packed(jnp.asarray(masks)))
    assert bits.dtype == np.uint16
    for s, mask in enumerate(masks):
        np.testing.assert_array_equal((bits >> s) & 1, mask)
