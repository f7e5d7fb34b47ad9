"""The imaging geometry in 3-D: sources, detectors, rays, the volume, the patient."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D
from mpl_toolkits.mplot3d.proj3d import proj_transform

from synthex_jax.checks import require
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import transform_points
from synthex_jax.typing import ArrayLike
from synthex_jax.viz.display import to_display
from synthex_jax.viz.layers import LABEL_COLORS
from synthex_jax.viz.pictures import BACKGROUND, OUTLINE, TEXT
from synthex_jax.volumes.volume import Volume

# Corners of a box, in the order of Volume.corners, that differ in one coordinate.
_BOX_EDGES = [
    (a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1
]

# Dots that show where the bright voxels are: enough to know a pelvis by, few enough
# to draw in a second.
_DOTS = 4000
_BRIGHT_PERCENTILE = 98.0

# Drawing order: detectors behind the volume have levels below zero, in mm; those in
# front of it, above; rays and words go over all.
_RAYS, _TEXT = 1e6, 2e6

# What is drawn is this wide or high; names, 11 points high, are centered on sources.
_INCHES, _MARGIN, _INCHES_A_LETTER = 7.0, 0.45, 0.12

# Facets along a side of a detector that shows its image; each is a polygon to draw.
_FACETS = 64


def geometry(
    volume: Volume,
    cameras: Camera | Sequence[Camera],
    *,
    images: Sequence[ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    elevation_deg: float = 18.0,
    azimuth_deg: float = 50.0,
) -> Figure:
    """Sources, detectors and rays around the volume, in world mm.

    The volume is a box with dots at its brightest voxels. A detector is drawn with
    its first row marked by a thick edge; ``R``, ``A`` and ``S`` are the patient's
    right, anterior and superior.

    Args:
        volume: values of any unit; channels are added up.
        cameras: one view or several.
        images: one (rows, cols) a camera, drawn on its detector.
        names: one a camera, at its source.
        elevation_deg: of the viewer above the patient's transverse plane, degrees.
        azimuth_deg: of the viewer about the patient's long axis, degrees; 90 looks at
            the patient from the front.

    Raises:
        ValueError: for counts that differ.
    """
    cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
    for name, values in (("images", images), ("names", names)):
        require(
            values is None or len(values) == len(cameras),
            f"{name} must be as many as the cameras, {len(cameras)}, got "
            f"{0 if values is None else len(values)}",
        )
    figure = Figure(figsize=(_INCHES, _INCHES), dpi=110, facecolor=BACKGROUND)
    # Depth is sorted here: matplotlib sorts whole artists, by one point of each.
    axes = _Cut(figure, (0, 0, 1, 1), computed_zorder=False)
    figure.add_axes(axes)
    axes.view_init(elev=elevation_deg, azim=azimuth_deg)
    axes.set_proj_type("ortho")
    axes.set_axis_off()
    axes.set_facecolor(BACKGROUND)
    extent = [_draw_volume(axes, volume)]
    towards_viewer = _towards_viewer(elevation_deg, azimuth_deg)
    for i, camera in enumerate(cameras):
        color = LABEL_COLORS[i % len(LABEL_COLORS)]
        points = _detector_corners(camera)
        nearer = (points.mean(axis=0) - np.asarray(volume.center)) @ towards_viewer
        _draw_detector(axes, camera, color, images[i] if images else None, nearer)
        _draw_rays(axes, camera, color)
        if names:
            _label(axes, np.asarray(camera.source), f"\n{names[i]}", color)
        extent.append(np.vstack([points, camera.source]))
    longest = max((len(name) for name in names or []), default=0)
    margin = max(_MARGIN, _INCHES_A_LETTER * longest / 2)
    _fit(figure, axes, np.concatenate(extent), margin)
    return figure


class _Cut(Axes3D):
    """Axes larger than their figure, which cuts them, and of its size to layouts."""

    def get_tightbbox(self, *_: object, **__: object) -> Bbox:
        return Bbox(self.figure.bbox.get_points())


def _draw_volume(axes: Axes3D, volume: Volume) -> np.ndarray:
    """The box, its bright voxels and the patient's axes; returns the corners."""
    corners = np.asarray(volume.corners())
    edges = [(corners[a], corners[b]) for a, b in _BOX_EDGES]
    axes.add_collection3d(
        Line3DCollection(edges, colors="#7f8b98", linewidths=0.8, zorder=0)
    )
    dots = _bright_voxels(volume)
    axes.scatter(*dots.T, s=3, c="#f0e6cc", alpha=0.7, linewidths=0, zorder=0)
    center = np.asarray(volume.center)
    reach = 0.62 * np.ptp(corners, axis=0)
    for letter, axis in zip("RAS", np.eye(3), strict=True):
        end = center + axis * reach
        axes.plot(*np.stack([center, end], 1), color="#9fb0c0", linewidth=1.2, zorder=0)
        _label(axes, center + 1.1 * axis * reach, letter, TEXT)
    return corners


def _bright_voxels(volume: Volume) -> np.ndarray:
    """(n, 3) world mm of some of the brightest voxels, the same ones at every call."""
    stride = [max(1, n // 96) for n in volume.shape]
    data = np.asarray(volume.data[:: stride[0], :: stride[1], :: stride[2]], np.float32)
    data = data if data.ndim == 3 else data.sum(axis=3)
    bright = np.argwhere(data > np.percentile(data, _BRIGHT_PERCENTILE)) * stride
    chosen = np.random.default_rng(0).permutation(len(bright))[:_DOTS]
    return np.asarray(
        transform_points(volume.affine, jnp.asarray(bright[chosen], dtype=float))
    )


def _towards_viewer(elevation_deg: float, azimuth_deg: float) -> np.ndarray:
    elevation, azimuth = np.deg2rad([elevation_deg, azimuth_deg])
    flat = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    return np.cos(elevation) * flat + np.array([0.0, 0.0, np.sin(elevation)])


def _detector_corners(camera: Camera) -> np.ndarray:
    """(4, 3), world mm: the outer corners, from the top left, clockwise."""
    rows, cols = camera.shape
    around = np.asarray([(0, 0), (0, cols), (rows, cols), (rows, 0)], dtype=float)
    return np.asarray(camera.back_project(jnp.asarray(around - 0.5)))


def _draw_detector(
    axes: Axes3D, camera: Camera, color: str, image: ArrayLike | None, level: float
) -> None:
    corners = _detector_corners(camera)
    if image is None:
        plate = Poly3DCollection([corners], facecolors=color, alpha=0.2, zorder=level)
        axes.add_collection3d(plate)
    else:
        _draw_image(axes, camera, image, level)
    around = np.vstack([corners, corners[:1]])
    axes.plot(*around.T, color=color, linewidth=1.2, zorder=level)
    axes.plot(*corners[:2].T, color=color, linewidth=3.5, zorder=level)


def _draw_image(axes: Axes3D, camera: Camera, image: ArrayLike, level: float) -> None:
    """The image on the detector, in facets."""
    gray = to_display(image)
    rows, cols = gray.shape
    row_edges = np.linspace(0, rows, min(rows, _FACETS) + 1)
    col_edges = np.linspace(0, cols, min(cols, _FACETS) + 1)
    shown = gray[row_edges[:-1].astype(int)][:, col_edges[:-1].astype(int)]
    edges = np.stack(np.meshgrid(row_edges, col_edges, indexing="ij"), -1) - 0.5
    x, y, z = np.moveaxis(np.asarray(camera.back_project(jnp.asarray(edges))), -1, 0)
    axes.plot_surface(
        x, y, z, facecolors=np.repeat(shown[..., None], 3, axis=2), shade=False,
        rstride=1, cstride=1, linewidth=0, antialiased=False, zorder=level,
    )  # fmt: skip


def _draw_rays(axes: Axes3D, camera: Camera, color: str) -> None:
    source = np.asarray(camera.source)
    rays = [(source, corner) for corner in _detector_corners(camera)]
    axes.add_collection3d(
        Line3DCollection(rays, colors=color, linewidths=0.7, alpha=0.7, zorder=_RAYS)
    )
    middle = np.asarray(camera.back_project(camera.principal_point))
    central = np.stack([source, middle], 1)
    axes.plot(*central, color=color, linewidth=0.8, ls="--", zorder=_RAYS)
    axes.scatter(*source[:, None], s=45, c=color, depthshade=False, zorder=_RAYS)


def _label(axes: Axes3D, point: np.ndarray, text: str, color: str) -> None:
    x, y, z = point
    axes.text(
        x, y, z, text, color=color, fontsize=11, fontweight="bold", ha="center",
        va="top", path_effects=OUTLINE, zorder=_TEXT,
    )  # fmt: skip


def _fit(figure: Figure, axes: Axes3D, points: np.ndarray, margin: float) -> None:
    """One scale on all axes, and the figure cut to what the points take up."""
    low, high = points.min(axis=0), points.max(axis=0)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_zlim(low[2], high[2])
    axes.set_box_aspect(high - low)
    x, y, z = points.T
    on_paper = np.stack(proj_transform(x, y, z, axes.get_proj())[:2], -1)
    in_pixels = axes.transData.transform(on_paper)
    seen = figure.transFigure.inverted().transform(in_pixels)
    start, size = seen.min(axis=0), np.ptp(seen, axis=0)
    inches = _INCHES / size.max()
    width, height = size * inches + 2 * margin
    left, bottom = margin - start * inches
    figure.set_size_inches(width, height)
    axes.set_position((left / width, bottom / height, inches / width, inches / height))
