"""The peers as contenders: nanodrr and DiffDRR, on whatever device torch has.

Both get the volume as it is, in 1/mm and in place, and each view's pose as a matrix,
moved by the same first-order twist of the world; the gradients are then comparable
number by number.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import torch
import torchio
from cases import SOURCE_TO_DETECTOR, Case
from contenders import Contender

Result = TypeVar("Result")

_SAMPLES = 500  # a ray, both libraries' default
_TO_DIFFDRR = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))


class TorchBench:
    """A renderer from poses to images, and torch's ways to differentiate it."""

    def __init__(
        self,
        contender: Contender,
        case: Case,
        render: Callable[[torch.Tensor], torch.Tensor],
        volume: torch.Tensor,
    ) -> None:
        self._render = render
        self._volume = volume
        self._poses = torch.tensor(
            case.poses(), dtype=torch.float32, device=volume.device
        )
        self._generators = _generators().to(volume.device)
        self._weights = torch.tensor(case.weights(), device=volume.device)
        self.operations = {
            "forward": self._forward,
            "value_and_gradient": self._value_and_gradient,
            "jacobian": self._jacobian,
            "volume_gradient": self._volume_gradient,
        }
        self.about = {
            "platform": volume.device.type,
            "threads": torch.get_num_threads(),
            "versions": {
                contender.library: version(contender.library),
                "torch": torch.__version__,
            },
        }

    def _images(self, twists: torch.Tensor) -> torch.Tensor:
        motion = torch.einsum("bk,kij->bij", twists, self._generators)
        return self._render(self._poses + motion @ self._poses)[:, 0]

    def _loss(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sum(self._weights * images)

    def _zeros(self) -> torch.Tensor:
        return torch.zeros(len(self._poses), 6, device=self._poses.device)

    def _forward(self) -> torch.Tensor:
        with torch.no_grad():
            return self._done(self._images(self._zeros()))

    def _value_and_gradient(self) -> tuple[torch.Tensor, torch.Tensor]:
        twists = self._zeros().requires_grad_()
        loss = self._loss(self._images(twists))
        (gradient,) = torch.autograd.grad(loss, twists)
        return self._done((loss.detach(), gradient))

    def _jacobian(self) -> torch.Tensor:
        """Six directional derivatives; forward mode costs the least there is."""
        forward = torch.autograd.forward_ad
        columns = []
        for k in range(6):
            direction = self._zeros()
            direction[:, k] = 1
            with forward.dual_level(), torch.compiler.set_stance("force_eager"):
                images = self._images(forward.make_dual(self._zeros(), direction))
                columns.append(forward.unpack_dual(images).tangent)
        return self._done(torch.stack(columns, dim=-1))

    def _volume_gradient(self) -> torch.Tensor:
        self._volume.requires_grad_()
        loss = self._loss(self._images(self._zeros()))
        (gradient,) = torch.autograd.grad(loss, self._volume)
        self._volume.requires_grad_(False)
        return self._done(gradient)

    def _done(self, result: Result) -> Result:
        if self._volume.is_cuda:
            torch.cuda.synchronize()
        return result

    def device_memory(self) -> int | None:
        """Peak above what was there at the reset."""
        if not self._volume.is_cuda:
            return None
        return torch.cuda.max_memory_allocated() - self._built

    def reset_device_memory(self) -> None:
        """Take what is there now, the volume, for the base."""
        if self._volume.is_cuda:
            torch.cuda.reset_peak_memory_stats()
            self._built = torch.cuda.memory_allocated()


def build(
    contender: Contender, case: Case, data: np.ndarray, affine: np.ndarray
) -> TorchBench:
    """See ``Contender.build``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    builder = {"nanodrr": _nanodrr, "diffdrr": _diffdrr}[contender.library]
    tensor = torch.from_numpy(np.array(data, dtype=np.float32))[None]
    image = torchio.ScalarImage(tensor=tensor, affine=affine)
    render, volume = builder(contender, case, image, device)
    return TorchBench(contender, case, render, volume)


def _nanodrr(
    contender: Contender, case: Case, image: torchio.ScalarImage, device: torch.device
) -> tuple[Callable, torch.Tensor]:
    from nanodrr.camera import make_k_inv
    from nanodrr.data import Subject
    from nanodrr.drr import render

    subject = Subject.from_images(image, convert_to_mu=False).to(device)
    subject._image_hu = subject._image_hu.to(getattr(torch, contender.storage))
    side = case.pixels
    k_inv = make_k_inv(
        SOURCE_TO_DETECTOR, case.pitch, case.pitch, 0.0, 0.0, height=side, width=side
    )
    k_inv = k_inv.to(device).expand(case.views, -1, -1)
    distance = torch.full((case.views,), SOURCE_TO_DETECTOR, device=device)

    def project(poses: torch.Tensor) -> torch.Tensor:
        return render(subject, k_inv, poses, distance, side, side, n_samples=_SAMPLES)

    return (
        torch.compile(project) if contender.compiled else project,
        subject._image_hu,
    )


def _diffdrr(
    contender: Contender, case: Case, image: torchio.ScalarImage, device: torch.device
) -> tuple[Callable, torch.Tensor]:
    from diffdrr.drr import DRR
    from diffdrr.pose import RigidTransform

    subject = torchio.Subject(
        volume=image,
        density=image,
        mask=None,
        orientation="AP",
        reorient=torch.eye(4),
        fiducials=None,
    )
    drr = DRR(
        subject,
        SOURCE_TO_DETECTOR,
        case.pixels,
        case.pitch,
        renderer=contender.renderer,
        compile_renderer=contender.compiled,
    ).to(device)
    axes = _TO_DIFFDRR.to(device)
    points = {"n_points": _SAMPLES} if contender.renderer == "trilinear" else {}

    def project(poses: torch.Tensor) -> torch.Tensor:
        return drr(RigidTransform(poses @ axes), **points)

    return project, drr.get_buffer("density")


def _generators() -> torch.Tensor:
    """(6, 4, 4): rotations about x, y, z in radians, then translations in mm."""
    generators = torch.zeros(6, 4, 4)
    for k in range(3):
        a, b = (k + 1) % 3, (k + 2) % 3
        generators[k, b, a], generators[k, a, b] = 1, -1
        generators[k + 3, k, 3] = 1
    return generators
