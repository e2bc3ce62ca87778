"""Numbers as they are printed, and what the floats of a model stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any


def plain(x: float) -> str:
    """A number as short as it can be written without becoming another: γ = .9999999 is not 1.

    Args:
        x: any float.

    >>> plain(0.9999999), plain(1.0), plain(-0.0)
    ('0.9999999', '1', '0')
    """
    text = repr(float(x) + 0.0)
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
