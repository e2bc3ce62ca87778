"""What a command asks about: a model by its name, in a file, or made by code of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from retorno.bellman.matrix_free import MatrixFree
from retorno.cli.options import UsageError
from retorno.cli.terminal import note
from retorno.core.mdp import MDP, mdp
from retorno.environments.formats import Loaded, Reading, is_model_file, read
from retorno.environments.formats.reading import ending
from retorno.environments.own_code import attribute, guarded
from retorno.environments.registry import as_model, is_native, model


def loaded(name: str, how: Reading, settings: Mapping[str, Any] | None = None) -> Loaded | MatrixFree:
    """The model of a name, of a file, or NAME of a Python file, read as it is asked; what its file tells is noted.

    Args:
        name: what is asked about.
        how: how its file is read.
        settings: what it is made with.

    Raises:
        UsageError: as `opened`, and when something is asked that only a file has an answer to.
        ValueError: as `opened`.
    """
    if is_model_file(name):
        if settings:
            raise UsageError(f"--world.{next(iter(settings))} is what a world is made with, and {name} is a file")
        found = read(name, how)
    else:
        made = opened(name, settings or {})
        how.refuse(("terminal",), f"is for a model's file, got {name}")
        if isinstance(made, MatrixFree):
            how.refuse((), f"is for a model that is stored, got {name}")
            return made
        found = Loaded(made) if how.terminal is None else ending(made, how.terminal)
    for told in found.notes:
        note(f"{Path(name).name}: {told}")
    return found


def opened(name: str, settings: Mapping[str, Any]) -> MDP | MatrixFree:
    """The model of a name, of a file, or NAME of a Python file or module: FILE.py:NAME, MODULE:NAME.

    What the name stands for there is a model, a dictionary that describes one, a model that is not stored, or
    a function that makes one of these, with nothing but the settings.

    Raises:
        UsageError: when what it stands for is no model.
        OwnCodeError: when the file fails, with its line, or has no such name.
        ValueError: as `retorno.environments.registry.model`.
    """
    if name.endswith(".py"):
        raise UsageError(f"which model in {name}? Name it: {name}:NAME")
    if ":" not in name:
        return model(name, **settings)
    made = attribute(name, "model")
    if callable(made):
        made = guarded(name.rpartition(":")[0], partial(made, **settings), "model")
    elif settings:
        raise UsageError(f"--world.{next(iter(settings))}: {name} is made already, and takes no settings")
    if isinstance(made, dict):
        made = mdp(made)
    if is_native(made):
        return as_model(made)
    if not isinstance(made, MDP | MatrixFree):
        raise UsageError(
            f"{name} is a {type(made).__name__}: expected an MDP, a dictionary, a MatrixFree, a game, or "
            "a function that makes one"
        )
    return made
