"""What the examples in docstrings show is what they give."""

import doctest
import importlib
from pathlib import Path

import pytest

import retorno

HOME = Path(retorno.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def with_examples() -> list[str]:
    """The modules that have some."""
    files = (path for path in sorted(HOME.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8"))
    return [".".join(file.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__") for file in files]


@pytest.mark.parametrize("module", with_examples())
def test_examples_give_what_they_show(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert found.attempted and not found.failed


def test_an_example_that_shows_something_else_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "wrong.txt"
    file.write_text(">>> 1 + 1\n3\n")
    assert doctest.testfile(str(file), module_relative=False, optionflags=FLAGS).failed
