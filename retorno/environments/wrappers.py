"""Worlds around worlds: a time limit, none but it, episodes that keep together, a veil over part of what is seen."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Int, Key, PyTree

from retorno.core.environment import Environment, Lockstep
from retorno.core.spaces import SpaceError
from retorno.core.time_step import TimeStep, blank
from retorno.environments.registry import WorldName


class Wrapper(Environment):
    """A world around another one, which stands for what is not said otherwise; `enter` has to be."""

    world: Environment

    def __repr__(self) -> str:
        own = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.name != "world"]
        return f"{type(self).__name__}({', '.join([repr(self.world), *own])})"

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self.world.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self.world.action_space

    @property
    def two_players(self) -> bool:
        return self.world.two_players

    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self.world.reset(key)

    def restart(self, state: PyTree[Any], key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self.world.restart(state, key)

    def step(self, state: PyTree[Any], action: Any, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self.world.step(state, action, key)

    def held_back(self, state: PyTree[Any]) -> Int[Array, ""] | int:
        return self.world.held_back(state)

    def render(self, state: PyTree[Any]) -> np.ndarray:
        return self.world.render(state)


class Limited(NamedTuple):
    """A state, and how many steps ago its episode began."""

    state: PyTree[Any]
    steps: Int[Array, ""]


class TimeLimit(Wrapper):
    """Cuts episodes after `limit` steps: the row has `last`, and its discount stays what it was.

    So the value of where the limit cut is bootstrapped, unless the episode terminated there as well
    (Pardo et al. 2018, "Time limits in reinforcement learning").
    """

    limit: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit must be a positive number of steps, got {self.limit}")

    def reset(self, key: Key[Array, ""]) -> tuple[Limited, TimeStep]:
        state, row = self.world.reset(key)
        return Limited(state, jnp.int32(0)), row

    def restart(self, state: Limited, key: Key[Array, ""]) -> tuple[Limited, TimeStep]:
        after, row = self.world.restart(state.state, key)
        return Limited(after, jnp.int32(0)), row

    def held_back(self, state: Limited) -> Int[Array, ""] | int:
        return self.world.held_back(state.state)

    def enter(self, obs: PyTree[Any]) -> tuple[Limited, TimeStep]:
        state, row = self.world.enter(obs)
        return Limited(state, jnp.int32(0)), row

    def step(self, state: Limited, action: Any, key: Key[Array, ""]) -> tuple[Limited, TimeStep]:
        after, row = self.world.step(state.state, action, key)
        steps = state.steps + 1
        return Limited(after, steps), row._replace(last=row.last | (steps >= self.limit))

    def render(self, state: Limited) -> np.ndarray:
        return self.world.render(state.state)


class Waited(NamedTuple):
    """A state, and whether the world has come to its end there."""

    state: PyTree[Any]
    row: TimeStep
    """The newest one."""
    over: Bool[Array, ""]


class Waiting(Wrapper):
    """Nothing ends an episode but a time limit around it: where it would, the world stays as it is and pays no more.

    So each episode is as long as any other and is worth what it was, and nobody learns what is good from how long it
    went on: who is taught by preferences shall learn it from what was said.
    """

    def reset(self, key: Key[Array, ""]) -> tuple[Waited, TimeStep]:
        state, row = self.world.reset(key)
        return Waited(state, row, jnp.array(False)), row

    def restart(self, state: Waited, key: Key[Array, ""]) -> tuple[Waited, TimeStep]:
        after, row = self.world.restart(state.state, key)
        return Waited(after, row, jnp.array(False)), row

    def held_back(self, state: Waited) -> Int[Array, ""] | int:
        return self.world.held_back(state.state)

    def step(self, state: Waited, action: Any, key: Key[Array, ""]) -> tuple[Waited, TimeStep]:
        moved, row = self.world.step(state.state, action, key)
        going = row._replace(discount=jnp.ones_like(row.discount), last=jnp.zeros_like(row.last))
        stays = state.row._replace(reward=jnp.zeros_like(row.reward), first=jnp.zeros_like(row.first))
        keep = lambda old, new: jax.tree.map(lambda a, b: jnp.where(state.over, a, b), old, new)  # noqa: E731
        after = Waited(keep(state.state, moved), keep(stays, going), state.over | row.last)
        return after, after.row

    def render(self, state: Waited) -> np.ndarray:
        return self.world.render(state.state)


class InStep(NamedTuple):
    """A state, and where its episode stands among those that keep together."""

    state: PyTree[Any]
    steps: Int[Array, ""]
    """How many rows ago the next episodes' turn came."""
    wait: Int[Array, ""]
    """At how many the episode begins."""
    first: TimeStep
    """With which row."""


class Together(Wrapper):
    """Environments that keep together: from the turn of one episode to that of the next it is `rows` rows in all.

    One that ends sooner is followed by rows that wait, which are `last` as well and count for nothing, and one that
    its world holds back (`held_back`) has such rows before it; a longer one is cut (`last`, and no end). So a batch of
    texts is read at once, as far as their prompts go, and written in lockstep. Seen through Gymnasium, which knows no
    waiting, it is the world itself.
    """

    prompt: int = eqx.field(static=True)
    """With how many rows that leave no choice (`Only`) each episode begins."""
    rows: int = eqx.field(static=True)
    """From a first row to the next."""
    named: WorldName | None = eqx.field(static=True, default=None)
    """By which it can be made again."""

    def __check_init__(self) -> None:
        if not 0 <= self.prompt < self.rows:
            raise ValueError(f"an episode's rows must be more than its prompt's, got {self.rows} and {self.prompt}")

    @property
    def lockstep(self) -> Lockstep:
        return Lockstep(self.prompt, self.rows)

    def reset(self, key: Key[Array, ""]) -> tuple[InStep, TimeStep]:
        return self._at(self._turn(*self.world.reset(key)))

    def restart(self, state: InStep, key: Key[Array, ""]) -> tuple[InStep, TimeStep]:
        over = state.steps == self.rows - 1
        next_one = self._turn(*self.world.restart(state.state, key))
        waits = state._replace(steps=state.steps + 1)
        return self._at(jax.tree.map(lambda a, b: jnp.where(over, a, b), next_one, waits))

    def _turn(self, state: PyTree[Any], first: TimeStep) -> InStep:
        return InStep(state, jnp.int32(0), jnp.asarray(self.world.held_back(state), jnp.int32), first)

    def _at(self, state: InStep) -> tuple[InStep, TimeStep]:
        """The row between two episodes: the first one of the next, or one that waits."""
        first = state.first
        waiting = blank(first)._replace(discount=first.discount, legal=first.legal)
        return state, jax.tree.map(lambda a, b: jnp.where(state.steps == state.wait, a, b), first, waiting)

    def step(self, state: InStep, action: Any, key: Key[Array, ""]) -> tuple[InStep, TimeStep]:
        after, row = self.world.step(state.state, action, key)
        steps = state.steps + 1
        return state._replace(state=after, steps=steps), row._replace(last=row.last | (steps == self.rows - 1))

    def render(self, state: InStep) -> np.ndarray:
        return self.world.render(state.state)


class Hidden(Wrapper):
    """Shows only the components `keep` of a vector observation, so that the rest has to be remembered.

    `Hidden(cart_pole(), keep=(0, 2))` is the cart–pole without its velocities.

    Raises:
        SpaceError: when the observation is not a vector or has no such component.
    """

    keep: tuple[int, ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        space = self.world.observation_space
        if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
            raise SpaceError(f"Hidden shows part of a vector (a Box of one axis), got observations of {space}")
        if not self.keep or not all(0 <= k < space.shape[0] for k in self.keep):
            raise SpaceError(f"keep must name components 0 to {space.shape[0] - 1}, got {self.keep}")

    @property
    def observation_space(self) -> spaces.Box:
        space: Any = self.world.observation_space
        keep = list(self.keep)
        return spaces.Box(space.low[keep], space.high[keep], dtype=space.dtype.type)

    def _veil(self, row: TimeStep) -> TimeStep:
        return row._replace(obs=row.obs[np.array(self.keep)])

    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        state, row = self.world.reset(key)
        return state, self._veil(row)

    def restart(self, state: PyTree[Any], key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        state, row = self.world.restart(state, key)
        return state, self._veil(row)

    def step(self, state: PyTree[Any], action: Any, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        state, row = self.world.step(state, action, key)
        return state, self._veil(row)
