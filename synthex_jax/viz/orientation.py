"""What anatomical direction each edge of an image lies in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.frames import ANTERIOR, LEFT, RIGHT, SUPERIOR

# The letters of DICOM's Patient Orientation (0020,0020): head and foot, not S and I.
_LETTERS = {
    "L": LEFT,
    "R": RIGHT,
    "A": ANTERIOR,
    "P": -ANTERIOR,
    "H": SUPERIOR,
    "F": -SUPERIOR,
}

# Where the rays run in each view that has a name.
_NAMED = {
    "AP": -ANTERIOR,
    "PA": ANTERIOR,
    "left lateral": LEFT,
    "right lateral": RIGHT,
}

# A direction gets a second letter where it lies nearer to the diagonal between two
# axes than to the axis: beyond half of 45 degrees.
_SECOND_LETTER_FROM = float(np.sin(np.deg2rad(22.5)))


class EdgeLetters(NamedTuple):
    """Letters at the edges of an image: R, L, A, P, H (head), F (foot)."""

    left: str
    right: str
    top: str
    bottom: str


def edge_letters(camera: Camera, *, flip: bool = False) -> EdgeLetters:
    """The patient's direction at each edge of the camera's image.

    One letter, or two with the larger share first where the view is oblique: the
    left edge reads ``"RA"`` with the source 30 degrees to the patient's left.

    Args:
        camera: one view.
        flip: whether the image is shown mirrored left to right.
    """
    rotation = np.asarray(camera.world_from_camera.rotation, dtype=np.float64)
    right, down = letters(rotation[:, 0]), letters(rotation[:, 1])
    left, up = letters(-rotation[:, 0]), letters(-rotation[:, 1])
    if flip:
        left, right = right, left
    return EdgeLetters(left=left, right=right, top=up, bottom=down)


def letters(direction: np.ndarray) -> str:
    """One or two letters of a unit direction (3,) in the world."""
    shares = {letter: float(axis @ direction) for letter, axis in _LETTERS.items()}
    ranked = sorted(shares, key=lambda letter: -shares[letter])
    if shares[ranked[1]] > _SECOND_LETTER_FROM:
        return ranked[0] + ranked[1]
    return ranked[0]


def view_name(camera: Camera) -> str:
    """The view in words, by where the source is.

    ``"AP"``, ``"PA"``, ``"left lateral"`` (the left side faces the detector) or
    ``"right lateral"`` within a degree; otherwise the C-arm's two angles from AP, as
    in ``"source 30° left, 10° cranial"``.
    """
    towards = np.asarray(camera.principal_direction, dtype=np.float64)
    for name, axis in _NAMED.items():
        if towards @ axis > np.cos(np.deg2rad(1.0)):
            return name
    right, anterior, superior = -towards
    # CArm.at puts the source at (-sin o, cos o cos a, cos o sin a); of its two
    # solutions the one with the smaller angular is taken.
    side = 1.0 if anterior >= 0 else -1.0
    orbital = np.arctan2(-right, side * np.hypot(anterior, superior))
    angular = np.arctan2(side * superior, side * anterior)
    parts = [
        f"{abs(degrees):.0f}° {words[int(degrees < 0)]}"
        for degrees, words in (
            (np.rad2deg(orbital), ("left", "right")),
            (np.rad2deg(angular), ("cranial", "caudal")),
        )
        if round(abs(degrees)) > 0
    ]
    return f"source {', '.join(parts)}"
