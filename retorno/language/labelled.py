"""Files of texts as questions for people, and what they say elsewhere taken into a database of labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from retorno.labels import Taken
from retorno.language.records import TURNS, DataError, Source, Text, answer_of, asked_of, prompt_of, ranking_of, records

IMPORTED = "imported"
"""The labeller of records that name none."""

Prompt = str | list[dict[str, str]]
"""A text, or messages of a conversation."""


def questions(source: Source) -> tuple[list[dict[str, Any]], list[Prompt]]:
    """What a file asks people: prompts with answers to rank, and prompts alone.

    Of rankings and of pairs (`chosen`, `rejected`) the answers are asked again, of demonstrations the prompt.

    Args:
        source: a file, a folder of files, or records.

    Raises:
        DataError: when a record is neither.
    """
    ranked: list[dict[str, Any]] = []
    alone: list[Prompt] = []
    for where, record in records(source):
        if "answers" not in record and "chosen" not in record:
            alone.append(_prompt(asked_of(record, where), where))
            continue
        unranked = {"ranks": [None] * len(record["answers"])} if isinstance(record.get("answers"), list) else {}
        prompt, answers, _ = ranking_of({**unranked, **record}, where)
        asked = {"prompt": _prompt(prompt, where), "answers": _answers(answers, where)}
        for name in ("scores", "models"):
            if name in record:
                if not isinstance(record[name], list) or len(record[name]) != len(answers):
                    raise DataError(f"{where}: {name} has to have one entry for each of the {len(answers)} answers")
                asked[name] = record[name]
        ranked.append(asked)
    return ranked, alone


def taken(source: Source) -> Iterator[Taken]:
    """Rankings, pairs and demonstrations as labels that a database takes.

    Labels of people who are not named are of "imported"; where there are several of the same answers, of
    "imported 2", …

    Args:
        source: a file, a folder of files, or records.

    Raises:
        DataError: when a record is neither of them.
    """
    nameless: Counter[str] = Counter()
    for where, record in records(source):
        kind, asked, said = _label_of(record, where)
        who = record.get("labeller")
        if who is None:
            key = json.dumps([kind, asked])
            nameless[key] += 1
            who = IMPORTED if nameless[key] == 1 else f"{IMPORTED} {nameless[key]}"
        seconds = record.get("seconds")
        yield Taken(kind, asked, str(who), said, seconds if isinstance(seconds, int | float) else None)


def _label_of(record: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if "answers" in record or "chosen" in record:
        prompt, answers, ranks = ranking_of(record, where)
        asked = {"prompt": _prompt(prompt, where), "answers": _answers(answers, where)}
        asked |= {name: record[name] for name in ("models",) if name in record}
        extra = {name: record[name] for name in ("ratings", "all_bad") if name in record}
        return "ranking", asked, {"ranks": [None if rank < 0 else rank for rank in ranks], **extra}
    prompt, field = prompt_of(record, where)
    answer = answer_of(record, where)
    if field in TURNS and answer is None and not isinstance(prompt, str) and len(prompt) > 1:
        last: Any = prompt[-1]
        answer = last.get("content") if isinstance(last, Mapping) and last.get("role") == "assistant" else None
        prompt = prompt[:-1]
    if not isinstance(answer, str):
        raise DataError(
            f"{where} is neither a ranking (answers, ranks), a pair (chosen, rejected) nor a demonstration (answer, a "
            f"text); it has {', '.join(map(repr, record))}"
        )
    return "demonstration", {"prompt": _prompt(prompt, where)}, {"answer": answer}


def _prompt(prompt: Text, where: str) -> Prompt:
    """A prompt that people can read."""
    if isinstance(prompt, str) and prompt:
        return prompt
    if prompt and all(isinstance(x, Mapping) and _said(x.get("role")) and _said(x.get("content")) for x in prompt):
        return [{"role": each["role"], "content": each["content"]} for each in prompt]  # pyright: ignore
    raise DataError(
        f"{where} has the prompt {prompt!r:.60}: expected a text, or messages with role and content, for people to read"
    )


def _said(text: Any) -> bool:
    return isinstance(text, str)


def _answers(answers: list[Text], where: str) -> list[str]:
    if len(answers) < 2 or not all(isinstance(each, str) for each in answers):
        raise DataError(f"{where}: expected two answers or more, each a text for people to read")
    return [str(each) for each in answers]
