"""What lies beside a .tra file about its states: their labels (.lab) and names (.sta)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from retorno.core.mdp import ModelError
from retorno.environments.formats.files import read_text
from retorno.environments.formats.lines import lines_of, whole_numbers, wrong
from retorno.environments.formats.numbers import shown


def labels_in(path: Path, states: int) -> dict[str, list[int]]:
    """The states that carry each label; none where there is no such file."""
    found = dict[str, list[int]]()
    if not path.exists():
        return found
    numbers = dict[str, str]()
    storm = False
    for line, text in enumerate(read_text(path).split("\n"), 1):
        text = text.strip()
        if text in ("#DECLARATION", "#END"):
            storm = True
        elif text.startswith("#") or not text:
            continue
        elif not storm and not numbers:
            declared = re.findall(r'(\d+)="([^"]*)"', text)
            if not declared:
                raise wrong(path, line, f'expected declarations as 0="init" or #DECLARATION, got {shown(text)}')
            numbers = dict(declared)
            found = {name: [] for name in numbers.values()}
        elif storm and not found:
            found = {name: [] for name in text.split()}
        else:
            head, *words = text.replace(":", " ", 1).split() or [""]
            (s,) = whole_numbers(path, line, [head])
            if s >= states:
                raise wrong(path, line, f"state {s} is not in the model, which has {states:,}")
            for word in words:
                name = word if storm else numbers.get(word, "")
                if name not in found:
                    raise wrong(path, line, f"label {shown(word)} is not declared")
                found[name].append(s)
    return found


def names_in(path: Path, states: int) -> list[str] | None:
    """What the states are called: the value of the one variable, or the tuple of several."""
    if not path.exists():
        return None
    lines = lines_of(path)
    line, header = next(lines, (1, ""))
    if not re.fullmatch(r"\(.*\)", header):
        raise wrong(path, line, f"expected the variables as (x,y), got {shown(header)}")
    several = "," in header
    names: list[str] = []
    for line, text in lines:
        row = re.fullmatch(r"(\d{1,18}):\((.*)\)", text)
        if row is None or int(row[1]) != len(names):
            raise wrong(path, line, f"expected '{len(names)}:(…)', got {shown(text)}")
        names.append(f"({row[2]})" if several else _unquoted(row[2]))
    if len(names) != states:
        raise ModelError(f"{path}: names {len(names):,} states, expected {states:,}")
    return names


def _unquoted(text: str) -> str:
    try:
        made = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return made if isinstance(made, str) else text
