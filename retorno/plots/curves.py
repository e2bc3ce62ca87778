"""How a run went: the return over environment steps with its interval over seeds, and the algorithm's metrics.

A run is the rows of its `metrics.jsonl`: `step`, `returns` (one per seed, null where no episode
ended), `metrics`, and now and then an `evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

from retorno.ops.intervals import interval95, reach95
from retorno.plots.style import LINES, MUTED, PlotError, log_x_axis, log_y_axis, mark_book, number_axes, panels, style

Row = Mapping[str, Any]
Runs = Mapping[str, Sequence[Row]]
"""The rows of each run, by name."""

POINTS = 120
"""A longer run is averaged over this many equal spans of steps."""
DASHES = ((5, 3), (1.5, 2), (8, 2, 2, 2))
"""Of horizontal lines, which have one colour."""


class Curve(NamedTuple):
    """The return over K points of a run: its mean over seeds and the mean's 95% interval."""

    step: Float[np.ndarray, " K"]
    mean: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    """NaN with one seed, as is `high`."""
    high: Float[np.ndarray, " K"]
    seeds: int


def return_curve(rows: Sequence[Row]) -> Curve:
    """A run's return over environment steps, with Student's t interval over seeds.

    A seed in which no episode ended keeps the return that it had. The curve begins where every
    seed has one; seeds in which no episode ever ends are left out. It is empty where none did.

    Raises:
        PlotError: when there are no rows, or they tell of different numbers of seeds.
    """
    rows = in_order(rows)
    if len({len(row["returns"]) for row in rows}) != 1:
        raise PlotError("the rows of one run need one return per seed each: they are not of one run")
    step = np.array([row["step"] for row in rows], float)
    returns = np.array([[math.nan if x is None else x for x in row["returns"]] for row in rows], float)
    if len(rows) > POINTS:
        step, returns = _averaged(step, returns)
    returns = returns[:, np.isfinite(returns).any(0)]
    if returns.shape[1] == 0:
        return Curve(*np.empty((4, 0)), seeds=0)
    for before, now in pairwise(returns):
        now[:] = np.where(np.isfinite(now), now, before)
    known = np.isfinite(returns).all(1)
    step, returns = step[known], returns[known]
    low, high = np.array([interval95(seeds) for seeds in returns]).T
    return Curve(step, returns.mean(1), low, high, returns.shape[1])


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows by rising step, an evaluation joined to the row before it.

    Where a resumed run went over steps again, the later rows count.

    Raises:
        PlotError: when there are none, or one lacks its returns.
    """
    kept: list[Row] = []
    for row in rows:
        if kept and row.keys() == {"step", "evaluation"}:
            kept[-1] = {**kept[-1], "evaluation": row["evaluation"]}
            continue
        if "returns" not in row:
            raise PlotError(f"the row at step {row['step']} has no returns: these are not the figures of a run")
        while kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
        kept.append(row)
    if not kept:
        raise PlotError("the run has no rows yet: train it for a while first")
    return kept


def _averaged(
    step: Float[np.ndarray, " R"], values: Float[np.ndarray, "R N"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K N"]]:
    """Means over `POINTS` equal spans of steps, NaN left out; each stands at the end of its span's last row."""
    span = np.ceil(step * POINTS / step[-1]).astype(int)
    spans = np.unique(span)
    there = np.isfinite(values)
    sums = np.array([np.where(there, values, 0)[span == s].sum(0) for s in spans])
    counts = np.array([there[span == s].sum(0) for s in spans])
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.array([step[span == s][-1] for s in spans]), means


def learning_curve(runs: Runs, references: Mapping[str, float] | None = None) -> Figure:
    """The return of one or several runs over environment steps.

    Lines are means over seeds and bands the mean's 95% interval (Student's t; none for a single
    seed); dots with whiskers are evaluations and their intervals.

    Args:
        runs: the rows of each run, by name.
        references: horizontal lines, by name; an optimum for instance.

    Raises:
        PlotError: when there is nothing to draw: no run, no row, or no episode that ended.
    """
    curves = {name: return_curve(rows) for name, rows in runs.items()}
    if not any(len(curve.step) for curve in curves.values()):
        raise PlotError("no episode has ended in any of the runs: there is no return to draw yet")
    many = len(runs) > 1
    with style():
        figure, (axes,) = panels(7.2, 3.8)
        lines, labels = [], []
        for (name, curve), (line, colour) in zip(curves.items(), _looks(), strict=False):
            evaluations = [row for row in in_order(runs[name]) if row.get("evaluation")]
            lines += axes.plot(curve.step, curve.mean, line, color=colour, marker="" if len(curve.step) > 1 else "o")
            labels.append(f"{name} ({_seeds(curve.seeds)})" if many else "training, exploring")
            if curve.seeds > 1:
                axes.fill_between(curve.step, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
            if evaluations:
                lines.append(_dots(axes, evaluations, colour))
                labels.append(f"{name}, evaluated" if many else "evaluation")
        _reference_lines(axes, references)
        if len(lines) > 1:
            axes.legend(lines, labels, loc="best", handlelength=1.6)
        banded = [curve.seeds for curve in curves.values() if curve.seeds > 1]
        over = "" if not banded else "; band: 95% interval of the mean over seeds"
        if len(banded) == len(curves) == 1:
            over = f"; mean of {banded[0]} seeds and its 95% interval"
        axes.set_title(f"Return of an episode{over}", pad=10)
        axes.set_xlabel("environment steps")
        axes.set_xlim(left=0)
        axes.margins(y=0.08)
        number_axes(axes)
    return figure


def seed_curves(
    x: Shaped[np.ndarray, " K"],
    series: Mapping[str, Float[np.ndarray, "S K"]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    book: Sequence[tuple[float, float]] = (),
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
        book: points that a book gives.
        log_x: powers of x at equal distances.
        log_y: the same for the values.
    """
    with style():
        figure, (axes,) = panels(7.2, 3.8)
        _mean_lines(axes, x, series)
        for (name, value), dashes in zip((references or {}).items(), cycle(DASHES), strict=False):
            axes.axhline(value, color=MUTED, linewidth=1.1, dashes=dashes, zorder=1, label=name or None)
        mark_book(axes, book)
        axes.set_title(title, pad=10)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        number_axes(axes)
        if log_x:
            log_x_axis(axes)
        if log_y:
            log_y_axis(axes)
        if len(series) > 1 or references or book:
            axes.legend(loc="best", handlelength=1.6)
    return figure


def seed_panels(
    parts: Mapping[str, tuple[Shaped[np.ndarray, " K"], Mapping[str, Float[np.ndarray, "S K"]]]],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Several `seed_curves` side by side under their titles: for each what the points stand at, and the series."""
    with style():
        figure, panes = panels(9.6, 4.2, 1, len(parts))
        for axes, (title, (x, series)) in zip(panes, parts.items(), strict=True):
            _mean_lines(axes, x, series)
            axes.set_title(title, pad=10)
            axes.set_xlabel(xlabel)
            number_axes(axes, 4)
        panes[0].set_ylabel(ylabel)
        lines = {line.get_label(): line for axes in panes for line in axes.lines}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3, handlelength=1.6)
    return figure


def _mean_lines(axes: Any, x: Shaped[np.ndarray, " K"], series: Mapping[str, Float[np.ndarray, "S K"]]) -> None:
    """Means over seeds, and bands that are their 95% intervals."""
    for (name, values), (line, colour) in zip(series.items(), _looks(), strict=False):
        mean, reach = values.mean(0), mean_reach(values)
        axes.plot(x, mean, line, color=colour, label=name)
        axes.fill_between(x, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0)
    axes.margins(x=0.01, y=0.08)


def mean_reach(values: Float[np.ndarray, "S K"]) -> Float[np.ndarray, " K"]:
    """Half of the 95% interval of each point's mean over S seeds (Student's t); 0 for one seed."""
    return np.asarray(reach95(values)) if len(values) > 1 else np.zeros(values.shape[1])


def _reference_lines(axes: Any, references: Mapping[str, float] | None) -> None:
    for name, value in (references or {}).items():
        axes.axhline(value, color=MUTED, linewidth=1.1, dashes=(5, 3), zorder=1)
        axes.annotate(
            name,
            (1, value),
            xytext=(-2, 3),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            color=MUTED,
            fontsize=9,
        )


def metric_curves(runs: Runs) -> Figure:
    """The algorithm's metrics over environment steps, one small panel each; NaN and null leave gaps.

    Raises:
        PlotError: when there is no row, or no metric in any.
    """
    ordered = {name: in_order(rows) for name, rows in runs.items()}
    names = list(dict.fromkeys(m for rows in ordered.values() for row in rows for m in row.get("metrics", {})))
    if not names:
        raise PlotError("the runs hold no metrics: nothing to draw")
    columns = min(3, len(names))
    height = math.ceil(len(names) / columns)
    with style():
        figure, panes = panels(2.4 * columns if columns > 1 else 4.0, 1.75 * height + 0.3, height, columns)
        lines: dict[str, Any] = {}
        for pane, metric in zip(panes, names, strict=False):
            for (name, rows), (line, colour) in zip(ordered.items(), _looks(), strict=False):
                steps, values = _metric(rows, metric)
                marker = "" if np.isfinite(values).sum() > 1 else "o"
                (lines[name],) = pane.plot(steps, values, line, color=colour, linewidth=1.4, marker=marker)
            pane.set_title(metric.replace("_", " "), fontsize=9.5)
            pane.set_xlim(left=0)
            pane.tick_params(labelsize=8)
            number_axes(pane, 3, 4)
        for pane in panes[len(names) :]:
            pane.set_visible(False)
        figure.supxlabel("environment steps", fontsize=9)
        if len(runs) > 1:
            figure.legend(lines.values(), lines.keys(), loc="outside upper left", ncols=3)
    return figure


def _metric(rows: Sequence[Row], name: str) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    values = [row.get("metrics", {}).get(name) for row in rows]
    steps = np.array([row["step"] for row in rows], float)
    drawn = np.array([math.nan if x is None else x for x in values], float)
    drawn[~np.isfinite(drawn)] = np.nan
    if len(rows) > POINTS:
        steps, averaged = _averaged(steps, drawn[:, None])
        drawn = averaged[:, 0]
    return steps, drawn


def _dots(axes: Any, rows: Sequence[Row], colour: str) -> Any:
    """Evaluations as dots with their intervals as whiskers."""
    step = [row["step"] for row in rows]
    mean = np.array([row["evaluation"]["mean"] for row in rows], float)
    interval = np.array([[math.nan if x is None else x for x in row["evaluation"]["ci95"]] for row in rows], float).T
    reach = np.nan_to_num(np.abs(interval - mean))
    return axes.errorbar(
        step, mean, reach, fmt="o", color=colour, markersize=4.5, markeredgecolor=colour, elinewidth=1.1, capsize=2.5
    )


def _looks() -> Any:
    """Line styles and colours without end: six colours, then again with dashes and dots."""
    return ((line, colour) for line in cycle(["-", "--", ":"]) for colour in LINES)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
