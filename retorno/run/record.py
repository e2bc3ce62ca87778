"""Episodes that a learnt policy lives, recorded: what those learn from who do not act themselves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Key, UInt32

from retorno.core import constants
from retorno.core.environment import Environment, Episodes, HostedWorld, World, advance, begin
from retorno.core.policy import Carry, Policy
from retorno.core.runtime import prepare
from retorno.core.spaces import action_units, given_units
from retorno.core.time_step import TimeStep
from retorno.core.waiting import waiting
from retorno.environments.recordings import Episode, Recorded, recorded_episodes
from retorno.run.episodes import (
    LONGEST_EPISODE,
    EvaluationError,
    decide_all,
    decide_hosted,
    empty_memories,
    endless,
    told_episodes,
)
from retorno.run.learnt import learnt_and_world, policies_of, require_fitting

MOST_ENVIRONMENTS = 16
"""Side by side."""
STRETCH = 64
"""Rows of a native world that one program lives."""

Lived = tuple[TimeStep, Any]
"""Rows [T, B], and what was done on each [T, B], as the world takes it; on the host."""


def record(
    policy: Any,
    world: World | str | None = None,
    episodes: int = 100,
    *,
    seed: int = 0,
    greedy: bool = False,
) -> Recorded:
    """Live whole episodes and keep every row of them, as a world of recordings from which others learn.

    Behaviour cloning, IQL, TD3+BC and CQL learn from it, a decision transformer from what
    `retorno.environments.told_returns` makes of it, and `retorno.environments.save_dataset` writes it to a file.

    Args:
        policy: a policy, a run, what `load` gives, or a run's folder; or several, each of which lives as many episodes.
        world: where; that of the run where it is not said.
        episodes: of each policy.
        seed: of the episodes and of what is drawn.
        greedy: take each policy's best action instead of drawing one.

    Raises:
        ValueError: when `episodes` is not positive, or the world is not the policy's.
        EvaluationError: when an episode does not end, or a world cannot be recorded so: games of two, in which what
            pays the one costs the other, and recordings.
    """
    if not isinstance(episodes, int | np.integer) or episodes < 1:
        raise ValueError(f"episodes must be positive and whole, got {episodes!r}: pass for instance episodes=100")
    prepare()
    learnt, where = learnt_and_world(policy, world)
    if isinstance(where, Recorded):
        raise EvaluationError("what is recorded already is not lived again: name another world")
    if isinstance(where, Environment) and where.two_players:
        raise EvaluationError(f"{where!r} is for two players: recordings are of one who acts")
    for each in learnt:
        require_fitting(each, where)
    lived: list[Episode] = []
    for number, each in enumerate(one for part in learnt for one in policies_of(part)):
        with waiting(f"recording {told_episodes(episodes)} of policy {number}"):
            lived += _episodes(each.select("policy"), where, episodes, seed + number, greedy)
    return recorded_episodes(lived, where.observation_space, where.action_space)


def _episodes(policy: Policy, world: World, episodes: int, seed: int, greedy: bool) -> list[Episode]:
    """One policy's episodes: each of B environments lives ⌈episodes / B⌉, so that short ones are not preferred."""
    if isinstance(world, Environment):
        num_envs = min(episodes, MOST_ENVIRONMENTS)
        stretches = _native(policy, world, seed, num_envs, greedy)
    else:
        num_envs = world.num_envs or min(episodes, MOST_ENVIRONMENTS)
        stretches = _hosted(policy, world, seed, num_envs, greedy)
    share = -(-episodes // num_envs)
    found: list[list[Episode]] = [[] for _ in range(num_envs)]
    begun: list[list[Any]] = [[] for _ in range(num_envs)]
    for rows, actions in stretches:
        for env in range(num_envs):
            for lived in _pieces(rows, actions, env, begun[env]):
                found[env].append(lived)
        if min(map(len, found)) >= share:
            break
        if max(sum(len(piece[0].last) for piece in each) for each in begun) > LONGEST_EPISODE:
            raise endless()
    return [found[env][i] for i in range(share) for env in range(num_envs)][:episodes]


def _pieces(rows: TimeStep, actions: Any, env: int, begun: list[Any]) -> Iterator[Episode]:
    """The episodes of one environment that end in this stretch; what has begun of the next one is kept in `begun`."""
    first, last = rows.first[:, env], rows.last[:, env]
    start = 0
    for end in np.flatnonzero(last):
        if begun or first[start : end + 1].any():  # Between two episodes rows may only wait.
            at = start if begun else start + int(np.argmax(first[start : end + 1]))
            begun.append(jax.tree.map(lambda x, a=at, b=end + 1: x[a:b, env], (rows, actions)))
            steps, done = jax.tree.map(lambda *x: np.concatenate(x), *begun)
            yield Episode(steps, jax.tree.map(lambda x: x[:-1], done))
            begun.clear()
        start = end + 1
    if start < len(last) and (begun or first[start:].any()):
        begun.append(jax.tree.map(lambda x: x[start:, env], (rows, actions)))


def _native(policy: Policy, world: Environment, seed: int, num_envs: int, greedy: bool) -> Iterator[Lived]:
    envs = jnp.arange(num_envs, dtype=jnp.uint32)
    episodes, row = jax.vmap(lambda env: begin(world, jnp.uint32(seed), env))(envs)
    stage, number = (episodes, row, empty_memories(policy, num_envs)), 0
    while True:
        key = jax.random.fold_in(jax.random.key(seed), number)
        stage, lived = _stretch(policy, world, stage, jnp.uint32(seed), key, greedy)
        yield jax.tree.map(np.asarray, lived)
        number += 1


@partial(constants.jit, static_argnames=("greedy",))
def _stretch(
    policy: Policy,
    world: Environment,
    stage: tuple[Episodes, TimeStep, Carry],
    seed: UInt32[Array, ""],
    key: Key[Array, ""],
    greedy: bool,
) -> tuple[tuple[Episodes, TimeStep, Carry], Lived]:
    units = action_units(world.action_space)

    def step(stage: tuple[Episodes, TimeStep, Carry], t: Array) -> tuple[tuple[Episodes, TimeStep, Carry], Lived]:
        episodes, row, carry = stage
        action, carry = decide_all(policy, row, carry, units, key, t, greedy)
        envs = jnp.arange(row.last.shape[0], dtype=jnp.uint32)
        after = jax.vmap(partial(advance, world), in_axes=(0, 0, 0, None, 0))(episodes, row, action, seed, envs)
        return (*after, carry), (row, action)

    return jax.lax.scan(step, stage, jnp.arange(STRETCH))


def _hosted(policy: Policy, world: HostedWorld, seed: int, num_envs: int, greedy: bool) -> Iterator[Lived]:
    given, whole = given_units(world.action_space), action_units(world.action_space)
    environments = world.open(num_envs, seed)
    try:
        row, carry, t = environments.reset(), empty_memories(policy, environments.num_envs), 0
        key = jax.random.key(seed)
        while True:
            lived = []
            for _ in range(STRETCH):
                action, carry = decide_hosted(policy, row, carry, given, key, np.int32(t), greedy)
                action = jax.tree.map(np.asarray, action)
                taken = action if given == whole else jax.tree.map(np.asarray, whole.to_world(jnp.asarray(action)))
                lived.append(jax.tree.map(np.array, (row, taken)))
                row, t = environments.step(action), t + 1
            yield jax.tree.map(lambda *x: np.stack(x), *lived)
    finally:
        environments.close()
