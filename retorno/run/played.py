"""A game that is being played, move by move, by whoever moves: what a page, a terminal and an engine stand around."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Integer, UInt32

from retorno.core import constants
from retorno.core.contract import require_contract
from retorno.core.environment import Episodes, advance, begin
from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import action_units
from retorno.core.time_step import TimeStep
from retorno.environments.games.chance import by_chance
from retorno.environments.games.game import Game
from retorno.environments.games.sgf import read_sgf, write_sgf
from retorno.run.episodes import decide, surely


class GameError(RetornoError):
    """A move or a game that is not one."""


_begun = partial(constants.jit, compiler_options=IN_HASTE)(begin)
_moved = partial(constants.jit, compiler_options=IN_HASTE)(advance)


def game_of_two(world: object) -> Game:
    """A world that can be played against somebody.

    Raises:
        GameError: when it cannot.
        WorldError: when what it shows is not what it promises.
    """
    if not isinstance(world, Game) or not world.two_players:
        raise GameError("only a game of two can be played against somebody, for instance connect_four")
    require_contract(world)
    return world


class Played:
    """The moves of a game so far, and where it stands. What chance does follows from the seed."""

    def __init__(self, world: object, seed: int = 0, number: int = 0) -> None:
        """Begin.

        Args:
            world: which game.
            seed: of what chance does, …
            number: … in which of the games with that seed.

        Raises:
            GameError: when it is no game of two.
        """
        self.world = game_of_two(world)
        self._begin((seed, number))

    def _begin(self, chance: tuple[int, int]) -> None:
        self.chance = chance
        """What all that chance does follows from."""
        self._number = (jnp.uint32(chance[0]), jnp.uint32(chance[1]))
        self.moves: list[int] = []
        self.decided: float | None = None
        """What the first player got of a game that was given up, or lost by a fault, before it was over."""
        self._stood: list[tuple[Episodes, TimeStep, float]] = [(*_begun(self.world, *self._number), 0.0)]

    @property
    def standing(self) -> Any:
        """The game's own state."""
        return self._stood[-1][0].state

    @property
    def row(self) -> TimeStep:
        """What whoever moves sees."""
        return self._stood[-1][1]

    @property
    def rows(self) -> list[TimeStep]:
        """All rows from the beginning on."""
        return [row for _, row, _ in self._stood]

    @property
    def second(self) -> bool:
        """Whether it is the second player's move; of a game that is over, whoever would have moved."""
        return bool(self.standing.second)

    @property
    def over(self) -> bool:
        return self.decided is not None or bool(self.row.last)

    @property
    def result(self) -> float:
        """What the first player has got: 1 for a win, −1 for a loss; the other got as much less."""
        return self._stood[-1][2] if self.decided is None else self.decided

    @property
    def legal(self) -> Bool[np.ndarray, " A"]:
        """What may be done; nothing where the game is over."""
        return np.asarray(self.row.legal) & (not self.over)

    def play(self, action: int) -> None:
        """Make a move.

        Raises:
            GameError: when it is not legal; nothing has changed then.
        """
        if not 0 <= action < len(self.legal) or not self.legal[action]:
            what = "the game is over" if self.over else f"{self.world.say(action, self.second)} is no legal move here"
            raise GameError(f"after {len(self.moves)} moves {what}")
        before, row, result = self._stood[-1]
        standing, row = _moved(self.world, before, row, jnp.int32(action), *self._number)
        self._stood.append((standing, row, result + float(row.reward) * (-1 if self.second else 1)))
        self.moves.append(action)

    def give_up(self) -> None:
        """Whoever is to move has lost."""
        self.decided = 1.0 if self.second else -1.0

    def undo(self) -> None:
        """Take the last move back, where there is one; nothing is given up then."""
        self.decided = None
        if self.moves:
            self.moves.pop()
            self._stood.pop()

    def said(self) -> list[str]:
        """The moves in words."""
        return [self.world.say(move, second) for move, second in zip(self.moves, self.movers(), strict=True)]

    def movers(self) -> list[bool]:
        """Of each move whether the second player made it."""
        return [bool(standing.state.second) for standing, _, _ in self._stood[: len(self.moves)]]

    def sgf(self, players: tuple[str, str] = ("", "")) -> str:
        """The game as a file."""
        moves = zip(self.movers(), self.said(), strict=True)
        chance = self.chance if by_chance(self.world) else None
        return write_sgf(self.world, moves, self.result if self.over else None, players, chance=chance)

    def follow_sgf(self, text: str) -> None:
        """Make the moves that a file holds, before any was made; chance does what it did there.

        Raises:
            SGFError: when it is none of this game.
            GameError: when a move is not legal, or not that player's; the moves before it are made.
        """
        recorded = read_sgf(text, self.world)
        if recorded.chance is not None:
            self._begin(recorded.chance)
        for second, said in recorded.moves:
            if second != self.second and not self.over:
                turn = "second" if self.second else "first"
                raise GameError(
                    f"after {len(self.moves)} moves the {turn} player is to move, and in the file the other does"
                )
            self.follow([said])

    def follow(self, said: Iterable[str]) -> None:
        """Make moves that are said in words.

        Raises:
            GameError: when one of them is not legal; the moves before it are made.
        """
        for each in said:
            if self.over:
                raise GameError(f"after {len(self.moves)} moves the game is over, and {each!r} comes behind")
            try:
                self.play(self.world.action(each, self.legal, self.second))
            except ValueError as error:
                raise GameError(f"after {len(self.moves)} moves {error}") from None

    def marks(self) -> Integer[np.ndarray, "R C"]:
        """The board as the first player sees it: 1 are the first player's marks, 2 the second's."""
        obs = jax.tree.map(np.asarray, self.row.obs)
        return self.world.upright(self.world.marks(obs), self.second)

    def text(self) -> str:
        """The board in letters."""
        return self.world.text(jax.tree.map(np.asarray, self.row.obs), self.second)


class Mover:
    """A policy that is asked for one move after another."""

    def __init__(self, policy: Policy, world: Game, draws: np.random.Generator) -> None:
        """It is compiled when it is asked first.

        Args:
            policy: who moves.
            world: in which game.
            draws: what follows from chance, of who plays at random.
        """
        self.policy, self.world, self._draws = policy, world, draws
        self.begin()

    def begin(self) -> None:
        """Another game: nothing is remembered."""
        self._carry: Any = self.policy.initial_carry()

    def move(self, row: TimeStep) -> int:
        """What it does on a row."""
        drawn = np.uint32(self._draws.integers(2**32))
        action, self._carry = _answered(self.policy, self.world, row, self._carry, drawn)
        return int(action)

    def watch(self, row: TimeStep) -> None:
        """A row on which somebody else moves: a memory sees it too."""
        if jax.tree.leaves(self._carry):
            self.move(row)


@constants.jit
def _answered(policy: Policy, world: Game, row: TimeStep, carry: Any, drawn: UInt32[Array, ""]) -> tuple[Any, Any]:
    return decide(policy, row, carry, action_units(world.action_space), jax.random.key(drawn), surely(policy, True))
