"""From acting to a trajectory: one contract, two bodies.

Where the world is JAX-native the whole rollout is one `lax.scan` inside a compiled program: `collect`. Where
it is hosted a Python loop calls one compiled `choose` for each step: `retorno.run.hosted.Rollout`. Both choose with
the same keys and live the same episodes, so they live the same trajectory.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, Episodes, advance, begin
from retorno.core.policy import Algorithm, Carry, Learner
from retorno.core.spaces import ActionUnits, action_units
from retorno.core.time_step import TimeStep, Trajectory


class CollectState(NamedTuple):
    """Where B environments and the policy's memory of them stand."""

    episodes: Episodes | None
    """[B]; None where the environments are hosted and keep their own state."""
    row: TimeStep
    """[B]"""
    carry: Carry
    """[B]"""


def initial_carries(algorithm: Algorithm, learner: Learner, num_envs: int) -> Carry:
    """Empty memories [B]."""
    carry = algorithm.initial_carry(learner)
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), carry)


def opening(
    algorithm: Algorithm, learner: Learner, world: Environment, seed: UInt32[Array, ""], num_envs: int
) -> CollectState:
    """B native environments at the first rows of their first episodes."""
    episodes, row = jax.vmap(lambda env: begin(world, seed, env))(jnp.arange(num_envs, dtype=jnp.uint32))
    return CollectState(episodes, row, initial_carries(algorithm, learner, num_envs))


class Choice(NamedTuple):
    """What was chosen on B rows."""

    action: Any
    """[B]"""
    given: Any
    """[B], the action as the world takes it: in its units."""
    extras: PyTree[Any]
    """[B]"""
    carry: Carry
    """[B]"""


def choose(
    algorithm: Algorithm,
    learner: Learner,
    units: ActionUnits,
    row: TimeStep,
    carry: Carry,
    key: Key[Array, ""],
    t: Int[Array, ""],
) -> Choice:
    """Act on B rows. Each of a rollout's choices has its own key."""
    num_envs = row.last.shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(t * num_envs + jnp.arange(num_envs))
    action, extras, carry = jax.vmap(partial(algorithm.act, learner))(row, carry, keys)
    return Choice(action, units.to_world(action), extras, carry)


def collect(
    algorithm: Algorithm,
    learner: Learner,
    world: Environment,
    stage: CollectState,
    seed: UInt32[Array, ""],
    key: Key[Array, ""],
) -> tuple[CollectState, Trajectory]:
    """T interactions with B native environments, to be called inside a compiled program."""
    numbers = jnp.arange(stage.row.last.shape[0], dtype=jnp.uint32)
    units = action_units(world.action_space)

    def interact(stage: CollectState, t: Int[Array, ""]) -> tuple[CollectState, tuple[TimeStep, Any, PyTree[Any]]]:
        choice = choose(algorithm, learner, units, stage.row, stage.carry, key, t)
        episodes, row = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, seed, n))(
            stage.episodes, stage.row, choice.given, numbers
        )
        return CollectState(episodes, row, choice.carry), (stage.row, choice.action, choice.extras)

    after, (rows, action, extras) = jax.lax.scan(interact, stage, jnp.arange(algorithm.rollout))
    steps = jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), rows, after.row)
    return after, Trajectory(steps, action, extras, stage.carry)


class EpisodeStatistics(NamedTuple):
    """Returns and lengths of the episodes, as they are lived: of those under way, and sums of those that ended."""

    open_return: Float[Array, " B"]
    """Of two players, the one's who moved first."""
    sign: Float[Array, " B"]
    """−1 where the other is to move; in a world without an opponent always 1."""
    open_length: UInt32[Array, " B"]
    episodes: UInt32[Array, ""]
    """It and `length_sum` begin again at 2³²: differences are exact all the same."""
    return_sum: Float[Array, ""]
    lost: Float[Array, ""]
    """What rounding has taken from `return_sum` (Kahan 1965)."""
    length_sum: UInt32[Array, ""]

    def update(self, trajectory: Trajectory) -> EpisodeStatistics:
        """Count a trajectory's rewards, undiscounted."""

        def count(scores: EpisodeStatistics, row: tuple[Array, ...]) -> tuple[EpisodeStatistics, None]:
            reward, discount, first, last = row
            returns = jnp.where(first, 0.0, scores.open_return + scores.sign * reward)
            lengths = jnp.where(first, jnp.uint32(0), scores.open_length + 1)
            more = jnp.where(last, returns, 0.0).sum() + scores.lost
            total = scores.return_sum + more
            return EpisodeStatistics(
                open_return=returns,
                sign=jnp.where(first, 1.0, jnp.where(discount < 0, -scores.sign, scores.sign)),
                open_length=lengths,
                episodes=scores.episodes + last.sum(dtype=jnp.uint32),
                return_sum=total,
                lost=more - (total - scores.return_sum),
                length_sum=scores.length_sum + jnp.where(last, lengths, 0).sum(dtype=jnp.uint32),
            ), None

        steps = trajectory.steps
        told = (steps.reward[1:], steps.discount[1:], steps.first[1:], steps.last[1:])
        return jax.lax.scan(count, self, told)[0]


def no_episodes(num_envs: int) -> EpisodeStatistics:
    """Nothing lived yet."""
    return EpisodeStatistics(
        open_return=jnp.zeros(num_envs),
        sign=jnp.ones(num_envs),
        open_length=jnp.zeros(num_envs, jnp.uint32),
        episodes=jnp.uint32(0),
        return_sum=jnp.float32(0),
        lost=jnp.float32(0),
        length_sum=jnp.uint32(0),
    )
