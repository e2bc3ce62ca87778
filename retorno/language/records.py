"""Prompts, demonstrations and rankings as files, databases of labels or Python hold them.

A file holds one record a line (JSONL), a table (CSV), or a list (JSON); a folder holds such files. What the fields are
called differs between collections, so the usual names are all read; see `PROMPT`, `ANSWER` and `ranking_of`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean

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
Record = Mapping[str, Any]
Text = str | Sequence[int] | Sequence[Mapping[str, str]]
"""As a record holds one: words, tokens, or the messages of a conversation."""


class DataError(RetornoError, ValueError):
    """Texts that cannot be learnt from: the message names the file, the line and the field."""


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
        told = f"{source}" if isinstance(source, str | Path) else "what was given"
        raise DataError(f"{told:.80} holds no records: expected one or more")


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
    raise DataError(lacks(record, where, PROMPT))


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


def lacks(record: Record, where: str, fields: Sequence[str]) -> str:
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
