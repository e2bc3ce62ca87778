"""Deep reinforcement learning, side by side with its peers, in one run.

    make bench                                                   # all of it, about half an hour
    .venv/bin/python benchmarks/deep.py --peers PYTHON [NAME …]  # the named parts

Every claim is the median of ratios of pairs measured in turn (A B A B …), both sides warmed up. Peers
run with the thread count that is fastest for them. Results go to docs/speed.json and docs/speed.md with
the machine and the commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import ROOT, Worker, in_turn, peak_memory, publish, ratio, timed

PYTHON = sys.executable
RETORNO = str(Path(PYTHON).parent / "retorno")
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}

QUIET = 5
"""A load up to which nothing else of weight ran."""


def against(work: str, peer: str, pairs: int) -> Callable[[str], dict[str, Any]]:
    """The ratio of rates, ours over the peer's."""

    def measure(python: str) -> dict[str, Any]:
        with Worker(PYTHON, "works.py", work) as mine, Worker(python, "peers.py", peer) as theirs:
            told = ratio(*in_turn(mine.measure, theirs.measure, pairs))
        return told | roofline(work, told["mine"])

    return measure


OPERATIONS = {
    **{work: work for work in ("sac", "td3", "tqc", "crossq", "droq", "dqn", "qrdqn")},
    "dqn_hosted": "dqn",
    "a2c_fused": "a2c",
    "a2c_hosted": "a2c",
}
"""Of which works it is counted what an environment step costs, and by which name."""


def roofline(work: str, rate: float) -> dict[str, Any]:
    """Which share it is of the rate of a matrix product, that a work has so many environment steps a second."""
    if work not in OPERATIONS:
        return {}
    with Worker(PYTHON, "works.py", f"operations_{OPERATIONS[work]}") as counting:
        each = counting.measure()
    with Worker(PYTHON, "works.py", "product") as product:
        most = product.measure()
    return {"operations": each, "product": most, "reached": rate * each / most}


def beside(first: str, second: str, pairs: int) -> Callable[[str], dict[str, Any]]:
    """The ratio of the rates of two works of our own."""

    def measure(python: str) -> dict[str, Any]:
        with Worker(PYTHON, "works.py", first) as one, Worker(PYTHON, "works.py", second) as other:
            return ratio(*in_turn(one.measure, other.measure, pairs))

    return measure


def ten_seeds(python: str) -> dict[str, Any]:
    """Ten seeds in one call on two host devices over single runs, one after the other."""
    with (
        Worker(PYTHON, "works.py", "ten_seeds", **TWO_DEVICES) as two,
        Worker(PYTHON, "works.py", "ppo_fused") as one,
    ):
        return ratio(*in_turn(two.measure, one.measure, 5))


def whole(warm: bool) -> Callable[[str], dict[str, Any]]:
    """Seconds of the whole command over the peer's: train 100,000 steps and evaluate 100 episodes."""

    def measure(python: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            kept = f"{folder}/cache"
            count = iter(range(1000))

            def mine() -> float:
                n = next(count)
                cache = kept if warm else f"{folder}/cache-{n}"
                command = [RETORNO, "train", "ppo", "CartPole-v1", "--steps", "100000", "--folder", f"{folder}/run-{n}"]
                return timed(command, RETORNO_CACHE=cache)

            if warm:
                mine()
            theirs = [python, str(ROOT / "benchmarks" / "peers.py"), "whole"]
            return ratio(*in_turn(mine, lambda: timed(theirs), 2))

    return measure


def start(*command: str) -> Callable[[str], dict[str, Any]]:
    """Seconds from a cold shell, the median of eleven."""

    def measure(python: str) -> dict[str, Any]:
        seconds = sorted(timed(command) for _ in range(11))
        return {"seconds": seconds[5], "low": seconds[0], "high": seconds[-1], "runs": 11}

    return measure


def memory_of_ppo(python: str) -> dict[str, Any]:
    """Peak resident memory of training PPO on CartPole, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [RETORNO, "train", "ppo", "CartPole-v1", "--steps", "20000", "--folder", f"{folder}/run"]
        return {"mb": peak_memory(command)}


def memory_of_replay(python: str) -> dict[str, Any]:
    """Peak memory of a million CartPole rows, beyond that of a small replay, over the size of its arrays."""
    works = [PYTHON, str(ROOT / "benchmarks" / "works.py")]
    arrays = float(subprocess.run([*works, "replay"], check=True, capture_output=True, text=True).stdout)
    # Twice, the second time without compiling, which takes more memory than either replay.
    large, small = (min(peak_memory([*works, name]) for _ in range(2)) for name in ("replay", "small_replay"))
    return {"ratio": (large - small) / arrays, "mb": large, "base_mb": small, "arrays_mb": arrays}


def growth(python: str) -> dict[str, Any]:
    """Steps a second of PPO from 1 to 4,096 native environments, 32 steps, 4 epochs, 4 minibatches."""
    rates = {}
    for num_envs in (1, 4, 16, 64, 256, 1024, 4096):
        with Worker(PYTHON, "works.py", f"ppo_{num_envs}") as worker:
            rates[str(num_envs)] = sorted(worker.measure() for _ in range(3))[1]
    return {"rates": rates}


PARTS: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "ppo_hosted": ("PPO, 8 × 32, 20 epochs, hosted, over SB3", "≥ 5 (goal 6)", against("ppo_hosted", "ppo", 5)),
    "ppo_fused": ("the same, fused, over SB3", "≥ 11 (goal 14)", against("ppo_fused", "ppo", 5)),
    "ppo_many": (
        "PPO, 1,024 × 32, 4 epochs, fused, over SB3's rate above",
        "≥ 55 (goal 70)",
        against("ppo_many", "ppo", 5),
    ),
    "dqn_sb3": ("DQN, one update of 64 a step, fused, over SB3", "≥ 5.3 (goal 6)", against("dqn", "dqn_sb3", 5)),
    "dqn_sbx": ("the same over SBX", "≥ 4 (goal 6)", against("dqn", "dqn_sbx", 5)),
    "dqn_hosted_sb3": ("DQN hosted over SB3", "≥ 3.5 (goal 4.5)", against("dqn_hosted", "dqn_sb3", 5)),
    "whole_cold": ("whole command, empty cache: its time over SB3's", "≤ .31 (goal .25)", whole(False)),
    "whole_warm": ("whole command, warm cache: its time over SB3's", "≤ .18 (goal .12)", whole(True)),
    "a2c_fused": ("A2C, 8 × 5, fused, over SB3", "≥ 20 (goal 40)", against("a2c_fused", "a2c", 5)),
    "a2c_hosted": ("the same, hosted, over SB3", "≥ 4 (goal 6)", against("a2c_hosted", "a2c", 5)),
    "qrdqn": ("QR-DQN, one update of 64 a step, fused, over sb3-contrib", "≥ 4 (goal 6)", against("qrdqn", "qrdqn", 5)),
    "recurrent": (
        "PPO with two LSTMs of 256, hosted, over sb3-contrib",
        "≥ 6 (goal 10)",
        against("recurrent", "recurrent", 3),
    ),
    "sac_sb3": (
        "SAC on Pendulum, an update of 256 a step, fused, over SB3",
        "≥ 2 (goal 2.5)",
        against("sac", "sac", 3),
    ),
    "sac_sbx": ("the same over SBX", "≥ 1.5 (goal 1.7)", against("sac", "sac_sbx", 3)),
    "td3_sb3": ("TD3, the same, over SB3", "≥ 2 (goal 2.5)", against("td3", "td3", 3)),
    "td3_sbx": ("the same over SBX", "≥ 1.4 (goal 1.7)", against("td3", "td3_sbx", 3)),
    "tqc_sbx": ("TQC, two critics, the same, over SBX", "≥ 1.3 (goal 1.6)", against("tqc", "tqc_sbx", 3)),
    "crossq_sbx": ("CrossQ, the same, over SBX", "≥ 1.3 (goal 1.6)", against("crossq", "crossq_sbx", 3)),
    "droq_sbx": ("DroQ, 20 updates a step, over SBX", "≥ 1.3 (goal 1.6)", against("droq", "droq_sbx", 3)),
    "sac_body": ("SAC on HalfCheetah, hosted, over SB3", "≥ 1.8 (goal 2.2)", against("sac_hosted", "sac_body", 3)),
    "sac_body_sbx": ("the same over SBX", "≥ 1.3 (goal 1.6)", against("sac_hosted", "sac_body_sbx", 3)),
    "ppo_bodies": (
        "PPO on 16 HalfCheetahs × 128, 10 epochs of batches of 64, over SB3",
        "≥ 4 (goal 6)",
        against("ppo_bodies", "ppo_bodies", 3),
    ),
    "pqn": ("PQN, 1,024 environments, over our PPO's rate", "≥ 2 (goal 4)", beside("pqn_many", "ppo_many", 5)),
    "evolution": (
        "ES on CartPole over a loop in Python, each on one core",
        "≥ 100 (goal 300)",
        beside("evolution", "evolution_in_python", 5),
    ),
    "draws": (
        "256 of a million windows drawn by priority: its time over a uniform draw's",
        "≤ 2 (goal 1.3)",
        beside("draws_uniform", "draws_prioritised", 7),
    ),
    "draws_judged": (
        "the same with new priorities after each draw",
        "—",
        beside("draws_uniform", "draws_judged", 7),
    ),
    "overhead": (
        "bare compiled update and collect of PPO over the whole loop, in rate",
        "≤ 1.1 (goal 1.05)",
        beside("bare", "loop", 7),
    ),
    "overhead_dqn": ("the same of DQN", "≤ 1.2 (goal 1.1)", beside("bare_dqn", "dqn", 7)),
    "ten_seeds": ("ten seeds on two host devices over one after the other", "≥ 1.7", ten_seeds),
    "help": ("`retorno --help`, seconds", "≤ .3", start(RETORNO, "--help")),
    "import": ("`import retorno`, seconds", "≤ .5", start(PYTHON, "-c", "import retorno")),
    "memory_ppo": ("peak memory of PPO on CartPole, MB", "≤ 500", memory_of_ppo),
    "memory_replay": ("memory of a million CartPole rows over their arrays", "≤ 1.2", memory_of_replay),
    "growth": ("PPO's rate from 1 to 4,096 environments", "—", growth),
}


def render(results: dict[str, dict[str, Any]]) -> str:
    """docs/speed.md."""
    lines = [
        "# How fast it is",
        "",
        "Made by `make bench` ([benchmarks/deep.py](../benchmarks/deep.py)): both sides in one run, in turn, warmed",
        "up; the median of the ratios pair by pair, with the least and the largest. Peers: Stable-Baselines3 2.9.2",
        "(PyTorch 2.13, one thread, which is its fastest here), sb3-contrib 2.9.0 and SBX 0.28, with the same settings",
        "and Gymnasium's worlds. Where a load is told so much other work ran beside it, and only ratios say something;",
        "where one core's time is, rates are by the seconds that both sides had of one and the same core. What is",
        "reached says how much is left: the floating-point operations of one step's acting and learning, as XLA counts",
        "them, times our rate, over what a product of two matrices of 1,024 × 1,024 has a second on the same machine.",
        "",
        "| work | bar | measured | least to largest | ours | theirs | pairs | reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (title, bar, _) in PARTS.items():
        result = results.get(name)
        if result is None or name == "growth":
            continue
        if "pairs" in result:
            spread = f"{result['low']:.2f} to {result['high']:.2f}"
            unit = " s" if name.startswith("whole") else "/s"
            beside = f", load {result['load']:.0f}" if result.get("load", 0) > QUIET else ""
            beside += ", one core's time" if result.get("by") == "processor" else ""
            reached = f"{result['reached']:.0%}" if "reached" in result else ""
            sides = f"{result['mine']:,.4g}{unit} | {result['theirs']:,.4g}{unit} | {result['pairs']}{beside}"
            lines.append(f"| {title} | {bar} | **{result['ratio']:.2f}** | {spread} | {sides} | {reached} |")
        elif "seconds" in result:
            spread = f"{result['low']:.3f} to {result['high']:.3f}"
            lines.append(f"| {title} | {bar} | **{result['seconds']:.3f}** | {spread} | | | {result['runs']} runs | |")
        else:
            value = result.get("ratio", result["mb"])
            more = f"{result['arrays_mb']:.0f} MB of arrays" if "arrays_mb" in result else ""
            lines.append(f"| {title} | {bar} | **{value:.3g}** | | {result['mb']:.0f} MB | {more} | | |")
    if "growth" in results:
        lines += ["", "PPO's rate as environments are added (native CartPole, 32 steps, 4 epochs, 4 minibatches):", ""]
        rates = results["growth"]["rates"]
        lines += ["| environments | " + " | ".join(rates) + " |", "|---" * (len(rates) + 1) + "|"]
        lines += ["| steps a second | " + " | ".join(f"{rate:,.0f}" for rate in rates.values()) + " |"]
    marks = sorted({f"{r['commit']} on {r['machine']}" for r in results.values()})
    return "\n".join([*lines, "", f"Measured at commit {'; '.join(marks)}.", ""])


if __name__ == "__main__":
    publish(__doc__, PARTS, render, "speed", peers="benchmarks/peers.txt installed", needed=True)
