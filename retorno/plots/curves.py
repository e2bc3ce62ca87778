"""Curves: the returns and metrics of runs, and means over seeds with their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

from retorno.ops.intervals import reach95
from retorno.plots.progress import LABELS, Curve, Dot, Over, Runs, evaluations, in_order, metric_curve, return_curve
from retorno.plots.style import (
    LINES,
    MUTED,
    PAPER,
    WIDE,
    PlotError,
    log_x_axis,
    log_y_axis,
    mark_expected,
    number,
    number_axes,
    panels,
    style,
)

FAR = 3.0
"""A tail of points is cut off the picture where that enlarges the rest by more than this factor."""
TAIL = 0.05
"""The share of points that may be cut off."""
DASHES = ((5, 3), (1.5, 2), (8, 2, 2, 2))
"""Of horizontal lines, which have one colour."""

SeedLine = tuple[Shaped[np.ndarray, " K"], Float[np.ndarray, "S K"]]
"""What K points stand at, and the value of each of S seeds there."""


def learning_curve(
    runs: Runs,
    references: Mapping[str, float] | None = None,
    *,
    over: Over = "steps",
    most: float = math.inf,
    alone: bool = False,
    title: str = "Return of an episode",
    width: float = WIDE,
) -> Figure:
    """The return of one or several things, over environment steps or another axis.

    Lines are means over seeds and bands the means' 95% intervals (Student's t; none for a single seed); dots with
    whiskers are evaluations and their intervals.

    Args:
        runs: by name, the rows of each run that is a seed (or several) of one thing.
        references: horizontal lines, by name; an optimum for instance.
        over: the axis.
        most: the best expected return there is: no band goes beyond it.
        alone: each seed as a line of its own, instead of their mean and its band.
        title: above the picture.
        width: of the picture, in inches.

    Raises:
        PlotError: when there is nothing to draw: no run, no row, or no episode that ended.
    """
    curves = {name: return_curve(each, over, most) for name, each in runs.items()}
    if not any(len(curve.x) for curve in curves.values()):
        raise PlotError("no episode has ended in any of the runs: there is no return to draw yet")
    many = len(runs) > 1
    evaluated = {name: list(evaluations(each, over)) for name, each in runs.items()}
    with style():
        figure, (axes,) = panels(width, _height(width, len(runs)))
        lines, labels = [], []
        for (name, curve), (line, colour) in zip(curves.items(), _looks(), strict=False):
            drawn = _draw_curve(axes, curve, line, colour, alone)
            if evaluated[name]:
                dots = _dots(axes, evaluated[name], colour)
            if drawn:
                lines.append(drawn)
                labels.append(f"{name} ({_seeds(curve.seeds)})" if many else "training, exploring")
            if evaluated[name] and not many:
                lines.append(dots)
                labels.append("evaluation")
        for drawn in _reference_lines(axes, references):
            lines.append(drawn)
            labels.append(drawn.get_label())
        shown = [curve.returns if alone else curve.mean[:, None] for curve in curves.values() if len(curve.x)]
        bands = [np.stack([c.low, c.high], 1) for c in curves.values() if len(c.x)]
        dotted = [dot for dots in evaluated.values() for dot in dots]
        points = [dot.mean for dot in dotted] + [*(references or {}).values()]
        _limit_y(axes, shown, points, [] if alone else bands)
        _mark_outside(axes, dotted)
        if len(lines) > 1:
            figure.legend(lines, labels, loc="outside lower center", ncols=_columns(labels, width), handlelength=1.6)
        axes.set_title(title, pad=10)
        axes.set_xlabel(LABELS[over])
        axes.set_xlim(left=0)
        number_axes(axes, 6 if width > 5 else 4)
    return figure


def seed_bands(
    series: Mapping[str, tuple[Float[np.ndarray, " K"], Float[np.ndarray, "S K"]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    least: float = -math.inf,
    alone: bool = False,
    width: float = WIDE,
) -> Figure:
    """`seed_curves` of things that were looked at in different places; where a seed has no finite value is a gap.

    Args:
        series: by name, what the points stand at, and a value for each of S seeds at each.
        xlabel: what the places are.
        ylabel: what the values are.
        title: above the picture.
        least: no value is below it, and no band.
        alone: each seed as a line of its own, instead of their mean and its band.
        width: of the picture, in inches.
    """
    with style():
        figure, (axes,) = panels(width, _height(width, len(series)))
        lines, shown, bands = {}, [], []
        for (name, (x, values)), (line, colour) in zip(series.items(), _looks(), strict=False):
            values = np.where(np.isfinite(values), values, np.nan)
            mean, reach = values.mean(0), mean_reach(values)
            curve = Curve(x, values.T, np.maximum(mean - reach, least), mean + reach)
            lines[f"{name} ({_seeds(curve.seeds)})"] = _draw_curve(axes, curve, line, colour, alone)
            axes.plot(curve.x, curve.returns if alone else curve.mean, "o", color=colour, markersize=3)
            shown.append(curve.returns if alone else curve.mean)
            bands += [] if alone else [np.stack([curve.low, curve.high])]
        _limit_y(axes, shown, [least], bands)
        if np.isfinite(least):
            axes.set_ylim(bottom=least - 0.03 * (axes.get_ylim()[1] - least))
        if len(series) > 1:
            figure.legend(
                lines.values(),
                lines.keys(),
                loc="outside lower center",
                ncols=_columns([*lines], width),
                handlelength=1.6,
            )
        axes.set_title(title, pad=10)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_xlim(left=0)
        number_axes(axes, 6 if width > 5 else 4)
    return figure


def _draw_curve(axes: Any, curve: Curve, line: str, colour: str, alone: bool) -> Any:
    """A line, with its band where there is one; or a line for each seed."""
    if not len(curve.x):
        return None
    marker = "" if len(curve.x) > 1 else "o"
    if alone and curve.seeds > 1:
        look = {"color": colour, "linewidth": 1.0, "alpha": 0.7, "marker": marker}
        return axes.plot(curve.x, curve.returns, line, **look)[0]
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    return axes.plot(curve.x, curve.mean, line, color=colour, marker=marker)[0]


def _limit_y(axes: Any, curves: Sequence[Any], points: Sequence[float], bands: Sequence[Any]) -> None:
    """Show all lines but a tail that would flatten the rest, and of points and bands what is not much further off."""
    values = np.concatenate([np.ravel(x) for x in [*curves, []]])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    tail_low, tail_high = np.quantile(values, [TAIL, 1 - TAIL])
    if high - low > FAR * (high - tail_low):
        low = tail_low
    if high - low > FAR * (tail_high - low):
        high = tail_high
    reach = FAR * ((high - low) or max(abs(high), 1.0))
    near = [x for x in points if low - reach <= x <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    if low == high:
        low, high = low - max(0.1 * abs(low), 0.5), high + max(0.1 * abs(high), 0.5)
    span = high - low
    if len(bands):
        wide = np.concatenate([np.ravel(x) for x in bands])
        wide = wide[np.isfinite(wide)]
        if len(wide):
            low, high = min(low, max(wide.min(), low - 0.3 * span)), max(high, min(wide.max(), high + 0.3 * span))
    axes.set_ylim(low - 0.06 * span, high + 0.06 * span)


def _mark_outside(axes: Any, dots: Sequence[Dot]) -> None:
    """Evaluations that lie outside the picture, by their values at its edge."""
    low, high = axes.get_ylim()
    for edge, outside, sign in (
        (low, sorted({dot.mean for dot in dots if dot.mean < low}), "▼"),
        (high, sorted({dot.mean for dot in dots if dot.mean > high}), "▲"),
    ):
        if outside:
            told = ", ".join(map(number, outside[:3])) + ", …" * (len(outside) > 3)
            axes.annotate(
                f"{sign} evaluated: {told}",
                (1, edge),
                xytext=(-4, 5 if edge == low else -12),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                fontsize=9,
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            )


def _height(width: float, things: int) -> float:
    """Of a picture with a legend below it."""
    rows = things if width < 5 else -(-things // 3)
    return (0.53 if width > 5 else 0.66) * width + 0.2 * rows


def _columns(labels: Sequence[str], width: float) -> int:
    """How many entries of a legend stand side by side."""
    return max(1, min(3, int(width / (0.075 * max(map(len, labels)) + 0.6))))


def seed_curves(
    x: Shaped[np.ndarray, " K"],
    series: Mapping[str, Float[np.ndarray, "S K"]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    expected: Sequence[tuple[float, float]] = (),
    source: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Lines that are means over seeds, with bands that are the means' 95% intervals.

    Args:
        x: what the K points stand at.
        series: by name, a value for each of S seeds at each point.
        xlabel: what `x` is.
        ylabel: what the values are.
        title: above the picture.
        references: horizontal lines, by name; an optimum for instance.
        expected: points that are known beforehand.
        source: where these come from, for the legend.
        log_x: powers of x at equal distances.
        log_y: the same for the values.
    """
    with style():
        figure, (axes,) = panels(7.2, 3.8)
        _mean_lines(axes, {name: (x, values) for name, values in series.items()}, _looks())
        for (name, value), dashes in zip((references or {}).items(), cycle(DASHES), strict=False):
            axes.axhline(value, color=MUTED, linewidth=1.1, dashes=dashes, zorder=1, label=name or None)
        mark_expected(axes, expected, source)
        axes.set_title(title, pad=10)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        number_axes(axes)
        if log_x:
            log_x_axis(axes)
        if log_y:
            log_y_axis(axes)
        if len(series) > 1 or references or expected:
            axes.legend(loc="best", handlelength=1.6)
    return figure


def seed_panels(
    parts: Mapping[str, tuple[Shaped[np.ndarray, " K"], Mapping[str, Float[np.ndarray, "S K"]]]],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Several `seed_curves` side by side under their titles: for each what the points stand at, and the series.

    A name has one colour in all of them.
    """
    lines = {title: {name: (x, values) for name, values in series.items()} for title, (x, series) in parts.items()}
    return seed_rows({xlabel: lines}, ylabel=ylabel)


def seed_rows(
    rows: Mapping[str, Mapping[str, Mapping[str, SeedLine]]],
    *,
    ylabel: str,
    log_x: bool = False,
    extremes: bool = False,
) -> Figure:
    """Rows of `seed_panels`, of which each line has its own points.

    Args:
        rows: by what points stand at, by title, by name, lines over seeds. A name has one colour in all of them.
        ylabel: what the values are.
        log_x: powers of x at equal distances.
        extremes: bands reach from the worst seed to the best, where few would make an interval of little use.
    """
    panes = [(xlabel, title, series) for xlabel, row in rows.items() for title, series in row.items()]
    names = dict.fromkeys(name for _, _, series in panes for name in series)
    looks = dict(zip(names, _looks(), strict=False))
    across = len(panes) // len(rows)
    with style():
        figure, axes = panels(max(9.6, 3.2 * across), 2.7 * len(rows) + 1.5, len(rows), across)
        for place, (pane, (xlabel, title, series)) in enumerate(zip(axes, panes, strict=True)):
            _mean_lines(pane, series, [looks[name] for name in series], extremes)
            pane.set_title(title if place < across else "", pad=10)
            pane.set_xlabel(xlabel)
            number_axes(pane, 4)
            if log_x:
                log_x_axis(pane)
            if place % across == 0:
                pane.set_ylabel(ylabel)
        lines = {line.get_label(): line for pane in axes for line in pane.lines}
        figure.legend(
            lines.values(), lines.keys(), loc="outside lower center", ncols=3 * max(1, across // 2), handlelength=1.6
        )
    return figure


def _mean_lines(axes: Any, series: Mapping[str, SeedLine], looks: Any, extremes: bool = False) -> None:
    """Means over seeds, and bands that are their 95% intervals, or reach from the worst to the best."""
    for (name, (x, values)), (line, colour) in zip(series.items(), looks, strict=False):
        mean, reach = values.mean(0), mean_reach(values)
        low, high = (values.min(0), values.max(0)) if extremes else (mean - reach, mean + reach)
        axes.plot(x, mean, line, color=colour, label=name)
        axes.fill_between(x, low, high, color=colour, alpha=0.1 if extremes else 0.2, linewidth=0)
    axes.margins(x=0.01, y=0.08)


def mean_reach(values: Float[np.ndarray, "S K"]) -> Float[np.ndarray, " K"]:
    """Half of the 95% interval of each point's mean over S seeds (Student's t); 0 for one seed."""
    return np.asarray(reach95(values)) if len(values) > 1 else np.zeros(values.shape[1])


def _reference_lines(axes: Any, references: Mapping[str, float] | None) -> list[Any]:
    """A dashed line for each reference; the legend says which, where no curve can run over the words."""
    dashes = ((5, 3), (1.5, 2), (8, 2, 1.5, 2))
    return [
        axes.axhline(value, color=MUTED, linewidth=1.2, dashes=dashed, zorder=1, label=f"{name}: {number(value)}")
        for (name, value), dashed in zip((references or {}).items(), cycle(dashes), strict=False)
    ]


def metric_curves(runs: Runs, *, over: Over = "steps", width: float = WIDE) -> Figure:
    """The algorithm's metrics, one small panel each, means over seeds; NaN and null leave gaps.

    Args:
        runs: as for `learning_curve`.
        over: the axis.
        width: of the picture, in inches.

    Raises:
        PlotError: when there is no row, or no metric in any.
    """
    ordered = {name: [in_order(rows) for rows in each] for name, each in runs.items()}
    rows = [row for each in ordered.values() for run in each for row in run]
    names = list(dict.fromkeys(metric for row in rows for metric in row.get("metrics", {})))
    if not names:
        raise PlotError("the runs hold no metrics: nothing to draw")
    columns = min(3 if width > 5 else 2, len(names))
    height = math.ceil(len(names) / columns)
    with style():
        across = min(width, 2.4 * columns) if columns > 1 else min(4.0, width)
        entries = _columns([*runs], across)
        legend = 0.2 * -(-len(runs) // entries) * (len(runs) > 1)
        figure, panes = panels(across, 1.75 * height + 0.3 + legend, height, columns)
        lines: dict[str, Any] = {}
        for pane, metric in zip(panes, names, strict=False):
            drawn = []
            for (name, each), (line, colour) in zip(ordered.items(), _looks(), strict=False):
                x, values = metric_curve(each, metric, over)
                marker = "" if np.isfinite(values).sum() > 1 else "o"
                (lines[name],) = pane.plot(x, values, line, color=colour, linewidth=1.4, marker=marker)
                drawn.append(values)
            _limit_y(pane, drawn, [], [])
            pane.set_title(metric.replace("_", " "), fontsize=9.5)
            pane.set_xlim(left=0)
            pane.tick_params(labelsize=8)
            number_axes(pane, 3, 4)
        for pane in panes[len(names) :]:
            pane.set_visible(False)
        for pane in panes[max(len(names) - columns, 0) : len(names)]:
            pane.set_xlabel(LABELS[over], fontsize=8.5)
        if len(runs) > 1:
            figure.legend(lines.values(), [*lines], loc="outside lower center", ncols=entries)
    return figure


def _dots(axes: Any, dots: Sequence[Dot], colour: str) -> Any:
    """Evaluations as dots with their intervals as whiskers."""
    x, mean, low, high = np.array(dots, float).T
    reach = np.nan_to_num(np.abs(np.stack([low, high]) - mean))
    return axes.errorbar(
        x, mean, reach, fmt="o", color=colour, markersize=4.5, markeredgecolor=colour, elinewidth=1.1, capsize=2.5
    )


def _looks() -> Any:
    """Line styles and colours without end: six colours, then again with dashes and dots."""
    return ((line, colour) for line in cycle(["-", "--", ":"]) for colour in LINES)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
