"""Looks at a table while it learns: values, where the agent is, visits, TD errors, and the exact regret.

A watched run lives and learns as any other, to the bit: what is counted beside it is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Integer

from retorno import bellman
from retorno.core.counter import Counter
from retorno.core.environment import Environment, World
from retorno.core.errors import RetornoError
from retorno.core.mdp import MDP
from retorno.core.policy import Algorithm
from retorno.core.time_step import TimeStep, before_and_after
from retorno.networks import TableNetwork
from retorno.ops.returns import q_learning_target, td_error
from retorno.run.loop import Iteration, Observer, begun_shapes
from retorno.run.oracle import observes_states, policy_value
from retorno.run.training import Training

LOOKS = 100
ROUNDING = 1e-12


class WatchError(RetornoError):
    """A run that cannot be watched: the message says which can."""


class Sight(Observer):
    """What is counted since the last look."""

    visits: Integer[Array, " S"]
    """Transitions out of each state."""
    error: Float[Array, " S"]
    """Sums of their |r + γ maxₐ q(s′, a) − q(s, a)|, with the action values before the update."""
    discount: Float[Array, ""]
    """γ"""

    def see(self, lived: Iteration) -> Sight:
        trajectory, q = lived.trajectory, lived.before.learner.network.tables["q"]
        now, then = before_and_after(trajectory.steps)

        def error(obs: Array, action: Array, next_row: TimeStep) -> Array:
            target = q_learning_target(
                next_row.reward, self.discount * next_row.discount, q[next_row.obs], next_row.legal
            )
            return td_error(q[obs], action, target)

        counts = trajectory.transitions
        errors = jnp.abs(jax.vmap(jax.vmap(error))(now.obs, trajectory.action, then))
        return Sight(
            self.visits.at[now.obs].add(counts.astype(jnp.uint32)),
            self.error.at[now.obs].add(jnp.where(counts, errors, 0.0)),
            self.discount,
        )


@dataclass(frozen=True)
class Look:
    """One look, at a step of the run."""

    step: int
    q: Float[np.ndarray, "S A"]
    agent: int
    """The state in which the first environment stands."""
    visits: Int[np.ndarray, " S"]
    """Of each state, since the beginning."""
    error: Float[np.ndarray, " S"]
    """The mean TD error of each state since the look before, as a size; NaN where it was not left."""
    mean_return: float
    """Of the episodes that ended since the look before; NaN where none did."""
    regret: float
    """What the greedy policy's start value lacks of the optimum; NaN where it need not end at discount 1."""


def require_watchable(algorithm: Algorithm, world: World, model: MDP, seeds: int = 1) -> None:
    """Refuse what cannot be watched, before anything is begun.

    Raises:
        WatchError: for several seeds, hosted worlds, worlds without a map, and learners without a table.
    """
    if not isinstance(world, Environment) or seeds != 1:
        raise WatchError("a run is watched with one seed over a native world: leave out --seeds and --hosted")
    if model.grid is None or not any(model.grid) or not observes_states(world, model):
        raise WatchError(
            "only worlds that lie on a map and show their state can be watched, for instance cliff, windy, "
            "dyna_maze, FrozenLake-v1, or a map drawn in a .txt file"
        )
    run = begun_shapes(algorithm, world, None, jnp.uint32(0), Counter.of(1), algorithm.num_envs)
    network = getattr(run.learner, "network", None)
    if not isinstance(network, TableNetwork) or "q" not in network.tables:
        raise WatchError(
            f"only a table of action values can be watched, and {type(algorithm).__name__} has none here: "
            "q_learning, sarsa and dyna_q have one"
        )


class Watched:
    """A run that is looked at on its way: iterate it for looks, from before the first step to the end.

    Args:
        training: a run of one seed over a native world that shows the states of `model`, with a table of
            action values.
        model: the world's exact model, with a map.
        looks: how many, close together at first and wider apart later, as the square of their number.

    Raises:
        WatchError: for any other run.
    """

    def __init__(self, training: Training, model: MDP, looks: int = LOOKS) -> None:
        require_watchable(training.algorithm, training.world, model, len(training.seeds))
        self.training, self.model, self.looks = training, model, looks
        self._discount = float(getattr(training.algorithm, "discount", 0.99))
        self.best = bellman.solve(model, self._discount)

    def __iter__(self) -> Iterator[Look]:
        training, states = self.training, self.model.num_states
        visits = np.zeros(states, np.int64)
        yield self._look(visits, np.full(states, np.nan), np.nan)
        nothing = Sight(jnp.zeros(states, jnp.uint32), jnp.zeros(states), jnp.float32(self._discount))
        times = np.unique(np.ceil(training.steps * (np.arange(1, self.looks + 1) / self.looks) ** 2).astype(int))
        for sight, mean_return in _advanced(training, [int(t) for t in times], nothing):
            visits = visits + sight.visits
            with np.errstate(invalid="ignore"):
                error = np.where(sight.visits > 0, sight.error / sight.visits, np.nan)
            yield self._look(visits, error, mean_return)

    def _look(self, visits: np.ndarray, error: np.ndarray, mean_return: float) -> Look:
        run = self.training.run
        try:
            regret = self.best.start_value - policy_value(self.training.policy, self.best).start_value
            regret = 0.0 if abs(regret) < ROUNDING else regret
        except ValueError:
            regret = np.nan
        learner: Any = run.learner
        return Look(
            step=self.training.step,
            q=np.asarray(learner.network.tables["q"], float),
            agent=int(run.stage.row.obs[0]),
            visits=visits,
            error=error,
            mean_return=mean_return,
            regret=float(regret),
        )


def _advanced(training: Training, times: list[int], nothing: Sight) -> Iterator[tuple[Sight, float]]:
    """Iterate a run, and say what was seen up to each of these steps: counts, and the mean return."""
    training.observer, training.pauses = nothing, times
    due, ended, total = times[0], 0, 0.0
    for report in training:
        if report.episodes:
            ended, total = ended + report.episodes, total + report.mean_return * report.episodes
        if training.step >= due:
            yield jax.device_get(training.observer), total / ended if ended else np.nan
            training.observer, ended, total = nothing, 0, 0.0
            due = next((t for t in times if t > training.step), training.steps)
