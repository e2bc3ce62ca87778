"""What learning from preferences loses where a part of it is left out. Christiano et al. 2017, section 3.3.

On the pendulum, whose untaught swings show most of what matters, and on an acrobot that waits where it has swung up,
which an untaught policy hardly ever shows.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from retorno.algorithms.published import settings
from retorno.core.environment import World
from retorno.core.policy import Algorithm
from retorno.environments.registry import make
from retorno.figures.exhibit import Exhibit
from retorno.ops.intervals import interval95
from retorno.plots.style import number, style
from retorno.preferences import Preferences, Random, StateEntropy
from retorno.run.evaluate import evaluate
from retorno.run.train import train

EPISODES = 50
WHOLE = Preferences()
SEEN_FIRST = Preferences(labels=2_000, waiting=0.04, recent=20_000, gradient_steps=30, pretraining=StateEntropy())
BEFORE = "all labels before learning"


class Task(NamedTuple):
    """A world, what learns there, and what it is taught by."""

    name: str
    world: World
    algorithm: Algorithm
    steps: int
    taught: dict[str, Preferences]
    """By what is left out."""

    def returns(self, relabel: Preferences | None, seeds: int, taught: bool = True) -> Float[np.ndarray, " S"]:
        """The mean return of what is learnt by some labels, or by what the world pays, with each of S seeds."""
        with train(self.algorithm, self.world, self.steps, seed=range(seeds), relabel=relabel) as training:
            if taught:
                training.run_to_end()
            return evaluate(training.policies, self.world, EPISODES, greedy=taught).returns.mean(1)


def ablations(seeds: int) -> Exhibit:
    """The ablations of the paper. With one member nothing is disagreed on: any pair is asked about."""
    taught = {
        "as it is": WHOLE,
        "any pairs are asked about": dataclasses.replace(WHOLE, queries=Random()),
        "one member": dataclasses.replace(WHOLE, members=1),
        "no regularisation": dataclasses.replace(WHOLE, decay=0.0),
        "segments of one step": dataclasses.replace(WHOLE, segment=1),
        BEFORE: dataclasses.replace(WHOLE, first=1.0),
    }
    return _shown(Task("Pendulum-v1", make("Pendulum-v1"), _published("Pendulum-v1"), 100_000, taught), seeds)


def offline(seeds: int) -> Exhibit:
    """Labels that are all asked before anything is learnt: after what is new was looked for, and without."""
    untaught = dataclasses.replace(SEEN_FIRST, first=1.0, waiting=WHOLE.waiting, pretraining=None)
    taught = {
        "as it is": SEEN_FIRST,
        BEFORE: dataclasses.replace(SEEN_FIRST, first=1.0),
        f"{BEFORE}, of an untaught policy": untaught,
    }
    algorithm = dataclasses.replace(_published("Acrobot-v1"), entropy_coefficient=0.01)
    return _shown(Task("Acrobot-v1", make("Acrobot-v1", waits=True), algorithm, 200_000, taught), seeds)


def _published(world: str) -> Any:
    published = settings("ppo", world)
    assert published is not None
    return published.algorithm


def _shown(task: Task, seeds: int) -> Exhibit:
    """The return on the true reward, of which no agent but the first was paid anything: each seed, and their mean."""
    untaught = task.returns(None, seeds, taught=False).mean()
    found = {"the world's own reward": task.returns(None, seeds)}
    found |= {f"{name}, {each.labels:,} labels": task.returns(each, seeds) for name, each in task.taught.items()}
    paid = found["the world's own reward"].mean()
    with style():
        figure = Figure((7.8, 0.45 * len(found) + 1.2), layout="constrained")
        axes = figure.subplots()
        for place, each in enumerate(found.values()):
            low, high = interval95(each) if seeds > 1 else (np.nan, np.nan)
            axes.plot(each, np.full(seeds, place), "o", color="C0", alpha=0.35, markersize=5)
            axes.errorbar(each.mean(), place, xerr=[[each.mean() - low], [high - each.mean()]], fmt="|", color="C0",
                          markersize=14, capsize=3)  # fmt: skip
            axes.annotate(number(each.mean(), 4), (1.01, place), xycoords=("axes fraction", "data"), va="center")
        axes.axvline(paid, color="0.6", linewidth=1, zorder=0)
        axes.set_yticks(range(len(found)), found)
        axes.invert_yaxis()
        axes.set_xlabel(f"mean return of {task.name} after {task.steps:,} steps")
    rows = [(name, seed, float(x)) for name, each in found.items() for seed, x in enumerate(each)]
    note = f"PPO; {seeds} seeds, {EPISODES} episodes each; one answer in ten is wrong; untaught {untaught:.0f}"
    return Exhibit(figure, ("what", "seed", "return"), rows, notes=(note,))
