"""The installed JAX computes what the library relies on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("side", [192, 200, 208])
def test_lengths_of_rotated_rays(side):
    """jax 0.10.2 gets these sizes wrong on CPUs, silently, by up to 15 times.

    https://github.com/jax-ml/jax/issues/39103. The dependency range leaves such
    releases out; this says so where one is installed all the same.
    """
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    col, row = np.meshgrid(np.arange(side), np.arange(side))
    rays = np.stack([col - side / 2, row - side / 2, np.full_like(row, 1000)], -1)
    rays = rays.reshape(-1, 3).astype(np.float32)
    length = jax.jit(lambda r, p: jax.vmap(lambda d: jnp.linalg.norm(r @ d))(p))(
        jnp.asarray(rotation, jnp.float32), jnp.asarray(rays)
    )
    np.testing.assert_allclose(length, np.linalg.norm(rays, axis=1), rtol=1e-4)
