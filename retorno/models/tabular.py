"""Models to plan in: the world itself, or what each action led to, of all times or the last time.

Sutton & Barto 2018, section 8.1: a *distribution* model says what may happen and how probable it is, a
*sample* model gives one outcome. A sample model answers as a world does, with a row, and can be asked
about any observation: what is planned at decision time needs no more.
"""

from __future__ import annotations

import abc
from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core.counter import FixedTotal, Total
from retorno.core.environment import Environment
from retorno.core.hyperparameters import settings
from retorno.core.memory import readable
from retorno.core.registry import Registry
from retorno.core.spaces import HashableSpace, SpaceError, Spec, cardinality, element, index
from retorno.core.time_step import TimeStep, Trajectory, legal_mask, restart

MOST_TRANSITIONS = 100_000_000
"""Entries of a table of states × actions × next states."""


class LatestModel(eqx.Module):
    """What each action led to when it was last taken: all there is to know of a world without chance."""

    next_state: Int[Array, "S A"]
    """Of an action that was never taken, the state itself (Sutton & Barto 2018, section 8.3, footnote)."""
    reward: Float[Array, "S A"]
    discount: Float[Array, "S A"]
    tried: UInt32[Array, "S A"]
    """When it was last taken, by the clock; 0 for never."""
    legal: Bool[Array, "S A"] | None
    """As far as seen; None where all actions always are."""
    visited: Int[Array, " S"]
    """The states in which an action was taken, in the order first met, …"""
    met: Int[Array, ""]
    """… of which there are so many."""
    now: UInt32[Array, ""]
    """The clock: transitions lived, from 1 on. It begins again after 2³² − 1; times between are told all the same."""
    observed: HashableSpace = eqx.field(static=True)

    def learn(self, row: TimeStep, action: Int[Array, ""], next_row: TimeStep) -> LatestModel:
        """After one more transition; a reset, out of a row that is `last`, is none."""
        state, next_state = (index(self.observed.space, r.obs) for r in (row, next_row))
        counts = ~row.last
        now = self.now + counts
        now = now + (counts & (now == 0))  # 0 is never.
        new = counts & (self.tried[state] == 0).all()

        def write(table: Array, value: Array) -> Array:
            return table.at[state, action].set(jnp.where(counts, value, table[state, action]))

        legal = self.legal
        if legal is not None:
            here, there = (legal_mask(r.legal, legal.shape[1]) for r in (row, next_row))
            legal = legal.at[state].set(here).at[next_state].set(there)
        return LatestModel(
            next_state=write(self.next_state, next_state),
            reward=write(self.reward, next_row.reward),
            discount=write(self.discount, next_row.discount),
            tried=write(self.tried, now),
            legal=legal,
            visited=self.visited.at[self.met].set(jnp.where(new, state, self.visited[self.met])),
            met=self.met + new,
            now=now,
            observed=self.observed,
        )

    def legal_in(self, state: Int[Array, ""]) -> Bool[Array, " A"] | None:
        """The legal actions of one state."""
        return None if self.legal is None else self.legal[state]


def latest_model(spec: Spec, actions: int) -> LatestModel:
    """Nothing seen yet.

    Raises:
        SpaceError: when the observation space is not finite.
    """
    states = cardinality(spec.observation_space)
    shape = (states, actions)
    return LatestModel(
        next_state=jnp.broadcast_to(jnp.arange(states)[:, None], shape),
        reward=jnp.zeros(shape),
        discount=jnp.ones(shape),
        tried=jnp.zeros(shape, jnp.uint32),
        legal=None if spec.row.legal is None else jnp.ones(shape, bool),
        visited=jnp.zeros(states, jnp.int32),
        met=jnp.int32(0),
        now=jnp.uint32(0),
        observed=HashableSpace(spec.observation_space),
    )


class SampleModel(eqx.Module):
    """What can be asked what an action may lead to."""

    @abc.abstractmethod
    def enter(self, obs: PyTree[Any]) -> TimeStep:
        """The row on which an episode that begins with an observation would begin."""

    @abc.abstractmethod
    def step(self, obs: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> TimeStep:
        """One outcome. Time limits are no part of a model: only a discount of 0 ends anything."""

    @abc.abstractmethod
    def number(self, obs: PyTree[Any]) -> Int[Array, ""]:
        """Which of finitely many observations one is."""

    def update(self, trajectory: Trajectory) -> SampleModel:
        """The model after a trajectory [T+1, B]."""
        return self


class WorldModel(SampleModel):
    """The world itself, stepped in thought."""

    world: Environment

    def enter(self, obs: PyTree[Any]) -> TimeStep:
        return self.world.enter(obs)[1]

    def step(self, obs: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> TimeStep:
        return self.world.step(self.world.enter(obs)[0], action, key)[1]

    def number(self, obs: PyTree[Any]) -> Int[Array, ""]:
        return index(self.world.observation_space, obs)


class CountedModel(SampleModel):
    """How often each action led where, and what it paid: the most likely model is their quotient."""

    count: Total
    """[S, A]"""
    reward: Total
    """[S, A]: sums."""
    onward: FixedTotal
    """[S, A, S]: sums of the discounts on the way to each state, the count of transitions that went on there, negative
    to an opponent. Where both may move in a state, the sum is right for the mean of what follows."""
    legal: Bool[Array, "S A"] | None
    """As far as seen; None where all actions always are."""
    observed: HashableSpace = eqx.field(static=True)

    def enter(self, obs: PyTree[Any]) -> TimeStep:
        return restart(obs, self._legal(self.number(obs)))

    def step(self, obs: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> TimeStep:
        """One of the outcomes so far, which pays the mean reward; what was never tried stays in place and pays 0."""
        state = self.number(obs)
        count = self.count.at((state, action))
        # The trials that went on, by their next states, and behind them those that ended.
        onward = self.onward.at((state, action))
        after = (jnp.cumsum(jnp.abs(onward)) <= jax.random.uniform(key) * count).sum(dtype=jnp.int32)
        goes_on = after < onward.shape[0]
        turn = jnp.where(goes_on & (onward[after] < 0), -1.0, 1.0)
        after = jnp.where(goes_on, after, state)
        ended = (count > 0) & ~goes_on
        return TimeStep(
            obs=element(self.observed.space, after),
            reward=self.reward.at((state, action)) / jnp.maximum(count, 1),
            discount=jnp.where(ended, 0.0, turn),
            first=jnp.array(False),
            last=ended,
            legal=self._legal(after),
        )

    def number(self, obs: PyTree[Any]) -> Int[Array, ""]:
        return index(self.observed.space, obs)

    def _legal(self, state: Int[Array, ""]) -> Bool[Array, " A"] | None:
        return None if self.legal is None else self.legal[state]

    def states(self, obs: PyTree[Any]) -> Int[Array, " N"]:
        """The numbers of N observations."""
        return jax.vmap(self.number)(obs)

    def update(self, trajectory: Trajectory) -> CountedModel:
        """Add a trajectory's transitions."""
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectory.steps)
        envs = trajectory.steps.last.shape[1]
        state, action = self.states(rows.obs), trajectory.action.reshape(-1)
        counts = trajectory.transitions.reshape(-1).astype(jnp.float32)
        legal = self.legal
        if legal is not None:
            legal = legal.at[state].set(jax.vmap(partial(legal_mask, actions=legal.shape[1]))(rows.legal))
        return CountedModel(
            count=self.count.plus_at((state[:-envs], action), counts),
            reward=self.reward.plus_at((state[:-envs], action), counts * rows.reward[envs:]),
            onward=self.onward.plus_at((state[:-envs], action, state[envs:]), counts * rows.discount[envs:]),
            legal=legal,
            observed=self.observed,
        )

    @property
    def mean_reward(self) -> Float[Array, "S A"]:
        """r̂(s, a); 0 for what was never tried."""
        return self.reward.value / jnp.maximum(self.count.value, 1)

    @property
    def onward_chance(self) -> Float[Array, "S A S"]:
        """p̂(s′|s, a) without the share of what terminates, negative to an opponent; 0 for what was never tried."""
        return self.onward.value / jnp.maximum(self.count.value, 1)[..., None]


def counted_model(spec: Spec, actions: int, algorithm: str) -> CountedModel:
    """Nothing counted yet.

    Raises:
        SpaceError: when the observation space is not finite, or the counts would not fit.
    """
    states = cardinality(spec.observation_space)
    entries = states * actions * states
    if entries > MOST_TRANSITIONS:
        raise SpaceError(
            f"{algorithm} counts how often each of {states:,} states follows each other under {actions} actions: "
            f"{entries:,} numbers ({readable(8 * entries)}), at most {MOST_TRANSITIONS:,} can be held; DynaQ keeps "
            "one outcome of each action only, QLearning none"
        )
    return CountedModel(
        count=Total.zeros(states, actions),
        reward=Total.zeros(states, actions),
        onward=FixedTotal.zeros(states, actions, states),
        legal=None if spec.row.legal is None else jnp.ones((states, actions), bool),
        observed=HashableSpace(spec.observation_space),
    )


@runtime_checkable
class ModelConfig(Protocol):
    """Which model is planned in: a frozen dataclass that can build it."""

    def build(self, spec: Spec, actions: int, algorithm: str) -> SampleModel:
        """The model before anything was lived.

        Raises:
            SpaceError: when the world allows no such model; it says which it does.
        """
        ...


@settings
class Exact:
    """The world itself, where it is native and an observation tells its state."""

    def build(self, spec: Spec, actions: int, algorithm: str) -> WorldModel:
        if spec.relabel is not None:
            raise SpaceError(
                f"{algorithm} plans in the world itself, which pays its own rewards and not what "
                f"{type(spec.relabel).__name__} says: plan in a learnt model, model=Counted()"
            )
        if spec.world is None:
            raise SpaceError(
                f"{algorithm} plans in the world itself, and a hosted one cannot be asked what would happen: "
                "plan in a learnt model, model=Counted()"
            )
        try:
            jax.eval_shape(spec.world.enter, spec.row.obs)
        except NotImplementedError as error:
            raise SpaceError(
                f"{algorithm} plans in the world itself, but {error}: plan in a learnt model, model=Counted()"
            ) from None
        # What a run holds is finite; how a model marks what cannot happen is not, and never looked at.
        return WorldModel(jax.tree.map(jnp.nan_to_num, spec.world))


@settings
class Counted:
    """The most likely model of what was lived. Observations: finite."""

    def build(self, spec: Spec, actions: int, algorithm: str) -> CountedModel:
        return counted_model(spec, actions, algorithm)


MODELS = Registry((Exact, Counted), of=ModelConfig)
"""Every model to plan in by the name that the command line gives it."""
