"""Positions of solved games, and whether a player's moves there keep what perfect play would get."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, PyTree

from retorno.core.environment import Environment
from retorno.core.policy import Policy
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.game import Game
from retorno.run.oracle import ROUNDING
from retorno.search.connect_four import ConnectFourSolver
from retorno.search.perfect import Exhaustive, Solver

TOGETHER = 64


@dataclass(frozen=True)
class Judged:
    """What whoever moves sees, and what each move is worth there."""

    obs: PyTree[Array]
    """[N]"""
    q: Float[np.ndarray, "N A"]
    """NaN for what is not legal."""

    def kept(self, policy: Policy) -> Bool[np.ndarray, " N"]:
        """Whether a player without a memory moves so that nothing is given away."""
        moves = np.asarray(_moves(policy, self.obs, ~np.isnan(self.q)))
        return np.nanmax(self.q, 1) - self.q[np.arange(len(moves)), moves] <= ROUNDING

    @property
    def critical(self) -> Judged:
        """The positions in which some moves keep the result and others do not."""
        some = np.nanmax(self.q, 1) - np.nanmin(self.q, 1) > ROUNDING
        return Judged(jax.tree.map(lambda x: x[some], self.obs), self.q[some])


@jax.jit
def _moves(policy: Policy, obs: PyTree[Array], legal: Bool[Array, "N A"]) -> Int[Array, " N"]:
    def chosen(row: tuple[PyTree[Array], Bool[Array, " A"]]) -> Int[Array, ""]:
        heads, _ = policy.step(row[0], jnp.bool_(True), ())
        return heads["policy"].masked(row[1]).mode()

    return jax.lax.map(chosen, (obs, legal), batch_size=TOGETHER)


def every_position(world: Environment) -> Judged:
    """All positions of a small game that go on, by minimax."""
    game = Exhaustive.of(world)
    model = game.found.model
    q = np.full((model.num_states, game.actions), np.nan)
    q[model.pair_state, model.action] = game.solution.q
    live = np.flatnonzero(~model.terminal)
    return Judged(jax.tree.map(lambda x: jnp.asarray(x[live]), game.found.obs), q[live])


def connect_four(count: int, plies: int = 12) -> Judged:
    """Critical positions of Connect Four, all different: from games of mixed strength after so many random moves."""
    return critical_positions(ConnectFour(), ConnectFourSolver(), count, plies)


def critical_positions(game: Game, solver: Solver, count: int, plies: int) -> Judged:
    """Positions that a solver knows, on which some moves keep the result and others do not, all different.

    Args:
        game: on a board.
        solver: who knows its positions, at least those near its end.
        count: how many.
        plies: random moves at each game's start; then it goes on with mixed strength.
    """
    rng = np.random.default_rng(7)
    step = jax.jit(lambda state, action: game.step(state, action, jax.random.key(0)))
    found: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    while len(found) < count:
        (state, row), careless, ply = game.reset(jax.random.key(0)), rng.choice([0.1, 0.3, 0.6, 1.0]), 0
        while not row.last and len(found) < count:
            board, moves = np.asarray(row.obs), np.flatnonzero(np.asarray(row.legal))
            if ply >= plies and not np.isnan((q := solver.values(board))[moves]).any():
                if len(set(q[moves])) > 1:
                    found[board.tobytes()] = (board, q)
                if rng.random() >= careless:
                    moves = np.flatnonzero(q == np.nanmax(q))
            state, row = step(state, jnp.int32(rng.choice(moves)))
            ply += 1
    boards, values = zip(*found.values(), strict=True)
    return Judged(jnp.asarray(np.stack(boards)), np.stack(values))
