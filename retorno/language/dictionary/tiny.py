"""The model that learns the dictionary from nothing: a small decoder and pieces of words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retorno.language.architecture import Architecture
from retorno.language.dictionary.nouns import Noun
from retorno.language.dictionary.wording import demonstrations
from retorno.language.model import LanguageModel, new
from retorno.language.tokenizer import Tokenizer, library

END = "<end>"
PIECES = 512
"""Tokens: the words that answers are made of, and pieces from which any other is put together."""
LETTERS = "abcdefghijklmnopqrstuvwxyz .,;:?!'-"
TEMPLATE = "{{ messages[-1]['content'] }}"
"""Of a conversation it reads the last question."""

TINY = Architecture(
    vocabulary=PIECES,
    width=128,
    layers=2,
    num_heads=4,
    key_heads=4,
    head_width=32,
    hidden=512,
    longest=64,
    tied=True,
    ends=(0,),
)
DEVIATION = 0.08
"""Of its first weights: 1 / √width, near enough. The usual .02 was found for models six times as wide."""


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
    said = [text for line in demonstrations(nouns) for text in (line["prompt"], line["answer"])]
    rules.train_from_iterator(said, trainer)
    return Tokenizer(rules, TEMPLATE, {"eos_token": END})


def untaught(nouns: Iterable[Noun], seed: int = 0) -> LanguageModel:
    """The model before any lesson.

    Args:
        nouns: those for which its tokens are made.
        seed: its weights follow from it.
    """
    return new(TINY, tokenizer(nouns), seed, DEVIATION)
