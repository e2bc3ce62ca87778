"""Go by the rules of Tromp and Taylor but for suicide: area scoring, positional superko, komi (Tromp & Taylor 1995).

No position may come again, whoever moved: each one is known by a sum of random numbers, one for each stone, in 64 bits
(after Zobrist 1970), and a game remembers all of its own. A stone that would have no liberty may not be laid.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Integer, Key, PyTree, UInt32

from retorno.core.spaces import Record
from retorno.environments.games.bitboard import count, flood, gathered
from retorno.environments.games.game import LETTERS, Game, Moved, dihedral, marked, with_pass

ASIDE = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""The four neighbours of a cell: (rows, columns)."""


class Stones(NamedTuple):
    """A position of N × N cells, as its mover sees it."""

    marks: Int[Array, " cells"]
    """0 free, 1 the mover's, 2 the opponent's."""
    chains: Int[Array, " cells"]
    """Which chain a stone is part of: the number of one of its cells; −1 where there is none."""
    seen: UInt32[Array, "L 2"]
    """The positions so far, by their 64 bits."""
    moves: Int[Array, ""]
    passed: Int[Array, ""]
    """Whether the last move was a pass."""


class Go(Game):
    """Lay a stone or pass (the last action); what has no liberty is taken. After two passes the larger area wins.

    A game that lasts as long as `longest` moves is scored as it stands.
    """

    size: int = eqx.field(static=True, default=9)
    komi: float = eqx.field(static=True, default=7.5)
    longest: int | None = eqx.field(static=True, default=None)
    """Moves after which a game is over; None for twice as many as there are cells."""

    def __check_init__(self) -> None:
        if not 2 <= self.size <= 19:
            raise ValueError(f"Go's board has a size from 2 to 19, got {self.size}: try 9")
        if not math.isfinite(self.komi):
            raise ValueError(f"komi is a number of points, got {self.komi}: try 7.5")
        if self.limit < 1:
            raise ValueError(f"a game of Go has one move or more, got longest={self.limit}: leave it out")

    @property
    def board(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def komi_name(self) -> str:
        """Komi with all of its digits, as files and programs are told it."""
        return np.format_float_positional(self.komi, trim="-")

    @property
    def limit(self) -> int:
        """Moves after which a game is over."""
        return 2 * self.size**2 if self.longest is None else self.longest

    @property
    def observation_space(self) -> spaces.Dict:
        return spaces.Dict(
            board=marked(self.board, 3),
            white=spaces.Discrete(2),
            passed=spaces.Discrete(2),
            moves=Record(0, self.limit, (), np.int32),
            seen=Record(0, 2**32 - 1, (self.limit + 1, 2), np.uint32),
        )

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.size**2 + 1)

    def start(self, key: Key[Array, ""]) -> Stones:
        nobody = jnp.zeros(self.size**2, jnp.int32)
        return Stones(nobody, nobody - 1, jnp.zeros((self.limit + 1, 2), jnp.uint32), jnp.int32(0), jnp.int32(0))

    def legal(self, position: Stones) -> Bool[Array, " A"]:
        """All but suicide and what would repeat a position."""
        marks, chains, seen, moves, _ = position
        nearby, white = jnp.asarray(_neighbours(self.size)), moves % 2
        atari = jnp.append(self._atari(marks, chains), False)[nearby]
        mark, chain = jnp.append(marks, -1)[nearby], jnp.append(chains, -1)[nearby]
        taken = (mark == 2) & atari
        breathes = ((mark == 0) | ((mark == 1) & ~atari) | taken).any(1)
        # What a chain of the opponent's adds to a position, and what is left without those that a stone takes; a chain
        # that touches a cell twice is taken once.
        numbers = jnp.asarray(_numbers(self.size))
        stones = jnp.where((marks == 2)[:, None], numbers[1 - white], 0).astype(jnp.uint32)
        whole = jnp.zeros_like(stones).at[chains].add(stones, mode="drop", wrap_negative_indices=False)
        twice = jnp.stack([(taken[:, :k] & (chain[:, :k] == chain[:, k, None])).any(1) for k in range(4)], 1)
        gone = jnp.where((taken & ~twice)[..., None], whole[chain], 0).sum(1, dtype=jnp.uint32)
        after = seen[moves] + numbers[white] - gone
        known = ((seen[:, None] == after).all(-1) & (jnp.arange(len(seen)) <= moves)[:, None]).any(0)
        return jnp.append((marks == 0) & breathes & ~known, True)

    def _atari(self, marks: Int[Array, " cells"], chains: Int[Array, " cells"]) -> Bool[Array, " cells"]:
        """Of each stone whether its chain has one liberty alone."""
        nearby, cells = jnp.asarray(_neighbours(self.size)), self.size**2
        free = (jnp.append(marks, 3)[nearby] == 0) & (marks > 0)[:, None]
        place = jnp.where(chains < 0, cells, chains)
        least = jnp.full(cells + 1, cells).at[place].min(jnp.where(free, nearby, cells).min(1))
        most = jnp.full(cells + 1, -1).at[place].max(jnp.where(free, nearby, -1).max(1))
        return (least == most)[place] & (marks > 0)

    def move(self, position: Stones, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        marks, chains, seen, moves, passed = position
        cells, white = self.size**2, moves % 2
        passes = action == cells
        nearby = jnp.append(jnp.asarray(_neighbours(self.size)), jnp.full((1, 4), cells), 0)[action]
        atari = jnp.append(self._atari(marks, chains), False)[nearby]
        mark, chain = jnp.append(marks, -1)[nearby], jnp.append(chains, -1)[nearby]
        # The stone joins its chains, and takes those of the opponent's that had their last liberty here.
        joined, taken = jnp.where(mark == 1, chain, -2), jnp.where((mark == 2) & atari, chain, -2)
        here = jnp.arange(cells) == action
        gone = (chains[:, None] == taken).any(1)
        chains = jnp.where((chains[:, None] == joined).any(1) | here, action, jnp.where(gone, -1, chains))
        numbers = jnp.asarray(_numbers(self.size))
        laid = jnp.where(here[:, None], numbers[white], 0).sum(0, dtype=jnp.uint32)
        lost = jnp.where(gone[:, None], numbers[1 - white], 0).sum(0, dtype=jnp.uint32)
        marks = jnp.where(here, 1, jnp.where(gone, 0, marks))
        seen = seen.at[moves + 1].set(seen[moves] + laid - lost)
        over = (passes & (passed == 1)) | (moves + 1 >= self.limit)
        ahead = self._area(marks == 1, marks == 2) + jnp.where(white == 1, self.komi, -self.komi)
        after = Stones(jnp.array([0, 2, 1])[marks], chains, seen, moves + 1, passes.astype(jnp.int32))
        return Moved(after, reward=jnp.where(over, jnp.sign(ahead), 0.0), over=over)

    def _area(self, mine: Bool[Array, " cells"], theirs: Bool[Array, " cells"]) -> Float[Array, ""]:
        """Stones and the free cells that they alone enclose: the mover's less the opponent's."""
        own, other = (gathered(x.reshape(self.board)) for x in (mine, theirs))
        free = gathered(~(mine | theirs).reshape(self.board))
        reached = [flood(each, free | each, ASIDE, self.size) for each in (own, other)]
        return (count(reached[0] & ~reached[1]) - count(reached[1] & ~reached[0])).astype(jnp.float32)

    def show(self, position: Stones) -> dict[str, Integer[Array, "*N"]]:
        return {
            "board": position.marks.reshape(self.board).astype(jnp.int8),
            "white": position.moves % 2,
            "passed": position.passed,
            "moves": position.moves,
            "seen": position.seen,
        }

    def recall(self, obs: dict[str, Integer[Array, "*N"]]) -> Stones:
        marks = obs["board"].reshape(-1).astype(jnp.int32)
        return Stones(marks, self._chains(marks), obs["seen"], obs["moves"], obs["passed"])

    def _chains(self, marks: Int[Array, " cells"]) -> Int[Array, " cells"]:
        """The least cell of each stone's chain."""
        nearby = jnp.asarray(_neighbours(self.size))
        alike = jnp.append(marks, 3)[nearby] == marks[:, None]

        def joined(state: tuple[Array, Array]) -> tuple[Array, Array]:
            number = state[0]
            least = jnp.where(alike, jnp.append(number, 0)[nearby], self.size**2).min(1)
            after = jnp.minimum(number, least)
            return after, (after != number).any()

        number = jax.lax.while_loop(lambda state: state[1], joined, (jnp.arange(self.size**2), jnp.bool_(True)))[0]
        return jnp.where(marks > 0, number, -1)

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        return dihedral(self.size, self.size)

    @property
    def action_symmetries(self) -> Int[np.ndarray, "K A"]:
        return with_pass(self.cell_symmetries)

    def marks(self, obs: PyTree[Any]) -> Integer[np.ndarray, "R C"]:
        return np.asarray(obs["board"])

    def say(self, action: int, second: bool = False) -> str:
        return "pass" if action == self.size**2 else super().say(action)

    def column_name(self, column: int) -> str:
        """Go's columns have no "i"."""
        return LETTERS.replace("i", "")[column]

    def text(self, obs: PyTree[Any], second: bool = False) -> str:
        # Where a position was entered, its colours are told by the moves.
        return super().text(obs, bool(obs["white"]))


@functools.cache
def _neighbours(size: int) -> Int[np.ndarray, "cells 4"]:
    """The four neighbours of each cell, or the number of cells where the board ends."""
    padded = np.pad(np.arange(size**2).reshape(size, size), 1, constant_values=size**2)
    rows, columns = np.indices((size, size)).reshape(2, -1) + 1
    return np.stack([padded[rows + r, columns + c] for r, c in ASIDE], 1).astype(np.int32)


@functools.cache
def _numbers(size: int) -> UInt32[np.ndarray, "2 cells 2"]:
    """The random numbers of black and white stones."""
    return np.random.default_rng(0).integers(2**32, size=(2, size**2, 2), dtype=np.uint32)
