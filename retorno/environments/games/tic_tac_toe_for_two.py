"""Tic-tac-toe as a game of two: whoever moves next sees the board as their own, and the discount is −1.

So one policy plays both sides, and the backup `reward + discount · next_value` negates what the opponent can get.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Int, Key

from retorno.core.environment import Environment
from retorno.core.mdp import MDP
from retorno.core.time_step import TimeStep, restart
from retorno.environments.enumeration import enumerated
from retorno.environments.games.tic_tac_toe import LINES

CELLS = 9


class TicTacToe(Environment):
    """Nine cells, row by row: 0 free, 1 the mover's, 2 the opponent's; an action is a free cell.

    A line pays its maker 1 and ends the game, a full board ends it with nothing. A cell that is taken pays NaN, so
    that it is noticed.
    """

    @property
    def observation_space(self) -> spaces.MultiDiscrete:
        return spaces.MultiDiscrete([3] * CELLS)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(CELLS)

    @property
    def two_players(self) -> bool:
        return True

    def reset(self, key: Key[Array, ""]) -> tuple[Int[Array, " 9"], TimeStep]:
        return self.enter(jnp.zeros(CELLS, jnp.int32))

    def enter(self, obs: Int[Array, " 9"]) -> tuple[Int[Array, " 9"], TimeStep]:
        return obs, restart(obs, obs == 0)

    def step(
        self, state: Int[Array, " 9"], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Int[Array, " 9"], TimeStep]:
        mine = state.at[action].set(1)
        won = (mine[jnp.array(LINES)] == 1).all(1).any()
        over = won | (mine != 0).all()
        theirs = jnp.array([0, 2, 1])[mine]
        return theirs, TimeStep(
            obs=theirs,
            reward=jnp.where(state[action] == 0, won.astype(jnp.float32), jnp.nan),
            discount=jnp.where(over, 0.0, -1.0),
            first=jnp.array(False),
            last=over,
            legal=(theirs == 0) | over,
        )


def tic_tac_toe_for_two() -> MDP:
    """The exact model of `TicTacToe`: 5,478 boards, each as its mover sees it, named by their number in base 3.

    With `bellman.minimax` its value is 0: who plays perfectly does not lose.

    >>> from retorno.bellman import minimax
    >>> minimax(tic_tac_toe_for_two()).start_value
    0.0
    """

    def moved(number: int, cell: int) -> list[tuple[float, int, float, bool]]:
        mine = _cells(number)
        mine[cell] = 1
        won = any(all(mine[place] == 1 for place in line) for line in LINES)
        theirs = [(0, 2, 1)[mark] for mark in mine]
        after = sum(mark * 3**place for place, mark in enumerate(reversed(theirs)))
        return [(1.0, after, float(won), won or 0 not in mine)]

    def free(number: int) -> list[int]:
        return [cell for cell, mark in enumerate(_cells(number)) if mark == 0]

    model = enumerated(moved, free, 0)
    return dataclasses.replace(model, discount=np.where(model.discount == 0, 0.0, -1.0))


def _cells(number: int) -> list[int]:
    """A board of its number: the first cell is the highest digit in base 3."""
    return [number // 3**place % 3 for place in reversed(range(CELLS))]
