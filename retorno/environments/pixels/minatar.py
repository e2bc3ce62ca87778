"""MinAtar: five games of the Atari console on 10×10 cells, one plane for each kind of thing. Young & Tian 2019.

Step for step as their package `minatar` 1.0.15 has them, but for one thing: what sticks at an episode's start is to
do nothing, and not what was done at the end of the episode before.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.environment import Environment
from retorno.core.runtime import prepare
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.canvas import INK, Canvas, Colour

SIZE = 10
"""Rows and columns of the screen."""
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)
"""The actions of every game."""
NAMES = ("nothing", "left", "up", "right", "down", "fire")


class Played(NamedTuple):
    """A game, and the action that it was played with last."""

    game: Any
    action: Int[Array, ""]


def _array(number: Scalar) -> Float[Array, ""]:
    """A number as a program holds it; JAX is set up before."""
    prepare()
    return jnp.float32(number)


class MinAtar(Environment):
    """One of the games: a screen [10, 10, C] of planes; the game says how it starts and goes on."""

    sticky: Scalar = eqx.field(converter=_array, default=0.1)
    """How likely it is that the action before is done once more, instead of the one that was chosen."""
    ramping: bool = eqx.field(static=True, default=True)
    """Whether the game becomes harder as it goes on."""
    all_actions: bool = eqx.field(static=True, default=False)
    """Whether all six actions may be chosen, or only those that do something in this game."""

    planes: ClassVar[dict[str, Colour]]
    """What is seen, and how each is drawn: what comes before covers what comes later."""
    useful: ClassVar[tuple[int, ...]]
    """The actions that do something."""

    def __check_init__(self) -> None:
        if not 0 <= self.sticky <= 1:
            raise ValueError(f"sticky is a probability, in [0, 1], got {self.sticky}: MinAtar's own is .1")

    @abc.abstractmethod
    def chance(self, key: Key[Array, ""]) -> PyTree[Any]:
        """What is left to chance at a start, or in a step."""

    @abc.abstractmethod
    def start(self, chance: PyTree[Any]) -> PyTree[Any]:
        """The game at its start."""

    @abc.abstractmethod
    def play(
        self, game: Any, action: Int[Array, ""], chance: PyTree[Any]
    ) -> tuple[Any, Float[Array, ""], Bool[Array, ""]]:
        """The game after one of the six actions; what that paid; whether it is over."""

    @abc.abstractmethod
    def screen(self, game: Any) -> Bool[Array, "10 10 C"]:
        """What is seen of the game."""

    @property
    def observation_space(self) -> spaces.Box:
        binary: Any = np.bool_
        return spaces.Box(0, 1, (SIZE, SIZE, len(self.planes)), binary)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(len(self._actions))

    @property
    def _actions(self) -> tuple[int, ...]:
        return tuple(range(6)) if self.all_actions else self.useful

    @property
    def action_names(self) -> tuple[str, ...]:
        """What its actions are."""
        return tuple(NAMES[action] for action in self._actions)

    def reset(self, key: Key[Array, ""]) -> tuple[Played, TimeStep]:
        game = self.start(self.chance(key))
        return Played(game, jnp.int32(NOTHING)), restart(self.screen(game))

    def step(self, state: Played, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Played, TimeStep]:
        for_sticking, for_game = jax.random.split(key)
        sticks = jax.random.uniform(for_sticking) < self.sticky
        action = jnp.where(sticks, state.action, jnp.asarray(self._actions)[action])
        game, reward, over = self.play(state.game, action, self.chance(for_game))
        return Played(game, action), transition(self.screen(game), reward, terminated=over)

    def render(self, state: Played) -> np.ndarray:
        return self.picture(self.screen(state.game))

    def picture(self, obs: Bool[Array | np.ndarray, "10 10 C"]) -> np.ndarray:
        return draw(np.asarray(obs), list(self.planes.values()))


def draw(screen: np.ndarray, colours: list[Colour]) -> np.ndarray:
    """A picture of planes, each in its colour: what comes before covers what comes later.

    Args:
        screen: what is seen. Shape [rows, columns, C].
        colours: of each plane.

    >>> draw(np.ones((10, 10, 1), bool), [INK]).shape
    (320, 320, 3)
    """
    rows, columns, _ = screen.shape
    canvas = Canvas(0, columns, 0, rows, 32 * columns)
    canvas.box((columns / 2, rows / 2), columns, rows, INK)
    for plane, colour in reversed([*enumerate(colours)]):
        for row, column in np.argwhere(screen[..., plane]):
            canvas.box((column + 0.5, rows - row - 0.5), 0.9, 0.9, colour)
    return canvas.picture()


def cells(
    row: Int[Array | np.ndarray, " N"], column: Int[Array, " N"], there: Bool[Array, " N"]
) -> Bool[Array, "10 10"]:
    """The cells on which things lie; what lies beyond the screen, or is not there, is not seen.

    >>> cells(jnp.array([0, 3]), jnp.array([9, -1]), jnp.array([True, True])).sum()
    Array(1, dtype=int32)
    """
    rows = (row[:, None] == jnp.arange(SIZE)) & there[:, None]
    columns = column[:, None] == jnp.arange(SIZE)
    return (rows[:, :, None] & columns[:, None, :]).any(0)


def cell(row: Int[Array, ""], column: Int[Array, ""]) -> Bool[Array, "10 10"]:
    """The one cell on which a thing lies."""
    return (jnp.arange(SIZE)[:, None] == row) & (jnp.arange(SIZE) == column)
