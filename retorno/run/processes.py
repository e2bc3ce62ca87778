"""Processes that are made by another one."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any


def end_with_parent(end: Callable[[], Any] = lambda: os._exit(1)) -> None:
    """Have this process end with the one that made it, however that ends: also where it was killed and could say
    so to nobody.

    Args:
        end: how it ends; at once where nothing is said.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        end()

    threading.Thread(target=follow, daemon=True).start()
