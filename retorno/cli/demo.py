"""`retorno demo`: what retorno promises, shown in about a minute.

An exact answer; a learner held against it; a deep learner evaluated with an interval; the same
training killed half-way and resumed to the same bits; pictures and one page of all of it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from retorno import bellman
from retorno.algorithms import QLearning
from retorno.algorithms.published import settings
from retorno.cli.inspect import look
from retorno.cli.options import parse
from retorno.cli.solve import text_map
from retorno.cli.terminal import follow
from retorno.cli.train import told_settings
from retorno.core.errors import RetornoError
from retorno.core.solution import Solution
from retorno.environments.registry import make
from retorno.environments.textbook.toy_text import toy_text
from retorno.policies import Epsilon
from retorno.run import checkpoint
from retorno.run.evaluate import evaluate
from retorno.run.folder import CONFIG, read_metrics
from retorno.run.oracle import Regret, regret
from retorno.run.train import train
from retorno.run.training import Training

LAKE, CART = "FrozenLake-v1", "CartPole-v1"
DISCOUNT = 0.99
SEEDS = range(30)
LAKE_STEPS = 100_000
LEARNER = QLearning(step_size=0.2, step_size_end=0.005, exploration=Epsilon(0.3), discount=DISCOUNT)
CART_EVERY = 4_000
SOLVED = 475.0
"""The return at which Gymnasium calls CartPole-v1 solved."""
POLL_SECONDS = 0.005
INDENT = "   "
PAGE_WIDTH = 88


@dataclass(frozen=True)
class Demo:
    """Solve a lake exactly, hold Q-learning against it, train PPO, kill it half-way, resume it, draw everything."""

    folder: Path = Path("demo")
    """Where runs, pictures and the page are written. What an earlier demo left there is replaced."""


class Learnt(NamedTuple):
    """What Q-learning reached."""

    curve: list[tuple[int, Regret]]
    """The exact regret at several steps."""
    table: Any
    """[S, A] action values of the first seed."""


class Told:
    """What is printed, kept for the page as well."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.began = time.monotonic()
        self.lines: list[str] = []

    def part(self, number: int, title: str) -> None:
        """Begin a part."""
        self.lines = []
        self.console.print(Text(f"\n{number}. {title}", style="bold"))

    def say(self, text: str, style: str = "") -> None:
        """Print some lines."""
        self.lines += broken(text, PAGE_WIDTH)
        lines = broken(text, max(self.console.width - len(INDENT), 40))
        self.console.print(Text("\n".join((INDENT + line).rstrip() for line in lines), style=style))


def broken(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; those that are short enough keep their spaces."""
    return [part for line in text.splitlines() for part in (wrap(line, width) if len(line) > width else [line])]


class DemoFailed(RetornoError):
    """A promise that was not kept."""


def run(arguments: list[str]) -> int:
    given = parse(Demo, arguments, "retorno demo")
    folder, told = given.folder, Told()
    prepare(folder)
    outputs = []

    told.part(1, f"{LAKE}, solved exactly")
    best = solve_lake(told)
    outputs.append(told.lines)

    told.part(2, f"Q-learning on the same lake, {len(SEEDS)} seeds, held against the exact answer")
    learnt = learn_lake(told, best)
    outputs.append(told.lines)

    told.part(3, f"PPO on {CART}")
    whole = train_cart(told, folder / "runs" / "whole")
    outputs.append(told.lines)

    told.part(4, "The same training, killed half-way with SIGKILL and resumed")
    kill_and_resume(told, folder / "runs" / "killed", whole)
    outputs.append(told.lines)

    told.part(5, "Pictures and a page")
    page = draw(folder, best, learnt, outputs)
    for path in sorted(folder.glob("*.png")):
        told.say(str(path))
    told.say(f"{page}   ← open it in a browser", style="bold")
    told.say(f"All of it took {time.monotonic() - told.began:.0f} s. Next: retorno --help")
    return 0


def prepare(folder: Path) -> None:
    """Make room for the runs; only an earlier demo's are removed."""
    for name in ("whole", "killed"):
        earlier = folder / "runs" / name
        if (earlier / CONFIG).exists():
            shutil.rmtree(earlier)
    (folder / "runs").mkdir(parents=True, exist_ok=True)


def solve_lake(told: Told) -> Solution:
    """The value of each cell and all best actions, with bounds."""
    best = bellman.solve(toy_text(LAKE), DISCOUNT)
    told.say(text_map(best))
    told.say(
        f"\nvalue of the start {best.start_value:.9f}: the true one lies within {(best.upper - best.lower).max():.0e}, "
        f"found by {best.method} in {best.sweeps} rounds"
    )
    counts = {name: len(best.actions(name)) for name in best.model.state_names}
    ties = ", ".join(name for name, count in counts.items() if 1 < count < best.model.num_actions)
    told.say(f"two arrows are a tie, as in state {ties}; · is a hole or the goal", style="dim")
    return best


def learn_lake(told: Told, best: Solution) -> Learnt:
    """Learn from samples of the model; the greedy policies' exact regret as it falls."""
    began, curve = time.monotonic(), []
    training = train(LEARNER, make(LAKE), LAKE_STEPS, seed=SEEDS, every=LAKE_STEPS // 5)
    for report in training:
        if report.boundary:
            curve.append((report.step, regret(training.policies, best)))
            (low, high), mean = curve[-1][1].ci95, curve[-1][1].mean
            told.say(f"step {report.step:>7,}   regret {mean:.4f}   95% interval {low:.4f} to {high:.4f}")
    exact = sum(abs(x) < 1e-9 for x in curve[-1][1].regrets)
    told.say(
        f"\n{exact} of {len(SEEDS)} seeds found a policy that is exactly optimal; "
        f"{len(SEEDS) * LAKE_STEPS:,} steps in {time.monotonic() - began:.1f} s",
    )
    return Learnt(curve, training.learners[0].network.tables["q"])


def train_cart(told: Told, folder: Path) -> Training:
    """Train with the published settings, evaluate with an interval."""
    published = settings("ppo", CART)
    assert published is not None
    told.say(f"settings: {told_settings('ppo', published.algorithm, published)}", style="dim")
    with train(published.algorithm, CART, published.steps, seed=0, every=CART_EVERY, folder=folder) as training:
        began = time.monotonic()
        follow(training, 0, published.steps)
        seconds = time.monotonic() - began
        result = evaluate(training.policy, training.world, episodes=100)
        training.note(result)
    told.say(f"{training.step:,} steps in {seconds:.1f} s, compilation included")
    told.say(str(result))
    if result.mean < SOLVED:
        raise DemoFailed(f"PPO reached {result.mean:.1f} on {CART}, expected at least {SOLVED}: please report this")
    return training


def kill_and_resume(told: Told, folder: Path, whole: Training) -> None:
    """`retorno train` in a process of its own, SIGKILL, `retorno resume`: the digest has to be the same."""
    command = ["train", "ppo", CART, "--seed", "0", "--every", str(CART_EVERY), "--episodes", "0"]
    command += ["--folder", str(folder)]
    told.say(f"$ retorno {' '.join(command)}", style="dim")
    child = retorno(command)
    while child.poll() is None and not any(step >= whole.steps / 2 for step in checkpoint.steps(folder)):
        time.sleep(POLL_SECONDS)
    child.send_signal(signal.SIGKILL)
    errors = child.communicate()[1]
    if child.returncode != -signal.SIGKILL:
        raise DemoFailed(f"the training ended before it could be killed half-way ({child.returncode}): {errors[-500:]}")
    stopped = look(folder)["step"]
    told.say(f"killed (SIGKILL) with its newest whole checkpoint at step {stopped:,} of {whole.steps:,}")

    told.say(f"$ retorno resume {folder}", style="dim")
    child = retorno(["resume", str(folder), "--episodes", "0"])
    errors = child.communicate()[1]
    if child.returncode:
        raise DemoFailed(f"the resumed training failed: {errors[-500:]}")
    found = look(folder)
    told.say(f"resumed and trained to step {found['step']:,}")
    told.say("digests over every array of the run that was never stopped, and of the resumed one:")
    told.say(f"whole    {whole.digest}\nresumed  {found['digest']}")
    if found["digest"] != whole.digest:
        raise DemoFailed("the digests differ: the resumed training is not the one that was never stopped")
    told.say("equal to the last bit", style="bold green")


def retorno(arguments: list[str]) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "retorno.cli.main", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def draw(folder: Path, best: Solution, learnt: Learnt, outputs: list[list[str]]) -> Path:
    """The pictures, and the page with everything that was told."""
    from retorno.environments.textbook.lecture import student
    from retorno.plots import Picture, Section, Table, greedy, learning_curve, model_graph, save, save_page, value_map

    texts = ["\n".join(lines) for lines in outputs]
    exact = value_map(best)
    both = value_map({"exact": best, "Q-learning, seed 0": greedy(best.model, learnt.table, tolerance=0.01)})
    curve = learning_curve({"PPO": [read_metrics(folder / "runs" / "whole")]}, {"solved": SOLVED})
    example = student()
    graph = model_graph(example, bellman.solve(example, 1.0))
    for name, figure in {"lake": exact, "lake-learnt": both, "cartpole": curve, "student": graph}.items():
        save(figure, folder / f"{name}.png")
    rows = [(step, found.mean, *found.ci95) for step, found in learnt.curve]
    return save_page(
        folder / "index.html",
        "retorno: answers you can check",
        [
            Section(
                f"{LAKE}, solved exactly",
                "Numbers are values; arrows are all best actions, so two arrows are a tie.",
                [Picture(exact, "The exact value of each cell and all best actions")],
                output=texts[0],
            ),
            Section(
                "Q-learning against the exact answer",
                f"{len(SEEDS)} seeds learnt from samples of the same model. The regret is what their greedy policies' "
                "exact values lack of the optimum.",
                [Picture(both, "The exact values beside those that one seed has learnt")],
                [Table(["steps", "regret", "95% from", "95% to"], rows)],
            ),
            Section(f"PPO on {CART}", "", [Picture(curve, "The return while training")], output=texts[2]),
            Section("Killed half-way and resumed", output=texts[3]),
            Section(
                "A small model as a graph",
                "Silver's student, with the exact values without discounting and the best actions coloured.",
                [Picture(graph, "The student's decision process")],
            ),
        ],
    )
