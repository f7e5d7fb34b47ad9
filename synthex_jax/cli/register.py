"""``synthex register``: where a radiograph was taken from, to files."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from synthex_jax.cli.arguments import CtName, instead

if TYPE_CHECKING:
    from synthex_jax.cli.start import Setup
    from synthex_jax.geometry.camera import Camera
    from synthex_jax.radiographs.acquisition import Acquisition
    from synthex_jax.radiographs.radiograph import Radiograph
    from synthex_jax.radiographs.values import Values
    from synthex_jax.registration.search import Search
    from synthex_jax.registration.similarity import Similarity
    from synthex_jax.volumes.volume import Volume

_NOT_A_POSE = 1
_SEARCH_ROTATION, _SEARCH_TRANSLATION = 30.0, 60.0


@dataclass(frozen=True)
class Register:
    """Find the pose a radiograph of a CT was taken from: angles in degrees, mm.

    The start is what XRAY tells (DICOM angles, the matrices of an .npz), --view or
    angles, or --landmarks-3d and --landmarks-2d. The exit code is 1 if no pose is
    found.
    """

    ct: CtName
    xray: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="XRAY")]
    """Radiograph: gray .png or .tif, DICOM, .npy, or .npz of "synthex render"."""
    out: Annotated[
        Path | None, tyro.conf.arg(aliases=["-o"]), instead("FOLDER", "XRAY_pose")
    ] = None
    """Folder of the results; made if it is not there."""
    values: Annotated[
        Literal["bone-bright", "bone-dark", "transmission"] | None,
        instead("{bone-bright,bone-dark,transmission}", "DICOM's, else bone-bright"),
    ] = None
    """What pixel values are. Bone-bright, bone-dark: attenuation, or a picture of it.
    Transmission: readings in proportion to what arrived, without a logarithm."""
    frame: Annotated[int | None, instead("N", "the only one")] = None
    """Of a DICOM run, counted from 1."""
    flip: bool = False
    """XRAY is mirrored left to right, as a film may be hung. DICOM says so itself if
    it tells the view."""
    mask: Annotated[Path | None, instead("FILE", "the field of view")] = None
    """Picture or array of XRAY's size, 0 where pixels do not count: tools, text."""
    device: Annotated[
        Literal["generic", "cios-fusion", "loop-x"] | None,
        instead("{generic,cios-fusion,loop-x}", "XRAY's"),
    ] = None
    """The C-arm: its detector and distances."""
    pitch: Annotated[float | None, instead("MM", "XRAY's or the device's")] = None
    """Of a pixel, on the detector."""
    source_to_detector: Annotated[
        float | None, instead("MM", "XRAY's or the device's")
    ] = None
    """Distance from the source to the detector."""
    source_to_isocenter: Annotated[
        float | None, instead("MM", "XRAY's or the device's")
    ] = None
    """Distance from the source to what the C-arm turns about."""
    view: Annotated[
        Literal["ap", "pa", "left-lateral", "right-lateral"] | None,
        instead("{ap,pa,left-lateral,right-lateral}", "XRAY's"),
    ] = None
    """Start at a view by name."""
    orbital: Annotated[float | None, instead("DEG", "XRAY's")] = None
    """Of the start, about the patient's long axis; positive turns the source to the
    patient's left. With one angle given, the others are 0."""
    angular: Annotated[float | None, instead("DEG", "XRAY's")] = None
    """Of the start, about the left-right axis; positive turns the source headwards."""
    roll: Annotated[float | None, instead("DEG", "XRAY's")] = None
    """Of the start, of the detector about the central ray."""
    isocenter: Annotated[
        tuple[float, float, float] | None, instead("X Y Z", "the volume's center")
    ] = None
    """Of the start: where the C-arm turns about, world mm (RAS+)."""
    landmarks_3d: Annotated[Path | None, instead("FILE", "none")] = None
    """Points in the CT: .fcsv or .mrk.json of 3D Slicer, .csv (name,x,y,z in RAS)."""
    landmarks_2d: Annotated[Path | None, instead("FILE", "none")] = None
    """The same points in XRAY: .csv (name,row,column), pixels counted from 0."""
    search: bool = False
    """Search all around the start first, for starts that are far off."""
    search_rotation: Annotated[
        float | None, instead("DEG", f"{_SEARCH_ROTATION:g}")
    ] = None
    """Standard deviation of the search about each axis."""
    search_translation: Annotated[
        float | None, instead("MM", f"{_SEARCH_TRANSLATION:g}")
    ] = None
    """Standard deviation of the search along each axis."""
    similarity: Literal[
        "correlation-ratio",
        "gradient-ncc",
        "ncc",
        "patch-ncc",
        "multiscale-ncc",
        "gradient-orientation",
        "mutual-information",
    ] = "correlation-ratio"
    """What is maximized. Correlation ratio: edges, their contrast fitted, against
    scatter and curves of gray values; gradients: edges; patches: against tools in the
    image; mutual information: against any change of gray values."""
    animate: bool = False
    """Write the way there as run.gif too."""
    debug: bool = False
    """Show where in the program an error arose."""

    def run(self) -> int:
        """Register, write and say what was found; returns the exit code."""
        from rich.console import Console

        from synthex_jax.cli import sources
        from synthex_jax.cli.poses import (
            described,
            is_pose,
            result,
            write_pictures,
            write_pose,
        )
        from synthex_jax.registration.register import register

        # Whatever can be wrong without reading the CT is found first.
        out, setup, search = self._folder(), self._setup(), self._search()
        radiograph, told = self._radiograph(setup)
        detector = setup.detector(str(self.xray), radiograph, told)
        landmarks = self._landmarks()
        if landmarks is None:
            setup.require_pose(str(self.xray), radiograph, told)
        console = Console(stderr=True)
        began = time.perf_counter()
        with console.status(f"reading {self.ct}"):
            ct = sources.read_ct(self.ct)
            body = ct.attenuation()
        start, radiograph, line = self._start(
            setup, detector, radiograph, told, landmarks, ct
        )
        print(described(self.xray, radiograph, start))
        print(line)
        read = time.perf_counter()
        with console.status("registering"):
            found = register(
                radiograph.image,
                body,
                start,
                similarity=self._similarity(),
                weights=radiograph.weights,
                search=search,
            )
            found.similarity.block_until_ready()
        registered = time.perf_counter()
        print(result(found, self.similarity))
        out.mkdir(exist_ok=True)
        write_pose(
            out / "pose.json",
            found,
            center=body.center,
            mirrored=radiograph.mirrored,
            options=asdict(self),
        )
        with console.status("drawing"):
            pictures = write_pictures(
                out, radiograph, body, found, animate=self.animate
            )
        print(f"{out}: {', '.join(['pose.json', *pictures])}")
        print(f"read in {read - began:.1f} s, registered in {registered - read:.1f} s")
        return 0 if is_pose(found) else _NOT_A_POSE

    # -- before the CT is read -------------------------------------------------------

    def _folder(self) -> Path:
        from synthex_jax.checks import require

        out = Path(f"{self.xray.stem}_pose") if self.out is None else self.out
        require(
            out.is_dir() or not out.exists(), f"--out must be a folder, {out} is a file"
        )
        if not out.parent.is_dir():
            raise FileNotFoundError(
                f"--out must lie in a folder that exists, {out.parent} does not; "
                "create it first"
            )
        return out

    def _setup(self) -> Setup:
        from synthex_jax.checks import require
        from synthex_jax.cli.start import Setup

        setup = Setup(
            device=self.device,
            pitch=self.pitch,
            source_to_detector=self.source_to_detector,
            source_to_isocenter=self.source_to_isocenter,
            view=self.view,
            orbital=self.orbital,
            angular=self.angular,
            roll=self.roll,
            isocenter=self.isocenter,
        )
        setup.require_consistent()
        require(
            (self.landmarks_3d is None) == (self.landmarks_2d is None),
            "--landmarks-3d and --landmarks-2d go together; give both",
        )
        require(
            self.landmarks_3d is None or not setup.has_angles,
            "the landmarks give the start; leave out --view and the angles",
        )
        return setup

    def _search(self) -> Search | None:
        import numpy as np

        from synthex_jax.checks import require
        from synthex_jax.registration.search import Search

        spreads = (self.search_rotation, self.search_translation)
        require(
            self.search or spreads == (None, None),
            "--search-rotation and --search-translation say how far --search goes; "
            "give it too",
        )
        rotation, translation = (
            default if given is None else given
            for given, default in zip(
                spreads, (_SEARCH_ROTATION, _SEARCH_TRANSLATION), strict=True
            )
        )
        if not self.search:
            return None
        return Search.create(
            rotation=float(np.deg2rad(rotation)), translation=translation
        )

    def _values(self) -> Values | None:
        from synthex_jax.radiographs.values import BoneBright, BoneDark, Transmission

        # Whole numbers end at 1; arrays have no end.
        is_array = self.xray.suffix.lower() in (".npy", ".npz")
        named = {
            "bone-bright": BoneBright(),
            "bone-dark": BoneDark(),
            "transmission": Transmission(saturation=None if is_array else 1.0),
        }
        return None if self.values is None else named[self.values]

    def _radiograph(self, setup: Setup) -> tuple[Radiograph, Acquisition]:
        """The image, and what its header and the options tell of the geometry."""
        import jax.numpy as jnp

        from synthex_jax.checks import require
        from synthex_jax.radiographs.radiograph import Radiograph
        from synthex_jax.radiographs.reader import (
            read_acquisition,
            read_radiograph,
            read_weights,
        )

        told = setup.completed(read_acquisition(self.xray))
        found = read_radiograph(
            self.xray,
            values=self._values(),
            frame=self.frame,
            # With angles given, the header's say nothing about mirroring either.
            acquisition=replace(told, angles=None) if setup.has_angles else told,
        )
        if self.mask is not None:
            weights = read_weights(self.mask)
            require(
                weights.shape == found.shape,
                f"--mask must have the shape of {self.xray}, {found.shape}, "
                f"{self.mask} has {weights.shape}",
            )
            found = Radiograph.create(
                found.image,
                weights=jnp.asarray(weights[:, ::-1] if found.mirrored else weights),
                camera=found.camera,
                mirrored=found.mirrored,
            )
        return found.flipped() if self.flip else found, told

    def _landmarks(self) -> tuple[dict, dict] | None:
        from synthex_jax.cli.start import matched, read_pixels
        from synthex_jax.volumes.landmark_files import read_landmarks

        if self.landmarks_3d is None or self.landmarks_2d is None:
            return None
        points, pixels = (
            read_landmarks(self.landmarks_3d),
            read_pixels(self.landmarks_2d),
        )
        matched(points, pixels)
        return points, pixels

    def _similarity(self) -> Similarity:
        from synthex_jax.registration.correlation_ratio import GradientCorrelationRatio
        from synthex_jax.registration.gradients import GradientNCC, GradientOrientation
        from synthex_jax.registration.information import MutualInformation
        from synthex_jax.registration.patches import MultiscaleNCC, PatchNCC
        from synthex_jax.registration.similarity import NCC

        make = {
            "correlation-ratio": GradientCorrelationRatio.create,
            "gradient-ncc": GradientNCC.create,
            "ncc": NCC,
            "patch-ncc": PatchNCC.create,
            "multiscale-ncc": MultiscaleNCC.create,
            "gradient-orientation": GradientOrientation.create,
            "mutual-information": MutualInformation.create,
        }
        return make[self.similarity]()

    # -- and after -------------------------------------------------------------------

    def _start(
        self,
        setup: Setup,
        detector: Camera,
        radiograph: Radiograph,
        told: Acquisition,
        landmarks: tuple[dict, dict] | None,
        ct: Volume,
    ) -> tuple[Camera, Radiograph, str]:
        from synthex_jax.cli.start import from_landmarks
        from synthex_jax.viz.orientation import view_name

        if landmarks is None:
            start, radiograph = setup.start(detector, radiograph, told, ct.center)
            source = "as asked" if setup.has_angles else f"as {self.xray} tells"
            return start, radiograph, f"start: {view_name(start)}, {source}"
        start, line = from_landmarks(*landmarks, detector, mirrored=radiograph.mirrored)
        return start, radiograph, line
