"""A table while it learns, as a GIF: the value map with arrows and the agent, visits, TD errors, return and regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize, to_rgb

from retorno.core.mdp import MDP
from retorno.plots.answers import greedy
from retorno.plots.maps import END, GOAL, MORTAR, PIT, WALL
from retorno.plots.places import Cell, Kind, Place, arrows, whole_map
from retorno.plots.style import INK, LINES, MUTED, PAPER, RULE, decimals, font, number
from retorno.run.table_monitor import Look

FRAMES = 50
"""Of more looks only so many are drawn."""
MILLISECONDS = 140
LAST_SHOWN = 2500
WIDTH = 960
CELL = 56
AGENT = "#d55e00"
SIGNS = {Kind.GOAL: ("★", GOAL), Kind.PIT: ("✖", PIT), Kind.CLIFF: ("✖", PIT), Kind.END: ("■", END)}
SAID = {Kind.GOAL: "goal", Kind.PIT: "pit", Kind.CLIFF: "cliff: back to the start", Kind.END: "end", Kind.WALL: "wall"}


def shown_values(model: MDP, look: Look) -> tuple[Float[np.ndarray, " S"], list[list[int]]]:
    """What a look's table says: the value of each state, and its best actions; none where all are alike still."""
    answer = greedy(model, look.q)
    best: list[list[int]] = [[] for _ in range(model.num_states)]
    for s in np.flatnonzero(~model.terminal):
        pairs = range(model.state_ptr[s], model.state_ptr[s + 1])
        tied = [int(model.action[p]) for p in pairs if answer.optimal[p]]
        best[s] = tied if len(tied) < len(pairs) or len(pairs) == 1 else []
    return answer.value, best


def film(model: MDP, looks: Sequence[Look], path: str | Path, title: str = "") -> Path:
    """Write looks at a run as a GIF; folders are made.

    Args:
        model: the world's, with a map.
        looks: in their order.
        path: of the file, which should end in .gif.
        title: above the map.
    """
    chosen = [looks[i] for i in np.unique(np.linspace(0, len(looks) - 1, min(FRAMES, len(looks))).round().astype(int))]
    artist = _Artist(model, looks, title)
    frames = [artist.frame(look).quantize(palette=artist.palette, dither=0) for look in chosen]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST_SHOWN]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return path


class _Artist:
    """Draws looks at one run in scales that stay the same from frame to frame."""

    def __init__(self, model: MDP, looks: Sequence[Look], title: str) -> None:
        self.model, self.looks, self.title = model, looks, title
        self.whole, self.heading = whole_map(model), arrows(model)
        self.at = {one.state: at for at, one in self.whole.items() if one.state is not None}
        self.acting = [s for s, at in self.at.items() if self.whole[at].kind is Kind.ACTING]
        self.rows, self.columns = (1 + max(at[i] for at in self.whole) for i in (0, 1))
        self.cell = min(CELL, (WIDTH - 40) // self.columns)
        self.small = max(4, min(self.cell // 2, (WIDTH - 80) // 2 // self.columns))
        values = np.array([shown_values(model, look)[0][self.acting] for look in looks])
        self.value = _scale(values)
        self.digits = decimals(values[np.isfinite(values)])
        self.error = _scale(np.log1p([np.nan_to_num(look.error[self.acting]) for look in looks]), floor=0.0)
        self.visits = _scale(np.log1p(looks[-1].visits[self.acting]), floor=0.0)
        self.palette = palette()

    def frame(self, look: Look) -> Any:
        from PIL import Image, ImageDraw

        top, left = 54, 20
        map_height, small_height = self.rows * self.cell, self.rows * self.small
        height = top + map_height + 62 + small_height + 44 + 190
        image = Image.new("RGB", (WIDTH, height), PAPER)
        pen = ImageDraw.Draw(image)
        pen.text((left, 14), self.title, font=font(18), fill=INK)
        pen.text((WIDTH - left, 16), f"step {look.step:,}", font=font(16), fill=INK, anchor="ra")
        values, best = shown_values(self.model, look)
        origin = (left + (WIDTH - 2 * left - self.columns * self.cell) // 2, top)
        self._map(pen, origin, self.cell, self.value, values)
        for s in self.acting:
            ink = "#101318" if self._light(self.value, values[s]) else "#ffffff"
            for a in best[s]:
                if (s, a) in self.heading:
                    self._head(pen, self._centre(origin, self.cell, s), np.array(self.heading[s, a]), ink)
            if self.cell >= 44 and np.isfinite(values[s]):
                text = f"{values[s]:z.{self.digits}f}".replace("-", "−")
                pen.text(self._centre(origin, self.cell, s), text, font=font(11), fill=ink, anchor="mm")
        if look.agent in self.at:
            x, y = self._centre(origin, self.cell, look.agent)
            x, y, r = x + 0.24 * self.cell, y - 0.24 * self.cell, 0.15 * self.cell
            pen.ellipse((x - r, y - r, x + r, y + r), fill=AGENT, outline="#ffffff", width=2)
        signs = [("●", AGENT, "the agent"), ("▭", AGENT, "start"), ("▶", INK, "best move")]
        draw_legend(pen, (left, top + map_height + 12), signs, self.whole)
        below = top + map_height + 62
        half = (WIDTH - 3 * left) // 2
        for x, name, scale, data in (
            (left, "visits so far (logarithm; dark is few)", self.visits, np.log1p(look.visits)),
            (2 * left + half, "TD errors since the picture before (pale: none)", self.error, np.log1p(look.error)),
        ):
            pen.text((x, below - 20), name, font=font(13), fill=MUTED)
            self._map(pen, (x, below), self.small, scale, data)
        under = below + small_height + 40
        curves = (
            ("return while learning", [x.mean_return for x in self.looks]),
            ("exact regret of the greedy policy", [x.regret for x in self.looks]),
        )
        for x, (name, series) in zip((left, 2 * left + half), curves, strict=True):
            self._curve(pen, (x, under, half, 150), name, series, look)
        pen.text(
            (left, height - 28), f"steps 0 to {self.looks[-1].step:,}; pictures lie closer together at first",
            font=font(12), fill=MUTED,
        )  # fmt: skip
        return image

    def _centre(self, origin: tuple[int, int], size: int, s: int) -> tuple[float, float]:
        row, column = self.at[s]
        return origin[0] + (column + 0.5) * size, origin[1] + (row + 0.5) * size

    def _light(self, scale: Normalize, value: float) -> bool:
        return float(np.dot(matplotlib.colormaps["cividis"](scale(value))[:3], (0.299, 0.587, 0.114))) > 0.5

    def _map(self, pen: Any, origin: tuple[int, int], size: int, scale: Normalize, data: np.ndarray) -> None:
        colours = matplotlib.colormaps["cividis"]
        for (row, column), one in self.whole.items():
            x, y = origin[0] + column * size, origin[1] + row * size
            box = (x + 1, y + 1, x + size - 1, y + size - 1)
            if one.state is None or one.kind is not Kind.ACTING:
                draw_place(pen, box, one)
                continue
            known = np.isfinite(data[one.state])
            fill = tuple(int(255 * c) for c in colours(scale(data[one.state]))[:3]) if known else RULE
            pen.rectangle(box, fill=fill, outline=AGENT if one.start else None, width=2)

    def _head(self, pen: Any, centre: tuple[float, float], heading: np.ndarray, ink: str) -> None:
        if not heading.any():
            return
        along = heading[::-1] / np.hypot(*heading) * self.cell
        across = 0.08 * np.array([-along[1], along[0]])
        corners = [0.47 * along, 0.36 * along + across, 0.36 * along - across]
        pen.polygon([tuple(np.array(centre) + c) for c in corners], fill=ink)

    def _curve(self, pen: Any, box: tuple[int, int, int, int], name: str, series: list[float], look: Look) -> None:
        left, top, width, height = box
        steps = np.array([x.step for x in self.looks], float)
        values = np.array(series, float)
        there = np.isfinite(values)
        now = float(values[[x.step for x in self.looks].index(look.step)])
        told = number(now, 4) if np.isfinite(now) else "no episode has ended yet"
        pen.text((left, top - 20), f"{name}: {told}", font=font(13), fill=MUTED)
        pen.line((left, top + height - 10, left + width, top + height - 10), fill=RULE)
        if not there.any():
            return
        low, high = float(values[there].min()), float(values[there].max())
        # Looks lie close together at first: by their number, not by their step, all can be seen.
        xs = left + np.arange(len(steps)) / max(len(steps) - 1, 1) * width
        ends = ((top - 2, high), (top + height - 26, low)) if high > low else ((top + height // 2 - 24, low),)
        for y, value in ends:
            pen.text((left + width, y), number(value, 4), font=font(11), fill=MUTED, anchor="ra")
        share = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        ys = top + (height - 14) * (1 - share)
        passed = there & (steps <= look.step)
        for mask, colour, thick in ((there, RULE, 2), (passed, LINES[0], 3)):
            points = [(float(x), float(y)) for x, y in zip(xs[mask], ys[mask], strict=True)]
            if len(points) > 1:
                pen.line(points, fill=colour, width=thick, joint="curve")


def draw_place(pen: Any, box: tuple[int, int, int, int], one: Place) -> None:
    """A cell that no one acts in."""
    left, top, right, bottom = box
    if one.kind is Kind.WALL:
        pen.rectangle(box, fill=WALL)
        for i in range(4):
            low, high = (top + (bottom - top) * k // 4 for k in (i, i + 1))
            pen.line((left, high, right, high), fill=MORTAR)
            joint = left + (right - left) * (1 + i % 2) // 3
            pen.line((joint, low, joint, high), fill=MORTAR)
        return
    pen.rectangle(box, fill=PAPER, outline=RULE)
    sign, colour = SIGNS.get(one.kind, ("", MUTED))
    middle = ((left + right) / 2, (top + bottom) / 2)
    pen.text(middle, sign, font=font(max(8, (right - left) // 2)), fill=colour, anchor="mm")


def draw_legend(
    pen: Any,
    at: tuple[int, int],
    first: Sequence[tuple[str, str, str]],
    whole: Mapping[Cell, Place],
    width: int = WIDTH,
) -> int:
    """What the signs of a map mean, after some others: each a sign, its colour, its words. Returns where it ends."""
    there = {one.kind for one in whole.values()}
    parts = [*first, *((*SIGNS.get(kind, ("▦", MORTAR)), said) for kind, said in SAID.items() if kind in there)]
    x, y = at
    for sign, colour, said in parts:
        wide = int(20 + pen.textlength(said, font=font(13)) + 18)
        if x > at[0] and x + wide > width:
            x, y = at[0], y + 20
        pen.text((x, y), sign, font=font(14), fill=colour)
        pen.text((x + 20, y), said, font=font(13), fill=MUTED)
        x += wide
    return y + 20


def palette() -> Any:
    """An image of all colours that frames are drawn in, mixed with paper for smooth edges; the same in every frame."""
    from PIL import Image

    colours = [matplotlib.colormaps["cividis"](x)[:3] for x in np.linspace(0, 1, 150)]
    flat = (INK, MUTED, RULE, PAPER, WALL, MORTAR, GOAL, PIT, END, LINES[0], "#ffffff", "#101318")
    paper = np.array(to_rgb(PAPER))
    colours += [
        tuple(share * np.array(to_rgb(c)) + (1 - share) * paper) for c in flat for share in (1, 0.75, 0.5, 0.25)
    ]
    image = Image.new("P", (1, 1))
    image.putpalette([round(255 * part) for colour in colours for part in colour])
    return image


def _scale(values: np.ndarray, floor: float | None = None) -> Normalize:
    known = values[np.isfinite(values)]
    low = floor if floor is not None else float(known.min(initial=0.0))
    high = float(known.max(initial=low))
    return Normalize(low, high if high > low else low + 1)
