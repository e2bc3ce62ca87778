"""Labels as lines of JSON that training reads, and back: rankings, demonstrations.

A ranking is `{"prompt": …, "answers": […], "ranks": […]}`: 0 the best, equal numbers tie, null was not ranked. A
demonstration is `{"prompt": …, "answer": …}`. Both say who (`labeller`) and how long it took (`seconds`).
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from retorno.labels.database import Labelled, Labels, Taken
from retorno.labels.opening import LabelsError

KINDS = ("ranking", "demonstration", "chat")
IMPORTED = "imported"
"""The labeller of lines that name none."""


def rankings(labels: Labels) -> Iterator[dict[str, Any]]:
    """All rankings as records: of the ranking page, of blind comparisons, and of thumbs up and down in a chat."""
    for one in labels.labelled("ranking"):
        asked, said = one.query.content, one.label.content
        kept = {name: said[name] for name in ("ratings", "all_bad") if said.get(name)}
        models = {"models": asked["models"]} if asked.get("models") else {}
        yield {
            "prompt": asked["prompt"],
            "answers": asked["answers"],
            "ranks": said["ranks"],
            **kept,
            **models,
            **_by(one),
        }
    yield from _thumbs(labels.labelled("chat"))


def _thumbs(judged: Iterable[Labelled]) -> Iterator[dict[str, Any]]:
    """Of answers to the same prompt, those with a thumb up were preferred by this person to those with one down."""
    by_prompt: dict[tuple[str, str], list[Labelled]] = defaultdict(list)
    for one in judged:
        by_prompt[one.label.labeller, json.dumps(one.query.content["prompt"])].append(one)
    for several in by_prompt.values():
        ranks = [0 if one.label.content["thumb"] > 0 else 1 for one in several]
        if len(set(ranks)) == 2:
            yield {
                "prompt": several[0].query.content["prompt"],
                "answers": [one.query.content["answer"] for one in several],
                "ranks": ranks,
                **_by(several[-1]),
            }


def demonstrations(labels: Labels) -> Iterator[dict[str, Any]]:
    """All demonstrations as records: what was written or edited, and answers of a chat with a thumb up."""
    for one in labels.labelled("demonstration"):
        yield {"prompt": one.query.content["prompt"], "answer": one.label.content["answer"], **_by(one)}
    for one in labels.labelled("chat"):
        if one.label.content["thumb"] > 0:
            yield {"prompt": one.query.content["prompt"], "answer": one.query.content["answer"], **_by(one)}


def _by(one: Labelled) -> dict[str, Any]:
    seconds = {} if one.label.seconds is None else {"seconds": round(one.label.seconds, 1)}
    return {"labeller": one.label.labeller, **seconds}


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write records as lines of JSON, all of them or, when something goes wrong, none: how many."""
    beside = path.with_name(f".{path.name}.part")
    count = 0
    with beside.open("w", encoding="utf-8") as file:
        for count, record in enumerate(records, start=1):  # noqa: B007 (the last one is how many)
            # Half a surrogate cannot be written as UTF-8: such a line is ASCII.
            line = json.dumps(record, ensure_ascii=False)
            file.write((line if line.isascii() or _whole(line) else json.dumps(record)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return count


def _whole(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with the number of its line.

    Raises:
        LabelsError: when a line is no JSON object.
    """
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise LabelsError(f"{path}, line {number}: expected an object {{…}}, got {line.strip()[:60]}")
                yield number, record
        except json.JSONDecodeError as error:
            raise LabelsError(f"{path}, line {number}: no JSON ({error.msg}): each line is one object") from error
        except UnicodeDecodeError as error:
            raise LabelsError(f"{path}: not text in UTF-8 ({error.reason}): save it so") from error


def read_queries(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a file asks: prompts with answers to rank, and prompts alone.

    Of a file of rankings the answers are asked again, as of pairs (`chosen`, `rejected`); of demonstrations the prompt.

    Raises:
        LabelsError: when a line is neither, or there is none.
    """
    ranked, alone = [], []
    for number, record in read_records(path):
        where = f"{path}, line {number}"
        prompt = _prompt(record, where)
        if "chosen" in record and "rejected" in record:
            record = {**record, "answers": [record["chosen"], record["rejected"]]}
        if "answers" not in record:
            alone.append({"prompt": prompt})
            continue
        extra = {name: record[name] for name in ("scores", "models") if name in record}
        answers = _answers(record, where)
        for name, each in extra.items():
            if not isinstance(each, list) or len(each) != len(answers):
                raise LabelsError(f"{where}: {name} has one entry for each of the {len(answers)} answers")
        ranked.append({"prompt": prompt, "answers": answers, **extra})
    if not ranked and not alone:
        raise LabelsError(f'{path} has no lines: each is an object such as {{"prompt": "what is a heron?"}}')
    return ranked, alone


def take(labels: Labels, path: Path) -> Counter[str]:
    """Take rankings, pairs and demonstrations of a file into a database of labels: how many of each.

    What was taken before is not taken twice. Labels of people who are not named are of "imported"; where there are
    several of the same answers, of "imported 2", …

    Raises:
        LabelsError: when a line is neither of them.
    """
    taken: list[Taken] = []
    nameless: Counter[str] = Counter()
    for number, record in read_records(path):
        kind, asked, said = _label_of(record, f"{path}, line {number}")
        who = record.get("labeller")
        if who is None:
            key = json.dumps([kind, asked])
            nameless[key] += 1
            who = IMPORTED if nameless[key] == 1 else f"{IMPORTED} {nameless[key]}"
        taken.append(Taken(kind, asked, str(who), said, record.get("seconds")))
    labels.take(taken)
    return Counter(each.kind for each in taken)


def _label_of(record: dict[str, Any], where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    prompt = _prompt(record, where)
    match record:
        case {"chosen": str(chosen), "rejected": str(rejected)}:
            return "ranking", {"prompt": prompt, "answers": [chosen, rejected]}, {"ranks": [0, 1]}
        case {"answers": _, "ranks": list(ranks)}:
            answers = _answers(record, where)
            if len(ranks) != len(answers):
                raise LabelsError(f"{where}: {len(ranks)} ranks for {len(answers)} answers")
            if not all(rank is None or (type(rank) is int and rank >= 0) for rank in ranks):
                raise LabelsError(f"{where}: ranks are whole numbers from 0, the best, or null, got {ranks}")
            extra = {name: record[name] for name in ("ratings", "all_bad") if name in record}
            models = {"models": record["models"]} if "models" in record else {}
            return "ranking", {"prompt": prompt, "answers": answers, **models}, {"ranks": ranks, **extra}
        case {"answer": str(answer)}:
            return "demonstration", {"prompt": prompt}, {"answer": answer}
    raise LabelsError(
        f"{where}: neither a ranking (answers, ranks), a pair (chosen, rejected) nor a demonstration (answer); it has "
        f"{', '.join(map(str, record))}"
    )


def _prompt(record: Mapping[str, Any], where: str) -> str | list[dict[str, str]]:
    """A text, or messages of a conversation."""
    match prompt := record.get("prompt"):
        case str() if prompt:
            return prompt
        case [{"role": str(), "content": str()}, *_] if all(
            isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
            for each in prompt
        ):
            return [{"role": each["role"], "content": each["content"]} for each in prompt]
    raise LabelsError(
        f'{where}: "prompt" is a text or messages [{{"role": "user", "content": "…"}}], got {json.dumps(prompt)[:60]}'
    )


def _answers(record: Mapping[str, Any], where: str) -> list[str]:
    answers = record["answers"]
    if not isinstance(answers, list) or len(answers) < 2 or not all(isinstance(each, str) for each in answers):
        raise LabelsError(f"{where}: answers are a list of two texts or more")
    return answers
