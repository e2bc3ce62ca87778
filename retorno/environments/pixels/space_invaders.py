"""MinAtar's Space Invaders: shoot aliens that come down and shoot back. Young & Tian 2019."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.environments.canvas import ORANGE, PAPER, Colour
from retorno.environments.pixels.minatar import FIRE, LEFT, NOTHING, RIGHT, SIZE, MinAtar, cell

COOLING, SHOTS = 5, 10
"""Steps between two shots of the cannon and of the aliens."""
MOVES, FASTEST = 12, 6
"""Steps between two moves of many aliens: in the first wave, and in the last ones."""
BOTTOM = SIZE - 1
_ROW, _COLUMN = np.mgrid[:SIZE, :SIZE]
WAVE = (_ROW < 4) & (_COLUMN >= 2) & (_COLUMN < 8)


class Battle(NamedTuple):
    """Where all is."""

    place: Int[Array, ""]
    """The cannon's column."""
    bullets: Bool[Array, "10 10"]
    enemy_bullets: Bool[Array, "10 10"]
    aliens: Bool[Array, "10 10"]
    direction: Int[Array, ""]
    """Of the aliens, columns a move."""
    moves: Int[Array, ""]
    """Steps between two moves of this wave, while there are many of them."""
    move_timer: Int[Array, ""]
    alien_timer: Int[Array, ""]
    """Steps before an alien shoots."""
    shot_timer: Int[Array, ""]
    """Steps before the cannon may."""


class SpaceInvaders(MinAtar):
    """Each alien pays 1; the game is over when the cannon is hit. A later wave comes faster."""

    planes: ClassVar[dict[str, Colour]] = {
        "cannon": PAPER,
        "alien": (76, 153, 102),
        "alien_left": (76, 153, 102),
        "alien_right": (96, 173, 122),
        "friendly_bullet": ORANGE,
        "enemy_bullet": (202, 67, 67),
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, RIGHT, FIRE)

    def chance(self, key: Key[Array, ""]) -> tuple[()]:
        return ()

    def start(self, chance: tuple[()]) -> Battle:
        none, moves = jnp.zeros((SIZE, SIZE), bool), jnp.int32(MOVES)
        return Battle(
            jnp.int32(5), none, none, jnp.asarray(WAVE), jnp.int32(-1), moves, moves, jnp.int32(SHOTS), jnp.int32(0)
        )

    def play(
        self, game: Battle, action: Int[Array, ""], chance: tuple[()]
    ) -> tuple[Battle, Float[Array, ""], Bool[Array, ""]]:
        fires = (action == FIRE) & (game.shot_timer == 0)
        place = jnp.clip(game.place + (action == RIGHT) - (action == LEFT), 0, SIZE - 1)
        bullets = _rolled(game.bullets | (fires & cell(jnp.int32(BOTTOM), game.place)), -1)
        enemy_bullets = _rolled(game.enemy_bullets, 1)
        over = enemy_bullets[BOTTOM, place] | game.aliens[BOTTOM, place]

        moves = game.move_timer == 0
        at_edge = game.aliens[:, jnp.where(game.direction < 0, 0, SIZE - 1)].any()
        landed = moves & at_edge & game.aliens[BOTTOM].any()
        lower, beside = jnp.roll(game.aliens, 1, 0), jnp.roll(game.aliens, game.direction, 1)
        aliens = jnp.where(moves, jnp.where(at_edge, lower, beside), game.aliens)
        direction = jnp.where(moves & at_edge, -game.direction, game.direction)
        over = over | landed | (moves & aliens[BOTTOM, place])
        pace = jnp.minimum(game.aliens.sum(), game.moves)

        shoots = game.alien_timer == 0
        enemy_bullets = enemy_bullets | (shoots & _nearest(aliens, place))
        killed = aliens & bullets
        aliens, bullets = aliens & ~killed, bullets & ~killed
        cleared = ~aliens.any()
        after = Battle(
            place=place,
            bullets=bullets,
            enemy_bullets=enemy_bullets,
            aliens=jnp.where(cleared, WAVE, aliens),
            direction=direction,
            moves=game.moves - (cleared & (game.moves > FASTEST)) if self.ramping else game.moves,
            move_timer=jnp.where(moves, pace, game.move_timer) - 1,
            alien_timer=jnp.where(shoots, SHOTS, game.alien_timer) - 1,
            shot_timer=jnp.maximum(jnp.where(fires, COOLING, game.shot_timer) - 1, 0),
        )
        return after, killed.sum().astype(jnp.float32), over

    def screen(self, game: Battle) -> Bool[Array, "10 10 6"]:
        left = game.direction < 0
        seen = [game.aliens, game.aliens & left, game.aliens & ~left, game.bullets, game.enemy_bullets]
        return jnp.stack([cell(jnp.int32(BOTTOM), game.place), *seen], -1)


def _rolled(bullets: Bool[Array, "10 10"], rows: int) -> Bool[Array, "10 10"]:
    """Bullets a row on; those that leave the screen are gone."""
    return jnp.roll(bullets, rows, 0).at[BOTTOM if rows < 0 else 0].set(False)


def _nearest(aliens: Bool[Array, "10 10"], place: Int[Array, ""]) -> Bool[Array, "10 10"]:
    """The lowest alien of the nearest column, the left one of two that are as near."""
    away = jnp.where(aliens.any(0), abs(jnp.arange(SIZE) - place), SIZE)
    column = jnp.argmin(away)
    return cell(BOTTOM - jnp.argmax(aliens[::-1, column]), column)
