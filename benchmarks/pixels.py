"""Learning from pixels, side by side with PyTorch, Stable-Baselines3 and gymnax, in one run.

    .venv/bin/python benchmarks/pixels.py --peers PYTHON [NAME …]

PYTHON has torch, MinAtar, stable-baselines3 and, beside jax, gymnax, flax and distrax.

All sides share one core, and rates are by seconds of CPU, so that other work on the machine weighs less; measured in
turn (A B A B …), both warmed up. Results go to docs/pixels-speed.json and docs/pixels-speed.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from measure import ROOT, Worker, in_turn, publish, ratio

PAIRS = 5


def beside(work: str, script: str = "pixels_peers.py") -> Callable[[str], dict[str, Any]]:
    """Our rate over the other's."""

    def measure(python: str) -> dict[str, Any]:
        with (
            Worker(sys.executable, "pixels_works.py", work) as mine,
            Worker(python, script, work) as theirs,
        ):
            return ratio(*in_turn(mine.measure, theirs.measure, PAIRS))

    return measure


def over(work: str, own: str) -> Callable[[str], dict[str, Any]]:
    """The rate of one work of ours over another's."""

    def measure(python: str) -> dict[str, Any]:
        with (
            Worker(sys.executable, "pixels_works.py", work) as one,
            Worker(sys.executable, "pixels_works.py", own) as other,
        ):
            return ratio(*in_turn(one.measure, other.measure, PAIRS))

    return measure


def once(work: str) -> Callable[[str], dict[str, Any]]:
    """A number that a work tells by itself."""

    def measure(python: str) -> dict[str, Any]:
        told = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "pixels_works.py"), work],
            capture_output=True,
            text=True,
            check=True,
        )
        return {"share": float(told.stdout)}

    return measure


PARTS: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "nature": (
        "one gradient step of DQN, Nature network, batch 32, in the compiled loop, over PyTorch's",
        "≥ 1.2 (goal 1.5)",
        beside("nature"),
    ),
    "dqn": (
        "MinAtar Breakout, DQN of Young & Tian, whole loop, over PyTorch on the `minatar` package",
        "≥ 5 (goal 10)",
        beside("dqn"),
    ),
    "pong_dqn": (
        "DQN on Pong, Nature network, whole loop, over Stable-Baselines3",
        "≥ 1.5 (goal 2.5)",
        beside("pong_dqn"),
    ),
    "pong_ppo": (
        "PPO on Pong, 8 environments, whole loop, over Stable-Baselines3",
        "≥ 1.5 (goal 2.5)",
        beside("pong_ppo"),
    ),
    "pqn": ("PQN on MinAtar Breakout, 128 environments, over our own DQN", "≥ 5 (goal 10)", over("pqn", "dqn")),
    "gymnax_mlp": (
        "PPO on MinAtar Breakout, 64 environments, two layers of 64, over PureJaxRL's loop on gymnax",
        "(none)",
        beside("gymnax_mlp", "pixels_gymnax.py"),
    ),
    "gymnax_cnn": (
        "the same with sixteen 3×3 kernels and a layer of 128",
        "(none)",
        beside("gymnax_cnn", "pixels_gymnax.py"),
    ),
    "replay": ("replay of 10⁶ screens, bytes over 84·84·10⁶", "≤ 1.05 (goal 1.02)", once("replay")),
    "bfloat16": (
        "the gradient step of DQN with layers computed in bfloat16, over our own in float32",
        "(none)",
        over("bfloat16", "nature"),
    ),
    "two_cores": (
        "PPO on Pong: all that a step takes over the longer of acting and learning, each on a core of its own",
        "(none)",
        once("two_cores"),
    ),
}


def render(results: dict[str, dict[str, Any]]) -> str:
    """docs/pixels-speed.md."""
    lines = [
        "# How fast it learns from pixels",
        "",
        "Made by [benchmarks/pixels.py](../benchmarks/pixels.py): retorno beside PyTorch, Stable-Baselines3 and",
        "gymnax, in turn, warmed up, on one core, by seconds of CPU; the median of the ratios pair by pair, the",
        "least and the largest.",
        "",
        "| work | bar | measured | least to largest | ours | the other's | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (title, bar, _) in PARTS.items():
        result = results.get(name)
        if result is None:
            continue
        if "share" in result:
            lines.append(f"| {title} | {bar} | **{result['share']:.4f}** | | | | |")
            continue
        spread = f"{result['low']:.2f} to {result['high']:.2f}"
        sides = f"{result['mine']:,.4g} a second | {result['theirs']:,.4g} a second"
        lines.append(f"| {title} | {bar} | **{result['ratio']:.2f}** | {spread} | {sides} | {result['pairs']} |")
    marks = sorted({f"{r['commit']} on {r['machine']}, load {r['load']}" for r in results.values()})
    lines += [
        "",
        "What both sides do depends on the processor. With AVX-512 one made 42.3 steps of the Nature network a",
        "second beside PyTorch's 28.9 (1.47, commit 5e9a0ff), and ratios of 3.46 for DQN on MinAtar, 1.61 for DQN and",
        "1.37 for PPO on Pong. Without it PyTorch's products lose less than XLA's: of a step's 79 ms the sums over",
        "12,800 and 2,592 rows that are the first two kernels' gradients take 18, at a quarter of the others' rate.",
        "Summed image by image they take 10 alone, but the whole step is 1.02 times as fast (20 pairs).",
    ]
    return "\n".join([*lines, "", f"Measured at commit {'; '.join(marks)}.", ""])


if __name__ == "__main__":
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    publish(__doc__, PARTS, render, "pixels-speed", peers="torch, MinAtar, stable-baselines3 and gymnax")
