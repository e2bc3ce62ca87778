"""How a rollout is split into minibatches: so many equal parts, in another order in each pass over it."""

from __future__ import annotations

import math

import jax
from jax import Array
from jaxtyping import Int, Key

USUAL = 32


def equal_parts(minibatches: int | None, context: int | None, rollout: int, num_envs: int) -> int:
    """How many gradient steps a pass over a rollout takes, which learns from whole sequences.

    These are single transitions, or with a memory without bound all rows of an environment.

    Args:
        minibatches: as many as are asked for; None for 32, or as many of them as divide the sequences.
        context: of the network; see `Policy.context`.
        rollout: T
        num_envs: B

    Raises:
        ValueError: when the rollout cannot be split into as many equal parts.

    >>> equal_parts(None, 0, 6, 4), equal_parts(None, None, 6, 4), equal_parts(3, 0, 6, 4)
    (8, 4, 3)
    """
    sequences = num_envs * (1 if context is None else rollout)
    if minibatches is None:
        return math.gcd(sequences, USUAL)
    if sequences % minibatches:
        kind = "sequences (one for each environment)" if context is None else "transitions"
        raise ValueError(
            f"a rollout of {sequences} {kind} cannot be split into {minibatches} equal minibatches: "
            "choose minibatches, rollout and num_envs so that it can"
        )
    return minibatches


def shuffled(key: Key[Array, ""], sequences: int, epochs: int, minibatches: int) -> Int[Array, "S n"] | None:
    """Which sequences each gradient step learns from: all once in a pass, in an order of its own.

    Args:
        key: the orders follow from it.
        sequences: N
        epochs: E, how many passes.
        minibatches: M, how many steps in each.

    Returns:
        Indices, of shape [E·M, N/M]; None where one step learns from all.

    >>> jax.numpy.sort(shuffled(jax.random.key(0), 4, 2, 2).reshape(2, 4))
    Array([[0, 1, 2, 3],
           [0, 1, 2, 3]], dtype=int32)
    """
    if minibatches == 1:
        return None
    orders = jax.vmap(lambda key: jax.random.permutation(key, sequences))(jax.random.split(key, epochs))
    return orders.reshape(epochs * minibatches, -1)
