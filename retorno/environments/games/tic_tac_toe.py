"""Tic-tac-toe against a known opponent, who is then part of the world. Sutton & Barto 2018, section 1.5."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from retorno.core.mdp import MDP, mdp

Board = str
"""Nine cells, row by row: X (the learner), O (the opponent) or `.`."""

Opponent = Callable[[Board], dict[int, float]]
"""The probability of each cell that O takes."""

EMPTY = "." * 9
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def random_opponent(board: Board) -> dict[int, float]:
    """Any free cell, equally.

    Args:
        board: nine cells, on which O moves.

    Returns:
        The probability of each free cell.

    >>> random_opponent("XOXOXO..X")
    {6: 0.5, 7: 0.5}
    """
    free = _free(board)
    return {cell: 1 / len(free) for cell in free}


def perfect_opponent(board: Board) -> dict[int, float]:
    """Any of the cells that are best against perfect play, equally.

    Args:
        board: nine cells, on which O moves.

    Returns:
        The probability of each of the best cells.

    >>> perfect_opponent("X...O...X")
    {1: 0.25, 3: 0.25, 5: 0.25, 7: 0.25}
    """
    worth = {cell: _minimax(_played(board, cell, "O"), "X") for cell in _free(board)}
    best = [cell for cell, value in worth.items() if value == min(worth.values())]
    return {cell: 1 / len(best) for cell in best}


def tic_tac_toe(opponent: Opponent = random_opponent, first: bool = True) -> MDP:
    """States are the boards on which X, the learner, moves; an action is a free cell, 0 … 8 row by row.

    The opponent's answer is part of the transition. A win pays 1, a draw 0, a loss −1. Against the
    random opponent the best is .994792 (191 of 192 parts) moving first, against a perfect one 0.

    Args:
        opponent: how O plays.
        first: whether X moves first; else O opens.

    >>> from retorno.bellman import solve
    >>> round(solve(tic_tac_toe(), 1.0).start_value, 6)
    0.994792
    """
    transitions: dict[Board, dict[int, list[tuple[float, Board, float]]]] = {}
    start = {EMPTY: 1.0} if first else {_played(EMPTY, cell, "O"): p for cell, p in opponent(EMPTY).items()}
    waiting = [*start]
    while waiting:
        board = waiting.pop()
        if board in transitions:
            continue
        transitions[board] = choices = {}
        for cell in _free(board):
            choices[cell] = _answered(_played(board, cell, "X"), opponent)
            waiting += (after for _, after, _ in choices[cell] if not _over(after))
    return mdp(transitions, initial=start)


def _answered(board: Board, opponent: Opponent) -> list[tuple[float, Board, float]]:
    """(probability, board, reward) after O's answer to a board, if there is one."""
    if _over(board):
        return [(1.0, board, _result(board))]
    replies = ((p, _played(board, cell, "O")) for cell, p in opponent(board).items())
    return [(p, after, _result(after)) for p, after in replies]


@cache
def _minimax(board: Board, mover: str) -> float:
    """The result when both play perfectly."""
    if _over(board):
        return _result(board)
    other = {"X": "O", "O": "X"}[mover]
    results = [_minimax(_played(board, cell, mover), other) for cell in _free(board)]
    return max(results) if mover == "X" else min(results)


@cache
def _result(board: Board) -> float:
    """1 where X has a line, −1 where O has one, else 0."""
    for line in LINES:
        owner = {board[cell] for cell in line}
        if owner in ({"X"}, {"O"}):
            return 1.0 if "X" in owner else -1.0
    return 0.0


def _over(board: Board) -> bool:
    return "." not in board or _result(board) != 0


def _free(board: Board) -> list[int]:
    return [cell for cell, mark in enumerate(board) if mark == "."]


def _played(board: Board, cell: int, mark: str) -> Board:
    return board[:cell] + mark + board[cell + 1 :]
