"""Numbers as they are printed, and what the floats of a model stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

Number = float | Fraction | Decimal | np.floating
"""What somebody may give as one number."""
LONG, SIMPLE = 12, 1000
"""A decimal of more characters than this is told as a fraction, where one of so small a denominator is that float."""


def plain(x: float) -> str:
    """A number as short as it can be written without becoming another: γ = .9999999 is not 1, and 1/3 is 1/3.

    Args:
        x: any float.

    >>> plain(0.9999999), plain(1.0), plain(-0.0), plain(1 / 3)
    ('0.9999999', '1', '0', '1/3')
    """
    text = repr(float(x) + 0.0)
    if len(text) > LONG and math.isfinite(x) and float(few := Fraction(float(x)).limit_denominator(SIMPLE)) == x:
        return str(few)
    return text.removesuffix(".0")


def mixture(names: Sequence[str], chances: Sequence[float], most: int = 4) -> str:
    """What a policy does in a state: the action that it takes, or several with their probabilities.

    Args:
        names: of the state's actions.
        chances: the probability of each.
        most: so many are named.

    >>> mixture(["quit", "stay"], [0.0, 1.0]), mixture(["quit", "stay"], [0.25, 0.75])
    ('stay', 'quit 0.25, stay 0.75')
    """
    taken = [(name, p) for name, p in zip(names, chances, strict=True) if p > 0]
    if len(taken) == 1:
        return taken[0][0]
    told = [f"{name} {p:.4g}" for name, p in taken[:most]]
    return ", ".join(told + ["…"] * (len(taken) > most))


def decimal(x: float) -> Fraction:
    """The shortest decimal that float64 rounds to x: what was meant where somebody wrote 0.7.

    >>> decimal(0.7), Fraction(0.7)
    (Fraction(7, 10), Fraction(3152519739159347, 4503599627370496))
    """
    return Fraction(repr(float(x)))


def as_fraction(given: Number | str) -> Fraction:
    """What a number stands for: a float for its shortest decimal, a fraction, a decimal or text for what it says.

    Args:
        given: the number, or its text, "0.9" or "9/10".

    Raises:
        ValueError: for what is no finite number.

    >>> as_fraction(0.9), as_fraction("9/10"), as_fraction(Fraction(1, 3))
    (Fraction(9, 10), Fraction(9, 10), Fraction(1, 3))
    """
    try:
        return decimal(float(given)) if isinstance(given, float | np.floating) else Fraction(given)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(f"expected a finite number, got {given!r}") from None


def as_floats(given: Any, fractions: dict[float, Fraction]) -> np.ndarray:
    """An array of numbers in float64; not copied where it is one. What they stand for is kept as by `as_float`.

    Args:
        given: numbers, fractions and decimals among them, or nested lists of them.
        fractions: what floats stand for, to which it is added.

    Raises:
        TypeError: for what are no numbers.
        ValueError: likewise, and for lists of different lengths.

    >>> known = {}
    >>> as_floats([[Fraction(1, 3), 0.5]], known), known
    (array([[0.33333333, 0.5       ]]), {0.3333333333333333: Fraction(1, 3)})
    """
    array = np.asarray(given)
    large = array.dtype.kind in "iu" and array.size and max(-int(array.min()), int(array.max())) > 2**53
    if array.dtype != object and not large:
        return np.asarray(array, np.float64)
    made = np.array([as_float(x, fractions) for x in array.reshape(-1).tolist()], np.float64)
    return made.reshape(array.shape)


def as_float(given: Any, fractions: dict[float, Fraction]) -> float:
    """A number as a float; what it stands for is kept where the float's shortest decimal does not say it.

    Of two numbers that float64 does not tell apart, the one with the smaller denominator stands for both.

    Args:
        given: a float, an integer, a fraction, a decimal.
        fractions: what floats stand for, to which it is added.

    Raises:
        TypeError: for what is no number.
        ValueError: likewise.

    >>> known = {}
    >>> as_float(Fraction(1, 3), known), as_float(Fraction(7, 10), known), known
    (0.3333333333333333, 0.7, {0.3333333333333333: Fraction(1, 3)})
    """
    x = float(given)
    if isinstance(given, int | Fraction | Decimal) and abs(x) < float("inf"):
        keep(Fraction(given), x, fractions)
    return x


def keep(exact: Fraction, x: float, fractions: dict[float, Fraction]) -> None:
    """Write down what the float x stands for, where its shortest decimal does not say it."""
    if exact != decimal(x) and (x not in fractions or exact.denominator < fractions[x].denominator):
        fractions[x] = exact


def exactly(values: Iterable[float], fractions: Mapping[float, Fraction]) -> list[Fraction]:
    """What floats stand for: the fractions that are known, else their shortest decimals.

    Args:
        values: of a model or a policy.
        fractions: what some of them stand for.

    >>> exactly([0.7, 1 / 3], {1 / 3: Fraction(1, 3)})
    [Fraction(7, 10), Fraction(1, 3)]
    """
    known = dict(fractions)
    made = []
    for x in values:
        found = known.get(x)
        if found is None:
            found = known[x] = decimal(x)
        made.append(found)
    return made


def summed(values: Iterable[float], fractions: Mapping[float, Fraction]) -> Fraction:
    """The sum of what floats stand for.

    Args:
        values: finite ones.
        fractions: what some of them stand for.

    >>> summed([0.1, 0.2, 1 / 3], {1 / 3: Fraction(1, 3)})
    Fraction(19, 30)
    """
    total, others = Decimal(0), Fraction(0)
    with localcontext(Context(prec=DIGITS, traps=[Inexact])):
        for x in values:
            if x in fractions:
                others += fractions[x]
            else:
                total += Decimal(repr(x))
    return Fraction(total) + others


def divided(
    value: Float[np.ndarray, " N"],
    row_ptr: Int[np.ndarray, " ends"],
    which: Bool[np.ndarray, " rows"],
    fractions: dict[float, Fraction],
) -> Float[np.ndarray, " N"]:
    """The numbers of some rows divided by the sum of what they stand for.

    Args:
        value: row after row. Shape [N].
        row_ptr: where each row begins, and N.
        which: the rows that are divided.
        fractions: what floats stand for, to which quotients are added.

    >>> known = {}
    >>> divided(np.array([0.3, 0.3, 0.3, 1.0]), np.array([0, 3, 4]), np.array([True, False]), known)[[0, 3]], known
    (array([0.33333333, 1.        ]), {0.3333333333333333: Fraction(1, 3)})
    """
    made, quotients = np.array(value, np.float64), dict[tuple[float, Fraction], float]()
    given = dict(fractions)
    for row in np.flatnonzero(which).tolist():
        own = slice(int(row_ptr[row]), int(row_ptr[row + 1]))
        parts = made[own].tolist()
        total = summed(parts, given)
        for x, exact in zip(parts, exactly(parts, given), strict=True):
            if (x, total) not in quotients:
                quotients[x, total] = as_float(exact / total, fractions)
        made[own] = [quotients[x, total] for x in parts]
    return made


DIGITS = 700
"""Of any sum of the decimals that floats are written as, from 1e-324 to 1e308, with room for many of them."""
