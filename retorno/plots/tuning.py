"""A search's picture: how it went, what matters, and what the values that matter most are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retorno.core.hyperparameters import Among
from retorno.plots.style import INK, LINES, MUTED, PlotError, log_x_axis, panels, style
from retorno.run.grid import shown
from retorno.run.tune import Trial, Tuned

MOST_SLICES = 4
"""Hyperparameters whose values are drawn, those that matter most."""


def tuning(found: Tuned) -> Figure:
    """What each trial returned and the best by then, how much each hyperparameter matters, and what values are worth.

    Points are trials; a light one was given up and stands where it was. The best of the search is ringed.

    Args:
        found: what `retorno.tune` gives.

    Raises:
        PlotError: when no trial is complete.
    """
    whole = [each for each in found.trials if each.state == "complete"]
    if not whole:
        raise PlotError("no trial is complete: there is nothing to draw")
    slices = list(found.importance or found.question.ranges)[:MOST_SLICES]
    count = 1 + bool(found.importance) + len(slices)
    columns = min(count, 3)
    rows = -(-count // columns)
    with style():
        figure, panes = panels(4.4 * columns, 3.6 if rows == 1 else 3.3 * rows, rows, columns)
        panes = list(panes)
        _history(panes[0], found)
        if found.importance:
            _importance(panes[1], found.importance)
        for axes, name in zip(panes[count - len(slices) :], slices, strict=False):
            _slice(axes, found, name)
        for axes in panes[count:]:
            axes.set_visible(False)
        asked = found.question
        title = f"{asked.name} on {asked.called}: {len(found.trials)} trials of {asked.steps:,} steps"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def _history(axes: Any, found: Tuned) -> None:
    scored = [each for each in found.trials if np.isfinite(each.score)]
    _points(axes, [(each.number, each) for each in scored], found.best)
    whole = [each for each in scored if each.state == "complete"]
    ahead = np.maximum.accumulate([each.score for each in whole])
    axes.step([each.number for each in whole], ahead, where="post", color=LINES[1], label="the best by then")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel="mean return")
    _zoom(axes, found)
    axes.legend(loc="lower right")


def _importance(axes: Any, importance: dict[str, float]) -> None:
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names], color=LINES[0], height=0.6)
    for place, name in enumerate(names):
        axes.annotate(f" {importance[name]:.0%}", (importance[name], place), va="center", color=MUTED, fontsize=8)
    axes.set(xlabel="importance", xlim=(0, 1.15 * max(importance.values())))
    axes.xaxis.set_major_formatter("{x:.0%}")


def _slice(axes: Any, found: Tuned, name: str) -> None:
    """Trials by the value of one hyperparameter."""
    told = found.question.ranges[name]
    scored = [each for each in found.trials if np.isfinite(each.score) and name in each.values]
    if isinstance(told, Among):
        labels = [shown(x) for x in told.values]
        at = {id(each): labels.index(shown(each.values[name])) for each in scored}
        axes.set_xticks(range(len(labels)), labels, rotation=30 if max(map(len, labels)) > 4 else 0)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    else:
        at = {id(each): each.values[name] for each in scored}
    _points(axes, [(at[id(each)], each) for each in scored], found.best)
    if not isinstance(told, Among) and told.log:
        log_x_axis(axes)
    axes.set(xlabel=name, ylabel="mean return")
    _zoom(axes, found)


def _points(axes: Any, points: list[tuple[float, Trial]], best: Trial) -> None:
    for state, alpha in (("pruned", 0.35), ("complete", 0.9)):
        own = [(x, each.score) for x, each in points if each.state == state]
        if own:
            axes.scatter(*zip(*own, strict=True), s=18, alpha=alpha, color=LINES[0], linewidths=0)
    ringed = [(x, each.score) for x, each in points if each.number == best.number]
    axes.scatter(*zip(*ringed, strict=True), s=70, facecolors="none", edgecolors=LINES[1], linewidths=1.5)


def _zoom(axes: Any, found: Tuned) -> None:
    """A few trials that went astray do not press the others together."""
    scores = np.array([each.score for each in found.trials if np.isfinite(each.score)])
    low, high = np.quantile(scores, 0.1), scores.max()
    room = 0.08 * max(high - low, 1e-9)
    if scores.min() < low - 10 * room:
        axes.set_ylim(low - 3 * room, high + room)
