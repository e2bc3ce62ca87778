"""What learning from preferences loses where a part of it is left out. Christiano et al. 2017, section 3.3."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from retorno.algorithms.published import settings
from retorno.environments.registry import make
from retorno.figures.exhibit import Exhibit
from retorno.ops.intervals import interval95
from retorno.plots.style import number, style
from retorno.preferences import Preferences, Random
from retorno.run.evaluate import evaluate
from retorno.run.train import train

WORLD = "Pendulum-v1"
STEPS = 100_000
EPISODES = 50
WHOLE = Preferences()
WITHOUT: dict[str, Preferences] = {
    "as it is": WHOLE,
    "any pairs are asked about": dataclasses.replace(WHOLE, queries=Random()),
    "one member": dataclasses.replace(WHOLE, members=1),
    "no regularisation": dataclasses.replace(WHOLE, decay=0.0),
    "segments of one step": dataclasses.replace(WHOLE, segment=1),
    "all labels before learning": dataclasses.replace(WHOLE, first=1.0),
}
"""The ablations of the paper, by what is left out. With one member nothing is disagreed on: any pair is asked about."""


def returns(relabel: Preferences | None, seeds: int, taught: bool = True) -> Float[np.ndarray, " S"]:
    """The mean return of what PPO learns by some labels, or by what the world pays, with each of S seeds."""
    published, world = settings("ppo", WORLD), make(WORLD)
    assert published is not None
    with train(published.algorithm, world, STEPS, seed=range(seeds), relabel=relabel) as training:
        if taught:
            training.run_to_end()
        return evaluate(training.policies, world, EPISODES, greedy=taught).returns.mean(1)


def ablations(seeds: int) -> Exhibit:
    """The return on the true reward, of which no agent but the first was paid anything."""
    paid, untaught = returns(None, seeds), returns(None, seeds, taught=False)
    found = {f"{name}, {WHOLE.labels} labels": returns(each, seeds) for name, each in WITHOUT.items()}
    found = {"the world's own reward": paid, **found}
    with style():
        figure = Figure((7.2, 0.45 * len(found) + 1.2), layout="constrained")
        axes = figure.subplots()
        for place, each in enumerate(found.values()):
            low, high = interval95(each) if seeds > 1 else (np.nan, np.nan)
            axes.plot(each, np.full(seeds, place), "o", color="C0", alpha=0.35, markersize=5)
            axes.errorbar(each.mean(), place, xerr=[[each.mean() - low], [high - each.mean()]], fmt="|", color="C0",
                          markersize=14, capsize=3)  # fmt: skip
            axes.annotate(number(each.mean(), 4), (1.01, place), xycoords=("axes fraction", "data"), va="center")
        axes.axvline(paid.mean(), color="0.6", linewidth=1, zorder=0)
        axes.set_yticks(range(len(found)), found)
        axes.invert_yaxis()
        axes.set_xlabel(f"mean return of {WORLD} after {STEPS:,} steps")
    rows = [(name, seed, float(x)) for name, each in found.items() for seed, x in enumerate(each)]
    note = f"PPO; {seeds} seeds, {EPISODES} episodes each; one answer in ten is wrong; untaught {untaught.mean():.0f}"
    return Exhibit(figure, ("what", "seed", "return"), rows, notes=(note,))
