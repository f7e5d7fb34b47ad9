"""Renders the radiographs of the problem set, which the cache folder keeps.

By another renderer than the one that registers: Siddon's projector, on twice as many
pixels each way, binned after detection; three tissues by CT number, a tube's spectrum,
scatter, noise, and a converter that clips. ``registration_problems`` has the format.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from registration_cts import Ct, load
from registration_problems import CLASSES, Settings, Target, body_path

import synthex_jax as sx
from synthex_jax.exposure import exposed
from synthex_jax.files import written_whole


def prepare(
    targets: Sequence[Target],
    folder: Path,
    settings: Settings,
    data: Path | None,
    workers: int,
) -> None:
    """Render what the cache does not have yet, in processes side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    for ct in dict.fromkeys(target.ct for target in targets):
        mine = [target for target in targets if target.ct == ct]
        missing = [t for t in mine if not t.path(folder, settings).exists()]
        shares = [missing[i::workers] for i in range(workers)]
        jobs = [(ct, share, folder, settings, data) for share in shares if share]
        if not body_path(folder, ct, settings).exists():
            jobs = jobs or [(ct, [], folder, settings, data)]
        if not jobs:
            continue
        began = time.monotonic()
        with ProcessPoolExecutor(len(jobs), get_context("spawn")) as pool:
            for done in as_completed([pool.submit(_render_all, *job) for job in jobs]):
                done.result()
        took = time.monotonic() - began
        print(f"{ct}: {len(missing)} targets rendered in {took:.0f} s", flush=True)


def _render_all(
    ct: str,
    targets: Sequence[Target],
    folder: Path,
    settings: Settings,
    data: Path | None,
) -> None:
    """In a process of its own."""
    loaded = load(ct, data)
    _save_body(loaded, body_path(folder, ct, settings))
    simulation = sx.realistic(settings.kvp, tissues=sx.Tissues.create(settings.basis))
    body = simulation.tissues.composition(loaded.volume)
    for target in targets:
        began = time.process_time()
        rng = target.generator()
        camera, arrays = _views(rng, loaded, settings)
        key = jax.random.key(int(rng.integers(2**31)))
        arrays |= radiograph(body, camera, simulation, settings, key)
        arrays["cpu_seconds"] = np.asarray(time.process_time() - began)
        save(target.path(folder, settings), arrays)


def _views(
    rng: np.random.Generator, ct: Ct, settings: Settings
) -> tuple[sx.Camera, dict[str, np.ndarray]]:
    """The true camera, and all that is known of it and of the starts."""
    largest = (settings.orbital_deg, settings.angular_deg, settings.roll_deg)
    angles = np.deg2rad(rng.uniform(-1, 1, 3) * largest)
    isocenter = ct.about + rng.uniform(-1, 1, 3) * settings.isocenter_mm
    camera = carm(settings).at(*angles, isocenter=isocenter)
    arrays = {
        "world_from_camera": np.asarray(camera.world_from_camera.matrix),
        "source_to_detector": np.asarray(camera.source_to_detector),
        "pitch": np.asarray(camera.pitch),
    }
    for name, (degrees, mm) in CLASSES.items():
        spread = np.repeat([np.deg2rad(degrees), mm], 3)
        twist = rng.standard_normal(6) * spread
        start = camera.moved(twist, about=ct.about)
        arrays[f"twist_{name}"] = twist
        arrays[f"start_{name}"] = np.asarray(start.world_from_camera.matrix)
    return camera, arrays


def carm(settings: Settings) -> sx.CArm:
    """The device, at the resolution that is registered."""
    return sx.CArm.generic().resized((settings.pixels, settings.pixels))


def radiograph(
    body: sx.Composition | sx.Scene,
    camera: sx.Camera,
    simulation: sx.Simulation,
    settings: Settings,
    key: jax.Array,
) -> dict[str, np.ndarray]:
    """The image and the weights of the pixels that did not clip."""
    factor = settings.oversampling
    side = settings.pixels * factor
    fine = camera.resized((side, side))
    raw, regulated = exposed(
        key, body, fine, simulation, quanta=settings.quanta, projector=sx.Siddon()
    )
    bits = regulated.detector.bits
    assert bits is not None
    clipped = np.asarray(raw) >= 2**bits - 1
    flat = sx.flat_field(fine, regulated)
    reading, air = (jnp.asarray(_binned(np.asarray(x), factor)) for x in (raw, flat))
    image = sx.log_image(reading, air, floor=1.0)
    weights = _binned(clipped.astype(np.float32), factor) == 0
    return {"image": np.asarray(image), "weights": weights.astype(np.float32)}


def _binned(image: np.ndarray, factor: int) -> np.ndarray:
    rows, cols = (n // factor for n in image.shape)
    return image.reshape(rows, factor, cols, factor).mean((1, 3))


def _save_body(ct: Ct, path: Path) -> None:
    if path.exists():
        return
    save(
        path,
        {
            "attenuation": np.asarray(ct.volume.attenuation().data, np.float32),
            "affine": np.asarray(ct.volume.affine, np.float64),
            "points": ct.points,
            "about": ct.about,
            "what": np.asarray(ct.what),
        },
    )


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An archive that is there whole or not at all."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
