"""Grids in the world, and a function of the world to fill them with."""

import nibabel
import numpy as np

SHAPE = (5, 6, 7)


def world_function(affine, shape=SHAPE):
    """A linear function of the world at the voxel centers: x + 10 y + 100 z."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    affine = np.asarray(affine, dtype=float)
    return (index @ affine[:3, :3].T + affine[:3, 3]) @ [1.0, 10.0, 100.0]


def oriented(codes):
    """An anisotropic affine whose axes point where the letters say."""
    turn = nibabel.orientations.inv_ornt_aff(
        nibabel.orientations.axcodes2ornt(codes), SHAPE
    )
    affine = np.diag([0.7, 0.9, 2.5, 1.0]) @ np.linalg.inv(turn)
    affine[:3, 3] = [-40.0, 12.5, -340.0]
    return affine


def oblique(angles=(0.3, -0.2, 0.5), spacing=(0.7, 0.9, 2.5)):
    """An anisotropic affine turned about x, y and z by angles in radians."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_y @ about_z * np.array(spacing)
    affine[:3, 3] = [30.0, -60.0, 500.0]
    return affine
