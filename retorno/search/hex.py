"""Perfect play in Hex on small boards: of each move whether it wins, by a search that keeps what a win needs.

Whoever wins a position does so within some of its free cells. Where the other refuted a move, all moves outside of the
cells that they needed for it are refuted as well (Hayward et al. 2003, "Solving 7×7 Hex: virtual connections and
game-state reduction").
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Integer

from retorno.environments.games.hex import Hex
from retorno.search.errors import SearchError
from retorno.search.perfect import word
from retorno.search.stopping import Stop

LARGEST = 5
"""Rows of a board that is solved in seconds, and whose positions are a word each."""
ENTRIES = 4_194_319
"""Positions that the table remembers, a prime number: 67 MB."""


@dataclass(frozen=True, eq=False)
class HexSolver:
    """What each move is worth for whoever moves: 1 where it wins, −1 where it loses.

    >>> HexSolver(Hex(size=3), entries=1009).values(np.zeros((3, 3), np.int8))
    array([-1., -1.,  1.,  1.,  1.,  1.,  1., -1., -1.])
    """

    game: Hex = field(default_factory=lambda: Hex(size=LARGEST))
    entries: int = ENTRIES
    """Positions that are remembered, with which it is faster; a prime number."""

    def __post_init__(self) -> None:
        if self.game.size > LARGEST:
            raise SearchError(f"the perfect solver knows Hex up to {LARGEST}×{LARGEST}, got a size of {self.game.size}")
        object.__setattr__(self, "_table", (np.zeros(self.entries, np.uint64), np.zeros(self.entries, np.uint64)))
        object.__setattr__(self, "_turn", threading.Lock())

    @property
    def actions(self) -> int:
        return self.game.size**2

    def values(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """Of each move: 1 or −1; NaN where the cell is taken.

        Args:
            obs: as the game shows it, 1 the mover's and 2 the opponent's, in which nobody has won yet.
            stop: by which the question is taken back.

        Raises:
            Stopped: when it was.
        """
        return self._asked(obs, stop)[0]

    def scores(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """The same, and of moves alike in that the better after which fewer stones are lacking than the other lacks.

        Of a full board, on which there is no move, zeros.
        """
        values, ahead = self._asked(obs, stop)
        return np.zeros(self.actions) if np.isnan(values).all() else 4 * self.game.size * values + ahead

    def _asked(
        self, obs: Integer[np.ndarray, "R C"], stop: Stop | None
    ) -> tuple[Float[np.ndarray, " A"], Float[np.ndarray, " A"]]:
        from retorno.search.hex_kernels import answered

        marks = np.asarray(obs)
        mine, theirs = (word(np.pad(marks == mark, ((0, 0), (0, 1)))) for mark in (1, 2))
        with self._turn:  # type: ignore[attr-defined]
            keys, known = self._table  # type: ignore[attr-defined]
            values, ahead = answered(mine, theirs, self.game.size, keys, known, (stop or Stop()).asked)
        values[marks.ravel() != 0] = np.nan
        return values, ahead
