"""synthex_jax as a contender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from cases import SOURCE_TO_DETECTOR, Case
from contenders import Contender

import synthex_jax as sx
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.typing import Image, Scalar, Twist, Voxels


class JaxBench:
    """Jitted functions of volume, cameras and twists, with the axis static."""

    def __init__(
        self,
        case: Case,
        volume: sx.Volume,
        cameras: sx.Camera,
        projector: sx.Joseph,
    ) -> None:
        functions = _functions(projector, jnp.asarray(case.weights()))
        twists = jnp.zeros((case.views, 6))
        self.operations = {
            name: _blocking(jax.jit(function), volume, cameras, twists)
            for name, function in functions.items()
        }
        device = jax.devices()[0]
        self._device = device
        self.about = {
            "platform": device.platform,
            "device": device.device_kind,
            "versions": {"synthex_jax": sx.__version__, "jax": jax.__version__},
        }

    def device_memory(self) -> int | None:
        """Highest so far: JAX's meter does not go back."""
        stats = self._device.memory_stats()
        return None if stats is None else stats["peak_bytes_in_use"] - self._built

    def reset_device_memory(self) -> None:
        """Take what is there now, the volume, for the base."""
        stats = self._device.memory_stats()
        self._built = 0 if stats is None else stats["bytes_in_use"]


def build(
    contender: Contender, case: Case, data: np.ndarray, affine: np.ndarray
) -> JaxBench:
    """See ``Contender.build``."""
    volume = sx.Volume.from_array(data, affine).astype(contender.storage)
    views = [_camera(case, pose) for pose in case.poses()]
    (axis,) = {int(principal_axis(volume, view)) for view in views}
    cameras = jax.tree.map(lambda *leaves: jnp.stack(leaves), *views)
    jax.block_until_ready((volume, cameras))
    return JaxBench(case, volume, cameras, sx.Joseph(axis=axis))


def _camera(case: Case, pose: np.ndarray) -> sx.Camera:
    return sx.Camera.create(
        sx.RigidTransform.from_matrix(pose),
        source_to_detector=SOURCE_TO_DETECTOR,
        pitch=case.pitch,
        shape=(case.pixels, case.pixels),
    )


def _blocking(function: Callable, *args: object) -> Callable[[], object]:
    return lambda: jax.block_until_ready(function(*args))


def _functions(projector: sx.Joseph, weights: Image) -> dict[str, Callable]:
    """The four operations, each over a batch of cameras moved by twists."""

    def image(volume: sx.Volume, camera: sx.Camera, twist: Twist) -> Image:
        return sx.line_integrals(volume, camera.moved(twist), projector=projector)

    def loss(volume: sx.Volume, camera: sx.Camera, twist: Twist) -> Scalar:
        return jnp.sum(weights * image(volume, camera, twist))

    over_views = lambda function: jax.vmap(function, in_axes=(None, 0, 0))

    def volume_loss(
        data: Voxels,
        volume: sx.Volume,
        cameras: sx.Camera,
        twists: jax.Array,
    ) -> Scalar:
        losses = over_views(loss)(replace(volume, data=data), cameras, twists)
        return jnp.sum(losses)

    return {
        "forward": over_views(image),
        "value_and_gradient": over_views(jax.value_and_grad(loss, argnums=2)),
        "jacobian": over_views(jax.jacfwd(image, argnums=2)),
        "volume_gradient": lambda volume, cameras, twists: jax.grad(volume_loss)(
            volume.data, volume, cameras, twists
        ),
    }
