"""``synthex render``: one radiograph of one CT, to a file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from synthex_jax.cli.arguments import VIEWS, CtName, instead

if TYPE_CHECKING:
    from synthex_jax.cli.tiers import Tier
    from synthex_jax.geometry.camera import Camera
    from synthex_jax.geometry.carm import CArm
    from synthex_jax.volumes.volume import Volume

# Black and white of what comes as gray values.
_GRAY = (0.0, 1.0)
_KINDS = {
    "log": "line integrals",
    "display": "gray values",
    "raw": "detector readings",
}


@dataclass(frozen=True)
class Render:
    """Render a radiograph of a CT: angles in degrees, lengths in mm."""

    ct: CtName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("xray.png")
    """Where to: .png gray values; .nii, .nii.gz, .npy or .npz the values themselves."""
    view: Annotated[
        Literal["ap", "pa", "left-lateral", "right-lateral"] | None,
        instead("{ap,pa,left-lateral,right-lateral}", "the angles"),
    ] = None
    """A view by name."""
    orbital: float = 0.0
    """About the patient's long axis; positive turns the source to the patient's left,
    the line of sight of LAO."""
    angular: float = 0.0
    """About the left-right axis; positive turns the source to the head (CRAN)."""
    roll: float = 0.0
    """Of the detector about the central ray."""
    isocenter: Annotated[
        tuple[float, float, float] | None, instead("X Y Z", "the volume's center")
    ] = None
    """Where the C-arm turns about, world mm (RAS+)."""
    device: Literal["generic", "cios-fusion", "loop-x"] = "generic"
    """The C-arm: its detector and distances."""
    size: Annotated[tuple[int, ...] | None, instead("ROWS [COLS]", "the device's")] = (
        None
    )
    """Pixels that the detector is read out with; one number for a square."""
    pitch: Annotated[float | None, instead("MM", "the device's panel over --size")] = (
        None
    )
    """Of a pixel; the detector then measures --size times this."""
    source_to_detector: Annotated[float | None, instead("MM", "the device's")] = None
    """Distance from the source to the detector."""
    tier: Literal["naive", "heuristic", "realistic"] = "naive"
    """How the image is made. Naive: one energy, water of varying density. Heuristic:
    the same without what is below -130 HU. Realistic: a tube's spectrum, tissues, a
    detector with noise."""
    energy: Annotated[float | None, instead("KEV", "60")] = None
    """Photon energy of the naive and the heuristic tier."""
    kvp: Annotated[float | None, instead("KVP", "90")] = None
    """Peak tube voltage, realistic tier."""
    filtration: Annotated[
        tuple[str, ...] | None, instead("'SUBSTANCE MM' ...", "'Al 4'")
    ] = None
    """Filters in the beam, as 'Al 4' 'Cu 0.1', realistic tier."""
    photons: Annotated[float | None, instead("N", "automatic exposure")] = None
    """A pixel, without a body, realistic tier."""
    scatter: bool = False
    """Add scattered photons, realistic tier."""
    scatter_model: Annotated[
        Literal["kernel", "single"] | None, instead("{kernel,single}", "kernel")
    ] = None
    """Fast convolution, or single scatter through the body (seconds a view)."""
    metal: Annotated[str | None, instead("NAME", "titanium if the CT shows metal")] = (
        None
    )
    """What the CT's metal is: titanium, stainless steel, cobalt-chrome, ... or none;
    realistic tier."""
    seed: Annotated[int | None, instead("N", "0")] = None
    """Of the noise, realistic tier."""
    processing: Literal["log", "display", "raw"] = "log"
    """What is written: log, attenuation; display, as a workstation shows it; raw, as
    the detector read it."""
    prefilter: bool = False
    """Undo the blur of interpolation: sharper edges, more noise."""
    window: Annotated[
        tuple[float, float] | None, instead("BLACK WHITE", "percentiles 2 and 99.8")
    ] = None
    """Values shown black and white."""
    invert: bool = False
    """Bone black."""
    flip: bool = False
    """Mirror the picture left to right."""
    bits: Literal[8, 16] = 8
    """Bits a pixel of a PNG."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> None:
        """Render, write and say what was done."""
        from rich.console import Console

        from synthex_jax.cli import outputs, sources
        from synthex_jax.projectors.joseph import Joseph

        # Whatever can be wrong without reading the CT is found first.
        outputs.check(self.out, for_display=self._display_options())
        tier = self._tier()
        carm = self._carm()
        console = Console(stderr=True)
        began = time.perf_counter()
        with console.status(f"reading {self.ct}"):
            ct = sources.read_ct(self.ct)
        read = time.perf_counter()
        camera = self._camera(carm, ct)
        with console.status("rendering"):
            projector = Joseph(prefilter=self.prefilter)
            image, how = tier.image(ct, camera, projector, self.processing)
        rendered = time.perf_counter()
        written = outputs.write(
            self.out,
            image,
            camera,
            kind=_KINDS[self.processing],
            window=_GRAY if self._is_gray() else self.window,
            invert=self.invert,
            flip=self.flip,
            bits=self.bits,
        )
        for line in (*_report(self.ct, ct, camera), how):
            print(line)
        print(written)
        print(f"read in {read - began:.1f} s, rendered in {rendered - read:.1f} s")

    def _is_gray(self) -> bool:
        return self.processing == "display" and self.window is None

    def _display_options(self) -> list[str]:
        """The given options that only a picture has a use for."""
        given = {
            "--window": self.window is not None,
            "--invert": self.invert,
            "--flip": self.flip,
            "--bits": self.bits != 8,
        }
        return [name for name, is_given in given.items() if is_given]

    def _carm(self) -> CArm:
        from synthex_jax.checks import require
        from synthex_jax.geometry.carm import CArm

        require(
            self.view is None or self.orbital == self.angular == self.roll == 0,
            f"--view {self.view} sets the angles; leave out --orbital, --angular and "
            "--roll, or --view",
        )
        carm = getattr(CArm, self.device.replace("-", "_"))()
        shape = carm.shape
        if self.size is not None:
            require(
                len(self.size) in (1, 2) and min(self.size) >= 1,
                f"--size must be one or two numbers of at least 1, got {self.size}",
            )
            shape = (self.size[0], self.size[-1])
        carm = carm.resized(shape)
        pitch, distance = self.pitch, self.source_to_detector
        return CArm.create(
            source_to_detector=carm.source_to_detector
            if distance is None
            else distance,
            source_to_isocenter=carm.source_to_isocenter,
            pitch=carm.pitch if pitch is None else pitch,
            shape=shape,
        )

    def _camera(self, carm: CArm, ct: Volume) -> Camera:
        import jax.numpy as jnp

        isocenter = ct.center if self.isocenter is None else jnp.array(self.isocenter)
        if self.view is not None:
            return carm.view(VIEWS[self.view], isocenter=isocenter)
        angles = jnp.deg2rad(jnp.array([self.orbital, self.angular, self.roll]))
        return carm.at(*angles, isocenter=isocenter)

    def _tier(self) -> Tier:
        from synthex_jax.checks import require
        from synthex_jax.cli.tiers import Tier

        require(
            self.scatter or self.scatter_model is None,
            "--scatter-model says how --scatter is to be computed; give both",
        )
        tier = Tier(
            name=self.tier,
            energy=self.energy,
            kvp=self.kvp,
            filtration=self.filtration,
            photons=self.photons,
            scatter=(self.scatter_model or "kernel") if self.scatter else None,
            metal=self.metal,
            seed=self.seed,
        )
        tier.require_consistent()
        return tier


def _report(name: str, ct: Volume, camera: Camera) -> list[str]:
    """What was rendered, in three lines."""
    import numpy as np

    from synthex_jax.viz.orientation import view_name

    spacing = " x ".join(f"{mm:.4g}" for mm in ct.spacing.tolist())
    source = ", ".join(f"{mm + 0.0:.1f}" for mm in np.round(camera.source, 1).tolist())
    rows, cols = camera.shape
    pitch = " x ".join(f"{mm:.3g}" for mm in sorted(set(camera.pitch.tolist())))
    return [
        f"{name}: {' x '.join(map(str, ct.shape))} voxels of {spacing} mm",
        f"view: {view_name(camera)}, source at ({source}) mm RAS+",
        f"{rows} x {cols} pixels of {pitch} mm, "
        f"{float(camera.source_to_detector):.0f} mm from the source",
    ]
