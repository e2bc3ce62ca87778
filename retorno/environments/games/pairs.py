"""Games of two in pairs that begin alike, one from either side, all at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, Episodes, advance, begin
from retorno.core.spaces import num_actions
from retorno.core.time_step import TimeStep, allowed

Choose = Callable[[TimeStep, PyTree[Any], Int[Array, ""]], tuple[Any, Any, PyTree[Any]]]
"""(rows [N], memory, time) → what the first of the players would do [N], what the other would, the memory after it."""


class Games(NamedTuple):
    """Games [N] under way; the first of the players begins those of even number."""

    standing: Episodes
    row: TimeStep
    memory: PyTree[Any]
    sign: Float[Array, " N"]
    """1 where the first player is to move, −1 where the other is."""
    returns: Float[Array, " N"]
    """What the first player got."""
    lengths: Float[Array, " N"]
    over: Bool[Array, " N"]


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


def play_pairs(
    choose: Choose,
    memory: PyTree[Any],
    world: Environment,
    seed: UInt32[Array, ""],
    pairs: int,
    openings: int,
    opening: Key[Array, ""],
    longest: int,
) -> Games:
    """Games played to their ends, or as far as they may go.

    Args:
        choose: what both players would do.
        memory: what they know before the first row, of 2 · `pairs` games.
        world: a game of two.
        seed: of the games.
        pairs: of games that begin alike.
        openings: first moves that are drawn evenly, the same for both games of a pair.
        opening: what they are drawn with.
        longest: moves of a game, at most.
    """
    numbers = jnp.repeat(jnp.arange(pairs, dtype=jnp.uint32), 2)
    standing, row = jax.vmap(lambda n: begin(world, seed, n))(numbers)

    def drawn(row: TimeStep, number: UInt32[Array, ""], t: Int[Array, ""]) -> Int[Array, ""]:
        key = jax.random.fold_in(jax.random.fold_in(opening, number), t)
        return jax.random.categorical(key, allowed(row.legal, jnp.zeros(num_actions(world.action_space, "an opening"))))

    def step(at: tuple[Games, Int[Array, ""]]) -> tuple[Games, Int[Array, ""]]:
        now, t = at
        one, other, memory = choose(now.row, now.memory, t)
        action = jax.vmap(jnp.where)(now.sign > 0, one, other)
        if openings:
            action = jnp.where(t < openings, jax.vmap(drawn, (0, 0, None))(now.row, numbers, t), action)
        standing, row = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, seed, n))(
            now.standing, now.row, action, numbers
        )
        # A game that is over stays before its last move: who searches is not asked about one more, begun anew.
        stay = jax.vmap(lambda over, old, new: jax.tree.map(partial(jnp.where, over), old, new))
        over = now.over | row.last
        return Games(
            standing=stay(over, now.standing, standing),
            row=stay(over, now.row, row),
            memory=memory,
            sign=stay(over, now.sign, next_sign(now.sign, row)),
            returns=now.returns + jnp.where(now.over, 0.0, now.sign * row.reward),
            lengths=now.lengths + ~now.over,
            over=over,
        ), t + 1

    zeros = jnp.zeros(2 * pairs)
    begun = Games(standing, row, memory, jnp.tile(jnp.array([1.0, -1.0]), pairs), zeros, zeros, zeros > 0)
    going = lambda at: ~at[0].over.all() & (at[1] < longest)  # noqa: E731
    return jax.lax.while_loop(going, step, (begun, jnp.int32(0)))[0]
