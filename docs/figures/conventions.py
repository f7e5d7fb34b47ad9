"""Draws the figure of docs/conventions.md: python docs/figures/conventions.py."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Arc, Ellipse, FancyArrowPatch

import synthex_jax as sx

SOURCE, DETECTOR, AXES, BODY = "#c62828", "#1565c0", "#2e7d32", "#e8dccf"


def arrow(axes, start, end, color, label="", where=(4, 4)):
    """An arrow from start to end with a label at its head."""
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=color, lw=1.6
        )
    )
    axes.annotate(label, end, where, textcoords="offset points", color=color, size=9)


def device(axes, camera, pick, label, where, *, faint=False):
    """Source, detector, outer rays and camera axes of a view, in the plane of pick."""
    alpha = 0.45 if faint else 1.0
    source = pick(camera.source)
    rows, cols = camera.shape
    edges = np.array([[(rows - 1) / 2, -0.5], [(rows - 1) / 2, cols - 0.5]])
    if pick is sagittal:
        edges = np.array([[-0.5, (cols - 1) / 2], [rows - 0.5, (cols - 1) / 2]])
    ends = pick(camera.back_project(edges))
    for end in ends:
        axes.plot(*np.stack([source, end]).T, color="0.6", lw=0.7, alpha=alpha)
    axes.plot(*ends.T, color=DETECTOR, lw=4, alpha=alpha, solid_capstyle="butt")
    axes.plot(*source, "o", color=SOURCE, ms=7, alpha=alpha)
    axes.annotate(label, source, where, textcoords="offset points", size=9)
    if faint:
        return
    rotation = np.asarray(camera.world_from_camera.rotation)
    across = 1 if pick is sagittal else 0
    name = "+y, rows" if pick is sagittal else "+x, columns"
    arrow(axes, source, source + pick(150 * rotation[:, across]), AXES, name)
    arrow(axes, source, source + pick(150 * rotation[:, 2]), AXES, "+z", (5, 0))


def axial(points):
    """Seen from the feet: the patient's left on the right, the front up."""
    return np.asarray(points)[..., [0, 1]] * [-1, 1]


def sagittal(points):
    """Seen from the patient's left side: the front to the left, the head up."""
    return np.asarray(points)[..., [1, 2]] * [-1, 1]


def patient(axes, pick, size, directions):
    """A body at the isocenter, and the names of the sides."""
    axes.add_patch(Ellipse((0, 0), *size, color=BODY, ec="0.4", lw=1))
    for vector, label, where in directions:
        arrow(axes, (0, 0), pick(np.array(vector) * 110.0), "0.2", label, where)


def main():
    """Three panels: C-arm from the feet, from the side, and the image."""
    carm = sx.CArm.create(
        source_to_detector=1000, source_to_isocenter=600, pitch=3.0, shape=(100, 100)
    )
    figure, panels = plt.subplots(1, 3, figsize=(13, 5.2), layout="constrained")

    axes = panels[0]
    axes.set_title("orbital angle, seen from the feet", size=10)
    lao = carm.at(orbital=np.deg2rad(35))
    device(axes, lao, axial, "LAO: orbital > 0", (-20, 10), faint=True)
    sides = [((1, 0, 0), "x: right", (-30, 7)), ((0, 1, 0), "y: anterior", (5, -4))]
    patient(axes, axial, (340, 220), sides)
    device(axes, carm.at(), axial, "source (AP)", (-70, 4))
    axes.add_patch(Arc((0, 0), 840, 840, theta1=57, theta2=88, color=SOURCE, ls="--"))
    axes.text(150, -440, "detector", color=DETECTOR, size=9)

    axes = panels[1]
    axes.set_title("angular angle, seen from the patient's left", size=10)
    cran = carm.at(angular=np.deg2rad(30))
    device(axes, cran, sagittal, "CRAN: angular > 0", (-30, 10), faint=True)
    sides = [
        ((0, 0, 1), "z: superior", (5, -2)),
        ((0, 1, 0), "y: anterior", (-40, -14)),
    ]
    patient(axes, sagittal, (200, 420), sides)
    device(axes, carm.at(), sagittal, "source (AP)", (-12, 9))
    axes.add_patch(Arc((0, 0), 840, 840, theta1=152, theta2=178, color=SOURCE, ls="--"))
    axes.text(330, -210, "detector", color=DETECTOR, size=9)

    for axes in panels[:2]:
        axes.set_aspect("equal")
        axes.set_axis_off()
    panels[0].set(xlim=(-420, 480), ylim=(-470, 680))
    panels[1].set(xlim=(-690, 440), ylim=(-470, 680))
    image(panels[2])
    path = Path(__file__).with_suffix(".png")
    figure.savefig(path, dpi=90)
    print(path)


def image(axes):
    """Pixel centers and edges of a 4 x 6 image in AP."""
    rows, cols = 4, 6
    axes.set_title("the AP image, 4 rows x 6 columns", size=10)
    for r in range(rows + 1):
        axes.plot([-0.5, cols - 0.5], [r - 0.5] * 2, color="0.75", lw=0.8)
    for c in range(cols + 1):
        axes.plot([c - 0.5] * 2, [-0.5, rows - 0.5], color="0.75", lw=0.8)
    r, c = np.mgrid[:rows, :cols]
    axes.plot(c, r, ".", color="0.55", ms=4)
    arrow(axes, (0, 0), (1.7, 0), AXES, "columns, +x", (3, 4))
    arrow(axes, (0, 0), (0, 1.7), AXES, "rows, +y", (5, -4))
    axes.annotate(
        "(row 0, column 0)\nis a pixel center",
        (0, 0),
        (-8, 48),
        textcoords="offset points",
        size=8,
        arrowprops={"arrowstyle": "-"},
    )
    axes.plot((cols - 1) / 2, (rows - 1) / 2, "+", color=SOURCE, ms=12, mew=2)
    axes.annotate(
        "principal point\n(1.5, 2.5)",
        ((cols - 1) / 2, (rows - 1) / 2),
        (8, 4),
        textcoords="offset points",
        color=SOURCE,
        size=9,
    )
    axes.annotate(
        "edge: row 3.5",
        (4.7, 3.5),
        (0, -14),
        textcoords="offset points",
        size=8,
        ha="center",
    )
    axes.text(-0.9, 1.5, "patient's\nright", ha="right", va="center", size=9)
    axes.text(5.9, 1.5, "patient's\nleft", ha="left", va="center", size=9)
    axes.text(2.9, -0.75, "head", ha="center", size=9)
    axes.text(2.5, 4.35, "feet", ha="center", size=9)
    axes.set(xlim=(-2.6, 7.8), ylim=(5.2, -2.4))
    axes.set_aspect("equal")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
