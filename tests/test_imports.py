"""Imports point downward only, and nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
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
    {"run", "labels"},
    {"preferences", "language"},
    {"plots"},
    {"web"},
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
        and path.name != "__main__.py"
        and not path.stem.endswith("kernels")
    ]
    assert len(modules) > 30
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
    code += f"print(*(name for name in {HEAVY} if name in sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


def test_what_is_imported_is_declared() -> None:
    """By the package that brings it, among the dependencies or the extras."""
    project = tomllib.loads((HOME.parent / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    declared = {re.split(r"[^\w-]", each)[0].lower() for each in asked}
    brings = packages_distributions()
    for path in sorted(HOME.rglob("*.py")):
        for name in third_party(path.read_text()):
            assert {each.lower() for each in brings.get(name, [name])} & declared, f"{path} imports {name}"


def third_party(source: str) -> Iterator[str]:
    """The packages of others that a module's source names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        else:
            paths = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names = {path.split(".")[0] for path in paths}
        yield from names - sys.stdlib_module_names - {"retorno"}
