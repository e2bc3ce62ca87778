"""A world that becomes another one while it is lived in: for learners that must notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Int, Key, PyTree

from retorno.core.environment import Environment
from retorno.core.mdp import MDP, mdp
from retorno.core.time_step import TimeStep
from retorno.environments.sampled_world import Sampled, sampled


class Changed(NamedTuple):
    """A state of both worlds, and how many steps have been lived."""

    state: PyTree[Any]
    steps: Int[Array, ""]


class Nonstationary(Environment):
    """Two worlds with the same spaces and states, of which the second takes over after `at` steps.

    Steps are counted over all episodes: a `restart` goes on counting, only a `reset` is the beginning of time.
    """

    before: Environment
    after: Environment
    at: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.at < 1:
            raise ValueError(f"the world changes after a positive number of steps, got {self.at}")
        for kind in ("observation_space", "action_space"):
            if getattr(self.before, kind) != getattr(self.after, kind):
                raise ValueError(
                    f"a world may change into one with the same {kind}: use nonstationary(model, model, at)"
                )

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self.before.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self.before.action_space

    def reset(self, key: Key[Array, ""]) -> tuple[Changed, TimeStep]:
        state, row = self.before.reset(key)
        return Changed(state, jnp.int32(0)), row

    def restart(self, state: Changed, key: Key[Array, ""]) -> tuple[Changed, TimeStep]:
        inner, row = self._now(state).restart(state.state, key)
        return Changed(inner, state.steps), row

    def step(self, state: Changed, action: Any, key: Key[Array, ""]) -> tuple[Changed, TimeStep]:
        inner, row = self._now(state).step(state.state, action, key)
        return Changed(inner, state.steps + 1), row

    def _now(self, state: Changed) -> Environment:
        return jax.tree.map(lambda a, b: jnp.where(state.steps < self.at, a, b), self.before, self.after)


def nonstationary(before: MDP, after: MDP, at: int) -> Nonstationary:
    """The world of one model that becomes another's after `at` steps.

    States are known by their names. One that the other model lacks is a dead end there: who stands in it
    begins anew.

    Raises:
        ValueError: for discounts other than 0 and 1, actions that differ, or a change before the first step.

    Args:
        before: the first model.
        after: the one that it becomes.
        at: how many steps of the whole run it lasts.

    >>> from retorno.environments.grids.mazes import blocking_maze
    >>> nonstationary(blocking_maze(False), blocking_maze(True), at=1000).action_space
    Discrete(4)
    """
    if tuple(before.action_names) != tuple(after.action_names):
        raise ValueError(f"both models need the same actions, got {before.action_names} and {after.action_names}")
    names = list(dict.fromkeys([*before.state_names, *after.state_names]))
    one, other = (sampled(_numbered(model, names)) for model in (before, after))
    size, most = (max(x(one), x(other)) for x in (lambda w: len(w.reward), lambda w: w.most_outcomes))
    return Nonstationary(_padded(one, size, most), _padded(other, size, most), at)


def _numbered(model: MDP, names: list[str]) -> MDP:
    """The same model with its states numbered as the names are."""
    if not np.isin(model.discount, (0.0, 1.0)).all():
        raise ValueError("a world that changes has transitions that go on or terminate: discounts 1 and 0")
    choices: dict[str, dict[str, list[tuple[float, str, float, bool]]]] = {name: {} for name in names}
    for p, s in enumerate(model.pair_state):
        choices[model.state_names[int(s)]][model.action_names[int(model.action[p])]] = [
            (
                float(model.probability[t]),
                model.state_names[int(model.next_state[t])],
                float(model.reward[t]),
                bool(model.discount[t] == 0),
            )
            for t in range(model.row_ptr[p], model.row_ptr[p + 1])
        ]
    start = {model.state_names[int(s)]: float(model.initial[s]) for s in np.flatnonzero(model.initial)}
    return mdp(choices, initial=start)


def _padded(world: Sampled, size: int, most: int) -> Sampled:
    """Lists of outcomes of equal length, so that one compiled step reads either."""
    lists = ("cumulative", "next_state", "reward", "discount")
    longer = {name: jnp.pad(getattr(world, name), (0, size - len(world.reward))) for name in lists}
    return replace(world, **longer, most_outcomes=most)
