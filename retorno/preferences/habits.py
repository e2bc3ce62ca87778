"""What somebody says again and again: which clip stands where is by chance, so nothing is to be learnt from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

SAME = 20
"""Answers in a row that are all the same from which on that is noticed."""


@dataclass
class Habits:
    """What each of several people has said lately."""

    row: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By who said it: what was said last, and how often in a row."""

    def again(self, who: str, said: str) -> int:
        """How often in a row somebody has said something, this time included.

        >>> habits = Habits()
        >>> [habits.again("Ana", said) for said in ("left", "left", "alike")]
        [1, 2, 1]
        """
        last, count = self.row.get(who, (said, 0))
        self.row[who] = (said, count + 1 if said == last else 1)
        return self.row[who][1]


def in_a_word(shares: Sequence[float], sides: tuple[str, str]) -> str:
    """What was said of clips, in the order in which they were shown; of one how good it is, from 0 to 1.

    Args:
        shares: how much of the preference goes to each; NaN where nothing was said.
        sides: what two of them are called.

    >>> in_a_word([1, 0], ("left", "right")), in_a_word([0.5, 0.5], ("left", "right"))
    ('left', 'alike')
    >>> in_a_word([1, 2, 0, math.nan], ("left", "right")), in_a_word([0.7], ("left", "right"))
    ('2, 1, 3', '0.7')
    """
    known = [i for i, share in enumerate(shares) if math.isfinite(share)]
    if len(known) < min(len(shares), 2):
        return "cannot tell"
    if len(shares) == 1:
        return f"{shares[0]:g}"
    if len({shares[i] for i in known}) == 1:
        return "alike"
    best_first = sorted(known, key=lambda i: -shares[i])
    return sides[best_first[0]] if len(shares) == 2 else ", ".join(str(i + 1) for i in best_first)


def told(who: str, said: str, clips: int) -> str:
    """A sentence for whoever trains by that.

    Args:
        who: they are.
        said: by them, again and again: "cannot tell", "alike", the side that they chose, an order, or a rating.
        clips: that they were asked about at once.
    """
    often = f"{who} said {said!r} {SAME} times in a row"
    if said == "cannot tell":
        return (
            f"{often}: nothing is learnt from that. Is it said what is wanted (--task), and are clips long enough to "
            "show it (--relabel.segment)?"
        )
    if said == "alike":
        return f"{often}: at most that all are worth the same is learnt. Do clips show what is wanted?"
    if clips == 1:
        return (
            f"{often}, of 1 for the best clips: nothing is learnt from ratings that are all alike. Are all levels used?"
        )
    return f"{often}, and it is by chance which clip stands where: are they looked at?"
