"""Clips compared or rated without the page: in a terminal, whose characters are two pixels each, or in a notebook."""

from __future__ import annotations

import io
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from retorno.labels import Labels, Order, Query, shown_order
from retorno.preferences.clips import Clips, Film
from retorno.preferences.given import LEVELS
from retorno.preferences.judges import QUERY

SHARES: dict[str, float | None] = {"1": 1.0, "left": 1.0, "2": 0.0, "right": 0.0, "=": 0.5, "?": None}
"""How much of the preference goes to the clip at the left, by what is typed; None: cannot tell."""
KEYS = "1 the left one is better · 2 the right one · = alike · ? cannot tell"
ORDER_KEYS = "the best first, as 2 1=3 where 1 and 3 are alike · ? cannot tell"
RATING_KEYS = "how good it is, from 1 to {levels}, the best · ? cannot tell"
OTHER_KEYS = "r again · u undo · s later · q quit"
GAP = 4
"""Pixels between clips."""
AGAIN = 1.0
"""Seconds until it is asked again whether there is something to compare."""
MOST_COLUMNS = 64
"""Of a clip in a terminal."""
BELOW = 4
"""Lines that are left free under clips in a terminal."""

Show = Callable[[Sequence[np.ndarray], float], None]
"""Shows pictures [height, width, 3] one after another, each for so many milliseconds."""


def compare(
    labels: Labels,
    clips: Clips,
    labeller: str = "me",
    *,
    ask: Callable[[str], str] = input,
    show: Show | None = None,
    wait: bool = False,
    levels: int = LEVELS,
) -> int:
    """Ask a person which of two clips is better, how to put more in order, or how good one is, again and again.

    Each answer is in the database before the next.

    Args:
        labels: where what is asked stands, and what is said is kept.
        clips: draws them.
        labeller: who is asked.
        ask: asks, and gives what was typed.
        show: shows pictures; None for a notebook where one runs this, else the terminal.
        wait: for more, once nothing is left to ask; else that is the end.
        levels: from 1 to which one is rated.

    Returns:
        How many answers were given and stand.
    """
    show = show or (in_notebook if _notebook() else in_terminal)
    given, told, query = 0, False, None
    try:
        while True:
            query = labels.lend(QUERY, labeller, again=True)
            if query is not None:
                given, told = given + _asked(query, labels, clips, labeller, ask, show, levels), False
            elif not wait:
                return given
            else:
                if not told:
                    print("the agent acts; there is nothing to judge yet (Ctrl-C ends)", file=sys.stderr)
                told = True
                time.sleep(AGAIN)
    except (EOFError, KeyboardInterrupt):  # What was asked last is for others again.
        if query is not None:
            labels.give_back(query.id, labeller)
        return given


def _asked(
    query: Query, labels: Labels, clips: Clips, labeller: str, ask: Callable[[str], str], show: Show, levels: int
) -> int:
    """One question: 1 when it was answered, −1 when the one before was taken back, 0 for neither.

    Raises:
        EOFError: when the person has had enough.
    """
    segments = query.content["segments"]
    shown = shown_order(query.id, labeller, len(segments))
    film = beside([clips.film(segments[i]) for i in shown])
    show(*film)
    keys = {1: RATING_KEYS.format(levels=levels), 2: KEYS}.get(len(shown), ORDER_KEYS)
    began = time.monotonic()
    while True:
        typed = ask(f"{keys} · {OTHER_KEYS}\n> ").strip().lower()
        if (said := understood(typed, shown, levels)) is not None:
            labels.save(query.id, labeller, said, time.monotonic() - began)
            return 1
        match typed:
            case "r":
                show(*film)
            case "u":
                return 0 if labels.undo(QUERY, labeller) is None else -1
            case "s":
                labels.skip(query.id, labeller)
                return 0
            case "q":
                raise EOFError
            case _:
                print(f"{typed!r} is none of these", file=sys.stderr)


def understood(typed: str, shown: Sequence[int], levels: int = LEVELS) -> dict[str, Any] | None:
    """What a label says of clips by what was typed; None where that is no answer.

    Args:
        typed: in small letters.
        shown: the segments in the order in which they were shown.
        levels: from 1 to which one is rated.

    >>> understood("2 1=3", [2, 0, 1]), understood("1", [1, 0]), understood("2 2", [2, 0, 1])
    ({'ranks': [0, 1, 1]}, {'share': 0.0}, None)
    >>> understood("4", [0]), understood("6", [0])
    ({'ratings': [4], 'of': 5}, None)
    """
    if len(shown) == 1:
        good = typed.isdecimal() and 1 <= int(typed) <= levels
        return {"ratings": [int(typed) if good else None], "of": levels} if good or typed == "?" else None
    if len(shown) == 2:
        if typed not in SHARES:
            return None
        left = SHARES[typed]
        return {"share": left if left is None or shown[0] == 0 else 1 - left}
    order, tied = Order(len(shown)), False
    for sign in "" if typed == "?" else typed.replace(" ", "").replace(",", ""):
        before = len(order.ranked)
        if sign != "=":
            order = order.pressed(sign, shown) if sign.isdecimal() else order
            if len(order.ranked) != before + 1:
                return None
            order = order.tie() if tied else order
        tied = sign == "="
    return {"ranks": order.ranks} if order.says_something or typed == "?" else None


def beside(films: Sequence[Film]) -> Film:
    """Clips as one: side by side, more than three in rows; each that ends earlier shows its last picture."""
    count = max(len(film.frames) for film in films)
    height = max(frame.shape[0] for film in films for frame in film.frames)
    columns = len(films) if len(films) <= 3 else math.ceil(math.sqrt(len(films)))

    def at(which: int, number: int) -> np.ndarray:
        film = films[which]
        frame = np.asarray(film.frames[min(number, len(film.frames) - 1)], np.uint8)
        frame = np.pad(frame, [(0, height - frame.shape[0]), (0, 0), (0, 0)], constant_values=255)
        return frame if len(films) <= 2 else numbered(frame, which + 1)

    def row(first: int, number: int) -> np.ndarray:
        gap = np.full((height, GAP, 3), 255, np.uint8)
        cells = [at(which, number) for which in range(first, min(first + columns, len(films)))]
        return np.concatenate([x for cell in cells for x in (gap, cell)][1:], axis=1)

    def picture(number: int) -> np.ndarray:
        rows = [row(first, number) for first in range(0, len(films), columns)]
        width = max(each.shape[1] for each in rows)
        wide = [np.pad(x, [(0, GAP), (0, width - x.shape[1]), (0, 0)], constant_values=255) for x in rows]
        return np.concatenate(wide)[:-GAP]

    return Film([picture(number) for number in range(count)], films[0].milliseconds)


def numbered(frame: np.ndarray, number: int) -> np.ndarray:
    """A picture with a number in its corner."""
    from PIL import Image, ImageDraw, ImageFont

    picture, size = Image.fromarray(np.ascontiguousarray(frame)), max(8, frame.shape[0] // 6)
    font, outline = ImageFont.load_default(size), {"stroke_width": 1, "stroke_fill": (255, 255, 255)}
    ImageDraw.Draw(picture).text((size // 4, 0), str(number), (0, 0, 0), font, **outline)
    return np.asarray(picture)


def in_terminal(frames: Sequence[np.ndarray], milliseconds: float) -> None:
    """Play pictures in a terminal of 24-bit colours, once; where output goes elsewhere, show the last one."""
    moving = sys.stdout.isatty()
    height, width = frames[0].shape[:2]
    terminal = shutil.get_terminal_size()
    # What is taller than the terminal could not be drawn over.
    columns = min(terminal.columns - 1, 2 * MOST_COLUMNS, 2 * max(terminal.lines - BELOW, 1) * width // height)
    for number, frame in enumerate(frames if moving else frames[-1:]):
        lines = as_characters(frame, columns)
        print(("" if number == 0 else f"\033[{len(lines)}A") + "\n".join(lines), flush=True)
        if moving:
            time.sleep(milliseconds / 1000)


def as_characters(frame: np.ndarray, columns: int) -> list[str]:
    r"""A picture as lines of characters, each of which is two pixels one above the other.

    Args:
        frame: the picture. Shape [height, width, 3].
        columns: of the lines.

    >>> as_characters(np.zeros((2, 1, 3), np.uint8), 1)
    ['\x1b[38;2;0;0;0;48;2;0;0;0m▀\x1b[0m']
    """
    from PIL import Image

    height = max(2, 2 * round(frame.shape[0] * columns / frame.shape[1] / 2))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(frame, np.uint8)).resize((columns, height)))
    ink = lambda x: ";".join(map(str, x.tolist()))  # noqa: E731

    def line(over: np.ndarray, under: np.ndarray) -> str:
        # Neighbours of the same colours are written at once: a still background takes next to nothing.
        cells = groupby(zip(map(ink, over), map(ink, under), strict=True))
        return "".join(f"\033[38;2;{a};48;2;{b}m{'▀' * len(list(alike))}" for (a, b), alike in cells) + "\033[0m"

    return [line(*pair) for pair in small.reshape(height // 2, 2, columns, 3)]


def in_notebook(frames: Sequence[np.ndarray], milliseconds: float) -> None:
    """Show pictures as a film in the notebook."""
    from IPython.display import Image as Shown
    from IPython.display import display
    from PIL import Image

    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(file, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    display(Shown(data=file.getvalue(), format="gif"))


def _notebook() -> bool:
    """Whether a notebook runs this."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")
