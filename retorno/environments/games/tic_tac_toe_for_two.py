"""Tic-tac-toe as a game of two: whoever moves next sees the board as their own, and the discount is −1.

So one policy plays both sides, and the backup `reward + discount · next_value` negates what the opponent can get.
"""

from __future__ import annotations

import dataclasses

import equinox as eqx
import numpy as np

from retorno.core.mdp import MDP
from retorno.environments.enumeration import enumerated
from retorno.environments.games.gomoku import Gomoku
from retorno.environments.games.tic_tac_toe import LINES

CELLS = 9


class TicTacToe(Gomoku):
    """Mark a free cell of nine; three in a row win. A full board is a draw."""

    rows: int = eqx.field(static=True, default=3)
    columns: int = eqx.field(static=True, default=3)
    length: int = eqx.field(static=True, default=3)


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
