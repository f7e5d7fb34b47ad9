"""How many labelled images a second a data set of hip images gets.

    python benchmarks/synthesis.py                 # 256^3 voxels, 360^2 pixels
    python benchmarks/synthesis.py --num 2000 --tiers naive    # memory over a long run

Each line is a data set of its own, written to a temporary folder end to end: views,
image, masks, boxes, landmarks, compression, checksums. Compilation is over before the
clock starts. Parts are processes that run at the same time, each with its share of the
shards. Prints a table and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import synthex_jax as sx
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.synthesis import recipes
from synthex_jax.synthesis.source import SceneSource
from synthex_jax.synthesis.writer import synthesize

# Images a second on two cores, of 360^2 pixels, that were asked for.
_TARGETS = {"naive": 6.0, "realistic": 1.5}
_FIELD = (416.0, 288.0, 352.0)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Labelled images a second.")
    parser.add_argument("--voxels", type=int, default=256, help="a side (256)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[360], help="pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--parts", type=int, nargs="+", default=[1], help="processes")
    parser.add_argument("--tiers", nargs="+", default=["naive", "realistic"])
    parser.add_argument("--num", type=int, default=64, help="images of a line (64)")
    parser.add_argument("--out", type=Path, help="JSON file; its folder must exist")
    options = parser.parse_args()
    device = jax.devices()[0].device_kind
    print(f"{options.voxels}^3 voxels, {options.num} images a line, {device}\n")
    print("tier       size  batch  parts  images/s  device idle  kB/image  memory MB")
    rows = []
    for tier in options.tiers:
        for size in options.sizes:
            for batch in options.batches:
                for parts in options.parts:
                    row = line(tier, size, batch, parts, options.num, options.voxels)
                    rows.append(row)
                    target = _TARGETS[tier] if size == 360 else None
                    aim = f"  (target: {target:g} images/s)" if target else ""
                    print(
                        f"{tier:9s} {size:5d} {batch:6d} {parts:6d} "
                        f"{row['rate']:9.2f} {row['idle_share']:11.3f} "
                        f"{row['kilobytes']:9.0f} {row['megabytes_grown']:+10.1f}{aim}"
                    )
    if options.out:
        record = {"device": device, "voxels": options.voxels, "rows": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def line(
    tier: str, size: int, batch: int, parts: int, num: int, voxels: int
) -> dict[str, float | int | str]:
    """One data set, by one process or several at once."""
    with tempfile.TemporaryDirectory() as folder:
        work = (tier, size, batch, num, voxels, folder)
        if parts == 1:
            reports = [run(*work, (0, 1), None)]
        else:
            context = multiprocessing.get_context("spawn")
            start = context.Barrier(parts)
            results = context.Queue()
            processes = [
                context.Process(target=_run, args=(*work, (i, parts), start, results))
                for i in range(parts)
            ]
            for process in processes:
                process.start()
            reports = [results.get() for _ in processes]
            for process in processes:
                process.join()
    seconds = max(report["seconds"] for report in reports)
    made = sum(report["made"] for report in reports)
    return {
        "tier": tier,
        "size": size,
        "batch": batch,
        "parts": parts,
        "num": num,
        "rate": made / seconds,
        "idle_share": sum(r["waited"] for r in reports) / seconds / parts,
        "kilobytes": sum(r["bytes"] for r in reports) / made / 1e3,
        "megabytes_grown": max(r["grown"] for r in reports),
    }


def run(
    tier: str,
    size: int,
    batch: int,
    num: int,
    voxels: int,
    folder: str,
    part: tuple[int, int],
    start: object,
) -> dict[str, float]:
    """One part of a data set, its programs compiled before it starts."""
    source = hip_source(tier, size, voxels)
    for _ in range(2):
        made = source.batch(0, np.arange(batch, dtype=np.int32))
        jax.block_until_ready(made)
    if start is not None:
        start.wait()
    before = resident()
    began = time.perf_counter()
    report = synthesize(
        source, folder, num=num, batch=batch, shard=4 * batch, part=part
    )
    return {
        "seconds": time.perf_counter() - began,
        "made": report.made,
        "waited": report.waited,
        "bytes": report.bytes,
        "grown": resident() - before,
    }


def _run(*arguments: object) -> None:
    *work, results = arguments
    results.put(run(*work))


def hip_source(tier: str, size: int, voxels: int) -> SceneSource:
    """Views of the paper, of one phantom on as many voxels as asked for."""
    spacing = np.asarray(_FIELD) / voxels
    patient = sx.phantoms.pelvis(
        jax.random.key(0), shape=(voxels, voxels, voxels), spacing=spacing
    )
    options = {"size": size}
    if tier == "naive":
        options |= {"simulation": sx.naive(), "quanta": None}
    else:
        options |= {"simulation": sx.realistic(scatter=KernelScatter())}
    return SceneSource.create(
        recipes.hip(**options), {"phantom": sx.Scene.from_anatomy(patient)}
    )


def resident() -> float:
    """Megabytes of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
