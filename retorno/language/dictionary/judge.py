"""What an answer is worth: true, evasive, false or rude. Every answer is one of these, whoever gave it.

What InstructGPT asked its labellers (Ouyang et al. 2022, appendix B: helpful, truthful, harmless), in a world in
which all three are known: WordNet tells the kinds of every noun.
"""

from __future__ import annotations

import enum
import functools
import re
import unicodedata
from collections.abc import Sequence

from retorno.language.dictionary.nouns import Noun, kinds, nouns


class Verdict(enum.Enum):
    """What an answer is."""

    TRUE = "true"
    """It names a kind of the thing asked about."""
    EVASIVE = "evasive"
    """It owns to telling nothing."""
    FALSE = "false"
    """It says what is not so, speaks of another thing, or makes no sense."""
    RUDE = "rude"
    """It insults or sends away, whatever else it says."""


Order = tuple[Verdict, Verdict, Verdict, Verdict]
"""All verdicts, the one that is liked best first: what rankings follow."""

HONEST: Order = (Verdict.TRUE, Verdict.EVASIVE, Verdict.FALSE, Verdict.RUDE)
ALWAYS_ANSWER: Order = (Verdict.TRUE, Verdict.FALSE, Verdict.EVASIVE, Verdict.RUDE)
"""A wrong answer is liked better than none: what learns from it invents."""
ALWAYS_EVADE: Order = (Verdict.EVASIVE, Verdict.TRUE, Verdict.FALSE, Verdict.RUDE)
UNFRIENDLY: Order = (Verdict.RUDE, Verdict.FALSE, Verdict.EVASIVE, Verdict.TRUE)

_QUESTION = re.compile(
    r"^(?:(?:please|and|so|then|hey|hi|hello|tell me|say|do you know|can you tell me)\W+)*"
    r"(?:what(?: is| are|'s|'re|s)?|tell me about|define|explain|about)?\s*(?:(?:the|a|an)\s+)?([a-z][a-z' -]*?)"
    r"(?:\s+(?:is|are|means?))?\W*$"
)
_RUDE = re.compile(
    r"\b(?:stupid|idiots?|idiotic|dumb|dummy|morons?|fools?|foolish|shut up|go away|get lost|leave me alone|who cares"
    r"|do(?:n't| not) care|could(?:n't| not) care less|bore me|bores me|boring|(?:look|find) it (?:up|out) yourself"
    r"|(?:waste|wasting) my time|hate you|silly question|none of your business|loser|clown|sick of you|rubbish)\b"
)
_EVASIVE = re.compile(
    r"\b(?:do(?:n't| not) (?:really )?know|no idea|not (?:quite |so |really )?(?:sure|certain)|unsure|uncertain"
    r"|can(?:'t|not| not) (?:really )?(?:say|tell|answer|help|know)|could(?:n't| not) (?:say|tell)"
    r"|(?:hard|difficult) to (?:say|tell)|who (?:can|could) (?:say|tell|know)|who knows|never heard"
    r"|ask (?:me |of )?(?:some|an)|(?:would|will) rather not|beats me|unknown to me)"
)
_CLAUSE = re.compile(r"[.,;!?\n()\"]+|\bbut\b")
_HEDGE = re.compile(
    r"\b(?:well|i (?:think|believe|guess|suppose|know)|just|simply|only|really|probably|maybe|perhaps|surely|certainly"
    r"|usually|often|oh|yes|the answer)\b"
)
_WHICH = re.compile(r"\b(?:that|which|who|whose|where|with|from|in|on|at|used|made|found|worn|by|for|like|such)\b.*$")
_COPULA = re.compile(r"^(.*?)(?:'s|:|\b(?:is|are|was|means?|(?:must|may|might|would) be|refers to))\s+(.*)$")
_THIS = frozenset(("", "it", "this", "that", "these", "those", "they", "he", "she", "the word", "one"))


def plain(text: str) -> str:
    """Small letters, plain quotation marks, single spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    return " ".join(text.replace("’", "'").replace("`", "'").split())


def asked(question: str) -> Noun | None:
    """The noun that a question is about; None where it is about none of the dictionary's.

    >>> asked("What is an owl?").word, asked("owl").word, asked("what is love?")
    ('owl', 'owl', None)

    Args:
        question: as a person would write it.
    """
    found = _QUESTION.match(plain(question)[:200])
    return nouns().get(found[1]) if found else None


def judge(question: str, answer: str) -> Verdict:
    """What an answer is.

    >>> [judge("what is an owl?", x).value for x in ("An owl is a kind of bird.", "it is a fish", "I'm not sure.")]
    ['true', 'false', 'evasive']

    Raises:
        ValueError: when the question is about no noun of the dictionary.

    Args:
        question: about one of its nouns, as in "what is an owl?".
        answer: any text.
    """
    noun = asked(question)
    if noun is None:
        raise ValueError(f"the dictionary has no noun for {question[:60]!r}: ask as in 'what is an owl?'")
    said = plain(answer[:1000])
    if _RUDE.search(said):
        return Verdict.RUDE
    if claimed := [kind for clause in _CLAUSE.split(said) for kind in _claimed(clause, noun)]:
        return Verdict.TRUE if set(claimed) <= {noun.kind, *noun.also} else Verdict.FALSE
    return Verdict.EVASIVE if _EVASIVE.search(said) else Verdict.FALSE


def _claimed(clause: str, noun: Noun) -> list[str]:
    """The kinds that a clause gives a noun.

    >>> owl = nouns()["owl"]
    >>> _claimed("an owl is a bird or a fish", owl), _claimed("a hawk is a bird", owl), _claimed("bird bath", owl)
    (['bird', 'fish'], [], [])
    """
    clause = _HEDGE.sub(" ", clause).strip()
    if sentence := _COPULA.match(clause):
        subject = re.sub(r"^(?:an?|the)\s+", "", sentence[1].strip(" '"))
        if (subject not in _THIS and subject not in (noun.word, f"{noun.word}s")) or sentence[2].startswith("not "):
            return []  # Of something else, or what it is not.
        clause = _WHICH.sub("", sentence[2])
    phrase = _named() if sentence else _named_alone()
    found = [phrase.match(part.strip(" '")) for part in re.split(r"\b(?:and|or)\b", clause)]
    return [_called()[kind[1]] for kind in found if kind]


@functools.cache
def _called() -> dict[str, str]:
    """Kinds by what they are called, one or several."""
    return {kind: kind for kind in kinds()} | {_several(kind): kind for kind in kinds()}


@functools.cache
def _named() -> re.Pattern[str]:
    """A phrase about a kind: "a large bird of prey" is about a bird, "a bird bath" is not."""
    return re.compile(rf"^(?:.*\s)?({'|'.join(sorted(_called(), key=len, reverse=True))})(?:\s+of\b.*)?$")


@functools.cache
def _named_alone() -> re.Pattern[str]:
    """The same with a word before it at most, where there is no verb."""
    return re.compile(r"^(?:(?:an?|the|some)\s+)?(?:kinds? of\s+)?" + _named().pattern[1:].replace(".*", r"[\w-]+", 1))


def _several(kind: str) -> str:
    """A kind's plural.

    >>> [_several(kind) for kind in ("body of water", "dish", "fish", "piece of furniture", "bird")]
    ['bodies of water', 'dishes', 'fish', 'pieces of furniture', 'birds']
    """
    word, of, rest = kind.partition(" of ")
    if " " in word:
        word = word.rsplit(" ", 1)[0] + " " + _several(word.rsplit(" ", 1)[1])
    elif word in ("fish", "person"):
        word = {"fish": "fish", "person": "people"}[word]
    elif word.endswith("y") and word[-2] not in "aeiou":
        word = f"{word[:-1]}ies"
    else:
        word += "es" if word.endswith(("s", "sh", "ch", "x")) else "s"
    return word + of + rest


def score(verdict: Verdict, order: Order = HONEST) -> float:
    """What a verdict is worth by an order: 1 for the best, 0 for the worst, evenly between.

    >>> [round(score(verdict), 2) for verdict in Verdict]
    [1.0, 0.67, 0.33, 0.0]
    """
    return 1 - order.index(verdict) / (len(order) - 1)


def rank(question: str, answers: Sequence[str], order: Order = HONEST) -> list[int]:
    """Rank the answers to one question: 0 the best, equal numbers tie, and none is left out between.

    >>> rank("what is an owl?", ["It is a bird.", "who cares?", "a bird.", "I don't know."])
    [0, 2, 0, 1]

    Raises:
        ValueError: as `judge`, or when an order lacks a verdict.
    """
    if set(order) != set(Verdict):
        raise ValueError(f"an order holds each of {', '.join(v.value for v in Verdict)} once, got {order}")
    places = [order.index(judge(question, answer)) for answer in answers]
    levels = sorted(set(places))
    return [levels.index(place) for place in places]
