"""The reward structures of a model: which there are beside a .tra file, and which is asked for.

PRISM writes `model.srew` (rewards of states, r(s), earned whenever s is left) and `model.trew` (of transitions); of
several structures `model1.srew`, `model2.trew`, …, whose first line may be `# Reward structure: "time"`. Before
version 4.8 the suffixes were `.rews` and `.rewt`. Storm's users write `model.state.rew`, `model.trans.rew`,
`model.rew`, and of several `model.time.state.rew`, …. Files of one structure add up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from retorno.core.mdp import ModelError
from retorno.core.names import did_you_mean
from retorno.environments.formats.files import read_text
from retorno.environments.formats.lines import Words, lines_of, value_of, values_of, whole_numbers, wrong
from retorno.environments.formats.numbers import shown
from retorno.environments.formats.transition_lines import TransitionLines, total

OF_STATES = (".srew", ".rews", ".state.rew")
OF_TRANSITIONS = (".trew", ".rewt", ".trans.rew", ".tra.rew")
OF_EITHER = (".rew",)
SUFFIXES = (*OF_STATES, *OF_TRANSITIONS, *OF_EITHER)
"""Longer ones before those that they end with."""
TITLE = re.compile(r'^#\s*Reward structure:?\s+"([^"]+)"', re.MULTILINE)


class Structure(NamedTuple):
    """One reward structure."""

    name: str
    """By the names of its files; empty where they have none."""
    title: str
    """What a file says in its first lines; empty where none does."""
    files: tuple[Path, ...]

    def __str__(self) -> str:
        names = " or ".join(filter(None, (self.name, self.title))) or "the unnamed one"
        return f"{names} ({', '.join(file.name for file in self.files)})"


def structures(path: Path) -> list[Structure]:
    """The reward structures that lie beside a .tra file, by their names."""
    found = dict[str, list[Path]]()
    stem = path.with_suffix("").name
    for file in sorted(path.parent.glob(f"{_escaped(stem)}*")):
        rest = file.name.removeprefix(stem)
        suffix = next((suffix for suffix in SUFFIXES if rest.endswith(suffix)), None)
        if suffix is None:
            continue
        name = rest.removesuffix(suffix)
        if name and not name.isdigit() and not name.startswith("."):
            continue
        if name and file.with_name(f"{stem}{name}{path.suffix}").exists():
            continue  # Another model's, whose name begins alike.
        found.setdefault(name.removeprefix("."), []).append(file)
    return [Structure(name, _title(files), tuple(files)) for name, files in sorted(found.items())]


def chosen(path: Path, asked: Sequence[str]) -> list[Path]:
    """The files of the reward structures that are asked for; of the only one where none is.

    Args:
        path: of the .tra file.
        asked: names or numbers of structures, or files of rewards.

    Raises:
        ModelError: when there is no such structure, or several and none is asked for.
    """
    known = structures(path)
    if not asked:
        if len(known) > 1:
            raise ModelError(which([str(each) for each in known], known[0].name or known[0].title))
        return [file for structure in known for file in structure.files]
    files = list[Path]()
    for name in asked:
        if own := next((each for each in known if name in (each.name, each.title)), None):
            files += own.files
        elif Path(name).is_file():
            files.append(Path(name))
        else:
            raise ModelError(unknown(name, [each.title or each.name for each in known], list(map(str, known))))
    return files


def which(known: Sequence[str], one: str) -> str:
    """What to say where several reward structures are known and none was asked for."""
    return (
        f"has several reward structures: {', '.join(known)}. Say which one is meant, as reward={one!r} "
        f"(--reward {one}; of a world --world.reward {one}); several are added"
    )


def unknown(name: str, names: Sequence[str], known: Sequence[str]) -> str:
    """What to say of a reward structure that there is not."""
    return (
        f"no reward structure and no file {name!r}{did_you_mean(name, names)}; "
        f"its reward structures: {', '.join(known) or 'none'}"
    )


def rewards_in(path: Path, lines: TransitionLines) -> Float[np.ndarray, " N"]:
    """The reward of each transition that one file gives. A file of unknown kind says by its columns what it is.

    Raises:
        ModelError: with the file and the line.
        OSError: when it cannot be read.
    """
    if (paid := _of_transitions(path, lines)) is not None:
        return paid
    listed = [(line, text.split()) for line, text in lines_of(path)]
    of_states = path.name.endswith(OF_STATES)
    if not path.name.endswith((*OF_STATES, *OF_TRANSITIONS)):
        of_states = bool(listed) and len(listed[-1][1]) == 2
    layout = "state reward" if of_states else "state choice next reward" if lines.decides else "state next reward"
    width = len(layout.split())
    claimed = None
    if listed and (len(listed[0][1]) == width - 1 or (of_states and listed[0][1][0] == str(lines.states))):
        line, words = listed.pop(0)
        sizes = whole_numbers(path, line, words)
        if sizes[0] != lines.states:
            raise wrong(path, line, f"claims {sizes[0]:,} states, and the model has {lines.states:,}")
        claimed = sizes[-1]
    if claimed is not None and claimed != len(listed):
        raise ModelError(f"{path}: its first line claims {claimed:,} rewards, and {len(listed):,} follow: truncated?")
    by_state, paid = np.zeros(lines.states), np.zeros(len(lines.state))
    place: dict[tuple[int, ...], int] = {}
    if not of_states:
        keys = zip(lines.state.tolist(), lines.choice.tolist(), lines.next_state.tolist(), strict=True)
        place = {key: i for i, key in enumerate(keys)}
    for line, words in listed:
        if len(words) != width:
            raise wrong(path, line, f"expected '{layout}', got {shown(' '.join(words))}")
        where = whole_numbers(path, line, words[:-1])
        value = value_of(path, line, words[-1], lines.fractions)
        if of_states:
            if where[0] >= lines.states:
                raise wrong(path, line, f"state {where[0]} is not in the model, which has {lines.states:,}")
            _add(by_state, where[0], value, lines.fractions)
            continue
        key = tuple(where) if lines.decides else (where[0], 0, where[1])
        if key not in place:
            raise wrong(path, line, f"no transition leads from state {key[0]}, choice {key[1]} to state {key[2]}")
        _add(paid, place[key], value, lines.fractions)
    if not of_states:
        return paid
    acts = np.zeros(lines.states, bool)
    acts[lines.state] = True
    if (idle := np.flatnonzero((by_state != 0) & ~acts)).size:
        raise ModelError(
            f"{path}: state {idle[0]} has the reward {by_state[idle[0]]:g}, which is earned on leaving it, and no "
            "transition: give it one, or put the reward on the transitions into it (.trew)"
        )
    return by_state[lines.state]


def _of_transitions(path: Path, lines: TransitionLines) -> Float[np.ndarray, " N"] | None:
    """The rewards of transitions, where all lines are well formed and each is of another transition; else None."""
    whole = 3 if lines.decides else 2
    words = Words.of(read_text(path))
    if words is None or path.name.endswith(OF_STATES):
        return None
    sizes = words.line(0) if len(words.line(0)) == whole else []
    found = words.columns(1 if sizes else 0, whole, whole + 1)
    if sizes and sizes != [str(lines.states), *sizes[1:-1], str(len(words.begin) - 2)]:
        return None
    if found is None or max(int(column.max()) for column in found[0]) >= 2**20:
        return None
    state, *choice, to = found[0]
    code = _code(state, choice[0] if choice else np.zeros_like(state), to)
    known = _code(lines.state, lines.choice, lines.next_state)
    if max(map(int, (lines.state.max(), lines.choice.max(), lines.next_state.max()))) >= 2**20:
        return None
    place = np.minimum(np.searchsorted(known, code), len(known) - 1)
    if (known[place] != code).any() or len(np.unique(code)) < len(code):
        return None
    paid = np.zeros(len(known))
    try:
        paid[place] = values_of([str(word) for word in found[1][0]], lines.fractions)
    except ValueError:
        return None
    return paid


def _code(state: Int[np.ndarray, " N"], choice: Int[np.ndarray, " N"], to: Int[np.ndarray, " N"]) -> np.ndarray:
    """One number for three below 2^20, in the same order."""
    return state << 40 | choice << 20 | to


def together(
    one: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"], fractions: dict[float, Fraction]
) -> Float[np.ndarray, " N"]:
    """The sums of two rewards, as they were written."""
    summed, both = one + other, (one != 0) & (other != 0)
    pairs, place = np.unique(np.stack([one[both], other[both]]), axis=1, return_inverse=True)
    summed[both] = np.array([total(pair, fractions) for pair in pairs.T])[place.reshape(-1)] if both.any() else 0.0
    return summed


def _add(to: Float[np.ndarray, " n"], place: int, value: float, fractions: dict[float, Fraction]) -> None:
    to[place] = total([to[place], value], fractions) if to[place] else value


def _escaped(stem: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", stem)


def _title(files: Sequence[Path]) -> str:
    titles = (TITLE.search(read_text(file)) for file in files)
    return next((found[1] for found in titles if found), "")
