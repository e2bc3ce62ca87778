"""The exact solver, side by side with its peers, in one run.

    .venv/bin/python benchmarks/bellman.py --peers PYTHON [NAME …]    # the named parts, or all: ten minutes
    .venv/bin/python benchmarks/bellman.py --peers PYTHON --less 100  # models a hundred times smaller; keeps nothing

Every claim against a peer is the median of ratios of pairs measured in turn (A B A B …) in processes that
stand ready, warmed up with a smaller twin of the model. What every solver answers is compared with our
answer. Results go to docs/bellman-speed.json and docs/bellman-speed.md with the machine and the commit.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bellman_models import MODELS, WARM
from measure import HERE, ROOT, Worker, commit, in_turn, processor, ratio, timed

PYTHON = sys.executable
RETORNO = str(Path(PYTHON).parent / "retorno")
LIMIT = 120
"""Seconds that a peer may take for one solve; bellman_peers.py stops there."""
PICTURE = "images/bellman-growth.png"

Result = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of the benchmark: who the peers are, where models and answers are passed on, and how small."""

    peers: str
    folder: Path
    less: float

    def model(self, name: str) -> str:
        """Make sure that the model and its twin for warming up lie in the folder."""
        for file, less in ((name, self.less), (f"{name} warm", max(WARM[name], self.less))):
            if not (self.folder / f"{file}.npz").exists():
                MODELS[name](less).save(self.folder / f"{file}.npz")
        return name

    def worker(self, python: str, work: str) -> Worker:
        script = "bellman_works.py" if python == PYTHON else "bellman_peers.py"
        return Worker(python, script, work, BELLMAN_FOLDER=str(self.folder))

    def report(self, python: str, *work: object) -> Result:
        """What one work of ours, or of a peer's, has to say, in a process of its own."""
        script = "bellman_works.py" if python == PYTHON else "bellman_peers.py"
        done = subprocess.run(
            [python, str(HERE / script), *map(str, work)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BELLMAN_FOLDER": str(self.folder)},
        )
        return json.loads(done.stdout.splitlines()[-1])

    def facts(self, solver: str, model: str) -> Result:
        """What a worker wrote down beside its answers."""
        file = self.folder / f"{solver} {model}.json"
        return json.loads(file.read_text()) if file.exists() else {}


PEERS = {
    "quantecon_mpi": "QuantEcon, modified policy iteration",
    "quantecon_vi": "QuantEcon, value iteration",
    "quantecon_pi": "QuantEcon, policy iteration",
    "mdpsolver_mpi": "mdpsolver, modified policy iteration",
    "mdpsolver_gs": "mdpsolver, the same with Gauss–Seidel",
    "pymdptoolbox": "pymdptoolbox, modified policy iteration",
    "storm": "Storm, discounted total reward",
}


def solves(model: str, *peers: str) -> Callable[[Run], Result]:
    """Seconds of a solve against each peer's."""

    def measure(run: Run) -> Result:
        against = {peer: _against(run, run.model(model), peer) for peer in peers}
        with run.worker(PYTHON, f"retorno {model}") as mine:
            alone = sorted(mine.measure() for _ in range(3))[1]
        return {"peers": against, "alone": alone}

    return measure


def _against(run: Run, model: str, peer: str) -> Result:
    began = time.monotonic()
    try:
        with run.worker(run.peers, f"{peer} {model}") as theirs, run.worker(PYTHON, f"retorno {model}") as mine:
            began = time.monotonic()
            times = in_turn(theirs.measure, mine.measure, 1)
            # As many pairs as fit into twenty seconds, five at most.
            more = in_turn(theirs.measure, mine.measure, min(4, int(20 / (times[0][0] + times[1][0]))))
            result = ratio(*(a + b for a, b in zip(times, more, strict=True)))
    except RuntimeError:
        cannot = run.facts(peer, model).get("cannot") or (
            "ended" if time.monotonic() - began < LIMIT else f"> {LIMIT} s"
        )
        return {"cannot": cannot}
    value, own = (np.load(run.folder / f"{solver} {model}.npy") for solver in (peer, "retorno"))
    return {
        **result,
        "difference": float(np.abs(value - own).max()),
        "build": run.facts(peer, model)["build"],
        "own": run.facts("retorno", model),
    }


def memory(run: Run) -> Result:
    """Peak memory beyond the process's own, over the model's arrays."""
    run.model("garnet_1m")
    return {**run.report(PYTHON, "memory", "garnet_1m"), "peer": run.report(run.peers, "memory", "garnet_1m")}


def matrix_free(holes: float, cost: float) -> Callable[[Run], Result]:
    """A lake of ten million states that is not stored."""
    return lambda run: run.report(PYTHON, "matrix_free", run.less, holes, cost)


def sweeps(model: str) -> Callable[[Run], Result]:
    """A sweep over the time to read its bytes once."""
    return lambda run: run.report(PYTHON, "sweeps", run.model(model))


def building(run: Run) -> Result:
    """Seconds of making a model from arrays."""
    run.model("garnet_1m")
    peers = {name: run.report(run.peers, "build", name, "garnet_1m") for name in ("quantecon", "mdpsolver")}
    return {**run.report(PYTHON, "build", "garnet_1m"), "peers": peers}


def tiny(run: Run) -> Result:
    """Milliseconds of solving ten states."""
    with run.worker(PYTHON, "tiny") as mine, run.worker(run.peers, "tiny") as theirs:
        return ratio(*in_turn(theirs.measure, mine.measure, 7))


def cold(run: Run) -> Result:
    """Seconds of the whole command from a cold shell, the median of eleven."""
    seconds = sorted(timed([RETORNO, "solve", "student"]) for _ in range(11))
    return {"seconds": seconds[5], "low": seconds[0], "high": seconds[-1], "runs": 11}


def growth(run: Run) -> Result:
    """A garnet from a thousand states to ten million."""
    sizes = [n for n in (10**3, 10**4, 10**5, 10**6, 10**7) if n * run.less <= 10**7]
    return {"sizes": {str(n): run.report(PYTHON, "growth", n) for n in sizes}}


PARTS: dict[str, tuple[str, str, Callable[[Run], Result]]] = {
    "garnet_100k": (
        "Garnet, 100k states, 2M transitions",
        "≤ best peer (goal ≤ .10 s)",
        solves("garnet_100k", "quantecon_mpi", "quantecon_vi", "mdpsolver_mpi", "pymdptoolbox", "storm"),
    ),
    "garnet_1m": (
        "Garnet, 1M states, 20M transitions",
        "≤ best peer (goal 2 s)",
        solves("garnet_1m", "quantecon_mpi", "mdpsolver_mpi"),
    ),
    "lake": (
        "slippery lake 1000 × 1000, a fifth holes",
        "≤ 4 s (goal 2 s)",
        solves("lake", "quantecon_mpi", "mdpsolver_gs", "storm"),
    ),
    "lake_cost": ("the same, no holes, a step costs 1", "—", solves("lake_cost", "quantecon_mpi")),
    "chain": (
        "chain, 1M states, γ = .9999",
        "10 × ahead",
        solves("chain", "quantecon_mpi", "mdpsolver_gs"),
    ),
    "memory": ("peak memory of the Garnet of 1M states over its arrays", "≤ 1.3", memory),
    "matrix_free": ("lake, 10M states, a fifth holes, not stored", "≤ 120 s, 2 GB (goal 30 s)", matrix_free(0.2, 0.0)),
    "matrix_free_cost": ("the same, no holes, a step costs 1", "—", matrix_free(0.0, 1.0)),
    "sweep_garnet": ("a sweep of the Garnet of 1M states", "≤ 2 (goal 1.3)", sweeps("garnet_1m")),
    "sweep_lake": ("a sweep of the lake", "≤ 2 (goal 1.3)", sweeps("lake")),
    "build": ("building 20M transitions from arrays", "≤ .5 s", building),
    "tiny": ("ten states, the whole call after import", "≤ 1 ms", tiny),
    "cold": ("`retorno solve student` from a cold shell", "≤ 1 s", cold),
    "acceleration": ("Anderson acceleration of value iteration", "—", lambda run: run.report(PYTHON, "acceleration")),
    "growth": ("from 10³ to 10⁷ states", "—", growth),
}


def render(results: dict[str, Result]) -> str:
    """docs/bellman-speed.md."""
    lines = [
        "# How fast the exact solver is",
        "",
        "Made by [benchmarks/bellman.py](../benchmarks/bellman.py) (`make bench` runs it too): both sides in one run,",
        "in turn, warmed up with a smaller twin of the model; the median of the ratios pair by pair, with the least",
        "and the largest. γ = .99 and accuracy 1e-6 unless said otherwise; two cores for whoever uses them. Our times",
        "include the bounds on every state's value, which no peer gives. Peers: QuantEcon 0.11.4, mdpsolver 0.10.2,",
        "pymdptoolbox 4.0b3, Storm through stormpy 2.0.0, each asked for 1e-6; terminal states stay where they are for",
        f"no reward. A peer may take {LIMIT} s a solve.",
        "",
        "## Solving",
        "",
        "| model | bar | ours | best peer | theirs over ours | least to largest |",
        "|---|---|---|---|---|---|",
    ]
    solved = {name: results[name] for name in MODELS if name in results}
    for name, result in solved.items():
        title, bar, _ = PARTS[name]
        done = {peer: r for peer, r in result["peers"].items() if "ratio" in r}
        if not done:
            lines.append(
                f"| {title} | {bar} | **{_seconds(result['alone'])}** | none in {LIMIT} s | "
                f"**> {LIMIT / result['alone']:.0f}** | |"
            )
            continue
        best = min(done, key=lambda peer: done[peer]["mine"])
        r = done[best]
        lines.append(
            f"| {title} | {bar} | **{_seconds(r['theirs'])}** | {_seconds(r['mine'])}, {PEERS[best]} | "
            f"**{r['ratio']:.1f}** | {r['low']:.1f} to {r['high']:.1f} |"
        )
    lines += [
        "",
        "Every peer. Its construction comes before the solve and is not counted. The difference is the largest between",
        "its value of a state and ours.",
        "",
        "| model | solver | construction | its solve | ours | theirs over ours | pairs | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in solved.items():
        for peer, r in result["peers"].items():
            if "cannot" in r:
                lines.append(f"| {PARTS[name][0]} | {PEERS[peer]} | | {_cannot(r['cannot'])} | | | | |")
                continue
            lines.append(
                f"| {PARTS[name][0]} | {PEERS[peer]} | {_seconds(r['build'])} | {_seconds(r['mine'])} | "
                f"{_seconds(r['theirs'])}, {r['own']['method']} | {r['ratio']:.1f} | {r['pairs']} "
                f"| {r['difference']:.0e} |"
            )
    lines += ["", "## Memory, models that are not stored, and what a call costs", ""]
    lines += ["| work | bar | measured | more |", "|---|---|---|---|"]
    lines += [f"| {PARTS[n][0]} | {PARTS[n][1]} | {cells(results[n])} |" for n, cells in CELLS.items() if n in results]
    lines += [
        "",
        "The floor of a sweep is a compiled sum over the same arrays (columns, weights, rewards, values), each read",
        "once and in order. A sweep reads the values wherever the columns say: the dot product of the weights with",
        "the values so gathered, one long loop without states, actions or a maximum, is the floor beside it.",
    ]
    if "acceleration" in results:
        lines += [
            "",
            "## Acceleration",
            "",
            "Value iteration as it is and mixed from its last six sweeps (Anderson; Geist & Scherrer 2018), to the",
            "same bounds, beside what is chosen for the model. It saves sweeps where they mix slowly, but to find the",
            "mix costs more than the sweeps saved, and the methods that follow a model's shape are ahead of both: it",
            "is not built in. (For a policy's value `krylov` is its linear case: Walker & Ni 2011.) Best of three.",
            "",
            "| model | γ | value iteration | accelerated | chosen |",
            "|---|---|---|---|---|",
        ]
        for name, discount, plain, plain_sweeps, mixed, mixed_sweeps, mine in results["acceleration"]["rows"]:
            lines.append(
                f"| {name} | {discount:g} | {_seconds(plain)}, {plain_sweeps:,} sweeps | {_seconds(mixed)}, "
                f"{mixed_sweeps:,} sweeps | **{_seconds(mine)}** |"
            )
    if "growth" in results:
        lines += [
            "",
            "## Growth",
            "",
            f"![Seconds and memory against the number of states]({PICTURE})",
            "",
            "Garnets of 4 actions and 5 successors, as many threads as cores.",
            "",
            "| states | model | beyond the process's own memory | sweep | its read floor | to 1e-6 |",
            "|---|---|---|---|---|---|",
        ]
        for n, r in results["growth"]["sizes"].items():
            lines.append(
                f"| {int(n):,} | {r['model_mb']:,.1f} MB | {r['beyond_mb']:,.1f} MB | {_seconds(r['sweep'])} | "
                f"{_seconds(r['read'])} | {_seconds(r['solve'])} |"
            )
    marks = sorted({f"{r['commit']} on {r['machine']}" for r in results.values()})
    return "\n".join([*lines, "", f"Measured at commit {'; '.join(marks)}.", ""])


def _seconds(x: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if x >= size or unit == "µs":
            digits = max(0, 2 - math.floor(math.log10(max(x / size, 1e-9))))
            return f"{x / size:.{min(digits, 2)}f} {unit}"
    raise AssertionError


def _cannot(reason: str) -> str:
    """A reason as a cell of a table."""
    return reason if reason.startswith(">") else f"cannot: {' '.join(reason.split()).replace('|', '/')[:160]}"


def _memory_cell(r: Result) -> str:
    peer = r["peer"]
    return (
        f"**{r['ratio']:.2f}** | {r['model_mb']:.0f} MB of arrays; {r['base_mb']:.0f} MB before, "
        f"{r['loaded_mb']:.0f} loaded, {r['peak_mb']:.0f} at most; "
        f"QuantEcon {peer['base_mb']:.0f}, {peer['loaded_mb']:.0f}, {peer['peak_mb']:.0f}"
    )


def _matrix_free_cell(r: Result) -> str:
    return (
        f"**{r['seconds']:.1f} s, {r['mb']:.0f} MB** | {r['states']:,} states, {r['sweeps']} full sweeps, "
        "all of it compiled anew"
    )


def _sweep_cell(r: Result) -> str:
    one, two = r["one"], r["two"]
    return (
        f"**{one['ratio']:.2f}** ({one['low']:.2f} to {one['high']:.2f}) | {_seconds(one['sweep'])} over "
        f"{_seconds(one['read'])}, {one['gb']:.2f} GB, one thread each; {one['sweep'] / one['gather']:.2f} × their "
        f"dot product ({_seconds(one['gather'])}); two threads: {_seconds(two['sweep'])}, "
        f"{r['gain']:.2f} × as fast"
    )


def _build_cell(r: Result) -> str:
    peers = r["peers"]
    return (
        f"**{_seconds(r['seconds'])}** | rows with r(s, a), checked, probabilities "
        f"{'' if r['copied'] else 'not '}copied; `MDP(…)` of its own arrays {_seconds(r['arrays'])}; "
        f"QuantEcon {_seconds(peers['quantecon']['seconds'])}; "
        f"mdpsolver {_seconds(peers['mdpsolver']['seconds'])}, "
        f"after {_seconds(peers['mdpsolver']['lists'])} for nested lists"
    )


CELLS: dict[str, Callable[[Result], str]] = {
    "memory": _memory_cell,
    "matrix_free": _matrix_free_cell,
    "matrix_free_cost": _matrix_free_cell,
    "sweep_garnet": _sweep_cell,
    "sweep_lake": _sweep_cell,
    "build": _build_cell,
    "tiny": lambda r: (
        f"**{_seconds(r['theirs'])}** | QuantEcon {_seconds(r['mine'])}; theirs over ours {r['ratio']:.2f} "
        f"({r['low']:.2f} to {r['high']:.2f})"
    ),
    "cold": lambda r: f"**{_seconds(r['seconds'])}** | {_seconds(r['low'])} to {_seconds(r['high'])}, {r['runs']} runs",
}


def draw(sizes: dict[str, Result], path: Path) -> None:
    """Time and memory against states, with their floors: a byte of the model read once, and stored once."""
    from retorno.plots.style import INK, LINES, MUTED, panels, save, style

    states = np.array([int(n) for n in sizes])

    def power(x: float, _: object) -> str:
        return "10" + str(round(math.log10(x))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))

    def of(name: str) -> np.ndarray:
        return np.array([r[name] for r in sizes.values()])

    with style():
        figure, (left, right) = panels(9.5, 4.0, columns=2)
        left.loglog(states, of("solve"), "o-", color=LINES[1], label="to 1e-6, certified")
        left.loglog(states, of("sweep"), "o-", color=LINES[0], label="one sweep")
        left.loglog(states, of("read"), "--", color=MUTED, label="its bytes read once")
        left.set_title("seconds")
        right.loglog(states, np.maximum(of("beyond_mb"), 0.1), "o-", color=LINES[1], label="model and solve")
        right.loglog(states, of("model_mb"), "--", color=MUTED, label="the model's arrays")
        right.set_title("MB, beyond the process's own")
        for axes in (left, right):
            axes.xaxis.set_major_formatter(power)
            axes.yaxis.set_major_formatter(power)
            axes.set_xlabel("states (20 transitions each)")
            axes.legend(loc="upper left", labelcolor=INK)
        save(figure, path)


def main() -> None:
    """Measure the named parts, or all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python that has benchmarks/peers.txt installed")
    parser.add_argument(
        "--less", type=float, default=1.0, help="so many times fewer states, to try it out: keeps nothing"
    )
    parser.add_argument("names", nargs="*", choices=[[], *PARTS], help="parts to measure; all where none is named")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        docs = ROOT / "docs" if asked.less == 1 else Path(folder)
        kept = docs / "bellman-speed.json"
        results = json.loads(kept.read_text()) if kept.exists() else {}
        run = Run(asked.peers, Path(folder), asked.less)
        for name in asked.names or PARTS:
            title, bar, measure = PARTS[name]
            began = time.monotonic()
            result = measure(run)
            results[name] = {**result, "machine": f"{processor()}, {os.cpu_count()} cores", "commit": commit()}
            print(f"{title} (bar {bar}; {time.monotonic() - began:.0f} s): {json.dumps(result)}", flush=True)
            kept.write_text(json.dumps(results, indent=1) + "\n")
            if name == "growth":
                draw(result["sizes"], docs / PICTURE)
            page = render(results)
            (docs / "bellman-speed.md").write_text(page)
        if asked.less != 1:
            print(page)


if __name__ == "__main__":
    main()
