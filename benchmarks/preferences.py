"""Learning from preferences beside `imitation`, in one run: the same task, labels and steps.

    .venv/bin/python benchmarks/preferences.py --peers PYTHON   # Python with imitation 1.0.1: docs/preferences-speed.md

One answer in ten of a synthetic judge is wrong, and segments have 25 steps. Each library takes the settings that it
publishes for the task. Told are the mean return of 100 episodes, by the world's own reward, and the CPU seconds of
training, programs being compiled included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import HERE, Results, publish

STEPS, LABELS, EPISODES = 100_000, 700, 100
SEEDS = 3


def ours(world: str, seed: int) -> dict[str, float]:
    """What PPO learns from a learnt reward: its return and what it took."""
    import retorno as rt
    from retorno.algorithms.published import settings
    from retorno.preferences import Preferences

    published = settings("ppo", world)
    assert published is not None
    began = time.process_time()
    relabel = Preferences(labels=LABELS)
    with rt.train(published.algorithm, world, steps=STEPS, seed=seed, relabel=relabel) as training:
        training.run_to_end(progress=False)
        seconds = time.process_time() - began
        return {"return": rt.evaluate(training.policy, world, episodes=EPISODES).mean, "seconds": seconds}


def beside(world: str) -> Callable[[str], dict[str, Any]]:
    """Both, seed after seed in turn."""

    def measure(python: str) -> dict[str, Any]:
        told: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
        for seed in range(SEEDS):
            for who, command in (
                ("ours", [sys.executable, __file__, "--alone", world, str(seed)]),
                ("theirs", [python, str(HERE / "preferences_peers.py"), world, str(STEPS), str(LABELS), str(seed)]),
            ):
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                told[who].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{world}, seed {seed}, {who}: {told[who][-1]}", flush=True)
        return told

    return measure


PARTS = {"pendulum": ("Pendulum-v1", "≥ 20 times as fast", beside("Pendulum-v1"))}


def render(results: Results) -> str:
    lines = [
        "# Learning from preferences beside imitation",
        "",
        f"Made by [benchmarks/preferences.py](../benchmarks/preferences.py): PPO, {STEPS:,} steps, {LABELS} labels,",
        "one in ten of them wrong, segments of 25 steps; `imitation` 1.0.1 on Stable-Baselines3 with the settings of",
        "its own tutorial for that world, retorno with those that it publishes. Returns are of 100 episodes of each",
        "seed, by the world's own reward; seconds are those of CPU, compiling included.",
        "",
        "| task | returns, retorno | returns, imitation | seconds, retorno | seconds, imitation |",
        "|---|---|---|---|---|",
    ]
    for name, result in results.items():
        of = [(what, who) for what in ("return", "seconds") for who in ("ours", "theirs")]
        each = [", ".join(f"{run[what]:.0f}" for run in result[who]) for what, who in of]
        lines.append(f"| {PARTS[name][0]} | {' | '.join(each)} |")
    measured = "; ".join(f"{r['commit']} on {r['machine']}, load {r['load']}" for r in results.values())
    return "\n".join([*lines, "", f"Measured at commit {measured}.", ""])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(ours(sys.argv[2], int(sys.argv[3]))))
    else:
        publish(__doc__, PARTS, render, "preferences-speed", peers="imitation 1.0.1 installed", needed=True)
