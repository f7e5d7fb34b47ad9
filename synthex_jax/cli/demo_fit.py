"""The demonstration's registration: a pose found from one radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synthex_jax import viz
from synthex_jax.cli.stage import Stage
from synthex_jax.geometry.camera import Camera
from synthex_jax.projectors.joseph import Joseph
from synthex_jax.projectors.rays import principal_axis
from synthex_jax.rendering import line_integrals
from synthex_jax.typing import Image, Points, Twist
from synthex_jax.viz.pictures import BACKGROUND, TEXT
from synthex_jax.volumes.volume import Volume

# Radians about, and mm along, right, anterior and superior: as far off as a C-arm set
# up by eye. The depth, along anterior in an AP view, shows least in the image.
_OFFSET = np.array([0.07, -0.05, 0.09, 8.0, -20.0, 10.0])

# Standard deviation of the noise, in line integrals: that of 2500 photons a pixel.
_NOISE = 0.02

_STEPS = 20
# Landmarks that move by less than this in a step, mm, have arrived.
_ARRIVED = 1e-3


@dataclass(frozen=True)
class Fit:
    """A registration, step by step.

    Attributes:
        fixed: (rows, cols), the radiograph whose pose is sought, with noise.
        first, last: (rows, cols), renderings at the first and the last pose.
        errors: mean distance of the landmarks from where the true pose has them, mm.
        rms: of the difference of rendering and radiograph.
        noise: standard deviation of the radiograph's noise.
    """

    fixed: Image
    first: Image
    last: Image
    errors: list[float]
    rms: list[float]
    noise: float


def fit_pose(stage: Stage) -> Fit:
    """Gauss-Newton: each step solves the least squares problem of the Jacobian.

    The step is taken to the image of the twist that best explains the difference,
    the twist being about the body's center, until the landmarks rest.
    """
    body = stage.pelvis
    truth = stage.views(body)[0]
    noise = _NOISE * jax.random.normal(jax.random.key(1), truth.shape)
    fixed = line_integrals(body, truth) + noise
    camera = truth.moved(_OFFSET, about=body.center)
    errors, rms, images = [], [], []
    for _ in range(_STEPS + 1):
        image, jacobian = image_and_jacobian(body, camera)
        difference = np.asarray(fixed - image, dtype=np.float64)
        images.append(image)
        errors.append(_distance(camera, truth, stage.landmarks))
        rms.append(float(np.sqrt(np.mean(difference**2))))
        columns = np.asarray(jacobian, dtype=np.float64).reshape(-1, 6)
        twist = np.linalg.lstsq(columns, difference.ravel())[0]
        moved = camera.moved(twist, about=body.center)
        if _distance(moved, camera, stage.landmarks) < _ARRIVED:
            break
        camera = moved
    return Fit(fixed, images[0], images[-1], errors, rms, _NOISE)


def image_and_jacobian(body: Volume, camera: Camera) -> tuple[Image, jax.Array]:
    """(rows, cols), and (rows, cols, 6): its derivative in a twist about the center."""
    return _image_and_jacobian(along_one_axis(body, camera), body, camera)


def along_one_axis(body: Volume, camera: Camera) -> Joseph:
    """The projector for views near this one; it spares compiling for all three axes."""
    axis = principal_axis(body, camera)
    assert isinstance(axis, int)
    return Joseph(axis=axis)


@jax.jit
def _image_and_jacobian(
    projector: Joseph, body: Volume, camera: Camera
) -> tuple[Image, jax.Array]:
    def moved_image(twist: Twist) -> tuple[Image, Image]:
        moved = camera.moved(twist, about=body.center)
        image = line_integrals(body, moved, projector=projector)
        return image, image

    jacobian, image = jax.jacfwd(moved_image, has_aux=True)(jnp.zeros(6))
    return image, jacobian


def fit_picture(fit: Fit) -> Figure:
    """The differences before and after, and how the errors fell."""
    before, after = fit.fixed - fit.first, fit.fixed - fit.last
    scale = float(np.percentile(np.abs(np.asarray(before)), 99))
    figure = Figure(
        figsize=(9.0, 6.0), dpi=110, facecolor=BACKGROUND, layout="constrained"
    )
    grid = figure.add_gridspec(2, 3, height_ratios=(1.3, 1.0))
    for i, (title, pixels) in enumerate(
        {
            "the radiograph": viz.to_display(fit.fixed),
            "minus the rendering, at the start": viz.signed(before, scale=scale),
            "minus the rendering, at the end": viz.signed(after, scale=scale),
        }.items()
    ):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(pixels, cmap="gray")
        axes.set_title(title, color=TEXT, fontsize=10)
        axes.set_axis_off()
    _plot_errors(figure.add_subplot(grid[1, :]), fit)
    return figure


def _plot_errors(axes: Axes, fit: Fit) -> None:
    steps = range(len(fit.errors))
    axes.semilogy(steps, fit.errors, "o-", color="#e69f00", label="landmarks off, mm")
    axes.semilogy(
        steps, fit.rms, "o-", color="#56b4e9", label="difference, line integral"
    )
    axes.axhline(fit.noise, color="#56b4e9", ls=":", lw=1, label="noise")
    axes.set_xlabel("Gauss-Newton step", color=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(facecolor=BACKGROUND, edgecolor="none", labelcolor=TEXT, fontsize=9)
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(which="both", colors=TEXT)
    axes.grid(which="major", color="#2a3138", linewidth=0.7)
    axes.spines[:].set_color("#49525c")


def _distance(camera: Camera, other: Camera, points: Points) -> float:
    """Mean distance in mm of points as two cameras see them."""
    apart = camera.camera_from_world.apply(points) - other.camera_from_world.apply(
        points
    )
    return float(jnp.mean(jnp.linalg.norm(apart, axis=-1)))
