"""Temporal-difference learning. Sutton & Barto 2018, chapter 6."""

from __future__ import annotations

import numpy as np

from retorno.algorithms import SARSA, ExpectedSARSA, QLearning
from retorno.figures.exhibit import Exhibit, Source, measured
from retorno.plots.curves import mean_reach, seed_curves
from retorno.policies import Epsilon
from retorno.run.study import study


def cliff(seeds: int) -> Exhibit:
    """Example 6.6 and the figure beside it: Q-learning finds the edge, falls off it, and earns less meanwhile."""
    episodes, settings = 500, {"step_size": 0.5, "discount": 1.0, "exploration": Epsilon(0.1)}
    methods = {
        "Sarsa": SARSA(**settings),
        "Q-learning": QLearning(**settings),
        "expected Sarsa": ExpectedSARSA(**settings),
    }
    found = study(methods, "cliff", seeds=seeds, episodes=episodes, points=episodes)
    returns = dict(zip(methods, found.values, strict=True))
    x = np.arange(1, episodes + 1)
    noted = {"Sarsa": (-26.97, 0.29), "Q-learning": (-50.41, 0.30), "expected Sarsa": (-20.86, 0.09)}
    late = {name: values[:, 400:].mean(1) for name, values in returns.items()}
    picture = seed_curves(
        x.reshape(-1, 10).mean(1),
        {name: values.reshape(seeds, -1, 10).mean(2) for name, values in returns.items()},
        xlabel="episode",
        ylabel="sum of rewards in an episode",
        title=f"The cliff, ε = .1, α = .5: mean of {seeds} seeds, ten episodes a point",
        expected=[(450.5, value) for value, _ in noted.values()],
        source=Source.UNSOURCED,
    )
    picture.axes[0].set_ylim(-110, -10)
    return Exhibit(
        picture=picture,
        columns=("episode", *(f"{name} {part}" for name in methods for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(part for v in returns.values() for part in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=tuple(
            measured(f"{name}, episodes 401–500", value, late[name], 4 * error, Source.UNSOURCED)
            for name, (value, error) in noted.items()
        ),
    )
