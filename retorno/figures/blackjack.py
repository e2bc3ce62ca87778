"""Blackjack by Monte Carlo with exploring starts, beside the exact optimum. Sutton & Barto 2018, figure 5.2."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from retorno import bellman
from retorno.algorithms import MonteCarloES
from retorno.core.mdp import MDP
from retorno.core.solution import Solution
from retorno.core.time_step import Trajectory
from retorno.environments.games.blackjack import blackjack
from retorno.environments.sampled_world import sampled
from retorno.figures.exhibit import Exhibit, measured
from retorno.plots.style import LINES, panels, style
from retorno.run.loop import Run
from retorno.run.probe import probe

UPDATES, ROLLOUT = 16_000, 64
"""About half a million episodes, as in the book."""


def table(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """The action values, and how many episodes have ended."""
    return run.learner.network.tables["q"], run.scores.episodes


def exploring_starts(seeds: int) -> Exhibit:
    """Figure 5.2: the policy and its value, where each hand begins equally often."""
    model = blackjack()
    begins = np.array([name.split()[0].isdigit() and int(name.split()[0]) >= 12 for name in model.state_names])
    world = sampled(dataclasses.replace(model, initial=begins / begins.sum()))
    method = MonteCarloES(rollout=ROLLOUT, longest_episode=16, discount=1.0)
    q, episodes = probe(method, world, UPDATES, table, seeds=range(seeds), every=UPDATES)
    q, exact = q[:, -1], bellman.solve(model, 1.0)
    stick, hit = (model.action_names.index(name) for name in ("stick", "hit"))
    best = {model.state(s): exact.actions(s) for s in range(model.num_states) if begins[s]}
    agree = [
        float(np.mean([("hit" if one[s, hit] > one[s, stick] else "stick") in best[s] for s in best])) for one in q
    ]
    losses = [exact.start_value - _worth(model, one).start_value for one in q]
    with style():
        figure, panes = panels(9.6, 5.6, 2, 2)
        for row, kind in enumerate(("soft", "hard")):
            hands = [[model.state(f"{total} {kind}, {card}") for card in range(1, 11)] for total in range(12, 22)]
            hits = (q[:, :, hit] > q[:, :, stick]).mean(0)[hands]
            policy, value = panes[2 * row], panes[2 * row + 1]
            edges: dict[str, Any] = {"origin": "lower", "extent": (0.5, 10.5, 11.5, 21.5), "aspect": "auto"}
            shares = policy.imshow(hits, cmap="cividis", vmin=0, vmax=1, **edges)
            figure.colorbar(shares, ax=policy)
            _outline(policy, np.array([["hit" in exact.actions(s) for s in hand] for hand in hands]))
            drawn = value.imshow(q.max(2).mean(0)[hands], cmap="cividis", vmin=-1, vmax=1, **edges)
            figure.colorbar(drawn, ax=value)
            ace = "usable ace" if kind == "soft" else "no usable ace"
            policy.set_title(f"{ace}: share that hits; line: the exact policy", fontsize=9.5)
            value.set_title(f"{ace}: value", fontsize=9.5)
            policy.set_ylabel("player's sum")
            for pane in (policy, value):
                pane.set_xticks(range(1, 11), ["A", *map(str, range(2, 11))])
                pane.grid(visible=False)
        for pane in panes[2:]:
            pane.set_xlabel("dealer shows")
    return Exhibit(
        picture=figure,
        columns=("state", "hit, share of seeds", "value", "exact value"),
        rows=[
            (
                model.state_names[s],
                float((q[:, s, hit] > q[:, s, stick]).mean()),
                float(q[:, s].max(1).mean()),
                float(exact.value[s]),
            )
            for s in best
        ],
        checks=(
            measured("share of states with a best action", 1.0, agree, 0.05),
            measured("what the policy loses of −.0431, exact", 0.0, losses, 0.002),
        ),
        notes=(f"{int(episodes[:, -1].mean()):,} episodes each; hands from 12 on begin equally often",),
    )


def _worth(model: MDP, q: Float[np.ndarray, "S A"]) -> Solution:
    """The exact value of a table's greedy policy; hands that never begin in the game are played as at best."""
    values = q[model.pair_state, model.action]
    top = np.full(model.num_states, -np.inf)
    np.maximum.at(top, model.pair_state, values)
    best = values == top[model.pair_state]
    chances = best / np.bincount(model.pair_state, best)[model.pair_state]
    seen = np.abs(q).sum(1)[model.pair_state] > 0
    return bellman.evaluate(model, np.where(seen, chances, bellman.solve(model, 1.0).policy), 1.0)


def _outline(axes: Axes, inside: Bool[np.ndarray, "R C"]) -> None:
    """A line between the cells that are inside and their neighbours that are not."""
    for row, column in np.argwhere(inside[1:] != inside[:-1]):
        axes.plot([column + 0.5, column + 1.5], [row + 12.5] * 2, color=LINES[1], linewidth=2.5)
    for row, column in np.argwhere(inside[:, 1:] != inside[:, :-1]):
        axes.plot([column + 1.5] * 2, [row + 11.5, row + 12.5], color=LINES[1], linewidth=2.5)
