"""Who writes answers for the pages, who scores them, and how questions are kept ready while people rank."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from retorno.labels import Labels
from retorno.web.shown import Prompt, harmless

BETWEEN = 0.05
"""Seconds between two looks at an answer that is being written."""
TRIES = 3
"""How often a model may repeat itself, times the answers that are wanted, before fewer are taken."""


@runtime_checkable
class Answering(Protocol):
    """A model that answers."""

    @property
    def name(self) -> str:
        """What a person knows it by."""
        ...

    def answer(self, prompt: Prompt, seed: int) -> Iterator[str]:
        """The pieces of an answer as it is written; closing the iterator ends it.

        It may be asked by several threads at once; where it cannot answer two, the second waits.
        """
        ...


@dataclass
class Said:
    """An answer under way, which its page looks at while a thread writes it."""

    text: str = ""
    failure: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    """Set, it ends the answer where it is."""

    def write(self, model: Answering, prompt: Prompt, seed: int) -> None:
        """Let the model write to its end, or until it is stopped."""
        try:
            with contextlib.closing(model.answer(prompt, seed)) as pieces:  # pyright: ignore[reportArgumentType]
                for piece in pieces:
                    if self.stop.is_set():
                        return
                    self.text += piece
        except Exception as error:
            self.failure = str(error) or type(error).__name__


async def streamed(
    model: Answering, prompt: Prompt, seed: int, show: Callable[[str], object], said: Said | None = None
) -> Said:
    """An answer, shown while it is written.

    Args:
        model: who writes.
        prompt: to what.
        seed: what is drawn follows from it.
        show: is given all that is written so far, again and again.
        said: what it is written into, so that somebody else can stop it.
    """
    said = said or Said()
    # A thread of its own: those that are shared wait for the database, and shall not wait for a model.
    writer = threading.Thread(target=said.write, args=(model, prompt, seed), daemon=True)
    writer.start()
    shown = None
    while writer.is_alive() or shown != said.text:
        if shown != said.text:
            shown = said.text
            show(harmless(shown))
        if said.stop.is_set():
            break  # The piece that is being written is not waited for.
        await asyncio.sleep(BETWEEN if writer.is_alive() else 0)
    return said


@runtime_checkable
class Judge(Protocol):
    """A reward model."""

    def scores(self, prompt: Prompt, answers: Sequence[str]) -> Sequence[float]:
        """How good each answer is; only their order counts."""
        ...


@dataclass
class Questions:
    """Rankings that are asked of people: prompts, each with answers that models write as they are needed."""

    prompts: Sequence[Prompt]
    models: Sequence[Answering]
    """The answers to a prompt are of each of them in turn."""
    answers: int = 4
    """K, to a prompt."""
    judge: Judge | None = None
    """Its scores are kept with the question, from before it knows what people say."""
    wanted: int = 1
    """Labels of a question, of as many people."""
    ahead: int = 3
    """Questions that are ready before somebody asks."""
    failure: str | None = field(default=None, init=False)
    """Why the last could not be made."""
    used_up: bool = field(default=False, init=False)
    """Whether all prompts were asked."""
    asleep: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _asked: set[str] | None = field(default=None, init=False, repr=False)

    def keep(self, labels: Labels) -> None:
        """Ask of what was made before only what belongs to one of these prompts; the others are gone."""
        ours, there = {json.dumps(prompt) for prompt in self.prompts}, labels.queries("ranking")
        labels.keep_only("ranking", [each.id for each in there if json.dumps(each.content["prompt"]) in ours])

    def fill(self, labels: Labels) -> int:
        """Make questions until so many are open or the prompts are used up: how many were made."""
        if self._asked is None:
            self._asked = {json.dumps(each.content["prompt"]) for each in labels.queries("ranking")}
        made = 0
        for number, prompt in enumerate(self.prompts):
            if json.dumps(prompt) in self._asked:
                continue
            if self.asleep.is_set() or labels.progress("ranking", "").open >= self.ahead:
                return made
            question = self.question(number)
            # Where the model always says the same there is nothing to rank; the prompt is used up.
            labels.add("ranking", [question], self.wanted if len(question["answers"]) > 1 else 0)
            self._asked.add(json.dumps(prompt))
            made += 1
        self.used_up = True
        return made

    def question(self, number: int) -> dict[str, Any]:
        """The question about one prompt: answers that differ, with the names of their models and their scores."""
        prompt, said, seed = self.prompts[number], {}, 0
        while len(said) < self.answers and seed < self.answers * TRIES:
            model = self.models[seed % len(self.models)]
            said.setdefault("".join(model.answer(prompt, number * self.answers * TRIES + seed)), model.name)
            seed += 1
        answers = list(said)
        scores = {} if self.judge is None else {"scores": [float(x) for x in self.judge.scores(prompt, answers)]}
        return {"prompt": prompt, "answers": answers, "models": [said[each] for each in answers], **scores}

    def work(self, labels: Labels, every: float = 0.5) -> None:
        """Keep questions ready until `asleep` is set. What goes wrong is kept, to be shown, and tried again."""
        while not self.asleep.is_set():
            try:
                self.fill(labels)
                self.failure = None
            except Exception as error:
                self.failure = str(error) or type(error).__name__
            self.asleep.wait(every)
