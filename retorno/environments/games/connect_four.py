"""Connect Four on a board of any size: who first has so many in a row wins. Solved: the first player wins (Allis 1988).

The lines of the sets of cells are the columns, the lowest cell first, so that a disc falls by adding one to what is
taken of a column.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Int, Integer, Key

from retorno.environments.games.bitboard import MOST, Cells, empty, gathered, has_line, marks
from retorno.environments.games.game import Game, Moved, mirrored


class Discs(NamedTuple):
    """Whose discs lie where: one word for each column, the lowest cell first."""

    mine: Cells
    theirs: Cells


class ConnectFour(Game):
    """Drop a disc into one of the columns; four in a row, up, across or slanting, win. A full board is a draw."""

    rows: int = eqx.field(static=True, default=6)
    columns: int = eqx.field(static=True, default=7)
    length: int = eqx.field(static=True, default=4)

    def __check_init__(self) -> None:
        if not (1 <= self.rows < MOST and 1 <= self.columns < MOST and self.length >= 2):
            raise ValueError(
                f"Connect Four needs 1 to {MOST - 1} rows and columns and a length of 2 or more, got {self.rows} rows, "
                f"{self.columns} columns and length {self.length}"
            )

    @property
    def board(self) -> tuple[int, int]:
        return self.rows, self.columns

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.columns)

    def start(self, key: Key[Array, ""]) -> Discs:
        return Discs(empty(self.columns), empty(self.columns))

    def legal(self, position: Discs) -> Bool[Array, " A"]:
        return (position.mine | position.theirs) < (1 << self.rows) - 1

    def move(self, position: Discs, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        taken = position.mine | position.theirs
        disc = jnp.where(jnp.arange(self.columns) == action, taken + 1, 0)
        mine = position.mine | disc
        won = has_line(mine, self.length, self.rows)
        filled = ((taken | disc) == (1 << self.rows) - 1).all()
        return Moved(Discs(position.theirs, mine), reward=won, over=won | filled)

    def show(self, position: Discs) -> Integer[Array, "R C"]:
        return marks(*position, self.rows).T[::-1]

    def recall(self, obs: Integer[Array, "R C"]) -> Discs:
        standing = obs[::-1].T
        return Discs(gathered(standing == 1), gathered(standing == 2))

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return mirrored(self.rows, self.columns)

    @property
    def action_symmetries(self) -> Int[np.ndarray, "K A"]:
        return mirrored(1, self.columns)

    def say(self, action: int, second: bool = False) -> str:
        return self.column_name(action)

    def column_name(self, column: int) -> str:
        """A number."""
        return str(column + 1)

    def cells(self, action: int, second: bool = False) -> tuple[tuple[int, int], ...]:
        return ((0, action),)

    def text(self, obs: Integer[np.ndarray, "R C"], second: bool = False) -> str:
        return "\n".join(line[3:] for line in super().text(obs, second).splitlines())
