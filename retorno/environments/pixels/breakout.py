"""MinAtar's Breakout: a ball breaks three rows of bricks. Young & Tian 2019."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.environments.canvas import BLUE, GREY, ORANGE, PAPER, Colour
from retorno.environments.pixels.minatar import LEFT, NOTHING, RIGHT, SIZE, MinAtar, cell

ACROSS, DOWN = np.array([-1, 1, 1, -1]), np.array([-1, -1, 1, 1])
"""Of each direction in which the ball flies, columns and rows a step."""
OFF_A_SIDE, OFF_ABOVE_OR_BELOW, BACK = np.array([1, 0, 3, 2]), np.array([3, 2, 1, 0]), np.array([2, 3, 0, 1])
"""The direction after each, where the ball bounces off a side, off what is above or below, or goes back."""
WALL = np.broadcast_to((np.arange(SIZE)[:, None] >= 1) & (np.arange(SIZE)[:, None] <= 3), (SIZE, SIZE))


class Ball(NamedTuple):
    """Where all is."""

    row: Int[Array, ""]
    column: Int[Array, ""]
    direction: Int[Array, ""]
    last_row: Int[Array, ""]
    last_column: Int[Array, ""]
    paddle: Int[Array, ""]
    """Its column."""
    bricks: Bool[Array, "10 10"]
    strike: Bool[Array, ""]
    """Whether the ball struck a brick in the step before: it breaks none in the next."""


class Breakout(MinAtar):
    """Each brick pays 1; the game is over when the ball falls. It does not become harder."""

    planes: ClassVar[dict[str, Colour]] = {"paddle": PAPER, "ball": ORANGE, "trail": GREY, "brick": BLUE}
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, RIGHT)

    def chance(self, key: Key[Array, ""]) -> Bool[Array, ""]:
        """Whether a ball begins at the right."""
        return jax.random.bernoulli(key)

    def start(self, chance: Bool[Array, ""]) -> Ball:
        column = jnp.where(chance, 9, 0)
        row, no = jnp.int32(3), jnp.array(False)
        return Ball(row, column, jnp.where(chance, 3, 2), row, column, jnp.int32(4), jnp.asarray(WALL), no)

    def play(
        self, game: Ball, action: Int[Array, ""], chance: Bool[Array, ""]
    ) -> tuple[Ball, Float[Array, ""], Bool[Array, ""]]:
        paddle = jnp.clip(game.paddle + (action == RIGHT) - (action == LEFT), 0, SIZE - 1)
        column, row = (at + jnp.asarray(by)[game.direction] for at, by in ((game.column, ACROSS), (game.row, DOWN)))
        beyond = (column < 0) | (column >= SIZE)
        column = jnp.clip(column, 0, SIZE - 1)
        direction = jnp.where(beyond, jnp.asarray(OFF_A_SIDE)[game.direction], game.direction)

        above = row < 0
        row = jnp.maximum(row, 0)
        strikes = ~above & game.bricks[row, column]
        breaks = strikes & ~game.strike
        falls = ~above & ~strikes & (row == SIZE - 1)
        bricks = game.bricks & ~(breaks & cell(row, column))
        bricks = jnp.where(falls & ~bricks.any(), WALL, bricks)
        caught = falls & (game.column == paddle)
        met = falls & ~caught & (column == paddle)

        direction = jnp.where(above | breaks | caught, jnp.asarray(OFF_ABOVE_OR_BELOW)[direction], direction)
        direction = jnp.where(met, jnp.asarray(BACK)[direction], direction)
        row = jnp.where(breaks | caught | met, game.row, row)
        after = Ball(row, column, direction, game.row, game.column, paddle, bricks, strikes)
        return after, breaks.astype(jnp.float32), falls & ~caught & ~met

    def screen(self, game: Ball) -> Bool[Array, "10 10 4"]:
        ball, trail = cell(game.row, game.column), cell(game.last_row, game.last_column)
        return jnp.stack([cell(jnp.int32(SIZE - 1), game.paddle), ball, trail, game.bricks], -1)
