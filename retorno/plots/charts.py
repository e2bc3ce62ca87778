"""Answers of models that lie on no map of places: policy and values over two numbers, or over the states in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from retorno.core.mdp import MDP, MapKey
from retorno.plots.answers import Answer, evaluated, marked_actions
from retorno.plots.places import ends, places
from retorno.plots.style import (
    INK,
    LINES,
    MUTED,
    PAPER,
    RULE,
    InlineFigure,
    PlotError,
    number,
    number_axes,
    panels,
    style,
)

CELL = 0.25
"""Inches."""
DIVERGING = "RdBu_r"
REGIONS = ("#cfd3da", "#0072b2", "#e69f00")
"""Of the first sets of actions: apart in lightness too."""
MOST_STRIPS = 12
"""Actions that get a line of dots each."""


_Cells = dict[tuple[int, int], tuple[int, ...]]
"""The actions that are marked in each cell."""


def chart(titled: Mapping[str, Answer], limits: tuple[float, float] | None = None) -> Figure:
    """Policy and values side by side where a map's rows and columns count something; a line for each block and answer.

    Actions whose names are numbers are drawn as numbers, others as regions; tied ones have a region of their own. Of
    tied numbers the one nearest to 0 is drawn.

    Args:
        titled: answers by title, of one model with a `map_key`.
        limits: the values of the first and last colour; of the answers' own values if None.
    """
    model = next(iter(titled.values())).model
    key = model.map_key
    if key is None or not key.rows:
        raise PlotError("the model's map shows places: draw it with value_map")
    shape = tuple(int(x) + 1 for x in np.nanmax(places(model), 0))
    policies = {title: _marked_cells(answer, shape) for title, answer in titled.items()}
    values = {title: _value_cells(answer, shape) for title, answer in titled.items()}
    norm = _scale(np.concatenate([grid.reshape(-1) for grid in values.values()]), limits)
    blocks = [_Block(*block, *_rows(values.values(), *block[1:])) for block in key.blocks or (("", 0, shape[1]),)]
    lines = [(title, block) for title in titled for block in blocks]
    heights = [max((block.bottom - block.top) * CELL, 1.0) for _, block in lines]
    width = 2 * (max(block.last - block.first for block in blocks) * CELL + 1.5) + 0.5
    with style():
        figure = InlineFigure(figsize=(width, sum(heights) + 0.75 * len(lines) + 0.45), layout="constrained")
        panes = figure.subplots(len(lines), 2, squeeze=False, height_ratios=heights)
        draw = _policy_drawing(model, list(policies.values()))
        for (policy, value), (title, block) in zip(panes, lines, strict=True):
            draw(policy, policies[title])
            value.pcolormesh(values[title], cmap="cividis", norm=norm, edgecolors=PAPER, linewidth=0.5)
            prefix = ", ".join(x for x in (title, block.title) if x)
            said = "policy" if evaluated(titled[title]) else "best action"
            for axes, name in ((policy, said), (value, "value")):
                axes.set_title(f"{prefix}: {name}" if prefix else name.capitalize(), fontsize=9.5)
                _axes(axes, key, block)
        for axes in panes[:-1].reshape(-1):
            axes.set_xlabel("")
        figure.colorbar(ScalarMappable(norm, "cividis"), ax=list(panes[:, 1]), shrink=0.8, aspect=25)
        draw.explain(figure, list(panes[:, 0]), key.actions)
    return figure


class _Block(NamedTuple):
    """One of several maps in one: its title, and its columns and rows, the last ones excluded."""

    title: str
    first: int
    last: int
    top: int
    bottom: int


def _rows(grids: Iterable[Float[np.ndarray, "R C"]], first: int, last: int) -> tuple[int, int]:
    """The rows on which a block has states."""
    there = np.flatnonzero(np.any([np.isfinite(grid[:, first:last]).any(1) for grid in grids], 0))
    return (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 1)


def _scale(values: Float[np.ndarray, " n"], limits: tuple[float, float] | None) -> Normalize:
    known = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    lowest, highest = limits or (float(known.min()), float(known.max()))
    return Normalize(lowest, highest if highest > lowest else lowest + 1)


def _axes(axes: Axes, key: MapKey, block: _Block) -> None:
    axes.set(
        xlim=(block.first, block.last), ylim=(block.bottom, block.top), aspect="equal",
        xlabel=key.columns, ylabel=key.rows,
    )  # fmt: skip
    axes.grid(visible=False)
    for axis, names, first, last in (
        (axes.xaxis, key.column_names, block.first, block.last),
        (axes.yaxis, key.row_names, block.top, block.bottom),
    ):
        every = 1 if last - first <= 14 else 2 if last - first <= 28 else 5
        at = [i for i in range(first, min(last, len(names))) if names[i]][::every]
        axis.set_ticks([i + 0.5 for i in at], [names[i] for i in at], fontsize=8)
    axes.tick_params(length=0)


def _value_cells(answer: Answer, shape: tuple[int, ...]) -> Float[np.ndarray, "R C"]:
    """The value of each cell, NaN where there is no state."""
    grid, place = np.full(shape, np.nan), places(answer.model)
    on = np.isfinite(place[:, 0])
    grid[tuple(place[on].astype(int).T)] = answer.value[on]
    return grid


def _marked_cells(answer: Answer, shape: tuple[int, ...]) -> _Cells:
    """The marked actions of each cell that holds a state."""
    place, actions = places(answer.model), marked_actions(answer)
    return {
        (int(r), int(c)): tuple(chosen)
        for (r, c), chosen in zip(place, actions, strict=True)
        if np.isfinite(r) and chosen
    }


def _policy_drawing(model: MDP, policies: Sequence[_Cells]) -> _Numbers | _Regions:
    values = _numbers(model)
    if values is None:
        occurring = sorted({chosen for cells in policies for chosen in cells.values()}, key=lambda x: (len(x), x))
        names = {chosen: " or ".join(model.action_names[a] for a in chosen) for chosen in occurring}
        return _Regions(names, dict(zip(occurring, cycle((*REGIONS, *LINES)), strict=False)))
    most = float(np.abs(values).max())
    whole = (values == np.round(values)).all() and most <= 20
    return _Numbers(values, BoundaryNorm(np.arange(-most - 0.5, most + 1), 256) if whole else Normalize(-most, most))


def _numbers(model: MDP) -> Float[np.ndarray, " A"] | None:
    """The actions' names as numbers, where more than two of them are."""
    try:
        found = np.array([float(name) for name in model.action_names])
    except ValueError:
        return None
    return found if len(found) > 2 else None


class _Numbers(NamedTuple):
    """Draws actions that are numbers: a colour and a number in each cell, of tied ones the one nearest to 0."""

    values: Float[np.ndarray, " A"]
    norm: Normalize

    def __call__(self, axes: Axes, cells: _Cells) -> None:
        chosen = {at: float(min(self.values[list(tied)], key=abs)) for at, tied in cells.items()}
        grid = np.full(np.max(list(chosen), 0) + 1, np.nan)
        grid[tuple(np.transpose(list(chosen)))] = list(chosen.values())
        axes.pcolormesh(grid, cmap=DIVERGING, norm=self.norm, edgecolors=PAPER, linewidth=0.5)
        most = float(np.abs(self.values).max())
        for (r, c), x in chosen.items():
            axes.text(
                c + 0.5, r + 0.5, number(x, 3), ha="center", va="center_baseline", fontsize=7, clip_on=True,
                color="#ffffff" if abs(x) > 0.6 * most else INK,
            )  # fmt: skip

    def explain(self, figure: Figure, panes: list[Axes], unit: str) -> None:
        bar = figure.colorbar(ScalarMappable(self.norm, DIVERGING), ax=panes, shrink=0.8, aspect=25, label=unit)
        bar.set_ticks(sorted(self.values.tolist())[:: 1 if len(self.values) <= 12 else 5])


class _Regions(NamedTuple):
    """Draws actions that are words: a colour for each set of tied ones."""

    names: Mapping[tuple[int, ...], str]
    colours: Mapping[tuple[int, ...], str]

    def __call__(self, axes: Axes, cells: _Cells) -> None:
        for chosen, colour in self.colours.items():
            squares = [
                [(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)] for (r, c), one in cells.items() if one == chosen
            ]
            axes.add_collection(
                PolyCollection(squares, facecolors=colour, edgecolors=PAPER, linewidths=0.5, gid=self.names[chosen])
            )

    def explain(self, figure: Figure, panes: list[Axes], unit: str) -> None:
        handles = [Patch(color=colour, label=self.names[chosen]) for chosen, colour in self.colours.items()]
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 4), title=unit or None)


def value_profile(answer: Answer) -> Figure:
    """Values over the states in a row, and below them the marked actions: for models without a map, too large to draw.

    States whose names are all numbers stand where these say; others by their number in the model. Actions whose
    names are numbers are drawn as numbers, up to twelve others as lines of dots.

    Args:
        answer: with S states; ends are left out.
    """
    model = answer.model
    acting: list[int] = np.flatnonzero(~ends(model) & np.isfinite(answer.value)).tolist()
    names = [model.state_names[s] for s in acting]
    try:
        x, unit = np.array([float(name) for name in names]), "state"
    except ValueError:
        x, unit = np.array(acting, float), "state, by its number in the model"
    order = np.argsort(x, kind="stable")
    numbers, actions = _numbers(model), marked_actions(answer)
    points = [(x[i], a) for i in order for a in actions[acting[i]]]
    drawn = bool(points) and model.num_actions > 1 and (numbers is not None or model.num_actions <= MOST_STRIPS)
    dot = float(np.clip(400 / max(len(acting), 1), 1.5, 4.5))
    with style():
        figure, panes = panels(8.4, 5.2 if drawn else 3.2, 1 + drawn, 1)
        many = len(acting) > 400 and np.abs(np.diff(answer.value[acting][order])).mean() > 0.02 * _span(answer, acting)
        look = {"marker": ".", "linestyle": "", "markersize": dot} if many else {"marker": "", "linewidth": 1.6}
        if len(acting) <= 60:
            look = {"marker": "o", "markersize": 4, "linewidth": 1.0}
        panes[0].plot(x[order], answer.value[acting][order], color=LINES[0], **look)
        panes[0].set_title("Value of each state", pad=8)
        number_axes(panes[0])
        if drawn:
            height = numbers if numbers is not None else np.arange(model.num_actions)
            panes[1].plot([s for s, _ in points], [height[a] for _, a in points], "o", color=LINES[1], markersize=dot)
            said = "The policy's actions" if evaluated(answer) else "Best actions, all that tie"
            panes[1].set_title(said, pad=8)
            number_axes(panes[1])
            if numbers is None:
                panes[1].set_yticks(range(model.num_actions), [_short(name) for name in model.action_names], fontsize=8)
                panes[1].set_ylim(-0.6, model.num_actions - 0.4)
        panes[-1].set_xlabel(unit)
        for axes in panes:
            axes.margins(x=0.01)
    return figure


def action_bars(answer: Answer) -> Figure:
    """What each action of the only state that acts is worth at once: its expected reward; the marked ones coloured.

    Args:
        answer: of a model in which one state has actions, such as a bandit.
    """
    model = answer.model
    (state,) = np.flatnonzero(~ends(model)).tolist()
    pairs = np.arange(model.state_ptr[state], model.state_ptr[state + 1])
    terms = model.probability * model.reward
    reward = np.array([terms[model.row_ptr[p] : model.row_ptr[p + 1]].sum() for p in pairs])
    marked = marked_actions(answer)[state]
    best = np.isin(model.action[pairs], marked)
    with style():
        figure, (axes,) = panels(max(4.5, 0.55 * len(pairs) + 1.5), 3.4)
        axes.bar(np.arange(len(pairs)), reward, 0.7, color=[LINES[1] if one else RULE for one in best])
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for i, r in enumerate(reward):
            axes.annotate(
                number(r, 3), (i, r), xytext=(0, 3 if r >= 0 else -3), textcoords="offset points", ha="center",
                va="bottom" if r >= 0 else "top", fontsize=8.5,
            )  # fmt: skip
        axes.set_xticks(range(len(pairs)), [_short(model.action_names[int(a)]) for a in model.action[pairs]])
        axes.set_xlabel("action")
        axes.set_ylabel("expected reward")
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
        value = number(float(answer.value[state]), 4)
        axes.set_title(f"{model.state_names[state]}: value {value}", pad=8)
        said = "the policy's action" if evaluated(answer) else "best action"
        axes.legend(handles=[Patch(color=LINES[1], label=said)], loc="best")
    return figure


def _span(answer: Answer, acting: Sequence[int]) -> float:
    return float(np.ptp(answer.value[list(acting)])) if len(acting) else 0.0


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
