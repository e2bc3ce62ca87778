"""Numbers as people write them into files: 0.25, 1e-3, 1/3."""

from __future__ import annotations

import math
import re
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FRACTION = re.compile(r"([+-]?\d+)\s*/\s*(\d+)", re.ASCII)
LONGEST = 400
"""Characters: no float64 needs more, and Python's own conversion of very long ones is slow."""


def number(given: Any) -> float:
    """A finite number from a number or from its text, a fraction of whole numbers among them.

    Raises:
        ValueError: for anything else.
    """
    try:
        if isinstance(given, str):
            made = _parsed(given)
        elif isinstance(given, int | float) and not isinstance(given, bool):
            made = float(given)
        else:
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        made = math.nan
    if not math.isfinite(made):
        raise ValueError(f"{shown(given)} is no finite number; write it as 0.25, 1e-3 or 1/3")
    return made


def _parsed(text: str) -> float:
    text = text.strip()
    if len(text) > LONGEST:
        raise ValueError
    if NUMBER.fullmatch(text):
        return float(text)
    if fraction := FRACTION.fullmatch(text):
        return int(fraction[1]) / int(fraction[2])
    raise ValueError


def shown(given: Any, longest: int = 40) -> str:
    """A value for a message, cut where it is long."""
    text = repr(given)
    return text if len(text) <= longest else f"{text[:longest]}…"
