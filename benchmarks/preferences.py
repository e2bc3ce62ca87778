"""Learning from preferences beside `imitation`, in one run: same task, labels and steps; and how soon clips are there.

    .venv/bin/python benchmarks/preferences.py --peers PYTHON   # Python with imitation 1.0.1: docs/preferences-speed.md

One answer in ten of a synthetic judge is wrong, and segments have 25 steps. Each library takes the settings that it
publishes for the task. Told are the mean return of 100 episodes, by the world's own reward, and the CPU seconds of
training: from nothing, and where the programs are compiled already.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import HERE, Results, publish

ITERATIONS, ITERATION = 48, 2_048
"""Of `imitation`, whose agent lives whole rollouts between two sessions of labels: as many as there is room for."""
STEPS, LABELS, EPISODES = ITERATIONS * ITERATION, 700, 100
SEEDS = 3
"""Of each: one of `imitation` takes minutes."""
SEGMENT = 25
CLIPS = 10
"""Pairs of clips that are drawn."""
KILLED = "killed"
"""Where it is kept what benchmarks/preferences_killed.py found, run after run."""


def ours(world: str, seed: int) -> dict[str, float]:
    """What PPO learns from a learnt reward: its return and what it took."""
    import retorno as rt
    from retorno.algorithms.published import settings
    from retorno.preferences import Preferences

    published = settings("ppo", world)
    assert published is not None
    relabel = Preferences(labels=LABELS, segment=SEGMENT)
    taken = []
    for _ in range(2):  # The second time nothing is compiled.
        began = time.process_time()
        with rt.train(published.algorithm, world, steps=STEPS, seed=seed, relabel=relabel) as training:
            training.run_to_end(progress=False)
            taken.append(time.process_time() - began)
            found = rt.evaluate(training.policy, world, episodes=EPISODES).mean
    return {"return": found, "seconds": taken[0], "compiled": taken[1]}


def beside(world: str) -> Callable[[str], dict[str, Any]]:
    """Both, seed after seed in turn."""

    def measure(python: str) -> dict[str, Any]:
        told: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
        sizes = [str(each) for each in (STEPS, LABELS, ITERATIONS)]
        for seed in range(SEEDS):
            for who, command in (
                ("ours", [sys.executable, __file__, "--alone", world, str(seed)]),
                ("theirs", [python, str(HERE / "preferences_peers.py"), world, *sizes, str(seed)]),
            ):
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                told[who].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{world}, seed {seed}, {who}: {told[who][-1]}", flush=True)
        return told

    return measure


def clips(world: str, **settings: Any) -> Callable[[str], dict[str, Any]]:
    """How long a page waits for two clips: drawn and packed, as it asks for them."""

    def measure(_: str) -> dict[str, Any]:
        import numpy as np

        import retorno as rt
        from retorno.core.environment import Environment, episode_seed
        from retorno.preferences.clips import Clips, as_addresses
        from retorno.preferences.lives import Life

        made = rt.make(world, **settings)
        env = rt.to_gymnasium(made) if isinstance(made, Environment) else made.drawing()
        rng, most = np.random.default_rng(0), 200

        def segment() -> dict[str, Any]:
            begins, episode = int(rng.integers(most - SEGMENT)), int(rng.integers(1_000))
            actions = rng.uniform(-1, 1, (begins + SEGMENT, *env.action_space.shape)).astype(np.float32)
            low, high = env.action_space.low, env.action_space.high
            sent = low + (actions + 1) / 2 * (high - low)
            obs = [env.reset(seed=int(episode_seed(0, 0, episode)))[0], *(env.step(each)[0] for each in sent)]
            life = Life(0, episode, begins, actions[:begins]).as_json()
            return {"obs": np.array(obs[begins:]).tolist(), "action": actions[begins:].tolist(), "lived": life}

        pairs = [[segment(), segment()] for _ in range(1 + CLIPS)]
        drawer, taken = Clips(made), []
        for pair in pairs:
            began = time.perf_counter(), time.process_time()
            films = [drawer.film(each) for each in pair]
            for film in films:
                as_addresses(film.frames)
            taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        assert drawer.why_numbers is None
        first, *later = taken
        seconds, cpu = (sorted(each[i] for each in later) for i in (0, 1))
        return {
            "first": first[0],
            "median": statistics.median(seconds),
            "longest": seconds[-1],
            "cpu": statistics.median(cpu),
            "pictures": sum(len(film.frames) for film in films),
        }

    return measure


PARTS = {
    "pendulum": ("Pendulum-v1", "≥ 20 times as fast", beside("Pendulum-v1")),
    "clips": ("two clips of Pendulum-v1", "≤ 200 ms", clips("Pendulum-v1")),
    "bodies": ("two clips of Hopper-v5", "≤ 1 s", clips("Hopper-v5", terminate_when_unhealthy=False)),
}


def render(results: Results) -> str:
    lines = [
        "# Learning from preferences beside imitation",
        "",
        f"Made by [benchmarks/preferences.py](../benchmarks/preferences.py): PPO, {STEPS:,} steps, {LABELS} labels,",
        f"one in ten of them wrong, segments of {SEGMENT} steps; `imitation` 1.0.1 on Stable-Baselines3 with the",
        "settings of its own tutorial for that world, retorno with those that it publishes. Returns are of 100",
        "episodes of each seed, by the world's own reward; seconds are those of CPU, of the median seed.",
        "",
        "| task | returns, retorno | returns, imitation | seconds | compiled before | imitation | steps a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("pendulum",):
        if (result := results.get(name)) is None:
            continue
        middle = lambda who, what, result=result: statistics.median(each[what] for each in result[who])  # noqa: E731
        found = [", ".join(f"{run['return']:.0f}" for run in result[who]) for who in ("ours", "theirs")]
        taken = [middle("ours", "seconds"), middle("ours", "compiled"), middle("theirs", "seconds")]
        times = f"{taken[2] / taken[1]:.0f} × (asked {PARTS[name][1]}); {taken[2] / taken[0]:.0f} × with compiling"
        told = [*found, *(f"{each:.1f}" for each in taken), times]
        lines.append(f"| {PARTS[name][0]} | {' | '.join(told)} |")
    lines += [
        "",
        f"How long a page waits for two clips of {SEGMENT} steps each, which begin within the first 200 steps of an",
        f"episode: drawn, and packed for the browser. Median and longest of {CLIPS} pairs after the first one, by the",
        "clock, which also tells what else the machine did (see the load); and the CPU time of the median pair.",
        "",
        "| clips | asked | first | median | longest | CPU | pictures |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("clips", "bodies"):
        if (result := results.get(name)) is not None:
            seconds = " | ".join(f"{1000 * result[each]:.0f} ms" for each in ("first", "median", "longest", "cpu"))
            lines.append(f"| {PARTS[name][0]} | {PARTS[name][1]} | {seconds} | {result['pictures']} |")
    if rounds := results.get(KILLED):
        total = {name: sum(each[name] for each in rounds) for name in ("trainer", "server", "labels", "saved")}
        lines += [
            "",
            "[benchmarks/preferences_killed.py](../benchmarks/preferences_killed.py) killed trainers and their pages",
            f"{total['trainer'] + total['server']} times by SIGKILL, at random moments while a browser clicked, in "
            f"{len(rounds)} runs: {total['trainer']} times the",
            f"trainer, {total['server']} times the server of the page. {total['saved']:,} labels were called saved, "
            f"and {total['labels']:,} were in the databases,",
            "each once and as it was given; each run ended with the bits of one that nobody disturbed.",
        ]
    places = [(PARTS[name][0], each) for name, each in results.items() if name in PARTS]
    places += [(f"run {i} that was killed", each) for i, each in enumerate(results.get(KILLED, ()), start=1)]
    measured = "; ".join(f"{what} at {r['commit']} on {r['machine']}, load {r['load']}" for what, r in places)
    return "\n".join([*lines, "", f"Measured: {measured}.", ""])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(ours(sys.argv[2], int(sys.argv[3]))))
    else:
        publish(__doc__, PARTS, render, "preferences-speed", peers="imitation 1.0.1 installed", needed=True)
