"""The dictionary's nouns and their kinds, from WordNet, and which of them demonstrations or rankings are about."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = Path(__file__).with_name("nouns.tsv")
TOLD, RANKED, OTHERS = 1000, 600, 200
"""How many nouns the demonstrations tell; of how many of these, and of how many others, answers are ranked."""


class Noun(NamedTuple):
    """A word, and what it is."""

    word: str
    article: str
    """What stands before it: "a", "an", or nothing, as gold is a metal."""
    kind: str
    also: tuple[str, ...]
    """What else is true of it: a poodle is a dog, a mammal and an animal."""

    @property
    def phrase(self) -> str:
        """The noun with its article."""
        return f"{self.article} {self.word}".strip()

    @property
    def question(self) -> str:
        """What is asked of it.

        >>> nouns()["owl"].question
        'what is an owl?'
        """
        return f"what is {self.phrase}?"


@functools.cache
def nouns() -> dict[str, Noun]:
    """All nouns by their words, in alphabetical order."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = {}
    for line in lines[1:]:  # The first names the columns.
        word, article, kind, also = line.split("\t")
        found[word] = Noun(word, article, kind, tuple(also.split(", ")) if also else ())
    return found


@functools.cache
def kinds() -> tuple[str, ...]:
    """All that may truly be said of some noun, in alphabetical order."""
    return tuple(sorted({kind for noun in nouns().values() for kind in (noun.kind, *noun.also)}))


@functools.cache
def named_kinds() -> tuple[str, ...]:
    """The kinds that answers name, in alphabetical order: of each noun the nearest."""
    return tuple(sorted({noun.kind for noun in nouns().values()}))


def article(kind: str) -> str:
    """Of a kind."""
    return "an" if kind[0] in "aeio" else "a"


def with_article(kind: str) -> str:
    """A kind as an answer says it.

    >>> with_article("insect"), with_article("body of water"), with_article("unit of measure")
    ('an insect', 'a body of water', 'a unit of measure')
    """
    return f"{article(kind)} {kind}"


@dataclass(frozen=True)
class Words:
    """Who hears of which nouns. No demonstration tells of those in `ranked_only`; of `unseen` nothing is ever said."""

    told: tuple[Noun, ...]
    """Demonstrations tell their kinds, and no ranking is asked about them."""
    told_and_ranked: tuple[Noun, ...]
    ranked_only: tuple[Noun, ...]
    unseen: tuple[Noun, ...]

    @property
    def demonstrated(self) -> tuple[Noun, ...]:
        return self.told_and_ranked + self.told

    @property
    def ranked(self) -> tuple[Noun, ...]:
        return self.told_and_ranked + self.ranked_only


def split(seed: int = 0, told: int = TOLD, ranked: int = RANKED, others: int = OTHERS) -> Words:
    """Draw who hears of which nouns.

    Raises:
        ValueError: when there are not so many nouns, or too few are told.

    Args:
        seed: what is drawn follows from it.
        told: how many nouns the demonstrations tell.
        ranked: of how many of these answers are ranked.
        others: and of how many others.
    """
    known = list(nouns().values())
    if not (1 <= ranked <= told and 0 <= others < len(known) - told):
        raise ValueError(
            f"the dictionary has {len(known)} nouns: expected 1 ≤ ranked ≤ told and told + others < {len(known)}, "
            f"got told={told}, ranked={ranked} and others={others}"
        )
    drawn = [known[i] for i in np.random.default_rng(seed).permutation(len(known))]
    return Words(
        told=tuple(drawn[ranked:told]),
        told_and_ranked=tuple(drawn[:ranked]),
        ranked_only=tuple(drawn[told : told + others]),
        unseen=tuple(drawn[told + others :]),
    )
