"""Ctrl-C and SIGTERM ask a run to stop; it does so at the next report, with everything saved."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any

from retorno.core.errors import RetornoError


class Interrupted(RetornoError):
    """A run that was asked to stop, and has saved what it had."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
        """The signal's number."""

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        """How it comes from another process to the one that waits for it."""
        return type(self), (str(self), self.number)


class StopSignals:
    """While it is entered, SIGINT and SIGTERM are noted in `received` instead of ending the process.

    A second Ctrl-C ends the process at once. Outside the main thread nothing changes.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._told: int | None = None
        self._woken: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
            read, write = socket.socketpair()
            read.setblocking(False)
            write.setblocking(False)
            self._woken = read, write
            before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
            if not _entered:
                _outside[:] = [before]
            _entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._woken is None:
            return
        place = _entered.index(self)
        _entered.remove(self)
        if place < len(_entered):
            # Generators are left in any order: what was entered later stays, and gives back what this one would have.
            _entered[place]._before = self._before
        else:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        newest = _entered[-1]._woken if _entered else None
        _wake(_outside[0] if newest is None else newest[1].fileno())
        for end in self._woken:
            end.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number

    def heard(self) -> int | None:
        """The signal that came, also while the main thread waits for a compiled program and has noted nothing yet."""
        if self._woken is not None:
            with contextlib.suppress(BlockingIOError):
                told = [number for number in self._woken[0].recv(64) if number in self._before]
                self._told = self._told or (told[0] if told else None)
        return self.received or self._told


_entered: list[StopSignals] = []
_outside: list[int] = [-1]
"""Where signals were written before the first was entered."""


def _wake(number: int) -> None:
    """Write signals there; nowhere, where it was closed meanwhile, or is something else's by now."""
    try:
        signal.set_wakeup_fd(number)
    except (OSError, ValueError):
        signal.set_wakeup_fd(-1)


def asked_to_stop() -> int | None:
    """The signal that asks the run to stop: to be looked at by what waits inside of a compiled program."""
    return _entered[-1].heard() if _entered else None
