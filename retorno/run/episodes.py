"""What living episodes with a learnt policy takes: its decisions, its memory, and whose reward it is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from retorno.core.errors import RetornoError
from retorno.core.policy import Carry, Policy
from retorno.core.spaces import ActionUnits
from retorno.core.time_step import TimeStep

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


def decide(
    policy: Policy, row: TimeStep, carry: Carry, units: ActionUnits, key: Key[Array, ""] | None, greedy: bool
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
    heads, carry = policy.step(row.obs, row.first, carry)
    choice = heads["policy"].masked(row.legal)
    return units.to_world(choice.mode() if greedy else choice.sample(key)), carry


def decide_all(
    policy: Policy, row: TimeStep, carry: Carry, units: ActionUnits, key: Key[Array, ""], t: Any, greedy: bool
) -> tuple[Any, Carry]:
    """`decide` for B environments, of which the key of each follows from `key` and the time."""
    keys = jax.random.split(jax.random.fold_in(key, t), row.first.shape[0])
    return jax.vmap(lambda row, carry, key: decide(policy, row, carry, units, key, greedy))(row, carry, keys)


def empty_memories(policy: Policy, num_envs: int) -> Carry:
    """A policy's memory before the first row, for each of B environments."""
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), policy.initial_carry())


def next_sign(sign: Float[Array, "*B"], row: TimeStep) -> Float[Array, "*B"]:
    """Whose reward the next one is, 1 or −1: an opponent moves where the discount is negative.

    Args:
        sign: whose the last one was. Shape [B], or [].
        row: the rows that followed. The same shape.

    >>> from retorno.core.time_step import transition
    >>> next_sign(jnp.array(1.0), transition((), 0.0)._replace(discount=jnp.array(-1.0)))
    Array(-1., dtype=float32, weak_type=True)
    """
    return jnp.where(row.discount < 0, -sign, sign)
