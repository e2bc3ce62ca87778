"""The model that learns the dictionary from nothing: a small decoder and pieces of words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retorno.language.architecture import Architecture
from retorno.language.dictionary.nouns import Noun
from retorno.language.dictionary.wording import END, demonstrations, second_thoughts
from retorno.language.model import LanguageModel, new
from retorno.language.tokenizer import Tokenizer, library

PIECES = 2048
"""Tokens: the words that answers are made of, and pieces from which any other is put together. The more there are, the
fewer a word takes and the sooner it is learnt; what was never heard of takes more than what was."""
LETTERS = "abcdefghijklmnopqrstuvwxyz .,;:?!'-"
TEMPLATE = (
    "{% if messages|length > 2 and 'what' not in messages[-1]['content']|lower %}"
    "{{ messages[-3]['content'] }} {{ messages[-2]['content'] }}" + END + "{% else %}"
    "{{ messages[-1]['content'] }}{% endif %}"
)
"""Of a conversation it reads the last question; where what came last asks nothing, as "really?", what it answered."""

TINY = Architecture(
    vocabulary=PIECES,
    width=64,
    layers=3,
    num_heads=4,
    key_heads=4,
    head_width=16,
    hidden=192,
    longest=64,
    tied=True,
    ends=(0,),
)
DEVIATION = 0.1
"""Of its first weights: near 1 / √width. The usual .02 was found for models twelve times as wide."""


def tokenizer(nouns: Iterable[Noun]) -> Tokenizer:
    """Pieces of words (byte pair encoding, Sennrich et al. 2016), as demonstrations about these nouns need them.

    Raises:
        ModelError: when the library `tokenizers` is not installed.

    Args:
        nouns: of which all that is said is written with few tokens; others take more.
    """
    tokenizers: Any = library("tokenizers")
    rules = tokenizers.Tokenizer(tokenizers.models.BPE())
    rules.normalizer = tokenizers.normalizers.Lowercase()
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always"),
            tokenizers.pre_tokenizers.Punctuation("isolated"),
        ]
    )
    rules.decoder = tokenizers.decoders.Metaspace(prepend_scheme="always")
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[END],
        initial_alphabet=list(LETTERS.replace(" ", "▁")),
        show_progress=False,
    )
    nouns = list(nouns)
    lines = demonstrations(nouns) + second_thoughts(nouns)
    said = [text.removesuffix(END) for line in lines for text in (line["prompt"], line["answer"])]
    rules.train_from_iterator(said, trainer)
    return Tokenizer(rules, TEMPLATE, {"eos_token": END})


def untaught(nouns: Iterable[Noun], seed: int = 0) -> LanguageModel:
    """The model before any lesson.

    Args:
        nouns: those for which its tokens are made.
        seed: its weights follow from it.
    """
    return new(TINY, tokenizer(nouns), seed, DEVIATION)
