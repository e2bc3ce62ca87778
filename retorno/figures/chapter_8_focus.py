"""Where to plan: backwards from what changed, along trajectories, or everywhere. Sutton & Barto 2018, 8.4 and 8.6."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key
from matplotlib.figure import Figure

from retorno import bellman
from retorno.algorithms import DynaQ, PrioritisedSweeping
from retorno.algorithms.planning.prioritised_sweeping import SweepingLearner
from retorno.core.mdp import MDP
from retorno.core.time_step import Trajectory
from retorno.environments.grids.mazes import dyna_maze
from retorno.environments.stacked import of_one_shape
from retorno.figures.exhibit import Exhibit
from retorno.ops.distributions import EpsilonGreedy
from retorno.ops.returns import q_learning_target
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.style import LINES, number, number_axes, panels, style
from retorno.policies import Epsilon
from retorno.run.loop import Run
from retorno.run.probe import probe

NEAR = 1.2
"""A way is near the shortest that is at most so many times as long."""
UPDATES = 5
"""At most so many of the model in an interaction."""
LOOKS = 1_500
SCALES = {1: 4, 2: 8, 3: 16, 4: 40}
"""How many times finer each maze is, and after how many interactions one looks."""


def mazes(seeds: int) -> Exhibit:
    """Example 8.4: updates until the way that is best so far is near the shortest, by the size of the maze."""
    settings: dict[str, Any] = {"discount": 0.95, "planning_steps": UPDATES, "exploration": Epsilon(0.1)}
    methods = {"Dyna-Q": DynaQ(step_size=1.0, **settings), "prioritised sweeping": PrioritisedSweeping(**settings)}
    found: dict[str, list[np.ndarray]] = {name: [] for name in methods}
    models = [dyna_maze(scale) for scale in SCALES]
    states, unsolved = [int((~maze.terminal).sum()) for maze in models], []
    # Of one shape, so that each method is compiled once.
    for maze, world, every, size in zip(models, of_one_shape(models), SCALES.values(), states, strict=True):
        for name, method in methods.items():
            seen: Any = probe(method, world, LOOKS * every, _so_far, seeds=range(seeds), every=every)
            near = _leads_to_goal(maze, seen["best"])
            solved = near.any(1)
            unsolved += [f"{(~solved).sum()} of {seeds} seeds of {name}, {size} states"] * (not solved.all())
            first = np.where(solved, near.argmax(1), -1)
            found[name].append(np.take_along_axis(seen["updates"], first[:, None], 1)[:, 0])
    x, curves = np.array(states), {name: np.log10(np.stack(each, 1)) for name, each in found.items()}
    ratio = 10 ** (curves["Dyna-Q"] - curves["prioritised sweeping"]).mean(0)
    picture = seed_curves(
        x,
        {name: np.stack(each, 1).astype(float) for name, each in found.items()},
        xlabel="states",
        ylabel="updates until the way is near the shortest",
        title=f"Mazes of growing size, at most {UPDATES} planned updates a step: mean of {seeds} seeds",
        log_x=True,
        log_y=True,
    )
    picture.axes[0].set_xticks(x)
    return Exhibit(
        picture=picture,
        columns=("states", *(f"{name} {part}" for name in found for part in ("mean", "± 95%"))),
        rows=np.column_stack(
            [x, *(p for each in found.values() for v in (np.stack(each, 1),) for p in (v.mean(0), mean_reach(v)))]
        ).tolist(),
        notes=(
            "the book prints no numbers; it calls the advantage of prioritised sweeping decisive",
            "Dyna-Q's updates over prioritised sweeping's, geometric mean: "
            + ", ".join(f"{r:.1f} ({n} states)" for r, n in zip(ratio, x, strict=True)),
            "near is at most a fifth longer: the very shortest hangs on luck in exploring, whatever the planning",
            "α = 1 for Dyna-Q, for the mazes have no chance; its real updates are counted as well",
            *(f"not solved in time, and counted to the end: {each}" for each in unsolved),
        ),
    )


def _so_far(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """The best action of each state, and how many updates were made."""
    sweeps = isinstance(run.learner, SweepingLearner)
    made = run.learner.backups.low if sweeps else (UPDATES + 1) * run.step.low
    return {"best": run.learner.network.tables["q"].argmax(1).astype(jnp.int8), "updates": made}


def _leads_to_goal(maze: MDP, best: Int[np.ndarray, "*looks S"]) -> Bool[np.ndarray, "*looks"]:
    """Whether the greedy way ends in a goal after few enough steps: at most a fifth more than the fewest."""
    after = np.zeros((maze.num_states, maze.num_actions), np.int64)
    after[maze.pair_state, maze.action] = maze.next_state
    fewest = -bellman.solve(replace(maze, reward=np.full(len(maze.reward), -1.0)), 1.0).start_value
    at = np.full(best.shape[:-1], maze.initial.argmax())
    for _ in range(round(NEAR * fewest)):
        action = np.take_along_axis(best, at[..., None], -1)[..., 0]
        at = np.where(maze.terminal[at], at, after[at, action])
    return np.asarray(maze.terminal[at])


class Task(NamedTuple):
    """A random task: two actions in each state lead to b states, all equally likely, or end with chance .1."""

    after: Int[Array, "S 2 b"]
    reward: Float[Array, "S 2 b"]


GOES_ON = 0.9
ACTIONS = 2
POINTS = 40
EARLY = 1
"""Which point is told beside the last."""
SWEEPS = 100
"""Of evaluation: .9¹⁰⁰ of the value is left out, 3·10⁻⁵."""


def trajectories(seeds: int) -> Exhibit:
    """Figure 8.8: the start state's value when updates are spread evenly, and when they follow the policy."""
    few = max(seeds // 10, 5)
    panes = {
        "1,000 states": {b: _compared(1000, b, 20_000, seeds) for b in (1, 3, 10)},
        "10,000 states": {1: _compared(10_000, 1, 200_000, few)},
    }
    rows = [
        [title, b, name, int(x), float(v), float(reach)]
        for title, curves in panes.items()
        for b, found in curves.items()
        for name, values in found.items()
        for x, v, reach in zip(_points(title), values.mean(0), mean_reach(values), strict=True)
    ]
    ahead = []
    for title, curves in panes.items():
        for b, found in curves.items():
            gain = found["on-policy"] - found["uniform"]
            for at in (EARLY, POINTS - 1):
                error = gain[:, at].std(ddof=1) / len(gain) ** 0.5
                ahead.append(
                    f"{title}, b = {b}, after {_points(title)[at]:,} updates: on-policy less uniform "
                    f"{number(gain[:, at].mean(), 2)} ± {number(error, 2)}"
                )
    return Exhibit(
        picture=_pairs(panes),
        columns=("states", "b", "updates", "number of updates", "value mean", "± 95%"),
        rows=rows,
        notes=("the book prints no numbers; it says that following the policy pays at first and costs later", *ahead),
    )


def _pairs(panes: dict[str, dict[int, dict[str, Float[np.ndarray, "S K"]]]]) -> Figure:
    """A panel for each kind of task: both means, and the 95% interval of their difference on the same tasks."""
    parts = [(title, b, found) for title, curves in panes.items() for b, found in curves.items()]
    with style():
        figure, axes = panels(9.6, 6.6, 2, -(-len(parts) // 2))
        for pane, (title, b, found) in zip(axes, parts, strict=True):
            x, means = _points(title), {name: values.mean(0) for name, values in found.items()}
            reach = mean_reach(found["on-policy"] - found["uniform"])
            for (name, mean), colour in zip(means.items(), LINES, strict=False):
                pane.plot(x, mean, color=colour, label=name)
            near = means["on-policy"]
            label = "95% interval of the difference"
            pane.fill_between(x, near - reach, near + reach, color=LINES[0], alpha=0.2, linewidth=0, label=label)
            pane.set_title(f"{title}, b = {b}: {len(found['uniform'])} tasks")
            pane.margins(x=0.01)
            number_axes(pane, 5)
        for pane in axes[-2:]:
            pane.set_xlabel("expected updates")
        for pane in axes[::2]:
            pane.set_ylabel("value of the start, greedy policy")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _points(title: str) -> Int[np.ndarray, " K"]:
    return np.arange(1, POINTS + 1) * ((20_000 if title == "1,000 states" else 200_000) // POINTS)


def _compared(states: int, branching: int, updates: int, seeds: int) -> dict[str, Float[np.ndarray, "S K"]]:
    keys = jax.random.split(jax.random.key(states + branching), seeds)
    return {
        name: np.asarray(_values(keys, follows, states, branching, updates // POINTS))
        for name, follows in (("on-policy", True), ("uniform", False))
    }


@partial(jax.jit, static_argnames=("states", "branching", "every"))
def _values(
    keys: Key[Array, " S"], follows: Bool[Array, ""], states: int, branching: int, every: int
) -> Float[Array, "S K"]:
    """The start's value after every so many updates, one row a task."""
    return jax.lax.map(lambda key: _planned(_task(key, states, branching), key, follows, every), keys)


def _task(key: Key[Array, ""], states: int, branching: int) -> Task:
    leading, paying = jax.random.split(jax.random.fold_in(key, 0))
    shape = (states, ACTIONS, branching)
    return Task(jax.random.randint(leading, shape, 0, states), jax.random.normal(paying, shape))


def _planned(task: Task, key: Key[Array, ""], follows: Bool[Array, ""], every: int) -> Float[Array, " K"]:
    """One task: updates of what an ε-greedy walker meets, or of all pairs in turn."""
    states, _, branching = task.after.shape
    walking = jax.random.fold_in(key, 1)

    def update(number: Int[Array, ""], held: tuple[Array, Array]) -> tuple[Array, Array]:
        q, walker = held
        choosing, going, branch = jax.random.split(jax.random.fold_in(walking, number), 3)
        state = jnp.where(follows, walker, number // ACTIONS % states)
        action = jnp.where(follows, EpsilonGreedy(q[state], jnp.float32(0.1)).sample(choosing), number % ACTIONS)
        after, reward = task.after[state, action], task.reward[state, action]
        targets = jax.vmap(lambda r, s: q_learning_target(r, jnp.float32(GOES_ON), q[s]))(reward, after)
        chosen = after[jax.random.randint(branch, (), 0, branching)]
        onward = jnp.where(jax.random.uniform(going) < GOES_ON, chosen, 0)
        return q.at[state, action].set(targets.mean()), onward

    def point(held: tuple[Array, Array], number: Int[Array, ""]) -> tuple[tuple[Array, Array], Array]:
        held = jax.lax.fori_loop(number * every, (number + 1) * every, update, held)
        return held, _start_value(task, held[0])

    start = (jnp.zeros((states, ACTIONS)), jnp.int32(0))
    return jax.lax.scan(point, start, jnp.arange(POINTS))[1]


def _start_value(task: Task, q: Float[Array, "S 2"]) -> Float[Array, ""]:
    """The value of state 0 under the greedy policy."""
    states = jnp.arange(len(q))
    best = q.argmax(1)
    after, reward = task.after[states, best], task.reward[states, best].mean(1)

    def sweep(_: Int[Array, ""], value: Float[Array, " S"]) -> Float[Array, " S"]:
        return reward + GOES_ON * value[after].mean(1)

    return jax.lax.fori_loop(0, SWEEPS, sweep, jnp.zeros(len(q)))[0]
