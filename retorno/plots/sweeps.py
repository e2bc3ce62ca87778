"""How a solution came about: its bounds closing over the sweeps, the table of all sweeps, and their animation.

Everything is drawn from `Solution.trace`: after each sweep the value and its bounds [S], and the residual.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from retorno.bellman.explanation import shown_sweeps, sweep_rows, widest
from retorno.core.mdp import MDP
from retorno.core.numerals import plain
from retorno.core.solution import Solution, Sweep
from retorno.plots.answers import Greedy
from retorno.plots.graph import draw_graph, layout
from retorno.plots.maps import Maps, value_map
from retorno.plots.page import Table
from retorno.plots.style import LINES, MUTED, PlotError, number, number_axes, panels, style

FRAMES = 48
"""An animation shows this many sweeps at most: the first ones, then ever fewer, and the last."""
DOTS = 96
"""Dots an inch of an animation."""


def bounds_plot(solution: Solution) -> Figure:
    """The bounds of the start value closing in on it, and below, on a log axis, how wide they still are.

    The width is what is known while solving. The error, the largest distance of a value from the final
    one, is known only afterwards. Sweeps whose bounds are infinite are left out.

    Args:
        solution: with its trace.

    Raises:
        PlotError: when it has no trace.
    """
    trace = _trace(solution)
    sweep = np.arange(1, len(trace) + 1)
    start = solution.model.initial
    value, lower, upper = (
        np.array([_mean(start, getattr(one, bound)) for one in trace]) for bound in ("value", "lower", "upper")
    )
    width = np.array([widest(one) for one in trace])
    residual = np.array([one.residual for one in trace], float)
    settled = np.isfinite(solution.value)
    away = np.array([float(np.abs(one.value[settled] - solution.value[settled]).max(initial=0)) for one in trace])
    away[away <= width[-1]] = np.nan  # The last value is known no better than this.
    marker = "o" if len(trace) <= 30 else ""
    with style():
        figure, (above, below) = panels(7.2, 5.6, 2)
        known = np.isfinite(lower) & np.isfinite(upper)
        above.fill_between(sweep[known], lower[known], upper[known], color=LINES[0], alpha=0.18, linewidth=0)
        for bound in (lower, upper):
            above.plot(sweep[known], bound[known], color=LINES[0], linewidth=1.1)
        above.plot(sweep, value, color=LINES[1], marker=marker, markersize=3)
        final = number(solution.start_value, 6)
        above.axhline(solution.start_value, color=MUTED, linewidth=1.1, dashes=(5, 3), zorder=1)
        above.set_title(f"Value of the start, {final}, and its bounds", pad=8)
        _window(above, solution, lower, upper)
        number_axes(above)
        shown = [("bounds, widest state", width, LINES[0]), ("residual, largest change", residual, LINES[2])]
        shown.append(("error, largest", away, LINES[1]))
        for label, series, colour in shown:
            drawn = np.where(np.isfinite(series) & (series > 0), series, np.nan)
            below.plot(sweep, drawn, color=colour, label=label, marker=marker, markersize=3)
        below.set_yscale("log")
        below.legend(loc="best", handlelength=1.6)
        below.set_title("How far it still may be", pad=8)
        below.set_xlabel("sweeps")
        below.yaxis.set_major_formatter(
            lambda x, _: f"{x:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
        )
        _across(below, len(trace))
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        above.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return figure


def _window(axes: Axes, solution: Solution, lower: Float[np.ndarray, " K"], upper: Float[np.ndarray, " K"]) -> None:
    """Show as much as the values of all states span, until the bounds are within a hundredth of it."""
    value, final = solution.value[np.isfinite(solution.value)], solution.start_value
    span = max(float(np.ptp(value)), abs(final), 1e-12)
    wide = np.flatnonzero(~(upper - lower <= 0.01 * span))
    _across(axes, min(int(wide[-1]) + 2, len(lower)) if len(wide) else len(lower))
    low = max(final - 1.5 * span, min(float(np.nanmin(lower)), final - 0.05 * span))
    high = min(final + 1.5 * span, max(float(np.nanmax(upper)), final + 0.05 * span))
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _across(axes: Axes, sweeps: int) -> None:
    margin = max(0.02 * sweeps, 0.1 if sweeps > 2 else 0.5)
    axes.set_xlim(1 - margin, sweeps + margin)


def sweep_table(solution: Solution, most: int = 24) -> Table:
    """The values after each sweep, a column a state, for a page; the last row is marked.

    Raises:
        PlotError: when the solution has no trace.
    """
    _trace(solution)
    head, rows = sweep_rows(solution, most)
    shown = [
        [row[0], *(f"{x:z.4f}".replace("-", "−") for x in row[1:-2]), *(f"{x:.1e}" for x in row[-2:])] for row in rows
    ]
    left_out = "" if rows[-1][0] == len(rows) else f"; {len(rows)} of {rows[-1][0]} sweeps"
    caption = f"values after each sweep at discount {plain(solution.discount)}{left_out}"
    return Table(head, shown, marked=frozenset({len(rows) - 1}), caption=caption)


def animate(solution: Solution, path: str | Path, seconds: float = 8.0) -> Path:
    """Write the sweeps as a GIF: a map where the model lies on one, else its graph.

    Arrows and colours are of the actions that are best at that sweep's values.

    Args:
        solution: with its trace.
        path: ends in .gif; folders are made.
        seconds: how long the animation is; its last picture stays two seconds longer.

    Raises:
        PlotError: for another suffix, without a trace, or when the model can be drawn in neither way.
    """
    path, trace = Path(path), _trace(solution)
    if path.suffix != ".gif":
        raise PlotError(f"animations are written as .gif, got {path.name!r}: name the file so")
    draw = _frame(solution)
    shown = shown_sweeps(len(trace), FRAMES)
    pictures = []
    for k in shown:
        answer = at_value(solution, trace[k].value)
        pictures.append(_image(draw(f"sweep {k + 1}, bounds {number(widest(trace[k]), 2)} wide", answer)))
    size = (max(p.width for p in pictures), max(p.height for p in pictures))
    palette = _together(pictures[:: max(1, len(pictures) // 8)] + pictures[-1:]).quantize(255)
    frames = [_padded(picture, size).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    each = int(1000 * seconds / len(frames))
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[each] * (len(frames) - 1) + [each + 2000], loop=0
    )
    return path


def at_value(solution: Solution, value: Float[np.ndarray, " S"]) -> Greedy:
    """A value with the actions that are best by one backup of it, ties within rounding."""
    model = solution.model
    after = np.where(model.discount > 0, value[model.next_state], 0.0)
    terms = model.probability * (model.reward + solution.question_discount * model.discount * after)
    q = np.add.reduceat(terms, model.row_ptr[:-1])
    if solution.minimise:
        q = -q
    best = np.full(model.num_states, -np.inf)
    np.maximum.at(best, model.pair_state, q)
    near = 1e-12 * max(1.0, float(np.abs(q[np.isfinite(q)]).max(initial=0)))
    optimal: Bool[np.ndarray, " P"] = q >= best[model.pair_state] - near
    return Greedy(model, value, optimal)


def _frame(solution: Solution) -> Callable[[str, Greedy], Figure]:
    """What draws one sweep."""
    model: MDP = solution.model
    if model.has_map:
        values = np.array([sweep.value for sweep in _trace(solution)])[:, ~model.terminal]
        finite = values[np.isfinite(values)]
        limits = (float(finite.min()), float(finite.max()))
        if model.map_key is not None and model.map_key.rows:
            return lambda title, answer: value_map({title: answer}, limits)
        # Laid out once: for each sweep anew it took two thirds of the time.
        maps = Maps({"sweep": at_value(solution, solution.value)}, limits)
        return lambda title, answer: maps.redraw({title: answer})
    place = layout(model)
    return lambda title, answer: draw_graph(model, {title: answer}, place)


def _image(figure: Figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with style():
        figure.set_dpi(DOTS)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _together(pictures: list[Image.Image]) -> Image.Image:
    """Pictures below each other, for a palette of all their colours."""
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)))
    for i, picture in enumerate(pictures):
        whole.paste(picture, (0, sum(p.height for p in pictures[:i])))
    return whole


def _padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in the upper left of a larger one, since all frames have one size."""
    if picture.size == size:
        return picture
    wide = Image.new("RGB", size, picture.getpixel((0, 0)))
    wide.paste(picture, (0, 0))
    return wide


def _trace(solution: Solution) -> tuple[Sweep, ...]:
    if not solution.trace:
        raise PlotError("the solution has no trace of its sweeps: solve it with trace=True")
    return solution.trace


def _mean(start: Float[np.ndarray, " S"], value: Float[np.ndarray, " S"]) -> float:
    return float(start @ np.where(start > 0, value, 0.0))
