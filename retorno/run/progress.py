"""How far something is: one line, written over and over, so that neither a terminal nor a notebook is flooded."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from retorno.run.report import clock

Progress = Callable[[float, str], Any]
"""Is told the share of the whole that is done, and of what."""
LINE_SECONDS = 0.2
"""Between two lines."""


class OneLine:
    """A line on a stream, written over by the next one and wiped out at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._told, self._width = 0.0, 0
        self._first: tuple[float, float] | None = None

    def __call__(self, share: float, told: str) -> None:
        now = time.monotonic()
        if self._first is None and share > 0:  # What came before was the compiler's time.
            self._first = (now, share)
        if now - self._told < LINE_SECONDS and share < 1:
            return
        self._told = now
        since, begun = self._first or (now, share)
        left = (now - since) * (1 - share) / (share - begun) if share > begun else float("inf")
        self._write(f"{share:4.0%}  {told}  {clock(now - self._began)} gone, {clock(left)} left")

    def _write(self, line: str) -> None:
        self._stream.write(f"\r{line:<{self._width}}")
        self._stream.flush()
        self._width = len(line)

    def wipe(self) -> None:
        """Leave an empty line."""
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()


def looked_at() -> bool:
    """Whether somebody looks at stderr: a terminal, or a notebook, which shows what is written there.

    >>> looked_at()
    False
    """
    shell = sys.modules.get("IPython")
    in_notebook = shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
    return in_notebook or sys.stderr.isatty()


@contextmanager
def telling(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """What is to be told of progress: as it was given, and by default one line where somebody looks.

    Args:
        progress: a function; False for nothing; True or None for the line, None only where somebody looks.
    """
    if callable(progress):
        yield progress
    elif progress is False or (progress is None and not looked_at()):
        yield None
    else:
        line = OneLine(sys.stderr)
        line(0.0, "compiling")
        try:
            yield line
        finally:
            line.wipe()
