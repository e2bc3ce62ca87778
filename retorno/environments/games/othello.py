"""Othello on a board of any even size. On 6×6 the second player wins by 4 with perfect play (Feinstein 1993).

Who cannot move passes by themselves: the same player moves again, and the row's discount is 1.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int, Integer, Key

from retorno.environments.games.bitboard import (
    MOST,
    Cells,
    around,
    beside,
    count,
    empty,
    full,
    gathered,
    marks,
    one,
    spread,
)
from retorno.environments.games.game import Game, Moved, dihedral
from retorno.environments.games.gomoku import Marks


class Othello(Game):
    """Lay a disc that encloses others in a straight line: these become one's own. Who has more at the end wins."""

    ROWS_FROM_ABOVE = True

    size: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        if not (4 <= self.size <= MOST and self.size % 2 == 0):
            raise ValueError(f"Othello's board has an even size from 4 to {MOST}, got {self.size}: try 6 or 8")

    @property
    def board(self) -> tuple[int, int]:
        return self.size, self.size

    def start(self, key: Key[Array, ""]) -> Marks:
        upper, right = self.size // 2 - 1, 1 << (self.size // 2)
        left = right >> 1
        nobody = empty(self.size)
        return Marks(
            mine=nobody.at[upper].set(right).at[upper + 1].set(left),
            theirs=nobody.at[upper].set(left).at[upper + 1].set(right),
        )

    def legal(self, position: Marks) -> Bool[Array, " A"]:
        return spread(self._moves(*position), self.size).reshape(-1)

    def _moves(self, mine: Cells, theirs: Cells) -> Cells:
        ends = around(beside(mine, theirs, self.size), self.size)
        return jnp.bitwise_or.reduce(ends) & full(self.size, self.size) & ~(mine | theirs)

    def move(self, position: Marks, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        mine, theirs = position
        disc = one(self.size, action // self.size, action % self.size)
        between = beside(disc, theirs, self.size)
        enclosed = (around(between, self.size) & mine != 0).any(1, keepdims=True)
        turned = jnp.bitwise_or.reduce(jnp.where(enclosed, between, 0))
        mine, theirs = mine | disc | turned, theirs & ~turned
        sides = jnp.stack([theirs, mine])
        moves = jax.vmap(self._moves)(sides, sides[::-1])
        they_move, we_move = (moves != 0).any(1)
        again, over = ~they_move & we_move, ~they_move & ~we_move
        won = jnp.where(over, jnp.sign(count(mine) - count(theirs)), 0)
        after = jnp.where(again, sides[::-1], sides)
        legal = spread(jnp.where(again, moves[1], moves[0]), self.size).reshape(-1)
        return Moved(Marks(*after), won, over, again, legal)

    def show(self, position: Marks) -> Integer[Array, "R C"]:
        return marks(*position, self.size)

    def recall(self, obs: Integer[Array, "R C"]) -> Marks:
        return Marks(gathered(obs == 1), gathered(obs == 2))

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return dihedral(self.size, self.size)
