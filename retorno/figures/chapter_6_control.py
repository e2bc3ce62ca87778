"""Temporal-difference control: its speed and its limit, wind, and the bias of a maximum. Sutton & Barto 2018, ch. 6."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import Array

from retorno import bellman
from retorno.algorithms import SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from retorno.core.policy import Algorithm
from retorno.core.time_step import Trajectory
from retorno.environments.grids.gridworlds import cliff
from retorno.environments.registry import model, native
from retorno.environments.stacked import of_one_shape
from retorno.figures.exhibit import Check, Exhibit, Source, measured
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.style import LINES, number_axes, panels, style
from retorno.policies import Epsilon
from retorno.run.loop import Run
from retorno.run.probe import by_episode, lived, probe
from retorno.run.study import study

EPSILON = 0.1
SETTINGS: dict[str, Any] = {"discount": 1.0, "exploration": Epsilon(EPSILON)}


def interim_and_asymptotic(seeds: int) -> Exhibit:
    """Figure 6.3: what a step size is worth in the first hundred episodes, and in the long run."""
    steps = np.round(np.arange(0.1, 1.05, 0.1), 2)
    methods: dict[str, Algorithm] = {
        "expected Sarsa": ExpectedSARSA(**SETTINGS),
        "Sarsa": SARSA(**SETTINGS),
        "Q-learning": QLearning(**SETTINGS),
    }
    over, count = {"step_size": steps.tolist()}, len(steps)
    early = study(methods, "cliff", over=over, seeds=seeds, episodes=100)
    late = study(methods, "cliff", over=over, seeds=seeds // 10 or 2, steps=200_000, points=4)
    interim = dict(zip(methods, early.seed_means().reshape(len(methods), count, -1), strict=True))
    asymptotic = dict(zip(methods, late.seed_means(0.75).reshape(len(methods), count, -1), strict=True))
    exact = cliff()
    edge = bellman.solve(exact, 1.0)
    careless = (1 - EPSILON) * _shared(exact, edge.optimal) + EPSILON / 4
    best = bellman.best_soft(exact, 1.0, EPSILON).start_value
    with style():
        figure, (axes,) = panels(7.2, 4.8)
        for (name, colour), marker in zip(zip(methods, LINES, strict=False), "xvs", strict=True):
            for values, dashes in ((asymptotic[name], (None, None)), (interim[name], (4, 2))):
                mean, reach = values.mean(1), mean_reach(values.T)
                kind = "asymptotic" if values is asymptotic[name] else "interim"
                axes.plot(steps, mean, color=colour, dashes=dashes, marker=marker, label=f"{name}, {kind}")
                axes.fill_between(steps, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(f"The cliff, ε = .1: the first 100 episodes ({seeds} seeds), and in the long run", pad=10)
        axes.set_xlabel("step size α")
        axes.set_ylabel("sum of rewards an episode")
        axes.set_ylim(-170, 0)
        number_axes(axes)
        figure.legend(ncols=3, loc="outside lower center", handlelength=2.6)
    return Exhibit(
        picture=figure,
        columns=("α", *(f"{name} {kind}" for name in methods for kind in ("interim", "asymptotic"))),
        rows=np.column_stack(
            [steps, *(values[name].mean(1) for name in methods for values in (interim, asymptotic))]
        ).tolist(),
        checks=(
            measured("expected Sarsa, α = 1, in the long run: exact", best, asymptotic["expected Sarsa"][-1]),
            measured(
                "Q-learning, α = 1, in the long run: exact",
                bellman.evaluate(exact, careless, 1.0).start_value,
                asymptotic["Q-learning"][-1],
            ),
        ),
        notes=("the long run is steps 50,000 to 200,000; the book's is the mean of 100,000 episodes",),
    )


def _shared(model: Any, optimal: np.ndarray) -> np.ndarray:
    """A policy that takes each of the best actions alike."""
    return optimal / np.bincount(model.pair_state, optimal, minlength=model.num_states)[model.pair_state]


def windy(seeds: int) -> Exhibit:
    """Example 6.5: episodes that Sarsa has finished in a crosswind, and with the king's moves."""
    steps = 8000
    worlds = {
        "four moves": "windy",
        "king's moves (exercise 6.9)": "windy_king",
        "king's moves in gusts (exercise 6.10)": "windy_gusts",
    }
    x, finished = np.arange(0, steps + 1, 50), {}
    # Of one shape, so that SARSA is compiled once.
    for name, world in zip(worlds, of_one_shape([model(each) for each in worlds.values()]), strict=True):
        seen = probe(SARSA(step_size=0.5, **SETTINGS), world, 10_000, lived, seeds=range(seeds))
        counts, last = (seen[key].reshape(seeds, -1) for key in ("counts", "last"))
        at, done = np.cumsum(counts, 1), np.cumsum(last, 1)
        # A reset is an interaction, but no step of the book's.
        where = np.array([np.searchsorted(row, x, side="right") - 1 for row in at])
        finished[name] = np.where(where >= 0, np.take_along_axis(done, np.maximum(where, 0), 1), 0).astype(float)
    return Exhibit(
        picture=seed_curves(
            x,
            finished,
            xlabel="time steps",
            ylabel="episodes",
            title=f"The windy gridworld: Sarsa, ε = .1, α = .5, mean of {seeds} seeds",
            expected=[(steps, 158.9)],
            source=Source.UNSOURCED,
        ),
        columns=("steps", *(f"{name} {part}" for name in worlds for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(p for v in finished.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=(
            measured(
                "episodes in 8,000 steps, four moves", 158.9, finished["four moves"][:, -1], 4 * 0.7, Source.UNSOURCED
            ),
        ),
    )


def left_taken(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """Whether an episode began with going left, and whether it ended."""
    steps = trajectory.steps
    return steps.first[:-1, 0] & (trajectory.action[:, 0] == 0), steps.last[1:, 0]


def maximisation_bias(seeds: int) -> Exhibit:
    """Figure 6.5 (example 6.7): the maximum over noisy values draws Q-learning to the left."""
    episodes, share = 300, {}
    settings: dict[str, Any] = {**SETTINGS, "step_size": 0.1}
    for name, method in {"Q-learning": QLearning(**settings), "double Q-learning": DoubleQLearning(**settings)}.items():
        left, last = probe(method, native("maximisation_bias"), 3 * episodes, left_taken, seeds=range(seeds))
        rows = (x.reshape(seeds, -1) for x in (left, last))
        share[name] = 100 * by_episode(next(rows).astype(float), next(rows), episodes)
    x = np.arange(1, episodes + 1)
    worst = share["Q-learning"].mean(0)
    return Exhibit(
        picture=seed_curves(
            x,
            share,
            xlabel="episode",
            ylabel="left from A, %",
            title=f"Maximisation bias: mean of {seeds:,} seeds",
            references={"the least that ε = .1 allows": 5.0},
            expected=[(23, 94.2), (300, 11.1), (300, 6.6)],
            source=Source.UNSOURCED,
        ),
        columns=("episode", *(f"{name} {part}" for name in share for part in ("% left", "± 95%"))),
        rows=np.column_stack([x, *(p for v in share.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=(
            measured("Q-learning, % left in episode 23", 94.2, share["Q-learning"][:, 22], 0.8, Source.UNSOURCED),
            measured("Q-learning, % left in episode 300", 11.1, share["Q-learning"][:, -1], 1.2, Source.UNSOURCED),
            measured(
                "double Q-learning, % left in episode 300",
                6.6,
                share["double Q-learning"][:, -1],
                1.0,
                Source.UNSOURCED,
            ),
            Check("Q-learning, the worst episode's % left", 94.2, float(worst.max()), 0.25, 0.8, Source.UNSOURCED),
        ),
    )
