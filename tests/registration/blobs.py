"""A body whose radiographs have a closed form: Gaussian blobs."""

import jax.numpy as jnp
import numpy as np

import synthex_jax as sx

# mm from the body's center, mm, 1/mm: nothing symmetric about them.
CENTERS = np.array(
    [[-50.0, 20, 30], [60, -10, 20], [10, 30, -60], [-20, -40, -20], [40, 20, 70]]
)
WIDTHS = np.array([16.0, 20.0, 14.0, 18.0, 13.0])
PEAKS = np.array([0.03, 0.02, 0.04, 0.02, 0.05])
MIDDLE = np.array([10.0, -5.0, 20.0])


def blobs(spacing: float = 5.0, shape: tuple[int, int, int] = (48, 38, 54)):
    """The body, 1/mm, on a grid about ``MIDDLE``."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = MIDDLE - spacing * (np.asarray(shape) - 1) / 2
    nodes = [affine[i, 3] + spacing * np.arange(n) for i, n in enumerate(shape)]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), -1)
    data = sum(
        p * np.exp(-((points - MIDDLE - c) ** 2).sum(-1) / (2 * w**2))
        for c, w, p in zip(CENTERS, WIDTHS, PEAKS, strict=True)
    )
    return sx.Volume.from_array(jnp.asarray(data, float), affine)


def radiograph(camera: sx.Camera):
    """Line integrals: each blob's is a Gaussian of its distance from the ray."""
    source = np.asarray(camera.source, float)
    rays = np.asarray(camera.back_project(camera.pixel_grid()), float) - source
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    image = 0.0
    for c, w, p in zip(CENTERS, WIDTHS, PEAKS, strict=True):
        away = np.linalg.norm(np.cross(rays, MIDDLE + c - source), axis=-1)
        image = image + p * w * np.sqrt(2 * np.pi) * np.exp(-(away**2) / (2 * w**2))
    return jnp.asarray(image, float)


def view(orbital: float = 0.3, shape: tuple[int, int] = (40, 36)) -> sx.Camera:
    """Its whole shadow is seen, in pixels of 8 mm at the body."""
    carm = sx.CArm.create(
        source_to_detector=1200.0, source_to_isocenter=900.0, pitch=10.0, shape=shape
    )
    return carm.at(orbital, -0.15, 0.1, isocenter=MIDDLE)


def errors(found: sx.Camera, truth: sx.Camera) -> tuple[float, float]:
    """Mean over the blobs of mm across the view and of mm along it."""
    points = jnp.asarray(MIDDLE + CENTERS, found.pitch.dtype)
    off = np.asarray(
        found.camera_from_world.apply(points) - truth.camera_from_world.apply(points)
    )
    across = np.linalg.norm(off[:, :2], axis=1).mean()
    return float(across), float(np.abs(off[:, 2]).mean())
