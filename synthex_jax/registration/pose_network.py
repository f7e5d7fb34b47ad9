"""PoseNetwork: where a registration starts, by a network that knows one patient.

``pose_training.train_pose_network`` makes it of a CT; ``predict`` takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synthex_jax.checks import is_concrete, require, require_finite, require_shape
from synthex_jax.files import existing, naming, written_whole
from synthex_jax.geometry.camera import Camera
from synthex_jax.geometry.transform import RigidTransform
from synthex_jax.models.pose_regressor import pose_regressor_of
from synthex_jax.nouns import noun
from synthex_jax.numerics import product
from synthex_jax.registration.pyramid import binned
from synthex_jax.registration.search import Search
from synthex_jax.typing import Image, Matrix6, Scalar, Twist, Vector3

# Of what ``write_pose_network`` writes; another number is not read.
_FORMAT = 1


@noun
@dataclass(frozen=True)
class PoseEstimate:
    """A pose, and how sure it is.

    Attributes:
        camera: the pose found, at the full resolution of the radiograph.
        covariance: (6, 6), as ``Registration.covariance``: the true camera is
            ``camera.moved(twist, about=body.center)`` with a twist of mean zero and
            this covariance.
    """

    camera: Camera
    covariance: Matrix6

    def search(self, *, starts: int = 8, kept: int = 2) -> Search:
        """The global stage of a registration, as wide as the estimate is unsure.

        On the host, since a search's spreads are numbers.
        """
        variances = np.diag(np.asarray(self.covariance))
        return Search.create(
            rotation=float(np.sqrt(variances[:3].mean())),
            translation=float(np.sqrt(variances[3:].mean())),
            starts=starts,
            kept=kept,
        )


@noun
@dataclass(frozen=True)
class PoseNetwork:
    """A trained network, and what its numbers mean.

    Attributes:
        weights: the parameters of ``PoseRegressor`` by name.
        nominal: the radiograph's camera, at the pose about which it was trained.
        center: (3,), world mm, of the body, about which twists turn.
        spread: (6,), standard deviation of the twists of training: radians, then mm.
        temperature: (), by which standard deviations are multiplied, so that they are
            right on renderings that were held out.
        factor: how many pixels along each side are averaged into one; static.
        widths: of ``PoseRegressor``, static.
        hidden: of ``PoseRegressor``, static.
    """

    weights: dict[str, Array]
    nominal: Camera
    center: Vector3
    spread: Twist
    temperature: Scalar
    factor: int = field(metadata={"static": True})
    widths: tuple[int, ...] = field(metadata={"static": True})
    hidden: int = field(metadata={"static": True})

    @property
    def camera(self) -> Camera:
        """The nominal camera in the network's own, larger pixels."""
        rows, cols = (n // self.factor for n in self.nominal.shape)
        whole = (rows * self.factor, cols * self.factor)
        return self.nominal.cropped((0, 0), whole).binned(self.factor)

    def predict(
        self, fixed: Image, *, weights: Float[Array, "_ _"] | None = None
    ) -> PoseEstimate:
        """The pose that a radiograph shows.

        Args:
            fixed: (rows, cols), attenuation (``log_image``), up to a positive gain and
                an offset, of the nominal camera's shape.
            weights: (rows, cols), not negative; 0 where pixels do not count, as behind
                collimators and tools.

        Raises:
            ValueError: for images of another shape, that are not finite or constant.
        """
        fixed = jnp.asarray(fixed, float)
        if weights is None:
            weights = jnp.ones_like(fixed)
        weights = jnp.asarray(weights, float)
        self._require(fixed, weights)
        return _predicted(self, fixed, weights)

    def _require(self, fixed: Image, weights: Float[Array, "_ _"]) -> None:
        require(
            fixed.shape == self.nominal.shape,
            f"fixed must have the shape of the nominal camera, {self.nominal.shape}, "
            f"got {fixed.shape}; another device takes a network of its own",
        )
        require_shape("weights", weights, fixed.shape)
        require_finite("fixed", fixed)
        if not is_concrete(fixed, weights):
            return
        require(bool(np.all(np.asarray(weights) >= 0)), "weights must not be negative")
        counted = np.asarray(fixed)[np.asarray(weights) > 0]
        require(
            counted.size > 0 and bool(np.ptp(counted) > 0),
            "fixed must show something where weights are above zero, but it is "
            "constant there",
        )


def estimates(
    network: PoseNetwork, images: Float[Array, "batch rows cols"]
) -> PoseEstimate:
    """A batch, of images and cameras in the network's own pixels.

    Args:
        network: trained or not.
        images: (batch, rows, cols), attenuation, all pixels counting.

    Returns:
        With leaves of (batch, ...).
    """
    camera = network.camera
    regressor = pose_regressor_of(
        camera.shape, network.widths, network.hidden, network.weights
    )
    twists, factors = regressor(images[..., None])
    moved = lambda twist: camera.moved(twist, about=network.center)
    cameras = jax.vmap(moved)(network.spread * twists)
    roots = (network.temperature * network.spread)[:, None] * factors
    return PoseEstimate(cameras, product(roots, jnp.swapaxes(roots, -1, -2)))


def residual_twist(estimate: Camera, truth: Camera, center: Vector3) -> Twist:
    """The twist about a center that takes one camera to another.

    ``estimate.moved(residual_twist(estimate, truth, center), about=center)`` is
    ``truth``.
    """
    motion = truth.world_from_camera @ estimate.world_from_camera.inverse
    shift = motion.apply(center) - center
    return RigidTransform(motion.rotation, shift).twist


def write_pose_network(path: str | Path, network: PoseNetwork) -> None:
    """Write a network to a plain ``.npz`` file, whole or not at all.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: for a name that does not end in ``.npz``.
    """
    require(
        Path(path).suffix == ".npz", f"path must end in .npz, which it is, got {path}"
    )
    camera = network.nominal
    arrays = {f"weights/{name}": value for name, value in network.weights.items()}
    arrays |= {
        "format": np.asarray(_FORMAT),
        "world_from_camera": camera.world_from_camera.matrix,
        "source_to_detector": camera.source_to_detector,
        "pitch": camera.pitch,
        "principal_point": camera.principal_point,
        "skew": camera.skew,
        "shape": np.asarray(camera.shape),
        "center": network.center,
        "spread": network.spread,
        "temperature": network.temperature,
        "factor": np.asarray(network.factor),
        "widths": np.asarray(network.widths),
        "hidden": np.asarray(network.hidden),
    }
    with written_whole(path) as temporary:
        np.savez(
            temporary,
            allow_pickle=False,
            **{name: np.asarray(value) for name, value in arrays.items()},
        )


def read_pose_network(path: str | Path) -> PoseNetwork:
    """Read what ``write_pose_network`` wrote.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for a file of something else, or that is not whole.
    """
    found = existing(path, "a network that write_pose_network wrote")
    with naming(path):
        try:
            with open(found, "rb") as stream:
                file = np.load(stream, allow_pickle=False)
                arrays = dict(file) if isinstance(file, np.lib.npyio.NpzFile) else {}
        except (BadZipFile, EOFError, OSError, ValueError) as error:
            raise ValueError(f"must be a whole .npz file: {error}") from error
        return _network(arrays)


def _network(arrays: dict[str, np.ndarray]) -> PoseNetwork:
    numbers = ("format", "factor", "widths", "hidden", "shape")
    floats = ("world_from_camera", "source_to_detector", "pitch", "principal_point")
    floats += ("skew", "center", "spread", "temperature")
    missing = [name for name in (*numbers, *floats) if name not in arrays]
    require(
        not missing,
        f"must be a file that write_pose_network wrote; it lacks {missing}",
    )
    require(
        int(arrays["format"]) == _FORMAT,
        f"must be of format {_FORMAT}, is of {int(arrays['format'])}; train it anew",
    )
    given = {name: jnp.asarray(arrays[name], float) for name in floats}
    rows, cols = arrays["shape"].tolist()
    nominal = Camera.create(
        RigidTransform.from_matrix(given["world_from_camera"]),
        source_to_detector=given["source_to_detector"],
        pitch=given["pitch"],
        shape=(rows, cols),
        principal_point=given["principal_point"],
        skew=given["skew"],
    )
    weights = {
        name.removeprefix("weights/"): jnp.asarray(value)
        for name, value in arrays.items()
        if name.startswith("weights/")
    }
    network = PoseNetwork(
        weights=weights,
        nominal=nominal,
        center=given["center"],
        spread=given["spread"],
        temperature=given["temperature"],
        factor=int(arrays["factor"]),
        widths=tuple(arrays["widths"].tolist()),
        hidden=int(arrays["hidden"]),
    )
    pose_regressor_of(network.camera.shape, network.widths, network.hidden, weights)
    return network


@jax.jit
def _predicted(network: PoseNetwork, fixed: Image, weights: Image) -> PoseEstimate:
    small, weight = binned(fixed, weights, network.factor)
    mean = jnp.sum(weight * small) / jnp.sum(weight)
    filled = jnp.where(weight > 0, small, mean)
    found = jax.tree.map(lambda leaf: leaf[0], estimates(network, filled[None]))
    full = replace(network.nominal, world_from_camera=found.camera.world_from_camera)
    return replace(found, camera=full)
