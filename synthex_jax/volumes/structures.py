"""Names of the numbers in label maps."""

from __future__ import annotations

_SIDES = ("left", "right")
_ORGANS = [
    "spleen",
    "kidney_right",
    "kidney_left",
    "gallbladder",
    "liver",
    "stomach",
    "pancreas",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "esophagus",
    "trachea",
    "thyroid_gland",
    "small_bowel",
    "duodenum",
    "colon",
    "urinary_bladder",
    "prostate",
    "kidney_cyst_left",
    "kidney_cyst_right",
]
_VERTEBRAE = [
    f"vertebrae_{region}{number}"
    for region, count in (("S", 1), ("L", 5), ("T", 12), ("C", 7))
    for number in range(count, 0, -1)
]
_VESSELS = [
    "heart",
    "aorta",
    "pulmonary_vein",
    "brachiocephalic_trunk",
    "subclavian_artery_right",
    "subclavian_artery_left",
    "common_carotid_artery_right",
    "common_carotid_artery_left",
    "brachiocephalic_vein_left",
    "brachiocephalic_vein_right",
    "atrial_appendage_left",
    "superior_vena_cava",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "iliac_artery_left",
    "iliac_artery_right",
    "iliac_vena_left",
    "iliac_vena_right",
]
_LIMBS = [
    f"{bone}_{side}"
    for bone in ("humerus", "scapula", "clavicula", "femur", "hip")
    for side in _SIDES
]
_MUSCLES = [
    f"{muscle}_{side}"
    for muscle in (
        "gluteus_maximus",
        "gluteus_medius",
        "gluteus_minimus",
        "autochthon",
        "iliopsoas",
    )
    for side in _SIDES
]
_RIBS = [f"rib_{side}_{number}" for side in _SIDES for number in range(1, 13)]

TOTALSEGMENTATOR_V2: dict[int, str] = dict(
    enumerate(
        [
            *_ORGANS,
            "sacrum",
            *_VERTEBRAE,
            *_VESSELS,
            *_LIMBS,
            "spinal_cord",
            *_MUSCLES,
            "brain",
            "skull",
            *_RIBS,
            "sternum",
            "costal_cartilages",
        ],
        start=1,
    )
)
"""Classes 1 to 117 of TotalSegmentator, version 2, task "total"; 0 is background.

Numbers and names are those of the tool (Wasserthal et al. 2023, Radiology: Artificial
Intelligence 5:e230024).
"""

BONES: frozenset[str] = frozenset(
    name
    for name in TOTALSEGMENTATOR_V2.values()
    if name.startswith(("vertebrae_", "rib_", "humerus", "scapula", "clavicula"))
    or name.startswith(("femur", "hip_"))
    or name in ("sacrum", "skull", "sternum", "costal_cartilages")
)
"""Those of the classes that hold bone; costal cartilage calcifies."""
