"""MinAtar's Freeway: cross a road of eight lanes, again and again. Young & Tian 2019."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.environments.canvas import PAPER, Colour
from retorno.environments.pixels.minatar import DOWN, NOTHING, SIZE, UP, MinAtar, cell, cells

LANES = np.arange(1, 9)
"""The rows on which cars drive."""
PLACE = 4
"""The chicken's column."""
HOME = SIZE - 1
WAIT = 3
"""Steps from one of its moves to the next."""
STEPS = 2500


class Road(NamedTuple):
    """Where all is."""

    row: Int[Array, ""]
    """The chicken's."""
    wait: Int[Array, ""]
    """Steps before it may move."""
    left: Int[Array, ""]
    """Steps that are left."""
    column: Int[Array, " 8"]
    """Of each car."""
    speed: Int[Array, " 8"]
    """How many steps each waits between two moves, below 0 where it drives to the left."""
    timer: Int[Array, " 8"]
    """How many of them are left."""


class Freeway(MinAtar):
    """Each crossing pays 1; the game is over after 2,500 steps. It does not become harder."""

    planes: ClassVar[dict[str, Colour]] = {
        "chicken": PAPER,
        "car": (221, 132, 62),
        "speed1": (202, 67, 67),
        "speed2": (178, 84, 115),
        "speed3": (140, 98, 150),
        "speed4": (98, 106, 165),
        "speed5": (58, 110, 165),
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, UP, DOWN)

    def chance(self, key: Key[Array, ""]) -> Int[Array, " 8"]:
        """The cars' next speeds."""
        for_speed, for_direction = jax.random.split(key)
        return jax.random.randint(for_speed, (8,), 1, 6) * jax.random.rademacher(for_direction, (8,), jnp.int32)

    def start(self, chance: Int[Array, " 8"]) -> Road:
        column = jnp.zeros(8, jnp.int32)
        return Road(jnp.int32(HOME), jnp.int32(WAIT), jnp.int32(STEPS), column, chance, abs(chance))

    def play(
        self, game: Road, action: Int[Array, ""], chance: Int[Array, " 8"]
    ) -> tuple[Road, Float[Array, ""], Bool[Array, ""]]:
        up, down = action == UP, action == DOWN
        moves = (up | down) & (game.wait == 0)
        wait = jnp.where(moves, WAIT, game.wait)
        row = jnp.where(moves, jnp.clip(game.row + down - up, 0, HOME), game.row)

        across = row == 0
        row = jnp.where(across, HOME, row)
        speed = jnp.where(across, chance, game.speed)
        timer = jnp.where(across, abs(chance), game.timer)

        drives = timer == 0
        column = jnp.where(drives, (game.column + jnp.sign(speed)) % SIZE, game.column)
        hit = ((LANES == row) & ((game.column == PLACE) | (column == PLACE))).any()
        timer = jnp.where(drives, abs(speed), timer - 1)
        after = Road(jnp.where(hit, HOME, row), wait - (wait > 0), game.left - 1, column, speed, timer)
        return after, across.astype(jnp.float32), after.left < 0

    def screen(self, game: Road) -> Bool[Array, "10 10 7"]:
        cars = cells(LANES, game.column, jnp.ones(8, bool))
        behind = (game.column - jnp.sign(game.speed)) % SIZE
        trails = [cells(LANES, behind, abs(game.speed) == speed) for speed in range(1, 6)]
        return jnp.stack([cell(game.row, jnp.int32(PLACE)), cars, *trails], -1)
