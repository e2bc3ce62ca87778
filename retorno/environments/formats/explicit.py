"""The explicit files of PRISM and Storm: .tra with .lab, .sta and rewards beside it.

`model.tra` lists transitions, one a line: "state next probability" of a chain, "state choice next
probability [action]" of a decision process. PRISM's begins with the sizes, Storm's with the word
dtmc or mdp. Beside it may lie

- `model.lab`: labels. "init" marks the first state (0 without it; several share the start evenly);
- `model.sta`: the states' names;
- files of rewards, of one structure or of several (see `reward_structures`).

A state without transitions is terminal, and so is one that is labelled "deadlock" and only stays
where it is for no reward: thus both tools write states without transitions, and so does `write`.
Lines that lead from a pair to the same state add up, as they do for PRISM.

Sources: the PRISM manual, appendix "Explicit Model Files"; Storm's documentation, "Languages".
"""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from retorno.core.mdp import MDP, ModelError, ProbabilitySumError
from retorno.core.memory import ensure_fits, model_bytes
from retorno.environments.checked_arrays import are_numbers
from retorno.environments.formats.arrays import absorbing
from retorno.environments.formats.explicit_states import labels_in, names_in
from retorno.environments.formats.files import lines_to, naming, read_text, write_whole
from retorno.environments.formats.lines import Words, lines_of, value_of, values_of, whole_numbers, wrong
from retorno.environments.formats.numbers import shown
from retorno.environments.formats.reading import (
    CONTINUOUS,
    OBSERVED,
    ROUNDED,
    USUAL,
    Loaded,
    ModelWarning,
    Reading,
    normalised,
)
from retorno.environments.formats.reward_structures import chosen, rewards_in, structures, together
from retorno.environments.formats.transition_lines import TransitionLines, assembled, ordered

ROW_ENTRY = re.compile(r"\s*([^\s:]+):(\d+)(?=\s|$)")
SPARE_STATES = 1024
"""How many more states a file may claim than it has lines for."""


def read(path: Path, how: Reading = USUAL) -> Loaded:
    """Read a model and what lies beside it.

    Args:
        path: the .tra file.
        how: which reward is meant, and whether to normalise.

    Raises:
        ModelError: with the file and the line, or the state and the action.
        OSError: when it cannot be read.
    """
    with naming(path):
        lines = _transitions(path)
    labels = labels_in(path.with_suffix(".lab"), lines.states)
    names = names_in(path.with_suffix(".sta"), lines.states)
    with naming(path):
        files = chosen(path, how.reward)
    reward = np.zeros(len(lines.state))
    for file in files:
        reward = together(reward, rewards_in(file, lines), lines.fractions)
    with naming(path):
        pairs = np.append(np.flatnonzero(lines.new_pair), len(lines.state))
        probability, notes = normalised(lines.probability, pairs, how.normalise, lines.fractions)
        if path.with_suffix(".pla").exists():
            raise ModelError("a game of several players (.pla) is not a decision process")
        if path.with_suffix(".obs").exists():
            notes += (OBSERVED,)
        try:
            return Loaded(assembled(lines._replace(probability=probability), reward, labels, names), notes)
        except ProbabilitySumError as error:
            if lines.decides or error.off <= ROUNDED:
                raise
            raise ModelError(f"{error}; {CONTINUOUS}, if these are rates") from None


def write(model: MDP, path: Path, storm: bool = False) -> None:
    """Write a model and beside it what it needs; files of an earlier model are replaced or removed.

    These files know no end of an episode but a terminal state (see `absorbing`, which may add
    one), one transition from a pair to each state (several become one, with their mean reward), no
    weights of first states and no map. A number is written as the shortest decimal of its float, as PRISM and Storm
    read it: where that stands for a fraction (1/3), a warning says that it is lost for exact answers.

    Args:
        model: what is written.
        path: the .tra file.
        storm: write Storm's layout, which has no names of actions, and not PRISM's.

    Raises:
        ModelError: when the first states have different weights, two of a state's actions have names that
            differ in blanks alone, or a discount is below 0.
    """
    lost = next((f"{exact} as {x!r}" for x, exact in model.fractions.items()), None)
    if lost is not None:
        told = f"{path}: fractions are written as decimals ({lost}): for exact answers save as .json, .yaml or .npz"
        warnings.warn(told, ModelWarning, stacklevel=3)
    model = _merged(absorbing(model))
    start = np.flatnonzero(model.initial)
    if not np.allclose(model.initial[start], 1 / len(start), rtol=1e-9, atol=0):
        raise ModelError(f"{path.name} cannot hold first states of different weights: save as .json or .npz")
    actions = ["_".join(name.split()) for name in model.action_names]
    if len(set(actions)) < len(actions):
        raise ModelError(f"{path.name} cannot hold action names that differ in blanks alone: save as .json or .npz")
    stem = path.with_suffix("")
    rewards = _reward_lines(model, storm) if model.reward.any() else None
    beside = {file: None for structure in structures(path) for file in structure.files}
    kept = {
        path.with_suffix(".lab"): _label_lines(model, storm),
        path.with_suffix(".sta"): None if are_numbers(model.state_names) else _state_lines(model),
        Path(f"{stem}{'.trans.rew' if storm else '.trew'}"): rewards,
        path: _transition_lines(model, actions, storm),
    }
    write_whole(beside | {file: None if lines is None else lines_to(lines) for file, lines in kept.items()})


# Reading


def _header(path: Path, line: int, header: str) -> tuple[bool, list[int]]:
    """Whether the first line begins a decision process, and the sizes that it claims: Storm's none."""
    words = header.split()
    if words and words[0] in ("dtmc", "mdp"):
        return words[0] == "mdp", []
    if words and words[0] in ("ctmc", "ma"):
        raise wrong(path, line, f"{words[0]}: {CONTINUOUS}")
    if words and words[0].isalpha():
        raise wrong(path, line, f"expected the sizes (PRISM) or one of dtmc and mdp (Storm), got {shown(header)}")
    if len(words) not in (2, 3):
        raise wrong(path, line, f"expected the sizes, 'states [choices] transitions', got {shown(header)}")
    return len(words) == 3, whole_numbers(path, line, words)


def _transitions(path: Path) -> TransitionLines:
    lines = lines_of(path)
    decides, sizes = _header(path, *next(lines, (1, "")))
    state, choice, next_state, probability, actions, fractions = _alike(read_text(path), decides) or _line_by_line(
        path, lines, decides
    )
    highest = max(max(state, default=-1), max(next_state, default=-1)) + 1
    states = _states(path, sizes, int(highest), len(state))
    if decides and sizes and sizes[1] != (pairs := len(set(zip(state, choice, strict=True)))):
        raise ModelError(f"{path}: its first line claims {sizes[1]:,} choices, and {pairs:,} follow: truncated?")
    return ordered(decides, states, (state, choice, next_state), probability, actions, fractions)


_Columns = tuple[
    Sequence[int], Sequence[int], Sequence[int], Sequence[float], dict[tuple[int, int], str], dict[float, Fraction]
]
"""State, choice, next state and probability of each transition; the pairs' actions; what floats stand for."""


def _alike(text: str, decides: bool) -> _Columns | None:
    """The transitions of lines that are all well formed, with an action of one word or none; else None."""
    places = 2 if decides else 1
    words = Words.of(text)
    found = None if words is None else words.columns(1, places + 1, places + 3)
    if found is None:
        return None
    numbers, (chances, *named) = ([column.tolist() for column in found[0]], found[1])
    fractions, actions = dict[float, Fraction](), dict[tuple[int, int], str]()
    try:
        probability = values_of([str(word) for word in chances], fractions)
    except ValueError:
        return None
    if (probability < 0).any():
        return None
    state, choice, next_state = numbers if decides else (numbers[0], [0] * len(numbers[0]), numbers[1])
    if decides and named:
        for s, c, action in zip(state, choice, named[0], strict=True):
            if action and actions.setdefault((s, c), action) != action:
                return None
    return state, choice, next_state, probability.tolist(), actions, fractions


def _line_by_line(path: Path, lines: Iterable[tuple[int, str]], decides: bool) -> _Columns:
    """The transitions of lines of any form.

    Raises:
        ModelError: with the line.
    """
    places = 2 if decides else 1
    layout = "state choice next probability [action]" if decides else "state next probability [action]"
    state, choice, next_state, probability = list[int](), list[int](), list[int](), list[float]()
    actions = dict[tuple[int, int], str]()
    fractions = dict[float, Fraction]()
    for line, text in lines:
        words = text.split(None, places)
        if len(words) <= places:
            raise wrong(path, line, f"expected {layout!r}, got {shown(text)}")
        outcomes, action = _outcomes(words[places])
        if not outcomes:
            raise wrong(path, line, f"expected {layout!r}, got {shown(text)}")
        s, *numbers = whole_numbers(path, line, [*words[:places], *(to for _, to in outcomes)])
        c = numbers.pop(0) if decides else 0
        for (chance, _), to in zip(outcomes, numbers, strict=True):
            if chance.startswith("["):
                raise wrong(path, line, f"{chance} is an interval of probabilities: a model has one number there")
            p = value_of(path, line, chance, fractions)
            if p < 0:
                raise wrong(path, line, f"state {s}, choice {c}: probability {p}, expected at least 0")
            state.append(s)
            choice.append(c)
            next_state.append(to)
            probability.append(p)
        # A chain's transitions may each have their own action: nothing is chosen there.
        if decides and action and actions.setdefault((s, c), action) != action:
            raise wrong(path, line, f"state {s}, choice {c}: has two actions, {actions[s, c]!r} and {action!r}")
    return state, choice, next_state, probability, actions, fractions


def _outcomes(text: str) -> tuple[list[tuple[str, str]], str]:
    """The (probability, next state) that a line ends with, several in PRISM's row form "0.5:1 0.5:2"; its action."""
    outcomes = list[tuple[str, str]]()
    while ":" in text and (entry := ROW_ENTRY.match(text)) is not None:
        outcomes.append((entry[1], entry[2]))
        text = text[entry.end() :]
    if not outcomes:
        words = text.split(None, 2)
        if len(words) < 2:
            return [], ""
        outcomes, text = [(words[1], words[0])], words[2] if len(words) > 2 else ""
    return outcomes, text.strip()


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
        labels=model.labels,
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
    carried = {"init": model.initial > 0, "deadlock": model.terminal}
    carried |= {name: carried.get(name, False) | model.labelled(name) for name in model.labels}
    if storm:
        yield from ("#DECLARATION", " ".join("_".join(name.split()) for name in carried), "#END")
    else:
        yield " ".join(f'{i}="{name}"' for i, name in enumerate(carried))
    for s in np.flatnonzero(np.any(list(carried.values()), axis=0)).tolist():
        own = ["_".join(name.split()) if storm else str(i) for i, name in enumerate(carried) if carried[name][s]]
        yield f"{s}{'' if storm else ':'} {' '.join(own)}"


def _state_lines(model: MDP) -> Iterator[str]:
    yield "(state)"
    for s, name in enumerate(model.state_names):
        plain = name.isprintable() and name == name.strip() and not name.startswith('"')
        yield f"{s}:({name if plain else json.dumps(name)})"
