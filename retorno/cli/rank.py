"""`retorno rank FILE|MODEL`: a page in which people put answers in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from retorno.cli.options import UsageError, parse
from retorno.cli.pages import LabelsPlace, Port, is_run, labels_place, news_of, opened_labels, require_web, serve_pages
from retorno.core.hyperparameters import Count, NonNegative


@dataclass(frozen=True)
class Rank:
    """Open pages in which people rank answers, write demonstrations and, where there is a model, chat.

    The answers are those of a file, or are written by a model or run, of whose newest policy, for the prompts of a
    file. What people say is in a database before the page says so; `retorno labels` writes it as files, and
    `retorno train reward_model` and `dpo` read it.
    """

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|RUN|MODEL")]
    """Prompts with answers (JSONL, CSV, JSON), or what writes answers: a run over a language model, a model's folder, a
    GGUF file, smollm2 or tiny."""
    prompts: Path | None = None
    """What a model is asked: a file of prompts."""
    answers: Count = 4
    """To each prompt, 2 to 9."""
    judge: Path | None = None
    """A reward model's run: the page says how far people agree with it."""
    labels: LabelsPlace = None
    """Where labels are kept: a file, or postgresql://… The run's folder, or beside the file, where it is not said."""
    wanted: Count = 1
    """Labels of each question, of as many people."""
    tokens: Count = 64
    """That an answer may have."""
    temperature: NonNegative = 1.0
    """Of the answers."""
    port: Port = None
    """Of this machine; 8420 or one after it where it is not said."""


def run(arguments: list[str]) -> int:
    given = parse(Rank, arguments, "retorno rank")
    if not 2 <= given.answers <= 9:
        raise UsageError(f"--answers: two to nine can be ranked by keys, got {given.answers}")
    require_web()
    from retorno.language import Sampling
    from retorno.language.labelled import questions
    from retorno.language.records import SUFFIXES
    from retorno.web import Questions, Site
    from retorno.web.talking import ScoredBy, Talker

    path = Path(given.what).expanduser()
    texts = path.suffix.lower() in SUFFIXES or (path.is_dir() and not (path / "config.json").exists())
    if not texts and given.prompts is None:
        raise UsageError(f"what is {given.what} to be asked? Give --prompts FILE, or a file with prompts and answers")
    if texts and given.prompts is not None:
        raise UsageError(f"{given.what} is a file of texts: --prompts are for a model or run that writes answers")
    judge = None if given.judge is None else ScoredBy(str(given.judge))
    asked = path if texts else given.prompts
    assert asked is not None
    ranked, alone = questions(asked)
    labels = opened_labels(labels_place(given.labels, path if texts or is_run(path) else asked))
    prompts = [*(each["prompt"] for each in ranked), *alone]
    if texts:
        if judge is not None:
            for each in ranked:
                each["scores"] = judge.scores(each["prompt"], each["answers"])
        labels.keep_only("ranking", labels.add("ranking", ranked, given.wanted))
        models, made = (), None
    else:
        models = (Talker(given.what, given.tokens, Sampling(temperature=given.temperature)),)
        models[0].model  # noqa: B018 (what is wrong with it is said now)
        made = Questions(prompts, models, given.answers, judge, given.wanted)
        made.keep(labels)
    labels.keep_only("demonstration", labels.add("demonstration", [{"prompt": each} for each in prompts]))
    pages = ("rank", "write", "chat") if models else ("rank", "write")
    news = news_of(path, given.judge) if is_run(path) else None
    return serve_pages(Site(given.what, labels, models, made, pages, news), given.port, "rank")
