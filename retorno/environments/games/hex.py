"""Hex on a board of any size: who joins their two sides wins, and somebody always does (Nash 1952).

Whoever moves sees the board such that their own sides are the upper and the lower one: for the second player it is
mirrored at its diagonal. With perfect play the first player wins.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int, Integer, Key

from retorno.environments.games.bitboard import MOST, flood, gathered, one, spread
from retorno.environments.games.game import Game, Moved, half_turned

NEIGHBOURS = ((-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0))
"""Of a cell: (rows, columns)."""


class Hex(Game):
    """Fill a free cell. The first player joins the upper side to the lower one, the second the left to the right."""

    ROWS_FROM_ABOVE = True

    size: int = eqx.field(static=True, default=11)

    def __check_init__(self) -> None:
        if not 1 <= self.size <= MOST:
            raise ValueError(f"Hex's board has a size from 1 to {MOST}, got {self.size}: try 5 or 11")

    @property
    def board(self) -> tuple[int, int]:
        return self.size, self.size

    def start(self, key: Key[Array, ""]) -> Integer[Array, "R C"]:
        return jnp.zeros(self.board, jnp.int8)

    def legal(self, position: Integer[Array, "R C"]) -> Bool[Array, " A"]:
        return (position == 0).reshape(-1)

    def move(self, position: Integer[Array, "R C"], action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        stone = one(self.size, action // self.size, action % self.size)
        mine = gathered(position == 1) | stone
        joined = flood(stone, mine, NEIGHBOURS, self.size)
        won = (joined[0] != 0) & (joined[-1] != 0)
        marked = jnp.where(spread(stone, self.size), jnp.int8(1), position)
        return Moved(jnp.array([0, 2, 1], jnp.int8)[marked].T, reward=won, over=won)

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return half_turned(self.size, self.size)

    def upright(self, marks: Integer[np.ndarray, "R C"], second: bool) -> Integer[np.ndarray, "R C"]:
        return super().upright(marks, second).T if second else marks

    def say(self, action: int, second: bool = False) -> str:
        row, column = divmod(action, self.size)
        return super().say(column * self.size + row) if second else super().say(action)

    def cells(self, action: int, second: bool = False) -> tuple[tuple[int, int], ...]:
        row, column = divmod(action, self.size)
        return ((column, row) if second else (row, column),)

    def text(self, obs: Integer[np.ndarray, "R C"], second: bool = False) -> str:
        lines = super().text(obs, second).splitlines()
        return "\n".join(" " * i + line for i, line in enumerate(lines))
