"""What takes long is done in a thread of its own: those that are shared wait for the database."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def aside(act: Callable[..., T], *given: Any) -> T:
    """What a function returns or raises. Its thread ends with the process, which waits for none.

    Args:
        act: the function.
        given: what it is given.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[Any], None], what: Any) -> None:
        if not answer.done():  # Whoever waited was cancelled.
            how(what)

    def work() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = answer.set_result, act(*given)
        except Exception as error:
            outcome = answer.set_exception, error
        with contextlib.suppress(RuntimeError):  # The pages have ended.
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, daemon=True).start()
    return await answer
