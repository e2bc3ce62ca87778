"""A table while it learns, as a GIF: the value map with arrows and the agent, visits, TD errors, return and regret."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from retorno.core.mdp import MDP
from retorno.plots.answers import greedy
from retorno.plots.maps import GOAL
from retorno.plots.places import directions, ends, entry_rewards, places
from retorno.plots.style import INK, LINES, MUTED, PAPER, RULE, number
from retorno.run.table_monitor import Look

FRAMES = 50
"""Of more looks only so many are drawn."""
MILLISECONDS = 140
LAST_SHOWN = 2500
WIDTH = 960
CELL = 56
AGENT = "#d55e00"


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
    frames = [artist.frame(look).quantize(128) for look in chosen]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST_SHOWN]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return path


class _Artist:
    """Draws looks at one run in scales that stay the same from frame to frame."""

    def __init__(self, model: MDP, looks: Sequence[Look], title: str) -> None:
        self.model, self.looks, self.title = model, looks, title
        self.place, self.heading = places(model), directions(model)
        self.end, self.paid = ends(model), entry_rewards(model)
        self.on_map = np.isfinite(self.place[:, 0])
        self.rows, self.columns = (int(x) + 1 for x in np.nanmax(self.place, 0))
        self.cell = min(CELL, (WIDTH - 40) // self.columns)
        self.small = max(4, min(self.cell // 2, (WIDTH - 80) // 2 // self.columns))
        acting = self.on_map & ~self.end
        values = np.array([shown_values(model, look)[0][acting] for look in looks])
        self.value = _scale(values)
        self.error = _scale(np.log1p([np.nan_to_num(look.error[acting]) for look in looks]), floor=0.0)
        self.visits = _scale(np.log1p(looks[-1].visits[acting]), floor=0.0)
        self.start = int(np.argmax(model.initial))

    def frame(self, look: Look) -> Any:
        from PIL import Image, ImageDraw

        top, left = 54, 20
        map_height, small_height = self.rows * self.cell, self.rows * self.small
        height = top + map_height + 40 + small_height + 44 + 170
        image = Image.new("RGB", (WIDTH, height), PAPER)
        pen = ImageDraw.Draw(image)
        pen.text((left, 14), self.title, font=_font(18), fill=INK)
        pen.text((WIDTH - left, 16), f"step {look.step:,}", font=_font(16), fill=INK, anchor="ra")
        values, best = shown_values(self.model, look)
        self._map(pen, (left + (WIDTH - 2 * left - self.columns * self.cell) // 2, top), self.cell, self.value, values)
        origin = (left + (WIDTH - 2 * left - self.columns * self.cell) // 2, top)
        for s in np.flatnonzero(self.on_map & ~self.end).tolist():
            light = self._light(self.value, values[s])
            ink = "#101318" if light else "#ffffff"
            for a in best[s]:
                self._head(pen, self._centre(origin, self.cell, s), self.heading[a], ink)
            if self.cell >= 44:
                x, y = self._centre(origin, self.cell, s)
                text = number(values[s], 3)
                pen.text((x, y), text, font=_font(10), fill=ink, anchor="mm")
        if self.on_map[look.agent]:
            x, y = self._centre(origin, self.cell, look.agent)
            x, y, r = x + 0.24 * self.cell, y - 0.24 * self.cell, 0.15 * self.cell
            pen.ellipse((x - r, y - r, x + r, y + r), fill=AGENT, outline="#ffffff", width=2)
        below = top + map_height + 40
        half = (WIDTH - 3 * left) // 2
        for x, name, scale, data in (
            (left, "visits so far (logarithm)", self.visits, np.log1p(look.visits)),
            (2 * left + half, "TD errors since the picture before (logarithm)", self.error, np.log1p(look.error)),
        ):
            pen.text((x, below - 20), name, font=_font(13), fill=MUTED)
            self._map(pen, (x, below), self.small, scale, data)
        under = below + small_height + 40
        curves = (
            ("return while learning", [x.mean_return for x in self.looks]),
            ("exact regret of the greedy policy", [x.regret for x in self.looks]),
        )
        for x, (name, series) in zip((left, 2 * left + half), curves, strict=True):
            self._curve(pen, (x, under, half, 150), name, series, look)
        return image

    def _centre(self, origin: tuple[int, int], size: int, s: int) -> tuple[float, float]:
        row, column = self.place[s]
        return origin[0] + (column + 0.5) * size, origin[1] + (row + 0.5) * size

    def _light(self, scale: Normalize, value: float) -> bool:
        return float(np.dot(matplotlib.colormaps["cividis"](scale(value))[:3], (0.299, 0.587, 0.114))) > 0.5

    def _map(self, pen: Any, origin: tuple[int, int], size: int, scale: Normalize, data: np.ndarray) -> None:
        colours = matplotlib.colormaps["cividis"]
        best = max(self.paid.values(), default=0.0)
        for s in np.flatnonzero(self.on_map).tolist():
            x, y = self._centre(origin, size, s)
            box = (x - size / 2 + 1, y - size / 2 + 1, x + size / 2 - 1, y + size / 2 - 1)
            if self.end[s]:
                good = s in self.paid and self.paid[s] >= best
                pen.rectangle(box, fill=PAPER, outline=RULE)
                mark, colour = ("★", GOAL) if good else ("×", MUTED)
                pen.text((x, y), mark, font=_font(max(8, size // 2)), fill=colour, anchor="mm")
                continue
            known = np.isfinite(data[s])
            fill = tuple(int(255 * c) for c in colours(scale(data[s]))[:3]) if known else RULE
            pen.rectangle(box, fill=fill, outline=AGENT if s == self.start else None, width=2)

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
        pen.text((left, top - 20), f"{name}: {number(now, 4)}", font=_font(13), fill=MUTED)
        pen.line((left, top + height - 10, left + width, top + height - 10), fill=RULE)
        if not there.any():
            return
        low, high = float(values[there].min()), float(values[there].max())
        # Looks lie close together at first: by their number, not by their step, all can be seen.
        xs = left + np.arange(len(steps)) / max(len(steps) - 1, 1) * width
        for y, value in ((top - 2, high), (top + height - 26, low)):
            pen.text((left + width, y), number(value, 4), font=_font(11), fill=MUTED, anchor="ra")
        ys = top + (height - 14) * (1 - (values - low) / max(high - low, 1e-12))
        passed = there & (steps <= look.step)
        for mask, colour, thick in ((there, RULE, 2), (passed, LINES[0], 3)):
            points = [(float(x), float(y)) for x, y in zip(xs[mask], ys[mask], strict=True)]
            if len(points) > 1:
                pen.line(points, fill=colour, width=thick, joint="curve")


def _scale(values: np.ndarray, floor: float | None = None) -> Normalize:
    known = values[np.isfinite(values)]
    low = floor if floor is not None else float(known.min(initial=0.0))
    high = float(known.max(initial=low))
    return Normalize(low, high if high > low else low + 1)


@lru_cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
