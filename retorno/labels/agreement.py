"""How far people agree with each other, and with a model's scores: over pairs of answers that both told apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from retorno.labels.database import Labelled


class Agreement(NamedTuple):
    """Of so many pairs, so many were put in the same order."""

    same: float
    """Equal scores agree by half."""
    pairs: int

    @property
    def share(self) -> float | None:
        """None where there was nothing to compare."""
        return self.same / self.pairs if self.pairs else None


def compared(worse: Sequence[float | None], other: Sequence[float | None]) -> Agreement:
    """Two orders of the same answers, each by numbers that are larger for worse answers, None where not ranked.

    Pairs that the first ties or did not rank are not counted, nor those that the other did not rank; its ties are half
    right.

    >>> compared([0, 1, 2], [0.5, 0.5, 1])
    Agreement(same=2.5, pairs=3)
    """
    same, pairs = 0.0, 0
    for i, j in combinations(range(len(worse)), 2):
        a, b, x, y = worse[i], worse[j], other[i], other[j]
        if a is None or b is None or x is None or y is None or a == b:
            continue
        pairs += 1
        same += 0.5 if x == y else (a < b) == (x < y)
    return Agreement(same, pairs)


def _sum(each: Iterable[Agreement]) -> Agreement:
    all_of_them = list(each)
    return Agreement(sum(one.same for one in all_of_them), sum(one.pairs for one in all_of_them))


def between_labellers(labelled: Iterable[Labelled], labeller: str | None = None) -> Agreement:
    """How far people who ranked the same answers agree; of one of them with all others, where one is named.

    Only pairs that both told apart count.
    """
    by_query: dict[int, list[Labelled]] = defaultdict(list)
    for one in labelled:
        if "ranks" in one.label.content:
            by_query[one.query.id].append(one)
    return _sum(
        _both(a.label.content["ranks"], b.label.content["ranks"])
        for several in by_query.values()
        for a, b in combinations(several, 2)
        if labeller is None or labeller in (a.label.labeller, b.label.labeller)
    )


def _both(ranks: Sequence[int | None], others: Sequence[int | None]) -> Agreement:
    pairs = [
        (i, j)
        for i, j in combinations(range(len(ranks)), 2)
        if None not in (ranks[i], ranks[j], others[i], others[j]) and ranks[i] != ranks[j] and others[i] != others[j]
    ]
    return _sum(compared([ranks[i], ranks[j]], [others[i], others[j]]) for i, j in pairs)


def with_scores(labelled: Iterable[Labelled], labeller: str | None = None) -> Agreement:
    """How far people agree with the scores that a reward model gave the answers before it knew what they say."""
    return _sum(
        compared(
            one.label.content["ranks"], [None if score is None else -score for score in one.query.content["scores"]]
        )
        for one in labelled
        if one.query.content.get("scores") and one.label.content.get("ranks")
        if labeller in (None, one.label.labeller)
    )
