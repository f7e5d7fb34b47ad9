"""The peers' own recipes, in their own settings, on the same problems.

``tutorial``: what each library's tutorial does at one resolution: Adam with learning
rates for radians and mm, global cross-correlation, 500 iterations or until it is above
0.999 (DiffDRR 0.1 and 5, nanodrr 0.05 and 10).

``xvr``: that of the registration program of the same authors, on either library: Adam
from 0.01 and 1 at the coarsest resolution on, halved from stage to stage (xvr's
releases on DiffDRR also sum the halvings up; the milder one is taken); half local and
global cross-correlation and half that of gradients in patches; a stage ends after 500
iterations or when the rate was cut twice, by 10, since nothing improved by 1e-4 in as
many iterations as its patience. Its resolutions for fluoroscopy are 60, 120 and 240
pixels: here a quarter, a half and all of the image.

Images have their extremes at 0 and 1, less 0.15, over 0.1, as xvr has them. Both get
the volume as it is, in 1/mm, and the poses as matrices; for DiffDRR, which turns about
the origin, the volume's center lies there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
import torchio
from registration_problems import Problem, Settings, load_body

_SAMPLES = 500  # a ray, both libraries' default
_TO_DIFFDRR = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
# DiffDRR's camera before its rotation: looking from the front to the back.
_AP = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])
_CONVERGED = 0.999
_ITERATIONS = 500


@dataclass(frozen=True)
class Recipe:
    """How to go on.

    Attributes:
        rotation: learning rate, radians.
        translation: learning rate, mm.
        scales: image sides over the full one, coarse to fine.
        patience: iterations without improvement before the rates are cut; None for
            rates that stay.
    """

    rotation: float
    translation: float
    scales: tuple[float, ...] = (1.0,)
    patience: int | None = None


RECIPES = {
    "diffdrr tutorial": Recipe(1e-1, 5.0),
    "nanodrr tutorial": Recipe(5e-2, 10.0),
    "diffdrr xvr": Recipe(1e-2, 1.0, (0.25, 0.5, 1.0), patience=10),
    "nanodrr xvr": Recipe(1e-2, 1.0, (0.25, 0.5, 1.0), patience=5),
}


@dataclass
class Found:
    """The end of a recipe.

    Attributes:
        pose: (4, 4), world from camera.
        iterations: of all stages.
        similarity: the last.
        stopped: whether the time was up before the recipe's end.
    """

    pose: np.ndarray
    iterations: int
    similarity: float
    stopped: bool


class Peer:
    """A contender: see ``registration_cell.Contender``."""

    def __init__(
        self, name: str, folder: Path, settings: Settings, seconds: float
    ) -> None:
        library = name.split()[0]
        self._moving = {"diffdrr": DiffDrr, "nanodrr": NanoDrr}[library]
        self._losses = {"diffdrr": _diffdrr_losses, "nanodrr": _nanodrr_losses}[library]
        self._recipe = RECIPES[name]
        self._folder, self._settings, self._seconds = folder, settings, seconds
        self._subjects: dict[str, torchio.ScalarImage] = {}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.about = {
            "platform": self.device.type,
            "threads": torch.get_num_threads(),
            "versions": {library: version(library), "torch": torch.__version__},
        }

    def compilations(self) -> int:
        """None: eager."""
        return 0

    def _volume(self, ct: str) -> tuple[torchio.ScalarImage, np.ndarray]:
        body = load_body(self._folder, ct, self._settings)
        if ct not in self._subjects:
            tensor = torch.from_numpy(body.attenuation)[None]
            self._subjects[ct] = torchio.ScalarImage(tensor=tensor, affine=body.affine)
        middle = (np.asarray(body.attenuation.shape) - 1) / 2
        return self._subjects[ct], body.affine[:3, :3] @ middle + body.affine[:3, 3]

    def _start(self, problem: Problem) -> Moving:
        return self._moving(problem, *self._volume(problem.ct), self.device)

    def render(self, problem: Problem) -> np.ndarray:
        """Line integrals at the start."""
        with torch.no_grad():
            return self._start(problem).image()[0, 0].cpu().numpy()

    def register(self, problem: Problem) -> Found:
        """The recipe, or as much of it as there is time for."""
        deadline = time.monotonic() + self._seconds
        moving, recipe = self._start(problem), self._recipe
        fixed = torch.from_numpy(problem.image)[None, None].to(self.device)
        count, value, stopped = 0, float("nan"), False
        for stage, scale in enumerate(recipe.scales):
            moving.rescale(scale)
            similarity = self._similarity(self._resized(fixed, scale))
            optimizer = torch.optim.Adam(
                [
                    {"params": [moving.rotation], "lr": recipe.rotation / 2**stage},
                    {
                        "params": [moving.translation],
                        "lr": recipe.translation / 2**stage,
                    },
                ],
                maximize=True,
            )
            done = _Plateaus(optimizer, recipe.patience)
            for _ in range(_ITERATIONS):
                optimizer.zero_grad()
                loss = similarity(moving.image())
                loss.backward()
                optimizer.step()
                count, value = count + 1, float(loss.detach())
                stopped = time.monotonic() > deadline
                if stopped or done(value):
                    break
            if stopped:
                break
        return Found(moving.pose(), count, value, stopped)

    @staticmethod
    def _resized(fixed: torch.Tensor, scale: float) -> torch.Tensor:
        if scale == 1:
            return fixed
        side = round(fixed.shape[-1] * scale)
        return F.interpolate(fixed, (side, side), mode="bilinear", antialias=True)

    def _similarity(
        self, fixed: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        plain, local, gradients = (loss.to(self.device) for loss in self._losses())
        if self._recipe.patience is None:
            return lambda image: plain(fixed, image).sum()
        target = _standardized(fixed)

        def half_and_half(image: torch.Tensor) -> torch.Tensor:
            image = _standardized(image)
            return (0.5 * local(target, image) + 0.5 * gradients(target, image)).sum()

        return half_and_half

    def line(self, problem: Problem, found: Found) -> dict:
        """See ``registration_cell.Contender``."""
        del problem
        return {
            "world_from_camera": found.pose.tolist(),
            "iterations": found.iterations,
            "similarity": found.similarity,
            "stopped": found.stopped,
        }


class _Plateaus:
    """When a stage is over: the tutorials' test, or xvr's two cuts of the rates."""

    def __init__(self, optimizer: torch.optim.Optimizer, patience: int | None) -> None:
        self._scheduler = None
        self._rates, self._cuts = float("inf"), 0
        if patience is not None:
            self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, "max", factor=0.1, patience=patience, threshold=1e-4
            )

    def __call__(self, value: float) -> bool:
        if self._scheduler is None:
            return value > _CONVERGED
        self._scheduler.step(value)
        rate = min(self._scheduler.get_last_lr())
        if rate < self._rates:
            # The first iteration counts as one.
            self._rates, self._cuts = rate, self._cuts + 1
        return self._cuts > 2


def _standardized(image: torch.Tensor) -> torch.Tensor:
    low, high = image.min(), image.max()
    return ((image - low) / (high - low + 1e-6) - 0.15) / 0.1


# -- the libraries --------------------------------------------------------------------


class Moving:
    """A pose to be optimized, and its image."""

    rotation: torch.nn.Parameter
    translation: torch.nn.Parameter

    def image(self) -> torch.Tensor:
        """(1, 1, n, n)."""
        raise NotImplementedError

    def rescale(self, scale: float) -> None:
        """Of the full resolution."""
        raise NotImplementedError

    def pose(self) -> np.ndarray:
        """(4, 4), world from camera."""
        raise NotImplementedError


class NanoDrr(Moving):
    """nanodrr's ``Registration``: a motion about the volume's center."""

    def __init__(
        self,
        problem: Problem,
        volume: torchio.ScalarImage,
        center: np.ndarray,
        device: torch.device,
    ) -> None:
        from nanodrr.camera import make_k_inv
        from nanodrr.data import Subject
        from nanodrr.registration import Registration

        del center
        side, distance = problem.image.shape[0], problem.source_to_detector
        dely, delx = (float(x) for x in problem.pitch)
        k_inv = make_k_inv(distance, delx, dely, 0.0, 0.0, height=side, width=side)
        subject = Subject.from_images(volume, convert_to_mu=False)
        start = torch.tensor(problem.start[None], dtype=torch.float32)
        self._registration = Registration(
            subject, start, k_inv, torch.tensor([distance]), side, side
        ).to(device)
        self._scale = 1.0
        self.rotation, self.translation = (
            self._registration._rot,
            self._registration._xyz,
        )

    def image(self) -> torch.Tensor:
        """(1, 1, n, n)."""
        return self._registration(n_samples=_SAMPLES)

    def rescale(self, scale: float) -> None:
        """Of the full resolution."""
        self._registration.rescale_(scale / self._scale)
        self._scale = scale

    def pose(self) -> np.ndarray:
        """(4, 4), world from camera."""
        return self._registration.pose[0].detach().cpu().numpy().astype(float)


class DiffDrr(Moving):
    """DiffDRR's ``Registration``: Euler angles about the volume's center."""

    def __init__(
        self,
        problem: Problem,
        volume: torchio.ScalarImage,
        center: np.ndarray,
        device: torch.device,
    ) -> None:
        from diffdrr.pose import RigidTransform

        affine = np.array(volume.affine)
        affine[:3, 3] -= center
        image = torchio.ScalarImage(tensor=volume.data, affine=affine)
        self._subject = torchio.Subject(
            volume=image,
            density=image,
            mask=None,
            orientation="AP",
            reorient=_AP,
            fiducials=None,
        )
        self._problem, self._center, self._device = problem, center, device
        start = problem.start.copy()
        start[:3, 3] -= center
        pose = torch.tensor(start, dtype=torch.float32) @ _TO_DIFFDRR @ _AP.inverse()
        rotation, translation = RigidTransform(pose[None].to(device)).convert(
            "euler_angles", "ZXY"
        )
        self.rotation = torch.nn.Parameter(rotation)
        self.translation = torch.nn.Parameter(translation)
        self.rescale(1.0)

    def rescale(self, scale: float) -> None:
        """Of the full resolution."""
        from diffdrr.drr import DRR
        from diffdrr.registration import Registration

        dely, delx = (float(x) / scale for x in self._problem.pitch)
        drr = DRR(
            self._subject,
            self._problem.source_to_detector,
            round(self._problem.image.shape[0] * scale),
            delx,
            dely=dely,
            renderer="trilinear",
        ).to(self._device)
        self._registration = Registration(
            drr, self.rotation.data, self.translation.data, "euler_angles", "ZXY"
        )
        self._registration._rotation = self.rotation
        self._registration._translation = self.translation

    def image(self) -> torch.Tensor:
        """(1, 1, n, n)."""
        return self._registration(n_points=_SAMPLES)

    def pose(self) -> np.ndarray:
        """(4, 4), world from camera."""
        pose = self._registration.pose.matrix[0].detach().cpu()
        found = (pose @ _AP @ _TO_DIFFDRR).numpy().astype(float)
        found[:3, 3] += self._center
        return found


def _diffdrr_losses() -> tuple[torch.nn.Module, ...]:
    from diffdrr import metrics

    return _losses(metrics)


def _nanodrr_losses() -> tuple[torch.nn.Module, ...]:
    from nanodrr import metrics

    return _losses(metrics)


def _losses(metrics: ModuleType) -> tuple[torch.nn.Module, ...]:
    """Global, half global and half local, of gradients in patches; named alike."""
    return (
        metrics.NormalizedCrossCorrelation2d(),
        metrics.MultiscaleNormalizedCrossCorrelation2d([None, 9], [0.5, 0.5]),
        metrics.GradientNormalizedCrossCorrelation2d(patch_size=11, sigma=0.0),
    )


def build(name: str, folder: Path, settings: Settings, spec: dict) -> Peer:
    """See ``registration_cell``."""
    return Peer(name, folder, settings, spec["peer_seconds"])
