"""A study's picture: how each setting learns, and what a hyperparameter is worth (Sutton & Barto 2018, figure 2.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, product
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from retorno.plots.curves import DASHES, mean_reach
from retorno.plots.style import INK, LINES, MUTED, PlotError, number, number_axes, panels, style
from retorno.run.study import MEASURES, Study

TOGETHER = 4
"""Curves of one panel; of more, each algorithm has its own."""
MOST_CURVES = 8
"""Curves of an algorithm's panel; of more, only what the hyperparameter is worth is drawn."""
FEWEST_VALUES = 3
"""Values of a hyperparameter from which on it is drawn what it is worth."""
MOST_TICKS = 6
MARKERS = "osv^Dx"


def study(found: Study) -> Figure:
    """Curves, means over seeds with their 95% intervals, and what each value of a hyperparameter is worth.

    In the last, points are means over the whole study (solid) and over its last tenth (dashed), with their 95%
    intervals. Seeds that diverged are left out, and said.

    Args:
        found: what `retorno.study` gives.

    Raises:
        PlotError: when nothing was found that could be drawn.
    """
    if not np.isfinite(found.values).any():
        raise PlotError("no setting has a point that could be drawn: no episode ended, or all diverged")
    algorithms = list(dict.fromkeys(setting.name for setting in found.settings))
    of = {name: [m for m, s in enumerate(found.settings) if s.name == name] for name in algorithms}
    shown = [own for own in of.values() if len(own) <= MOST_CURVES]
    together = len(found.settings) <= TOGETHER
    curves = [[m for own in shown for m in own]] if together else shown
    worth = [name for name in found.swept if len(_numbers(found, name)) >= FEWEST_VALUES]
    count = len(curves) + len(worth)
    if not count:
        raise PlotError("too many settings for curves, and no hyperparameter with three numbers: write it as .csv")
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    rows = math.ceil(count / columns)
    with style():
        figure, panes = panels(7.2 if count == 1 else 4.6 * columns, 3.8 if rows == 1 else 3.5 * rows, rows, columns)
        for axes, own in zip(panes, curves, strict=False):
            _curves(axes, found, own, together)
        if len(curves) > 1:
            low, high = zip(*(axes.get_ylim() for axes in panes[: len(curves)]), strict=True)
            names = {tuple(text.get_text() for text in axes.get_legend().texts) for axes in panes[: len(curves)]}
            for axes in panes[: len(curves)]:
                axes.set_ylim(min(low), max(high))
                if len(names) == 1 and axes is not panes[len(curves) - 1]:  # The colours mean the same in all.
                    axes.get_legend().remove()
        for axes, name in zip(panes[len(curves) :], worth, strict=False):
            _worth(axes, found, name, of)
        for axes in panes[count:]:
            axes.set_visible(False)
        seeds = f"mean of {len(found.seeds)} seeds and its 95% interval" if len(found.seeds) > 1 else "one seed"
        about = MEASURES[found.measure].split(":")[0]
        figure.suptitle(f"{found.world}: {about}; {seeds}", x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def _curves(axes: Any, found: Study, own: Sequence[int], together: bool) -> None:
    """How some of the settings learn."""
    colours = _colours(len(own)) if not together else [LINES[i % len(LINES)] for i in range(len(own))]
    means = []
    for m, colour in zip(own, colours, strict=True):
        setting, values = found.settings[m], _carried(found, m)
        if not len(values):
            axes.plot([], [], color=colour, label=f"{_label(setting, together)}: all seeds diverged")
            continue
        mean, reach = values.mean(0), mean_reach(values)
        lost = int((found.diverged[m] >= 0).sum())
        label = _label(setting, together) + (f" ({lost} seeds diverged)" if lost else "")
        axes.plot(found.x, mean, color=colour, label=label, marker="o" if len(found.x) == 1 else "")
        axes.fill_between(found.x, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0)
        means.append(mean)
    _optimum(axes, found)
    if means:
        _limits(axes, found, np.concatenate(means))
    title = "" if together else found.settings[own[0]].name
    axes.set_title(title, pad=8)
    axes.set_xlabel("episode" if found.axis == "episode" else "environment steps")
    axes.set_ylabel(found.measure)
    axes.set_xlim(left=0)
    number_axes(axes)
    axes.legend(loc="best", handlelength=1.6, fontsize=8.5)


def _worth(axes: Any, found: Study, name: str, of: dict[str, list[int]]) -> None:
    """What each value of a hyperparameter is worth, for each algorithm and each setting of the others."""
    looks = cycle(product(MARKERS[:1], LINES)) if len(of) <= len(LINES) else cycle(zip(MARKERS, LINES, strict=True))
    seen, values = [], _numbers(found, name)
    for algorithm, own in of.items():
        others = dict.fromkeys(tuple((k, v) for k, v in found.settings[m].values.items() if k != name) for m in own)
        for other in others:
            line = [m for m in own if tuple((k, v) for k, v in found.settings[m].values.items() if k != name) == other]
            marker, colour = next(looks)
            label = " ".join([algorithm, *(f"{_short(k)}={_text(v)}" for k, v in other)])
            line = [m for m in line if _is_number(found.settings[m].values.get(name))]
            if not line:
                continue
            for share, dashes in ((1.0, (None, None)), (0.1, (4, 2))):
                points = []
                for m in line:
                    means = found.seed_means(share)[m]
                    means = means[np.isfinite(means)]
                    if len(means):
                        reach = float(mean_reach(means[:, None])[0])
                        points.append((found.settings[m].values[name], means.mean(), reach))
                if not points:
                    continue
                x, mean, reach = np.array(sorted(points), float).T
                told = label if share == 1 else "_nolegend_"
                axes.plot(x, mean, color=colour, dashes=dashes, marker=marker, markersize=4, label=told)
                axes.fill_between(x, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0)
                seen.append(mean)
    _optimum(axes, found)
    axes.plot([], [], color=MUTED, dashes=(4, 2), label="dashed: in the last tenth")
    _limits(axes, found, np.concatenate(seen))
    axes.set_title(f"what {_short(name)} is worth", pad=8)
    axes.set_xlabel(name)
    axes.set_ylabel(found.measure)
    number_axes(axes)
    if min(values) > 0 and max(values) / min(values) > 20:
        axes.set_xscale("log")
        axes.set_xticks([], minor=True)
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values, [number(x, 3) for x in values])
    axes.legend(loc="best", handlelength=1.6, fontsize=8.5)


def _carried(found: Study, m: int) -> Float[np.ndarray, "_ P"]:
    """The values of the seeds that stayed finite, where no episode ended the one before; NaN before the first."""
    values = found.values[m][found.diverged[m] < 0].copy()
    values = values[np.isfinite(values).any(1)]
    for p in range(1, values.shape[1]):
        values[:, p] = np.where(np.isnan(values[:, p]), values[:, p - 1], values[:, p])
    return values


def _optimum(axes: Any, found: Study) -> None:
    if found.optimum is not None:
        axes.axhline(found.optimum, color=MUTED, linewidth=1.1, dashes=DASHES[0], zorder=1, label="exact optimum")


def _limits(axes: Any, found: Study, means: Float[np.ndarray, " N"]) -> None:
    """What most of the means lie in: a first episode of 2,000 steps may not press all that follows flat."""
    means = means[np.isfinite(means)]
    low, high = (float(x) for x in np.quantile(means, [0.04, 0.96]))
    inside = [low, high, *([found.optimum] if found.optimum is not None else [])]
    whole = (float(means.min()), float(means.max()))
    room = max(max(inside) - min(inside), 1e-9)
    # What is not far off is shown whole.
    low, high = (x if abs(x - near) < room else near for x, near in zip(whole, (min(inside), max(inside)), strict=True))
    low, high = min(low, *inside), max(high, *inside)
    axes.set_ylim(low - 0.06 * (high - low) - 1e-9, high + 0.06 * (high - low) + 1e-9)


def _numbers(found: Study, name: str) -> list[float]:
    """The values of a hyperparameter that are numbers."""
    values = {s.values[name] for s in found.settings if _is_number(s.values.get(name))}
    return sorted(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _label(setting: Any, with_name: bool) -> str:
    told = [f"{_short(name)}={_text(value)}" for name, value in setting.values.items()]
    return " ".join([setting.name, *told] if with_name or not told else told)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _text(value: Any) -> str:
    return number(value) if _is_number(value) else str(value)


def _colours(count: int) -> list[Any]:
    """So many colours from dark to light: of values that rise."""
    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0.05, 0.85, max(count, 1))]
