"""What `retorno solve` reads besides a model: a policy, and how long steps take. Both name states and actions.

A policy is a JSON object of each state's action, or of its actions' probabilities; what `--out` wrote holds one.
Durations are a table with the columns state, action and duration; whatever is not listed takes one unit of time.
"""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from retorno.bellman.evaluation import by_name
from retorno.core.mdp import MDP, ModelError
from retorno.environments.formats.document import distinct
from retorno.environments.formats.files import naming, read_text
from retorno.environments.formats.numbers import exact_number, number, shown


def policy_in(path: Path, model: MDP) -> dict[str, dict[str, Fraction]]:
    """The policy in a file: each state's actions and their probabilities, as they were written.

    Raises:
        ModelError: with the file, and the state where it is not a policy of this model.
        OSError: when it cannot be read.
    """
    with naming(path):
        try:
            tree = json.loads(read_text(path), parse_float=Decimal, object_pairs_hook=distinct)
        except ModelError:
            raise
        except (ValueError, RecursionError) as error:
            raise ModelError(f"not JSON: {error}") from None
        table = tree.get("policy", tree) if isinstance(tree, dict) else tree
        if not isinstance(table, dict):
            raise ModelError(f"expected an object of each state's action, got {shown(table)}")
        policy = {state: _shares(state, chosen) for state, chosen in table.items()}
        try:
            by_name(model, policy)
        except ValueError as error:
            raise ModelError(str(error)) from None
        return policy


def durations_in(path: Path, model: MDP) -> Float[np.ndarray, " P"]:
    """How long each pair takes.

    Raises:
        ModelError: with the file and the line.
        OSError: when it cannot be read.
    """
    times, pairs, said = np.ones(model.num_pairs), _pairs(model), set[int]()
    with naming(path):
        rows = csv.reader(read_text(path).splitlines())
        try:
            if (head := [name.strip() for name in next(rows, [])]) != ["state", "action", "duration"]:
                raise ModelError(f"line 1: expected state,action,duration, got {shown(','.join(head))}")
            for row in filter(None, rows):
                try:
                    state, action, time = (part.strip() for part in row)
                    place = _pair(pairs, state, action)
                    if place in said:
                        raise ModelError(f"state {shown(state)}, action {shown(action)} has a duration already")
                    said.add(place)
                    times[place] = number(time)
                except ValueError as error:
                    told = error if len(row) == 3 else f"expected state,action,duration, got {shown(','.join(row))}"
                    raise ModelError(f"line {rows.line_num}: {told}") from None
        except csv.Error as error:
            raise ModelError(f"line {rows.line_num}: {error}") from None
    return times


def _shares(state: str, chosen: Any) -> dict[str, Fraction]:
    """The probability of each action that a policy may take in a state; none where it has ended."""
    match chosen:
        case None:
            return {}
        case str():
            return {chosen: Fraction(1)}
        case dict():
            try:
                return {action: exact_number(chance) for action, chance in chosen.items()}
            except ValueError as error:
                raise ModelError(f"state {shown(state)}: {error}") from None
    raise ModelError(f"state {shown(state)}: expected an action or the probabilities of several, got {shown(chosen)}")


def _pairs(model: MDP) -> dict[tuple[str, str], int]:
    owner = model.pair_state.tolist()
    names = zip(owner, model.action.tolist(), strict=True)
    return {(str(model.state_names[s]), str(model.action_names[a])): p for p, (s, a) in enumerate(names)}


def _pair(pairs: dict[tuple[str, str], int], state: str, action: str) -> int:
    if (state, action) not in pairs:
        own = ", ".join(a for s, a in pairs if s == state)
        raise ModelError(f"state {shown(state)} has no action {shown(action)}; it has {own or 'none'}")
    return pairs[state, action]
