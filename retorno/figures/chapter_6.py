"""Temporal-difference learning. Sutton & Barto 2018, chapter 6."""

from __future__ import annotations

import numpy as np

from retorno.algorithms import SARSA, QLearning
from retorno.environments.registry import native
from retorno.figures.exhibit import Exhibit, measured
from retorno.networks import Epsilon
from retorno.plots.curves import mean_reach, seed_curves
from retorno.run.study import by_episode, lived, study


def cliff(seeds: int) -> Exhibit:
    """Example 6.6 and the figure beside it: Q-learning finds the edge, falls off it, and earns less meanwhile."""
    episodes, settings = 500, {"step_size": 0.5, "discount": 1.0, "exploration": Epsilon(0.1)}
    methods = {
        "Sarsa": SARSA(**settings),
        "Q-learning": QLearning(**settings),
        "expected Sarsa": SARSA(**settings, expected=True),
    }
    returns = {}
    for name, method in methods.items():
        seen = study(method, native("cliff"), 30_000, lived, seeds=range(seeds))
        reward, last = (seen[x].reshape(seeds, -1) for x in ("reward", "last"))
        returns[name] = by_episode(reward, last, episodes)
    x = np.arange(1, episodes + 1)
    late = {name: values[:, 400:].mean(1) for name, values in returns.items()}
    return Exhibit(
        picture=seed_curves(
            x,
            {name: np.maximum(values, -100) for name, values in returns.items()},
            xlabel="episode",
            ylabel="sum of rewards",
            title=f"The cliff, ε = .1, α = .5: mean of {seeds} seeds, episodes below −100 counted as −100",
        ),
        columns=("episode", *(f"{name} {part}" for name in methods for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(part for v in returns.values() for part in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=(
            measured("Sarsa, episodes 401–500", -26.97, late["Sarsa"], 4 * 0.29),
            measured("Q-learning, episodes 401–500", -50.41, late["Q-learning"], 4 * 0.30),
            measured("expected Sarsa, episodes 401–500", -20.86, late["expected Sarsa"], 4 * 0.09),
        ),
    )
