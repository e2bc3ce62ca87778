"""Numbers as people write them into files: 0.25, 1e-3, 1/3."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from retorno.core.numerals import decimal, keep

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FRACTION = re.compile(r"([+-]?\d+)\s*/\s*(\d+)", re.ASCII)
PLAIN, NORMAL = 15, 1e-290
"""A number of so few characters is its float's shortest decimal, unless it is nearly 0: float64 holds 15 digits."""
LONGEST_DECIMAL = 24
"""Characters of the shortest decimals of floats."""
LONGEST = 400
"""Characters: no float64 needs more, and Python's own conversion of very long ones is slow."""
LONGEST_EXPONENT = 400
"""A power of ten beyond is 0 or too large for float64, and as a fraction would fill the memory."""


def number(given: Any, fractions: dict[float, Fraction] | None = None) -> float:
    """A finite number from a number or from its text, a fraction of whole numbers among them.

    Args:
        given: a number, or its text.
        fractions: what floats stand for, to which it is added where the float's shortest decimal does not say it.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(given, float) and math.isfinite(given):
        return given
    if isinstance(given, str) and len(given) <= LONGEST_DECIMAL and NUMBER.fullmatch(given):
        made = float(given)
        if repr(made) == given or (len(given) <= PLAIN and (not made or NORMAL < abs(made) < math.inf)):
            return made
    exact = exact_number(given)
    try:
        made = float(exact) if exact else math.copysign(0.0, -1.0 if str(given).lstrip().startswith("-") else 1.0)
    except OverflowError:
        raise ValueError(f"{shown(given)} is no finite number of float64; write it as 0.25, 1e-3 or 1/3") from None
    if fractions is not None:
        keep(exact, made, fractions)
    return made


def written(text: str) -> float | Fraction:
    """A finite number from its text: a float where its shortest decimal says what was written, else the fraction.

    Args:
        text: of the number.

    Raises:
        ValueError: for anything else.

    >>> written("0.7"), written("1/3")
    (0.7, Fraction(1, 3))
    """
    known = dict[float, Fraction]()
    made = number(text, known)
    return known.get(made, made)


def exact_number(given: Any) -> Fraction:
    """The same as it was written: 0.7 is seven tenths.

    Raises:
        ValueError: as `number`.
    """
    try:
        if isinstance(given, str):
            return _parsed(given)
        if isinstance(given, float):
            return decimal(given)
        if isinstance(given, int | Decimal) and not isinstance(given, bool):
            return _parsed(str(given))
    except (ValueError, OverflowError, ZeroDivisionError):
        pass
    raise ValueError(f"{shown(given)} is no finite number; write it as 0.25, 1e-3 or 1/3")


def _parsed(text: str) -> Fraction:
    text = text.strip()
    if len(text) > LONGEST:
        raise ValueError
    if NUMBER.fullmatch(text):
        exponent = re.split("[eE]", text)[1:]
        if exponent and abs(int(exponent[0])) > LONGEST_EXPONENT:
            return Fraction(float(text))
        return Fraction(text)
    if fraction := FRACTION.fullmatch(text):
        return Fraction(int(fraction[1]), int(fraction[2]))
    raise ValueError


def shown(given: Any, longest: int = 40) -> str:
    """A value for a message, cut where it is long."""
    text = repr(given)
    return text if len(text) <= longest else f"{text[:longest]}…"
