"""The graph of a small model, as lectures draw it: circles for states, dots for actions, squares where it ends.

The layout is deterministic: stress majorisation (Gansner, Koren & North 2004) from several starts,
of which the one with the fewest crossings is kept. Lengths are in inches throughout.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from retorno.core.mdp import MDP
from retorno.plots.answers import Answer, evaluated, shown_pairs
from retorno.plots.places import ends
from retorno.plots.style import INK, MUTED, PAPER, InlineFigure, PlotError, number, style

MOST_STATES, MOST_ARROWS = 16, 48
DIRECT, HALF = 1.9, 1.25
"""The wished length of an arrow between states, and of one from or to a dot."""
DOT = 0.055
LETTER, LINE = 0.073, 0.15
"""The width and height of a letter in a label."""
BEST = "#d55e00"
SQUARE = 1.5
"""The side of an end's square, in radii of a state's circle."""
BENDS = (0.0, 0.16, -0.16, 0.3, -0.3, 0.48, -0.48)
STARTS = 24
WIDEST = 13.0
"""Several graphs stand side by side up to this width."""
CLEAR = 0.4
"""Between the edges of two nodes, at least."""

Point = Float[np.ndarray, " 2"]


class Arrow(NamedTuple):
    """A line from one node to another."""

    start: int
    end: int
    label: str
    dot: bool
    """Whether it stands for an action of its own, with a dot on it."""
    head: bool
    best: bool
    dashed: bool
    """Whether it ends the episode in a state that others may pass."""


@dataclass
class Drawing:
    """What is to be drawn: nodes (states first, then the dots of actions with several outcomes) and arrows."""

    names: list[str]
    dot_labels: list[tuple[str, bool]]
    """Of each dot after the states: its label, and whether the action is a best one."""
    arrows: list[Arrow]
    radius: float

    @property
    def radii(self) -> Float[np.ndarray, " n"]:
        return np.array([self.radius] * len(self.names) + [DOT] * len(self.dot_labels))


def model_graph(model: MDP, answer: Answer | Mapping[str, Answer] | None = None, across: int | None = None) -> Figure:
    """A small model as a graph, with probabilities and rewards on its arrows.

    An action with one outcome is one arrow with a dot on it; an action with several is a dot from
    which they part. Actions that do the same in a state share an arrow, and states in which an action does the same
    share its dot. A model with a single action is drawn without dots, as a reward process.

    Args:
        model: of up to 16 states and 48 arrows.
        answer: a solution of it; its values are then written into the states, and all best actions
            are coloured. Or several by title, for instance one per discount, drawn in the same places.
        across: how many graphs stand in a row; as many as there is room for, if None.

    Raises:
        PlotError: when the model is too large, or there is no answer among several.
    """
    titled: Mapping[str, Answer | None] = answer if isinstance(answer, Mapping) else {"": answer}
    if not titled:
        raise PlotError("there is no answer to draw: give a solution")
    return draw_graph(model, titled, layout(model), across)


def layout(model: MDP) -> Float[np.ndarray, "n 2"]:
    """Where a model's states and, after them, its dots lie, in inches.

    Raises:
        PlotError: when the model is too large to be drawn as a graph.
    """
    if not readable(model):
        arrows = f" and {len(_drawing(model, None).arrows)} arrows" if model.num_states <= MOST_STATES else ""
        raise PlotError(
            f"a graph of {model.num_states} states{arrows} cannot be read: up to {MOST_STATES} and {MOST_ARROWS} can; "
            "`answer_picture` draws an answer of any model"
        )
    return _layout(_drawing(model, None), int(np.argmax(model.initial)))


def readable(model: MDP) -> bool:
    """Whether a model is small enough for a graph."""
    return model.num_states <= MOST_STATES and len(_drawing(model, None).arrows) <= MOST_ARROWS


def draw_graph(
    model: MDP, titled: Mapping[str, Answer | None], place: Float[np.ndarray, "n 2"], across: int | None = None
) -> Figure:
    """One graph per answer, all with their nodes at `place`."""
    with style():
        figure = InlineFigure()
        panes = [_draw(figure, model, answer, place) for answer in titled.values()]
        caption = _caption(model, next(iter(titled.values())), _drawing(model, None))
        _frame(figure, panes, list(titled), caption, across)
    return figure


def _draw(figure: Figure, model: MDP, answer: Answer | None, place: Float[np.ndarray, "n 2"]) -> tuple[Axes, _Room]:
    drawing = _drawing(model, answer)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    room = _Room(place, drawing.radii, ends(model))
    bundles = _bundles(drawing)
    arrows = sorted(drawing.arrows, key=lambda arrow: arrow.start == arrow.end)
    curves = [_draw_arrow(axes, arrow, room, alone=bundles[_between(arrow)] == 1) for arrow in arrows]
    for arrow, curve in zip(arrows, curves, strict=True):
        if arrow.label:
            room.write(axes, arrow.label, _beside(curve, _half(arrow.label)), BEST if arrow.best else INK)
    for (label, best), at in zip(drawing.dot_labels, place[model.num_states :], strict=True):
        axes.add_patch(Circle((at[0], at[1]), DOT, color=BEST if best else INK, zorder=3))
        room.write(axes, label, _around(at, _half(label)), BEST if best else INK)
    _draw_states(axes, model, answer, place, drawing.radius)
    return axes, room


def _drawing(model: MDP, answer: Answer | None) -> Drawing:
    names = list(model.state_names)
    drawing = Drawing(names, [], [], float(np.clip(0.036 * max(map(len, names)) + 0.1, 0.3, 0.46)))
    process = model.num_actions == 1
    alike: dict[tuple[Arrow, float], list[str]] = {}
    dots: dict[tuple[int, tuple[tuple[float, ...], ...]], int] = {}
    for p, a in enumerate(model.action):
        best = answer is not None and bool(shown_pairs(answer)[p]) and not process
        rows = [i for i in range(model.row_ptr[p], model.row_ptr[p + 1]) if model.probability[i] > 0]
        state, name = int(model.pair_state[p]), model.action_names[int(a)]
        if process:
            for i in rows:
                label = f"{number(model.probability[i], 3)}, {_signed(model.reward[i])}"
                drawing.arrows.append(_arrow(model, i, state, label, False, best))
        elif len(rows) == 1:
            arrow = _arrow(model, rows[0], state, "", True, best)
            alike.setdefault((arrow, float(model.reward[rows[0]])), []).append(name)
        else:
            outcomes = tuple((model.next_state[i], model.probability[i], model.reward[i]) for i in rows)
            dot = dots.setdefault((int(a), outcomes), len(names) + len(dots))
            _part(drawing, model, rows, dot, f"action {name}" if name.isdigit() else name, best)
            drawing.arrows.append(Arrow(state, dot, "", dot=False, head=False, best=best, dashed=False))
    for (arrow, reward), together in alike.items():
        drawing.arrows.append(arrow._replace(label=f"{_joined(together)}, {_signed(reward)}"))
    return drawing


def _part(drawing: Drawing, model: MDP, rows: Sequence[int], dot: int, name: str, best: bool) -> None:
    """The arrows that part from a dot; where it is there already, it is a best action's from now on if this one is."""
    if dot < len(drawing.names) + len(drawing.dot_labels):
        if best:
            drawing.dot_labels[dot - len(drawing.names)] = (drawing.dot_labels[dot - len(drawing.names)][0], True)
            drawing.arrows = [x._replace(best=True) if x.start == dot else x for x in drawing.arrows]
        return
    same = np.ptp(model.reward[rows]) == 0
    drawing.dot_labels.append((f"{name}, {_signed(model.reward[rows[0]])}" if same else name, best))
    for i in rows:
        chance = number(model.probability[i], 3)
        label = chance if same else f"{chance}, {_signed(model.reward[i])}"
        drawing.arrows.append(_arrow(model, i, dot, label, False, best))


def _joined(names: Sequence[str]) -> str:
    """The names of actions that do the same."""
    if all(name.isdigit() for name in names):
        spans: list[list[int]] = []
        for n in sorted(map(int, names)):
            if spans and n == spans[-1][-1] + 1:
                spans[-1].append(n)
            else:
                spans.append([n])
        told = ", ".join(str(x[0]) if len(x) == 1 else f"{x[0]}–{x[-1]}" for x in spans)
        return f"action{'s' * (len(names) > 1)} {told}"
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} … {names[-1]}"


def _arrow(model: MDP, row: int, start: int, label: str, dot: bool, best: bool) -> Arrow:
    end = int(model.next_state[row])
    dashed = bool(model.discount[row] == 0) and not ends(model)[end]
    return Arrow(start, end, label, dot, head=True, best=best, dashed=dashed)


def _signed(reward: float) -> str:
    return ("+" if reward > 0 else "") + number(reward, 4)


def _between(arrow: Arrow) -> tuple[int, int]:
    return min(arrow.start, arrow.end), max(arrow.start, arrow.end)


def _bundles(drawing: Drawing) -> Counter[tuple[int, int]]:
    """How many arrows run between two nodes, either way."""
    return Counter(map(_between, drawing.arrows))


def _layout(drawing: Drawing, first: int) -> Float[np.ndarray, "n 2"]:
    """Where the nodes lie: wide rather than high, the first state at the left."""
    n = len(drawing.radii)
    wished = np.full((n, n), np.inf)
    np.fill_diagonal(wished, 0)
    states = len(drawing.names)
    for (a, b), count in _bundles(drawing).items():
        if a != b:
            wished[a, b] = wished[b, a] = (DIRECT if b < states else HALF) + 0.3 * (count - 1)
    for k in range(n):
        wished = np.minimum(wished, wished[:, k, None] + wished[None, k])
    finite = wished[np.isfinite(wished)]
    wished[~np.isfinite(wished)] = finite.max() + DIRECT
    places = [_majorise(wished, np.random.default_rng(start).normal(size=(n, 2)), 100) for start in range(STARTS)]
    place = min(places, key=lambda x: _tangle(drawing, x) + 0.3 * _stress(wished, x))
    place = _apart(_majorise(wished, place, 1000), drawing.radii)
    place = place - place.mean(0)
    place = place @ np.linalg.svd(place, full_matrices=False)[2].T
    return place * np.where(place[first] > 0, -1, 1) * (1, -1)


def _majorise(
    wished: Float[np.ndarray, "n n"], place: Float[np.ndarray, "n 2"], steps: int
) -> Float[np.ndarray, "n 2"]:
    """Lower Σ (|xᵢ − xⱼ| − dᵢⱼ)² / dᵢⱼ²: each step minimises a quadratic above it. Gansner et al. 2004, eq. 7."""
    weight = 1 / np.maximum(wished, 1e-9) ** 2
    np.fill_diagonal(weight, 0)
    inverse = np.linalg.pinv(np.diag(weight.sum(1)) - weight)
    for _ in range(steps):
        gap = np.linalg.norm(place[:, None] - place[None], axis=-1)
        pull = weight * wished / np.maximum(gap, 1e-9)
        place = inverse @ ((np.diag(pull.sum(1)) - pull) @ place)
    return place


def _apart(place: Float[np.ndarray, "n 2"], radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Push nodes that nearly touch away from each other."""
    room = radii[:, None] + radii + CLEAR
    np.fill_diagonal(room, 0)
    for _ in range(100):
        offset = place[:, None] - place[None]
        gap = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
        push = np.clip(room - gap, 0, None) / gap
        place = place + 0.25 * (push[..., None] * offset).sum(1)
    return place


def _stress(wished: Float[np.ndarray, "n n"], place: Float[np.ndarray, "n 2"]) -> float:
    gap = np.linalg.norm(place[:, None] - place[None], axis=-1)
    return float((((gap - wished) / np.where(wished > 0, wished, 1)) ** 2).sum())


def _tangle(drawing: Drawing, place: Float[np.ndarray, "n 2"]) -> float:
    """Crossings of straight arrows, and nodes that lie on one another or on an arrow."""
    pairs = sorted({(min(a.start, a.end), max(a.start, a.end)) for a in drawing.arrows if a.start != a.end})
    cost = 0.0
    for i, (a, b) in enumerate(pairs):
        cost += sum(
            1.0 for c, d in pairs[i + 1 :] if len({a, b, c, d}) == 4 and _cross(place[a], place[b], place[c], place[d])
        )
        line = place[a] + np.linspace(0, 1, 15)[:, None] * (place[b] - place[a])
        for node, radius in enumerate(drawing.radii):
            if node not in (a, b):
                cost += 2.0 * (np.linalg.norm(line - place[node], axis=1).min() < radius + 0.12)
    gap = np.linalg.norm(place[:, None] - place[None], axis=-1) - drawing.radii[:, None] - drawing.radii
    np.fill_diagonal(gap, np.inf)
    return cost + 2.0 * float((gap < CLEAR).sum())


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> bool:
        return bool((q[0] - p[0]) * (r[1] - p[1]) > (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)


class _Room:
    """The space that is left: nodes, curves and labels drawn so far."""

    def __init__(
        self, place: Float[np.ndarray, "n 2"], radii: Float[np.ndarray, " n"], square: Bool[np.ndarray, " S"]
    ) -> None:
        self.place, self.radii = place, radii
        self.square = set(np.flatnonzero(square).tolist())
        self.dots: list[Float[np.ndarray, "1 2"]] = []
        self.points: list[Float[np.ndarray, "k 2"]] = []
        self.boxes: list[tuple[Point, Point]] = []

    def outside(self, points: Float[np.ndarray, "k 2"], node: int, margin: float = 0.0) -> Bool[np.ndarray, " k"]:
        """Which points lie outside a node's outline."""
        offset = points - self.place[node]
        if node in self.square:
            return np.abs(offset).max(1) >= SQUARE * self.radii[node] / 2 + margin
        return np.linalg.norm(offset, axis=1) >= self.radii[node] + margin

    def crowding(self, curve: Float[np.ndarray, "k 2"], but: Iterable[int]) -> float:
        """How much a curve runs into nodes (other than its own) and along other curves."""
        gap = np.linalg.norm(curve[:, None] - self.place[None], axis=-1) - self.radii
        gap[:, list(but)] = np.inf
        cost = 3.0 * float(np.clip(0.15 - gap, 0, None).sum())
        if self.points:
            near = np.linalg.norm(curve[3:-3, None] - np.concatenate(self.points)[None], axis=-1).min(1)
            cost += float(np.clip(0.16 - near, 0, None).sum())
        return cost

    def freest(self, node: int) -> float:
        """The direction, in radians, in the middle of the widest gap between the curves around a node."""
        near = [p for p in self.points for p in (p[np.linalg.norm(p - self.place[node], axis=1) < 1.2],) if len(p)]
        if not near:
            return np.pi / 2
        offset = np.concatenate(near) - self.place[node]
        angles = np.sort(np.arctan2(offset[:, 1], offset[:, 0]))
        gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
        widest = int(np.argmax(gaps))
        return float(angles[widest] + gaps[widest] / 2)

    def write(self, axes: Axes, text: str, spots: Sequence[Point], colour: str) -> None:
        """Put a label on the freest of several spots (earlier ones first among equals)."""
        half = _half(text)
        nodes, lines = np.concatenate([self.place, *self.dots]), np.concatenate(self.points)
        radii = np.pad(self.radii, (0, len(self.dots)), constant_values=DOT)

        def cost(rank: int, spot: Point) -> float:
            gap = np.linalg.norm(np.clip(nodes, spot - half, spot + half) - nodes, axis=1) - radii
            total = 40.0 * float(np.clip(0.03 - gap, 0, None).sum()) + 0.02 * rank
            for centre, other in self.boxes:
                overlap = float(np.clip(half + other - np.abs(spot - centre), 0, None).prod())
                total += 5.0 * (overlap > 0) + 30.0 * overlap
            inside = (np.abs(lines - spot) < half + 0.03).all(1)
            return total + 0.3 * float(inside.sum())

        at = spots[int(np.argmin([cost(i, spot) for i, spot in enumerate(spots)]))]
        self.boxes.append((at, half))
        axes.text(
            at[0], at[1], text, color=colour, fontsize=8.5, ha="center", va="center", zorder=4,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
        )  # fmt: skip


def _draw_arrow(axes: Axes, arrow: Arrow, room: _Room, alone: bool) -> Float[np.ndarray, "k 2"]:
    """Draw an arrow where there is room; the points of its curve."""
    if arrow.start == arrow.end:
        outwards = room.freest(arrow.start)
        turns = (outwards + sign * i * np.pi / 12 for i in range(12) for sign in (1, -1))
        choices = [_loop(room.place[arrow.start], room.radii[arrow.start], turn) for turn in turns]
    else:
        choices = [_bent(arrow, room, bend) for bend in BENDS[0 if alone else 1 :]]
    costs = [room.crowding(_points(c), (arrow.start, arrow.end)) + 0.05 * i for i, c in enumerate(choices)]
    controls = choices[int(np.argmin(costs))]
    curve = _points(controls)
    room.points.append(curve)
    colour = BEST if arrow.best else INK
    kind = Path.CURVE3 if len(controls) == 3 else Path.CURVE4
    path = Path(controls, [Path.MOVETO, *[kind] * (len(controls) - 1)])
    axes.add_patch(
        FancyArrowPatch(
            path=path,
            arrowstyle="-|>,head_length=5,head_width=2.2" if arrow.head else "-",
            color=colour,
            linewidth=1.8 if arrow.best else 1.1,
            linestyle="--" if arrow.dashed else "-",
            capstyle="butt",
            joinstyle="miter",
            mutation_scale=1,
            zorder=2,
        )
    )
    if arrow.dot:
        middle = curve[len(curve) // 2]
        axes.add_patch(Circle((middle[0], middle[1]), DOT, color=colour, zorder=3))
        room.dots.append(middle[None])
    return curve


def _bent(arrow: Arrow, room: _Room, bend: float) -> Float[np.ndarray, "3 2"]:
    """Control points of a quadratic curve between two nodes, cut at their edges."""
    a, b = room.place[arrow.start], room.place[arrow.end]
    across = np.array([a[1] - b[1], b[0] - a[0]])
    controls = np.array([a, (a + b) / 2 + 2 * bend * across, b])
    t = np.linspace(0, 1, 201)
    points = _points(controls, 201)
    out = room.outside(points, arrow.start)
    into = room.outside(points, arrow.end, 0.02 if arrow.head else 0.0)
    low, high = t[np.argmax(out)], t[len(t) - 1 - np.argmax(into[::-1])]

    def blossom(s: float, u: float) -> Point:
        return (1 - s) * (1 - u) * controls[0] + ((1 - s) * u + s * (1 - u)) * controls[1] + s * u * controls[2]

    return np.array([blossom(low, low), blossom(low, high), blossom(high, high)])


def _loop(centre: Point, radius: float, turn: float) -> Float[np.ndarray, "4 2"]:
    """Control points of a cubic loop that leaves and enters a node around one direction."""
    angles = turn + np.array([0.42, 0.62, -0.62, -0.42])
    lengths = np.array([radius, radius + 0.95, radius + 0.95, radius + 0.02])
    return centre + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def _points(controls: Float[np.ndarray, "c 2"], count: int = 41) -> Float[np.ndarray, "count 2"]:
    """Points along a Bézier curve of degree 2 or 3."""
    t = np.linspace(0, 1, count)[:, None]
    while len(controls) > 1:
        controls = [(1 - t) * a + t * b for a, b in pairwise(controls)]  # type: ignore[assignment]
    return controls[0] + 0 * t


def _half(text: str) -> Point:
    """Half the width and height of a label."""
    return np.array([LETTER * len(text) + 0.04, LINE]) / 2


def _beside(curve: Float[np.ndarray, "k 2"], half: Point) -> list[Point]:
    """Spots for a label near the middle of a curve, to either side; the nearest just do not touch it."""
    spots = []
    for gap in (0.05, 0.12, 0.24, 0.4):
        for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
            i = round(share * (len(curve) - 1))
            along = curve[i + 1] - curve[i - 1]
            across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
            reach = float(np.abs(across) @ half) + gap
            spots += [curve[i] + reach * across, curve[i] - reach * across]
    return spots


def _around(at: Point, half: Point) -> list[Point]:
    """Spots for a label around a dot, above it first."""
    angles = np.arange(16) * np.pi / 8 + np.pi / 2
    ways = np.stack([np.cos(angles), np.sin(angles)], 1)
    return [at + way * half + (DOT + gap) * way for gap in (0.06, 0.14, 0.26) for way in ways]


def _draw_states(axes: Axes, model: MDP, answer: Answer | None, place: np.ndarray, radius: float) -> None:
    few_starts = np.count_nonzero(model.initial) < np.count_nonzero(~model.terminal)
    over = ends(model)
    for s, name in enumerate(model.state_names):
        x, y = map(float, place[s])
        width = 2.2 if model.initial[s] > 0 and few_starts else 1.1
        look = {"facecolor": PAPER, "edgecolor": INK, "linewidth": width, "zorder": 3}
        if over[s]:
            side = SQUARE * radius
            box = FancyBboxPatch((x - side / 2, y - side / 2), side, side, boxstyle="square,pad=0", **look)
            axes.add_patch(box)
        else:
            axes.add_patch(Circle((x, y), radius, **look))
        valued = answer is not None and not over[s]
        size = float(np.clip(72 * (1.55 if valued else 1.75) * radius / (0.62 * max(len(name), 1)), 5, 9.5))
        colour = MUTED if valued else INK
        axes.text(x, y + 0.12 * valued, name, ha="center", va="center", fontsize=size, color=colour, zorder=5)
        if answer is not None and valued:
            text = number(float(answer.value[s]), 4)
            fits = float(np.clip(72 * 1.9 * radius / (0.62 * len(text)), 6, 11))
            axes.text(x, y - 0.08, text, ha="center", va="center", fontsize=fits, color=INK, zorder=5)


def _caption(model: MDP, answer: Answer | None, drawing: Drawing) -> str:
    process = model.num_actions == 1
    rewarded = any("," in arrow.label for arrow in drawing.arrows if not arrow.dot)
    parts = [
        "on an arrow: probability, reward"
        if process
        else f"dot: action, reward; on its arrows: probability{', reward' * rewarded}"
    ]
    if ends(model).any():
        parts.append("square: end")
    if np.count_nonzero(model.initial) < np.count_nonzero(~model.terminal):
        parts.append("bold: start")
    if any(arrow.dashed for arrow in drawing.arrows):
        parts.append("dashed: ends the episode")
    if answer is not None:
        marked = "" if process else f"; coloured: {'the policy' if evaluated(answer) else 'best actions'}"
        parts.append(f"in a state: its value{marked}")
    return " · ".join(parts)


def _frame(
    figure: Figure,
    panes: Sequence[tuple[Axes, _Room]],
    titles: Sequence[str],
    caption: str,
    across: int | None = None,
) -> None:
    """Fit the figure around everything that was drawn, one inch an inch: panes in rows, the caption below."""
    corners = []
    for _, room in panes:
        corners += [room.place + room.radii[:, None], room.place - room.radii[:, None], *room.points]
        corners += [np.array([centre - half, centre + half]) for centre, half in room.boxes]
    low, high = np.min([c.min(0) for c in corners], 0) - 0.15, np.max([c.max(0) for c in corners], 0) + 0.15
    high[1] += 0.25 * any(titles)
    columns = across or max(1, min(len(panes), int(WIDEST / (high[0] - low[0]))))
    if across and 0.056 * len(caption) > columns * (high[0] - low[0]):
        caption = textwrap.fill(caption, max(20, int(columns * (high[0] - low[0]) / 0.056)))
    lines = caption.split("\n")
    foot = 0.15 + 0.15 * len(lines)
    wanted = 0.056 * max(map(len, lines)) + 0.2
    slack = max(0.0, wanted - columns * float(high[0] - low[0])) / (2 * columns)
    low[0], high[0] = low[0] - slack, high[0] + slack
    width, height = high - low
    rows = -(-len(panes) // columns)
    whole = np.array([columns * width, rows * height + foot])
    figure.set_size_inches(*whole)
    for i, ((axes, _), title) in enumerate(zip(panes, titles, strict=True)):
        row, column = divmod(i, columns)
        left, bottom = column * width / whole[0], (foot + (rows - 1 - row) * height) / whole[1]
        axes.set_position((left, bottom, width / whole[0], height / whole[1]))
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        if title:
            axes.text(low[0] + 0.1, high[1] - 0.2, title, fontsize=10.5, va="center")
    first = panes[0][0]
    first.text(
        0.1 / whole[0], foot / 2 / whole[1], caption, fontsize=8, color=MUTED, va="center", linespacing=1.3,
        transform=figure.transFigure,
    )  # fmt: skip
