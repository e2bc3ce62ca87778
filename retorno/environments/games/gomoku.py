"""Gomoku and its like: who first has so many marks in a row wins, on a board of any size (m,n,k-games)."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jax import Array
from jaxtyping import Bool, Int, Integer, Key

from retorno.environments.games.bitboard import MOST, Cells, empty, full, gathered, has_line, marks, one, spread
from retorno.environments.games.game import Game, Moved, dihedral


class Marks(NamedTuple):
    """Whose marks lie where: one word for each row."""

    mine: Cells
    theirs: Cells


class Gomoku(Game):
    """Mark a free cell; five in a row or more, up, across or slanting, win. A full board is a draw."""

    rows: int = eqx.field(static=True, default=15)
    columns: int = eqx.field(static=True, default=15)
    length: int = eqx.field(static=True, default=5)

    def __check_init__(self) -> None:
        if not (1 <= self.rows and 1 <= self.columns <= MOST and self.length >= 2):
            raise ValueError(
                f"a board needs at least one row, 1 to {MOST} columns and a length of 2 or more, got {self.rows} rows, "
                f"{self.columns} columns and length {self.length}"
            )

    @property
    def board(self) -> tuple[int, int]:
        return self.rows, self.columns

    def start(self, key: Key[Array, ""]) -> Marks:
        return Marks(empty(self.rows), empty(self.rows))

    def legal(self, position: Marks) -> Bool[Array, " A"]:
        return ~spread(position.mine | position.theirs, self.columns).reshape(-1)

    def move(self, position: Marks, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        mine = position.mine | one(self.rows, action // self.columns, action % self.columns)
        won = has_line(mine, self.length, self.columns)
        filled = ((mine | position.theirs) == full(self.rows, self.columns)).all()
        return Moved(Marks(position.theirs, mine), reward=won, over=won | filled)

    def show(self, position: Marks) -> Integer[Array, "R C"]:
        return marks(*position, self.columns)

    def recall(self, obs: Integer[Array, "R C"]) -> Marks:
        return Marks(gathered(obs == 1), gathered(obs == 2))

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return dihedral(self.rows, self.columns)
