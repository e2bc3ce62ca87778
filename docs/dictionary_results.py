"""What each method makes of the helpful dictionary, over seeds: the shares of answers, for docs/results.md.

    python docs/dictionary_results.py                      # all methods, ten seeds; two hours on two cores
    python docs/dictionary_results.py ppo grpo --seeds 3   # the named ones
    python docs/results.py --render                        # write docs/results.md again

The runs lie in demo/dictionary/ (or --runs FOLDER) and go on where they were stopped; what was measured is kept in
docs/results/dictionary.json with the machine and the commit, and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retorno import language
from retorno.language import dictionary, judging
from retorno.language.dictionary.lessons import Lessons
from retorno.language.dictionary.measure import TOKENS, Answers, told
from retorno.language.dictionary.nouns import Noun
from retorno.ops.intervals import interval95

HERE = Path(__file__).parent
KEPT = HERE / "results" / "dictionary.json"
SEEDS, ANSWERS, BEST_OF = 10, 4, 8
ASKED = {"told": "words told, none of them ranked", "unseen": "words never seen"}

Measured = dict[str, list[float]]
"""By whom was asked about: the fields of `Answers`."""


def learnt(method: str) -> Callable[[Lessons], Measured]:
    """Train by a method and ask what was learnt."""

    def measured(lessons: Lessons) -> Measured:
        with getattr(lessons, method)() as run:
            run.run_to_end(progress=False)
        model = language.load(lessons.path({"fine_tuned": "sft"}.get(method, method)))
        return {
            whom: [*dictionary.measure(model, nouns, lessons.order, ANSWERS, lessons.seed)]
            for whom, nouns in asked(lessons).items()
        }

    return measured


def best_of(lessons: Lessons) -> Measured:
    """The best of eight answers of the cloned model, by the reward model."""
    model, by = language.load(lessons.path("sft")), judging.judge(lessons.path("reward"))

    def answers(nouns: Sequence[Noun]) -> Answers:
        questions = [noun.question for noun in nouns]
        given = language.best_of(model, questions, by, BEST_OF, tokens=TOKENS, seed=lessons.seed)
        verdicts = [dictionary.judge(q, answer.text) for q, answer in zip(questions, given, strict=True)]
        return told(verdicts, given, lessons.order)

    return {whom: [*answers(nouns)] for whom, nouns in asked(lessons).items()}


def asked(lessons: Lessons) -> dict[str, tuple[Noun, ...]]:
    """The words, by what was said of them."""
    return {"told": lessons.words.told, "unseen": lessons.words.unseen}


METHODS: dict[str, tuple[str, Callable[[Lessons], Measured]]] = {
    "sft": ("cloned from demonstrations", learnt("fine_tuned")),
    "ppo": ("PPO", learnt("ppo")),
    "grpo": ("GRPO", learnt("grpo")),
    "rloo": ("RLOO", learnt("rloo")),
    "dpo": ("DPO", learnt("dpo")),
    "best_of": (f"the best of {BEST_OF}", best_of),
    "always_answer": ("PPO, where false answers are ranked above evasive ones", learnt("ppo")),
}
"""By name: what it is called, and how it is measured."""


def measure(name: str, seed: int, runs: Path) -> dict[str, Any]:
    """One method, one seed; what stands before it is trained where it was not."""
    inventing = name == "always_answer"
    order = dictionary.ALWAYS_ANSWER if inventing else dictionary.HONEST
    lessons = Lessons(runs / f"{'always_answer-' * inventing}{seed}", seed, order)
    lessons.begin()
    for step in (lessons.fine_tuned, lessons.reward_model)[: 1 if name == "sft" else 2]:
        with step() as run:
            run.run_to_end(progress=False)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {"commit": commit.stdout.strip(), "cores": os.cpu_count(), **METHODS[name][1](lessons)}


def table() -> list[str]:
    """The lines of docs/results.md."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    lines = [
        "## The helpful dictionary",
        "",
        "A model of 290,000 weights learns [a dictionary](dictionary.md) in the three steps of",
        "[how ChatGPT was made](chatgpt.md), from the same 4,800 ranked answers to 800 questions whatever the method;",
        "PPO, GRPO and RLOO write 48,000 tokens. Shares of the answers about 400 words whose kind was told and which",
        f"no ranking is about, and 533 words of which nothing was said, {ANSWERS} to each question at temperature",
        f"1 (of the best of {BEST_OF} one): mean over seeds and its 95% interval (Student's t). Worth is the mean",
        "rank of an answer, 1 where it is liked best, 0 where least: who always evades has .667 where true answers are",
        "liked best and evasive ones next. Made by `python docs/dictionary_results.py`.",
    ]
    for whom, title in ASKED.items():
        lines += ["", f"Asked about {title}:", "", "| | true | evasive | false | rude | worth | seeds |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for name, (title, _) in METHODS.items():
            each = list(kept.get(name, {}).values())
            if each:
                numbers = np.array([one[whom] for one in each])
                true, evasive, false, rude, _, worth = (_told(column) for column in numbers.T)
                lines.append(f"| {title} | {true} | {evasive} | {false} | {rude} | {worth} | {len(each)} |")
    commits = sorted({one["commit"] for each in kept.values() for one in each.values()})
    return [*lines, "", f"Measured at commit {', '.join(commits)}.", ""]


def _told(values: np.ndarray) -> str:
    """A mean and its interval, as shares.

    >>> _told(np.array([0.5, 0.6]))
    '.550 (.000 to 1.000)'
    """
    short = lambda x: f"{min(max(x, 0.0), 1.0):.3f}".replace("0.", ".", 1)  # noqa: E731
    mean = short(float(values.mean()))
    if len(values) < 2:
        return mean
    low, high = interval95(values)
    return f"{mean} ({short(low)} to {short(high)})"


def main() -> None:
    """Measure what is not yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("demo/dictionary"))
    given = parser.parse_args()
    if unknown := set(given.methods) - set(METHODS):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    for seed in range(given.seeds):
        for name in given.methods or METHODS:
            kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
            if str(seed) in kept.get(name, {}):
                continue
            found = measure(name, seed, given.runs)
            kept.setdefault(name, {})[str(seed)] = found
            KEPT.write_text(json.dumps(kept, indent=1) + "\n")
            shares = {whom: [round(x, 3) for x in found[whom]] for whom in ASKED}
            print(f"{name}, seed {seed}: {shares}", flush=True)


if __name__ == "__main__":
    main()
