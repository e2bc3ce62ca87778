"""Perfect play in Connect Four: every move solved by a search to the game's end (Allis 1988; Pons 2015)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Integer

from retorno.environments.games.connect_four import ConnectFour
from retorno.search.errors import SearchError
from retorno.search.perfect import word
from retorno.search.stopping import Stop

ENTRIES = 8_388_617
"""Positions that the table remembers, a prime number: 67 MB."""
HIGHEST = 19
"""Rows of a board whose lines of four, the slanting ones too, reach over less than a word."""
TO_THE_END = 1_000


@dataclass(frozen=True, eq=False)
class ConnectFourSolver:
    """What each move is worth for whoever moves: 1 where it wins, 0 where it draws, −1 where it loses.

    Boards of up to 19 rows whose columns, one cell higher, have 64 cells or fewer together; four in a row.

    >>> solver = ConnectFourSolver(ConnectFour(rows=4, columns=5), entries=1009)
    >>> solver.values(np.zeros((4, 5), np.int8)).tolist()
    [-1.0, 0.0, 0.0, 0.0, -1.0]
    """

    game: ConnectFour = field(default_factory=ConnectFour)
    depth: int = TO_THE_END
    """Moves that are looked ahead: what lies beyond counts as a draw."""
    entries: int = ENTRIES
    """Positions that are remembered, with which it is faster; a prime number above 256."""

    def __post_init__(self) -> None:
        rows, columns, length = self.game.rows, self.game.columns, self.game.length
        if length != 4 or (rows + 1) * columns > 64 or columns > 16 or rows > HIGHEST:
            raise SearchError(
                f"the perfect solver knows Connect Four with four in a row on boards of 64 cells or fewer, a row above "
                f"the others counted, and of up to {HIGHEST} rows; got {rows} × {columns} with {length} in a row"
            )
        object.__setattr__(self, "_table", np.zeros(self.entries, np.uint64))
        object.__setattr__(self, "_turn", threading.Lock())

    def values(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """Of each move: 1, 0 or −1; NaN where the column is full.

        Args:
            obs: as the game shows it, 1 the mover's and 2 the opponent's, in which nobody has won yet.
            stop: by which the question is taken back.

        Raises:
            Stopped: when it was.
        """
        return self._asked(obs, stop, weak=True)

    def scores(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """Of each move how soon it wins: 1 with the last disc of all, more before, negative where it loses so.

        Of a full board, on which there is no move, zeros.
        """
        if not (np.asarray(obs)[0] == 0).any():
            return np.zeros(self.actions)
        return self._asked(obs, stop, weak=False)

    @property
    def actions(self) -> int:
        return self.game.columns

    def _asked(self, obs: Integer[np.ndarray, "R C"], stop: Stop | None, weak: bool) -> Float[np.ndarray, " A"]:
        from retorno.search.kernels import LOST, scores

        mine, theirs = (word(_columns(np.asarray(obs) == mark)) for mark in (1, 2))
        table, asked = self._table, (stop or Stop()).asked  # type: ignore[attr-defined]
        with self._turn:  # type: ignore[attr-defined]
            found = scores(mine, mine | theirs, self.game.rows, self.game.columns, self.depth, weak, table, asked)
        return np.where(found < LOST, np.nan, (np.clip(found, -1, 1) if weak else found).astype(float))


def _columns(cells: np.ndarray) -> np.ndarray:
    """Columns one after another from below, with a free cell above each."""
    return np.pad(cells[::-1], ((0, 1), (0, 0))).T
