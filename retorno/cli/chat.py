"""`retorno chat MODEL [MODEL]`: a conversation with a language model, or with two, blind, of which one is preferred."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.pages import LabelsPlace, Port, is_run, labels_place, news_of, opened_labels, require_web, serve_pages
from retorno.cli.sample import harmless
from retorno.cli.terminal import note
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval

if TYPE_CHECKING:
    from retorno.language import Conversation

HELP = "/regenerate another answer · /new another conversation · /quit"
PREFER = "better? a, b, = as good, - neither counts: "


@dataclass(frozen=True)
class Chat:
    """Talk to a language model on this disk; with two, see both answers without knowing whose, and prefer one.

    Ctrl-C ends an answer. What is preferred is written to a file of rankings at once, which `train` can learn from.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|RUN|FILE.gguf|smollm2")]
    """One model or two: a model folder, a run over one, a GGUF file, smollm2 or tiny."""
    system: str | None = None
    """What the model is told before the conversation."""
    tokens: Count = 256
    """How many an answer may have."""
    temperature: NonNegative = 1.0
    """Below 1 the likely becomes likelier; at 0 the likeliest token is taken."""
    top_k: Count | None = None
    """Draw among so many of the likeliest tokens."""
    top_p: UnitInterval | None = None
    """Draw among the likeliest tokens, as few as have this probability together."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""
    seed: int = 0
    """Of what is drawn."""
    votes: Path = Path("votes.jsonl")
    """Where it is written which of two answers was preferred: one ranking a line, added to what is there."""
    page: Flag = False
    """Talk in a page in the browser instead. Thumbs and choices are kept in a database: `retorno labels` writes them as
    files."""
    labels: LabelsPlace = None
    """Of the page, where they are kept: a file, or postgresql://… Where it is not said, the run's folder, or beside the
    model."""
    port: Port = None
    """Of the page; 8420 or one after it where it is not said."""


def run(arguments: list[str]) -> int:
    given = parse(Chat, arguments, "retorno chat")
    if len(given.models) not in (1, 2):
        raise UsageError(f"give one model to talk to, or two to compare, got {len(given.models)}")
    if given.page:
        return _page(given)
    from retorno import language

    sampling = language.Sampling(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    loaded = {name: language.load(name) for name in given.models}
    begun = [{"role": "system", "content": given.system}] if given.system else []

    def conversation(number: int) -> Conversation:
        model = loaded[given.models[number]]
        return language.Conversation(model, begun, given.tokens, sampling, given.seed + number, given.stop)

    note(HELP)
    if len(given.models) == 1:
        _talk(lambda: _One(conversation(0)))
    else:
        _talk(lambda: _Two((conversation(0), conversation(1)), given.models, given.votes, random.Random(given.seed)))
    return 0


def _page(given: Chat) -> int:
    """The same in a browser."""
    require_web()
    from retorno.language import Sampling
    from retorno.web import Site
    from retorno.web.talking import Talker

    sampling = Sampling(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    talkers = [Talker(each, given.tokens, sampling, given.stop, given.system) for each in given.models]
    for each in talkers:
        each.model  # noqa: B018 (what is wrong with it is said now)
    first = Path(given.models[0])
    about = first if first.exists() else Path(f"{given.models[0]}.chat")
    labels = opened_labels(labels_place(given.labels, about))
    news = news_of(first) if is_run(first) else None
    site = Site(" · ".join(each.name for each in talkers), labels, talkers, pages=("chat",), news=news)
    return serve_pages(site, given.port, "chat")


def _talk(begin: Callable[[], _One | _Two]) -> None:
    """Ask and answer until there is nothing more to ask."""
    from retorno.core.errors import RetornoError

    talk = begin()
    while (said := _asked("> ")) is not None:
        try:
            match said.strip():
                case "":
                    continue
                case "/quit":
                    return
                case "/new":
                    talk = begin()
                case "/regenerate":
                    talk.again()
                case command if command.startswith("/"):
                    note(HELP)
                case message:
                    talk.say(message)
        except RetornoError as error:
            note(str(error))


def _asked(prompt: str) -> str | None:
    """One line from the keyboard or a pipe; None at its end."""
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        if sys.stdin.isatty():
            print()
        return None


def _tell(pieces: Iterator[str]) -> None:
    """Show an answer as it is written, until its end or Ctrl-C."""
    with _closing(pieces):
        for piece in pieces:
            print(harmless(piece), end="", flush=True)
    print()


@contextmanager
def _closing(pieces: Any) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        pieces.close()


class _One:
    """A conversation with one model."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def say(self, message: str) -> None:
        _tell(self._conversation.say(message))

    def again(self) -> None:
        _tell(self._conversation.again())


class _Two:
    """A conversation with two models in an order that changes; it goes on with the answer that was preferred."""

    def __init__(
        self, both: tuple[Conversation, Conversation], names: tuple[str, ...], votes: Path, order: random.Random
    ) -> None:
        self._both, self._names, self._votes, self._order = both, names, votes, order

    def say(self, message: str) -> None:
        self._compare(lambda conversation: conversation.say(message))

    def again(self) -> None:
        self._compare(lambda conversation: conversation.again())

    def _compare(self, answer: Callable[[Conversation], Iterator[str]]) -> None:
        shown = [0, 1]
        self._order.shuffle(shown)
        for letter, which in zip("ab", shown, strict=True):
            print(f"{letter}: ", end="")
            _tell(answer(self._both[which]))
        # Asked until it is answered: nothing is guessed.
        while (said := _asked(PREFER)) is not None and said.strip() not in ("a", "b", "=", "-"):
            pass
        said = "-" if said is None else said.strip()
        answers = [self._both[which].messages[-1]["content"] for which in shown]
        if said != "-":
            ranks = {"a": [0, 1], "b": [1, 0], "=": [0, 0]}[said]
            _append(
                self._votes,
                {
                    "prompt": self._both[0].messages[:-1],
                    "answers": answers,
                    "ranks": ranks,
                    "models": [self._names[which] for which in shown],
                },
            )
            note(f"a was {self._names[shown[0]]}, b {self._names[shown[1]]}: kept in {self._votes}")
        preferred = answers[1 if said == "b" else 0]
        for conversation in self._both:
            conversation.messages[-1] = {"role": "assistant", "content": preferred}


def _append(file: Path, record: dict[str, Any]) -> None:
    """One line more; it is on the disk before anything else is told."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        lines.flush()
        os.fsync(lines.fileno())
