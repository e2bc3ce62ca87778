"""Storm's own explicit format, .drn ("direct encoding"): one file with states, choices, rewards and labels.

```
@type: MDP
@parameters

@reward_models
time energy
@nr_states
2
@model
state 0 [1, 0] init
        action go [0, 2.5]
                1 : 1
state 1 [0, 0] goal
        action 0 [0, 0]
                1 : 1
```

A state's rewards are earned whenever it is left, a choice's when it is taken. Of a POMDP the decision process of its
states is read, which is told. Markov automata, continuous-time chains, games and parametric models are refused.

Source: Storm's documentation, "The explicit DRN format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from retorno.core.mdp import ModelError
from retorno.core.memory import ensure_fits, model_bytes
from retorno.environments.formats.files import naming
from retorno.environments.formats.lines import lines_of, value_of, whole_numbers, wrong
from retorno.environments.formats.numbers import shown
from retorno.environments.formats.reading import CONTINUOUS, OBSERVED, USUAL, Loaded, Reading, normalised
from retorno.environments.formats.reward_structures import unknown, which
from retorno.environments.formats.transition_lines import assembled, ordered, total

READ = ("dtmc", "mdp", "pomdp")
REFUSED = {
    "ctmc": CONTINUOUS,
    "ma": CONTINUOUS,
    "smg": "a game of several players is not a decision process: retorno solves games of two that it has rules for",
}
STATE = re.compile(r"state\s+(\d+)\s*(.*)", re.ASCII)
ACTION = re.compile(r"action\s+([^\s\[]+)?\s*(\[[^\]]*\])?\s*", re.ASCII)
TO = re.compile(r"(\d+)\s*:\s*(\S.*)", re.ASCII)
REWARDS = re.compile(r"\[([^\]]*)\]")
UNNAMED = ("__NOLABEL__",)


class _Listed:
    """What the lines of a file say."""

    def __init__(self) -> None:
        self.kind = ""
        self.structures = list[str]()
        self.columns: tuple[list[int], list[int], list[int]] = ([], [], [])
        self.probability = list[float]()
        self.actions = dict[tuple[int, int], str]()
        self.labels = dict[str, list[int]]()
        self.state_rewards = dict[int, list[float]]()
        self.choice_rewards = dict[tuple[int, int], list[float]]()
        self.states = 0
        self.claimed = dict[str, int]()
        self.observed = False
        self.fractions = dict[float, Fraction]()


def read(path: Path, how: Reading = USUAL) -> Loaded:
    """Read a model.

    Args:
        path: the .drn file.
        how: which reward is meant, and whether to normalise.

    Raises:
        ModelError: with the file and the line, or the state and the action.
        OSError: when it cannot be read.
    """
    listed = _Listed()
    lines = lines_of(path, comment="//")
    _heads(path, lines, listed)
    _body(path, lines, listed)
    with naming(path):
        states = listed.states
        if not states or not listed.probability:
            raise ModelError("has no states with transitions")
        for name, found in [("nr_states", states), ("nr_choices", len(set(zip(*listed.columns[:2], strict=True))))]:
            if listed.claimed.get(name, found) != found:
                raise ModelError(f"@{name} claims {listed.claimed[name]:,}, and {found:,} follow: truncated?")
        highest = max(listed.columns[2])
        if highest >= states:
            raise ModelError(f"leads to state {highest}, and the last state is {states - 1}: truncated?")
        transitions = ordered(
            listed.kind != "dtmc", states, listed.columns, listed.probability, listed.actions, listed.fractions
        )
        pairs = np.append(np.flatnonzero(transitions.new_pair), len(transitions.state))
        probability, notes = normalised(transitions.probability, pairs, how.normalise, listed.fractions)
        places = zip(transitions.state.tolist(), transitions.choice.tolist(), strict=True)
        taken = _taken(listed, how)
        reward = np.array([_reward(listed, place, taken) for place in places])
        model = assembled(transitions._replace(probability=probability), reward, listed.labels, None)
        if listed.kind == "pomdp" or listed.observed:
            notes += (OBSERVED,)
        return Loaded(model, notes)


def _heads(path: Path, lines: Iterator[tuple[int, str]], listed: _Listed) -> None:
    """The sections up to @model."""
    section, line = "", 1
    for line, text in lines:
        head = re.fullmatch(r"@(\w+)\s*:?\s*(.*)", text)
        if head is not None:
            section, text = head[1], head[2].strip()
            if section == "model":
                break
            if not text:
                continue
        match section:
            case "type":
                listed.kind = text.lower()
                if listed.kind in REFUSED:
                    raise wrong(path, line, f"@type {text}: {REFUSED[listed.kind]}")
                if listed.kind not in READ:
                    raise wrong(path, line, f"@type is one of {', '.join(READ)}, got {shown(text)}")
            case "reward_models":
                listed.structures += text.split()
            case "parameters":
                raise wrong(
                    path, line, f"a model with parameters ({text}) is not read: give them values in Storm first"
                )
            case "placeholders":
                raise wrong(path, line, "placeholders are not read: export with `--exportbuild` without them")
            case "nr_states" | "nr_choices":
                (listed.claimed[section],) = whole_numbers(path, line, [text])
            case "value_type":
                if text.split("-")[0] not in ("double", "rational") or "function" in text or "interval" in text:
                    raise wrong(path, line, f"@value_type {text}: expected double or rational, a number for each")
            case _:
                raise wrong(path, line, f"expected a section such as @type or @model, got {shown(text)}")
    else:
        raise wrong(path, line, "expected @type, … and @model as Storm writes them, and the file ends")
    if not listed.kind:
        raise wrong(path, line, "expected @type before @model")
    claimed = listed.claimed.get("nr_states", 0)
    with naming(path):
        ensure_fits(model_bytes(claimed, 0, 0), f"a model of {claimed:,} states")


def _body(path: Path, lines: Iterator[tuple[int, str]], listed: _Listed) -> None:
    """States with their choices, and where these lead."""
    state, choice = -1, -1
    for line, text in lines:
        if found := STATE.fullmatch(text):
            if int(found[1]) != state + 1:
                raise wrong(path, line, f"expected state {state + 1}, got {shown(text)}")
            state, choice = state + 1, -1
            _state(path, line, state, found[2], listed)
        elif found := ACTION.fullmatch(text):
            if state < 0:
                raise wrong(path, line, f"expected a state before {shown(text)}")
            choice += 1
            if found[1] and found[1] not in (*UNNAMED, str(choice)):
                listed.actions[state, choice] = found[1]
            if found[2]:
                listed.choice_rewards[state, choice] = _numbers(path, line, found[2][1:-1], listed)
        elif found := TO.fullmatch(text):
            if state < 0:
                raise wrong(path, line, f"expected a state before {shown(text)}")
            choice = max(choice, 0)
            p = value_of(path, line, found[2], listed.fractions)
            if p < 0:
                raise wrong(path, line, f"state {state}, choice {choice}: probability {p}, expected at least 0")
            for column, number in zip(
                listed.columns, (state, choice, *whole_numbers(path, line, [found[1]])), strict=True
            ):
                column.append(number)
            listed.probability.append(p)
        else:
            raise wrong(path, line, f"expected 'state …', 'action …' or 'next : probability', got {shown(text)}")
    listed.states = state + 1


def _state(path: Path, line: int, state: int, text: str, listed: _Listed) -> None:
    """The rest of a state's line: rewards, observation, labels."""
    if found := REWARDS.search(text):
        listed.state_rewards[state] = _numbers(path, line, found[1], listed)
        text = text[: found.start()] + text[found.end() :]
    if found := re.search(r"\{[^}]*\}", text):
        listed.observed = True
        text = text[: found.start()] + text[found.end() :]
    for label in text.split():
        if label.startswith("!"):
            raise wrong(path, line, f"state {state} has an exit rate ({label}): {CONTINUOUS}")
        listed.labels.setdefault(label, []).append(state)


def _numbers(path: Path, line: int, text: str, listed: _Listed) -> list[float]:
    """One reward of each structure."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not listed.structures and words:
        listed.structures += [str(i + 1) for i in range(len(words))] if len(words) > 1 else ["reward"]
    if len(words) != len(listed.structures):
        raise wrong(path, line, f"expected {len(listed.structures)} rewards, one of each structure, got [{text}]")
    return [value_of(path, line, word, listed.fractions) for word in words]


def _taken(listed: _Listed, how: Reading) -> list[int]:
    """The numbers of the reward structures that are asked for; the only one where none is."""
    known = listed.structures
    if not how.reward:
        if len(known) > 1:
            raise ModelError(which(known, known[0]))
        return list(range(len(known)))
    for name in how.reward:
        if name not in known:
            raise ModelError(unknown(name, known, known))
    return [known.index(name) for name in how.reward]


def _reward(listed: _Listed, place: tuple[int, int], taken: list[int]) -> float:
    own = [listed.state_rewards.get(place[0]), listed.choice_rewards.get(place)]
    return total([rewards[i] for rewards in own if rewards for i in taken], listed.fractions)
