"""How a rollout is split into minibatches: so many equal parts, in another order in each pass over it.

And how a gradient is computed of a few rows at a time: what an image becomes on its way through convolutions is much
larger than the image. Of a whole minibatch it does not stay in a processor's cache, or in its memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int, Key, PyTree

Sums = TypeVar("Sums")
Rows = TypeVar("Rows")
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


def subset(rows: Rows, carry: PyTree[Any], chosen: Int[Array, " n"] | None) -> tuple[Rows, PyTree[Any]]:
    """Some of a rollout's sequences, and the memory before each.

    Args:
        rows: a pytree of arrays [T, N, …].
        carry: one of arrays [N, …].
        chosen: by their places. Shape [n]; None for all.

    Returns:
        Arrays [T, n, …] and [n, …].

    >>> subset(jnp.arange(6).reshape(2, 3), jnp.arange(3), jnp.array([2, 0]))[0]
    Array([[2, 0],
           [5, 3]], dtype=int32)
    """
    if chosen is None:
        return rows, carry
    return jax.tree.map(lambda x: x[:, chosen], rows), jax.tree.map(lambda x: x[chosen], carry)


def in_parts(f: Callable[[Int[Array, " m"] | None], Sums], sequences: int, at_once: int | None) -> Sums:
    r"""What is a sum over a minibatch, as a gradient is, of a few of it at a time.

    .. math:: \sum_k f(c_k)

    Args:
        f: gives a pytree of sums for some of the minibatch, by their places c [m] in it, or with None for all.
        sequences: n, how many are in the minibatch.
        at_once: m, how many are in each part, and in the last one the rest; None for all.

    Returns:
        What f gives, added up over the parts.

    >>> x = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0])
    >>> in_parts(lambda part: x.sum() if part is None else x[part].sum(), 5, at_once=2)
    Array(31., dtype=float32)
    """
    if at_once is None or sequences <= at_once:
        return f(None)
    whole = sequences - sequences % at_once
    parts, rest = jnp.arange(whole).reshape(-1, at_once), jnp.arange(whole, sequences)
    add = lambda total, part: jax.tree.map(jnp.add, total, f(part))  # noqa: E731
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(f, parts[0]))
    total, _ = jax.lax.scan(lambda total, part: (add(total, part), None), nothing, parts)
    return add(total, rest) if len(rest) else total
