"""Imports point downward only, and nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import retorno

HOME = Path(retorno.__file__).parent
LAYERS = [
    {"core"},
    {"ops"},
    {"bellman", "networks", "environments"},
    {"models", "replay"},
    {"policies"},
    {"search"},
    {"algorithms"},
    {"run"},
    {"preferences", "language"},
    {"plots", "web"},
    {"figures"},
    {"cli"},
]
"""From the lowest to the highest; those on one layer do not import each other."""
HOMES = {
    alias.name: f"retorno.{node.module or alias.name}"
    for node in ast.parse((HOME / "__init__.pyi").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
"""Where the names of the package itself live."""
LAYER = {package: i for i, layer in enumerate(LAYERS) for package in layer}
HEAVY = ("matplotlib", "numba", "pygame", "torch", "scipy.optimize", "scipy.stats", "IPython", "pandas")


def imported(source: str) -> Iterator[str]:
    """The packages of retorno that a module's source names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                paths = [alias.name for alias in names]
            case ast.ImportFrom(module="retorno", names=names):
                paths = [HOMES.get(alias.name, f"retorno.{alias.name}") for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                paths = [module]
            case ast.ImportFrom():
                raise AssertionError("relative imports hide where they lead: write the whole path")
            case _:
                continue
        yield from (path.split(".")[1] for path in paths if path.startswith("retorno."))


def check_imports(package: str, source: str) -> None:
    for other in imported(source):
        assert other in (package, "__version__") or LAYER[other] < LAYER[package], f"{package} imports {other}"


PACKAGES = sorted(path.parent.name for path in HOME.glob("*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_downward(package: str) -> None:
    for path in sorted((HOME / package).rglob("*.py")):
        check_imports(package, path.read_text())


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("core", "from retorno.ops import returns"),
        ("bellman", "import retorno.environments.grids.gridworlds"),
        ("networks", "def f():\n    from retorno import algorithms"),
        ("algorithms", "from retorno.run.train import train"),
        ("run", "if x:\n    from retorno.plots import curves"),
        ("ops", "from .. import core"),
    ],
)
def test_an_import_that_points_upward_is_seen(package: str, source: str) -> None:
    with pytest.raises(AssertionError):
        check_imports(package, source)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    """Every module outside of plots, figures and the compiled kernels, in a fresh process."""
    modules = [
        ".".join(path.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(HOME.rglob("*.py"))
        if path.relative_to(HOME).parts[0] not in ("plots", "figures")
        and path.name not in ("__main__.py", "kernels.py")
    ]
    assert len(modules) > 30
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
    code += f"print(*(name for name in {HEAVY} if name in sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
