"""Nobody waits in silence: what takes longer than a moment is named on stderr, and how far it is.

Nothing heavy is imported here: the first that is waited for is the import of all else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE = 1.5
"""Seconds until it is said what is waited for."""
AGAIN, SELDOM = 5.0, 30.0
"""Seconds until it is said again; each time twice as many, up to so many."""

live: Callable[[str], None] | None = None
"""Shows it in place, where something on the screen moves already; None for a line of its own."""


@contextlib.contextmanager
def told(what: str, so_far: Callable[[], str]) -> Iterator[None]:
    """Say what is waited for, if it takes long; within another wait this one is told in its place.

    Args:
        what: it is.
        so_far: how far it is.
    """
    over = threading.Event()

    def tell() -> None:
        began, pause = time.monotonic(), PATIENCE
        while not over.wait(pause):
            elapsed = time.monotonic() - began
            if _nested[-1] is over:
                parts = (so_far(), "" if pause == PATIENCE else f"{elapsed:.0f} s by now")
                show(" · ".join(part for part in (f"{what} …", *parts) if part))
            pause = AGAIN if pause == PATIENCE else min(2 * pause, SELDOM)

    _nested.append(over)
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _nested.remove(over)


_nested: list[threading.Event] = []
"""The waits that are under way: the last one is told."""


def show(text: str) -> None:
    """One line on stderr, or in the place of what moves there."""
    if live is not None:
        live(text)
        return
    begin, end = ("\033[2m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{begin}{text}{end}", file=sys.stderr, flush=True)
