"""Worlds that are hard to explore: what pays best lies far away, and the way there pays less than staying."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, mdp


def river_swim() -> MDP:
    """Six states along a river without end: drifting to the left bank pays 5, holding the right one 10,000.

    Strehl & Littman 2008, "An analysis of model-based interval estimation", figure 2. Swimming `right`
    moves up with probability .3 and back with .1; episodes begin in state 1 or 2. The best average
    reward is 729,000/1,090 = 668.807 a step. (Later papers scale the rewards by 1/10,000 and change
    the probabilities: .35 up and .05 back.)

    >>> river_swim().num_states
    6
    """
    last, big, small = 5, 10_000.0, 5.0

    def swim(s: int) -> list[tuple[float, int, float]]:
        if s == 0:
            return [(0.7, 0, 0.0), (0.3, 1, 0.0)]
        if s == last:
            return [(0.7, last - 1, 0.0), (0.3, last, big)]
        return [(0.1, s - 1, 0.0), (0.6, s, 0.0), (0.3, s + 1, 0.0)]

    return mdp(
        {s: {"left": [(1.0, max(s - 1, 0), small if s == 0 else 0.0)], "right": swim(s)} for s in range(last + 1)},
        initial={1: 0.5, 2: 0.5},
        grid={s: (0, s) for s in range(last + 1)},
    )


def deep_sea(size: int = 10, slippery: bool = False, mapping_seed: int | None = 42, move_cost: float = 0.01) -> MDP:
    """A diver sinks one row a step; only going right every time finds the treasure in the last corner.

    Osband, Van Roy, Russo & Wen 2019, "Deep exploration via randomized value functions", section 4;
    bsuite's `deep_sea`. Going right costs `move_cost` / size, the treasure pays 1: the best return is
    1 − move_cost = .99, and a random diver finds it in one of 2^size dives.

    Args:
        size: rows and columns N.
        slippery: going right fails with probability 1/N, as in bsuite's `deep_sea_stochastic`, whose
            rewards have noise besides: `noisy(model, chest_noise(model))`.
        mapping_seed: which of the actions 0 and 1 goes right is drawn for each cell, as bsuite does
            it; None names them `left` and `right`.
        move_cost: of going right all the way.

    Raises:
        ValueError: when the size is below 1.

    >>> from retorno.bellman import solve
    >>> round(solve(deep_sea(), 1.0).start_value, 3)
    0.99
    """
    if size < 1:
        raise ValueError(f"the sea needs at least 1 row, got {size}")
    rights = None
    if mapping_seed is not None:
        rights = np.random.RandomState(mapping_seed).binomial(1, 0.5, (size, size))
    fails = 1 / size if slippery else 0.0

    def cell(row: int, column: int) -> str:
        return f"{row},{column}" if row < size else "sea floor"

    transitions = {}
    for row in range(size):
        for column in range(row + 1):
            reward = -move_cost / size + (column == size - 1)
            right = [
                (1 - fails, cell(row + 1, min(column + 1, size - 1)), reward),
                (fails, cell(row + 1, column), reward),
            ]
            left = [(1.0, cell(row + 1, max(column - 1, 0)), 0.0)]
            if rights is None:
                transitions[cell(row, column)] = {"left": left, "right": right}
            else:
                transitions[cell(row, column)] = {a: right if a == rights[row, column] else left for a in (0, 1)}
    place = {cell(row, column): (row, column) for row in range(size) for column in range(row + 1)}
    return mdp(transitions, initial=cell(0, 0), grid=place)


def chest_noise(model: MDP) -> Float[np.ndarray, " P"]:
    """The standard deviation of each pair's reward in bsuite's stochastic deep sea: 1 in the two lowest corners."""
    lowest = max(place[0] for place in model.grid or () if place is not None)
    corners = [model.state(f"{lowest},{column}") for column in (0, lowest)]
    return np.isin(model.pair_state, corners).astype(float)
