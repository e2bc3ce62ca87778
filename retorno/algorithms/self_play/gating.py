"""Letting a network play only once it beats the one that plays (Silver et al. 2017, Methods, "Evaluator").

AlphaGo Zero's games are played by the best network so far. The one that learns meets it now and then, and takes its
place where it makes enough points. AlphaZero left that out: there the newest network plays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.core.policy import Metrics, Policy
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep
from retorno.environments.games.game import Game
from retorno.environments.games.pairs import play_pairs

OPENING = 2
"""Moves at each game's start that are drawn evenly, the same for both sides: else all games were alike."""
LONGEST = 1_000
"""Moves of a game, at most: one that goes on is a draw."""
Player = Callable[[TimeStep, Key[Array, ""]], Int[Array, ""]]
"""What is done on a row."""


class Gate(NamedTuple):
    """Who plays, and when they are challenged again."""

    best: Policy
    """The network that plays."""
    left: Int[Array, ""]
    """Updates until the next match."""
    points: Float[Array, ""]
    """What the network that learns made of the last one, as a share."""
    taken: Float[Array, ""]
    """Whether it took the other's place then."""

    @classmethod
    def closed(cls, network: Policy, every: int) -> Gate:
        """Behind which a new network plays."""
        return cls(jax.tree.map(jnp.copy, network), jnp.int32(every), jnp.float32(0), jnp.float32(0))

    def after(
        self, network: Policy, every: int, needed: Scalar, match: Callable[[Policy, Policy], Float[Array, ""]]
    ) -> Gate:
        """After one update more.

        Args:
            network: the one that learns.
            every: updates between two matches.
            needed: the share of points for which it takes the other's place.
            match: what the first of two networks makes against the other.
        """

        def met() -> Gate:
            points = match(network, self.best)
            taken = points >= needed
            best = jax.tree.map(partial(jnp.where, taken), network, self.best)
            return Gate(best, jnp.int32(every), points, taken.astype(jnp.float32))

        waited = self._replace(left=self.left - 1)
        return jax.lax.cond(waited.left == 0, met, lambda: waited)

    @property
    def metrics(self) -> Metrics:
        """Of the last match."""
        return {"gate_points": self.points, "gate_taken": self.taken}


def points_of(one: Player, other: Player, world: Game, pairs: int, key: Key[Array, ""]) -> Float[Array, ""]:
    """The share of points that the first of two players makes: a win is one, a draw a half.

    Args:
        one: whose points are told.
        other: the opponent.
        world: a game of two.
        pairs: of games that begin alike, one from either side.
        key: of what is drawn.
    """
    seeding, drawing, opening = jax.random.split(key, 3)

    def choose(row: TimeStep, memory: tuple[()], t: Int[Array, ""]) -> tuple[Any, Any, tuple[()]]:
        keys = jax.random.split(jax.random.fold_in(drawing, t), (2, 2 * pairs))
        mine, theirs = (jax.vmap(player)(row, each) for player, each in zip((one, other), keys, strict=True))
        return mine, theirs, memory

    seed = jax.random.bits(seeding, dtype=jnp.uint32)
    games = play_pairs(choose, (), world, seed, pairs, OPENING, opening, LONGEST)
    return (1 + jnp.sign(games.returns).mean()) / 2
