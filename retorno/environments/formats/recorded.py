"""Transitions as they were recorded, in a .csv or .tsv file: the model that they make most likely.

```
state,action,reward,next_state,terminated
home,walk,-1,park,0
park,sit,2,park,1
```

Columns may stand in any order, under any of the names that people give them (s, a, r, sp, done, …) or under others
that `columns` tells; further ones are left out, which is told. States and actions are names, in rising order where
all of them are whole numbers and else as they first occur. `terminated` is 1 or 0, true or false. Without that column
an episode ends wherever nothing was ever tried.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from retorno.core.mdp import ModelError
from retorno.environments.empirical_models import EmpiricalModel, Recorded, empirical_model
from retorno.environments.formats.files import naming, read_text
from retorno.environments.formats.numbers import NUMBER, written
from retorno.environments.formats.reading import USUAL, Loaded, Reading

COLUMNS = Recorded._fields
KNOWN: dict[str, tuple[str, ...]] = {
    "state": ("state", "s", "obs", "observation", "s_t", "from", "from_state"),
    "action": ("action", "a", "act", "a_t"),
    "reward": ("reward", "r", "rew", "r_t", "rewards"),
    "next_state": (
        *("next_state", "sp", "s'", "s2", "s_next", "next_s", "ns", "s_", "s1", "new_state", "nextstate"),
        *("next_obs", "next_observation", "obs_next", "s_t1", "to", "to_state"),
    ),
    "terminated": ("terminated", "done", "terminal", "is_terminal", "end", "d", "term", "terminations", "ended"),
}
"""What the columns are called by those who record them, in small letters."""
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
TRUTH = {"1": True, "true": True, "yes": True, "1.0": True, "0": False, "false": False, "no": False, "0.0": False}


class Table(NamedTuple):
    """A file of transitions: each column with its values, and what is told of the file."""

    columns: dict[str, list[Any]]
    notes: tuple[str, ...]


def read(path: Path, how: Reading = USUAL) -> Loaded:
    """The most likely model.

    Raises:
        ModelError: as `estimate`.
        OSError: when it cannot be read.
    """
    known, notes = estimated(path, how)
    return Loaded(known.model, notes)


def estimate(path: Path, columns: str | None = None, **settings: Any) -> EmpiricalModel:
    """The most likely model with its intervals.

    Args:
        path: of the file.
        columns: which column is what, as in `Reading`.
        settings: as `empirical_model` takes them.

    Raises:
        ModelError: when the file is no table of transitions (with the line), or they make no model.
        OSError: when it cannot be read.
    """
    return estimated(path, Reading(columns=columns), **settings)[0]


def estimated(path: Path, how: Reading, **settings: Any) -> tuple[EmpiricalModel, tuple[str, ...]]:
    """`estimate`, with what is told of the file."""
    settings = {"prior": how.prior, "unseen": how.unseen} | settings
    with naming(path):
        columns, notes = table(path, how.columns)
        state, next_state, states = _numbered(columns["state"], columns["next_state"])
        action, _, actions = _numbered(columns["action"], [])
        if "terminated" in columns:
            terminated = np.array(columns["terminated"], bool)
        else:
            terminated = ~np.isin(next_state, state)
            if terminated.any():
                told = (
                    f"states in which nothing was tried, such as {states[next_state[terminated][0]]}, are taken as ends"
                )
            else:
                told = "something was tried in every state, so they never end"
            notes += (f"no column says where episodes ended: {told}",)
        made = empirical_model(
            state,
            action,
            columns["reward"],
            next_state,
            terminated,
            state_names=states,
            action_names=actions,
            **settings,
        )
        return made, notes


def table(path: Path, columns: str | None = None) -> Table:
    """The columns of a file, checked line by line.

    Args:
        path: of the file.
        columns: which column is what, as in `Reading`.

    Raises:
        ModelError: with the line.
    """
    text = read_text(path)
    delimiter, commas = _delimiter(text), False
    lines = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        head = [name.strip() for name in next(lines, [])]
        place, headless = _places(head, columns)
        notes = () if headless else _left_out(head, place)
        made: dict[str, list[Any]] = {name: [] for name in place}
        for number, row in _rows(lines, head if headless else None):
            if not row:
                continue
            if len(row) != len(head):
                raise ModelError(f"line {number}: expected {len(head)} fields, got {len(row)}")
            for name, parts in place.items():
                field = row[parts[0]].strip() if len(parts) == 1 else _joined([row[i].strip() for i in parts])
                if name == "reward" and delimiter != "," and DECIMAL_COMMA.fullmatch(field):
                    field, commas = field.replace(",", "."), True
                try:
                    made[name].append(_READERS[name](field))
                except (ValueError, KeyError):
                    raise ModelError(f"line {number}: {name} {field[:40]!r} is not {_EXPECTED[name]}") from None
    except csv.Error as error:
        raise ModelError(f"line {lines.line_num}: {error}") from None
    if commas:
        notes += ("commas in rewards are taken as decimal points: 0,5 is a half",)
    return Table(made, notes)


def _rows(lines: Any, first: list[str] | None) -> Iterable[tuple[int, list[str]]]:
    if first is not None:
        yield 1, first
    for row in lines:
        yield lines.line_num, row


def _delimiter(text: str) -> str:
    head = text[: text.find("\n")] if "\n" in text else text
    return max(",\t;", key=head.count)


def _places(head: list[str], columns: str | None) -> tuple[dict[str, tuple[int, ...]], bool]:
    """Which columns of the file are which, and whether the file has no header."""
    asked = {column: _parts(name, head) for column, name in (_asked(columns) if columns is not None else {}).items()}
    low = [name.lower() for name in head]
    counted = bool(asked) and all(part.isdigit() for parts in asked.values() for part in parts)
    place = dict[str, tuple[int, ...]]()
    for column, parts in asked.items():
        if counted and not all(1 <= int(part) <= len(head) for part in parts):
            raise ModelError(f"line 1 has {len(head)} columns, and columns={columns!r} asks for {'+'.join(parts)}")
        if not counted and (strange := next((part for part in parts if part not in head), None)):
            raise ModelError(f"line 1: no column {strange!r} for the {column}; the columns: {_cut(head)}")
        place[column] = tuple(int(part) - 1 if counted else head.index(part) for part in parts)
    for column, names in KNOWN.items() if not counted else ():
        free = [i for i in range(len(head)) if i not in _taken(place)]
        if column not in place and (found := [i for name in names for i in free if low[i] == name]):
            place[column] = (found[0],)
    if missing := [column for column in COLUMNS[:-1] if column not in place]:
        raise ModelError(
            f"line 1: expected the columns {','.join(COLUMNS)}, got {_cut(head) or 'nothing'}; say which is which, as "
            f"columns='{','.join(f'{column}=NAME' for column in missing)}' (--columns), with numbers from 1 where the "
            "file has no header"
        )
    if len(set(_taken(place))) < len(_taken(place)):
        raise ModelError(f"columns={columns!r}: one column stands for two things")
    return place, counted and NUMBER.fullmatch(head[place["reward"][0]]) is not None


def _parts(name: str, head: list[str]) -> list[str]:
    """The columns of x+y, where no column is called that itself."""
    return [name] if name in head else [part.strip() for part in name.split("+")]


def _taken(place: Mapping[str, tuple[int, ...]]) -> list[int]:
    return [i for parts in place.values() for i in parts]


def _joined(fields: list[str]) -> str:
    """Several fields as one name; none where one is empty."""
    return f"({','.join(fields)})" if all(fields) else ""


def _asked(columns: str) -> dict[str, str]:
    """{column: its name in the file} of state=s,action=a,… or of s,a,r,sp."""
    parts = [part.strip() for part in columns.split(",") if part.strip()]
    if not any("=" in part for part in parts):
        if len(parts) not in (4, 5):
            raise ModelError(f"columns={columns!r}: expected the names of {','.join(COLUMNS)} in this order")
        return dict(zip(COLUMNS, parts, strict=False))
    made = dict[str, str]()
    for part in parts:
        column, _, name = (word.strip() for word in part.partition("="))
        if column not in COLUMNS or not name or column in made:
            raise ModelError(f"columns: {part!r} is not COLUMN=NAME with one of {', '.join(COLUMNS)}, each once")
        made[column] = name
    return made


def _left_out(head: list[str], place: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    notes = list[str]()
    ends = [head[i] for i in place.get("terminated", ())]
    if ends and ends[0].lower() in ("done", "d"):
        notes.append(
            f"{ends[0]!r} is taken as terminated: where it also marks time limits, their states look like ends"
        )
    if more := [name or "(without a name)" for i, name in enumerate(head) if i not in _taken(place)]:
        notes.append(f"left out: the columns {_cut(more)}")
    return tuple(notes)


def _cut(names: list[str]) -> str:
    text = ",".join(names)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


_READERS: dict[str, Any] = {
    "state": _name,
    "action": _name,
    "reward": written,
    "next_state": _name,
    "terminated": lambda text: TRUTH[text.lower()],
}
_EXPECTED = {
    "state": "a name",
    "action": "a name",
    "reward": "a finite number",
    "next_state": "a name",
    "terminated": "1 or 0, true or false",
}


def _numbered(
    first: list[str], second: list[str]
) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"] | Int[np.ndarray, " 0"], list[str]]:
    """The same as numbers from 0, and the names that they stand for: by size where they are numbers themselves."""
    names = list(dict.fromkeys(first + second))
    if all(name.isascii() and name.isdigit() and len(name) <= 18 for name in names):
        names.sort(key=lambda name: (int(name), name))
    number = {name: i for i, name in enumerate(names)}
    at = lambda column: np.array([number[name] for name in column], np.int64)  # noqa: E731
    return at(first), at(second), names
