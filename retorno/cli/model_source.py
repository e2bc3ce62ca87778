"""What a command asks about: a model by its name, in a file, or made by a Python file of the user's own.

Only a file that is named on the command line is run: nothing that a run or a model's file holds is.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from retorno.bellman.matrix_free import MatrixFree
from retorno.cli.options import UsageError
from retorno.cli.terminal import note
from retorno.core.mdp import MDP, mdp
from retorno.core.names import did_you_mean
from retorno.environments.formats import Loaded, Reading, is_model_file, read
from retorno.environments.formats.reading import ending
from retorno.environments.registry import model


def loaded(name: str, how: Reading) -> Loaded | MatrixFree:
    """The model of a name, of a file, or NAME of a Python file, read as it is asked; what its file tells is noted.

    Raises:
        UsageError: as `opened`, and when something is asked that only a file has an answer to.
        ValueError: as `opened`.
    """
    if is_model_file(name):
        found = read(name, how)
    else:
        made = opened(name)
        how.refuse(("terminal",), f"is for a model's file, got {name}")
        if isinstance(made, MatrixFree):
            how.refuse((), f"is for a model that is stored, got {name}")
            return made
        found = Loaded(made) if how.terminal is None else ending(made, how.terminal)
    for told in found.notes:
        note(f"{Path(name).name}: {told}")
    return found


def opened(name: str) -> MDP | MatrixFree:
    """The model of a name, of a file, or NAME of a Python file: FILE.py:NAME.

    What the name stands for there is a model, a dictionary that describes one, a model that is not stored, or
    a function without arguments that makes one of these.

    Raises:
        UsageError: when the file fails, with its line, or has no such name, or that is no model.
        ValueError: as `retorno.environments.registry.model`.
    """
    file, colon, _ = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        if name.endswith(".py"):
            raise UsageError(f"which model in {name}? Name it: {name}:NAME")
        return model(name)
    made = attribute(name, "model")
    if callable(made):
        made = _run(file, made)
    if isinstance(made, dict):
        made = mdp(made)
    if not isinstance(made, MDP | MatrixFree):
        raise UsageError(
            f"{name} is a {type(made).__name__}: expected an MDP, a dictionary, a MatrixFree, or a function "
            "without arguments that makes one"
        )
    return made


def attribute(path: str, what: str) -> Any:
    """What NAME stands for in a Python file: FILE.py:NAME.

    Raises:
        UsageError: when the file fails, with its line, or has no such name.
    """
    file, _, name = path.rpartition(":")
    found = vars(ran(file, what))
    if name not in found:
        raise UsageError(f"{file} defines no {name!r}{did_you_mean(name, found)}")
    return found[name]


def ran(file: str, what: str) -> ModuleType:
    """A Python file of the user's, after it has run: what it registers is known from now on.

    Raises:
        UsageError: when it fails, with its line.
    """
    return _run(file, lambda: _module(file), what)


def _module(file: str) -> ModuleType:
    """The file as a module, which finds those that lie beside it."""
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _run(file: str, call: Any, what: str = "model") -> Any:
    try:
        return call()
    except OSError:
        raise
    except SystemExit as stop:
        raise UsageError(f"{Path(file).name} ended itself ({stop.code}) before it made a {what}") from None
    except Exception as error:
        own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = getattr(error, "lineno", None) or (own[-1] if own else None)
        where = Path(file).name if line is None else f"{Path(file).name}, line {line}"
        raise UsageError(f"{where}: {type(error).__name__}: {error}") from None
