"""Othello searched to its end, or as far as it is asked: perfect play once the end is near enough."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Integer

from retorno.environments.games.othello import Othello
from retorno.search.errors import SearchError
from retorno.search.perfect import word
from retorno.search.stopping import Stop

ENTRIES = 2_097_169
"""Positions that the table remembers, a prime number: 25 MB."""


@dataclass(frozen=True, eq=False)
class OthelloSolver:
    """What each move is worth for whoever moves.

    Where no more than `depth` moves are left this is exact; before, a position after so many moves is taken for what
    its corners and moves promise.
    """

    game: Othello = field(default_factory=lambda: Othello(size=6))
    depth: int = 18
    """Moves that are looked ahead."""
    entries: int = ENTRIES
    """Positions that are remembered, with which it is faster; a prime number."""

    def __post_init__(self) -> None:
        if self.game.size > 8:
            raise SearchError(f"the solver knows Othello on boards up to 8×8, got a size of {self.game.size}")
        if self.depth < 1:
            raise SearchError(f"the solver looks ahead by one move or more, got a depth of {self.depth}")
        object.__setattr__(self, "_table", (np.zeros(self.entries, np.uint64), np.zeros((self.entries, 2), np.int16)))
        object.__setattr__(self, "_turn", threading.Lock())

    @property
    def actions(self) -> int:
        return self.game.size**2

    def values(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """Of each move: 1 where it wins, 0 where it draws, −1 where it loses; NaN where it is not legal.

        NaN for all where more moves are left than are looked ahead.

        Args:
            obs: as the game shows it, 1 the mover's and 2 the opponent's.
            stop: by which the question is taken back.

        Raises:
            Stopped: when it was.
        """
        if (np.asarray(obs) == 0).sum() > self.depth:
            return np.full(self.actions, np.nan)
        return np.sign(self._asked(obs, 1, stop))

    def scores(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """Of each move the discs ahead at the end, or what is promised, less than one disc; NaN where it is illegal.

        Of a position in which nobody can move, zeros.
        """
        found = self._asked(obs, None, stop)
        return np.zeros(self.actions) if np.isnan(found).all() else found

    def _asked(self, obs: Integer[np.ndarray, "R C"], window: int | None, stop: Stop | None) -> Float[np.ndarray, " A"]:
        from retorno.search.othello_kernels import GUESS, MOST, scores

        mine, theirs = (word(np.asarray(obs) == mark) for mark in (1, 2))
        window = MOST * GUESS if window is None else window
        with self._turn:  # type: ignore[attr-defined]
            keys, bounds = self._table  # type: ignore[attr-defined]
            asked = (stop or Stop()).asked
            found = scores(mine, theirs, self.game.size, self.depth, window, keys, bounds, asked)
        return np.where(found == -MOST * GUESS, np.nan, found / GUESS)
