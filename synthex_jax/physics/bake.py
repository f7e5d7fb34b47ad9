"""Makes ``data/attenuation.npz`` from xraylib: ``python -m synthex_jax.physics.bake``.

Between the nodes of the table, attenuation is a power of the energy. Nodes are the
energies that NIST tabulates, every absorption edge twice (its lower and its upper
side), and as many halvings of the intervals between them as the tolerance asks for.

xraylib: T. Schoonjans et al., Spectrochimica Acta B 66 (2011) 776.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from synthex_jax.physics.tables import HIGHEST_KEV, LOWEST_KEV

# A tenth of what the table is to reach, 0.1 %: below that, xraylib's own splines
# between the energies that NIST tabulates differ by as much.
_TOLERANCE = 1e-4
# xraylib's own jumps lie up to 1.1e-3 (relative) beside the edge energies that it
# states: values nearer than this are continued from further out, as a power law.
_EDGE_MARGIN = 2e-3
# Intervals are halved down to this relative width.
_NARROWEST = 4e-3
# NIST Standard Reference Database 126; source data has kinks at its own nodes.
_NIST_KEV = (6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_SHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")

_Processes = Float[np.ndarray, "3"]


def tabulate(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of one element and its attenuation there.

    Args:
        number: atomic number, 1 to 92.

    Returns:
        energies: (nodes,), keV, rising, an edge twice.
        values: (nodes, 3), cm^2/g, by process.
    """
    edges = _edges(number)
    stops = sorted({LOWEST_KEV, *_NIST_KEV, *edges, HIGHEST_KEV})
    stops = [stop for stop in stops if LOWEST_KEV <= stop <= HIGHEST_KEV]
    energies: list[float] = []
    values: list[_Processes] = []
    for low, high in pairwise(stops):
        sample = _between_edges(number, edges, low, high)
        nodes = [low, *_halvings(sample, low, high), high]
        if energies and low not in edges:  # continuous there: one node, not two
            nodes = nodes[1:]
        energies += nodes
        values += [sample(node) for node in nodes]
    return np.array(energies), np.array(values)


def main() -> None:
    """Write the table beside this file."""
    tables = [tabulate(number) for number in range(1, 93)]
    path = Path(__file__).parent / "data" / "attenuation.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        path,
        first=np.cumsum([0, *(len(energies) for energies, _ in tables)]),
        energies=np.concatenate([energies for energies, _ in tables]),
        values=np.concatenate([values for _, values in tables]).astype(np.float32),
    )
    nodes = sum(len(energies) for energies, _ in tables)
    print(f"{path}: {nodes} nodes, {path.stat().st_size / 1e3:.0f} kB")


def _edges(number: int) -> list[float]:
    """Absorption edges, keV, in and just beside the table's range."""
    import xraylib  # pyright: ignore[reportMissingImports]

    edges = []
    for shell in _SHELLS:
        try:
            edge = xraylib.EdgeEnergy(number, getattr(xraylib, f"{shell}_SHELL"))
        except ValueError:  # the element has no such shell
            continue
        if LOWEST_KEV * 0.99 < edge < HIGHEST_KEV * 1.01:
            edges.append(edge)
    return edges


def _between_edges(
    number: int, edges: list[float], low: float, high: float
) -> Callable[[float], _Processes]:
    """Attenuation as a function of energy that knows the interval it is asked for."""
    import xraylib  # pyright: ignore[reportMissingImports]

    functions = (xraylib.CS_Photo, xraylib.CS_Compt, xraylib.CS_Rayl)

    def raw(energy: float) -> _Processes:
        return np.array([function(number, energy) for function in functions])

    def sample(energy: float) -> _Processes:
        for edge in edges:
            side = 1.0 if edge <= low else -1.0
            distance = side * np.log(energy / edge)
            if distance < _EDGE_MARGIN:
                near = raw(edge * np.exp(side * _EDGE_MARGIN))
                far = raw(edge * np.exp(side * 2 * _EDGE_MARGIN))
                return near * (far / near) ** (distance / _EDGE_MARGIN - 1)
        return raw(energy)

    return sample


def _halvings(
    sample: Callable[[float], _Processes], low: float, high: float
) -> list[float]:
    """Nodes inside an interval that make the power laws between them accurate."""
    if high / low < 1 + _NARROWEST:
        return []
    ends = np.log([sample(low), sample(high)])
    shares = np.array([0.25, 0.5, 0.75])
    law = ends[0] + shares[:, None] * (ends[1] - ends[0])
    true = np.log([sample(low ** (1 - t) * high**t) for t in shares])
    if np.abs(true - law).max() < _TOLERANCE:
        return []
    middle = (low * high) ** 0.5
    return [
        *_halvings(sample, low, middle),
        middle,
        *_halvings(sample, middle, high),
    ]


if __name__ == "__main__":
    main()
