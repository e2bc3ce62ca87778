"""The models of bellman.py as plain arrays, the same for every solver. Needs NumPy alone: peers read it too."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ACCURACY = 1e-6


@dataclass(frozen=True)
class Arrays:
    """State s owns the pairs `state_ptr[s]:state_ptr[s + 1]`, pair p the transitions `row_ptr[p]:row_ptr[p + 1]`.

    A state without pairs is terminal. `reward` [P] is r(s, a), and `discount` that of the question.
    """

    state_ptr: np.ndarray
    row_ptr: np.ndarray
    next_state: np.ndarray
    probability: np.ndarray
    reward: np.ndarray
    discount: Any

    @property
    def num_states(self) -> int:
        return len(self.state_ptr) - 1

    @property
    def state(self) -> np.ndarray:
        """[P], the state that owns each pair."""
        return np.repeat(np.arange(self.num_states), np.diff(self.state_ptr))

    @property
    def action(self) -> np.ndarray:
        """[P], each pair's action: 0, 1, … in every state."""
        return np.arange(len(self.reward)) - np.repeat(self.state_ptr[:-1], np.diff(self.state_ptr))

    @property
    def terminal(self) -> np.ndarray:
        return np.diff(self.state_ptr) == 0

    def save(self, path: Path) -> None:
        np.savez(path, **asdict(self))


def load(path: Path) -> Arrays:
    """What `save` wrote."""
    with np.load(path) as kept:
        return Arrays(**{name: kept[name] for name in kept})


def absorbing(arrays: Arrays) -> Arrays:
    """For solvers without terminal states: there the only action stays, for no reward."""
    ended = np.flatnonzero(arrays.terminal)
    state = np.append(arrays.state, ended)
    order = np.argsort(state, kind="stable")
    outcomes = np.append(np.diff(arrays.row_ptr), np.ones(len(ended), np.int64))
    moved = np.append(0, np.cumsum(outcomes[order]))
    from_pair = np.repeat(
        np.append(arrays.row_ptr[:-1], len(arrays.next_state) + np.arange(len(ended)))[order], outcomes[order]
    )
    place = from_pair + np.arange(moved[-1]) - np.repeat(moved[:-1], outcomes[order])
    return Arrays(
        state_ptr=np.append(0, np.cumsum(np.maximum(np.diff(arrays.state_ptr), 1))),
        row_ptr=moved.astype(arrays.row_ptr.dtype),
        next_state=np.append(arrays.next_state, ended.astype(np.int32))[place],
        probability=np.append(arrays.probability, np.ones(len(ended)))[place],
        reward=np.append(arrays.reward, np.zeros(len(ended)))[order],
        discount=arrays.discount,
    )


def garnet(states: int, actions: int = 4, successors: int = 5, discount: float = 0.99) -> Arrays:
    """States that lead anywhere: every next state drawn at random. Archibald, McKinnon & Thomas 1995."""
    random = np.random.default_rng(0)
    pairs = states * actions
    probability = random.exponential(size=(pairs, successors))
    probability /= probability.sum(1, keepdims=True)
    return Arrays(
        state_ptr=np.arange(0, pairs + 1, actions, dtype=np.int32),
        row_ptr=np.arange(0, pairs * successors + 1, successors, dtype=np.int32),
        next_state=random.integers(0, states, pairs * successors, dtype=np.int32),
        probability=probability.reshape(-1),
        reward=random.random(pairs),
        discount=discount,
    )


def holes_of(side: int, share: float) -> np.ndarray:
    """[side²], where a lake's holes are: anywhere but at the start and the goal, its two ends."""
    holes = np.random.default_rng(0).random(side * side) < share
    holes[[0, -1]] = False
    return holes


def lake(side: int, holes: float = 0.2, cost: float = 0.0, discount: float = 0.99) -> Arrays:
    """A slippery lake: each step goes where it should or to either side of that, with the same chance.

    1 for the goal in the last corner, `cost` for every step; holes and the goal are terminal.
    """
    states = side * side
    terminal = holes_of(side, holes)
    terminal[-1] = True
    acting = np.flatnonzero(~terminal)
    row, column = np.divmod(acting, side)
    left, down = row * side + np.maximum(column - 1, 0), np.minimum(row + 1, side - 1) * side + column
    right, up = row * side + np.minimum(column + 1, side - 1), np.maximum(row - 1, 0) * side + column
    step = (left, down, right, up)
    sides = [[step[a - 1], step[a], step[(a + 1) % 4]] for a in range(4)]
    next_state = np.array(sides, np.int32).transpose(2, 0, 1)  # [acting, action, outcome]
    return Arrays(
        state_ptr=np.append(0, np.cumsum(np.where(terminal, 0, 4))).astype(np.int32),
        row_ptr=np.arange(0, next_state.size + 1, 3, dtype=np.int32),
        next_state=next_state.reshape(-1),
        probability=np.full(next_state.size, 1 / 3),
        reward=(next_state == states - 1).mean(2).reshape(-1) - cost,
        discount=discount,
    )


def chain(states: int, discount: float = 0.9999) -> Arrays:
    """Left or right with chance .9, else the other way: a little to be had at the left end, more at the right."""
    state = np.arange(states, dtype=np.int32)
    left, right = np.maximum(state - 1, 0), np.minimum(state + 1, states - 1)
    reward = np.zeros((states, 2))
    reward[0, 0], reward[-1, 1] = 0.01, 1.0
    return Arrays(
        state_ptr=np.arange(0, 2 * states + 1, 2, dtype=np.int32),
        row_ptr=np.arange(0, 4 * states + 1, 2, dtype=np.int32),
        next_state=np.stack([left, right, right, left], 1).reshape(-1),
        probability=np.tile([0.9, 0.1], 2 * states),
        reward=reward.reshape(-1),
        discount=discount,
    )


Build = Callable[[float], Arrays]
"""The model, with so many times fewer states."""

MODELS: dict[str, Build] = {
    "garnet_100k": lambda less: garnet(int(100_000 / less)),
    "garnet_1m": lambda less: garnet(int(1_000_000 / less)),
    "lake": lambda less: lake(int(1000 / less**0.5)),
    "lake_cost": lambda less: lake(int(1000 / less**0.5), holes=0.0, cost=1.0),
    "chain": lambda less: chain(int(1_000_000 / less)),
}
WARM = {"garnet_100k": 20, "garnet_1m": 200, "lake": 100, "lake_cost": 100, "chain": 50}
"""How many times smaller the twin is with which a solver is warmed up."""

Solve = Callable[[], tuple[np.ndarray, dict[str, Any]]]
"""The value of each state, and facts about the answer."""


def solving(solver: str, prepare: Callable[[Arrays], Solve], name: str, limit: int = 0) -> Callable[[], float]:
    """A worker's measure: seconds of a solve, of the model `name` in BELLMAN_FOLDER.

    The first call warms up with a smaller twin of the model. The last answer, and what is known of it, lie
    in the folder. A solve that takes more than `limit` seconds ends the process; 0 is no limit.
    """
    folder = Path(os.environ["BELLMAN_FOLDER"])
    facts: dict[str, Any] = {}
    ready: list[Solve] = []

    def say(**more: Any) -> None:
        facts.update(more)
        (folder / f"{solver} {name}.json").write_text(json.dumps(facts))

    def measure() -> float:
        try:
            if not ready:
                prepare(load(folder / f"{name} warm.npz"))()
                arrays, began = load(folder / f"{name}.npz"), time.perf_counter()
                ready.append(prepare(arrays))
                say(build=time.perf_counter() - began)
                return 0.0
            signal.alarm(limit)
            began = time.perf_counter()
            value, known = ready[0]()
            seconds = time.perf_counter() - began
            signal.alarm(0)
        except Exception as error:
            say(cannot=f"{type(error).__name__}: {error}")
            raise
        np.save(folder / f"{solver} {name}.npy", value)
        say(**known)
        return seconds

    return measure
