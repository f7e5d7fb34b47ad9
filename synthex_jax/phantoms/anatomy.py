"""Anatomy: what a phantom consists of, and its label numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from synthex_jax.nouns import noun
from synthex_jax.phantoms.canvas import Canvas
from synthex_jax.typing import Vector3
from synthex_jax.volumes.volume import Volume

AIR, SKIN, FAT, MUSCLE, VISCERA, GAS, DISC = 0, 200, 201, 202, 203, 204, 205
VESSELS = 206
LESIONS = {"ground_glass": (207, 208), "consolidation": (209, 210)}
"""Left and right id of each kind of lesion in a lung."""

LABELS: dict[int, str] = {
    10: "lung_left",
    12: "lung_right",
    16: "trachea",
    25: "sacrum",
    **{27 + i: f"vertebrae_L{5 - i}" for i in range(5)},
    **{32 + i: f"vertebrae_T{12 - i}" for i in range(12)},
    44: "vertebrae_C7",
    2: "kidney_right",
    3: "kidney_left",
    5: "liver",
    6: "stomach",
    21: "urinary_bladder",
    51: "heart",
    52: "aorta",
    71: "scapula_left",
    72: "scapula_right",
    73: "clavicula_left",
    74: "clavicula_right",
    75: "femur_left",
    76: "femur_right",
    77: "hip_left",
    78: "hip_right",
    88: "iliopsoas_left",
    89: "iliopsoas_right",
    **{92 + i: f"rib_left_{1 + i}" for i in range(12)},
    **{104 + i: f"rib_right_{1 + i}" for i in range(12)},
    116: "sternum",
    117: "costal_cartilages",
    SKIN: "skin",
    FAT: "subcutaneous_fat",
    MUSCLE: "muscle",
    VISCERA: "viscera",
    GAS: "bowel_gas",
    DISC: "intervertebral_disc",
    VESSELS: "thoracic_vessels",
    **{
        label: f"{kind}_{side}"
        for kind, ids in LESIONS.items()
        for label, side in zip(ids, ("left", "right"), strict=True)
    },
}
"""Names of the label ids. Up to 117 they are TotalSegmentator's (version 2, task
"total"), with each lung under its upper lobe's number; from 200 on our own."""

HIP_LANDMARKS = tuple(
    f"{name}-{side}"
    for name in ("FH", "GSN", "IOF", "MOF", "SPS", "IPS", "ASIS")
    for side in ("l", "r")
)
"""The 14 hip landmarks of Grupp et al. (2020) and SyntheX, in their order: femoral head
center, greater sciatic notch, inferior and medial obturator foramen, superior and
inferior pubic symphysis, anterior superior iliac spine, left before right."""


@noun
@dataclass(frozen=True)
class Anatomy:
    """A made-up patient on one grid.

    Attributes:
        ct: Hounsfield units.
        labels: uint8 ids on the same grid; ``LABELS`` has their names.
        landmarks: name to (3,), world mm.
    """

    ct: Volume
    labels: Volume
    landmarks: dict[str, Vector3]

    @classmethod
    def from_canvas(cls, canvas: Canvas, landmarks: dict[str, Vector3]) -> Anatomy:
        """From what was painted."""
        affine = jnp.asarray(canvas.grid.affine)
        return cls(Volume(canvas.hu, affine), Volume(canvas.labels, affine), landmarks)
