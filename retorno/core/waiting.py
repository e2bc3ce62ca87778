"""What takes a while says what it is: who shows things to people listens, and nobody else pays for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Listener = Callable[[str, Callable[[], str]], AbstractContextManager[None]]
"""Is given what is waited for and how far it is, and entered for as long as it takes."""

_listeners: list[Listener] = []


@contextlib.contextmanager
def waiting(what: str, so_far: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Say that something is waited for, to whoever listens.

    Args:
        what: it is, as in "compiling".
        so_far: how far it is by now, as in "3 of 100 episodes"; asked while it goes on, from another thread.

    >>> @contextlib.contextmanager
    ... def tell(what, so_far):
    ...     print("begun:", what)
    ...     yield
    ...     print("over:", so_far())
    >>> with listening(tell), waiting("compiling", lambda: "2 programs"):
    ...     pass
    begun: compiling
    over: 2 programs
    """
    with contextlib.ExitStack() as heard:
        for listener in _listeners:
            heard.enter_context(listener(what, so_far))
        yield


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Be told, while it is entered, of all that is waited for.

    Args:
        listener: is entered for as long as each takes.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
