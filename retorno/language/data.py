"""Texts to learn from: prompts, demonstrations and rankings, from files or Python, as worlds of tokens.

A file holds one record a line (JSONL), a table (CSV), or a list (JSON); a folder holds such files. What the fields are
called differs between collections, so the usual names are all read; see `PROMPT`, `ANSWER` and `rankings`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from gymnasium import spaces

from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean
from retorno.core.time_step import Only
from retorno.environments.recordings import Episode, Recorded, episode, ranked_episodes, recorded_episodes
from retorno.environments.registry import WorldName
from retorno.environments.text.prompts import Prompts
from retorno.environments.wrappers import Together
from retorno.language.architecture import Architecture
from retorno.language.model import LanguageModel
from retorno.language.stored import StoredModel
from retorno.language.tokenizer import Tokenizer

PROMPT = ("prompt", "question", "instruction", "query", "messages", "conversations")
TURNS = ("messages", "conversations")
"""Fields of a prompt that may hold a whole conversation, its answers included."""
ROLES = {"human": "user", "gpt": "assistant"}
"""What some collections call those who speak."""
ANSWER = ("answer", "completion", "response", "output")
PAIR = ("chosen", "rejected")
MOST_RANKS = 127
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv")

Source = str | Path | Sequence[Mapping[str, Any]]
"""A file, a folder of files, or records."""
Model = str | StoredModel | LanguageModel
"""A model, or where it lies."""
Record = Mapping[str, Any]
Text = str | Sequence[int] | Sequence[Mapping[str, str]]
"""As a record holds one: words, tokens, or the messages of a conversation."""


class DataError(RetornoError, ValueError):
    """Texts that cannot be learnt from: the message names the file, the line and the field."""


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
    answer: int = 64,
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
        answer: how many tokens an answer has at most, the one that ends it included.
        every_turn: whether of a recorded conversation each turn of the assistant is answered anew, while the others
            say what they said; else the last one alone.
        longest: tokens of the longest text, prompt and answer; None for the most that the model was made for.
        digest: of the prompts as they were, where that is known: others are refused.

    Raises:
        DataError: when a record cannot be read, or leaves no room for an answer; it names the line.
    """
    writer = Writer.of(model, longest)
    if not 1 <= answer <= writer.longest - 2:
        raise DataError(f"answer={answer}: expected 1 to {writer.longest - 2} tokens, to leave room for a prompt")
    found = [_turns(record, writer, where, answer, every_turn) for where, record in records(source)]
    architecture = writer.architecture
    world = Prompts(
        [first for first, *_ in found], architecture.vocabulary, architecture.ends, answer, [then for _, *then in found]
    )
    settings = {"answer": answer, "every_turn": every_turn, "longest": longest}
    name = _name("prompts", (world.prompts, world.lengths), source, model, settings, digest)
    return replace(world.together(), named=name)


def _turns(record: Record, writer: Writer, where: str, answer: int, every_turn: bool) -> list[list[int]]:
    """The tokens of all that others say in a record before an answer; there is room for every answer."""
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
    room = sum(map(len, turns)) + answer * len(turns)
    if room > writer.longest:
        raise DataError(
            f"{where} would be {room} tokens long with its answers of {answer}, of {writer.longest} that a text may "
            "have: shorten it, leave it out, or give a smaller `answer` or a longer `longest`"
        )
    return turns


def prompts_of(source: Source) -> list[Text]:
    """Prompts as they are written, each once; of demonstrations and rankings what was asked.

    Args:
        source: a file, a folder of files, or records.

    Raises:
        DataError: when a record has none; it names the line.
    """
    found = {}
    for where, record in records(source):
        asked = asked_of(record, where)
        found.setdefault(json.dumps(asked), asked)
    return list(found.values())


def asked_of(record: Record, where: str) -> Text:
    """What a record asks: of a whole conversation all before the assistant's last turn."""
    chosen: Any = record.get("chosen")
    turns = _is_conversation(chosen) and "prompt" not in record
    asked: Any = text_of(chosen, where, "chosen")[:-1] if turns else prompt_of(record, where)[0]
    spoken = _is_conversation(asked)
    while _is_conversation(asked) and asked[-1]["role"] == "assistant":
        asked = asked[:-1]
    if spoken and not asked:
        raise DataError(f"{where} asks nothing: only the assistant speaks in it")
    return asked


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
                raise DataError(_lacks(record, where, ANSWER))
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


def records(
    source: Source, which: Sequence[str] = ("rankings", "demonstrations"), until: float | None = None
) -> Iterator[tuple[str, Record]]:
    """Each record, and where it stands: for messages.

    Args:
        source: a file, a folder of files, a database of labels, or records.
        which: of a database's labels.
        until: those of a database that stood at that time, in seconds since 1970.

    Raises:
        DataError: when there is none, or a file cannot be read.
    """
    if is_database(source):
        number = -1
        for number, record in enumerate(_labels(str(source), which, until)):
            yield f"{source}, record {number}", record
    elif isinstance(source, str | Path):
        number = -1
        for number, found in enumerate(itertools.chain.from_iterable(map(_read, _files(Path(source))))):  # noqa: B007
            yield found
    else:
        number = -1
        for number, record in enumerate(source):
            yield f"record {number}", record
    if number < 0:
        raise DataError(f"{source!r:.80} holds no records: expected one or more")


def is_database(source: Source) -> bool:
    """Whether texts are labels that people gave, in a database: a file that ends in .db, or a URL.

    >>> is_database("runs/words/labels.db"), is_database("postgresql://localhost/labels"), is_database("a.jsonl")
    (True, True, False)
    """
    return isinstance(source, str | Path) and (str(source).endswith(".db") or "://" in str(source))


def _labels(source: str, which: Sequence[str], until: float | None) -> Iterator[Record]:
    from retorno import labels  # The extra `web`: only who has labels needs it.

    if not labels.is_url(source) and not Path(source).exists():
        raise DataError(f"there is no {source}: expected a database of labels, as `retorno rank` makes it")
    opened = labels.Labels.open(source)
    try:
        for kind in which:
            yield from getattr(labels, kind)(opened, until)
    finally:
        opened.close()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        found = [file for file in found if file.name not in ("dataset_info.json", "dataset_dict.json", "state.json")]
        if not found:
            what = "arrow or parquet files, which are not read here: write" if _tables(path) else "no texts: expected"
            raise DataError(f"{path} holds {what} files that end in {', '.join(SUFFIXES)}")
        return found
    if not path.exists():
        raise DataError(f"there is no {path}: expected a file that ends in {', '.join(SUFFIXES)}, or a folder of such")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is none of the files that are read, which end in {', '.join(SUFFIXES)}")
    return [path]


def _tables(folder: Path) -> bool:
    return any(file.suffix in (".arrow", ".parquet") for file in folder.rglob("*"))


def _read(file: Path) -> Iterator[tuple[str, Record]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:  # Ends of lines within texts stay as they are.
            text = opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}; expected text in UTF-8") from error
    if file.suffix.lower() == ".csv":
        separator = max(",;\t", key=text.partition("\n")[0].count)
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        for record in lines:  # A text may have several lines, in quotes; the last of them is told.
            yield f"{file}, line {lines.line_num}", {name: x or None for name, x in record.items() if name}
        return
    if file.suffix.lower() == ".json":
        whole = _parsed(text, str(file))
        if not isinstance(whole, list):
            raise DataError(f"{file} holds a {type(whole).__name__}: expected a list of records")
        places: Iterable[tuple[str, Any]] = ((f"{file}, record {number}", x) for number, x in enumerate(whole))
    else:
        lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        places = ((where := f"{file}, line {number}", _parsed(line, where)) for number, line in lines)
    for where, record in places:
        if not isinstance(record, Mapping):
            raise DataError(f'{where} is {record!r:.60}: expected a record with fields, as in {{"prompt": …}}')
        yield where, record


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}") from error


def prompt_of(record: Record, where: str) -> tuple[Text, str]:
    """A record's prompt, and the field in which it stands."""
    for field in PROMPT:
        if (found := record.get(field)) is not None:
            more = record.get("input") if field == "instruction" else None
            return (f"{found}\n\n{more}" if more else text_of(found, where, field)), field
    raise DataError(_lacks(record, where, PROMPT))


def answer_of(record: Record, where: str) -> Text | None:
    """A record's answer; None where it has none."""
    found = next((field for field in ANSWER if record.get(field) is not None), None)
    return None if found is None else said_of(record[found], where, found)


def said_of(found: Any, where: str, field: str) -> Text:
    """An answer as a record holds it: where it is a turn of a conversation, what is said in it."""
    text = text_of(found, where, field)
    if not _is_conversation(text):
        return text
    if len(text) > 1 or text[0]["role"] != "assistant":  # pyright: ignore[reportArgumentType,reportCallIssue,reportIndexIssue]
        raise DataError(f"{where}: {field} holds {len(text)} messages: expected one, of the assistant")
    return text[0]["content"]  # pyright: ignore[reportArgumentType,reportCallIssue,reportIndexIssue]


def text_of(found: Any, where: str, field: str) -> Text:
    """A text as a record holds it: words, a number, tokens, or messages, in any of the usual spellings."""
    if isinstance(found, str):
        return found
    if isinstance(found, int | float) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, Sequence) and found and all(isinstance(each, Mapping) for each in found):
        return [_message(each, where, field) for each in found]
    if isinstance(found, Sequence) and all(isinstance(each, int) and not isinstance(each, bool) for each in found):
        return found
    raise DataError(f"{where}: {field} is {found!r:.60}: expected a text, messages, or tokens")


def _message(given: Mapping[str, Any], where: str, field: str) -> dict[str, str]:
    """A message with its role and what is said, as one text."""
    role, content = given.get("role", given.get("from")), given.get("content", given.get("value"))
    if isinstance(content, Sequence) and not isinstance(content, str):  # In parts.
        texts = [each.get("text") if isinstance(each, Mapping) else None for each in content]
        content = None if None in texts else "".join(texts)  # pyright: ignore[reportArgumentType,reportCallIssue,reportIndexIssue]
    if not (isinstance(role, str) and isinstance(content, str)):
        raise DataError(
            f"{where}: {field} holds the message {dict(given)!r:.80}: expected a role and its content, a text"
        )
    return {"role": ROLES.get(role, role), "content": text_of(content, where, field)}  # pyright: ignore[reportReturnType]


def _lacks(record: Record, where: str, fields: Sequence[str]) -> str:
    if empty := [field for field in fields if field in record]:
        return f"{where}: {empty[0]} is {record[empty[0]]!r}: expected a text, or tokens"
    near = did_you_mean(next((name for name in record if did_you_mean(name, fields)), ""), fields)
    return f"{where} has {', '.join(map(repr, record)) or 'no fields'}: expected one of {', '.join(fields)}{near}"


def ranking_of(record: Record, where: str) -> tuple[Text, list[Text], list[int]]:
    """A prompt, its answers, and the rank of each."""
    if all(record.get(field) is not None for field in PAIR):
        chosen, rejected = (text_of(record[field], where, field) for field in PAIR)
        if _is_conversation(chosen) and _is_conversation(rejected):
            if "prompt" not in record and chosen[:-1] != rejected[:-1]:
                raise DataError(f"{where}: chosen and rejected do not answer the same conversation")
            prompt = prompt_of(record, where)[0] if "prompt" in record else chosen[:-1]
            said: list[Any] = [chosen[-1], rejected[-1]]
            return prompt, _told_apart([each["content"] for each in said], [0, 1], where), [0, 1]
        return prompt_of(record, where)[0], _told_apart([chosen, rejected], [0, 1], where), [0, 1]
    prompt, answers, ranks = prompt_of(record, where)[0], record.get("answers"), record.get("ranks")
    if not (isinstance(answers, Sequence) and isinstance(ranks, Sequence)) or isinstance(answers, str):
        raise DataError(
            f"{where} has {', '.join(map(repr, record))}: expected answers and ranks, or chosen and rejected"
        )
    if len(answers) != len(ranks):
        raise DataError(f"{where} has {len(answers)} answers and {len(ranks)} ranks: expected one rank for each answer")
    order = [_rank(rank, ranks, where) for rank in ranks]
    return prompt, _told_apart([said_of(each, where, "answers") for each in answers], order, where), order


def _rank(rank: Any, ranks: Sequence[Any], where: str) -> int:
    """A rank as a number; −1 where there is none. Tables with holes write whole numbers with a point, and NaN."""
    if rank is None or rank != rank:
        return -1
    if isinstance(rank, bool) or not isinstance(rank, int | float) or rank != int(rank) or not 0 <= rank <= MOST_RANKS:
        raise DataError(
            f"{where}: ranks are {list(ranks)!r:.60}: expected 0 for the best and on, to {MOST_RANKS}, null where not "
            "ranked"
        )
    return int(rank)


def _told_apart(answers: list[Text], ranks: Sequence[int], where: str) -> list[Text]:
    """The same answers.

    Raises:
        DataError: when one answer is ranked twice, and not alike.
    """
    known: dict[str, int] = {}
    for answer, rank in zip(answers, ranks, strict=True):
        if rank >= 0 and known.setdefault(repr(answer), rank) != rank:
            raise DataError(
                f"{where} contradicts itself: the answer {answer!r:.40} is ranked {known[repr(answer)]} and {rank}. "
                "Rank it once, or leave this record out"
            )
    return answers


def _is_conversation(text: Any) -> bool:
    return isinstance(text, Sequence) and bool(text) and isinstance(text[-1], Mapping) and "content" in text[-1]


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
