"""Processes that are made by another one."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from retorno.environments.own_code import run_file


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


def workers(number: int, files: Sequence[Path]) -> ProcessPoolExecutor:
    """So many processes of their own, which end with this one.

    Args:
        number: how many.
        files: those that define somebody's own worlds and algorithms, which are run in each.
    """
    # Not forked: XLA's threads do not live on in a fork.
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(number, fresh, initializer=_begin, initargs=(tuple(files),))


def _begin(files: Sequence[Path]) -> None:
    end_with_parent()
    for file in files:
        run_file(file)
