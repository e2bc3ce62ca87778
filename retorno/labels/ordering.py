"""How somebody has put answers in order so far: what each key, drag and button makes of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


def shown_order(query: int, labeller: str, count: int) -> list[int]:
    """In which order somebody sees what a query asks about: by chance, but the same whenever it is shown.

    So nobody prefers a place for ever.
    """
    order = list(range(count))
    random.Random(f"{query} {labeller}").shuffle(order)
    return order


@dataclass(frozen=True)
class Order:
    """Answers in tiers, the best first; those of one tier tie. The rest is not ranked.

    >>> Order(4).choose(2).choose(0).choose(3).tie(3).ranks
    [1, None, 0, 1]
    """

    count: int
    """How many answers there are."""
    tiers: tuple[tuple[int, ...], ...] = ()
    all_bad: bool = False
    """They tie, and somebody said that none of them will do."""

    @property
    def ranked(self) -> list[int]:
        """The answers that are ranked, from the top down."""
        return [answer for tier in self.tiers for answer in tier]

    @property
    def rest(self) -> list[int]:
        return [answer for answer in range(self.count) if answer not in self.ranked]

    @property
    def ranks(self) -> list[int | None]:
        """Of each answer: 0 the best, equal ones tie, None where it is not ranked."""
        rank = {answer: i for i, tier in enumerate(self.tiers) for answer in tier}
        return [rank.get(answer) for answer in range(self.count)]

    @property
    def says_something(self) -> bool:
        """Whether it can be saved: two answers are ranked, or all are bad."""
        return self.all_bad or len(self.ranked) > 1

    @classmethod
    def of(cls, ranks: list[int | None], all_bad: bool = False) -> Order:
        """The order that has these ranks.

        >>> Order.of([1, None, 0, 1]).tiers
        ((2,), (0, 3))
        """
        tiers = sorted({rank for rank in ranks if rank is not None})
        return cls(len(ranks), tuple(tuple(i for i, x in enumerate(ranks) if x == tier) for tier in tiers), all_bad)

    def pressed(self, key: str, shown: Sequence[int]) -> Order:
        """What a key makes of it: a digit the next best one, = a tie with the one above, r all others below, 0 all bad.

        Args:
            key: any; those that say nothing change nothing.
            shown: the answers in the order in which they are shown: the first has key 1.

        >>> Order(3).pressed("3", [2, 0, 1]).pressed("1", [2, 0, 1]).ranks
        [None, 0, 1]
        """
        match key:
            case "0":
                return self.bad()
            case "=" | "t":
                return self.tie()
            case "r":
                return self.rest_is_worse()
            case _ if key.isdecimal() and len(key) == 1 and int(key) <= len(shown):
                return self.choose(shown[int(key) - 1])
        return self

    def choose(self, answer: int) -> Order:
        """The next best one; out of the ranking where it was in it."""
        if answer in self.ranked and not self.all_bad:
            return self._without(answer)
        tiers = () if self.all_bad else self.tiers
        return Order(self.count, (*tiers, (answer,)))

    def drop(self, answer: int, place: int | None) -> Order:
        """Drawn to a place among the others that are ranked, 0 the top, or out of the ranking.

        Between two that tie, it ties with them.

        >>> Order(4, ((0, 1), (2,))).drop(3, 1).tiers, Order(4, ((0, 1), (2,))).drop(3, 2).tiers
        (((0, 3, 1), (2,)), ((0, 1), (3,), (2,)))
        """
        left = self._without(answer)
        if place is None:
            return left
        tiers, at = list(left.tiers), 0
        for i, tier in enumerate(tiers):
            if at == place:
                return Order(self.count, (*tiers[:i], (answer,), *tiers[i:]))
            if at < place < at + len(tier):
                joined = (*tier[: place - at], answer, *tier[place - at :])
                return Order(self.count, (*tiers[:i], joined, *tiers[i + 1 :]))
            at += len(tier)
        return Order(self.count, (*tiers, (answer,)))

    def tie(self, answer: int | None = None) -> Order:
        """An answer, else the last that is ranked, is as good as the one above it; or no longer."""
        ranked = self.ranked
        if len(ranked) < 2 or (answer is not None and (answer not in ranked or answer == ranked[0])):
            return self
        answer = ranked[-1] if answer is None else answer
        i = next(i for i, tier in enumerate(self.tiers) if answer in tier)
        tier, at = self.tiers[i], self.tiers[i].index(answer)
        if at == 0:
            joined = ((*self.tiers[i - 1], *tier),)
            return Order(self.count, (*self.tiers[: i - 1], *joined, *self.tiers[i + 1 :]))
        return Order(self.count, (*self.tiers[:i], tier[:at], tier[at:], *self.tiers[i + 1 :]))

    def rest_is_worse(self) -> Order:
        """All that is not ranked is one tier below."""
        return Order(self.count, (*self.tiers, tuple(self.rest))) if self.tiers and self.rest else self

    def bad(self) -> Order:
        """All are bad; or that is taken back."""
        return Order(self.count) if self.all_bad else Order(self.count, (tuple(range(self.count)),), all_bad=True)

    def _without(self, answer: int) -> Order:
        left = (tuple(each for each in tier if each != answer) for tier in self.tiers)
        return Order(self.count, tuple(tier for tier in left if tier))


@dataclass
class Draft:
    """An order that somebody is making, and the way back."""

    order: Order
    _before: list[Order] = field(default_factory=list)

    def becomes(self, order: Order) -> None:
        """Another one."""
        if order != self.order:
            self._before.append(self.order)
            self.order = order

    def back(self) -> bool:
        """As it was before the last step, if there was one."""
        if self._before:
            self.order = self._before.pop()
            return True
        return False

    @property
    def begun(self) -> bool:
        """Whether anything was done."""
        return bool(self._before)
