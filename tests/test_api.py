"""The front door itself: what a name promises by being public."""

import dataclasses
import inspect
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import synthex_jax as sx

PUBLIC = sorted(set(sx.__all__) - {"__version__"})

# What lives on the host: folders and what fills them, and the settings of optimizers.
HOST = {"Dataset", "SceneSource", "Search", "LevenbergMarquardt", "Adam"}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_loads_and_is_documented(name):
    thing = getattr(sx, name)
    assert inspect.getdoc(thing), f"sx.{name} has no docstring"


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'radiograhp'"):
        sx.radiograhp  # noqa: B018


def test_importing_loads_no_heavy_library():
    """Readers, plots and the command line load on first use."""
    heavy = ("matplotlib", "nibabel", "pydicom", "nrrd", "tyro", "rich", "PIL", "scipy")
    heavy += ("tensorstore", "trimesh", "h5py")
    code = (
        "import sys, synthex_jax\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    root = pathlib.Path(__file__).parents[1]
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    # jax itself loads some of scipy.
    assert loaded.stdout.strip() in ("[]", "['scipy']")


def nouns() -> dict[str, object]:
    volume = sx.Volume.from_array(jnp.zeros((3, 4, 5)), spacing=2.0)
    carm = sx.CArm.generic().resized((4, 6))
    wedge = sx.Wedge.create("Cu", full=1.0, offset=20.0)
    return {
        "Volume": volume,
        "CArm": carm,
        "Camera": carm.at(0.1, isocenter=volume.center),
        "RigidTransform": sx.RigidTransform.from_twist(jnp.arange(6) / 10),
        "Joseph": sx.Joseph(prefilter=True),
        "Siddon": sx.Siddon(),
        "Material": sx.material("water"),
        "Filter": sx.Filter("Al", 4.0),
        "Spectrum": sx.tungsten(90.0),
        "Composition": sx.Tissues.create().composition(volume),
        "Tissues": sx.Tissues.create(metal="titanium"),
        "Thresholds": sx.Thresholds.create(),
        "SingleMaterial": sx.SingleMaterial.create(),
        "Beam": sx.Beam.tungsten(80.0, photons=1e4, anode="top", shaped=[wedge]),
        "BowTie": sx.BowTie.create("Al", center=1.0, edge=4.0, half_width=90.0),
        "Wedge": wedge,
        "CircularCollimator": sx.CircularCollimator.create(90.0),
        "RectangularCollimator": sx.RectangularCollimator.create(90.0),
        "IrisCollimator": sx.IrisCollimator.create(90.0),
        "AntiscatterGrid": sx.AntiscatterGrid.typical(),
        "FlatPanel": sx.FlatPanel.csi(full_scale=1e6),
        "ImageIntensifier": sx.ImageIntensifier.create(diameter=230.0, full_scale=1e6),
        "IdealDetector": sx.IdealDetector.create(),
        "KernelScatter": sx.KernelScatter(),
        "SingleScatter": sx.SingleScatter(),
        "Simulation": sx.realistic(),
        "Structures": sx.Structures.create({"bone": [1, 2]}),
        "Landmarks": sx.Landmarks.create(["tip"], [[1.0, 2.0, 3.0]]),
        "Tool": sx.instruments.k_wire(),
        "Scene": sx.Scene.create(
            volume, landmarks={"tip": (1.0, 2.0, 3.0)}, tools=[sx.instruments.k_wire()]
        ),
        "NCC": sx.NCC(),
        "SSD": sx.SSD(),
        "PatchNCC": sx.PatchNCC.create(),
        "MultiscaleNCC": sx.MultiscaleNCC.create(),
        "GradientNCC": sx.GradientNCC(),
        "GradientOrientation": sx.GradientOrientation.create(),
        "GradientCorrelationRatio": sx.GradientCorrelationRatio(),
        "MutualInformation": sx.MutualInformation(),
    }


def test_every_noun_is_listed():
    classes = {n for n in PUBLIC if dataclasses.is_dataclass(getattr(sx, n))}
    assert classes - HOST == set(nouns())


@pytest.mark.parametrize("name", sorted(nouns()))
def test_nouns_are_frozen_pytrees(name):
    noun = nouns()[name]
    leaves, tree = jax.tree.flatten(noun)
    assert all(isinstance(leaf, jax.Array | float) for leaf in leaves)
    field = dataclasses.fields(noun)
    if field:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(noun, field[0].name, None)
    assert type(jax.tree.unflatten(tree, leaves)) is type(noun)


@pytest.mark.parametrize("name", sorted(nouns()))
def test_nouns_pass_through_transformations(name):
    noun = nouns()[name]
    back = jax.jit(lambda x: x)(noun)
    assert jax.tree.structure(back) == jax.tree.structure(noun)
    if not jax.tree.leaves(noun):
        return
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), noun)
    mapped = jax.vmap(lambda x: x)(twice)
    assert jax.tree.structure(mapped) == jax.tree.structure(noun)
    total = lambda x: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x))
    slope = jax.grad(total)(noun)
    assert jax.tree.structure(slope) == jax.tree.structure(noun)


@pytest.mark.parametrize("name", ["line_integrals", "render"])
def test_strategies_are_keyword_only(name):
    parameters = inspect.signature(getattr(sx, name)).parameters
    assert parameters["projector"].kind is inspect.Parameter.KEYWORD_ONLY
