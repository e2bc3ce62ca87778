"""MinAtar's Seaquest: a submarine saves divers and shoots fish and other submarines. Young & Tian 2019.

Where several things meet on one cell, their order in the package's lists decides who is hit: of enemies the number of
each tells it (`born`), bullets and divers stand with the newest first.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.environments.canvas import GREY, PAPER, Colour
from retorno.environments.pixels.minatar import DOWN, FIRE, LEFT, NOTHING, RIGHT, SIZE, UP, MinAtar, cell, cells

OXYGEN = 200
SPAWNS, DIVERS = 20, 30
"""Steps between two arrivals of enemies, at first, and of divers."""
MOVES, FASTEST, DIVER_MOVES = 5, 2, 5
"""Steps that enemies wait between two moves: at first, and in the end; and divers."""
COOLING, SHOTS = 5, 10
"""Steps between two shots of ours, and of an enemy."""
ABOARD = 6
"""As many divers as there is room for."""
ENEMIES = 32
"""More than there can be: one arrives in a step at most, and crosses the screen in thirty when they are that many."""


class Thing(NamedTuple):
    """Some things of a kind, [N]."""

    there: Bool[Array, " N"]
    row: Int[Array, " N"]
    column: Int[Array, " N"]
    rightwards: Bool[Array, " N"]

    def at(self, row: Int[Array, ""], column: Int[Array, ""]) -> Bool[Array, " N"]:
        """Which of them lie on a cell."""
        return self.there & (self.row == row) & (self.column == column)

    def moved(self, which: Bool[Array, " N"]) -> Thing:
        """Those a column on; what leaves the screen is gone."""
        column = self.column + jnp.where(self.rightwards, 1, -1) * (which & self.there)
        return self._replace(column=column, there=self.there & (column >= 0) & (column < SIZE))

    def seen(self) -> Bool[Array, "10 10"]:
        return cells(self.row, self.column, self.there)

    def trail(self) -> Bool[Array, "10 10"]:
        return cells(self.row, self.column - jnp.where(self.rightwards, 1, -1), self.there)


def nothing(size: int) -> Thing:
    """Room for so many things."""
    none, zeros = jnp.zeros(size, bool), jnp.zeros(size, jnp.int32)
    return Thing(none, zeros, zeros, none)


class Sea(NamedTuple):
    """Where all is."""

    row: Int[Array, ""]
    column: Int[Array, ""]
    rightwards: Bool[Array, ""]
    oxygen: Int[Array, ""]
    aboard: Int[Array, ""]
    """Divers; one less than none, where six came up."""
    surfaced: Bool[Array, ""]
    """Whether it was above water the step before."""
    bullets: Thing
    enemies: Thing
    submarine: Bool[Array, " N"]
    """Whether an enemy is one, or a fish."""
    born: Int[Array, " N"]
    """When each enemy came."""
    move_timer: Int[Array, " N"]
    shot_timer: Int[Array, " N"]
    enemy_bullets: Thing
    """One of each enemy: it flies no longer than the next takes."""
    divers: Thing
    diver_timer: Int[Array, " 3"]
    age: Int[Array, ""]
    spawns: Int[Array, ""]
    """Steps between two arrivals of enemies."""
    spawn_timer: Int[Array, ""]
    diver_spawn_timer: Int[Array, ""]
    moves: Int[Array, ""]
    """Steps that enemies wait between two moves."""
    own_shot_timer: Int[Array, ""]
    ramp: Int[Array, ""]
    """How often it became harder."""


class Arrivals(NamedTuple):
    """What comes next."""

    rightwards: Bool[Array, ""]
    submarine: Bool[Array, ""]
    row: Int[Array, ""]
    diver_rightwards: Bool[Array, ""]
    diver_row: Int[Array, ""]


class Seaquest(MinAtar):
    """Each enemy that is shot pays 1, and six divers that come up as much as there is oxygen, in tenths.

    The game is over at an enemy or its bullet, without oxygen, or at the surface without a diver. With each time that
    divers come up it becomes harder.
    """

    planes: ClassVar[dict[str, Colour]] = {
        "sub_front": PAPER,
        "sub_back": GREY,
        "friendly_bullet": (228, 185, 62),
        "trail": (92, 98, 110),
        "enemy_bullet": (202, 67, 67),
        "enemy_fish": (221, 132, 62),
        "enemy_sub": (178, 84, 115),
        "oxygen_guage": (58, 110, 165),
        "diver_guage": (76, 153, 102),
        "diver": (76, 153, 102),
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, UP, RIGHT, DOWN, FIRE)

    def chance(self, key: Key[Array, ""]) -> Arrivals:
        coins, rows = jax.random.split(key)
        side, kind, diver = jax.random.uniform(coins, (3,))
        row, diver_row = jax.random.randint(rows, (2,), 1, 9)
        return Arrivals(side < 1 / 2, kind < 1 / 3, row, diver < 1 / 2, diver_row)

    def start(self, chance: Arrivals) -> Sea:
        zero, many = jnp.int32(0), jnp.zeros(ENEMIES, jnp.int32)
        return Sea(
            row=zero,
            column=jnp.int32(5),
            rightwards=jnp.array(False),
            oxygen=jnp.int32(OXYGEN),
            aboard=zero,
            surfaced=jnp.array(True),
            bullets=nothing(3),
            enemies=nothing(ENEMIES),
            submarine=jnp.zeros(ENEMIES, bool),
            born=many,
            move_timer=many,
            shot_timer=many,
            enemy_bullets=nothing(ENEMIES),
            divers=nothing(3),
            diver_timer=jnp.zeros(3, jnp.int32),
            age=zero,
            spawns=jnp.int32(SPAWNS),
            spawn_timer=jnp.int32(SPAWNS),
            diver_spawn_timer=jnp.int32(DIVERS),
            moves=jnp.int32(MOVES),
            own_shot_timer=zero,
            ramp=zero,
        )

    def play(
        self, game: Sea, action: Int[Array, ""], chance: Arrivals
    ) -> tuple[Sea, Float[Array, ""], Bool[Array, ""]]:
        game = _steered(_arrived(game, chance), action)
        game, shot = _shoot(game)
        game = _saved(game)
        game, torpedoed, sunk = _enemies(game)
        struck = game.enemy_bullets.at(game.row, game.column).any()
        flying = game.enemy_bullets.moved(game.enemy_bullets.there)
        struck = struck | flying.at(game.row, game.column).any()
        game = game._replace(
            enemy_bullets=flying,
            age=game.age + 1,
            spawn_timer=jnp.maximum(game.spawn_timer - 1, 0),
            diver_spawn_timer=jnp.maximum(game.diver_spawn_timer - 1, 0),
            own_shot_timer=jnp.maximum(game.own_shot_timer - 1, 0),
        )
        over = sunk | struck | (game.oxygen <= 0)
        game, saved, drowned = self._breathe(game)
        return game, (shot + torpedoed + saved).astype(jnp.float32), over | drowned

    def _breathe(self, game: Sea) -> tuple[Sea, Int[Array, ""], Bool[Array, ""]]:
        """Under water or above it: the game, what was paid, and whether it came up for nothing."""
        above = game.row == 0
        comes_up = above & ~game.surfaced
        empty = comes_up & (game.aboard == 0)
        saves = comes_up & (game.aboard != 0)
        full = saves & (game.aboard == ABOARD)
        reward = jnp.where(full, game.oxygen * 10 // OXYGEN, 0)
        harder = saves & ((game.spawns > 1) | (game.moves > FASTEST)) & self.ramping
        return (
            game._replace(
                oxygen=jnp.where(saves, OXYGEN, game.oxygen - ~above),
                aboard=jnp.where(full, 0, game.aboard) - saves,
                surfaced=jnp.where(above, game.surfaced | saves, False),
                moves=game.moves - (harder & (game.moves > FASTEST) & (game.ramp % 2 == 1)),
                spawns=game.spawns - (harder & (game.spawns > 1)),
                ramp=game.ramp + harder,
            ),
            reward,
            empty,
        )

    def screen(self, game: Sea) -> Bool[Array, "10 10 10"]:
        back = game.column + jnp.where(game.rightwards, -1, 1)
        enemies = game.enemies
        fish = enemies._replace(there=enemies.there & ~game.submarine)
        submarines = enemies._replace(there=enemies.there & game.submarine)
        column, bottom = jnp.arange(SIZE), jnp.arange(SIZE)[:, None] == SIZE - 1
        oxygen = bottom & (column < jnp.maximum(game.oxygen, 0) * 10 // OXYGEN)
        aboard = bottom & (column >= 9 - game.aboard) & (column < 9)
        planes = [cell(game.row, game.column), cell(game.row, back), game.bullets.seen()]
        planes += [enemies.trail() | game.divers.trail(), game.enemy_bullets.seen(), fish.seen(), submarines.seen()]
        return jnp.stack([*planes, oxygen, aboard, game.divers.seen()], -1)


def _first(things: Thing, there: Bool[Array, ""], new: Thing) -> Thing:
    """Things with a new one before them, where there is one."""
    pushed = jax.tree.map(lambda one, many: jnp.concatenate([jnp.asarray(one)[None], many[:-1]]), new, things)
    return jax.tree.map(lambda a, b: jnp.where(there, a, b), pushed, things)


def _arrived(game: Sea, chance: Arrivals) -> Sea:
    """The game after enemies and divers came, where their time has come."""
    due, diver_due = game.spawn_timer == 0, game.diver_spawn_timer == 0
    in_the_way = (game.enemies.there & (game.enemies.row == chance.row)) & (
        game.enemies.rightwards != chance.rightwards
    )
    free = jnp.arange(ENEMIES) == jnp.argmin(game.enemies.there)
    new = free & due & ~in_the_way.any()
    enemies = Thing(
        there=game.enemies.there | new,
        row=jnp.where(new, chance.row, game.enemies.row),
        column=jnp.where(new, jnp.where(chance.rightwards, 0, SIZE - 1), game.enemies.column),
        rightwards=jnp.where(new, chance.rightwards, game.enemies.rightwards),
    )
    column = jnp.where(chance.diver_rightwards, 0, SIZE - 1)
    diver = Thing(jnp.array(True), chance.diver_row, column, chance.diver_rightwards)
    timers = jnp.concatenate([jnp.full(1, DIVER_MOVES), game.diver_timer[:-1]])
    return game._replace(
        enemies=enemies,
        submarine=jnp.where(new, chance.submarine, game.submarine),
        born=jnp.where(new, game.age, game.born),
        move_timer=jnp.where(new, game.moves, game.move_timer),
        shot_timer=jnp.where(new, SHOTS, game.shot_timer),
        spawn_timer=jnp.where(due, game.spawns, game.spawn_timer),
        divers=_first(game.divers, diver_due, diver),
        diver_timer=jnp.where(diver_due, timers, game.diver_timer),
        diver_spawn_timer=jnp.where(diver_due, DIVERS, game.diver_spawn_timer),
    )


def _steered(game: Sea, action: Int[Array, ""]) -> Sea:
    """The game after the submarine moved or shot."""
    fires = (action == FIRE) & (game.own_shot_timer == 0)
    bullet = Thing(jnp.array(True), game.row, game.column, game.rightwards)
    left, right = action == LEFT, action == RIGHT
    return game._replace(
        bullets=_first(game.bullets, fires, bullet),
        own_shot_timer=jnp.where(fires, COOLING, game.own_shot_timer),
        column=jnp.clip(game.column + right - left, 0, SIZE - 1),
        row=jnp.clip(game.row + (action == DOWN) - (action == UP), 0, SIZE - 2),
        rightwards=jnp.where(left | right, right, game.rightwards),
    )


def _shoot(game: Sea) -> tuple[Sea, Int[Array, ""]]:
    """The game after its bullets flew on: each, from the newest on, hits the oldest fish where it is, or submarine."""
    bullets = game.bullets.moved(game.bullets.there)
    there, hits = game.enemies.there, jnp.int32(0)
    kept = []
    for k in range(len(bullets.there)):
        met = game.enemies._replace(there=there & bullets.there[k]).at(bullets.row[k], bullets.column[k])
        fish = met & ~game.submarine
        hit = _one(jnp.where(fish.any(), fish, met), -game.born)
        there, hits = there & ~hit, hits + hit.any()
        kept.append(bullets.there[k] & ~hit.any())
    after = game._replace(bullets=bullets._replace(there=jnp.stack(kept)), enemies=game.enemies._replace(there=there))
    return after, hits


def _saved(game: Sea) -> Sea:
    """The game after divers, from the newest on, came aboard or swam on."""
    aboard, divers = game.aboard, game.divers
    swims = divers.there & (game.diver_timer == 0)
    after = divers.moved(swims)
    here, then = divers.at(game.row, game.column), after.at(game.row, game.column)
    there, swam = [], []
    for k in range(len(here)):
        at_once = here[k] & (aboard < ABOARD)
        saved = at_once | (swims[k] & then[k] & (aboard < ABOARD))
        aboard = aboard + saved
        there.append(after.there[k] & ~saved)
        swam.append(swims[k])
    timer = jnp.where(jnp.stack(swam), DIVER_MOVES, game.diver_timer - divers.there)
    return game._replace(aboard=aboard, divers=after._replace(there=jnp.stack(there)), diver_timer=timer)


def _enemies(game: Sea) -> tuple[Sea, Int[Array, ""], Bool[Array, ""]]:
    """The game after its enemies moved and shot, how many of them ran into bullets, and whether one ran into us."""
    enemies, bullets = game.enemies, game.bullets
    swims = enemies.there & (game.move_timer == 0)
    after = enemies.moved(swims)
    met = (enemies.at(game.row, game.column) | (swims & after.at(game.row, game.column))).any()
    # Submarines come first; of those on a bullet's cell the newest runs into it, into the oldest bullet of two.
    may = swims & after.there & ~after.at(game.row, game.column)
    there, hits, left = after.there, jnp.int32(0), bullets.there
    for kind in (game.submarine, ~game.submarine):
        for k in reversed(range(len(left))):
            in_it = after._replace(there=there & may & kind & left[k]).at(bullets.row[k], bullets.column[k])
            hit = _one(in_it, game.born)
            there, hits = there & ~hit, hits + hit.any()
            left = left.at[k].set(left[k] & ~hit.any())
    shoots = enemies.there & game.submarine & (game.shot_timer == 0)
    own = game.enemy_bullets
    return (
        game._replace(
            enemies=after._replace(there=there),
            bullets=bullets._replace(there=left),
            move_timer=jnp.where(swims, game.moves, game.move_timer - 1),
            shot_timer=jnp.where(shoots, SHOTS, game.shot_timer - 1),
            enemy_bullets=Thing(
                there=own.there | shoots,
                row=jnp.where(shoots, after.row, own.row),
                column=jnp.where(shoots, after.column, own.column),
                rightwards=jnp.where(shoots, after.rightwards, own.rightwards),
            ),
        ),
        hits,
        met,
    )


def _one(which: Bool[Array, " N"], rank: Int[Array, " N"]) -> Bool[Array, " N"]:
    """Of those the one of the highest rank."""
    best = jnp.argmax(jnp.where(which, rank, jnp.iinfo(jnp.int32).min))
    return which & (jnp.arange(which.shape[0]) == best)
