"""Scenes: checks, names, deformation, and images with tools."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import synthex_jax as sx
from synthex_jax.annotations.annotate import annotate
from synthex_jax.annotations.structures import Structures
from synthex_jax.rendering import signal
from synthex_jax.scene import Scene
from synthex_jax.tools.solids import Sphere
from synthex_jax.tools.tool import Part, Tool

BLOCK = sx.Volume.from_array(jnp.zeros((20, 18, 16)), spacing=10.0)
ORGAN = Structures.create({"organ": 3})


def ball(name="ball", center=(0.0, 0.0, 0.0), material="titanium"):
    return Tool.create(
        name,
        [Part.create(Sphere.create(center, 10.0), material)],
        landmarks={"middle": center},
    )


def labels(volume=BLOCK):
    data = np.zeros(volume.shape, np.uint8)
    data[4:8, 5:9, 6:10] = 3
    return sx.Volume.from_array(data, volume.affine)


def test_names_of_classes_and_landmarks():
    scene = Scene.create(
        BLOCK,
        labels=labels(),
        structures=ORGAN,
        landmarks={"top": (0.0, 0.0, 50.0)},
        tools=[ball(), ball("other")],
    )
    assert scene.class_names == ("organ", "ball", "other")
    assert scene.all_landmarks().names == ("top", "ball middle", "other middle")


def test_a_scene_without_anything_else():
    scene = Scene.create(BLOCK)
    assert scene.class_names == ()
    assert scene.all_landmarks() is None
    camera = sx.CArm.generic().resized((6, 6)).at()
    np.testing.assert_array_equal(sx.render(scene, camera), sx.render(BLOCK, camera))


def test_hip_landmarks_come_in_the_order_of_the_paper():
    points = {name: jnp.zeros(3) for name in sorted(sx.phantoms.HIP_LANDMARKS)}
    bones = np.full(BLOCK.shape, 77, np.uint8)
    body = sx.Volume.from_array(bones, BLOCK.affine)
    anatomy = sx.phantoms.Anatomy(BLOCK, body, points)
    scene = Scene.from_anatomy(anatomy)
    assert scene.landmarks.names == sx.phantoms.HIP_LANDMARKS


def test_affine_deformation_moves_everything_alike():
    center = BLOCK.affine[:3, :3] @ jnp.array([5.5, 6.5, 7.5]) + BLOCK.affine[:3, 3]
    density = sx.Volume.from_array(
        np.where(np.asarray(labels().data) == 3, 1000.0, -1000.0), BLOCK.affine
    )
    scene = Scene.create(
        density, labels=labels(), structures=ORGAN, landmarks={"organ": center}
    )
    shear = jnp.eye(4).at[0, 2].set(0.4).at[1, 0].set(-0.2).at[:3, 3].set(5.0)
    scene = scene.deformed(shear)
    camera = sx.CArm.generic().resized((96, 96)).at(orbital=0.3)
    found = annotate(scene, camera)
    weight = np.asarray(-jnp.log(sx.render(scene, camera)))
    grid = np.asarray(camera.pixel_grid())
    image_center = (weight[..., None] * grid).sum((0, 1)) / weight.sum()
    mask_center = grid[np.asarray(found.masks[0])].mean(0)
    pixel = np.asarray(found.landmarks.pixels[0])
    # The block is symmetric about its center; perspective moves the centroid by less
    # than a tenth of a pixel, and its mask by the voxels' corners.
    np.testing.assert_allclose(image_center, pixel, atol=0.1)
    np.testing.assert_allclose(mask_center, pixel, atol=0.3)


def test_metal_shows_in_the_image():
    camera = sx.CArm.generic().resized((33, 33)).at()
    plain, metal = (
        sx.render(scene, camera)
        for scene in (Scene.create(BLOCK), Scene.create(BLOCK, tools=[ball()]))
    )
    ratio = float(metal[16, 16] / plain[16, 16])
    mu = [float(sx.linear_attenuation(m, 60.0)) for m in ("titanium", "water")]
    # 20 mm of titanium stand in for 20 mm of water; one naive material leaves air out.
    assert ratio == pytest.approx(np.exp(-20 * (mu[0] - mu[1])), rel=5e-3)
    np.testing.assert_array_equal(plain[0], metal[0])


def test_the_pose_of_a_tool_has_a_gradient(x64):
    block = sx.Volume.from_array(jnp.zeros((8, 8, 8)), spacing=25.0)
    camera = sx.CArm.generic().resized((24, 24)).at()
    tissues = sx.naive().tissues
    scene = Scene.create(block, tools=[ball()]).prepared(tissues)
    weights = np.random.default_rng(1).normal(size=(24, 24))

    def total(shift):
        pose = sx.RigidTransform.from_rotation(jnp.eye(3), shift)
        moved = scene.with_tools(scene.tools[0].at(pose))
        return jnp.sum(
            weights
            * sx.log_image(sx.render(moved, camera), jnp.ones((24, 24)), floor=1e-30)
        )

    at, step = jnp.array([3.3, 1.7, -2.1]), 1e-4
    slope = jax.grad(total)(at)
    for i, unit in enumerate(np.eye(3)):
        difference = (total(at + step * unit) - total(at - step * unit)) / (2 * step)
        np.testing.assert_allclose(slope[i], difference, rtol=2e-3, atol=1e-5)


def test_under_jit_and_vmap():
    scene = Scene.create(BLOCK, tools=[ball()]).prepared(sx.naive().tissues)
    carm = sx.CArm.generic().resized((8, 8))
    cameras = jax.vmap(carm.at)(jnp.array([0.0, 0.3]))
    images = jax.jit(jax.vmap(sx.render, (None, 0)))(scene, cameras)
    single = sx.render(scene, carm.at(0.3))
    np.testing.assert_allclose(images[1], single, rtol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match=r"names of their own.*ball"):
        Scene.create(BLOCK, tools=[ball(), ball()])
    apart = dataclasses.replace(labels(), affine=labels().affine.at[0, 3].add(1e4))
    with pytest.raises(ValueError, match="where the body is"):
        Scene.create(BLOCK, labels=apart, structures=ORGAN)
    with pytest.raises(ValueError, match="at least one structure"):
        Scene.create(BLOCK, labels=labels(), structures=Structures.create({"no": 9}))
    with pytest.raises(ValueError, match=r"must hold substances.*prepare it"):
        signal(Scene.create(BLOCK), sx.CArm.generic().at(), sx.naive())
