"""What lies where on a map: goals, pits, walls and cliffs, told from what moves do there, and where actions lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Bool, Float

from retorno.core.graph import reached
from retorno.core.mdp import MDP
from retorno.plots.style import PlotError

COMPASS = {
    "left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0),
    "west": (0, -1), "south": (1, 0), "east": (0, 1), "north": (-1, 0),
}  # fmt: skip
"""(rows, columns) of the names that say it."""
GOALS = frozenset({"goal", "target", "treasure", "win"})
PITS = frozenset({"pit", "hole", "trap", "lava", "cliff", "bad"})
"""Labels that say what an end is; without one its reward does."""

Cell = tuple[int, int]


class Kind(Enum):
    """What a cell is."""

    ACTING = "acting"
    GOAL = "goal"
    PIT = "pit"
    END = "end"
    """Ends the episode and pays no more than any other step."""
    WALL = "wall"
    CLIFF = "cliff"
    """Whoever moves there finds herself at the start."""
    NEVER = "never entered"


@dataclass(frozen=True)
class Place:
    """One cell of a map."""

    kind: Kind
    state: int | None = None
    reward: float | None = None
    """The most that entering an end pays; the least that moving off a cliff does."""
    start: bool = False


def places(model: MDP) -> Float[np.ndarray, "S 2"]:
    """(row, column) of each state, NaN for those off the map.

    Raises:
        PlotError: when the model has no map.
    """
    if model.grid is None or not model.has_map:
        raise PlotError("the model does not lie on a map: give `mdp(..., grid={state: (row, column)})`")
    return np.array([(np.nan, np.nan) if at is None else at for at in model.grid], float)


def directions(model: MDP) -> Float[np.ndarray, "A 2"]:
    """Where each action leads on the map, as (rows, columns) of −1, 0 and 1; (0, 0) for nowhere, NaN where it differs.

    The mean displacement of an action's transitions, taken where all of them lead to a neighbouring
    cell: there slips to either side cancel, and walls and jumps do not bend it. It is rounded to
    one of eight directions. A name of the compass (`left`, `north`, …) is taken at its word unless
    the transitions lead the opposite way: wind bends a path and not what was meant. An action has
    no direction where less than half of what it does leads to neighbours, or where its ways from
    different cells are not the same for most of them.

    Raises:
        PlotError: when the model has no map.
    """
    place = places(model)
    pair = model.transition_pair
    step = place[model.next_state] - place[model.pair_state[pair]]
    near = (np.abs(step) <= 1).all(1)  # NaN, a state off the map, is not near.
    away = near & (step != 0).any(1)
    open_pair = np.bincount(pair[~away], minlength=model.num_pairs) == 0
    found = np.zeros((model.num_actions, 2))
    for a, name in enumerate(model.action_names):
        of_action = model.action[pair] == a
        whole = of_action & open_pair[pair]
        counted = whole if whole.any() else of_action & near
        drift = model.probability[counted] @ step[counted]
        named = COMPASS.get(name.lower())
        if named is not None and drift @ named >= 0:
            found[a] = named
            continue
        if np.hypot(*drift) > 1e-6:
            found[a] = _rounded(drift)
        if model.probability[of_action & near].sum() < 0.5 * model.probability[of_action].sum():
            found[a] = np.nan
        elif whole.any():
            drifts = [
                np.bincount(pair[whole], model.probability[whole] * step[whole, i], model.num_pairs) for i in (0, 1)
            ]
            ways = np.stack(drifts, 1)[open_pair & (model.action == a)]
            ways = ways[np.hypot(*ways.T) > 1e-6]
            if len(ways) and np.mean([(_rounded(way) == found[a]).all() for way in ways]) < 0.5:
                found[a] = np.nan
    return found


def headings(model: MDP) -> Float[np.ndarray, "P 2"]:
    """Where each pair leads, as (rows, columns): its action's direction, else its own way; NaN where there is none.

    Raises:
        PlotError: when the model has no map.
    """
    if model.map_key is not None and model.map_key.headings:
        return np.array(model.map_key.headings, float)[model.action]
    if model.map_key is not None and model.map_key.rows:
        return np.full((model.num_pairs, 2), np.nan)
    found = directions(model)[model.action]
    own = np.isnan(found[:, 0])
    if own.any():
        place, pair = places(model), model.transition_pair
        step = place[model.next_state] - place[model.pair_state[pair]]
        near = (np.abs(step) <= 1).all(1)
        wild = np.bincount(pair[~near], minlength=model.num_pairs) > 0
        drift = np.stack(
            [np.bincount(pair, model.probability * np.nan_to_num(step[:, i]), model.num_pairs) for i in (0, 1)], 1
        )
        for p in np.flatnonzero(own & ~wild & (np.hypot(*drift.T) > 1e-6)):
            found[p] = _rounded(drift[p])
    return found


def arrows(model: MDP) -> dict[tuple[int, int], tuple[int, int]]:
    """The heading of each (state, action) that leads somewhere on the map.

    Raises:
        PlotError: when the model has no map.
    """
    return {
        (int(s), int(a)): (int(way[0]), int(way[1]))
        for s, a, way in zip(model.pair_state, model.action, headings(model), strict=True)
        if np.isfinite(way[0]) and way.any()
    }


def _rounded(drift: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
    """The nearest of eight directions."""
    turn = np.round(np.arctan2(drift[0], drift[1]) / (np.pi / 4)) * (np.pi / 4)
    return np.round((np.sin(turn), np.cos(turn)))


def ends(model: MDP) -> Bool[np.ndarray, " S"]:
    """States without actions, or with nothing but loops to themselves that pay nothing."""
    owner = model.pair_state[model.transition_pair]
    alive = (model.next_state != owner) | (model.reward != 0)
    return np.bincount(owner[alive], minlength=model.num_states) == 0


def entered(model: MDP) -> Bool[np.ndarray, " S"]:
    """States that some episode can visit."""
    owner = model.pair_state[model.transition_pair]
    possible = model.probability > 0
    going_on = possible & (model.discount != 0)
    begin = np.flatnonzero(model.initial > 0)
    acting = reached(owner[going_on], model.next_state[going_on], begin, model.num_states)
    visited = acting.copy()
    visited[model.next_state[possible & acting[owner]]] = True
    return visited


def entry_rewards(model: MDP) -> dict[int, float]:
    """The largest reward that each end pays on entering it."""
    owner = model.pair_state[model.transition_pair]
    from_outside = (owner != model.next_state) & ends(model)[model.next_state] & (model.probability > 0)
    rewards = np.full(model.num_states, -np.inf)
    np.maximum.at(rewards, model.next_state[from_outside], model.reward[from_outside])
    return {int(s): float(rewards[s]) for s in np.flatnonzero(np.isfinite(rewards))}


def end_kinds(model: MDP) -> dict[int, Kind]:
    """What each end that can be entered is, by its label, else by what it pays beside an ordinary step.

    An end that pays more is a goal, one that pays less a pit. One that pays the same is a goal where steps cost
    something and no end pays more: to end is all there is to win.
    """
    paid, usual = entry_rewards(model), _usual_reward(model)
    said = {
        int(s): kind
        for label, states in model.labels.items()
        for kind, words in ((Kind.GOAL, GOALS), (Kind.PIT, PITS))
        if label.lower() in words
        for s in states
    }
    most = max(paid.values(), default=usual)
    alike = Kind.GOAL if usual < 0 and most <= usual else Kind.END
    return {s: said.get(s, Kind.GOAL if r > usual else Kind.PIT if r < usual else alike) for s, r in paid.items()}


def _usual_reward(model: MDP) -> float:
    """What a step pays that does not end the episode: the median."""
    going_on = (model.discount != 0) & (model.probability > 0) & ~ends(model)[model.next_state]
    return float(np.median(model.reward[going_on])) if going_on.any() else 0.0


def whole_map(model: MDP) -> dict[Cell, Place]:
    """Every cell of the map on which something lies; cells where nothing can be told are left out.

    A cell that no episode enters is a wall where all moves towards it may stay where they are, and a cliff where they
    lead to the start and pay less than a step does. What lies behind a wall, and no move leads to, is wall as well.

    Raises:
        PlotError: when the model has no map.
    """
    place, visited, over = places(model), entered(model), ends(model)
    kinds, paid = end_kinds(model), entry_rewards(model)
    few = np.count_nonzero(model.initial) <= max(1, np.isfinite(place[:, 0]).sum() / 4)
    found: dict[Cell, Place] = {}
    for s in np.flatnonzero(np.isfinite(place[:, 0])).tolist():
        at = int(place[s, 0]), int(place[s, 1])
        if over[s] and visited[s] and s in paid:
            found[at] = Place(kinds[s], s, paid[s])
        elif over[s] or not visited[s]:
            found[at] = Place(Kind.NEVER, s)
        else:
            found[at] = Place(Kind.ACTING, s, start=bool(few and model.initial[s] > 0))
    found |= _barriers(model, place, visited & ~over, found)
    return found


def _barriers(
    model: MDP, place: Float[np.ndarray, "S 2"], acting: Bool[np.ndarray, " S"], found: Mapping[Cell, Place]
) -> dict[Cell, Place]:
    """Walls and cliffs among the cells that are not entered."""
    rows, columns = (int(x) + 1 for x in np.nanmax(place, 0))
    empty = {(r, c) for r in range(rows) for c in range(columns)} - found.keys()
    closed = empty | {at for at, one in found.items() if one.kind is Kind.NEVER}
    if not closed or model.map_key is not None:
        return {}
    heading, usual, owner = headings(model), _usual_reward(model), model.pair_state
    aimed = place[owner] + heading
    bumps: dict[Cell, bool] = {}
    least: dict[Cell, float] = {}
    for p in np.flatnonzero(acting[owner] & np.isfinite(aimed[:, 0]) & (heading != 0).any(1)):
        at = int(aimed[p, 0]), int(aimed[p, 1])
        if at not in closed:
            continue
        rows_of_pair = slice(model.row_ptr[p], model.row_ptr[p + 1])
        to, chance, reward = (x[rows_of_pair] for x in (model.next_state, model.probability, model.reward))
        fallen = (model.initial[to] > 0) & (reward < usual)
        bumps[at] = bumps.get(at, True) and bool(chance[(to == owner[p]) & ~fallen].sum() > 0)
        if fallen.any():
            least[at] = min(least.get(at, np.inf), float(reward[fallen].min()))
    made = {at: Place(Kind.CLIFF, reward=reward) for at, reward in least.items()}
    made |= {at: Place(Kind.WALL) for at, bumped in bumps.items() if bumped and at not in made}
    front = [at for at, one in made.items() if one.kind is Kind.WALL and at in empty]
    while front:
        r, c = front.pop()
        for at in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if at in empty and at not in made:
                made[at] = Place(Kind.WALL)
                front.append(at)
    return made
