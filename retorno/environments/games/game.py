"""What every game shares: four functions of a position make a world of it.

A position is a pytree of arrays, as whoever moves next sees it: `start` gives the first one, `legal` says what may be
done, `move` does it, and `show` is what is observed of it. From these come rows, masks, turns, symmetries, text and
pictures; with `recall`, which reads a position from what was observed, a game can be searched.

```python
class Nim(Game):
    \"\"\"Take one, two or three of the matches; who takes the last one wins.\"\"\"

    matches: int = eqx.field(static=True, default=10)

    @property
    def observation_space(self): return spaces.Discrete(self.matches + 1)

    @property
    def action_space(self): return spaces.Discrete(3)

    def start(self, key): return jnp.int32(self.matches)

    def legal(self, position): return jnp.arange(1, 4) <= position

    def move(self, position, action, key):
        left = position - 1 - action
        return Moved(left, reward=left == 0, over=left == 0)
```
"""

from __future__ import annotations

import abc
import math
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Integer, Key, PyTree

from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIGNS = ".XO"
"""A free cell, the first player's, the second's."""
GIVE_UP = -1
"""What whoever moves in a game of two may do beside its actions: then the other has won."""


class Moved(NamedTuple):
    """What a move leads to."""

    position: PyTree[Any]
    """As whoever moves next sees it."""
    reward: Any = 0.0
    """Of who moved."""
    over: Any = False
    again: Any = False
    """Whether who moved moves once more."""
    legal: Bool[Array, " A"] | None = None
    """What may be done there, where it is known by then."""


class Standing(NamedTuple):
    """Where a game stands."""

    position: PyTree[Any]
    legal: Bool[Array, " A"]
    second: Bool[Array, ""]
    """Whether the second player is to move; where a position was entered, whoever moves there counts as the first."""


class Game(Environment):
    """A game of one or of two, in which the players move in turn or as the game says.

    A row shows the position as its mover sees it. In a game of two its discount is −1 where the other moves next and
    1 where the same player does; a row that ends the game says that all is legal. An illegal action pays NaN, so that
    it is noticed; `GIVE_UP` is none of the actions, but may be taken where two play.
    """

    ROWS_FROM_ABOVE: ClassVar[bool] = False
    """Whether a board's uppermost row is its first, and not the lowest one."""

    @property
    def two_players(self) -> bool:
        return True

    @property
    def board(self) -> tuple[int, int] | None:
        """Rows and columns, of a game on a board whose observation is one of marks: 0 free, 1 the mover's, 2 not."""
        return None

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """On a board its marks."""
        if self.board is None:
            raise NotImplementedError(f"{type(self).__name__} has no board: say what is observed, observation_space")
        return marked(self.board, 3)

    @property
    def action_space(self) -> spaces.Discrete:
        """On a board its cells, row by row."""
        if self.board is None:
            raise NotImplementedError(f"{type(self).__name__} has no board: say what may be done, action_space")
        return spaces.Discrete(math.prod(self.board))

    @abc.abstractmethod
    def start(self, key: Key[Array, ""]) -> PyTree[Any]:
        """The first position."""

    @abc.abstractmethod
    def legal(self, position: PyTree[Any]) -> Bool[Array, " A"]:
        """What may be done; on a position in which the game is over it is not asked."""

    @abc.abstractmethod
    def move(self, position: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        """A legal action."""

    def show(self, position: PyTree[Any]) -> PyTree[Any]:
        """What is observed: the position itself where it is not said otherwise."""
        return position

    def recall(self, obs: PyTree[Any]) -> PyTree[Any]:
        """The position that `show` shows."""
        if type(self).show is not Game.show:
            raise NotImplementedError(
                f"{type(self).__name__} does not say which position an observation shows: where it has a `show`, it "
                "needs `recall`, which undoes that"
            )
        return obs

    def reset(self, key: Key[Array, ""]) -> tuple[Standing, TimeStep]:
        return self._begin(self.start(key))

    def enter(self, obs: PyTree[Any]) -> tuple[Standing, TimeStep]:
        return self._begin(self.recall(obs))

    def _begin(self, position: PyTree[Any]) -> tuple[Standing, TimeStep]:
        legal = self.legal(position)
        return Standing(position, legal, jnp.bool_(False)), restart(self.show(position), legal)

    def step(self, state: Standing, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Standing, TimeStep]:
        led = self.move(state.position, action, key)
        if self.two_players:
            gives_up = action == GIVE_UP
            position = jax.tree.map(partial(jnp.where, gives_up), state.position, led.position)
            led = led._replace(
                position=position,
                reward=jnp.where(gives_up, -1.0, led.reward),
                over=gives_up | led.over,
                again=gives_up | led.again,  # The position stays as they see it.
            )
        return self.follow(state, action, led)

    def follow(self, state: Standing, action: Int[Array, ""], led: Moved) -> tuple[Standing, TimeStep]:
        """The row after a move."""
        position, reward, over, again, legal = led
        over, again = jnp.asarray(over), jnp.asarray(again) if self.two_players else jnp.bool_(True)
        legal = (self.legal(position) if legal is None else legal) | over
        lawful = jnp.where(action == GIVE_UP, self.two_players, state.legal[action])
        row = TimeStep(
            obs=self.show(position),
            reward=jnp.where(lawful, jnp.asarray(reward, jnp.float32), jnp.nan),
            discount=jnp.where(over, 0.0, jnp.where(again, 1.0, -1.0)),
            first=jnp.bool_(False),
            last=over,
            legal=legal,
        )
        return Standing(position, legal, state.second == again), row

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"] | None:
        """The ways in which a board may be turned without changing the game: which cell comes to each place."""
        return None

    @property
    def action_symmetries(self) -> Int[np.ndarray, "K A"] | None:
        """The same of actions: which comes to each place. Those of the cells, where an action is a cell."""
        return self.cell_symmetries

    @property
    def symmetries(self) -> int:
        """K, how many there are."""
        return 1 if self.cell_symmetries is None else len(self.cell_symmetries)

    def turned(
        self, obs: PyTree[Any], policy: Float[Array, " A"], number: Int[Array, ""]
    ) -> tuple[PyTree[Any], Float[Array, " A"]]:
        """What is observed, and numbers for each action, by one of the symmetries."""
        cells, actions, board = self.cell_symmetries, self.action_symmetries, self.board
        if cells is None or actions is None or board is None:
            return obs, policy
        if (found := np.shape(actions)) != (needed := (len(cells), *policy.shape)):
            raise ValueError(
                f"action_symmetries of {self!r} has the shape {list(found)}, where {needed[1]} actions and {needed[0]} "
                f"symmetries of the cells need {list(needed)}: say which action comes to each place"
            )

        def turn(leaf: Array) -> Array:
            if leaf.shape[:2] != board:
                return leaf
            flat = leaf.reshape(-1, *leaf.shape[2:])
            return flat[jnp.asarray(cells)[number]].reshape(leaf.shape)

        return jax.tree.map(turn, obs), policy[jnp.asarray(actions)[number]]

    def marks(self, obs: PyTree[Any]) -> Integer[np.ndarray, "R C"]:
        """Of what is observed the board of marks."""
        return np.asarray(obs)

    def upright(self, marks: Integer[np.ndarray, "R C"], second: bool) -> Integer[np.ndarray, "R C"]:
        """A board as the first player sees it: 1 are the first player's marks, 2 the second's."""
        return np.array([0, 2, 1])[marks] if second else marks

    def say(self, action: int, second: bool = False) -> str:
        """An action in words: a cell by the names of its column and its row, unless said otherwise."""
        if self.board is None:
            return str(action)
        row, column = divmod(action, self.board[1])
        return f"{self.column_name(column)}{self.row_name(row)}"

    def column_name(self, column: int) -> str:
        """A letter, or two where letters end: a to z, aa, ab and so on."""
        more, last = divmod(column, len(LETTERS))
        return (LETTERS[more - 1] if more else "") + LETTERS[last]

    def row_name(self, row: int) -> str:
        """A number."""
        assert self.board is not None
        return str(row + 1 if self.ROWS_FROM_ABOVE else self.board[0] - row)

    def cells(self, action: int, second: bool = False) -> tuple[tuple[int, int], ...]:
        """The cells (row, column) of the upright board that an action is about, in order; none of a pass."""
        if self.board is None or action >= math.prod(self.board):
            return ()
        row, column = divmod(action, self.board[1])
        return ((row, column),)

    def action(self, said: str, legal: Bool[np.ndarray, " A"], second: bool = False) -> int:
        """The legal action that was meant.

        Raises:
            ValueError: when there is none; it says which there are.
        """
        names = {self.say(int(one), second).lower(): int(one) for one in np.flatnonzero(legal)}
        if (found := names.get(said.strip().lower())) is None:
            raise ValueError(f"{said.strip()!r} is no legal move here; legal are {', '.join(names)}")
        return found

    def text(self, obs: PyTree[Any], second: bool = False) -> str:
        """A position in letters: X is the first player, O the second."""
        if self.board is None:
            if isinstance(obs, dict):
                return "\n".join(f"{name}: {self.text(part, second)}" for name, part in obs.items())
            return " ".join(str(np.asarray(x)) for x in jax.tree.leaves(obs))
        signs = np.array(list(SIGNS))[self.upright(self.marks(obs), second)]
        names = [self.column_name(column) for column in range(self.board[1])]
        width = len(names[-1])
        lines = [f"{self.row_name(i):>2} {' '.join(sign.ljust(width) for sign in row)}" for i, row in enumerate(signs)]
        return "\n".join(line.rstrip() for line in [*lines, f"   {' '.join(name.ljust(width) for name in names)}"])

    def render(self, state: Standing) -> np.ndarray:
        if self.board is None:
            raise NotImplementedError(f"{type(self).__name__} cannot be drawn: it is not played on a board")
        shown = self.show(jax.tree.map(jnp.asarray, state.position))
        marks = self.marks(jax.tree.map(np.asarray, shown))
        return drawn(self.upright(marks, bool(state.second)))


def marked(shape: tuple[int, ...], kinds: int) -> spaces.Space[Any]:
    """Cells that each show one of so many kinds, in a byte each."""
    return spaces.MultiDiscrete(np.full(shape, kinds), dtype=np.int8)


def drawn(marks: Integer[np.ndarray, "R C"]) -> np.ndarray:
    """A board of marks as a picture [height, width, 3]: blue is the first player, orange the second."""
    from retorno.environments.canvas import BLUE, GREY, ORANGE, Canvas

    rows, columns = marks.shape
    canvas = Canvas(-0.6, columns - 0.4, -0.6, rows - 0.4, width=min(480, max(240, 60 * columns)))
    for row in range(rows + 1):
        canvas.line([(-0.5, row - 0.5), (columns - 0.5, row - 0.5)], 0.02, GREY)
    for column in range(columns + 1):
        canvas.line([(column - 0.5, -0.5), (column - 0.5, rows - 0.5)], 0.02, GREY)
    for row, column in np.argwhere(marks):
        canvas.circle((column, rows - 1 - row), 0.38, BLUE if marks[row, column] == 1 else ORANGE)
    return canvas.picture()


def mirrored(rows: int, columns: int) -> Int[np.ndarray, "2 cells"]:
    """A board, and the same with left and right exchanged."""
    cells = np.arange(rows * columns).reshape(rows, columns)
    return np.stack([cells.ravel(), cells[:, ::-1].ravel()])


def half_turned(rows: int, columns: int) -> Int[np.ndarray, "2 cells"]:
    """A board, and the same turned by 180°."""
    cells = np.arange(rows * columns)
    return np.stack([cells, cells[::-1]])


def dihedral(rows: int, columns: int) -> Int[np.ndarray, "K cells"]:
    """A board turned and mirrored in all ways: eight of a square one, four of another."""
    cells = np.arange(rows * columns).reshape(rows, columns)
    turns = range(4) if rows == columns else (0, 2)
    return np.stack([each.ravel() for k in turns for each in (np.rot90(cells, k), np.rot90(cells, k)[:, ::-1])])


def with_pass(cells: Int[np.ndarray, "K cells"]) -> Int[np.ndarray, "K A"]:
    """Cells, and one action more, that no symmetry changes."""
    return np.pad(cells, ((0, 0), (0, 1)), constant_values=cells.shape[1])
