"""Gymnasium's `Blackjack-v1` as a native world, card for card. Sutton & Barto 2018, example 5.1.

What is seen does not tell a natural from an ordinary 21; the exact model, in `blackjack.py`, keeps them apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.games.blackjack import STAND

MOST = 15
"""So many cards at most the dealer draws: from two aces, each card counting 1, to 17."""


class Hand(NamedTuple):
    """What counts of some cards."""

    total: Int[Array, ""]
    """Aces count 1."""
    ace: Bool[Array, ""]

    def take(self, card: Int[Array, ""]) -> Hand:
        """With one card more."""
        return Hand(self.total + card, self.ace | (card == 1))

    @property
    def usable(self) -> Bool[Array, ""]:
        """Whether an ace counts 11."""
        return self.ace & (self.total <= 11)

    @property
    def sum(self) -> Int[Array, ""]:
        """With an ace as 11 where that does not bust."""
        return self.total + 10 * self.usable

    @property
    def score(self) -> Int[Array, ""]:
        """The sum, or 0 where it is above 21."""
        return jnp.where(self.sum > 21, 0, self.sum)


class Table(NamedTuple):
    """Who holds what."""

    player: Hand
    dealer: Hand
    shown: Int[Array, ""]
    natural: Bool[Array, ""]
    """Whether the player's two cards are an ace and a ten, and no other was taken."""


class Blackjack(Environment):
    """Hit (1) or stick (0) against the dealer. Seen are the sum, the dealer's card, and whether an ace counts 11."""

    natural: bool = eqx.field(static=True, default=False)
    """Whether winning with a natural pays 1.5; with `sab` it is not asked."""
    sab: bool = eqx.field(static=True, default=True)
    """Sutton and Barto's rule: a natural beats all but another one, and pays 1."""

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)))

    @property
    def action_space(self) -> spaces.Space[Any]:
        return spaces.Discrete(2)

    def reset(self, key: Key[Array, ""]) -> tuple[Table, TimeStep]:
        table = deal(draw(key, 4))
        return table, restart(seen(table))

    def step(self, state: Table, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Table, TimeStep]:
        cards = draw(key, MOST)
        hit, reward = hit_with(state, cards[0]), self.stick_with(state, cards)
        table = jax.tree.map(lambda more, same: jnp.where(action == 1, more, same), hit, state)
        bust = table.player.sum > 21
        over = (action == 0) | bust
        return table, transition(seen(table), jnp.where(action == 0, reward, -1.0 * bust), terminated=over)

    def stick_with(self, table: Table, cards: Int[Array, " n"]) -> Float[Array, ""]:
        """What is paid where the dealer draws these cards, as many as are needed."""

        def play(hand: Hand, card: Int[Array, ""]) -> tuple[Hand, None]:
            more = hand.take(card)
            return jax.tree.map(lambda x, y: jnp.where(hand.sum < STAND, x, y), more, hand), None

        dealer, _ = jax.lax.scan(play, table.dealer, cards)
        reward = jnp.sign(table.player.score - dealer.score).astype(jnp.float32)
        if self.sab:
            two_cards = table.dealer.usable & (table.dealer.total == 11)
            return jnp.where(table.natural & ~two_cards, 1.0, reward)
        return jnp.where(table.natural & (reward == 1), 1.5, reward) if self.natural else reward


def draw(key: Key[Array, ""], count: int) -> Int[Array, " n"]:
    """So many cards, each from a whole deck: 1 is the ace, and four kinds count 10."""
    return jnp.minimum(jax.random.randint(key, (count,), 1, 14), 10)


def deal(cards: Int[Array, " 4"]) -> Table:
    """A table with two cards for the dealer, the first of them shown, and two for the player."""
    none = Hand(jnp.int32(0), jnp.array(False))
    dealer, player = (none.take(cards[k]).take(cards[k + 1]) for k in (0, 2))
    return Table(player, dealer, cards[0], player.usable & (player.total == 11))


def hit_with(table: Table, card: Int[Array, ""]) -> Table:
    """Where the player takes a card."""
    return table._replace(player=table.player.take(card), natural=jnp.array(False))


def seen(table: Table) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """The player's sum, the dealer's card, whether an ace counts 11."""
    return table.player.sum, table.shown, table.player.usable.astype(jnp.int32)
