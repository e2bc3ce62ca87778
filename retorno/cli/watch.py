"""`retorno train … --watch`: a table is looked at while it learns, in the terminal, a GIF or a page with a slider."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from retorno.cli.options import UsageError
from retorno.cli.terminal import note, stderr
from retorno.core.mdp import MDP
from retorno.run.table_monitor import Look, Watched, WatchError
from retorno.run.training import Training

LIVE = "live"
SUFFIXES = (".gif", ".html")
SECONDS = 0.08
"""Between two looks in a terminal, so that they can be seen."""
PLAIN_LOOKS = 5
"""Where no terminal is looking."""
ARROWS = {(0, -1): "←", (0, 1): "→", (-1, 0): "↑", (1, 0): "↓", (-1, -1): "↖", (-1, 1): "↗", (1, -1): "↙", (1, 1): "↘"}


def watched_model(name: str, found: MDP | None, asked: str) -> MDP:
    """The model of the world to watch.

    Raises:
        UsageError: when what was asked for is neither live nor a GIF nor a page.
        WatchError: when the world has no exact model.
    """
    if asked != LIVE and Path(asked).suffix.lower() not in SUFFIXES:
        raise UsageError(f"--watch draws in the terminal, or writes a file in {' or '.join(SUFFIXES)}, got {asked!r}")
    if found is None:
        raise WatchError(f"only worlds with an exact model on a map can be watched, and {name} has none")
    return found


def watch(training: Training, made: MDP, asked: str, title: str) -> None:
    """Train to the end and show it."""
    watched = Watched(training, made)
    if asked == LIVE:
        console = stderr()
        if console.is_terminal:
            _live(watched, console)
        else:
            _plain(watched)
        return
    from retorno.plots.film import film
    from retorno.plots.film_page import save_film_page

    looks = []
    for look in watched:
        looks.append(look)
        if len(looks) % 10 == 1:
            note(_line(look))
    path = film(made, looks, asked, title) if Path(asked).suffix.lower() == ".gif" else None
    note(f"watch it: {path or save_film_page(made, looks, asked, title)}")


def _live(watched: Watched, console: Console) -> None:
    board = Board(watched.model)
    with Live(console=console, auto_refresh=False) as live:
        for look in watched:
            live.update(board.drawn(look), refresh=True)
            time.sleep(SECONDS)


def _plain(watched: Watched) -> None:
    board, looks = Board(watched.model), list(watched)
    for i in np.unique(np.linspace(0, len(looks) - 1, PLAIN_LOOKS).round().astype(int)):
        print(board.drawn(looks[i]).plain, file=sys.stderr, flush=True)


def _line(look: Look) -> str:
    from retorno.plots.style import number

    return f"step {look.step:,}  return {number(look.mean_return)}  regret {number(look.regret)}"


class Board:
    """A map of cells in a terminal: the colour is the value, arrows are best actions, a disc is the agent."""

    def __init__(self, made: MDP) -> None:
        import matplotlib

        from retorno.plots.places import arrows, whole_map

        self.colours = matplotlib.colormaps["cividis"]
        self.model, self.heading, self.whole = made, arrows(made), whole_map(made)
        self.rows, self.columns = (1 + max(at[i] for at in self.whole) for i in (0, 1))

    def drawn(self, look: Look) -> Text:
        """One look: the map, and below it the numbers."""
        from retorno.plots.board import SIGNS
        from retorno.plots.film import shown_values

        values, best = shown_values(self.model, look)
        acting = [one.state for one in self.whole.values() if one.state is not None and one.kind not in SIGNS]
        known = values[acting]
        known = known[np.isfinite(known)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        text = Text()
        for row in range(self.rows):
            for column in range(self.columns):
                one = self.whole.get((row, column))
                if one is None or one.state is None or one.kind in SIGNS:
                    text.append(*(("    ", "") if one is None else SIGNS[one.kind]))
                    continue
                share = 0.0 if high <= low else (values[one.state] - low) / (high - low)
                text.append(*self._cell(one.state, best[one.state], look, share))
            text.append("\n")
        return text.append(_line(look)).append(f"  visits {int(look.visits.sum()):,}")

    def _cell(self, s: int, best: list[int], look: Look, share: float) -> tuple[str, str]:
        """Four characters and their style."""
        r, g, b = (round(255 * x) for x in self.colours(share)[:3])
        ink = "black" if 0.299 * r + 0.587 * g + 0.114 * b > 128 else "white"
        arrows = "".join(ARROWS.get(self.heading.get((s, a), (0, 0)), "·") for a in best)[:2]
        agent = "●" if s == look.agent else " "
        return f"{agent}{arrows or '·':<2} ", f"{ink} on rgb({r},{g},{b})"
