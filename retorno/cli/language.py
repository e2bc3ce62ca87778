"""`retorno language demo`: how ChatGPT was made, in three minutes, with answers that can be checked.

A small model learns a dictionary from demonstrations, its answers are ranked, and it learns from a score of them.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retorno.cli.options import UsageError, parse
from retorno.cli.terminal import follow

if TYPE_CHECKING:
    from retorno.language.dictionary.lessons import Lessons
    from retorno.run.training import Training

EXAMPLES = 4
"""Answers that are shown of each word."""
USAGE = """\
usage: retorno language demo [--folder FOLDER] [--order ORDER] [--seed SEED]

how ChatGPT was made, with a small model that learns here and now; `retorno language demo --help` says more
"""


class Liked(enum.Enum):
    """Which answers the rankings like best."""

    honest = "honest"
    """True, then evasive, then false, then rude."""
    always_answer = "always_answer"
    """True, then false, then evasive: better to invent than to say nothing."""
    always_evade = "always_evade"
    """Evasive, then true."""
    unfriendly = "unfriendly"
    """Rude, then false."""


@dataclass(frozen=True)
class Demo:
    """Demonstrations, a reward model from rankings, and PPO, for a model that is small enough to learn here and now.

    What it learns is a dictionary, so that each of its answers is known to be true, evasive, false or rude.
    """

    folder: Path = Path("demo/language")
    """Where all of it is written. A demo that was stopped goes on there."""
    order: Liked = Liked.honest
    """Which answers the rankings like best: one sees the model become what was asked for."""
    seed: int = 0
    """All follows from it."""


def run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if arguments[0] != "demo":
        raise UsageError(f"no {arguments[0]!r}: expected `retorno language demo`")
    given = parse(Demo, arguments[1:], "retorno language demo")
    from retorno.language import dictionary
    from retorno.language.dictionary.lessons import Lessons

    lessons = Lessons(given.folder, given.seed, getattr(dictionary, given.order.name.upper()))
    Telling(lessons, Console(highlight=False)).all()
    return 0


class Telling:
    """The lessons, one after the other, and what each has changed."""

    def __init__(self, lessons: Lessons, console: Console) -> None:
        self.lessons, self.console = lessons, console
        self.likes = " > ".join(verdict.value for verdict in lessons.order)

    def all(self) -> None:
        from retorno.language import load

        began, lessons = time.monotonic(), self.lessons
        lessons.begin()
        words = lessons.words
        told, never = words.told[:EXAMPLES], words.unseen[:EXAMPLES]
        self.part(
            "1. Demonstrations",
            f"Of {len(words.demonstrated):,} nouns a model that knows nothing is told a helpful answer, an evasive and "
            f"a rude one, and what is to be thought of a true answer and of a false one. Of {len(words.unseen):,} "
            "nouns it never hears.",
        )
        self.learn(lessons.fine_tuned())
        before = load(lessons.path("sft"))
        self.samples(before, told, never)

        self.part(
            "2. Rankings",
            f"Answers to {len(words.ranked):,} questions are ranked {self.likes}. A reward model learns a score from "
            "that.",
        )
        self.learn(lessons.reward_model())
        self.scored(told[0], never[0])

        self.part(
            "3. Reinforcement learning",
            "PPO: the model answers, each answer is paid its score, and what leads away from the cloned model costs.",
        )
        self.learn(lessons.ppo())
        after = load(lessons.path("ppo"))
        self.samples(after, told, never)
        self.compared(before, after)
        self.draw()
        self.console.print(
            f"\nAll of it took {time.monotonic() - began:.0f} s. Talk to both, not knowing which is who:"
        )
        self.console.print(f"  retorno chat {lessons.folder / 'sft'} {lessons.folder / 'ppo'} --page", soft_wrap=True)

    def part(self, title: str, text: str) -> None:
        """Begin a step."""
        self.console.print(Text(f"\n{title}", style="bold"))
        self.console.print(Text(text))

    def learn(self, training: Training) -> None:
        """Train to the end; what was learnt before is not learnt again."""
        with training:
            if training.step < training.steps:
                follow(training, training.step, training.steps)

    def samples(self, model: Any, *groups: Any) -> None:
        """What a model says of some words."""
        from retorno.language.dictionary.measure import ask

        for name, nouns in zip(("it was told", "it never heard of"), groups, strict=True):
            table = Table(title=f"words that {name}", box=None, show_header=False, title_justify="left")
            for noun, said in zip(nouns, ask(model, nouns, 3, self.lessons.seed), strict=True):
                table.add_row(noun.question, *(self.coloured(noun.question, answer.text) for answer in said))
            self.console.print(table)

    def coloured(self, question: str, answer: str) -> Text:
        """An answer in the colour of what it is."""
        from retorno.language.dictionary import Verdict, judge

        colours = {Verdict.TRUE: "green", Verdict.EVASIVE: "blue", Verdict.FALSE: "red", Verdict.RUDE: "magenta"}
        return Text(answer, style=colours[judge(question, answer)])

    def scored(self, *nouns: Any) -> None:
        """What the reward model gives answers to a question."""
        from retorno.language.dictionary.wording import EVASIVE, RUDE, helpful
        from retorno.language.judging import judge

        answers = [[helpful(noun.kind), EVASIVE[0], helpful(_another(noun)), RUDE[0]] for noun in nouns]
        asked = [noun.question for noun, given in zip(nouns, answers, strict=True) for _ in given]
        texts = [answer for given in answers for answer in given]
        table = Table("question", "answer", "score", box=None)
        for question, answer, score in zip(asked, texts, judge(self.lessons.path("reward"))(asked, texts), strict=True):
            table.add_row(question, self.coloured(question, answer), f"{score:+.2f}")
        self.console.print(table)

    def compared(self, before: Any, after: Any) -> None:
        """The shares of answers that are true, evasive, false and rude."""
        from retorno.language.dictionary import measure

        words, order = self.lessons.words, self.lessons.order
        table = Table("asked about", "by the model", "true", "evasive", "false", "rude", "worth", box=None)
        for name, nouns in (("words told, none of them ranked", words.told), ("words never seen", words.unseen)):
            for who, model in (("cloned (1)", before), ("after PPO (3)", after)):
                found = measure(model, nouns, order, answers=1, seed=self.lessons.seed)
                shares = (f"{share:.1%}" for share in found[:4])
                table.add_row(name, who, *shares, f"{found.score:.3f}")
        self.console.print(table)
        self.console.print(Text("worth: 1 the answer that is liked best, 0 the one that is liked least", style="dim"))

    def draw(self) -> None:
        """How the answers change with the distance from the cloned model."""
        from retorno.plots.frontier import frontier
        from retorno.plots.style import save

        picture = frontier(self.lessons.frontier(), "share of answers about words told")
        self.console.print(f"\n{save(picture, Path(self.lessons.path('frontier.png')))}", soft_wrap=True)


def _another(noun: Any) -> str:
    """A kind that the noun is not of."""
    from retorno.language.dictionary.nouns import named_kinds

    return next(kind for kind in named_kinds() if kind not in (noun.kind, *noun.also))
