"""Labels as records that training reads, and as lines of JSON: rankings, demonstrations.

A ranking is `{"prompt": …, "answers": […], "ranks": […]}`: 0 the best, equal numbers tie, null was not ranked. A
demonstration is `{"prompt": …, "answer": …}`. A comparison of two stretches of behaviour is `{"segments": [{"obs": …,
"action": …}, …], "share": …}`: 1 where the first is better, 0 the second, ½ alike, null cannot tell; of more it has
`ranks` as a ranking has, or `ratings`, the more the better. All say who (`labeller`) and how long it took (`seconds`).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from retorno.labels.database import Labelled, Labels

RANKED = ("ranking", "comparison")
"""Kinds of queries whose labels are ranks."""


def rankings(labels: Labels, until: float | None = None) -> Iterator[dict[str, Any]]:
    """All rankings as records: of the ranking page, of blind comparisons, and of thumbs up and down in a chat.

    Args:
        labels: where they are.
        until: those that stood at that time, in seconds since 1970; None for now.
    """
    for one in chain.from_iterable(labels.labelled(kind, until) for kind in RANKED):
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
    yield from _thumbs(labels.labelled("chat", until))


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


def demonstrations(labels: Labels, until: float | None = None) -> Iterator[dict[str, Any]]:
    """All demonstrations as records: what was written or edited, and answers of a chat with a thumb up.

    Args:
        labels: where they are.
        until: those that stood at that time, in seconds since 1970; None for now.
    """
    for one in labels.labelled("demonstration", until):
        yield {"prompt": one.query.content["prompt"], "answer": one.label.content["answer"], **_by(one)}
    for one in labels.labelled("chat", until):
        if one.label.content["thumb"] > 0:
            yield {"prompt": one.query.content["prompt"], "answer": one.query.content["answer"], **_by(one)}


def segments(labels: Labels, until: float | None = None) -> Iterator[dict[str, Any]]:
    """All comparisons of stretches of behaviour as records.

    Args:
        labels: where they are.
        until: those that stood at that time, in seconds since 1970; None for now.
    """
    for one in labels.labelled("segments", until):
        yield {"segments": one.query.content["segments"], **one.label.content, **_by(one)}


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
