"""Values and policies of models that lie on a map: a cell per state, arrows for *all* best actions, a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from retorno.core.mdp import MDP
from retorno.plots.answers import Answer, evaluated, marked_actions
from retorno.plots.charts import chart
from retorno.plots.places import Kind, Place, headings, places, whole_map
from retorno.plots.style import INK, MUTED, PAPER, RULE, PlotError, decimals, number, panels, style

COLOURS = "cividis"
GOAL, PIT, END = "#009e73", "#d55e00", "#767c86"
MARKS = {
    Kind.GOAL: ("*", GOAL, 0.3),
    Kind.PIT: ("X", PIT, 0.2),
    Kind.CLIFF: ("X", PIT, 0.2),
    Kind.END: ("s", END, 0.14),
}
"""The sign of an end, its colour, and its size in cells."""
SAID = {
    Kind.GOAL: "goal", Kind.PIT: "pit", Kind.CLIFF: "cliff: back to the start", Kind.END: "end", Kind.WALL: "wall",
    Kind.NEVER: "never entered",
}  # fmt: skip
WALL, MORTAR = "#b9bdc5", "#8a8f98"
NUMBERED = 0.55
"""Cells of at least this many inches hold their number."""
LETTER = 0.074
"""The width of a legend's letter, in inches."""
NARROWEST = 3.2
"""A figure is at least so wide, or its legend would be cut."""


def value_map(
    answers: Answer | Mapping[str, Answer],
    limits: tuple[float, float] | None = None,
    across: int | None = None,
    width: float = 9.5,
) -> Figure:
    """A heat map of values with the best actions, all ties shown as arrows; of a policy that was evaluated its own.

    Where the map shows no places but numbers of things (`MDP.map_key`), the policy stands beside the values. The
    legend says what each sign is. Numbers give way to a colour bar where the map is too large for them.

    Args:
        answers: a solution (or `greedy(model, q)`); or several by title, drawn side by side in one
            scale of colours.
        limits: the values of the first and last colour; of the answers' own values if None.
        across: how many maps stand in a row; all, or one where they are wide, if None.
        width: of one map at the most, in inches.

    Raises:
        PlotError: when there is no answer, or a model has no map.
    """
    titled: Mapping[str, Answer] = answers if isinstance(answers, Mapping) else {"": answers}
    if not titled:
        raise PlotError("there is no answer to draw: give a solution")
    key = next(iter(titled.values())).model.map_key
    if key is not None and key.rows:
        return chart(titled, limits)
    return Maps(titled, limits, across, width).figure


class Maps:
    """Maps in one figure, in which other answers may be drawn: of the same models, with the same legend and colours."""

    def __init__(
        self,
        titled: Mapping[str, Answer],
        limits: tuple[float, float] | None = None,
        across: int | None = None,
        width: float = 9.5,
    ) -> None:
        self.titled, self.limits = titled, limits
        shapes = [np.nanmax(places(answer.model), 0) for answer in titled.values()]
        self.rows, self.columns = (int(x) + 1 for x in np.nanmax(shapes, 0))
        self.size = size = min(0.95, max(0.3 if width > 5 else 0.1, min(width / self.columns, 8.0 / self.rows)))
        stacked = self.columns * size * len(titled) > 10
        beside = across or (1 if stacked else len(titled))
        shape = (-(-len(titled) // beside), beside)
        barred = size < NUMBERED
        flat = barred and self.rows * size < 1.6
        self.maps = [whole_map(answer.model) for answer in titled.values()]
        legend = _legend(list(titled.values()), self.maps, size)
        width = max(NARROWEST, shape[1] * (self.columns * size + 0.25) + 1.0 * (barred and not flat))
        lines = _lines(legend, width)
        shown = self._shown()
        lowest, highest = limits or (float(shown.min()), float(shown.max()))
        self.norm = Normalize(lowest, highest if highest > lowest else lowest + 1)
        with style():
            high = shape[0] * (self.rows * size + 0.25 + 0.25 * any(titled)) + 0.2 * lines + 0.15 + 0.75 * flat
            self.figure, self.panes = panels(width, high, *shape)
            for pane in self.panes[len(titled) :]:
                pane.set_visible(False)
            self._draw()
            if barred:
                where: dict[str, Any] = {"location": "bottom", "aspect": 40, "pad": 0.02} if flat else {"aspect": 25}
                coloured = ScalarMappable(self.norm, COLOURS)
                bar = self.figure.colorbar(coloured, ax=list(self.panes), shrink=0.6, label="value", **where)
                bar.outline.set_visible(False)  # type: ignore[operator]
            self.figure.legend(
                handles=legend, loc="outside lower left", ncols=-(-len(legend) // lines), fontsize=8.5,
                handlelength=1.3, columnspacing=1.3, handletextpad=0.5, borderpad=0.1,
            )  # fmt: skip

    def redraw(self, titled: Mapping[str, Answer]) -> Figure:
        """The same figure with other answers, where everything lies as it was laid out for the first ones."""
        with style():
            if isinstance(self.figure.get_layout_engine(), ConstrainedLayoutEngine):
                self.figure.draw_without_rendering()
                self.figure.set_layout_engine("none")
            for pane in self.panes[: len(titled)]:
                for drawn in (*pane.collections, *pane.patches, *pane.lines, *pane.texts):
                    drawn.remove()
            self.titled = titled
            self._draw()
        return self.figure

    def _shown(self) -> Float[np.ndarray, " N"]:
        """The values that are known, of all maps."""
        answers = zip(self.titled.values(), self.maps, strict=True)
        shown = np.concatenate([answer.value[_acting(answer.model, whole)] for answer, whole in answers])
        return shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.zeros(1)

    def _draw(self) -> None:
        digits = decimals(np.append(self._shown(), self.limits or ()))
        for pane, (title, answer), whole in zip(self.panes, self.titled.items(), self.maps, strict=False):
            _draw_map(pane, answer, whole, self.norm, digits, self.size)
            pane.set_title(title)
            pane.set(xlim=(-0.52, self.columns - 0.48), ylim=(self.rows - 0.48, -0.52), aspect="equal")
            pane.axis("off")


def _acting(model: MDP, whole: Mapping[Any, Place]) -> Bool[np.ndarray, " S"]:
    """States that are drawn with their value: on the map, not ends, and entered in some episode."""
    found = np.zeros(model.num_states, bool)
    found[[one.state for one in whole.values() if one.state is not None and one.kind is Kind.ACTING]] = True
    return found


def _lines(legend: Sequence[Artist], width: float) -> int:
    """In how many lines the entries of a legend, column after column, fit a figure of so many inches."""
    wide = [LETTER * len(str(entry.get_label())) + 0.45 for entry in legend]
    for lines in range(1, len(legend)):
        across = sum(max(wide[i : i + lines]) for i in range(0, len(wide), lines))
        if across <= width:
            return lines
    return max(1, len(legend))


def _legend(answers: Sequence[Answer], maps: Sequence[Mapping[Any, Place]], size: float) -> list[Artist]:
    """An entry for everything that the maps show."""
    there = {one.kind for whole in maps for one in whole.values()}
    entries: list[Artist] = []
    first = answers[0]
    heading = headings(first.model)
    key = first.model.map_key
    whose = "the policy's" if evaluated(first) else "best"
    unit = key.actions if key is not None and key.actions else "move"
    pairs = [
        p
        for p in range(first.model.num_pairs)
        if any(one.state == first.model.pair_state[p] and one.kind is Kind.ACTING for one in maps[0].values())
    ] if first.model.num_pairs < 200 else range(first.model.num_pairs)  # fmt: skip
    moves, named = heading[list(pairs)], [int(first.model.action[p]) for p in pairs]
    if (np.isfinite(moves[:, 0]) & (moves != 0).any(1)).any():
        entries.append(_sign(">", INK, f"{whose} {unit}"))
    if (moves == 0).all(1).any():
        entries.append(_sign("o", INK, f"{whose} {unit}: none" if unit != "move" else f"{whose} action: stay"))
    unnamed = sorted({a for a, move in zip(named, moves, strict=True) if np.isnan(move[0])})
    if unnamed and size >= NUMBERED:
        entries.append(_sign("$a$", INK, f"{whose} action"))
    if any(one.start for whole in maps for one in whole.values()):
        entries.append(Patch(facecolor="none", edgecolor=INK, linewidth=1.3, label="start"))
    for kind, said in SAID.items():
        if kind not in there:
            continue
        if kind in MARKS:
            marker, colour, _ = MARKS[kind]
            entries.append(_sign(marker, colour, said))
        elif kind is Kind.WALL:
            entries.append(Patch(facecolor=WALL, edgecolor=MORTAR, linewidth=0.6, hatch="--", label=said))
        else:
            entries.append(Patch(facecolor=PAPER, edgecolor=RULE, linewidth=0.6, hatch="////", label=said))
    if size >= NUMBERED:
        below = ", below a sign the reward" if there & MARKS.keys() else ""
        entries.append(_sign("$12$", INK, f"value{below}"))
    if key is not None and key.note:
        entries.append(Line2D([], [], linestyle="", label=key.note))
    return entries


def _sign(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=colour, markeredgewidth=0, markersize=7, label=label)


def _draw_map(
    axes: Axes, answer: Answer, whole: Mapping[tuple[int, int], Place], norm: Normalize, digits: int, size: float
) -> None:
    model, actions = answer.model, marked_actions(answer)
    heading = {(int(s), int(a)): way for s, a, way in zip(model.pair_state, model.action, headings(model), strict=True)}
    colours = matplotlib.colormaps[COLOURS]
    cells, fills, arrows, inks = [], [], [], []
    for (row, column), one in whole.items():
        if one.state is None or one.kind is not Kind.ACTING:
            _draw_place(axes, (column, row), one, size)
            continue
        value = answer.value[one.state]
        known = np.isfinite(value)
        fill = colours(norm(value)) if known else to_rgb(RULE)
        ink = "#101318" if np.dot(fill[:3], (0.299, 0.587, 0.114)) > 0.5 else "#ffffff"
        cells.append(_square((column, row), 0.49))
        fills.append(fill)
        best = actions[one.state]
        words = []
        for a in best:
            way = heading[one.state, a]
            if np.isnan(way[0]):
                words.append(model.action_names[a])
            elif not way.any():
                axes.plot(column, row + 0.33 * (size >= NUMBERED), "o", color=ink, markersize=3)
            else:
                shapes = _head(way) if size >= NUMBERED else _arrow(way, centred=len(best) == 1)
                arrows += [shape + np.array((column, row)) for shape in shapes]
                inks += [ink] * len(shapes)
        if words and size >= NUMBERED:
            _write(axes, (column, row + 0.3), " or ".join(words), ink, min(8.0, 0.12 * 72 * size), size)
        if size >= NUMBERED:
            text = f"{value:z.{digits}f}".replace("-", "−") if known else "–"
            _write(axes, (column, row), text, ink, min(10.5, 0.155 * 72 * size), size)
        if one.start:
            axes.add_patch(
                Rectangle((column - 0.465, row - 0.465), 0.93, 0.93, fill=False, edgecolor=ink, linewidth=1.3)
            )
    axes.add_collection(PolyCollection(cells, facecolors=fills, edgecolors="none", zorder=0.9, gid="cells"))
    axes.add_collection(PolyCollection(arrows, facecolors=inks, edgecolors="none", zorder=2, gid="arrows"))


def _write(axes: Axes, at: tuple[float, float], text: str, ink: str, points: float, size: float) -> None:
    """Text that stays within a cell."""
    fits = 0.92 * 72 * size / (0.62 * max(len(text), 1))
    axes.text(*at, text, ha="center", va="center_baseline", color=ink, fontsize=max(3.5, min(points, fits)))


def _draw_place(axes: Axes, at: tuple[float, float], one: Place, size: float) -> None:
    """A cell that no one acts in."""
    x, y = at
    if one.kind is Kind.WALL:
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=WALL, edgecolor="none", label="wall"))
        for i, level in enumerate((-0.25, 0.0, 0.25, 0.5)):
            joints = (-0.25, 0.25) if i % 2 else (0.0, 0.5)
            axes.plot([x - 0.5, x + 0.5], [y + level] * 2, color=MORTAR, linewidth=0.7, solid_capstyle="butt")
            for joint in joints:
                axes.plot(
                    [x + joint] * 2, [y + level - 0.25, y + level], color=MORTAR, linewidth=0.7, solid_capstyle="butt"
                )
        return
    box: dict[str, Any] = {"facecolor": PAPER, "edgecolor": RULE, "linewidth": 0.8}
    if one.kind is Kind.NEVER:
        axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, hatch="////", label="never", **box))
        return
    axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, **box))
    marker, colour, share = MARKS[one.kind]
    lift = 0.1 if size >= NUMBERED else 0.0
    axes.plot(x, y - lift, marker, color=colour, markersize=72 * size * share, markeredgewidth=0)
    if size >= NUMBERED and one.reward is not None:
        sign = "+" if one.reward > 0 else ""
        axes.text(
            x, y + 0.27, sign + number(one.reward, 3), ha="center", va="center",
            color=INK if one.kind is Kind.GOAL else MUTED, fontsize=min(9, 0.13 * 72 * size),
        )  # fmt: skip


def _square(at: tuple[float, float], half: float) -> Float[np.ndarray, "4 2"]:
    return np.array([(-half, -half), (half, -half), (half, half), (-half, half)]) + at


def _head(heading: np.ndarray) -> list[Float[np.ndarray, "_ 2"]]:
    """An arrow's head at the edge of a cell, beside its number."""
    along = heading[::-1] / np.hypot(*heading)
    across = 0.075 * np.array([-along[1], along[0]])
    reach = np.max(np.abs(along))  # In a corner there is more room than at an edge.
    return [np.array([0.43 * along / reach, 0.33 * along / reach + across, 0.33 * along / reach - across])]


def _arrow(heading: np.ndarray, centred: bool) -> list[Float[np.ndarray, "_ 2"]]:
    """An arrow through a cell without a number; from its middle where there are several."""
    along = heading[::-1] / np.hypot(*heading)
    across = np.array([-along[1], along[0]])
    tail, base, tip = ((-0.32 if centred else 0.0) * along, 0.12 * along, 0.36 * along)
    thin, wide = 0.025 * across, 0.13 * across
    return [np.array([tail + thin, base + thin, base + wide, tip, base - wide, base - thin, tail - thin])]
