"""Planning and learning. Sutton & Barto 2018, chapter 8."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from retorno import bellman
from retorno.algorithms import UCT, DynaQ, Rollout
from retorno.core.mdp import MDP
from retorno.core.time_step import Trajectory
from retorno.environments.registry import model, native
from retorno.figures.exhibit import Exhibit, Source, measured
from retorno.plots.answers import Greedy, greedy
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.maps import value_map
from retorno.plots.style import number
from retorno.policies import Epsilon
from retorno.policies.decision_time_planning import PlannedPolicy
from retorno.run.loop import Run
from retorno.run.probe import at_episodes, by_episode, lived, probe
from retorno.run.train import train

MAZE = {"step_size": 0.1, "discount": 0.95, "exploration": Epsilon(0.1)}
SHORTEST = 10
"""Steps of the shortest way through the mazes that change, before or after."""
EPISODES = 50
STEPS = {0: 24_000, 5: 14_000, 50: 14_000}
"""Interactions that are enough for so many episodes."""
NOTED = {0: 685, 5: 157, 50: 40}
"""Steps in the second episode."""


def dyna_maze(seeds: int) -> Exhibit:
    """Figure 8.2: the more is planned, the fewer episodes it takes."""
    lengths = {}
    for n, steps in STEPS.items():
        seen = probe(DynaQ(**MAZE, planning_steps=n), native("dyna_maze"), steps, lived, seeds=range(seeds))
        counts, last = (seen[x].reshape(seeds, -1) for x in ("counts", "last"))
        lengths[n] = by_episode(counts.astype(float), last, EPISODES)
    x = np.arange(2, EPISODES + 1)
    second = {n: values[:, 1] for n, values in lengths.items()}
    picture = seed_curves(
        x,
        {_planned(n): values[:, 1:] for n, values in lengths.items()},
        xlabel="episode",
        ylabel="steps to the goal",
        title=f"The maze of Dyna, ε = .1, α = .1, γ = .95: mean of {seeds} seeds",
        references={"shortest way, 14": 14},
        expected=[(2, steps) for steps in NOTED.values()],
        source=Source.UNSOURCED,
    )
    picture.axes[0].set_ylim(bottom=0)
    return Exhibit(
        picture=picture,
        columns=("episode", *(f"n = {n} {part}" for n in STEPS for part in ("mean", "± 95%"))),
        rows=_rows(x, {n: values[:, 1:] for n, values in lengths.items()}),
        checks=tuple(
            measured(f"steps in episode 2, {_planned(n)}", mean, second[n], source=Source.UNSOURCED)
            for n, mean in NOTED.items()
        ),
    )


def _rows(x: np.ndarray, series: Mapping[Any, np.ndarray]) -> list[list[float]]:
    """Each point with every series' mean over seeds and its interval."""
    return np.column_stack([x, *(p for v in series.values() for p in (v.mean(0), mean_reach(v)))]).tolist()


def _planned(n: int) -> str:
    return "no planning (n = 0)" if n == 0 else f"{n} planning steps"


def _table(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    return {"q": run.learner.network.tables["q"], "last": trajectory.steps.last[1:]}


def halfway(seeds: int) -> Exhibit:
    """Figure 8.3: what the maze's learner knows halfway through its second episode, without planning and with."""
    maze, shown, rows = model("dyna_maze"), {}, []
    for n in (0, 50):
        seen: Any = probe(DynaQ(**MAZE, planning_steps=n), native("dyna_maze"), 8_000, _table, seeds=range(seeds))
        ends = [np.flatnonzero(last)[:2] for last in seen["last"].reshape(seeds, -1)]
        # The row after an episode's last one is a reset.
        tables = np.array([q[(first + second) // 2 + 1] for q, (first, second) in zip(seen["q"], ends, strict=True)])
        known = [_known(greedy(maze, q)) for q in tables]
        count = np.array([len(np.unique(maze.pair_state[each.optimal])) for each in known])
        shown[f"{_planned(n)}, seed 0"] = known[0]
        rows += [(n, seed, int(states)) for seed, states in enumerate(count)]
    states = int((~maze.terminal).sum())
    none, planned = (np.array([r[2] for r in rows if r[0] == n]) for n in (0, 50))
    return Exhibit(
        picture=value_map(shown),
        columns=("planning steps", "seed", "states with a preferred action"),
        rows=rows,
        checks=(measured("states with a preferred action, no planning", 1, none, source=Source.FIGURE),),
        notes=(
            f"no planning has learnt a preferred action in {none.mean():.0f} of {states} states, 50 planning steps "
            f"in {planned.mean():.0f}; cells without an arrow have none",
        ),
    )


def _known(answer: Greedy) -> Greedy:
    """Without the arrows of states in which all actions are still alike."""
    pairs = np.bincount(answer.model.pair_state, minlength=answer.model.num_states)
    ties = np.bincount(answer.model.pair_state, answer.optimal, minlength=answer.model.num_states)
    return answer._replace(optimal=answer.optimal & (ties < pairs)[answer.model.pair_state])


def blocking_maze(seeds: int) -> Exhibit:
    """Figure 8.4: the way is blocked after 1,000 steps; the bonus finds the new one sooner."""
    return _changed("blocking_maze_change", 1000, 3000, planning=10, bonus=1e-4, seeds=seeds)


def shortcut_maze(seeds: int) -> Exhibit:
    """Figure 8.5: a shorter way opens after 3,000 steps; without a bonus no one finds it."""
    return _changed("shortcut_maze_change", 3000, 6000, planning=50, bonus=1e-3, seeds=seeds)


def _changed(world: str, at: int, steps: int, planning: int, bonus: float, seeds: int) -> Exhibit:
    settings = {**MAZE, "step_size": 1.0, "planning_steps": planning}
    methods = {"Dyna-Q+": DynaQ(**settings, bonus=bonus), "Dyna-Q": DynaQ(**settings)}
    rewards = {name: _gains(method, world, steps, seeds) for name, method in methods.items()}
    x = np.arange(10, steps + 1, 10)
    shown = {name: total[:, 9::10] for name, total in rewards.items()}
    late = {name: total[:, -1] - total[:, steps - 1001] for name, total in rewards.items()}
    gained = late["Dyna-Q+"] - late["Dyna-Q"]
    return Exhibit(
        picture=seed_curves(
            x,
            shown,
            xlabel="time step",
            ylabel="cumulative reward",
            title=f"The maze changes after {at:,} steps: mean of {seeds} seeds, n = {planning}, κ = {bonus:g}",
        ),
        columns=("step", *(f"{name} {part}" for name in methods for part in ("mean", "± 95%"))),
        rows=_rows(x, shown),
        notes=(
            "the book gives no numbers and no α: here α = 1, for the mazes have no chance",
            f"goals reached in the last 1,000 steps: Dyna-Q+ {late['Dyna-Q+'].mean():.1f}, Dyna-Q "
            f"{late['Dyna-Q'].mean():.1f}, difference {gained.mean():.1f} ± {gained.std(ddof=1) / seeds**0.5:.1f}",
        ),
    )


def _gains(method: DynaQ, world: str, steps: int, seeds: int) -> Float[np.ndarray, "S steps"]:
    """The cumulative reward after each environment step; resets, one for each goal, are left out."""
    seen = probe(method, native(world), steps + steps // SHORTEST, lived, seeds=range(seeds))
    reward, counts = (seen[x].reshape(seeds, -1) for x in ("reward", "counts"))
    return at_episodes(reward.astype(float).cumsum(1), counts, steps)


SIMULATIONS = (10, 100, 1000, 3000)
"""Of a choice, over all its actions."""


def decision_time(seeds: int) -> Exhibit:
    """Sections 8.10 and 8.11: blackjack by what is thought before each card; each policy is evaluated exactly."""
    world, exact = native("blackjack"), model("blackjack")
    best, base = bellman.solve(exact, 1.0), bellman.evaluate(exact, bellman.uniform, 1.0)
    table = np.full((exact.num_states, exact.num_actions), -np.inf)
    table[exact.pair_state, exact.action] = base.q
    improved = _value(exact, table.argmax(1))
    settings: Any = {"discount": 1.0, "depth": 20}
    rollouts = "rollouts of the uniform policy"
    methods = {rollouts: Rollout(**settings), "UCT": UCT(**settings)}
    # Simulations of each action, and of all of them.
    after = {rollouts: tuple(n // exact.num_actions for n in SIMULATIONS), "UCT": SIMULATIONS}
    values = {}
    for name, method in methods.items():
        policies: Any = train(method, world, 1, seed=range(seeds)).policies
        chosen = [np.asarray(_choices(policy, jnp.arange(exact.num_states), after[name])) for policy in policies]
        values[name] = np.array([[_value(exact, actions) for actions in each.T] for each in chosen])
    most = f"{SIMULATIONS[-1]:,} simulations"
    picture = seed_curves(
        np.array(SIMULATIONS, float),
        values,
        xlabel="simulations before each choice",
        ylabel="return of an episode",
        title=f"Blackjack, planned in the world itself: mean of {seeds} seeds",
        references={"best": best.start_value, "the uniform policy, improved once": improved},
        log_x=True,
    )
    picture.axes[0].set_xticks(SIMULATIONS)
    return Exhibit(
        picture=picture,
        columns=("simulations", *(f"{name} {part}" for name in methods for part in ("mean", "± 95%"))),
        rows=_rows(np.array(SIMULATIONS), values),
        checks=(
            # So many still choose by chance where two actions are nearly alike: .007 and .006 were left over ten seeds.
            measured(f"rollouts, {most}: one improvement", improved, values[rollouts][:, -1], 0.01),
            measured(f"UCT, {most}: the best", best.start_value, values["UCT"][:, -1], 0.01),
        ),
        notes=(
            f"the uniform policy itself is worth {number(base.start_value)}",
            "the book has no such figure: what is expected is exact here",
        ),
    )


@partial(jax.jit, static_argnames="after")
def _choices(policy: PlannedPolicy, states: Int[Array, " S"], after: tuple[int, ...]) -> Int[Array, "S looks"]:
    """What is best in each state after so many simulations: one search, looked at several times."""

    def choices(state: Int[Array, ""]) -> Int[Array, " looks"]:
        row, key = policy.model.enter(state), jax.random.key(policy.seed)
        return policy.planner.plans(policy.model, policy.base, row, key, after).preference.argmax(-1)

    return jax.vmap(choices)(states)


def _value(exact: MDP, chosen: Int[np.ndarray, " S"]) -> float:
    """What it is worth to take these actions."""
    return bellman.evaluate(exact, (chosen[exact.pair_state] == exact.action).astype(float), 1.0).start_value
