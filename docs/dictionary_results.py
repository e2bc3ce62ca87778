"""What each method makes of the helpful dictionary, over seeds: the shares of answers, for docs/results.md.

    python docs/dictionary_results.py                      # all methods, ten seeds: about 40 minutes of CPU
    python docs/dictionary_results.py ppo grpo --seeds 3   # the named ones
    python docs/dictionary_results.py --render             # only write the pages again

The runs lie in demo/dictionary/ (or --runs FOLDER) and go on where they were stopped; what was measured is kept in
docs/results/dictionary.json with its commit, and is not measured again. From there come the tables of docs/results.md,
docs/chatgpt.md and README.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_models import write_tables
from scipy.special import softmax

from retorno import language
from retorno.language import dictionary, judging
from retorno.language.dictionary.judge import Verdict, score
from retorno.language.dictionary.lessons import Lessons
from retorno.language.dictionary.measure import TOKENS, Answers, told
from retorno.language.dictionary.nouns import Noun, named_kinds
from retorno.language.dictionary.wording import EVASIVE, helpful
from retorno.ops.intervals import interval95
from retorno.plots.frontier import frontier
from retorno.plots.style import save

HERE = Path(__file__).parent
KEPT = HERE / "results" / "dictionary.json"
SEEDS, ANSWERS, BEST_OF = 10, 4, 8
PICTURE = "dictionary-frontier.png"
EXAMPLES = 4
"""Words of each kind whose answers are shown."""
SURE = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Above which probability of a kind it might be given."""
ASKED = {"told": "words told, none of them ranked", "unseen": "words never seen"}

Measured = dict[str, Any]
"""By whom was asked about."""


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


def reward_model(lessons: Lessons) -> Measured:
    """How often the better answer to a question has the higher score: true over false, true over evasive, evasive over
    false.
    """
    by, rng = judging.judge(lessons.path("reward")), np.random.default_rng(lessons.seed)

    def shares(nouns: Sequence[Noun]) -> list[float]:
        answers = []
        for noun in nouns:
            others = [kind for kind in named_kinds() if kind not in (noun.kind, *noun.also)]
            answers += [helpful(noun.kind), str(rng.choice(EVASIVE)), helpful(str(rng.choice(others)))]
        scores = by([noun.question for noun in nouns for _ in range(3)], answers)
        true, evasive, false = np.reshape(scores, (-1, 3)).T
        return [float(np.mean(x)) for x in (true > false, true > evasive, evasive > false)]

    return {whom: shares(nouns) for whom, nouns in asked(lessons).items()}


def sureness(lessons: Lessons) -> Measured:
    """What the cloned model could be worth if it gave the kind that it holds likeliest, and evaded wherever it is not
    surer of it than a threshold: by the best of policies, for each threshold the shares of true and false answers.
    """
    model, kinds = language.load(lessons.path("sft")), named_kinds()

    def shares(nouns: Sequence[Noun]) -> list[list[float]]:
        asked = [noun.question for noun in nouns for _ in kinds]
        found = judging.answer_log_probs(model, asked, [helpful(kind) for _ in nouns for kind in kinds])
        sure = softmax(found.reshape(len(nouns), -1), axis=1)
        given = [helpful(kinds[likeliest]) for likeliest in sure.argmax(axis=1)]
        true = np.array([dictionary.judge(n.question, x) is Verdict.TRUE for n, x in zip(nouns, given, strict=True)])
        return [[float(np.mean((sure.max(axis=1) > p) & each)) for each in (true, ~true)] for p in SURE]

    return {whom: shares(nouns) for whom, nouns in asked(lessons).items()}


def examples(lessons: Lessons) -> Measured:
    """What is answered about some words by the models of one seed: cloned, after PPO, and after PPO that may invent.

    A picture shows how the answers about words that were told change as PPO leads away from the cloned model.
    """
    save(frontier(lessons.frontier(), "share of answers about words told"), HERE / "images" / PICTURE)
    inventing = lessons.folder.with_name(f"always_answer-{lessons.seed}")
    models = [language.load(path) for path in (lessons.path("sft"), lessons.path("ppo"), inventing / "ppo")]
    return {
        whom: [
            [noun.question, *(answer for (answer,) in each)]
            for noun, *each in zip(nouns, *(_said(model, nouns, lessons.seed) for model in models), strict=True)
        ]
        for whom, nouns in ((whom, some[:EXAMPLES]) for whom, some in asked(lessons).items())
    }


def _said(model: language.LanguageModel, nouns: Sequence[Noun], seed: int) -> list[list[str]]:
    return [[answer.text for answer in each] for each in dictionary.ask(model, nouns, 1, seed)]


METHODS: dict[str, tuple[str, Callable[[Lessons], Measured]]] = {
    "sft": ("cloned from demonstrations", learnt("fine_tuned")),
    "ppo": ("PPO", learnt("ppo")),
    "grpo": ("GRPO", learnt("grpo")),
    "rloo": ("RLOO", learnt("rloo")),
    "dpo": ("DPO", learnt("dpo")),
    "best_of": (f"the best of {BEST_OF}", best_of),
    "always_answer": ("PPO, false answers ranked above evasive ones", learnt("ppo")),
}
"""By name: what it is called, and how it is measured."""
MORE: dict[str, tuple[str, Callable[[Lessons], Measured]]] = {
    "reward_model": ("the reward model", reward_model),
    "sureness": ("the cloned model's own sureness", sureness),
    "examples": ("answers of seed 0", examples),
}
"""Of which there are other tables."""


def measure(name: str, seed: int, runs: Path) -> dict[str, Any]:
    """One method, one seed; what stands before it is trained where it was not."""
    inventing = name == "always_answer"
    order = dictionary.ALWAYS_ANSWER if inventing else dictionary.HONEST
    lessons = Lessons(runs / f"{'always_answer-' * inventing}{seed}", seed, order)
    lessons.begin()
    for step in (lessons.fine_tuned, lessons.reward_model)[: 1 if name in ("sft", "sureness") else 2]:
        with step() as run:
            run.run_to_end(progress=False)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {"commit": commit.stdout.strip(), **(METHODS | MORE)[name][1](lessons)}


def table() -> list[str]:
    """The lines of docs/results.md."""
    kept = read()
    lines = [
        "## The helpful dictionary",
        "",
        "A model of 290,000 weights learns [a dictionary](dictionary.md) in the three steps of",
        "[how ChatGPT was made](chatgpt.md), from the same 4,800 ranked answers to 800 questions whatever the method;",
        "PPO, GRPO and RLOO write 48,000 tokens. Shares of the answers about 400 words whose kind was told and which",
        f"no ranking is about, and 533 words of which nothing was said, {ANSWERS} to each question at temperature 1",
        f"(of the best of {BEST_OF} one): mean over seeds and its 95% interval (Student's t). Worth is the mean",
        "rank of an answer, 1 where it is liked best, 0 where least: who always evades has .667 where true answers are",
        "liked best and evasive ones next. Made by `python docs/dictionary_results.py`.",
    ]
    for whom, title in ASKED.items():
        lines += ["", f"Asked about {title}:", "", *shares(kept, whom, METHODS)]
    lines += ["", f"![The shares of answers against the distance from the cloned model](images/{PICTURE})"]
    commits = sorted({one["commit"] for name in METHODS for one in kept.get(name, {}).values()})
    return [*lines, "", f"Measured at commit {', '.join(commits)}.", ""]


def shares(kept: dict[str, Any], whom: str, names: Iterable[str]) -> list[str]:
    """A table of shares of answers about some words, a line for each method that was measured."""
    lines = ["| | true | evasive | false | rude | worth | seeds |", "|---|---|---|---|---|---|---|"]
    for name in names:
        if each := list(kept.get(name, {}).values()):
            true, evasive, false, rude, _, worth = (_told(column) for column in np.array([one[whom] for one in each]).T)
            lines.append(f"| {METHODS[name][0]} | {true} | {evasive} | {false} | {rude} | {worth} | {len(each)} |")
    return lines


def scored(kept: dict[str, Any]) -> list[str]:
    """A table of how often the reward model is right."""
    lines = [
        "| asked about | true over false | true over evasive | evasive over false | seeds |",
        "|---|---|---|---|---|",
    ]
    for whom, title in ASKED.items():
        if each := list(kept.get("reward_model", {}).values()):
            columns = (_told(column) for column in np.array([one[whom] for one in each]).T)
            lines.append(f"| {title} | {' | '.join(columns)} | {len(each)} |")
    return lines


def surest(kept: dict[str, Any]) -> list[str]:
    """A table of what the best policy could be worth that knows no more than how sure the cloned model is."""
    lines = [
        "| answers where surer than | told: true | told: worth | never seen: true | never seen: false "
        "| never seen: worth | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    each = list(kept.get("sureness", {}).values())
    verdicts = (Verdict.TRUE, Verdict.FALSE, Verdict.EVASIVE)
    for number, p in enumerate(SURE if each else ()):
        given = {whom: np.array([one[whom][number] for one in each]) for whom in ASKED}
        worth = {
            whom: np.column_stack([shares, 1 - shares.sum(axis=1)]) @ [score(verdict) for verdict in verdicts]
            for whom, shares in given.items()
        }
        columns = (given["told"][:, 0], worth["told"], *given["unseen"].T, worth["unseen"])
        lines.append(f"| {p:.2f} | {' | '.join(map(_told, columns))} | {len(each)} |")
    return lines


def shown(kept: dict[str, Any], columns: Sequence[str], count: int = EXAMPLES) -> list[str]:
    """A table of answers, each with what it is."""
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    found = kept.get("examples", {}).get("0", {})
    for whom in ASKED:
        for question, *answers in [each[: 1 + len(columns)] for each in found.get(whom, [])[:count]]:
            told = [f"{answer} *{dictionary.judge(question, answer).value}*" for answer in answers]
            lines.append(f"| {question} | {' | '.join(told)} |")
    return lines


def render() -> None:
    """Write the tables into the pages."""
    kept = read()
    names = ("sft", "ppo", "always_answer")
    parts = {
        HERE / "chatgpt.md": {
            "reward model": scored(kept),
            "sureness": surest(kept),
            "told": shares(kept, "told", names),
            "never seen": shares(kept, "unseen", names),
            "answers": shown(kept, ("cloned (1)", "after PPO (3)", "after PPO that may invent")),
        },
        HERE.parent / "README.md": {"answers": shown(kept, ("cloned from demonstrations", "after PPO"), 2)},
    }
    for page, tables in parts.items():
        write_tables(page, "docs/dictionary_results.py", tables)
    subprocess.run([sys.executable, HERE / "results.py", "--render"], check=True)


def read() -> dict[str, Any]:
    """What was measured, by method and seed."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


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
    every = METHODS | MORE
    parser.add_argument("methods", nargs="*", help=f"of {', '.join(every)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("demo/dictionary"))
    parser.add_argument("--render", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.methods) - set(every):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    for seed in range(0 if given.render else given.seeds):
        for name in given.methods or every:
            kept = read()
            if str(seed) in kept.get(name, {}) or (name == "examples" and seed > 0):
                continue
            found = measure(name, seed, given.runs)
            kept.setdefault(name, {})[str(seed)] = found
            KEPT.write_text(json.dumps(kept, indent=1) + "\n")
            print(f"{name}, seed {seed}: {found}", flush=True)
    render()


if __name__ == "__main__":
    main()
