"""Giving up what is lost, as AlphaGo Zero does (Silver et al. 2017, Methods, "Self-play"), and how often that is wrong.

Whoever moves gives up where the search's value is below a bound. In some of the games nobody may: they are played to
their end, and of those who would have given up in them it is counted who did not lose after all.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key

from retorno.core.hyperparameters import Range
from retorno.core.policy import Metrics
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep

Bound = Annotated[float, Range(float, lambda x: x <= 0, "at most 0")]
"""Of a value: where it is lost."""
REMEMBERED = 0.99
"""Of what was counted, at each update: the network of today plays otherwise than that of the day before."""


class Hopes(NamedTuple):
    """What is remembered of one game."""

    played_on: Bool[Array, ""]
    """Whether nobody may give up in it."""
    second: Bool[Array, ""]
    """Whether the second player is to move; of a game that is over, whether they moved last."""
    lost: Bool[Array, " 2"]
    """Which of the two saw a value below the bound."""

    @classmethod
    def begun(cls, key: Key[Array, ""], played_on: Scalar) -> Hopes:
        """A new game, of which so large a share is played on."""
        return cls(jax.random.bernoulli(key, played_on), jnp.bool_(False), jnp.zeros(2, bool))

    def turn(self, row: TimeStep) -> Hopes:
        """The row after a move."""
        return self._replace(second=self.second ^ (row.discount < 0))

    def see(self, hopeless: Bool[Array, ""]) -> Hopes:
        """What whoever moves thinks of it."""
        mover = jnp.arange(2) == self.second
        return self._replace(lost=self.lost | (mover & hopeless))

    def judged(self, row: TimeStep) -> Judged:
        """What a row says of the game: something where it ends it."""
        over = row.last & (row.discount == 0)
        mover = jnp.arange(2) == self.second
        loses = jnp.where(mover, row.reward < 0, row.reward > 0)
        known = over & self.played_on
        return Judged(
            games=over.astype(jnp.float32),
            given_up=(over & ~self.played_on & self.lost.any()).astype(jnp.float32),
            hopeless=(known & self.lost).sum(dtype=jnp.float32),
            wrongly=(known & self.lost & ~loses).sum(dtype=jnp.float32),
        )


class Judged(NamedTuple):
    """Numbers of games, or of a player in a game."""

    games: Float[Array, "*N"]
    given_up: Float[Array, "*N"]
    """Games that ended so."""
    hopeless: Float[Array, "*N"]
    """Who would have given up, where nobody may, …"""
    wrongly: Float[Array, "*N"]
    """… and did not lose."""

    @classmethod
    def none(cls) -> Judged:
        """Nothing counted yet."""
        return cls(*jnp.zeros(4))

    def after(self, new: Judged) -> Judged:
        """With what one more rollout [T, B] says."""
        return jax.tree.map(lambda known, more: REMEMBERED * known + more.sum(), self, new)

    @property
    def metrics(self) -> Metrics:
        """Shares: of the games, and of who would have given up."""
        share = lambda part, whole: part / jnp.maximum(whole, 1e-9)  # noqa: E731
        return {
            "given_up": share(self.given_up, self.games),
            "given_up_wrongly": share(self.wrongly, self.hopeless),
        }
