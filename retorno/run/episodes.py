"""What living episodes with a learnt policy takes: its decisions, its memory, and whose reward it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from retorno.core import constants
from retorno.core.environment import HostedEnvironments, HostedWorld
from retorno.core.errors import RetornoError
from retorno.core.policy import Carry, Policy
from retorno.core.spaces import Units
from retorno.core.time_step import TimeStep
from retorno.core.waiting import waiting
from retorno.policies.target_and_behaviour import AtRandom

LONGEST_EPISODE = 100_000


class EvaluationError(RetornoError):
    """Episodes that do not end."""


def endless(earned: float | None = None) -> EvaluationError:
    """What is said of an episode that does not end.

    Args:
        earned: in it, by a step, where that is known.
    """
    told = "" if earned is None else f"; a step earned {earned:z.4g} on average"
    return EvaluationError(
        f"an episode did not end within {LONGEST_EPISODE:,} steps{told}. For the return of an episode give the world a "
        "time limit, for instance TimeLimit(world, 1000)"
    )


class Lived(NamedTuple):
    """What one policy's episodes came to: of each its return, its length, whether it was cut, and a success."""

    returns: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray
    success: np.ndarray | None = None
    """NaN where nothing was said; None where nothing can be."""
    info: Mapping[str, np.ndarray] = MappingProxyType({})
    """What was asked of the info of their last steps."""


def decide(
    policy: Policy, row: TimeStep, carry: Carry, units: Units, key: Key[Array, ""] | None, greedy: bool
) -> tuple[Any, Carry]:
    """One action of a learnt policy, ready for the world: its best, or one drawn from it.

    Args:
        policy: its heads hold "policy".
        row: what is seen. Shapes [].
        carry: the policy's memory.
        units: how its actions become the world's.
        key: what is drawn with, where it is not `greedy`.
        greedy: take the best action, or draw one.

    Returns:
        The action, and the memory after it.
    """
    choice, carry = policy.choice(row, carry)
    return units.to_world(choice.mode() if greedy else choice.sample(key)), carry


def surely(policy: Policy, greedy: bool) -> bool:
    """Whether a player takes its best action: where it is asked for, and there is one.

    Args:
        policy: who plays.
        greedy: whether best actions are asked for.
    """
    return greedy and not isinstance(policy, AtRandom)


def decide_all(
    policy: Policy, row: TimeStep, carry: Carry, units: Units, key: Key[Array, ""], t: Any, greedy: bool
) -> tuple[Any, Carry]:
    """`decide` for B environments, of which the key of each follows from `key` and the time."""
    keys = jax.random.split(jax.random.fold_in(key, t), row.first.shape[0])
    return jax.vmap(lambda row, carry, key: decide(policy, row, carry, units, key, greedy))(row, carry, keys)


def empty_memories(policy: Policy, num_envs: int) -> Carry:
    """A policy's memory before the first row, for each of B environments."""
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), policy.initial_carry())


def told_episodes(number: int) -> str:
    """How many episodes, in words.

    >>> told_episodes(1), told_episodes(2000)
    ('1 episode', '2,000 episodes')
    """
    return f"{number:,} episode{'s' * (number != 1)}"


decide_hosted = constants.jit(decide_all, static_argnames=("greedy",))
"""`decide_all` for rows of hosted environments, one compiled call."""

Choose = Callable[[TimeStep, Any, Float[np.ndarray, " B"], int], tuple[Any, Any]]
"""(rows [B], memory, whose rewards the next ones are [B], time) → actions [B] and the memory after them."""


def live_hosted(
    choose: Choose, memory: Callable[[int], Any], world: HostedWorld, episodes: int, seed: int, side: float = 1.0
) -> Lived:
    """Whole episodes in hosted environments, opened for that and closed again.

    Each of B environments lives ⌈episodes / B⌉ of them, so that short ones are not preferred.

    Args:
        choose: what is done.
        memory: an empty one for so many environments.
        world: a hosted world.
        episodes: how many.
        seed: of the episodes.
        side: 1 where returns are of the player who moves first, −1 where they are of the other.

    Raises:
        EvaluationError: when an episode does not end.

    Returns:
        What they came to: the first round of episodes, then the second, ….
    """
    with waiting("opening environments for the evaluation"):
        environments = world.open(world.num_envs or min(episodes, 8), seed)
    try:
        return _live(choose, memory(environments.num_envs), environments, episodes, side)
    finally:
        environments.close()


def _live(choose: Choose, memory: Any, environments: HostedEnvironments, episodes: int, side: float) -> Lived:
    num_envs = environments.num_envs
    share = -(-episodes // num_envs)
    ended: list[list[tuple[float, int, bool, np.ndarray]]] = [[] for _ in range(num_envs)]
    row = environments.reset()
    total, length, sign, t = np.zeros(num_envs), np.zeros(num_envs, int), np.full(num_envs, side), 0
    told = told_episodes(share * num_envs)
    with waiting("evaluating", lambda: f"{sum(map(len, ended)):,} of {told} are over, at step {t:,}"):
        while min(map(len, ended)) < share:
            if length.max() >= LONGEST_EPISODE:
                raise endless(total[length.argmax()] / length.max())
            action, memory = choose(row, memory, sign, t)
            row = environments.step(jax.tree.map(np.asarray, action))
            total = np.where(row.first, 0.0, total + sign * row.reward)
            sign = np.where(row.first, side, np.where(np.asarray(row.discount) < 0, -sign, sign))
            length = np.where(row.first, 0, length + 1)
            for env in np.flatnonzero(row.last):
                said = environments.endings.newest[:, env].copy()
                ended[env].append((float(total[env]), int(length[env]), bool(row.discount[env] != 0), said))
            t += 1
    rounds = [ended[env][i] for i in range(share) for env in range(num_envs)][:episodes]
    returns, lengths, cut, said = map(np.array, zip(*rounds, strict=True))
    success, *asked = said.T
    return Lived(returns, lengths, cut, success, dict(zip(environments.endings.names[1:], asked, strict=True)))
