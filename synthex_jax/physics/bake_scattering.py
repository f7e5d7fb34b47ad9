"""Makes ``data/scattering.npz`` from xraylib.

Run it with ``python -m synthex_jax.physics.bake_scattering``.

By element and momentum transfer: the form factor F, and the incoherent scattering
function S times (q^2 + bend) / q^2, which has no zero; see ``physics.scattering``.

xraylib: T. Schoonjans et al., Spectrochimica Acta B 66 (2011) 776.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from synthex_jax.physics import scattering

# 1/angstrom. Below it the source's S, printed to three decimals, has one digit or
# none: S is continued as q^2.
_COARSE_BELOW = 0.01


def tabulate(
    number: int,
) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """F, and S (q^2 + bend) / q^2, of one element at ``scattering.momentum_nodes``.

    Args:
        number: atomic number, 1 to 92.
    """
    import xraylib  # pyright: ignore[reportMissingImports]

    nodes = scattering.momentum_nodes()
    form = np.array([xraylib.FF_Rayl(number, q) for q in nodes])
    fine = np.maximum(nodes, _COARSE_BELOW)
    per_square = np.array([xraylib.SF_Compt(number, q) for q in fine]) / fine**2
    return form, per_square * (nodes**2 + scattering.BEND)


def main() -> None:
    """Write the table beside this file."""
    tables = [tabulate(number) for number in range(1, 93)]
    path = Path(__file__).parent / "data" / "scattering.npz"
    form, incoherent = (
        np.array(table, np.float32) for table in zip(*tables, strict=True)
    )
    np.savez_compressed(path, form=form, incoherent=incoherent)
    print(f"{path}: {form.shape[1]} nodes, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
