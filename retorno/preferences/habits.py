"""What somebody says again and again: which clip stands where is by chance, so nothing is to be learnt from it."""

from __future__ import annotations

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


def told(who: str, said: str) -> str:
    """A sentence for whoever trains by that.

    Args:
        who: they are.
        said: by them, again and again: "cannot tell", "alike", or the side that they chose.
    """
    often = f"{who} said {said!r} {SAME} times in a row"
    if said == "cannot tell":
        return (
            f"{often}: nothing is learnt from that. Is it said what is wanted (--task), and are clips long enough to "
            "show it (--relabel.segment)?"
        )
    if said == "alike":
        return f"{often}: that both are worth the same is all that is learnt. Do clips show what is wanted?"
    return f"{often}, and it is by chance which of two comes {said}: are they looked at?"
