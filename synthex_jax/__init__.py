"""synthex_jax: a differentiable X-ray simulator, from CT to labelled radiographs.

The names below are the front door; heavy modules load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from synthex_jax._version import __version__

if TYPE_CHECKING:
    from synthex_jax.geometry.camera import Camera as Camera
    from synthex_jax.geometry.carm import CArm as CArm
    from synthex_jax.geometry.transform import RigidTransform as RigidTransform
    from synthex_jax.projectors.joseph import Joseph as Joseph
    from synthex_jax.render import line_integrals as line_integrals
    from synthex_jax.volumes.filters import sharpened as sharpened
    from synthex_jax.volumes.volume import Volume as Volume

_HOME = {
    "Camera": "geometry.camera",
    "CArm": "geometry.carm",
    "RigidTransform": "geometry.transform",
    "Volume": "volumes.volume",
    "sharpened": "volumes.filters",
    "Joseph": "projectors.joseph",
    "line_integrals": "render",
}
_MODULES: set[str] = set()

__all__ = ["__version__", *_HOME, *sorted(_MODULES)]


def __getattr__(name: str) -> object:
    if name in _HOME:
        module = importlib.import_module(f"{__name__}.{_HOME[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
