"""Whether a player's moves keep what perfect play would get."""

from __future__ import annotations

from typing import Any

import numpy as np

from retorno.core.policy import WithoutMemory
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.figures.judged import connect_four, every_position
from retorno.ops.distributions import Categorical
from retorno.search.connect_four import ConnectFourSolver
from retorno.search.perfect import Exhaustive, Perfect


class Contrary(WithoutMemory):
    """Takes what another player does not."""

    player: Perfect

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"policy": Categorical(-self.player.step(obs, first, carry)[0]["policy"].logits)}, ()


def test_perfect_play_and_its_opposite() -> None:
    world = TicTacToe()
    judge, perfect = every_position(world), Perfect(Exhaustive.of(world))
    assert len(judge.q) == 4520 and judge.kept(perfect).all()
    some = judge.critical
    assert 0 < len(some.q) < len(judge.q)
    assert not some.kept(Contrary(perfect)).any()


def test_positions_of_connect_four() -> None:
    """Late ones, which are solved in no time: all different, all critical, and worth what the solver says."""
    judge, solver = connect_four(8, plies=30), ConnectFourSolver()
    boards = np.asarray(judge.obs)
    assert len(np.unique(boards.reshape(8, -1), axis=0)) == 8 and len(judge.critical.q) == 8
    for board, q in zip(boards, judge.q, strict=True):
        assert ((board > 0).sum() >= 30) and np.array_equal(np.isnan(q), board[0] > 0)
        np.testing.assert_array_equal(solver.values(board), q)
