"""Models from anywhere, and back: files, and the arrays of other libraries.

| from | read | written |
|---|---|---|
| a file: .json, .yaml, .npz, PRISM's and Storm's .tra | `load` | `save` |
| Storm's .drn, Cassandra's .POMDP | `load` | |
| recorded transitions: .csv, .tsv | `load`, `recorded.estimate` | |
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

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from retorno.core.mdp import MDP, ModelError, ProbabilitySumError
from retorno.core.memory import ensure_fits
from retorno.core.names import did_you_mean
from retorno.environments.formats import document, drn, explicit, npz, pomdp, recorded
from retorno.environments.formats.arrays import absorbing, from_matrices, from_rows, to_matrices
from retorno.environments.formats.files import naming
from retorno.environments.formats.peers import (
    from_gymnasium,
    from_mdpsolver,
    from_quantecon,
    to_gymnasium,
    to_mdpsolver,
    to_quantecon,
)
from retorno.environments.formats.reading import ROUNDED, USUAL, Loaded, ModelWarning, Reading, ending
from retorno.environments.formats.reward_structures import SUFFIXES


class Format(NamedTuple):
    """How files with a suffix are read and written."""

    read: Callable[[Path, Reading], Loaded]
    write: Callable[[MDP, Path], None] | None
    options: tuple[str, ...] = ("terminal", "normalise")
    """The parts of a `Reading` that they have an answer to."""


_RECORDED = Format(recorded.read, None, ("terminal", "columns", "prior", "unseen"))
_CASSANDRA = Format(pomdp.read, None)
FORMATS = {
    ".json": Format(document.read_json, document.write_json),
    ".yaml": Format(document.read_yaml, document.write_yaml),
    ".yml": Format(document.read_yaml, document.write_yaml),
    ".npz": Format(npz.read, npz.write),
    ".tra": Format(explicit.read, explicit.write, ("reward", "terminal", "normalise")),
    ".drn": Format(drn.read, None, ("reward", "terminal", "normalise")),
    ".pomdp": _CASSANDRA,
    ".mdp": _CASSANDRA,
    ".csv": _RECORDED,
    ".tsv": _RECORDED,
}
BESIDE = (".lab", ".sta", *SUFFIXES)
"""How the files end that lie beside a .tra file."""
_LANGUAGE = "a model in PRISM's language: export its states (prism MODEL -exportmodel OUT.all, or storm --exportbuild)"
FOREIGN = {
    **dict.fromkeys((".prism", ".pm", ".nm", ".sm", ".pp", ".pta"), _LANGUAGE),
    ".jani": "a JANI model: export its states (storm --jani MODEL --exportbuild OUT.drn)",
    ".pomdpx": "an XML model with factored variables, which is not read: convert it to .POMDP",
    ".rddl": "a lifted model, which is not read: retorno's models list their states",
    ".ppddl": "a lifted model, which is not read: retorno's models list their states",
    ".pddl": "a lifted model, which is not read: retorno's models list their states",
    ".parquet": "a table that is not read: save it as .csv",
    ".feather": "a table that is not read: save it as .csv",
    ".xlsx": "a table that is not read: save it as .csv",
    ".pkl": "a pickle, which can run any code and is never opened: save the model as .npz",
    ".pickle": "a pickle, which can run any code and is never opened: save the model as .npz",
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst"), "packed: unpack it first, and what lies beside it"),
    ".mat": "MATLAB's arrays: read them with scipy.io.loadmat and pass them to from_matrices",
}
"""Files that people have and retorno does not read, with the way from them."""

WRITTEN = ", ".join(suffix for suffix, format in FORMATS.items() if format.write is not None)


def is_model_file(name: str | Path) -> bool:
    """Whether a name ends as the files of models do, those among them that `load` can only say a word about.

    Args:
        name: of a file.

    >>> is_model_file("lake.npz"), is_model_file("lake.txt")
    (True, False)
    """
    low = Path(name).name.lower()
    return Path(low).suffix in (*FORMATS, *FOREIGN) or low.endswith(BESIDE)


def load(path: str | Path, **settings: Any) -> MDP:
    """The model in a file, by its suffix: .json, .yaml, .npz, .tra with what lies beside it, .drn, .POMDP, or .csv.

    What the file says and the model does not is told as a `ModelWarning`, and that it has no reward.

    Raises:
        ModelError: for an unknown suffix, and for any file that does not hold a whole model, with
            the file and the line, or the state and the action.
        OSError: when the file cannot be read.

    Args:
        path: of the file.
        settings: the fields of `Reading`: `reward="time"`, `terminal="goal"`, `normalise=True`, ….

    Returns:
        The model, checked as a whole.
    """
    if "reward" in settings:
        asked = settings["reward"]
        settings["reward"] = tuple(map(str, asked)) if isinstance(asked, list | tuple) else (str(asked),)
    loaded = read(path, Reading(**settings))
    for note in loaded.notes:
        warnings.warn(f"{path}: {note}", ModelWarning, stacklevel=2)
    if not loaded.model.reward.any():
        warnings.warn(f"{path}: no reward was found, in it or beside it: every value is 0", ModelWarning, stacklevel=2)
    return loaded.model


def read(path: str | Path, how: Reading = USUAL) -> Loaded:
    """`load`, with what the file tells beside its model.

    Raises:
        ModelError: as `load`, and when something is asked that its kind of file has no answer to.
        OSError: when the file cannot be read.

    Args:
        path: of the file.
        how: what is asked of it beside its name.
    """
    path = Path(path)
    form = _format(path)
    with naming(path):
        how.refuse(form.options, f"is not for {path.suffix} files")
    try:
        loaded = form.read(path, how)
    except ProbabilitySumError as error:
        if error.off > ROUNDED or how.normalise:
            raise
        raise ModelError(f"{error}; normalise=True (--normalise) divides by sums that are off so little") from None
    if how.terminal is None:
        return loaded
    with naming(path):
        ended = ending(loaded.model, how.terminal)
    return loaded._replace(model=ended.model, notes=loaded.notes + ended.notes)


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
    low, suffix = path.name.lower(), path.suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    if end := next((end for end in BESIDE if low.endswith(end)), None):
        stem = path.name[: -len(end)]
        models = sorted(file.name for file in path.parent.glob("*.tra") if stem.startswith(file.stem))
        belongs = models[-1] if models else f"{stem}.tra"
        asked = f" with --reward {path}" if end in SUFFIXES else ""
        raise ModelError(f"{path} belongs to a model: name the .tra file, {belongs}{asked}")
    if suffix in FOREIGN:
        raise ModelError(f"{path} is {FOREIGN[suffix]}")
    meant = did_you_mean(suffix, FORMATS) if suffix else ""
    raise ModelError(f"{path}: the suffix of a model's file is one of {', '.join(FORMATS)}{meant}")


__all__ = [
    "FORMATS",
    "Loaded",
    "ModelWarning",
    "Reading",
    "absorbing",
    "ensure_fits",
    "from_gymnasium",
    "from_matrices",
    "from_mdpsolver",
    "from_quantecon",
    "from_rows",
    "is_model_file",
    "load",
    "read",
    "save",
    "to_gymnasium",
    "to_matrices",
    "to_mdpsolver",
    "to_quantecon",
]
