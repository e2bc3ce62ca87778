"""Perfect play in Hex and Othello, against minimax, a plain search and published results; who solves which game."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello
from retorno.environments.registry import native
from retorno.search.connect_four import ConnectFourSolver
from retorno.search.errors import SearchError
from retorno.search.hex import HexSolver
from retorno.search.othello import OthelloSolver
from retorno.search.othello_kernels import key_of
from retorno.search.perfect import Exhaustive, Perfect
from retorno.search.solvers import judge_of, solver_of, solver_to

KEY = jax.random.key(0)


def test_hex_is_solved_as_by_minimax() -> None:
    """Every fifth position of the board of 3×3, all of their moves."""
    game = Hex(size=3)
    exhaustive, solver = Exhaustive.of(game), HexSolver(game, entries=10_007)
    model = exhaustive.found.model
    for state in np.flatnonzero(~model.terminal)[::5]:
        board = np.asarray(exhaustive.found.obs[state])
        np.testing.assert_array_equal(solver.values(board), exhaustive.values(board))


def test_openings_of_hex() -> None:
    """On 4×4 those on the short diagonal win, and no others (Hayward et al. 2003)."""
    values = HexSolver(Hex(size=4), entries=100_003).values(np.zeros((4, 4), np.int8)).reshape(4, 4)
    np.testing.assert_array_equal(values == 1, np.eye(4, dtype=bool)[::-1])


def test_who_has_lost_in_hex_makes_it_hard() -> None:
    """The other holds the middle of 3×3 and lacks two stones more, whatever is done; from the upper row one lacks three
    oneself, as the way down leads around.
    """
    solver = HexSolver(Hex(size=3), entries=10_007)
    board = np.zeros((3, 3), np.int8)
    board[1, 1] = 2
    scores = solver.scores(board).reshape(3, 3)
    assert np.nanmax(solver.values(board)) == np.nanmin(solver.values(board)) == -1
    np.testing.assert_array_equal(scores, -12 + np.array([[-1, -1, -1], [0, np.nan, 0], [0, 0, 0]]))


def test_othello_on_4x4_is_lost_by_eight() -> None:
    """The second player wins 11 to 3, whatever the first move is, with which the board is turned alone."""
    solver = OthelloSolver(Othello(size=4), entries=10_007)
    _, row = Othello(size=4).reset(KEY)
    scores = solver.scores(np.asarray(row.obs))
    assert np.array_equal(~np.isnan(scores), np.asarray(row.legal)) and (scores[row.legal] == -8).all()
    assert (solver.values(np.asarray(row.obs))[row.legal] == -1).all()


def test_the_end_of_othello_is_solved_as_by_a_plain_search() -> None:
    """On 6×6 with six cells left, some of which nobody may fill at first: all lines, passes included."""
    game, rng = Othello(size=6), np.random.default_rng(3)
    step = jax.jit(lambda state, action: game.step(state, action, KEY))
    solver, judged = OthelloSolver(game, depth=6, entries=10_007), 0

    def best(state: object, row: object) -> float:
        legal = np.flatnonzero(row.legal)  # type: ignore[attr-defined]
        return max(worth(*step(state, jnp.int32(action))) for action in legal)

    def worth(state: object, row: object) -> float:
        """What a row is worth for who made the move that led there."""
        return float(row.reward) + (0 if row.last else float(row.discount) * best(state, row))  # type: ignore[attr-defined]

    while judged < 3:
        state, row = game.reset(KEY)
        while not row.last and (np.asarray(row.obs) == 0).sum() > 6:
            state, row = step(state, jnp.int32(rng.choice(np.flatnonzero(np.asarray(row.legal)))))
            if (np.asarray(row.obs) == 0).sum() == 7:
                assert np.isnan(solver.values(np.asarray(row.obs))).all()
        if row.last:
            continue
        judged += 1
        values = solver.values(np.asarray(row.obs))
        for action in np.flatnonzero(row.legal):
            assert values[action] == worth(*step(state, jnp.int32(action)))
        np.testing.assert_array_equal(np.sign(solver.scores(np.asarray(row.obs))), values)


def test_othellos_table_tells_positions_apart() -> None:
    """One disc more in the first corner, and one move less to look ahead: another position."""
    mine, theirs = np.uint64(0b110 << 20), np.uint64(0b110 << 30)
    assert key_of(mine, theirs, np.uint64(8)) != key_of(mine, theirs | np.uint64(1), np.uint64(7))


def test_who_solves_a_game() -> None:
    assert isinstance(solver_of(ConnectFour()), ConnectFourSolver) and isinstance(solver_of(Hex(size=5)), HexSolver)
    # Boards that its own solver does not know may be small.
    assert isinstance(solver_of(ConnectFour(rows=3, columns=3, length=3)), Exhaustive)
    with pytest.raises(SearchError, match="alpha_beta:18 plays its last 18 moves perfectly"):
        solver_of(Othello(size=6))
    with pytest.raises(SearchError, match="alpha_beta plays ConnectFour and Othello alone, got Hex"):
        solver_to(Hex(size=5), 3)
    with pytest.raises(SearchError, match="up to 5×5, got a size of 6"):
        solver_of(Hex(size=6))
    with pytest.raises(SearchError, match="up to 8×8, got a size of 10"):
        solver_to(Othello(size=10), 3)
    assert isinstance(judge_of(Othello(size=6)), OthelloSolver)
    assert judge_of(Othello(size=10)) is judge_of(native("CartPole-v1")) is None


def test_a_shallow_player_of_othello_takes_the_corner() -> None:
    """One move ahead, where one of the moves is a corner."""
    board = np.zeros((6, 6), np.int8)
    board[0, 1], board[0, 2], board[2, 1], board[2, 2], board[2, 3] = 2, 1, 1, 2, 1
    board[3, 2] = 2
    heads, _ = Perfect(OthelloSolver(Othello(size=6), depth=1, entries=101)).step(
        jnp.asarray(board), jnp.bool_(True), ()
    )
    assert int(heads["policy"].mode()) == 0
