"""The helpful dictionary: a small world of language in which every answer can be checked.

"what is a heron?" WordNet tells the kinds of every noun, so that an answer is known to be true, evasive, false or
rude; demonstrations, rankings and rewards follow from that.
"""

from retorno.language.dictionary.judge import (
    ALWAYS_ANSWER,
    ALWAYS_EVADE,
    HONEST,
    UNFRIENDLY,
    Order,
    Verdict,
    asked,
    judge,
    rank,
    score,
)
from retorno.language.dictionary.measure import Answers, ask, measure
from retorno.language.dictionary.nouns import Noun, Words, kinds, nouns, split
from retorno.language.dictionary.tiny import untaught
from retorno.language.dictionary.wording import Demonstration, Ranking, demonstrations, rankings, second_thoughts

__all__ = [
    "ALWAYS_ANSWER",
    "ALWAYS_EVADE",
    "HONEST",
    "UNFRIENDLY",
    "Answers",
    "Demonstration",
    "Noun",
    "Order",
    "Ranking",
    "Verdict",
    "Words",
    "ask",
    "asked",
    "demonstrations",
    "judge",
    "kinds",
    "measure",
    "nouns",
    "rank",
    "rankings",
    "score",
    "second_thoughts",
    "split",
    "untaught",
]
