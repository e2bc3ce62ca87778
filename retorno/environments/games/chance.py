"""Games in which chance has a say: what may happen after an action is listed, so that a search can weigh it."""

from __future__ import annotations

import abc
from typing import Any

import jax
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.environment import ListsChances
from retorno.core.time_step import TimeStep
from retorno.environments.games.game import Game, Moved, Standing


def by_chance(world: object) -> bool:
    """Whether a world says that chance has a say in it."""
    return isinstance(world, ListsChances) and world.chances > 1


class ChanceGame(Game):
    """A game whose `move` draws one of `chances` outcomes."""

    @property
    @abc.abstractmethod
    def chances(self) -> int:
        """C, how many different things may happen after an action."""

    @abc.abstractmethod
    def chance_logits(self, position: PyTree[Any], action: Int[Array, ""]) -> Float[Array, " C"]:
        """How likely each is: logarithms, up to a constant; −∞ for what cannot happen."""

    @abc.abstractmethod
    def happen(self, position: PyTree[Any], action: Int[Array, ""], chance: Int[Array, ""]) -> Moved:
        """What one of them leads to."""

    def move(self, position: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        return self.happen(position, action, jax.random.categorical(key, self.chance_logits(position, action)))

    def odds(self, state: Standing, action: Int[Array, ""]) -> Float[Array, " C"]:
        return self.chance_logits(state.position, action)

    def outcome(self, state: Standing, action: Int[Array, ""], chance: Int[Array, ""]) -> tuple[Standing, TimeStep]:
        return self.follow(state, action, self.happen(state.position, action, chance))
