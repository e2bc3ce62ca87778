"""Ctrl-C ends a command also while it waits for a compiled program, in which Python hears no signal.

Nothing heavy is imported here: it is there before all else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

GRACE = 1.0
"""Seconds in which a command may hear by itself that it is interrupted, and clear up."""


@contextlib.contextmanager
def interruptible(tell: Callable[[], object]) -> Iterator[None]:
    """Meanwhile Ctrl-C raises `KeyboardInterrupt`, as always; if it is not heard soon, the process ends without.

    What asks for Ctrl-C itself, as training does, gets it: see `StopSignals`.

    Args:
        tell: says that it was interrupted, where the process ends so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        heard.set()
        raise KeyboardInterrupt

    def follow() -> None:
        while told := os.read(read, 64):
            if signal.SIGINT in told and signal.getsignal(signal.SIGINT) is interrupt:
                if not heard.wait(GRACE):
                    tell()
                    _end()
                heard.clear()

    read, write = os.pipe()
    os.set_blocking(write, False)
    before, outside = signal.signal(signal.SIGINT, interrupt), signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(outside)
        os.close(write)
        thread.join()
        os.close(read)


def _end() -> NoReturn:
    """End the process, and the programs that it plays against, which may not notice by themselves."""
    if (engines := sys.modules.get("retorno.run.engines")) is not None:
        engines.kill_all()
    if sys.stderr.isatty():
        print("\033[?25h", end="", file=sys.stderr, flush=True)  # What moves there hides the cursor.
    os._exit(128 + signal.SIGINT)
