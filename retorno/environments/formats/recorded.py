"""Transitions as they were recorded, in a .csv file: the model that they make most likely.

```
state,action,reward,next_state,terminated
home,walk,-1,park,0
park,sit,2,park,1
```

States and actions that are all whole numbers are those numbers, others are names in the order in which
they first occur. `terminated` is 1 or 0, true or false.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from retorno.core.mdp import MDP, ModelError
from retorno.environments.empirical_models import EmpiricalModel, Recorded, empirical_model
from retorno.environments.formats.files import naming, read_text

COLUMNS = Recorded._fields
TRUTH = {"1": True, "true": True, "0": False, "false": False}


def read(path: Path) -> MDP:
    """The most likely model. Raises as `estimate`."""
    return estimate(path).model


def estimate(path: Path, **settings: Any) -> EmpiricalModel:
    """The most likely model with its intervals; settings as `counted` takes them.

    Raises:
        ModelError: when the file is no table of transitions (with the line), or they make no model.
        OSError: when it cannot be read.
    """
    with naming(path):
        columns = _columns(path)
        state, next_state, states = _numbered(columns["state"], columns["next_state"])
        action, _, actions = _numbered(columns["action"], [])
        return empirical_model(
            state,
            action,
            np.array(columns["reward"]),
            next_state,
            np.array(columns["terminated"]),
            **{name: names for name, names in (("state_names", states), ("action_names", actions)) if names},
            **settings,
        )


def _columns(path: Path) -> dict[str, list[Any]]:
    """Each column with its values, checked line by line."""
    table = csv.reader(read_text(path).splitlines())
    head = [name.strip() for name in next(table, [])]
    if sorted(head) != sorted(COLUMNS):
        raise ModelError(f"line 1: expected the columns {','.join(COLUMNS)}, got {','.join(head)[:80] or 'nothing'}")
    columns: dict[str, list[Any]] = {name: [] for name in head}
    for row in table:
        if not row:
            continue
        if len(row) != len(head):
            raise ModelError(f"line {table.line_num}: expected {len(head)} fields, got {len(row)}")
        for name, text in zip(head, map(str.strip, row), strict=True):
            try:
                columns[name].append(_READERS[name](text))
            except (ValueError, KeyError):
                raise ModelError(f"line {table.line_num}: {name} {text[:40]!r} is not {_EXPECTED[name]}") from None
    return columns


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


_READERS: dict[str, Any] = {
    "state": _name,
    "action": _name,
    "reward": float,
    "next_state": _name,
    "terminated": lambda text: TRUTH[text.lower()],
}
_EXPECTED = {
    "state": "a name",
    "action": "a name",
    "reward": "a number",
    "next_state": "a name",
    "terminated": "1 or 0, true or false",
}


def _numbered(first: list[str], second: list[str]) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """The same as numbers, and the names that they stand for; None where they are numbers already."""
    both = first + second
    if all(text.isascii() and text.isdigit() for text in both):
        names, number = None, [int(text) for text in both]
    else:
        known: dict[str, int] = {}
        number = [known.setdefault(text, len(known)) for text in both]
        names = list(known)
    if max(number, default=0) >= 2**63:
        raise ModelError(f"{max(number)} is too large for the number of a state or action")
    numbers = np.array(number, np.int64)
    return numbers[: len(first)], numbers[len(first) :], names
