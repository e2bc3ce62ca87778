"""Clips compared without the page: in a terminal, whose characters are two pixels each, or in a notebook."""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retorno.labels import Labels, Query
from retorno.preferences.clips import Clips, Film
from retorno.preferences.judges import QUERY, shown_swapped

SHARES: dict[str, float | None] = {"1": 1.0, "left": 1.0, "2": 0.0, "right": 0.0, "=": 0.5, "?": None}
"""How much of the preference goes to the clip at the left, by what is typed; None: cannot tell."""
KEYS = "1 the left one is better · 2 the right one · = alike · ? cannot tell · r again · u undo · s skip · q quit"
GAP = 4
"""Pixels between the two."""
AGAIN = 1.0
"""Seconds until it is asked again whether there is something to compare."""
MOST_COLUMNS = 64
"""Of a clip in a terminal."""

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
) -> int:
    """Ask a person which of two clips is better, again and again; each answer is in the database before the next.

    Args:
        labels: where what is asked stands, and what is said is kept.
        clips: draws them.
        labeller: who is asked.
        ask: asks, and gives what was typed.
        show: shows pictures; None for a notebook where one runs this, else the terminal.
        wait: for more, once nothing is left to ask; else that is the end.

    Returns:
        How many answers were given and stand.
    """
    show = show or (in_notebook if _notebook() else in_terminal)
    given, told, query = 0, False, None
    try:
        while True:
            query = labels.lend(QUERY, labeller)
            if query is not None:
                given, told = given + _asked(query, labels, clips, labeller, ask, show), False
            elif not wait:
                return given
            else:
                if not told:
                    print("the agent acts; there is nothing to compare yet (Ctrl-C ends)", file=sys.stderr)
                told = True
                time.sleep(AGAIN)
    except (EOFError, KeyboardInterrupt):  # What was asked last is for others again.
        if query is not None:
            labels.give_back(query.id, labeller)
        return given


def _asked(query: Query, labels: Labels, clips: Clips, labeller: str, ask: Callable[[str], str], show: Show) -> int:
    """One comparison: 1 when it was answered, −1 when the one before was taken back, 0 for neither.

    Raises:
        EOFError: when the person has had enough.
    """
    swapped = shown_swapped(query.id, labeller)
    segments = query.content["segments"]
    film = beside(*(clips.film(each) for each in (segments[::-1] if swapped else segments)))
    show(*film)
    began = time.monotonic()
    while True:
        typed = ask(f"{KEYS}\n> ").strip().lower()
        if typed in SHARES:
            left = SHARES[typed]
            first = left if left is None or not swapped else 1 - left
            labels.save(query.id, labeller, {"share": first}, time.monotonic() - began)
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


def beside(left: Film, right: Film) -> Film:
    """Two clips as one: side by side, the shorter one ending on its last picture."""
    count = max(len(left.frames), len(right.frames))
    height = max(each.shape[0] for film in (left, right) for each in film.frames)

    def at(film: Film, number: int) -> np.ndarray:
        frame = np.asarray(film.frames[min(number, len(film.frames) - 1)], np.uint8)
        return np.pad(frame, [(0, height - frame.shape[0]), (0, 0), (0, 0)], constant_values=255)

    gap = np.full((height, GAP, 3), 255, np.uint8)
    frames = [np.concatenate([at(left, number), gap, at(right, number)], axis=1) for number in range(count)]
    return Film(frames, left.milliseconds)


def in_terminal(frames: Sequence[np.ndarray], milliseconds: float) -> None:
    """Play pictures in a terminal of 24-bit colours, once; where output goes elsewhere, show the last one."""
    moving = sys.stdout.isatty()
    columns = min(shutil.get_terminal_size().columns - 1, 2 * MOST_COLUMNS)
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
    return [
        "".join(f"\033[38;2;{ink(over)};48;2;{ink(under)}m▀" for over, under in zip(*pair, strict=True)) + "\033[0m"
        for pair in small.reshape(height // 2, 2, columns, 3)
    ]


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
