"""Tools that replace tissue: lengths add up, later ones win, derivatives are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.geometry.carm import CArm
from synthex_jax.projectors.insertion import inserted
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.surface import path_lengths
from synthex_jax.tools.solids import Cylinder, Sphere, Tube
from synthex_jax.volumes.volume import Volume, centered_affine

CAMERA = CArm.generic().resized((48, 40)).at(orbital=0.4, angular=-0.2)
WIRE = Cylinder.create((-30.0, 0.0, 0.0), (30.0, 8.0, 5.0), 4.0)
BALL = Sphere.create((10.0, 0.0, 0.0), 12.0)
PIPE = Tube.create((0.0, -40.0, -10.0), (0.0, 40.0, -5.0), 8.0, 5.0)


def tissue(shape=(40, 36, 32), channels=2):
    """A block of one substance, and of another in its right half."""
    data = np.ones((*shape, channels), np.float32)
    data[: shape[0] // 2, ..., 1:] = 0.0
    return Volume(jnp.asarray(data), centered_affine(shape, 3.0))


def whole(volume):
    return Joseph().project(volume, CAMERA)


@pytest.mark.parametrize(
    "shapes", [[WIRE], [PIPE], [WIRE, BALL], [BALL, WIRE, PIPE]], ids=len
)
def test_tissue_and_tools_add_up_to_the_chord(shapes):
    volume = tissue()
    body = whole(volume)[..., 0]
    found = inserted(volume, shapes, CAMERA)
    total = body - found.replaced[..., 0] + jnp.sum(found.lengths, axis=-1)
    # Float32 sums of 120 mm; where all of the ray's tools lie within the block.
    np.testing.assert_allclose(total, body, atol=1e-3)
    assert float(found.lengths.max()) > 5


def test_the_later_tool_replaces_the_earlier():
    volume = tissue()
    one = np.asarray(inserted(volume, [WIRE, BALL], CAMERA).lengths)
    other = np.asarray(inserted(volume, [BALL, WIRE], CAMERA).lengths)
    ball, wire = (np.asarray(path_lengths(s, CAMERA)) for s in (BALL, WIRE))
    np.testing.assert_allclose(one[..., 1], ball, atol=1e-3)
    np.testing.assert_allclose(other[..., 1], wire, atol=1e-3)
    # Together they fill the same space whichever comes first.
    np.testing.assert_allclose(one.sum(-1), other.sum(-1), atol=2e-3)
    assert one[..., 0].sum() < 0.9 * wire.sum()


def test_a_hollow_tool_leaves_what_is_in_it():
    wire_in_pipe = Cylinder.create((0.0, -40.0, -10.0), (0.0, 40.0, -5.0), 3.0)
    found = inserted(tissue(), [PIPE, wire_in_pipe], CAMERA)
    alone = [path_lengths(shape, CAMERA) for shape in (PIPE, wire_in_pipe)]
    np.testing.assert_allclose(found.lengths, jnp.stack(alone, -1), atol=2e-3)


def test_outside_of_the_body_a_tool_replaces_nothing():
    away = Sphere.create((0.0, 100.0, 0.0), 10.0)
    found = inserted(tissue(), [away], CAMERA)
    assert float(jnp.max(found.lengths)) > 10
    assert float(jnp.max(jnp.abs(found.replaced))) == 0


def test_the_substance_replaced_is_the_one_at_the_place():
    found = inserted(tissue(), [Sphere.create((-20.0, 0.0, 0.0), 8.0)], CAMERA)
    np.testing.assert_allclose(found.replaced[..., 1], 0.0, atol=1e-6)
    np.testing.assert_allclose(found.replaced[..., 0], found.lengths[..., 0], atol=1e-4)


def test_derivatives(x64):
    # Smooth tissue, or the differences would see the kinks between voxels.
    axes = [np.linspace(-1.5, 1.5, n) for n in (16, 14, 12)]
    bump = np.exp(-sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))
    volume = Volume(jnp.asarray(bump[..., None]), centered_affine(bump.shape, 8.0))
    weights = np.random.default_rng(0).normal(size=CAMERA.shape)
    camera = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), CAMERA)

    def total(parameters):
        center, radius = parameters[:3], parameters[3]
        shapes = [Sphere.create(center, radius), WIRE]
        found = inserted(volume, shapes, camera)
        return jnp.sum(
            weights * (jnp.sum(found.replaced, -1) + found.lengths @ jnp.ones(2))
        )

    at = jnp.array([12.0, 3.0, -5.0, 14.0])
    slope = jax.grad(total)(at)
    step = 1e-4
    for i, unit in enumerate(np.eye(4)):
        difference = (total(at + step * unit) - total(at - step * unit)) / (2 * step)
        # Rays that enter or leave the ball within a step add a little.
        np.testing.assert_allclose(
            slope[i], difference, rtol=1e-3, atol=1e-3 * float(jnp.max(jnp.abs(slope)))
        )
