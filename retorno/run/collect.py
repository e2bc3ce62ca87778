"""From acting to a trajectory: one contract, two bodies.

Where the world is JAX-native the whole rollout is one `lax.scan` inside a compiled program; where
it is hosted a Python loop calls one compiled `act` for each step. Both choose with the same
keys and live the same episodes, so they return the same trajectory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, Episodes, HostedEnvironments, advance, begin
from retorno.core.policy import Algorithm, Carry, Learner
from retorno.core.spaces import Bounds, action_bounds, clip_action
from retorno.core.time_step import TimeStep, Trajectory


class Stage(NamedTuple):
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
) -> Stage:
    """B native environments at the first rows of their first episodes."""
    episodes, row = jax.vmap(lambda env: begin(world, seed, env))(jnp.arange(num_envs, dtype=jnp.uint32))
    return Stage(episodes, row, initial_carries(algorithm, learner, num_envs))


def choose(
    algorithm: Algorithm, learner: Learner, row: TimeStep, carry: Carry, key: Key[Array, ""], t: Int[Array, ""]
) -> tuple[Any, PyTree[Any], Carry]:
    """Act on B rows: (action, extras, carry), each [B]. Step t of a rollout has its own keys."""
    keys = jax.random.split(jax.random.fold_in(key, t), row.last.shape[0])
    return jax.vmap(partial(algorithm.act, learner))(row, carry, keys)


def collect(
    algorithm: Algorithm,
    learner: Learner,
    world: Environment,
    stage: Stage,
    seed: UInt32[Array, ""],
    key: Key[Array, ""],
) -> tuple[Stage, Trajectory]:
    """T interactions with B native environments, to be called inside a compiled program."""
    numbers = jnp.arange(stage.row.last.shape[0], dtype=jnp.uint32)
    bounds = action_bounds(world.action_space)

    def interact(stage: Stage, t: Int[Array, ""]) -> tuple[Stage, tuple[TimeStep, Any, PyTree[Any]]]:
        action, extras, carry = choose(algorithm, learner, stage.row, stage.carry, key, t)
        episodes, row = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, seed, n))(
            stage.episodes, stage.row, clip_action(action, bounds), numbers
        )
        return Stage(episodes, row, carry), (stage.row, action, extras)

    after, (rows, action, extras) = jax.lax.scan(interact, stage, jnp.arange(algorithm.rollout))
    steps = jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), rows, after.row)
    return after, Trajectory(steps, action, extras, stage.carry)


@lru_cache
def _chooser(algorithm: Algorithm, structure: Any) -> Callable[..., Any]:
    """`choose` as one compiled call on plain arrays: flattening modules and typed keys costs more than acting."""

    @jax.jit
    def compiled(leaves, bounds, row, carry, key_data, t):
        learner, key = jax.tree.unflatten(structure, leaves), jax.random.wrap_key_data(key_data)
        action, extras, carry = choose(algorithm, learner, row, carry, key, t)
        return action, clip_action(action, bounds), extras, carry

    return compiled


def collect_hosted(
    algorithm: Algorithm,
    learner: Learner,
    environments: HostedEnvironments,
    bounds: Bounds,
    stage: Stage,
    key: Key[Array, ""],
) -> tuple[Stage, Trajectory]:
    """T interactions with B hosted environments: one compiled call for each step."""
    leaves, structure = jax.tree.flatten(learner)
    act, key_data = _chooser(algorithm, structure), jax.random.key_data(key)
    row, carry = stage.row, stage.carry
    rows, actions, extras = [row], [], []
    for t in range(algorithm.rollout):
        action, world_action, extra, carry = act(leaves, bounds, row, carry, key_data, np.int32(t))
        row = environments.step(jax.tree.map(np.asarray, world_action))
        rows.append(row)
        actions.append(action)
        extras.append(extra)
    stack = partial(jax.tree.map, lambda *x: np.stack([np.asarray(y) for y in x]))
    return Stage(None, row, carry), Trajectory(stack(*rows), stack(*actions), stack(*extras), stage.carry)


class Scores(NamedTuple):
    """Returns and lengths of the episodes, as they are lived: of those under way, and sums of those that ended."""

    open_return: Float[Array, " B"]
    open_length: Int[Array, " B"]
    episodes: Int[Array, ""]
    return_sum: Float[Array, ""]
    length_sum: Int[Array, ""]

    def update(self, trajectory: Trajectory) -> Scores:
        """Count a trajectory's rewards, undiscounted."""

        def count(scores: Scores, row: tuple[Array, Array, Array]) -> tuple[Scores, None]:
            reward, first, last = row
            returns = jnp.where(first, 0.0, scores.open_return + reward)
            lengths = jnp.where(first, 0, scores.open_length + 1)
            return Scores(
                returns,
                lengths,
                scores.episodes + last.sum(dtype=jnp.int32),
                scores.return_sum + jnp.where(last, returns, 0.0).sum(),
                scores.length_sum + jnp.where(last, lengths, 0).sum(dtype=jnp.int32),
            ), None

        steps = trajectory.steps
        return jax.lax.scan(count, self, (steps.reward[1:], steps.first[1:], steps.last[1:]))[0]


def no_scores(num_envs: int) -> Scores:
    """Nothing lived yet."""
    return Scores(jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32), jnp.int32(0), jnp.float32(0), jnp.int32(0))
