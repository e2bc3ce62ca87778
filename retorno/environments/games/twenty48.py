"""2048, alone against chance: equal tiles that are pushed together become one of twice the number (Cirulli 2014)."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Integer, Key

from retorno.environments.games.chance import ChanceGame
from retorno.environments.games.game import Moved, marked

FOUR = 0.1
"""How often the new tile is a 4 and not a 2."""
WAYS = ("left", "up", "right", "down")
Tiles = Integer[Array, "N N"]


class Twenty48(ChanceGame):
    """Push all tiles to one side; a push that moves nothing is not legal. A new tile comes after each.

    Tiles are seen as powers of two, 0 for a free cell. The reward is the sum of the numbers that were made.
    """

    size: int = eqx.field(static=True, default=4)

    def __check_init__(self) -> None:
        if not 2 <= self.size <= 5:
            raise ValueError(f"the board of 2048 has a size from 2 to 5, got {self.size}")

    @property
    def two_players(self) -> bool:
        return False

    @property
    def board(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def chances(self) -> int:
        return 2 * self.size**2

    @property
    def observation_space(self) -> spaces.Space[Any]:
        # The highest tile there can be: the last one on a full board of ever lower ones, made of a 4.
        return marked(self.board, self.size**2 + 2)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(len(WAYS))

    def start(self, key: Key[Array, ""]) -> Tiles:
        tiles = jnp.zeros(self.board, jnp.int8)
        for each in jax.random.split(key):
            tiles = self._with_tile(tiles, jax.random.categorical(each, self._free(tiles)))
        return tiles

    def legal(self, position: Tiles) -> Bool[Array, " 4"]:
        turned = _turned(position)
        return (jax.vmap(_pushed)(turned)[0] != turned).any((1, 2))

    def chance_logits(self, position: Tiles, action: Int[Array, ""]) -> Float[Array, " C"]:
        return self._free(self._push(position, action)[0])

    def happen(self, position: Tiles, action: Int[Array, ""], chance: Int[Array, ""]) -> Moved:
        tiles, made = self._push(position, action)
        after = self._with_tile(tiles, chance)
        legal = self.legal(after)
        return Moved(after, reward=made, over=~legal.any(), legal=legal)

    def _push(self, tiles: Tiles, action: Int[Array, ""]) -> tuple[Tiles, Float[Array, ""]]:
        pushed, made = _pushed(_turned(tiles)[action])
        return _back(pushed)[action], made

    def _free(self, tiles: Tiles) -> Float[Array, " C"]:
        """A 2, or a 4, on each free cell."""
        odds = jnp.log(jnp.array([1 - FOUR, FOUR]))
        return jnp.where(tiles.reshape(-1, 1) == 0, odds, -jnp.inf).T.reshape(-1)

    def _with_tile(self, tiles: Tiles, chance: Int[Array, ""]) -> Tiles:
        cells = self.size**2
        return tiles.reshape(-1).at[chance % cells].set((1 + chance // cells).astype(jnp.int8)).reshape(self.board)

    @property
    def cell_symmetries(self) -> Int[np.ndarray, "K cells"]:
        cells = np.arange(self.size**2).reshape(self.board)
        return np.stack([each.ravel() for k in range(4) for each in (np.rot90(cells, k), np.rot90(cells, k)[:, ::-1])])

    @property
    def action_symmetries(self) -> Int[np.ndarray, "K A"]:
        # A quarter turn to the left makes "up" of "right", and so on; a mirror exchanges left and right.
        turns = [np.roll(np.arange(4), -k) for k in range(4)]
        return np.stack([each for turn in turns for each in (turn, turn[[2, 1, 0, 3]])])

    def say(self, action: int, second: bool = False) -> str:
        return WAYS[action]

    def text(self, obs: Integer[np.ndarray, "N N"], second: bool = False) -> str:
        return "\n".join(" ".join(f"{2**x if x else '.':>5}" for x in row) for row in np.asarray(obs).tolist())

    def render(self, state: object) -> np.ndarray:
        raise NotImplementedError("2048 is told in numbers")


def _turned(tiles: Tiles) -> Integer[Array, "4 N N"]:
    """The board such that each way of pushing is to the left."""
    return jnp.stack([tiles, tiles.T, tiles[:, ::-1], tiles.T[:, ::-1]])


def _back(tiles: Tiles) -> Integer[Array, "4 N N"]:
    """`_turned`, undone."""
    return jnp.stack([tiles, tiles.T, tiles[:, ::-1], tiles[:, ::-1].T])


def _pushed(tiles: Tiles) -> tuple[Tiles, Float[Array, ""]]:
    """All tiles pushed to the left, and the sum of what was made."""
    columns = _closed(list(tiles.T))
    made = jnp.float32(0)
    for i in range(len(columns) - 1):
        same = (columns[i] == columns[i + 1]) & (columns[i] > 0)
        columns[i] = columns[i] + same.astype(jnp.int8)
        columns[i + 1] = jnp.where(same, 0, columns[i + 1])
        made = made + jnp.where(same, jnp.exp2(columns[i].astype(jnp.float32)), 0).sum()
    return jnp.stack(_closed(columns), 1), made


def _closed(columns: list[Integer[Array, " N"]]) -> list[Integer[Array, " N"]]:
    """Rows, given by columns, without gaps at their beginning."""
    columns = list(columns)
    for end in range(len(columns) - 1, 0, -1):
        for i in range(end):
            gap = columns[i] == 0
            columns[i], columns[i + 1] = jnp.where(gap, columns[i + 1], columns[i]), jnp.where(gap, 0, columns[i + 1])
    return columns
