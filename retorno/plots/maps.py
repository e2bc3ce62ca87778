"""Values and policies of models that lie on a map: a cell per state, with arrows for *all* best actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from retorno.core.mdp import MDP
from retorno.core.solution import Solution
from retorno.plots.style import INK, MUTED, PAPER, RULE, PlotError, number, panels, style

COMPASS = {
    "left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0),
    "west": (0, -1), "south": (1, 0), "east": (0, 1), "north": (-1, 0),
}  # fmt: skip
"""(rows, columns) of the names that say it."""

COLOURS = "cividis"
GOAL, END = "#009e73", "#8a8f98"
NUMBERED = 0.5
"""Cells of at least this many inches hold their number."""


@runtime_checkable
class Answer(Protocol):
    """What a map shows: a `Solution`, or a learner's `Greedy`."""

    @property
    def model(self) -> MDP: ...
    @property
    def value(self) -> Float[np.ndarray, " S"]: ...
    @property
    def optimal(self) -> Bool[np.ndarray, " P"]: ...


def shown_pairs(answer: Answer) -> Bool[np.ndarray, " P"]:
    """The pairs that a picture marks: those of a policy that was evaluated, else all that tie for the best.

    Args:
        answer: with P pairs.
    """
    return answer.shown if isinstance(answer, Solution) else answer.optimal


class Greedy(NamedTuple):
    """What learned action values say about a model."""

    model: MDP
    value: Float[np.ndarray, " S"]
    optimal: Bool[np.ndarray, " P"]


def greedy(model: MDP, q: Float[np.ndarray | Array, "S A"], tolerance: float = 1e-6) -> Greedy:
    """The value and the best actions that a table of learned action values stands for.

    Args:
        model: with S states and A action names.
        q: the table, by state and action number. Entries of actions that a state lacks are not read.
        tolerance: actions this close to the state's best tie with it, relative to the largest |q|.

    Raises:
        PlotError: when the table has another shape.
    """
    q = np.asarray(q, float)
    if q.shape != (model.num_states, model.num_actions):
        raise PlotError(
            f"action values of shape {q.shape} do not fit the model: expected {(model.num_states, model.num_actions)}, "
            "states × actions"
        )
    pairs = q[model.pair_state, model.action]
    value = np.full(model.num_states, -np.inf)
    np.maximum.at(value, model.pair_state, pairs)
    value[model.terminal] = 0
    near = tolerance * max(1.0, float(np.abs(pairs).max(initial=0)))
    return Greedy(model, value, pairs >= value[model.pair_state] - near)


def directions(model: MDP) -> Float[np.ndarray, "A 2"]:
    """Where each action leads on the map, as (rows, columns) of −1, 0 and 1; (0, 0) for nowhere.

    The mean displacement of an action's transitions, taken where all of them lead to a neighbouring
    cell: there slips to either side cancel, and walls and jumps do not bend it. It is rounded to
    one of eight directions. A name of the compass (`left`, `north`, …) is taken at its word unless
    the transitions lead the opposite way: wind bends a path and not what was meant.

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
        counted = of_action & open_pair[pair]
        counted = counted if counted.any() else of_action & near
        drift = model.probability[counted] @ step[counted]
        named = COMPASS.get(name.lower())
        if named is not None and drift @ named >= 0:
            found[a] = named
        elif np.hypot(*drift) > 1e-6:
            turn = np.round(np.arctan2(drift[0], drift[1]) / (np.pi / 4)) * (np.pi / 4)
            found[a] = np.round((np.sin(turn), np.cos(turn)))
    return found


def places(model: MDP) -> Float[np.ndarray, "S 2"]:
    """(row, column) of each state, NaN for those off the map.

    Raises:
        PlotError: when the model has no map.
    """
    if model.grid is None or not any(model.grid):
        raise PlotError("the model does not lie on a map: give `mdp(..., grid={state: (row, column)})`")
    return np.array([(np.nan, np.nan) if at is None else at for at in model.grid], float)


def value_map(
    answers: Answer | Mapping[str, Answer], limits: tuple[float, float] | None = None, across: int | None = None
) -> Figure:
    """A heat map of values with the best actions, all ties shown as arrows; of a policy that was evaluated its own.

    A star marks the ends that pay most to enter and a cross the others; a frame marks where
    episodes start; hatched cells are never entered. Numbers give way to a colour bar where the
    map is too large for them.

    Args:
        answers: a solution (or `greedy(model, q)`); or several by title, drawn side by side in one
            scale of colours.
        limits: the values of the first and last colour; of the answers' own values if None.
        across: how many maps stand in a row; all, or one where they are wide, if None.

    Raises:
        PlotError: when there is no answer, or a model has no map.
    """
    titled: Mapping[str, Answer] = answers if isinstance(answers, Mapping) else {"": answers}
    if not titled:
        raise PlotError("there is no answer to draw: give a solution")
    rows, columns = (int(x) + 1 for x in np.nanmax([np.nanmax(places(a.model), 0) for a in titled.values()], 0))
    size = min(0.95, max(0.3, 9.5 / columns))
    stacked = columns * size * len(titled) > 10
    beside = across or (1 if stacked else len(titled))
    shape = (-(-len(titled) // beside), beside)
    with style():
        figure, panes = panels(
            shape[1] * (columns * size + 0.25) + 1.0 * (size < NUMBERED),
            shape[0] * (rows * size + 0.25 + 0.25 * any(titled)),
            *shape,
        )
        shown = np.concatenate([a.value[_coloured(a.model)] for a in titled.values()])
        shown = shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.zeros(1)
        lowest, highest = limits or (float(shown.min()), float(shown.max()))
        norm = Normalize(lowest, highest if highest > lowest else lowest + 1)
        for pane in panes[len(titled) :]:
            pane.set_visible(False)
        for pane, (title, answer) in zip(panes, titled.items(), strict=False):
            _draw_map(pane, answer, norm, _decimals(np.append(shown, limits or ())), size)
            pane.set_title(title)
            pane.set(xlim=(-0.52, columns - 0.48), ylim=(rows - 0.48, -0.52), aspect="equal")
            pane.axis("off")
        if size < NUMBERED:
            bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=list(panes), shrink=0.6, aspect=25, label="value")
            bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _coloured(model: MDP) -> Bool[np.ndarray, " S"]:
    """States that are drawn with their value: on the map, not ends, and entered in some episode."""
    return np.isfinite(places(model)[:, 0]) & ~ends(model) & entered(model)


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
    acting = model.initial > 0
    while True:
        after = acting.copy()
        after[model.next_state[going_on & acting[owner]]] = True
        if (after == acting).all():
            break
        acting = after
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


def _draw_map(axes: Axes, answer: Answer, norm: Normalize, decimals: int, size: float) -> None:
    model, place = answer.model, places(answer.model)
    marked = shown_pairs(answer)
    coloured, visited, heading = _coloured(model), entered(model), directions(model)
    paid = entry_rewards(model)
    best = max(paid.values(), default=0.0)
    few_starts = np.count_nonzero(model.initial) <= model.num_states / 4
    colours = matplotlib.colormaps[COLOURS]
    for s, (row, column) in enumerate(place):
        if np.isnan(row):
            continue
        if not coloured[s]:
            reached = visited[s] and s in paid
            _draw_end(axes, (column, row), paid[s] if reached else None, reached and paid[s] >= best, size)
            continue
        known = np.isfinite(answer.value[s])
        fill = colours(norm(answer.value[s])) if known else to_rgb(RULE)
        light = np.dot(fill[:3], (0.299, 0.587, 0.114)) > 0.5
        ink = "#101318" if light else "#ffffff"
        axes.add_patch(Rectangle((column - 0.49, row - 0.49), 0.98, 0.98, facecolor=fill, edgecolor="none"))
        pairs = range(model.state_ptr[s], model.state_ptr[s + 1])
        best_actions = [model.action[p] for p in pairs if marked[p] and known]
        for a in best_actions:
            if size >= NUMBERED:
                _draw_head(axes, (column, row), heading[a], ink)
            else:
                _draw_arrow(axes, (column, row), heading[a], ink, centred=len(best_actions) == 1)
        if size >= NUMBERED:
            text = f"{answer.value[s]:z.{decimals}f}".replace("-", "−") if known else "–"
            size_of_type = min(10.5, 0.155 * 72 * size)
            axes.text(column, row, text, ha="center", va="center_baseline", color=ink, fontsize=size_of_type)
        if model.initial[s] > 0 and few_starts:
            axes.add_patch(
                Rectangle((column - 0.465, row - 0.465), 0.93, 0.93, fill=False, edgecolor=ink, linewidth=1.3)
            )


def _decimals(shown: Float[np.ndarray, " n"]) -> int:
    """Enough for three significant digits; none where all values are whole."""
    largest = float(np.abs(shown).max())
    if np.allclose(shown, np.round(shown), atol=1e-6):
        return 0
    return 3 if largest <= 1 else 2 if largest < 10 else 1 if largest < 1000 else 0


def _draw_end(axes: Axes, at: tuple[float, float], reward: float | None, goal: bool, size: float) -> None:
    """A cell that no one acts in: a goal, another end, or one that is never entered (no reward)."""
    x, y = at
    colour = GOAL if goal else END
    box: dict[str, Any] = {"facecolor": PAPER, "edgecolor": RULE, "linewidth": 0.8}
    if reward is None:
        axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, hatch="////", **box))
        return
    axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, **box))
    lift = 0.1 if size >= NUMBERED else 0.0
    if goal:
        axes.plot(x, y - lift, "*", color=colour, markersize=72 * size * 0.3, markeredgewidth=0)
    else:
        axes.plot(x, y - lift, "x", color=colour, markersize=72 * size * 0.2, markeredgewidth=1.6)
    if size >= NUMBERED:
        sign = "+" if reward > 0 else ""
        axes.text(
            x, y + 0.27, sign + number(reward, 3), ha="center", va="center", color=INK if goal else MUTED,
            fontsize=min(9, 0.13 * 72 * size),
        )  # fmt: skip


def _draw_head(axes: Axes, at: tuple[float, float], heading: np.ndarray, ink: str) -> None:
    """An arrow's head at the edge of a cell, beside its number; a dot for nowhere."""
    x, y = at
    if not heading.any():
        axes.plot(x, y + 0.33, "o", color=ink, markersize=3)
        return
    along = heading[::-1] / np.hypot(*heading)
    across = 0.075 * np.array([-along[1], along[0]])
    corners = [0.43 * along, 0.33 * along + across, 0.33 * along - across]
    axes.add_patch(Polygon(np.array(corners) + at, closed=True, facecolor=ink, edgecolor="none"))


def _draw_arrow(axes: Axes, at: tuple[float, float], heading: np.ndarray, ink: str, centred: bool) -> None:
    """An arrow through a cell without a number; from its middle where there are several; a dot for nowhere."""
    x, y = at
    if not heading.any():
        axes.plot(x, y, "o", color=ink, markersize=3)
        return
    along = heading[::-1] / np.hypot(*heading)
    across = 0.13 * np.array([-along[1], along[0]])
    tail, base, tip = ((-0.32 if centred else 0.0) * along, 0.12 * along, 0.36 * along)
    (x0, y0), (x1, y1) = tail + at, base + at
    axes.plot([x0, x1], [y0, y1], color=ink, linewidth=1.0, solid_capstyle="butt")
    axes.add_patch(
        Polygon(np.array([tip, base + across, base - across]) + at, closed=True, facecolor=ink, edgecolor="none")
    )
