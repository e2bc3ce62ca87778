"""Where an episode is seen: on a map, in a graph, among arms or in words, with its numbers below."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retorno.core.mdp import MDP
from retorno.plots.film import AGENT, draw_legend, draw_place, font
from retorno.plots.graph import draw_graph, layout
from retorno.plots.places import Kind, whole_map
from retorno.plots.style import INK, LINES, MUTED, PAPER, RULE, number, style

WIDEST, NARROWEST = 720, 420
"""Pixels of a picture."""
TRAIL = 40
"""Steps back that a map shows."""
REMEMBERED = 10
"""Lines of words."""
FREE = "#e9ebef"
CAPTION = 58
"""Pixels below a picture, for two lines."""


class Moment(NamedTuple):
    """One row of an episode, as it is told."""

    step: int
    action: str
    """That led here; "" on the first row."""
    reward: float
    total: float
    """The return so far."""
    place: str
    """The name of the state, or what is observed."""
    state: int | None = None
    """Its number in the model, where there is one."""
    arm: int | None = None
    """The number of the action, where actions are numbers."""
    picture: np.ndarray | None = None
    """What the world itself draws."""
    drawing: str = ""
    """What it draws in letters."""
    remark: str = ""
    """Why the episode or the film ends here."""


def caption(moment: Moment) -> str:
    """Step, action, reward and return so far, in one line."""
    if not moment.step:
        return "step 0   the start"
    return f"step {moment.step:,}   {moment.action}   reward {number(moment.reward)}   return {number(moment.total)}"


@runtime_checkable
class Stage(Protocol):
    """Draws moments, one after another."""

    def drawn(self, moment: Moment) -> Any:
        """An image of Pillow's."""
        ...


def picture(stage: Stage, moment: Moment) -> np.ndarray:
    """What a stage draws, with the numbers below it. Shape [height, width, 3], both sides even."""
    from PIL import Image, ImageDraw

    inner = stage.drawn(moment)
    width = max(NARROWEST, inner.width)
    height = inner.height + CAPTION
    image = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    image.paste(inner, ((image.width - inner.width) // 2, 0))
    pen = ImageDraw.Draw(image)
    pen.text((14, inner.height + 8), caption(moment), font=font(15), fill=INK)
    pen.text((14, inner.height + 32), moment.remark, font=font(13), fill=AGENT)
    return np.asarray(image)


class Rendered:
    """The world's own pictures."""

    def drawn(self, moment: Moment) -> Any:
        from PIL import Image

        assert moment.picture is not None
        return Image.fromarray(moment.picture)


class OnMap:
    """A map of places with the agent, and where it came from."""

    def __init__(self, model: MDP) -> None:
        from PIL import Image, ImageDraw

        self.whole = whole_map(model)
        self.at = {one.state: at for at, one in self.whole.items() if one.state is not None}
        rows, columns = (1 + max(at[i] for at in self.whole) for i in (0, 1))
        self.size = int(np.clip(min((WIDEST - 28) / columns, 560 / rows), 8, 56))
        self.path: deque[int] = deque(maxlen=TRAIL)
        width = max(NARROWEST, columns * self.size + 28)
        self.left = (width - columns * self.size) // 2
        below = 14 + rows * self.size + 10
        self.base = Image.new("RGB", (width, below + 46), PAPER)
        pen = ImageDraw.Draw(self.base)
        for (row, column), one in self.whole.items():
            x, y = self.left + column * self.size, 14 + row * self.size
            box = (x + 1, y + 1, x + self.size - 1, y + self.size - 1)
            if one.kind is Kind.ACTING:
                pen.rectangle(box, fill=FREE, outline=AGENT if one.start else None, width=2)
            else:
                draw_place(pen, box, one)
        signs = [("●", AGENT, "the agent"), ("▭", AGENT, "start")]
        end = draw_legend(pen, (14, below), signs, self.whole, width - 14)
        self.base = self.base.crop((0, 0, width, end))

    def drawn(self, moment: Moment) -> Any:
        from PIL import ImageDraw

        if not moment.step:
            self.path.clear()
        image = self.base.copy()
        pen = ImageDraw.Draw(image)
        for share, s in zip(np.linspace(0.3, 1.0, len(self.path)), self.path, strict=True):
            tone = tuple(int(a + share * (b - a)) for a, b in zip((233, 235, 239), (213, 94, 0), strict=True))
            self._disc(pen, s, 0.08, tone)
        if moment.state in self.at:
            self.path.append(moment.state)
            self._disc(pen, moment.state, 0.3, AGENT)
        return image

    def _disc(self, pen: Any, state: int, share: float, colour: Any) -> None:
        row, column = self.at[state]
        x, y, r = self.left + (column + 0.5) * self.size, 14 + (row + 0.5) * self.size, share * self.size
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)


class InGraph:
    """The graph of a small model, with the state that the episode is in."""

    def __init__(self, model: MDP) -> None:
        from PIL import Image

        place = layout(model)
        figure: Figure = draw_graph(model, {"": None}, place)
        with style():
            figure.set_dpi(min(96.0, WIDEST / figure.get_size_inches()[0]))
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            self.base = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        axes = figure.axes[0]
        self.centre = axes.transData.transform(place[: model.num_states])
        edge = axes.transData.transform(place[0] + (0.4, 0.0))
        self.radius = float(abs(edge[0] - self.centre[0, 0])) * 1.15

    def drawn(self, moment: Moment) -> Any:
        from PIL import ImageDraw

        image = self.base.copy()
        if moment.state is not None:
            x, y = self.centre[moment.state]
            box = (x - self.radius, image.height - y - self.radius, x + self.radius, image.height - y + self.radius)
            ImageDraw.Draw(image).ellipse(box, outline=AGENT, width=5)
        return image


class Arms:
    """A bandit's arms: the mean reward of each so far, how often it was pulled, and which one now."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self.pulls = np.zeros(len(names), int)
        self.sums = np.zeros(len(names))

    def seen(self, moment: Moment) -> None:
        """Count a moment; another episode may be another bandit."""
        if not moment.step:
            self.pulls[:], self.sums[:] = 0, 0.0
        elif moment.arm is not None:
            self.pulls[moment.arm] += 1
            self.sums[moment.arm] += moment.reward

    @property
    def means(self) -> np.ndarray:
        return self.sums / np.maximum(self.pulls, 1)

    def drawn(self, moment: Moment) -> Any:
        from PIL import Image, ImageDraw

        self.seen(moment)
        line, left, middle = 26, 120, 330
        image = Image.new("RGB", (560, 30 + line * len(self.names) + 10), PAPER)
        pen = ImageDraw.Draw(image)
        pen.text((14, 8), "mean reward of each arm so far, and how often it was pulled", font=font(12), fill=MUTED)
        scale = 170 / max(float(np.abs(self.means).max()), 1e-9)
        for i, name in self.names.items():
            y = 30 + line * i
            tip = middle + float(self.means[i]) * scale
            now = i == moment.arm
            pen.text((14, y + 4), name[:14], font=font(13), fill=AGENT if now else INK)
            box = (min(middle, tip), y + 4, max(middle, tip), y + line - 6)
            pen.rectangle(box, fill=AGENT if now else LINES[0] if self.pulls[i] else RULE)
            told = f"{number(float(self.means[i]), 3)} ({self.pulls[i]:,})" if self.pulls[i] else "–"
            pen.text((left - 40, y + 4), told, font=font(12), fill=MUTED)
        pen.line((middle, 30, middle, 30 + line * len(self.names)), fill=MUTED)
        return image


class Words:
    """The last steps in words, for what has neither a map nor a picture."""

    def __init__(self) -> None:
        self.lines: deque[Moment] = deque(maxlen=REMEMBERED)

    def drawn(self, moment: Moment) -> Any:
        from PIL import Image, ImageDraw

        if not moment.step:
            self.lines.clear()
        self.lines.append(moment)
        image = Image.new("RGB", (WIDEST, 24 * REMEMBERED + 20), PAPER)
        pen = ImageDraw.Draw(image)
        for i, one in enumerate(self.lines):
            now = one is moment
            tone = INK if now else MUTED
            pen.text((14, 12 + 24 * i), f"{one.step:,}", font=font(13), fill=MUTED)
            pen.text((70, 12 + 24 * i), f"→ {_cut(one.action, 24)}" if one.step else "start", font=font(13), fill=tone)
            pen.text((270, 12 + 24 * i), _cut(one.place, 52), font=font(14 if now else 13), fill=tone)
        return image


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
