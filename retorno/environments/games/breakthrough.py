"""Breakthrough on a board of any size: who first brings a piece to the other side wins (Troyka 2000).

Whoever moves sees the board such that their own pieces move upwards: for the second player it is mirrored.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Int, Integer, Key

from retorno.environments.games.bitboard import MOST, empty, full, gathered, marks, moved, one, spread
from retorno.environments.games.game import Game, Moved, mirrored
from retorno.environments.games.gomoku import Marks

WAYS = (-1, 0, 1)
"""A piece moves one row up and so many columns to the right."""


class Breakthrough(Game):
    """Move a piece one row up, straight or slanting, onto a free cell, or take one of the other's in a slant.

    Action 3 · cell + way moves the piece of a cell to the left, straight on, or to the right. A player without pieces
    has lost as well.
    """

    rows: int = eqx.field(static=True, default=8)
    columns: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        if not (self.rows >= 4 and 2 <= self.columns <= MOST):
            raise ValueError(
                f"Breakthrough needs 4 rows or more and 2 to {MOST} columns, got {self.rows} and {self.columns}"
            )

    @property
    def board(self) -> tuple[int, int]:
        return self.rows, self.columns

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(3 * self.rows * self.columns)

    def start(self, key: Key[Array, ""]) -> Marks:
        pieces = empty(self.rows).at[:2].set((1 << self.columns) - 1)
        return Marks(pieces[::-1], pieces)

    def legal(self, position: Marks) -> Bool[Array, " A"]:
        mine, theirs = position
        free = full(self.rows, self.columns) & ~mine
        ways = [mine & moved(free & ~theirs if way == 0 else free, 1, -way, self.columns) for way in WAYS]
        return jnp.stack([spread(way, self.columns) for way in ways], -1).reshape(-1)

    def move(self, position: Marks, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        cell, way = action // 3, action % 3 - 1
        row, column = cell // self.columns, cell % self.columns
        reached = one(self.rows, row - 1, column + way)
        mine = position.mine & ~one(self.rows, row, column) | reached
        theirs = position.theirs & ~reached
        won = (mine[0] != 0) | (theirs == 0).all()
        return Moved(Marks(theirs[::-1], mine[::-1]), reward=won, over=won)

    def show(self, position: Marks) -> Integer[Array, "R C"]:
        return marks(*position, self.columns)

    def recall(self, obs: Integer[Array, "R C"]) -> Marks:
        return Marks(gathered(obs == 1), gathered(obs == 2))

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return mirrored(self.rows, self.columns)

    @property
    def action_symmetries(self) -> Int[np.ndarray, "K A"]:
        turned = 3 * mirrored(self.rows, self.columns)[1][:, None] + [2, 1, 0]
        return np.stack([np.arange(turned.size), turned.ravel()])

    def upright(self, marks: Integer[np.ndarray, "R C"], second: bool) -> Integer[np.ndarray, "R C"]:
        return super().upright(marks, second)[::-1] if second else marks

    def say(self, action: int, second: bool = False) -> str:
        cell, way = divmod(action, 3)
        row, column = divmod(cell, self.columns)
        ranks = (row + 1, row) if second else (self.rows - row, self.rows - row + 1)
        files = (self.column_name(column), self.column_name((column + way - 1) % self.columns))
        return f"{files[0]}{ranks[0]}{files[1]}{ranks[1]}"

    def cells(self, action: int, second: bool = False) -> tuple[tuple[int, int], ...]:
        """From where to where."""
        cell, way = divmod(action, 3)
        row, column = divmod(cell, self.columns)
        here, there = (row, row - 1) if not second else (self.rows - 1 - row, self.rows - row)
        return (here, column), (there, (column + way - 1) % self.columns)
