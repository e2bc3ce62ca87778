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


class StopSignals:
    """While it is entered, SIGINT and SIGTERM are noted in `received` instead of ending the process.

    A second Ctrl-C ends the process at once. Outside the main thread nothing changes.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._told: int | None = None
        self._woken: tuple[socket.socket, socket.socket, int] | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
            read, write = socket.socketpair()
            read.setblocking(False)
            write.setblocking(False)
            self._woken = read, write, signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
            _entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._woken is not None:
            read, write, before = self._woken
            signal.set_wakeup_fd(before)
            _entered.remove(self)
            read.close()
            write.close()

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


def asked_to_stop() -> int | None:
    """The signal that asks the run to stop: to be looked at by what waits inside of a compiled program."""
    return _entered[-1].heard() if _entered else None
