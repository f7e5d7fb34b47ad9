"""The recipes of the SyntheX paper's three data sets.

Gao et al. 2022 (arXiv 2206.06127, version 1), section 5.3. Poses are those of
``sampling.named``, which says what of them is the paper's; image sizes and pixels are
those of its tables. The paper does not state spectrum, photons and scatter: the default
is ``realistic`` with kernel scatter at 90 kVp and 4 mm of aluminum, DeepDRR's spectrum
of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synthex_jax.geometry.carm import CArm
from synthex_jax.sampling import named
from synthex_jax.sampling.distributions import Uniform
from synthex_jax.sampling.tools import BentManipulator, ToolSampler
from synthex_jax.sampling.views import ViewSampler
from synthex_jax.scatter.kernel import KernelScatter
from synthex_jax.simulation import Simulation, realistic
from synthex_jax.synthesis.intensities import Attenuation, Intensities
from synthex_jax.synthesis.recipe import Recipe
from synthex_jax.tools.continuum import ContinuumManipulator
from synthex_jax.typing import ArrayLike
from synthex_jax.volumes.tissues import Tissues

# Pixels left out on each side of the panel's 1536: the rim of real images.
_RIM = 50

# Quanta a pixel of 0.776 mm behind the body: fluoroscopy of 20 to 300 in 0.4 mm, taken
# at its middle, times the area.
_QUANTA = 500.0


def hip(
    *,
    views: ViewSampler | None = None,
    simulation: Simulation | None = None,
    quanta: ArrayLike | None = _QUANTA,
    size: int = 360,
    anchor: Sequence[str] = ("FH-l", "FH-r"),
    least_visible: int = 1,
    intensities: Intensities = Attenuation(),
) -> Recipe:
    """Hip images: bones and 14 landmarks, for scenes with ``HIP_STRUCTURES``.

    The panel of the Cios Fusion less 50 pixels on each side, as the paper crops it, in
    ``size`` pixels a side: 180, 360 or 480 there.

    Args:
        views: by default the paper's, ``named.hip_views``.
        simulation: by default realistic with kernel scatter.
        quanta: a pixel behind the body, which set the noise; None for no noise.
        size: pixels a side.
        anchor: landmarks whose middle views are about: the femoral heads, wherever a CT
            ends; none for the middle of the body. (The paper turns the CT about a
            point that it does not name.)
        least_visible: landmarks that every image shows. (The paper does not say
            whether it kept empty images.)
        intensities: what image is kept.

    Raises:
        ValueError: as ``Recipe.create``.
    """
    return Recipe.create(
        "hip",
        carm=cropped_cios(size),
        views=named.hip_views() if views is None else views,
        simulation=_realistic() if simulation is None else simulation,
        quanta=quanta,
        anchor=anchor,
        least_visible=least_visible,
        intensities=intensities,
    )


def tool(
    *,
    views: ViewSampler | None = None,
    tools: Sequence[ToolSampler] | None = None,
    simulation: Simulation | None = None,
    quanta: ArrayLike | None = _QUANTA,
    size: int = 480,
    anchor: Sequence[str] = ("FH-l",),
    intensities: Intensities = Attenuation(),
) -> Recipe:
    """Tool images: a continuum manipulator before the anatomy of a hip.

    The mask shows its notched body, the landmarks its base and tip.

    Args:
        views: by default the paper's, ``named.tool_views``.
        tools: by default the manipulator with the paper's bends and places.
        simulation: by default realistic with kernel scatter.
        quanta: a pixel behind the body, which set the noise; None for no noise.
        size: pixels a side, 480 in the paper.
        anchor: landmarks about whose middle tool and view are placed; none for the
            middle of the body. (The paper does not say; the device was made for the
            femoral head.)
        intensities: what image is kept.

    Raises:
        ValueError: as ``Recipe.create``.
    """
    if tools is None:
        device = ContinuumManipulator.create()
        tools = (BentManipulator(device, named.tool_placement()),)
    return Recipe.create(
        "tool",
        carm=cropped_cios(size),
        views=named.tool_views() if views is None else views,
        simulation=_realistic() if simulation is None else simulation,
        quanta=quanta,
        tools=tuple(tools),
        anchor=anchor,
        intensities=intensities,
    )


def chest(
    *,
    views: ViewSampler | None = None,
    simulation: Simulation | None = None,
    quanta: ArrayLike | None = _QUANTA,
    size: int = 224,
    shear: float = 30.0,
    intensities: Intensities = Attenuation(),
) -> Recipe:
    """Chest images with lesions: for scenes whose one structure is the lesion.

    Args:
        views: by default the paper's, ``named.chest_views``.
        simulation: by default realistic with kernel scatter.
        quanta: a pixel behind the body, which set the noise; None for no noise.
        size: pixels a side, 224 in the paper.
        shear: degrees; each axis leans by up to so much, uniformly, 30 in the paper.
        intensities: what image is kept.

    Raises:
        ValueError: as ``Recipe.create``.
    """
    return Recipe.create(
        "chest",
        carm=named.chest_carm().resized((size, size)),
        views=named.chest_views() if views is None else views,
        simulation=_realistic() if simulation is None else simulation,
        quanta=quanta,
        shear=Uniform.degrees(-shear, shear) if shear else None,
        intensities=intensities,
    )


def cropped_cios(size: int) -> CArm:
    """The Cios Fusion without the rim of its panel, ``size`` pixels a side."""
    full = CArm.cios_fusion()
    side = full.shape[0] - 2 * _RIM
    return replace(full, shape=(side, side)).resized((size, size))


def _realistic() -> Simulation:
    tissues = Tissues.create()
    return realistic(tissues=tissues, scatter=KernelScatter())
