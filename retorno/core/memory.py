"""What a model will take, told before it is allocated."""

from __future__ import annotations

import os
from pathlib import Path

from retorno.core.mdp import ModelError

NAME_BYTES = 64
"""A short string and its place in a tuple."""


def ensure_fits(size: int, what: str) -> None:
    """Refuse what would not fit into the memory that is free now.

    Raises:
        ModelError: with both numbers.
    """
    free = available()
    if free is not None and size > free:
        raise ModelError(
            f"{what} would take {readable(size)} of memory, and {readable(free)} are free: "
            "make it smaller, or free memory"
        )


def available() -> int | None:
    """Bytes that can be allocated without swapping; None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def model_bytes(states: int, pairs: int, transitions: int) -> int:
    """About what an `MDP` with names takes, and half as much again while it is checked."""
    return (states * (16 + NAME_BYTES) + pairs * 16 + transitions * 32) * 3 // 2


def readable(size: float) -> str:
    """A number of bytes as people say it: '1.5 GB'."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:,.0f} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError
