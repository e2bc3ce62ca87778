"""Dynamic programming. Sutton & Barto 2018, chapter 4."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float
from matplotlib.colors import BoundaryNorm

from retorno import bellman
from retorno.core.mdp import MDP
from retorno.environments.grids.gridworlds import example_4_1
from retorno.environments.textbook.car_rental import MOST_CARS, car_rental
from retorno.environments.textbook.gambler import gambler
from retorno.figures.exhibit import Check, Exhibit, Source
from retorno.plots.answers import Greedy, greedy
from retorno.plots.maps import value_map
from retorno.plots.style import INK, LINES, MUTED, number_axes, panels, style

SWEEPS = (0, 1, 2, 3, 10)


def iterative_evaluation(seeds: int) -> Exhibit:
    """Figure 4.1: sweeps that evaluate the random policy, and what is greedy for them."""
    model = example_4_1()
    limit = bellman.evaluate(model, bellman.uniform, 1.0).value
    values = {f"k = {k}": value for k, value in zip(SWEEPS, _sweeps(model, max(SWEEPS)), strict=True)}
    values["k = ∞"] = limit
    best = bellman.solve(model, 1.0).optimal
    shown = {title: _greedy(model, value) for title, value in values.items()}
    top = [model.state(f"0,{column}") for column in (1, 2, 3)]
    optimal = [title for title, answer in shown.items() if not (answer.optimal & ~best).any()]
    return Exhibit(
        picture=value_map(shown, across=3),
        columns=("row", "column", *values),
        rows=[
            (*place, *(float(value[s]) for value in values.values()))
            for s, place in enumerate(model.grid or ())
            if place is not None
        ],
        checks=(
            *(
                Check(f"top row, cell {cell + 2}, k = 10", book, float(values["k = 10"][s]), 0.0, 0.005)
                for cell, (s, book) in enumerate(zip(top, (-6.14, -8.35, -8.97), strict=True))
            ),
            *(
                Check(f"top row, cell {cell + 2}, k = ∞", book, float(limit[s]), 0.0, 1e-6, Source.BOOK)
                for cell, (s, book) in enumerate(zip(top, (-14, -20, -22), strict=True))
            ),
        ),
        notes=(f"the greedy policy takes best actions only from {optimal[0]} on",),
    )


def _sweeps(model: MDP, most: int) -> list[Float[np.ndarray, " S"]]:
    """Values of the random policy after each of `SWEEPS` sweeps in which all states are backed up at once (eq. 4.5)."""
    value, kept = np.zeros(model.num_states), []
    for k in range(most + 1):
        if k in SWEEPS:
            kept.append(value)
        value = np.bincount(model.pair_state, _q(model, value), model.num_states) / np.maximum(
            np.diff(model.state_ptr), 1
        )
    return kept


def _q(model: MDP, value: Float[np.ndarray, " S"]) -> Float[np.ndarray, " P"]:
    outcome = model.probability * (model.reward + model.discount * value[model.next_state])
    return np.bincount(model.transition_pair, outcome, model.num_pairs)


def _greedy(model: MDP, value: Float[np.ndarray, " S"]) -> Greedy:
    """The values as they are, with the actions that are greedy for them."""
    q = np.full((model.num_states, model.num_actions), -np.inf)
    q[model.pair_state, model.action] = _q(model, value)
    return greedy(model, q)._replace(value=value)


def rental(seeds: int) -> Exhibit:
    """Figure 4.2: the policies that policy iteration goes through, and the best value."""
    model = car_rental()
    start = np.flatnonzero(np.asarray(model.action_names)[model.action] == "0")
    policies, value = _improvements(model, start)
    best = bellman.solve(model, 0.9)
    size = MOST_CARS + 1
    table = [moves.reshape(size, size) for moves in policies]
    with style():
        figure, panes = panels(9.6, 6.3, 2, 3)
        norm = BoundaryNorm(np.arange(-5.5, 6), 256)
        for k, (pane, moves) in enumerate(zip(panes, table, strict=False)):
            image = pane.imshow(moves, origin="lower", cmap="RdBu_r", norm=norm)
            pane.set_title(f"π{'₀₁₂₃₄'[k]}")
        figure.colorbar(
            image, ax=list(panes[: len(table)]), label="cars moved to the second", shrink=0.6, ticks=range(-5, 6)
        )
        pane = panes[len(table)]
        contours = pane.contour(value.reshape(size, size), levels=8, cmap="cividis")
        pane.clabel(contours, fontsize=8)
        pane.set_aspect("equal")
        pane.set_title("value of π₄")
        for pane in panes:
            pane.grid(False)
            pane.set(xticks=(0, 10, 20), yticks=(0, 10, 20), xlabel="cars at the second")
            pane.set_ylabel("cars at the first")
    moved = policies[-1]
    return Exhibit(
        picture=figure,
        columns=("first", "second", *(f"policy {k}" for k in range(len(policies))), "value"),
        rows=[
            (s // size, s % size, *(int(moves[s]) for moves in policies), float(value[s]))
            for s in range(model.num_states)
        ],
        checks=(
            Check("improvements", 4, len(policies) - 1, 0.0, 0.0, Source.BOOK),
            Check("most cars to the second", 5, int(moved.max()), 0.0, 0.0, Source.FIGURE),
            Check("most cars to the first", 4, int(-moved.min()), 0.0, 0.0, Source.FIGURE),
            Check("value with no cars", 421.4141, float(best.value[0]), 0.0, 1e-4),
            Check("value with 10 cars each", 574.9483, float(best.value[model.state("10,10")]), 0.0, 1e-4),
            Check("value with 20 cars each", 636.9896, float(best.value[-1]), 0.0, 1e-4),
            Check("largest value lost by the last policy", 0, float((best.value - value).max()), 0.0, 1e-6),
        ),
    )


def _improvements(model: MDP, pairs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Policy iteration, keeping an action where another is no better: (cars moved by each policy, last value)."""
    moves = np.asarray(model.action_names).astype(int)[model.action]
    policies = []
    while True:
        policies.append(moves[pairs])
        chances = np.zeros(model.num_pairs)
        chances[pairs] = 1
        answer = bellman.evaluate(model, chances, 0.9)
        best = np.maximum.reduceat(answer.q, model.state_ptr[:-1])
        better = best > answer.q[pairs] + 1e-9
        if not better.any():
            return policies, answer.value
        first = np.array([a + int(np.argmax(answer.q[a:b])) for a, b in pairwise(model.state_ptr)])
        pairs = np.where(better, first, pairs)


def gamblers_problem(seeds: int) -> Exhibit:
    """Figure 4.3: values of the first sweeps and their limit, and all stakes that tie for the best."""
    model = gambler()
    answer = bellman.solve(model, 1.0)
    capital = list(range(1, 100))
    state = np.array([model.state(str(c)) for c in capital])
    sweeps, value = {}, np.zeros(model.num_states)
    for k in range(1, 33):
        value = _best(model, value)
        if k in (1, 2, 3, 32):
            sweeps[k] = value[state]
    stakes = [(c, int(a)) for c in capital for a in answer.actions(str(c))]
    smallest = {c: min(a for d, a in stakes if d == c) for c in capital}
    with style():
        figure, (above, below) = panels(7.2, 6.4, 2, 1)
        above.plot(capital, answer.value[state], color=LINES[0], linewidth=4, alpha=0.4, label="exact")
        for (k, each), colour in zip(sweeps.items(), (*LINES[1:4], INK), strict=True):
            dashes = (None, None) if k < 32 else (3, 2)
            above.plot(capital, each, color=colour, dashes=dashes, linewidth=1.2, label=f"sweep {k}")
        above.set(xlabel="capital", ylabel="probability to win", xlim=(0, 100))
        above.set_title("The gambler's problem, heads with probability .4", pad=10)
        above.legend(loc="upper left")
        below.plot(*np.array(stakes).T, "o", color=MUTED, markersize=2.5, label="all best stakes")
        below.plot(
            capital, [smallest[c] for c in capital], "o", color=LINES[1], markersize=3.5, label="the smallest of them"
        )
        below.set(xlabel="capital", ylabel="stake", xlim=(0, 100), ylim=(0, 54))
        below.legend(loc="upper left")
        for axes in (above, below):
            number_axes(axes)
    known = {1: 0.00206562, 25: 0.16, 50: 0.4, 51: 0.403098, 75: 0.64, 99: 0.964333}
    return Exhibit(
        picture=figure,
        columns=("capital", *(f"sweep {k}" for k in sweeps), "value", "best stakes"),
        rows=[
            (
                int(c),
                *(float(each[i]) for each in sweeps.values()),
                float(answer.value[state[i]]),
                " ".join(answer.actions(str(c))),
            )
            for i, c in enumerate(capital)
        ],
        checks=(
            *(Check(f"value of {c}", v, float(answer.value[model.state(str(c))]), 0.0, 1e-6) for c, v in known.items()),
            Check("smallest best stake at 51", 1, smallest[51], 0.0, 0.0, Source.FIGURE),
            Check("best stakes at 51", 2, len(answer.actions("51")), 0.0),
        ),
        notes=(f"{len(stakes)} best stakes at {len(capital)} capitals; the book's figure shows the smallest",),
    )


def _best(model: MDP, value: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """A sweep of value iteration, all states at once (eq. 4.10)."""
    best = np.zeros(model.num_states)
    acting = ~model.terminal
    best[acting] = np.maximum.reduceat(_q(model, value), model.state_ptr[:-1][acting])
    return best
