"""The demonstration's scenes: labels, tools in the body, a small data set."""

from __future__ import annotations

import time

import jax.numpy as jnp
import numpy as np

from synthex_jax import viz
from synthex_jax.annotations.annotate import annotate
from synthex_jax.annotations.structures import HIP_STRUCTURES
from synthex_jax.cli.preview import write_preview
from synthex_jax.cli.stage import Outcome, Row, Stage
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.processing import display, log_image
from synthex_jax.rendering import flat_field, render
from synthex_jax.scene import Scene
from synthex_jax.synthesis import recipes
from synthex_jax.synthesis.reader import Dataset
from synthex_jax.synthesis.source import SceneSource
from synthex_jax.synthesis.verify import verify
from synthex_jax.synthesis.writer import synthesize
from synthex_jax.tools.continuum import ContinuumManipulator
from synthex_jax.tools.instruments import cannulated_screw, k_wire, plate
from synthex_jax.tools.tool import Tool
from synthex_jax.typing import Image

_IMAGES, _IMAGE_SIZE = 12, 180


def labels(stage: Stage) -> Outcome:
    """Bones in color, landmarks as crosses, as they are projected with the image."""
    scene = Scene.from_anatomy(stage.patient)
    examples = []
    for camera in (stage.views(stage.pelvis)[0], stage.views(stage.pelvis)[2]):
        found = annotate(scene, camera)
        fields = {k: v for k, v in found.fields().items() if k != "boxes"}
        examples.append({"image": _log_image(scene, camera), **fields})
    sheet = viz.annotated(
        examples, structure_names=HIP_STRUCTURES.names, titles=["AP", "oblique"]
    )
    return Outcome([stage.save(sheet, "labels.png")])


def tools(stage: Stage) -> Outcome:
    """A screw over its wire, a plate and a continuum manipulator in the pelvis."""
    points = {name: np.asarray(p) for name, p in stage.patient.landmarks.items()}
    scene = Scene.create(stage.patient.ct, tools=_operation(points))
    middle = jnp.asarray((points["FH-l"] + points["FH-r"]) / 2)
    carm = stage.carm(2 * stage.size)
    cameras = [
        carm.at(*angles, isocenter=middle) for angles in ((0.0, 0.0), (0.5, 0.25))
    ]
    images = [display(_log_image(scene, camera)) for camera in cameras]
    found = annotate(scene, cameras[0])
    sheet = viz.contact_sheet(
        [images[0], images[1], viz.overlay(images[0], found.classes.astype(int))],
        ["AP", "oblique", "masks of the tools"],
        columns=3,
    )
    return Outcome([stage.save(sheet, "tools.png")])


def data_set(stage: Stage) -> Outcome:
    """Twelve labelled hip images in views of the SyntheX paper, on disk and back."""
    recipe = recipes.hip(size=min(_IMAGE_SIZE, stage.size))
    source = SceneSource.create(recipe, {"phantom": Scene.from_anatomy(stage.patient)})
    folder = stage.out / "hip"
    source.batch(0, np.arange(4, dtype=np.int32))["image"].block_until_ready()
    began = time.perf_counter()
    report = synthesize(source, folder, num=_IMAGES, batch=4, shard=4)
    seconds = time.perf_counter() - began
    verdict = verify(folder)
    dataset = Dataset.open(folder)
    sheet = write_preview(dataset, stage.out / "hip.png")
    visible = np.mean(dataset.column("visible"))
    rows = [Row("data set: landmarks in the picture", 14 * float(visible), "of 14")]
    if report.made:
        rows += [
            Row(
                "data set: realistic images with labels", _IMAGES / seconds, "a second"
            ),
            Row("data set: an image with labels", report.bytes_per_example / 1e3, "kB"),
        ]
    rows.append(
        Row("data set: files that fail their checksum", len(verdict.damaged), "")
    )
    return Outcome([folder, sheet], rows)


def _log_image(scene: Scene, camera: Camera) -> Image:
    return log_image(render(scene, camera), flat_field(camera), floor=1e-30)


def _operation(points: dict[str, np.ndarray]) -> tuple[Tool, ...]:
    """Tools where they are used, by landmarks of the pelvis; x is the right."""
    left, right = points["FH-l"], points["FH-r"]
    lateral = np.array([-1.0, 0.0, -0.7])
    screw, wire = cannulated_screw(), k_wire(length=200.0, diameter=2.0)
    along_neck = _along(left, lateral)
    pubis = (points["SPS-l"] + points["SPS-r"]) / 2 + [0.0, 12.0, 4.0]
    bridge = plate(4)
    across = _along(pubis - [27.0, 0.0, 0.0], np.array([1.0, 0.0, 0.0]))
    device = ContinuumManipulator.create()
    bent = device.tool(np.deg2rad([1.0, 3.0, 6.0, 6.0, 3.0]))
    # Its body lies along +z from the base; the shaft comes from above and outside.
    base = right + np.array([38.0, 8.0, 34.0])
    return (
        wire.at(along_neck),
        screw.at(along_neck),
        bridge.at(across),
        bent.at(_along(base, right - base)),
    )


def _along(origin: np.ndarray, direction: np.ndarray) -> RigidTransform:
    """A pose whose z axis points a given way, y as near to anterior as can be."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    x = x / np.linalg.norm(x)
    return RigidTransform.from_rotation(np.stack([x, np.cross(z, x), z], 1), origin)
