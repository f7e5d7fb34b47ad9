"""No module imports from a layer above its own."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "synthex_jax"
LAYERS = [
    {"typing", "numerics", "checks", "files", "nouns", "_version"},
    {"geometry"},
    {"volumes", "phantoms", "physics", "tools"},
    {"projectors", "scatter"},
    {
        "scene",
        "simulation",
        "rendering",
        "exposure",
        "processing",
        "annotations",
        "radiographs",
    },
    {"sampling", "augment", "models", "losses", "metrics"},
    {"synthesis", "training", "adaptation", "registration"},
    {"viz", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def imported(path: pathlib.Path) -> set[str]:
    """First-level modules of the package that a file imports, at any depth of code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by full name"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in dotted:
            package, _, rest = name.partition(".")
            if package == "synthex_jax" and rest:
                found.add(rest.split(".")[0])
    return found & LEVEL.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    above = {name for name in imported(path) if LEVEL[name] > LEVEL[own]}
    assert not above, f"{own} (layer {LEVEL[own]}) imports {above}"
