"""Models from anywhere, and back: files, and the arrays of other libraries.

| from | read | written |
|---|---|---|
| a file: .json, .yaml, .npz, PRISM's and Storm's .tra | `load` | `save` |
| recorded transitions: .csv | `load`, `recorded.estimate` | |
| our own compressed rows | `from_rows` | the fields of `MDP` |
| a matrix for each action, dense or sparse (pymdptoolbox) | `from_matrices` | `to_matrices` |
| QuantEcon's `DiscreteDP` | `from_quantecon` | `to_quantecon` |
| mdpsolver's lists | `from_mdpsolver` | `to_mdpsolver` |
| Gymnasium's `P` | `from_gymnasium` | `to_gymnasium` |
| a dictionary | `retorno.core.mdp.mdp` | |

Every model is checked; a bad one gets a `ModelError` that names the file, the line or the state and
the action.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from retorno.core.mdp import MDP, ModelError
from retorno.core.memory import ensure_fits
from retorno.environments.formats import document, explicit, npz, recorded
from retorno.environments.formats.arrays import absorbing, from_matrices, from_rows, to_matrices
from retorno.environments.formats.peers import (
    from_gymnasium,
    from_mdpsolver,
    from_quantecon,
    to_gymnasium,
    to_mdpsolver,
    to_quantecon,
)


class Format(NamedTuple):
    """How files with a suffix are read and written."""

    read: Callable[[Path], MDP]
    write: Callable[[MDP, Path], None] | None


FORMATS = {
    ".json": Format(document.read_json, document.write_json),
    ".yaml": Format(document.read_yaml, document.write_yaml),
    ".yml": Format(document.read_yaml, document.write_yaml),
    ".npz": Format(npz.read, npz.write),
    ".tra": Format(explicit.read, explicit.write),
    ".csv": Format(recorded.read, None),
}

WRITTEN = ", ".join(suffix for suffix, format in FORMATS.items() if format.write is not None)


def is_model_file(name: str | Path) -> bool:
    """Whether a name ends as the files of models do.

    Args:
        name: of a file.

    >>> is_model_file("lake.npz"), is_model_file("lake.txt")
    (True, False)
    """
    return Path(name).suffix.lower() in FORMATS


def load(path: str | Path) -> MDP:
    """The model in a file, by its suffix: .json, .yaml, .npz, .tra with what lies beside it, or .csv (transitions).

    Raises:
        ModelError: for an unknown suffix, and for any file that does not hold a whole model, with
            the file and the line, or the state and the action.
        OSError: when the file cannot be read.

    Args:
        path: of the file.

    Returns:
        The model, checked as a whole.
    """
    return _format(Path(path)).read(Path(path))


def save(model: MDP, path: str | Path) -> None:
    """Write a model into a file, by its suffix. It is written whole or not at all.

    .npz keeps everything to the bit, .json and .yaml too, as text; .tra keeps the values (see `explicit`).

    Raises:
        ModelError: for an unknown suffix, and for a model that the format cannot hold.
        OSError: when the file cannot be written.

    Args:
        model: what is written.
        path: of the file.

    >>> from retorno.environments.textbook.lecture import student
    >>> save(student(), "student.json")
    >>> load("student.json").state_names
    ('Facebook', 'C1', 'C2', 'C3', 'Sleep')
    """
    write = _format(Path(path)).write
    if write is None:
        raise ModelError(f"{path}: a table of transitions is read, not written; models are written as {WRITTEN}")
    write(model, Path(path))


def _format(path: Path) -> Format:
    if not is_model_file(path):
        beside = "; name the .tra file that it belongs to" if path.suffix in (".lab", ".sta", ".srew", ".trew") else ""
        raise ModelError(f"{path}: the suffix of a model's file is one of {', '.join(FORMATS)}{beside}")
    return FORMATS[path.suffix.lower()]


__all__ = [
    "FORMATS",
    "absorbing",
    "ensure_fits",
    "from_gymnasium",
    "from_matrices",
    "from_mdpsolver",
    "from_quantecon",
    "from_rows",
    "is_model_file",
    "load",
    "save",
    "to_gymnasium",
    "to_matrices",
    "to_mdpsolver",
    "to_quantecon",
]
