"""The perfect solver of Connect Four, against a plain search, minimax and positions whose scores are known."""

from __future__ import annotations

import functools
import itertools
import threading
import time

import jax
import numpy as np
import pytest

from retorno.environments.games.connect_four import ConnectFour
from retorno.search.connect_four import ConnectFourSolver, _columns
from retorno.search.errors import SearchError
from retorno.search.hex import HexSolver
from retorno.search.kernels import UNKNOWN, masks, proven, winning_cells
from retorno.search.othello import OthelloSolver
from retorno.search.perfect import word
from retorno.search.stopping import Stop, Stopped

KNOWN = {
    "2252576253462244111563365343671351441": -1,
    "7422341735647741166133573473242566": 1,
    "23163416124767223154467471272416755633": 0,
    "65214673556155731566316327373221417": -1,
}
"""Columns from 1, and how soon the mover wins: the first positions of Pons's test set L3_R1."""


def after(columns: str, rows: int = 6, width: int = 7) -> np.ndarray:
    board, height = np.zeros((rows, width), np.int8), [0] * width
    for turn, said in enumerate(columns):
        column = int(said) - 1
        board[rows - 1 - height[column], column] = 1 + turn % 2
        height[column] += 1
    return board if len(columns) % 2 == 0 else np.array([0, 2, 1], np.int8)[board]


@pytest.mark.parametrize("columns", KNOWN)
def test_known_positions(columns: str) -> None:
    solver = ConnectFourSolver(entries=10_007)
    assert np.nanmax(solver.scores(after(columns))) == KNOWN[columns]
    assert np.nanmax(solver.values(after(columns))) == np.sign(KNOWN[columns])


SMALL = (4, 5)


def plain(board: np.ndarray) -> int:
    """The value of a position of the small board by trying everything."""
    return tried(board.tobytes())


@functools.cache
def tried(position: bytes) -> int:
    board, best = np.frombuffer(position, np.int8).reshape(SMALL), -1
    for column in np.flatnonzero(board[0] == 0):
        row = np.flatnonzero(board[:, column] == 0)[-1]
        led = board.copy()
        led[row, column] = 1
        if won(led == 1):
            return 1
        value = 0 if (led != 0).all() else -plain(np.array([0, 2, 1], np.int8)[led])
        best = max(best, value)
        if best == 1:
            return 1
    return best


def won(mine: np.ndarray) -> bool:
    return bool(mine.reshape(-1)[fours(*mine.shape)].all(1).any())


@functools.cache
def fours(rows: int, columns: int) -> np.ndarray:
    """Where four in a row may lie, by the numbers of their fields."""
    steps = itertools.product(range(rows), range(columns), ((0, 1), (1, 0), (1, 1), (1, -1)))
    places = [[(row + i * down, column + i * right) for i in range(4)] for row, column, (down, right) in steps]
    inside = [four for four in places if all(0 <= r < rows and 0 <= c < columns for r, c in four)]
    return np.array([[r * columns + c for r, c in four] for four in inside])


def test_every_move_is_solved_as_by_a_plain_search() -> None:
    """Random positions on a small board, all of their moves."""
    game, rng = ConnectFour(*SMALL), np.random.default_rng(0)
    solver, solved = ConnectFourSolver(game, entries=10_007), 0
    while solved < 12:
        said = "".join(map(str, rng.integers(1, 6, 10)))
        if max(said.count(c) for c in said) > 4:
            continue
        board = after(said, *SMALL)
        if won(board == 1) or won(board == 2):
            continue
        solved += 1
        for column, value in enumerate(solver.values(board)):
            if np.isnan(value):
                assert board[0, column] != 0
                continue
            led = board.copy()
            led[np.flatnonzero(board[:, column] == 0)[-1], column] = 1
            expected = 1 if won(led == 1) else 0 if (led != 0).all() else -plain(np.array([0, 2, 1], np.int8)[led])
            assert value == expected


def test_what_is_proven_without_a_search_is_so() -> None:
    """Random positions on the small board in which nobody can win at once: no more is got than is said, as a plain
    search tells; of both kinds there are enough, those that are not won and those that are lost.
    """
    rng, told = np.random.default_rng(1), {-1: 0, 0: 0}
    bottom, board, upper = masks(*SMALL)
    while min(told.values()) < 15:
        said = "".join(map(str, rng.permutation([1, 2, 3, 4, 5] * SMALL[0])[: rng.integers(8, 16)]))
        cells = after(said, *SMALL)
        mine, theirs = (word(_columns(cells == mark)) for mark in (1, 2))
        taken, rows = mine | theirs, SMALL[0]
        fours, wins = winning_cells(theirs, taken, rows, board), winning_cells(mine, taken, rows, board)
        if won(cells == 1) or won(cells == 2) or wins & (taken + bottom):
            continue
        most = proven(mine, taken, fours, rows, bottom, board, upper)
        if most != UNKNOWN:
            told[most] += 1
            assert plain(cells) <= most


def test_a_shallow_solver_sees_what_is_near() -> None:
    board = after("112233")
    assert ConnectFourSolver(depth=1, entries=101).values(board)[3] == 1
    assert ConnectFourSolver(depth=2, entries=101).values(after("11223")).tolist().count(-1) >= 5


def test_other_boards_are_refused() -> None:
    with pytest.raises(SearchError, match="got 8 × 8"):
        ConnectFourSolver(ConnectFour(rows=8, columns=8))
    # A slanting line of four would reach over more cells than a word has.
    with pytest.raises(SearchError, match="up to 19 rows; got 20 × 3"):
        ConnectFourSolver(ConnectFour(rows=20, columns=3))


def test_others_go_on_while_it_thinks() -> None:
    """A page waits for nobody's answer: whoever else runs in Python is not held up."""
    solver, turns = ConnectFourSolver(entries=100_003), 0
    asked = threading.Thread(target=solver.values, args=(after("44444352"),))
    asked.start()
    while asked.is_alive():
        turns += 1
        time.sleep(0.005)
    assert turns > 5


def test_a_question_is_taken_back() -> None:
    """Of the first position nothing is known for minutes."""
    solvers = (ConnectFourSolver(entries=100_003), OthelloSolver(depth=32), HexSolver(entries=100_003))
    for solver in solvers:
        stop, board = Stop(), np.asarray(solver.game.reset(jax.random.key(0))[1].obs)
        threading.Timer(0.1, stop.ask).start()
        with pytest.raises(Stopped):
            solver.scores(board, stop)
        assert not solver._turn.locked()  # type: ignore[attr-defined]
