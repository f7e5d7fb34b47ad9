"""A made-up file in DeepFluoro's full-resolution layout, by NumPy and its formulas.

Each X-ray is dark where one landmark, FH-l, projects, and labelled 5 around it.
"""

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from synthex_jax.phantoms.anatomy import HIP_LANDMARKS

SHAPE = (148, 160)  # less the border of 50 pixels: 48 x 60
PITCH = (2.0, 2.5)
INTRINSIC = np.array([[-408.0, 0, 81.5], [0, -510.0, 70.25], [0, 0, 1]])
EXTRINSIC = np.eye(4)
EXTRINSIC[:3, :3] = Rotation.from_euler("xyz", [0.1, -0.2, 0.3]).as_matrix()
EXTRINSIC[:3, 3] = [5.0, -8.0, 12.0]
SPACING, ORIGIN = np.array([1.0, 1.5, 2.0]), np.array([-30.0, 40.0, 900.0])
DIRECTIONS = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
MARKED = (2, 3, 5)  # voxel (x, y, z) of the CT's only bone
PROJECTIONS = {"17-1882": ("000", "001"), "18-0725": ("000",)}
UPSIDE_DOWN = ("17-1882", "001")


def cam_to_volume(rng):
    """A pose with the body in front of the source, z < 0, upright to 35 degrees."""
    small = Rotation.from_rotvec(rng.uniform(-0.35, 0.35, 3)).as_matrix()
    in_camera = np.eye(4)
    in_camera[:3, :3] = small
    center = ORIGIN + np.array([3.0, -4.0, 6.0])
    in_camera[:3, 3] = [3.0, -5.0, -640.0] - small @ center
    return np.linalg.inv(np.linalg.inv(EXTRINSIC) @ in_camera)


def project(points, pose):
    """LPS mm to (column, row) of the image as stored."""
    in_volume = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    in_camera = (EXTRINSIC @ np.linalg.inv(pose) @ in_volume.T)[:3]
    assert (in_camera[2] < 0).all()
    pixels = INTRINSIC @ in_camera
    return (pixels[:2] / pixels[2]).T


def make(path, rng):
    """Write the file; returns the landmarks in LPS mm, by specimen."""
    landmarks = {}
    with h5py.File(path, "w") as file:
        parameters = file.create_group("proj-params")
        parameters["extrinsic"], parameters["intrinsic"] = EXTRINSIC, INTRINSIC
        parameters["num-rows"], parameters["num-cols"] = SHAPE
        parameters["pixel-row-spacing"], parameters["pixel-col-spacing"] = PITCH
        for specimen, names in PROJECTIONS.items():
            points = ORIGIN + rng.uniform(-25, 25, (14, 3))
            points[0] = ORIGIN + np.array([2.0, 1.0, 8.0])
            landmarks[specimen] = points
            write_specimen(file.create_group(specimen), points)
            for name in names:
                group = file.create_group(f"{specimen}/projections/{name}")
                turned = (specimen, name) == UPSIDE_DOWN
                write_projection(group, points, rng, turned)
    return landmarks


def write_specimen(group, points):
    ct = np.full((7, 6, 5), -1000.0, np.float32)  # [z, y, x]
    ct[MARKED[::-1]] = 700
    for name, pixels in (("vol", ct), ("vol-seg/image", (ct > 0).astype(np.uint8) * 5)):
        image = group.create_group(name)
        image["pixels"], image["spacing"] = pixels, SPACING
        image["origin"], image["dir-mat"] = ORIGIN[:, None], DIRECTIONS
    for number, name in enumerate(("left-hemipelvis", "right-hemipelvis"), start=1):
        group[f"vol-seg/labels-def/{number}"] = name
    for name, point in zip(HIP_LANDMARKS, points, strict=True):
        group[f"vol-landmarks/{name}"] = point[:, None]


def write_projection(group, points, rng, turned):
    pose = cam_to_volume(rng)
    pixels = project(points, pose)
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    square = (col - pixels[0, 0]) ** 2 + (row - pixels[0, 1]) ** 2
    group["image/pixels"] = (4000 * np.exp(-2 * np.exp(-square / 50))).astype("f4")
    group["gt-seg/pixels"] = np.where(square < 150, 5, 0).astype(np.uint8)
    for name, pixel in zip(HIP_LANDMARKS, pixels, strict=True):
        group[f"gt-landmarks/{name}"] = pixel[:, None]
    group["gt-poses/cam-to-pelvis-vol"] = pose
    femur = np.array(pose)
    femur[:3, 3] += 7.0
    group["gt-poses/cam-to-left-femur-vol"] = femur
    group["gt-poses/left-femur-good-fov"] = 1
    group["gt-poses/right-femur-good-fov"] = 0
    group["rot-180-for-up"] = int(turned)
