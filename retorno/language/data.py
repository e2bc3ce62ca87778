"""Texts to learn from: prompts, demonstrations and rankings, as `records` reads them, as worlds of tokens."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from gymnasium import spaces

from retorno.core.errors import RetornoError
from retorno.core.time_step import Only
from retorno.environments.recordings import Episode, Recorded, episode, ranked_episodes, recorded_episodes
from retorno.environments.registry import WorldName
from retorno.environments.text.prompts import Prompts
from retorno.environments.wrappers import Together
from retorno.language.architecture import Architecture
from retorno.language.model import ANSWERED, LanguageModel
from retorno.language.records import (
    ANSWER,
    TURNS,
    DataError,
    Record,
    Source,
    Text,
    answer_of,
    asked_of,
    is_database,
    lacks,
    prompt_of,
    ranking_of,
    records,
    text_of,
)
from retorno.language.stored import StoredModel
from retorno.language.tokenizer import Tokenizer

Model = str | StoredModel | LanguageModel
"""A model, or where it lies."""


class Piece(NamedTuple):
    """A stretch of a text."""

    tokens: list[int]
    free: bool
    """Whether it is an answer's, to be learnt; else it was given."""


@dataclass(frozen=True)
class Writer:
    """How a model's texts are made of tokens."""

    architecture: Architecture
    tokenizer: Tokenizer | None
    longest: int
    """Tokens of the longest text that is taken."""

    @classmethod
    def of(cls, model: Model, longest: int | None) -> Writer:
        """For a model, by whatever means it."""
        opened = StoredModel(model) if isinstance(model, str) else model
        most = opened.architecture.longest
        if longest is not None and not 2 <= longest <= most:
            raise DataError(f"longest={longest}: expected 2 to {most} tokens, the most this model was made for")
        return cls(opened.architecture, opened.tokenizer, longest or most)

    @property
    def space(self) -> spaces.Discrete:
        """Of the tokens."""
        return spaces.Discrete(self.architecture.vocabulary)

    def tokens(self, text: Text, where: str) -> list[int]:
        """The tokens of a text; of the messages of a conversation, with the beginning of an answer to them."""
        if isinstance(text, str):
            return self._encode(text, where)
        if text and isinstance(text[0], Mapping):
            return self._encode(self._chat(text, where, answer=True), where)  # pyright: ignore[reportArgumentType]
        size = self.architecture.vocabulary
        if not all(isinstance(token, int) and 0 <= token < size for token in text):
            raise DataError(f"{where} holds {text!r:.60}: expected a text, messages, or tokens 0 to {size - 1}")
        return list(text)  # pyright: ignore[reportReturnType]

    def prompt(self, text: Text, where: str) -> list[int]:
        """A prompt's tokens; an empty one is the token with which texts begin."""
        tokens, begin = self.tokens(text, where), self.architecture.begin
        if not tokens and begin is not None:
            return [begin]
        if not tokens:
            raise DataError(f"{where}: the prompt is empty, and this model has no token that begins a text")
        return tokens

    def answer(self, text: Text, where: str) -> list[int]:
        """An answer's tokens, with the one that ends it."""
        tokens, ends = self.tokens(text, where), self.architecture.ends
        if ends and (not tokens or tokens[-1] not in ends):
            tokens.append(ends[0])
        if not tokens:
            raise DataError(f"{where}: the answer is empty, and this model has no token that ends a text")
        return tokens

    def conversation(self, messages: Sequence[Mapping[str, str]], where: str) -> list[Piece]:
        """A whole conversation: what the assistant says in it is an answer, all else was given."""
        told, pieces = "", []
        ends = self.architecture.ends
        for number, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            before = self._chat(messages[:number], where, answer=True)
            after = self._chat(messages[: number + 1], where, answer=False)
            if not (before.startswith(told) and after.startswith(before)):
                raise DataError(
                    f"{where}: the chat template rewrites what was said before, so turns cannot be told apart"
                )
            pieces.append(Piece(self._encode(before[len(told) :], where), False))
            said = self._encode(after[len(before) :], where)
            end = next((i + 1 for i, token in enumerate(said) if token in ends), len(said))
            pieces += [Piece(said[:end], True), Piece(said[end:], False)]
            told = after
        if not pieces:
            raise DataError(f"{where}: no message has the role assistant, so there is nothing to learn")
        return [piece for piece in pieces[:-1] if piece.tokens]

    def _chat(self, messages: Sequence[Mapping[str, str]], where: str, answer: bool) -> str:
        if self.tokenizer is None:
            raise DataError(f"{where}: the model has no tokenizer, so a conversation has to be given as tokens")
        try:
            return self.tokenizer.chat(messages, answer)
        except RetornoError as error:
            raise DataError(f"{where}: {error}") from error

    def _encode(self, text: str, where: str) -> list[int]:
        if self.tokenizer is None:
            raise DataError(f"{where}: the model has no tokenizer, so texts have to be given as tokens")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise DataError(f"{where} holds half of a character (a lone surrogate): write it whole")
        return self.tokenizer.encode(text)


def prompt_tokens(source: Source, model: Model, *, longest: int | None = None) -> list[list[int]]:
    """The tokens of prompts.

    Args:
        source: a file, a folder of files, or records.
        model: whose tokens, by its name or folder.
        longest: tokens of the longest text; None for the most that the model was made for.

    Raises:
        DataError: when a record cannot be read; it names the line.
    """
    writer = Writer.of(model, longest)
    found = []
    for where, record in records(source):
        prompt = asked_of(record, where)
        found.append(_fitting([Piece(writer.prompt(prompt, where), False)], writer, where)[0].tokens)
    return found


def prompts(
    source: Source,
    model: Model,
    *,
    answer: int | None = None,
    every_turn: bool = False,
    longest: int | None = None,
    digest: str | None = None,
) -> Together:
    """Prompts to answer, as a world that pays nothing: a relabel judges the answers (`ModelScore`, `FunctionScore`).

    All begin together, so that a rollout of as many rows as its `rows` is one answer of each environment. A record may
    say under "then" what the other side says after each answer but the last: a list of texts, or of tokens.

    Args:
        source: a file, a folder of files, or records.
        model: whose tokens, by its name or folder.
        answer: how many tokens an answer has at most, the one that ends it included; None for 64, or as many as the
            longest prompt leaves room for.
        every_turn: whether of a recorded conversation each turn of the assistant is answered anew, while the others
            say what they said; else the last one alone.
        longest: tokens of the longest text, prompt and answer; None for the most that the model was made for.
        digest: of the prompts as they were, where that is known: others are refused.

    Raises:
        DataError: when a record cannot be read, or leaves no room for an answer; it names the line.
    """
    writer = Writer.of(model, longest)
    if answer is not None and not 1 <= answer <= writer.longest - 2:
        raise DataError(
            f"an answer of {answer} tokens: expected `answer` from 1 to {writer.longest - 2}, so that a prompt has room"
        )
    asked = [(where, _turns(record, writer, where, every_turn)) for where, record in records(source)]
    if answer is None:
        answer = max(min(ANSWERED, *((writer.longest - _length(turns)) // len(turns) for _, turns in asked)), 1)
    for where, turns in asked:
        if (room := _length(turns) + answer * len(turns)) > writer.longest:
            raise DataError(
                f"{where} would be {room} tokens long with its answers of {answer}, of {writer.longest} that a text "
                "may have: shorten it, leave it out, or give a smaller `answer` or a longer `longest`"
            )
    found = [turns for _, turns in asked]
    architecture = writer.architecture
    world = Prompts(
        [first for first, *_ in found], architecture.vocabulary, architecture.ends, answer, [then for _, *then in found]
    )
    settings = {"answer": answer, "every_turn": every_turn, "longest": longest}
    name = _name("prompts", (world.prompts, world.lengths), source, model, settings, digest)
    return replace(world.together(), named=name)


def _turns(record: Record, writer: Writer, where: str, every_turn: bool) -> list[list[int]]:
    """The tokens of all that others say in a record before an answer."""
    asked, field = prompt_of(record, where)
    if every_turn and field in TURNS:
        last = asked[-1]["role"] == "assistant"  # pyright: ignore[reportArgumentType,reportCallIssue,reportIndexIssue]
        said = [*asked, *([] if last else [{"role": "assistant", "content": "."}])]
        turns: list[list[int]] = [[]]
        for piece in writer.conversation(said, where):  # pyright: ignore[reportArgumentType]
            turns = [*turns, []] if piece.free else [*turns[:-1], turns[-1] + piece.tokens]
        turns = [turn for turn in turns if turn]
    else:
        then = record.get("then", [])
        if isinstance(then, str) or not isinstance(then, Sequence):
            raise DataError(f"{where}: then is {then!r:.60}: expected a list of what is said after each answer")
        turns = [writer.prompt(asked_of(record, where), where)]
        turns += [writer.tokens(text_of(turn, where, "then"), where) for turn in then]
    return turns


def _length(turns: Sequence[Sequence[int]]) -> int:
    return sum(map(len, turns))


def demonstrations(
    source: Source,
    model: Model,
    *,
    longest: int | None = None,
    held_out: float = 0.0,
    held: bool = False,
    until: float | None = None,
    digest: str | None = None,
) -> Recorded:
    """What an assistant should say, as a world of recordings: the loss of cloning it is on the answers alone.

    A record is a prompt with its answer, or a conversation under "messages", in which every turn of the assistant is
    an answer. Short texts share a column.

    Args:
        source: a file, a folder of files, a database of people's labels, or records.
        model: whose tokens, by its name or folder.
        longest: tokens of the longest text; None for the most that the model was made for.
        held_out: the share of the prompts that are not to be learnt from.
        held: whether these are meant.
        until: of a database the labels that stood at that time, in seconds since 1970; None for now, which a run
            records, so that it goes on with those it began with.
        digest: of the recordings as they were, where that is known: others are refused.

    Raises:
        DataError: when a record cannot be read, or is too long; it names the line.
    """
    writer = Writer.of(model, longest)
    until = time.time() if until is None and is_database(source) else until
    texts = []
    for where, record in records(source, ("demonstrations",), until):
        prompt, field = prompt_of(record, where)
        answer = answer_of(record, where)
        if field in TURNS and answer is None:
            pieces = writer.conversation(prompt, where)  # pyright: ignore[reportArgumentType]
        else:
            if answer is None:
                raise DataError(lacks(record, where, ANSWER))
            pieces = [Piece(writer.prompt(prompt, where), False), Piece(writer.answer(answer, where), True)]
        if _is_held(prompt, held_out) == held:
            texts.append(text_episode(_fitting(pieces, writer, where), writer))
    settings = {"longest": longest, "held_out": held_out, "held": held, "until": until}
    _require_some(texts, source)
    lengths = [len(text.steps.last) for text in texts]
    rows = max(*lengths, 4 * round(sum(lengths) / len(lengths)))  # Where all are about as long, several share one.
    world = recorded_episodes(texts, writer.space, writer.space, rows=rows)
    return _named(world, "demonstrations", source, model, settings, digest)


def rankings(
    source: Source,
    model: Model,
    *,
    longest: int | None = None,
    held_out: float = 0.0,
    held: bool = False,
    until: float | None = None,
    digest: str | None = None,
) -> Recorded:
    """Which answers to a prompt were preferred, as a world of recordings.

    A record is a prompt with its "answers" and their "ranks" (0 the best, equal ones tie, null not ranked), or with
    what was "chosen" and what was "rejected", as texts or as conversations.

    Args:
        source: a file, a folder of files, a database of people's labels, or records.
        model: whose tokens, by its name or folder.
        longest: tokens of the longest text; None for the most that the model was made for.
        held_out: the share of the prompts that are not to be learnt from.
        held: whether these are meant.
        until: of a database the labels that stood at that time, in seconds since 1970; None for now, which a run
            records, so that it goes on with those it began with.
        digest: of the recordings as they were, where that is known: others are refused.

    Raises:
        DataError: when a record cannot be read, or is too long; it names the line.
    """
    writer = Writer.of(model, longest)
    until = time.time() if until is None and is_database(source) else until
    groups: list[tuple[list[Episode], list[int]]] = []
    for where, record in records(source, ("rankings",), until):
        prompt, answers, ranks = ranking_of(record, where)
        if _is_held(prompt, held_out) != held or len({rank for rank in ranks if rank >= 0}) < 2:
            continue
        asked = Piece(writer.prompt(prompt, where), False)
        texts = [_fitting([asked, Piece(writer.answer(answer, where), True)], writer, where) for answer in answers]
        groups.append(([text_episode(pieces, writer) for pieces in texts], ranks))
    settings = {"longest": longest, "held_out": held_out, "held": held, "until": until}
    _require_some(groups, source)
    world = ranked_episodes(groups, writer.space, writer.space)
    return _named(world, "rankings", source, model, settings, digest)


def _is_held(prompt: Text, share: float) -> bool:
    """Whether a prompt is held out: always the same ones, whatever stands beside them."""
    number = hashlib.sha256(json.dumps(prompt, sort_keys=True, default=str).encode()).digest()
    return int.from_bytes(number[:8], "big") < share * 2**64


def _fitting(pieces: list[Piece], writer: Writer, where: str) -> list[Piece]:
    length = sum(len(piece.tokens) for piece in pieces)
    if length > writer.longest:
        raise DataError(
            f"{where} is {length} tokens long, of {writer.longest} that a text may have: shorten it, leave it out, or "
            "give a longer `longest`, up to what the model was made for"
        )
    return pieces


def text_episode(pieces: list[Piece], writer: Writer) -> Episode:
    """A text as it was written: row t shows token t, and the action on it is the next one."""
    tokens = np.array([token for piece in pieces for token in piece.tokens], np.int32)
    free = np.array([piece.free for piece in pieces for _ in piece.tokens])
    left = np.append(np.where(free[1:], -1, tokens[1:]), -1).astype(np.int32)
    ended = int(tokens[-1]) in writer.architecture.ends
    return episode(tokens, tokens[1:], terminated=ended, legal=Only(left))  # pyright: ignore[reportArgumentType]


def _named(
    world: Recorded, kind: str, source: Source, model: Model, settings: dict[str, Any], digest: str | None
) -> Recorded:
    """The world by which a run records it, where its texts lie in a file and its model is stored."""
    return replace(world, named=_name(kind, world.lived, source, model, settings, digest))


def _name(
    kind: str, arrays: Any, source: Source, model: Model, settings: dict[str, Any], digest: str | None
) -> WorldName | None:
    """Under which a run records a world of texts; None where these lie in no file, or the model is not stored."""
    found = hashlib.sha256()
    for array in jax.tree.leaves(arrays):
        found.update(np.asarray(array).tobytes())
    told = found.hexdigest()[:16]
    if digest not in (None, told):
        raise DataError(
            f"{source} holds other texts than when the run began with it (or the model another tokenizer): put back "
            "what was there, or begin another run"
        )
    stored = StoredModel(model) if isinstance(model, str) else model
    if not (isinstance(source, str | Path) and isinstance(stored, StoredModel)):
        return None
    place = Path(stored.model)
    where = str(place.resolve()) if place.exists() else stored.model
    given = {
        "source": str(source) if "://" in str(source) else str(Path(source).resolve()),
        "model": where,
        **settings,
        "digest": told,
    }
    settings = {name: value for name, value in given.items() if value not in (None, False, 0.0)}
    return WorldName(f"retorno.language:{kind}", settings=settings)


def _require_some(texts: Sequence[Any], source: Source) -> None:
    if not texts:
        raise DataError(f"{source!r:.80} leaves nothing to learn from: all is held out, or no answers are told apart")
