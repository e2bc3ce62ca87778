"""How a model answers: the shares of its answers that are true, evasive, false and rude."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retorno.language.dictionary.judge import HONEST, Order, Verdict, judge, score
from retorno.language.dictionary.nouns import Noun
from retorno.language.generation import Answer, Sampling, generate
from retorno.language.model import LanguageModel

TOKENS = 12
"""An answer of the dictionary has no more."""
AT_ONCE = 256
"""Questions that are asked side by side: always as many, so that one program serves all."""


class Answers(NamedTuple):
    """What a model said about some nouns: shares of its answers."""

    true: float
    evasive: float
    false: float
    rude: float
    ended: float
    """Whether the model itself ended them."""
    score: float
    """The mean of what each is worth by the order that was asked for: 1 the best, 0 the worst."""

    @property
    def known(self) -> float:
        """The share of true ones where a kind was given."""
        return self.true / max(self.true + self.false, 1e-9)


def measure(
    model: LanguageModel, nouns: Sequence[Noun], order: Order = HONEST, answers: int = 4, seed: int = 0
) -> Answers:
    """Ask a model about nouns.

    Args:
        model: whom to ask.
        nouns: about each of which it is asked.
        order: which verdicts are liked best.
        answers: to each question, drawn at temperature 1.
        seed: what is drawn follows from it.
    """
    given = [answer for each in ask(model, nouns, answers, seed) for answer in each]
    asked = [noun.question for noun in nouns for _ in range(answers)]
    return told([judge(question, answer.text) for question, answer in zip(asked, given, strict=True)], given, order)


def told(verdicts: Sequence[Verdict], answers: Sequence[Answer], order: Order = HONEST) -> Answers:
    """What was said, in shares.

    Args:
        verdicts: on each answer.
        answers: themselves.
        order: which verdicts are liked best.
    """
    count = Counter(verdicts)
    true, evasive, false, rude = (count[verdict] / len(verdicts) for verdict in Verdict)
    worth = float(np.mean([score(verdict, order) for verdict in verdicts]))
    return Answers(true, evasive, false, rude, float(np.mean([answer.ended for answer in answers])), worth)


def ask(model: LanguageModel, nouns: Sequence[Noun], answers: int = 1, seed: int = 0) -> list[list[Answer]]:
    """A model's answers about nouns: so many about each, drawn at temperature 1.

    Args:
        model: whom to ask.
        nouns: about each of which it is asked.
        answers: to each question.
        seed: what is drawn follows from it.
    """
    questions = [noun.question for noun in nouns for _ in range(answers)]
    given: list[Answer] = []
    for number, begin in enumerate(range(0, len(questions), AT_ONCE)):
        some = questions[begin : begin + AT_ONCE]
        filled = some + [questions[0]] * (AT_ONCE - len(some))
        given += generate(model, filled, TOKENS, Sampling(), seed + number * 1_000_003)[: len(some)]
    return [given[i : i + answers] for i in range(0, len(given), answers)]
