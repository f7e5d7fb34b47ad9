"""What several commands' arguments share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import tyro

CtName: TypeAlias = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="CT",
        help="NIfTI or NRRD file, DICOM folder, sample (chest, pelvis; downloaded "
        "once), or phantom (phantom-pelvis, phantom-thorax).",
    ),
]
"""A CT, as ``sources.read_ct`` takes it."""

VIEWS = {
    "ap": "AP",
    "pa": "PA",
    "left-lateral": "left lateral",
    "right-lateral": "right lateral",
}
"""Named views: as options call them, and as ``CArm.view`` does."""


def instead(metavar: str, default: str) -> object:
    """How an option that may be left out stands in the help."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")
