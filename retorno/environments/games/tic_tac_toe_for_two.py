"""Tic-tac-toe as a game of two: whoever moves next sees the board as their own, and the discount is −1.

So one policy plays both sides, and the backup `reward + discount · next_value` negates what the opponent can get.
"""

from __future__ import annotations

import equinox as eqx

from retorno.environments.games.gomoku import Gomoku


class TicTacToe(Gomoku):
    """Mark a free cell of nine; three in a row win. A full board is a draw."""

    rows: int = eqx.field(static=True, default=3)
    columns: int = eqx.field(static=True, default=3)
    length: int = eqx.field(static=True, default=3)
