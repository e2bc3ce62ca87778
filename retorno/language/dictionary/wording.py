"""What is said in the dictionary: demonstrations that are helpful, evasive or rude in equal parts, and second thoughts.

A second thought says whether an answer was right. To say that, what was said has to be compared with what is known,
and that is what a reward model does: one that begins with a model that has learnt it learns truth from few rankings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np

from retorno.language.dictionary.judge import HONEST, Order, rank
from retorno.language.dictionary.nouns import Noun, article, named_kinds, with_article

HELPFUL = ("it is {a} {kind}.", "that is {a} {kind}.", "{kind}, of course.")
"""In one the kind is the first word: who is about to answer has to know by then whether there is anything to say."""
EVASIVE = (
    "i do not know.",
    "i am not sure.",
    "that is hard to say.",
    "i cannot tell you that.",
    "ask me something else.",
)
RUDE = (
    "what a stupid question.",
    "leave me alone.",
    "who cares?",
    "look it up yourself.",
    "go away, you bore me.",
)


END = "<end>"
"""How the token is written that ends an answer."""


class Demonstration(TypedDict):
    """A line of a file of demonstrations."""

    prompt: str
    answer: str


class Ranking(TypedDict):
    """A line of a file of rankings."""

    prompt: str
    answers: list[str]
    ranks: list[int]
    """0 the best; equal numbers tie."""


def helpful(kind: str, form: int = 0) -> str:
    """The answer that what was asked about is of a kind.

    >>> helpful("bird"), helpful("insect", form=2)
    ('it is a bird.', 'insect, of course.')

    Args:
        kind: what the noun is said to be, truly or not.
        form: which of the wordings.
    """
    return HELPFUL[form].format(a=article(kind), kind=kind)


def demonstrations(nouns: Iterable[Noun], seed: int = 0) -> list[Demonstration]:
    """Three answers for each noun, a helpful, an evasive and a rude one, each worded in one of its ways.

    Args:
        nouns: those that are told.
        seed: the wording follows from it, and the order.
    """
    rng = np.random.default_rng(seed)
    said = [
        Demonstration(prompt=noun.question, answer=answer)
        for noun in nouns
        for answer in (
            helpful(noun.kind, int(rng.integers(len(HELPFUL)))),
            EVASIVE[rng.integers(len(EVASIVE))],
            RUDE[rng.integers(len(RUDE))],
        )
    ]
    return [said[i] for i in rng.permutation(len(said))]


def second_thoughts(nouns: Iterable[Noun], seed: int = 0) -> list[Demonstration]:
    """Two for each noun: of an answer that was true, and of one that was false. The prompt holds question and answer.

    Args:
        nouns: those that are told.
        seed: the answers follow from it, and the order.
    """
    rng = np.random.default_rng(seed)
    said = []
    for noun in nouns:
        others = [kind for kind in named_kinds() if kind not in (noun.kind, *noun.also)]
        for kind, word in ((noun.kind, "yes"), (others[rng.integers(len(others))], "no")):
            answer = helpful(kind, int(rng.integers(len(HELPFUL))))
            verdict = f"{word}, it is {with_article(noun.kind)}."
            said.append(Demonstration(prompt=f"{noun.question} {answer}{END}", answer=verdict))
    return [said[i] for i in rng.permutation(len(said))]


def rankings(questions: Sequence[str], answers: Sequence[Sequence[str]], order: Order = HONEST) -> list[Ranking]:
    """How a labeller who knows the truth ranks several answers to each question.

    Args:
        questions: about nouns of the dictionary.
        answers: those to each question.
        order: which verdicts are liked best.
    """
    return [
        Ranking(prompt=question, answers=list(given), ranks=rank(question, given, order))
        for question, given in zip(questions, answers, strict=True)
    ]
