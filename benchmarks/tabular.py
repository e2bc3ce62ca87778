"""Tabular learning beside a loop of plain Python over Gymnasium, in one run.

    make bench                                       # with the others
    .venv/bin/python benchmarks/tabular.py [NAME …]  # the named parts, some minutes for all

Ratios are medians of five pairs measured in turn (A B A B …), both sides warmed up. Results go to
docs/tabular-speed.json and docs/tabular-speed.md with the machine and the commit.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from deep import RETORNO, TWO_DEVICES
from measure import Worker, in_turn, publish, ratio, timed
from tabular_works import HOSTED

PAIRS = 5


def against(work: str, world: str, loop: str = "python", **environment: str) -> Callable[[], dict[str, Any]]:
    """The ratio of rates, ours over the loop's."""

    def measure() -> dict[str, Any]:
        script = "tabular_works.py"
        with (
            Worker(sys.executable, script, f"{work}_{world}", **environment) as mine,
            Worker(sys.executable, script, f"{loop}_{world}") as other,
        ):
            return ratio(*in_turn(mine.measure, other.measure, PAIRS))

    return measure


def figure() -> dict[str, Any]:
    """Seconds of the whole command for figure 2.2, after one that fills the cache of compiled programs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [RETORNO, "figure", "2.2", "--out", folder]
        timed(command)
        seconds = sorted(timed(command) for _ in range(PAIRS))
    return {"seconds": seconds[PAIRS // 2], "low": seconds[0], "high": seconds[-1], "runs": PAIRS}


def same_bits() -> dict[str, Any]:
    """How many of a hundred seeds learnt in one call the same table, to the bit, as each alone."""
    import retorno as rt
    from retorno.algorithms import QLearning

    equal, seeds = 0, 100
    for name in ("FrozenLake-v1", "CliffWalking-v1"):
        together = rt.train(QLearning(), name, 5_000, seed=range(seeds))
        together.run_to_end()
        for seed in range(seeds):
            alone = rt.train(QLearning(), name, 5_000, seed=seed)
            alone.run_to_end()
            tables = (t.run.learner.network.tables["q"] for t in (together, alone))
            equal += np.array_equal(np.asarray(next(tables))[seed], np.asarray(next(tables)))
    return {"equal": equal, "of": 2 * seeds}


PARTS: dict[str, tuple[str, str, Callable[[], dict[str, Any]]]] = {
    "one_lake": ("Q-learning, FrozenLake, one seed, over the loop", "≥ 22 (goal 30)", against("one", "lake")),
    "one_cliff": ("the same on the cliff", "≥ 22 (goal 30)", against("one", "cliff")),
    "hundred_lake": (
        "100 seeds in one call on two host devices, FrozenLake, over the loop",
        "≥ 100 (goal 150)",
        against("hundred", "lake", **TWO_DEVICES),
    ),
    "hundred_cliff": ("the same on the cliff", "≥ 100 (goal 150)", against("hundred", "cliff", **TWO_DEVICES)),
    **{
        f"hosted_{num_envs}_{world}": (
            f"{'one environment' if num_envs == 1 else f'{num_envs} environments'} of Gymnasium's own {name}, by "
            "seconds of CPU",
            "≥ 0.3" if num_envs == 1 else "≥ 0.8",
            against(f"hosted_{num_envs}", world, "loop"),
        )
        for world, name in HOSTED.items()
        for num_envs in (1, 16)
    },
    "figure": ("`retorno figure 2.2`, seconds", "≤ 6 (goal 3)", figure),
    "same_bits": ("seeds that are the same when run alone, to the bit", "all", same_bits),
}


def render(results: dict[str, dict[str, Any]]) -> str:
    """docs/tabular-speed.md."""
    lines = [
        "# How fast tables learn",
        "",
        "Made by `make bench` ([benchmarks/tabular.py](../benchmarks/tabular.py)): retorno beside a loop of plain",
        "Python with a NumPy table over Gymnasium's environment, in one run, in turn, warmed up; the median of the",
        "ratios pair by pair, with the least and the largest.",
        "",
        "| work | bar | measured | least to largest | ours | the loop's |",
        "|---|---|---|---|---|---|",
    ]
    for name, (title, bar, _) in PARTS.items():
        result = results.get(name)
        if result is None:
            continue
        if "pairs" in result:
            digits = 1 if result["ratio"] >= 10 else 3
            spread = f"{result['low']:.{digits}f} to {result['high']:.{digits}f}"
            sides = f"{result['mine']:,.4g} steps/s | {result['theirs']:,.4g} steps/s"
            lines.append(f"| {title} | {bar} | **{result['ratio']:.{digits}f}** | {spread} | {sides} |")
        elif "seconds" in result:
            spread = f"{result['low']:.2f} to {result['high']:.2f}"
            lines.append(f"| {title} | {bar} | **{result['seconds']:.2f}** | {spread} | | |")
        else:
            lines.append(f"| {title} | {bar} | **{result['equal']} of {result['of']}** | | | |")
    marks = sorted({f"{r['commit']} on {r['machine']}" for r in results.values()})
    return "\n".join([*lines, "", f"Measured at commit {'; '.join(marks)}.", ""])


if __name__ == "__main__":
    publish(__doc__, PARTS, render, "tabular-speed")
