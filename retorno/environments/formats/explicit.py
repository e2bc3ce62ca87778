"""The explicit files of PRISM and Storm: .tra with .lab, .sta and rewards beside it.

`model.tra` lists transitions, one a line: "state next probability" of a chain, "state choice next
probability [action]" of a decision process. PRISM's begins with the sizes, Storm's with the word
dtmc or mdp. Beside it may lie

- `model.lab`: labels. "init" marks the first state (0 without it; several share the start evenly);
- `model.sta`: the states' names;
- `model.srew`, `model.trew` (before PRISM 4.8 `.rews`, `.rewt`), and Storm's `model.state.rew`, `model.trans.rew`
  or `model.rew`: rewards of states, r(s), earned whenever s is left, and of transitions. They add up.

A state without transitions is terminal, and so is one that is labelled "deadlock" and only stays
where it is for no reward: thus both tools write states without transitions, and so does `write`.

Sources: the PRISM manual, appendix "Explicit Model Files"; Storm's documentation, "Languages".
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retorno.core.mdp import MDP, ModelError, Numbered
from retorno.core.memory import ensure_fits, model_bytes
from retorno.environments.checked_arrays import are_numbers
from retorno.environments.formats.arrays import absorbing, from_rows
from retorno.environments.formats.files import lines_to, naming, read_text, write_whole
from retorno.environments.formats.numbers import number, shown

STATE_REWARDS = (".srew", ".rews", ".state.rew")
TRANSITION_REWARDS = (".trew", ".rewt", ".trans.rew", ".tra.rew")
EITHER_REWARDS = (".rew",)
SPARE_STATES = 1024
"""How many more states a file may claim than it has lines for."""


class TransitionLines(NamedTuple):
    """The lines of a .tra file, ordered by state and choice."""

    decides: bool
    """Whether it is a decision process; else a chain."""
    states: int
    state: np.ndarray
    choice: np.ndarray
    next_state: np.ndarray
    probability: np.ndarray
    labels: dict[tuple[int, int], str]
    """The action of each (state, choice) that has one."""


def read(path: Path, terminal: str | None = None) -> MDP:
    """Read a model and what lies beside it.

    Args:
        path: the .tra file.
        terminal: a label: an episode ends where a state carries it.

    Raises:
        ModelError: with the file and the line, or the state and the action.
        OSError: when it cannot be read.
    """
    with naming(path):
        rows = _transitions(path)
    labels = _labels(path.with_suffix(".lab"), rows.states)
    names = _names(path.with_suffix(".sta"), rows.states)
    rewards = _rewards(path, rows)
    if terminal is not None and terminal not in labels:
        known = ", ".join(labels) or "none"
        raise ModelError(f"{path}: no label {terminal!r}; its labels: {known}")
    with naming(path):
        return _model(rows, rewards, labels, terminal, names)


def write(model: MDP, path: Path, storm: bool = False) -> None:
    """Write a model and beside it what it needs; files of an earlier model are replaced or removed.

    These files know no end of an episode but a terminal state (see `absorbing`, which may add
    one), one transition from a pair to each state (several become one, with their mean reward), no
    weights of first states and no map.

    Args:
        model: what is written.
        path: the .tra file.
        storm: write Storm's layout, which has no names of actions, and not PRISM's.

    Raises:
        ModelError: when the first states have different weights, two of a state's actions have names that
            differ in blanks alone, or a discount is below 0.
    """
    model = _merged(absorbing(model))
    start = np.flatnonzero(model.initial)
    if not np.allclose(model.initial[start], 1 / len(start), rtol=1e-9, atol=0):
        raise ModelError(f"{path.name} cannot hold first states of different weights: save as .json or .npz")
    actions = ["_".join(name.split()) for name in model.action_names]
    if len(set(actions)) < len(actions):
        raise ModelError(f"{path.name} cannot hold action names that differ in blanks alone: save as .json or .npz")
    stem = path.with_suffix("")
    rewards = _reward_lines(model, storm) if model.reward.any() else None
    beside = {Path(f"{stem}{suffix}"): None for suffix in (*STATE_REWARDS, *TRANSITION_REWARDS, *EITHER_REWARDS)}
    kept = {
        path.with_suffix(".lab"): _label_lines(model, storm),
        path.with_suffix(".sta"): None if are_numbers(model.state_names) else _state_lines(model),
        Path(f"{stem}{'.trans.rew' if storm else '.trew'}"): rewards,
        path: _transition_lines(model, actions, storm),
    }
    write_whole(beside | {file: None if lines is None else lines_to(lines) for file, lines in kept.items()})


# Reading


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers; comments begin with #."""
    for i, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield i, line


def _wrong(path: Path, line: int, message: str) -> ModelError:
    return ModelError(f"{path}, line {line}: {message}")


def _whole(path: Path, line: int, words: list[str]) -> list[int]:
    """Whole numbers from 0."""
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            raise _wrong(path, line, f"expected a whole number from 0, got {shown(word)}")
    return [int(word) for word in words]


def _value(path: Path, line: int, word: str) -> float:
    try:
        return number(word)
    except ValueError as error:
        raise _wrong(path, line, str(error)) from None


def _header(path: Path, line: int, header: str) -> tuple[bool, list[int]]:
    """Whether the first line begins a decision process, and the sizes that it claims: Storm's none."""
    words = header.split()
    if words and words[0] in ("dtmc", "mdp"):
        return words[0] == "mdp", []
    if words and words[0].isalpha():
        raise _wrong(path, line, f"expected the sizes (PRISM) or one of dtmc and mdp (Storm), got {shown(header)}")
    if len(words) not in (2, 3):
        raise _wrong(path, line, f"expected the sizes, 'states [choices] transitions', got {shown(header)}")
    return len(words) == 3, _whole(path, line, words)


def _transitions(path: Path) -> TransitionLines:
    lines = _lines(path)
    decides, sizes = _header(path, *next(lines, (1, "")))
    columns = 4 if decides else 3
    layout = "state choice next probability [action]" if decides else "state next probability [action]"
    state, choice, next_state, probability = [], [], [], []
    labels = dict[tuple[int, int], str]()
    for line, text in lines:
        words = text.split(None, columns)
        if len(words) < columns or ":" in words[columns - 1]:
            hint = "; PRISM's row form is not read, export without it" if ":" in text else ""
            raise _wrong(path, line, f"expected '{layout}', got {shown(text)}{hint}")
        *place, to = _whole(path, line, words[: columns - 1])
        s, c = place if decides else (place[0], 0)
        p = _value(path, line, words[columns - 1])
        if p < 0:
            raise _wrong(path, line, f"state {s}, choice {c}: probability {p}, expected at least 0")
        # A chain's transitions may each have their own action: nothing is chosen there.
        if decides and len(words) > columns and labels.setdefault((s, c), words[columns]) != words[columns]:
            both = f"{labels[s, c]!r} and {words[columns]!r}"
            raise _wrong(path, line, f"state {s}, choice {c}: has two actions, {both}")
        state.append(s)
        choice.append(c)
        next_state.append(to)
        probability.append(p)

    highest = max(max(state, default=-1), max(next_state, default=-1)) + 1
    states = _states(path, sizes, highest, len(state))
    arrays = (np.array(state, np.int64), np.array(choice, np.int64), np.array(next_state, np.int64))
    order = np.lexsort(arrays[::-1])
    sources, choices, targets = (array[order] for array in arrays)
    rows = TransitionLines(decides, states, sources, choices, targets, np.array(probability, np.float64)[order], labels)
    _check_order(path, rows)
    pairs = int(_new_pair(rows).sum())
    if decides and sizes and sizes[1] != pairs:
        raise ModelError(f"{path}: its first line claims {sizes[1]:,} choices, and {pairs:,} follow: truncated?")
    return rows


def _states(path: Path, sizes: list[int], highest: int, count: int) -> int:
    """How many states there are, if what the first line claims and the lines go together; nothing is allocated yet."""
    if sizes and sizes[-1] != count:
        raise ModelError(f"{path}: its first line claims {sizes[-1]:,} transitions, and {count:,} follow: truncated?")
    if not count:
        raise ModelError(f"{path}: has no transitions")
    states = sizes[0] if sizes else highest
    if highest > states:
        raise ModelError(f"{path}: its first line claims {states:,} states, and state {highest - 1} occurs")
    ensure_fits(model_bytes(states, count, count), f"{path}: a model of {states:,} states")
    if states > 16 * count + SPARE_STATES:
        raise ModelError(f"{path}: claims {states:,} states, and has only {count:,} transitions")
    return states


def _new_pair(rows: TransitionLines) -> np.ndarray:
    """Where a row begins another state or choice."""
    changed = (np.diff(rows.state) != 0) | (np.diff(rows.choice) != 0)
    return np.append(True, changed)[: len(rows.state)]


def _check_order(path: Path, rows: TransitionLines) -> None:
    """Raise where a transition is listed twice or a choice left out."""
    new = _new_pair(rows)
    twice = ~new[1:] & (np.diff(rows.next_state) == 0)
    if twice.any():
        i = int(np.argmax(twice))
        raise ModelError(
            f"{path}: state {rows.state[i]}, choice {rows.choice[i]}: goes to state {rows.next_state[i]} twice"
        )
    state, choice = rows.state[new], rows.choice[new]
    usual = np.arange(len(state)) - np.searchsorted(state, state)
    if (choice != usual).any():
        i = int(np.argmax(choice != usual))
        raise ModelError(f"{path}: state {state[i]} has a choice {choice[i]} and no choice {usual[i]}")


def _labels(path: Path, states: int) -> dict[str, list[int]]:
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
                raise _wrong(path, line, f'expected declarations as 0="init" or #DECLARATION, got {shown(text)}')
            numbers = dict(declared)
            found = {name: [] for name in numbers.values()}
        elif storm and not found:
            found = {name: [] for name in text.split()}
        else:
            head, *words = text.replace(":", " ", 1).split() or [""]
            (s,) = _whole(path, line, [head])
            if s >= states:
                raise _wrong(path, line, f"state {s} is not in the model, which has {states:,}")
            for word in words:
                name = word if storm else numbers.get(word, "")
                if name not in found:
                    raise _wrong(path, line, f"label {shown(word)} is not declared")
                found[name].append(s)
    return found


def _names(path: Path, states: int) -> list[str] | None:
    """What the states are called: the value of the one variable, or the tuple of several."""
    if not path.exists():
        return None
    lines = _lines(path)
    line, header = next(lines, (1, ""))
    if not re.fullmatch(r"\(.*\)", header):
        raise _wrong(path, line, f"expected the variables as (x,y), got {shown(header)}")
    several = "," in header
    names: list[str] = []
    for line, text in lines:
        row = re.fullmatch(r"(\d{1,18}):\((.*)\)", text)
        if row is None or int(row[1]) != len(names):
            raise _wrong(path, line, f"expected '{len(names)}:(…)', got {shown(text)}")
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


def _rewards(path: Path, rows: TransitionLines) -> np.ndarray:
    """The reward of each row, summed over the files that there are."""
    total = np.zeros(len(rows.state))
    for suffix in (*STATE_REWARDS, *TRANSITION_REWARDS, *EITHER_REWARDS):
        file = Path(f"{path.with_suffix('')}{suffix}")
        if file.exists():
            total += _reward(file, rows, suffix)
    return total


def _reward(path: Path, rows: TransitionLines, suffix: str) -> np.ndarray:
    """The reward of each row that one file gives. One of unknown kind says by its columns what it is."""
    columns = 4 if rows.decides else 3
    lines = [(line, text.split()) for line, text in _lines(path)]
    of_states = suffix in STATE_REWARDS
    if suffix in EITHER_REWARDS:
        of_states = bool(lines) and len(lines[-1][1]) == 2
    width = 2 if of_states else columns
    claimed = None
    if lines and (len(lines[0][1]) == width - 1 or (of_states and lines[0][1][0] == str(rows.states))):
        line, words = lines.pop(0)
        sizes = _whole(path, line, words)
        if sizes[0] != rows.states:
            raise _wrong(path, line, f"claims {sizes[0]:,} states, and the model has {rows.states:,}")
        claimed = sizes[-1]
    if claimed is not None and claimed != len(lines):
        raise ModelError(f"{path}: its first line claims {claimed:,} rewards, and {len(lines):,} follow: truncated?")
    layout = "state reward" if of_states else "state choice next reward" if rows.decides else "state next reward"
    by_state, total = np.zeros(rows.states), np.zeros(len(rows.state))
    place: dict[tuple[int, ...], int] = {}
    if not of_states:
        keys = zip(rows.state.tolist(), rows.choice.tolist(), rows.next_state.tolist(), strict=True)
        place = {key: i for i, key in enumerate(keys)}
    for line, words in lines:
        if len(words) != width:
            raise _wrong(path, line, f"expected '{layout}', got {shown(' '.join(words))}")
        where = _whole(path, line, words[:-1])
        value = _value(path, line, words[-1])
        if of_states:
            if where[0] >= rows.states:
                raise _wrong(path, line, f"state {where[0]} is not in the model, which has {rows.states:,}")
            by_state[where[0]] += value
            continue
        key = tuple(where) if rows.decides else (where[0], 0, where[1])
        if key not in place:
            raise _wrong(path, line, f"no transition leads from state {key[0]}, choice {key[1]} to state {key[2]}")
        total[place[key]] += value
    return by_state[rows.state] if of_states else total


def _model(
    rows: TransitionLines,
    reward: np.ndarray,
    labels: dict[str, list[int]],
    terminal: str | None,
    names: list[str] | None,
) -> MDP:
    """Put together what the files say."""
    ended = np.zeros(rows.states, bool)
    alone = np.bincount(rows.state, minlength=rows.states) == 1
    stays = np.zeros(rows.states, bool)
    stays[rows.state[(rows.state == rows.next_state) & (reward == 0)]] = True
    blocked = np.array(labels.get("deadlock", []), np.int64)
    ended[blocked] = (alone & stays)[blocked]
    if terminal is not None:
        ended[labels[terminal]] = True
    kept = (rows.probability > 0) & ~ended[rows.state]
    new = _new_pair(rows)
    state, choice = rows.state[new], rows.choice[new]
    order = np.cumsum(new) - 1
    acting = ~ended[state]
    counts = np.bincount(order[kept], minlength=len(state))[acting]
    state, choice = state[acting], choice[acting]
    called = [rows.labels.get(place, str(place[1])) for place in zip(state.tolist(), choice.tolist(), strict=True)]
    called = _told_apart(state.tolist(), choice.tolist(), called)
    actions = list(dict.fromkeys(called))
    index = {name: i for i, name in enumerate(actions)}
    first = np.array(labels.get("init") or [0], np.int64)
    initial = np.zeros(rows.states)
    initial[first] = 1 / len(set(first.tolist()))
    return from_rows(
        np.searchsorted(state, np.arange(rows.states + 1)),
        np.append(0, np.cumsum(counts)),
        rows.next_state[kept],
        rows.probability[kept],
        transition_reward=reward[kept],
        action=np.array([index[name] for name in called], np.int64),
        initial=initial,
        state_names=Numbered(rows.states) if names is None else names,
        action_names=actions,
    )


def _told_apart(state: list[int], choice: list[int], called: list[str]) -> list[str]:
    """Choices of one state that share an action's name (PRISM allows it) get their number added."""
    seen = dict[tuple[int, str], int]()
    for s, name in zip(state, called, strict=True):
        seen[s, name] = seen.get((s, name), 0) + 1
    return [f"{name}#{c}" if seen[s, name] > 1 else name for s, c, name in zip(state, choice, called, strict=True)]


# Writing


def _merged(model: MDP) -> MDP:
    """The model with at most one transition from a pair to each state, possible ones only."""
    pair = model.transition_pair
    kept = model.probability > 0
    order = np.lexsort((model.next_state, pair))
    order = order[kept[order]]
    pair, to = pair[order], model.next_state[order]
    new = np.append(True, (np.diff(pair) != 0) | (np.diff(to) != 0))[: len(pair)]
    if new.all() and kept.all():
        return model
    first = np.flatnonzero(new)
    weight = model.probability[order]
    probability = np.add.reduceat(weight, first)
    alone = np.diff(np.append(first, len(pair))) == 1
    mean = np.add.reduceat(weight * model.reward[order], first) / probability
    return MDP(
        state_ptr=model.state_ptr,
        action=model.action,
        row_ptr=np.append(0, np.cumsum(np.bincount(pair[new], minlength=model.num_pairs))),
        next_state=to[new],
        probability=probability,
        reward=np.where(alone, model.reward[order][first], mean),
        discount=model.discount[order][first],
        initial=model.initial,
        state_names=model.state_names,
        action_names=model.action_names,
    )


def _listed(model: MDP) -> Iterator[tuple[int, int, int, int]]:
    """(state, choice, next state, place) of each transition; −1 for the place of a terminal state's stay."""
    rows, to = model.row_ptr.tolist(), model.next_state.tolist()
    for s, (begin, end) in enumerate(itertools.pairwise(model.state_ptr.tolist())):
        if begin == end:
            yield s, 0, s, -1
        for p in range(begin, end):
            for t in range(rows[p], rows[p + 1]):
                yield s, p - begin, to[t], t


def _sizes(model: MDP) -> tuple[int, int, int]:
    ended = int(model.terminal.sum())
    return model.num_states, model.num_pairs + ended, model.num_transitions + ended


def _transition_lines(model: MDP, actions: list[str], storm: bool) -> Iterator[str]:
    yield "mdp" if storm else " ".join(map(str, _sizes(model)))
    chance, action = model.probability.tolist(), model.action[model.transition_pair].tolist()
    for s, c, to, t in _listed(model):
        name = "" if storm or t < 0 else f" {actions[action[t]]}"
        yield f"{s} {c} {to} {1 if t < 0 else chance[t]!r}{name}"


def _reward_lines(model: MDP, storm: bool) -> Iterator[str]:
    if not storm:
        states, choices, _ = _sizes(model)
        yield f"{states} {choices} {np.count_nonzero(model.reward)}"
    reward = model.reward.tolist()
    for s, c, to, t in _listed(model):
        if t >= 0 and reward[t]:
            yield f"{s} {c} {to} {reward[t]!r}"


def _label_lines(model: MDP, storm: bool) -> Iterator[str]:
    yield from ("#DECLARATION", "init deadlock", "#END") if storm else ('0="init" 1="deadlock"',)
    colon, init, deadlock = ("", " init", " deadlock") if storm else (":", " 0", " 1")
    for s, (first, ended) in enumerate(zip(model.initial > 0, model.terminal, strict=True)):
        if first or ended:
            yield f"{s}{colon}{init if first else ''}{deadlock if ended else ''}"


def _state_lines(model: MDP) -> Iterator[str]:
    yield "(state)"
    for s, name in enumerate(model.state_names):
        plain = name.isprintable() and name == name.strip() and not name.startswith('"')
        yield f"{s}:({name if plain else json.dumps(name)})"
