"""MinAtar's Asterix: collect gold among enemies. Young & Tian 2019."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.environments.canvas import GREY, PAPER, Colour
from retorno.environments.pixels.minatar import DOWN, LEFT, NOTHING, RIGHT, SIZE, UP, MinAtar, cell, cells

ROWS = np.arange(1, 9)
"""On which something may come along, one thing on each."""
RAMP = 100
"""Steps between two rises of the difficulty."""
SPAWNS, MOVES = 10, 5
"""Steps between two arrivals and between two moves, at first."""


class Field(NamedTuple):
    """Where all is."""

    row: Int[Array, ""]
    column: Int[Array, ""]
    there: Bool[Array, " 8"]
    """Whether something is on each row."""
    place: Int[Array, " 8"]
    """Its column."""
    rightwards: Bool[Array, " 8"]
    gold: Bool[Array, " 8"]
    """Whether it is gold, or an enemy."""
    spawns: Int[Array, ""]
    """Steps between two arrivals."""
    spawn_timer: Int[Array, ""]
    moves: Int[Array, ""]
    """Steps between two moves."""
    move_timer: Int[Array, ""]
    ramp_timer: Int[Array, ""]
    ramp: Int[Array, ""]
    """How often it became harder."""


class Arrival(NamedTuple):
    """What comes next."""

    rightwards: Bool[Array, ""]
    gold: Bool[Array, ""]
    free: Float[Array, ""]
    """On which of the free rows: its share of their number."""


class Asterix(MinAtar):
    """Gold pays 1; the game is over at an enemy. Things come and go faster as time goes on."""

    planes: ClassVar[dict[str, Colour]] = {
        "player": PAPER,
        "enemy": (202, 67, 67),
        "trail": GREY,
        "gold": (228, 185, 62),
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, UP, RIGHT, DOWN)

    def chance(self, key: Key[Array, ""]) -> Arrival:
        side, gold, free = jax.random.split(key, 3)
        return Arrival(jax.random.bernoulli(side), jax.random.uniform(gold) < 1 / 3, jax.random.uniform(free))

    def start(self, chance: Arrival) -> Field:
        no, zeros = jnp.zeros(8, bool), jnp.zeros(8, jnp.int32)
        spawns, moves, middle = jnp.int32(SPAWNS), jnp.int32(MOVES), jnp.int32(5)
        return Field(middle, middle, no, zeros, no, no, spawns, spawns, moves, moves, jnp.int32(RAMP), jnp.int32(0))

    def play(
        self, game: Field, action: Int[Array, ""], chance: Arrival
    ) -> tuple[Field, Float[Array, ""], Bool[Array, ""]]:
        game = _spawned(game, chance)
        row = jnp.clip(game.row + (action == DOWN) - (action == UP), 1, SIZE - 2)
        column = jnp.clip(game.column + (action == RIGHT) - (action == LEFT), 0, SIZE - 1)

        met = game.there & (ROWS == row) & (game.place == column)
        there = game.there & ~(met & game.gold)
        moves = game.move_timer == 0
        place = jnp.where(moves & there, game.place + jnp.where(game.rightwards, 1, -1), game.place)
        there = there & (place >= 0) & (place < SIZE)
        then = moves & there & (ROWS == row) & (place == column)
        there = there & ~(then & game.gold)
        reward = ((met | then) & game.gold).sum()
        over = ((met | then) & ~game.gold).any()

        after = game._replace(
            row=row,
            column=column,
            there=there,
            place=place,
            spawn_timer=game.spawn_timer - 1,
            move_timer=jnp.where(moves, game.moves, game.move_timer) - 1,
        )
        return self._harder(after), reward.astype(jnp.float32), over

    def _harder(self, game: Field) -> Field:
        if not self.ramping:
            return game
        counts = (game.spawns > 1) | (game.moves > 1)
        rises = counts & (game.ramp_timer < 0)
        return game._replace(
            moves=game.moves - (rises & (game.moves > 1) & (game.ramp % 2 == 1)),
            spawns=game.spawns - (rises & (game.spawns > 1)),
            ramp=game.ramp + rises,
            ramp_timer=jnp.where(rises, RAMP, game.ramp_timer - counts),
        )

    def screen(self, game: Field) -> Bool[Array, "10 10 4"]:
        behind = game.place + jnp.where(game.rightwards, -1, 1)
        enemy, gold = (cells(ROWS, game.place, game.there & kind) for kind in (~game.gold, game.gold))
        return jnp.stack([cell(game.row, game.column), enemy, cells(ROWS, behind, game.there), gold], -1)


def _spawned(game: Field, chance: Arrival) -> Field:
    """The game after something came along, where its time has come and a row is free."""
    due = game.spawn_timer == 0
    free = ~game.there
    number = jnp.floor(chance.free * free.sum()).astype(jnp.int32)
    new = due & free & (jnp.cumsum(free) == number + 1)
    return game._replace(
        there=game.there | new,
        place=jnp.where(new, jnp.where(chance.rightwards, 0, SIZE - 1), game.place),
        rightwards=jnp.where(new, chance.rightwards, game.rightwards),
        gold=jnp.where(new, chance.gold, game.gold),
        spawn_timer=jnp.where(due, game.spawns, game.spawn_timer),
    )
