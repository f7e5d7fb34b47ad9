"""What realistic X-rays cost beside naive ones.

    python benchmarks/physics.py              # 256^3 voxels to 512^2 pixels
    python benchmarks/physics.py --size 128   # smaller

One body, one view, one process: simulations take turns, so that all meet the same
noise. Bodies are substances already; what turning HU into them costs is in a line of
its own. Prints medians (and least) and ratios to naive's, and writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import synthex_jax as sx
from synthex_jax.physics.spectra import Filter
from synthex_jax.rendering import render
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.scatter.single import SingleScatter
from synthex_jax.simulation import Simulation, naive, realistic
from synthex_jax.volumes.tissues import Tissues

_TARGETS = {
    "realistic, 3 materials, 16 energies, noise": 4.0,
    "the same with kernel scatter": 5.0,
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Realistic beside naive X-rays.")
    parser.add_argument("--size", type=int, default=512, help="pixels a side (512)")
    parser.add_argument("--voxels", type=int, default=256, help="a side (256)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds (7)")
    parser.add_argument("--out", type=Path, help="JSON file; its folder must exist")
    options = parser.parse_args()
    ct = body_of_water(options.voxels)
    carm = sx.CArm.cios_fusion().resized((options.size, options.size))
    camera = carm.at(orbital=0.3, angular=0.1, isocenter=ct.center)
    seconds = measured(calls(ct, camera), options.repeats)
    base = seconds["naive"]
    device = jax.devices()[0].device_kind
    print(f"{options.voxels}^3 voxels to {options.size}^2 pixels, {device}\n")
    rows = {}
    for name, taken in seconds.items():
        middle, least = statistics.median(taken), min(taken)
        ratio = middle / statistics.median(base)
        rows[name] = {"median": middle, "least": least, "ratio": ratio}
        target = f"  (target: at most {_TARGETS[name]:g}x)" if name in _TARGETS else ""
        print(
            f"{name:45s} {middle:7.3f} s ({least:.3f}) {ratio:6.2f}x "
            f"({least / min(base):.2f}x){target}"
        )
    if options.out:
        record = {"device": device, "voxels": options.voxels, "size": options.size}
        options.out.write_text(json.dumps(record | {"rows": rows}, indent=1) + "\n")


def body_of_water(voxels: int) -> sx.Volume:
    """A ball of tissue with bones and a rod of metal, 300 mm wide, in HU."""
    x = np.linspace(-1, 1, voxels, dtype=np.float32)
    squared = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2
    hu = np.where(squared < 0.8, 40.0, -1000.0).astype(np.float32)
    ring = (x[:, None, None] - 0.3) ** 2 + x[:, None] ** 2 + 0 * x
    hu[ring < 0.03] = 900.0
    hu[ring < 0.002] = 3071.0
    return sx.Volume.from_array(hu, spacing=300.0 / voxels)


def calls(ct: sx.Volume, camera: sx.Camera) -> dict[str, Callable[[], jax.Array]]:
    """What is timed, by name."""
    plain = realistic(90.0, filtration=[Filter("Al", 4.0)], scatter=None)
    metal = replace(plain, tissues=Tissues.create(metal="titanium"))
    key = jax.random.key(0)

    def view(simulation: Simulation, *, noisy: bool) -> Callable[[], jax.Array]:
        body = simulation.tissues.composition(ct)
        return lambda: render(body, camera, simulation, key=key if noisy else None)

    kernel = replace(metal, scatter=KernelScatter())
    single = replace(metal, scatter=SingleScatter())
    three, with_kernel = _TARGETS
    return {
        "naive": view(naive(), noisy=False),
        "realistic, 2 materials, 16 energies, noise": view(plain, noisy=True),
        three: view(metal, noisy=True),
        with_kernel: view(kernel, noisy=True),
        "the same with single scatter": view(single, noisy=True),
        "from HU to 1 material": lambda: _shares(naive(), ct),
        "from HU to 2 materials": lambda: _shares(plain, ct),
        "from HU to 3 materials": lambda: _shares(metal, ct),
    }


def _shares(simulation: Simulation, ct: sx.Volume) -> jax.Array:
    return jnp.asarray(simulation.tissues.composition(ct).fractions.data)


def measured(
    functions: dict[str, Callable[[], jax.Array]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each call, in turns, after one that compiles."""
    for function in functions.values():
        jax.block_until_ready(function())
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
