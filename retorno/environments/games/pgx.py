"""Games of pgx (Koyama et al. 2023) as worlds: chess, shogi, backgammon, Go and others, `pgx/chess` and so on.

They are pure functions in JAX as ours, so a rollout with them is one compiled program too. What is observed is what
pgx shows whoever moves, and beside it, where nothing is hidden from them, the state itself as records that no network
reads: from these a search goes on.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Int, Key, PyTree

from retorno.core.names import did_you_mean
from retorno.core.runtime import prepare
from retorno.core.spaces import Record
from retorno.environments.games.game import Game, Moved
from retorno.environments.registry import PGX, UnknownNameError

HIDING = ("kuhn_poker", "leduc_holdem")
"""Games in which a player does not see the whole state."""
STONES = ("connect_four", "go_9x9", "go_19x19", "othello", "tic_tac_toe")
"""Games whose first two planes are the mover's stones and the other's."""


class PgxGame(Game):
    """A game of pgx for one or two. An illegal action pays NaN as in other games, where pgx would end the game."""

    name: str = eqx.field(static=True)

    def __check_init__(self) -> None:
        players = made(self.name).num_players
        if players > 2:
            raise UnknownNameError(f"{PGX}{self.name} is for {players} players: worlds are for one or two")

    @property
    def two_players(self) -> bool:
        return made(self.name).num_players == 2

    @property
    def observation_space(self) -> spaces.Space[Any]:
        begun = beginning(self.name)
        seen = _space(spaces.Box, begun.observation)
        if self.name in HIDING:
            return seen
        return spaces.Tuple([seen, *(_space(Record, leaf) for leaf in jax.tree.leaves(_bare(begun)))])

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(beginning(self.name).legal_action_mask.shape[0])

    def start(self, key: Key[Array, ""]) -> Any:
        return made(self.name).init(key)

    def legal(self, position: Any) -> Bool[Array, " A"]:
        return position.legal_action_mask

    def move(self, position: Any, action: Int[Array, ""], key: Key[Array, ""]) -> Moved:
        after = made(self.name).step(position, action, key)
        return Moved(
            after,
            reward=after.rewards[position.current_player],
            over=after.terminated | after.truncated,
            again=after.current_player == position.current_player,
        )

    def show(self, position: Any) -> PyTree[Any]:
        seen = _shown(position.observation)
        return seen if self.name in HIDING else (seen, *map(_shown, jax.tree.leaves(_bare(position))))

    def recall(self, obs: PyTree[Any]) -> Any:
        if self.name in HIDING:
            raise NotImplementedError(f"an observation of {PGX}{self.name} does not tell its state")
        begun = beginning(self.name)
        leaves, tree = jax.tree.flatten(begun.replace(observation=None, rewards=None))
        known = [jnp.asarray(x).astype(leaf.dtype) for x, leaf in zip(obs[1:], leaves, strict=True)]
        seen, nothing = jnp.asarray(obs[0]).astype(begun.observation.dtype), jnp.zeros(begun.rewards.shape)
        return jax.tree.unflatten(tree, known).replace(observation=seen, rewards=nothing)

    def text(self, obs: PyTree[Any], second: bool = False) -> str:
        """The stones, in games of stones; else that pgx draws it."""
        if self.name not in STONES:
            return f"({PGX}{self.name} has no board in letters: pgx draws it, state.position.save_svg(FILE))"
        marks = np.asarray(obs[0])[..., :2] @ np.array([1, 2])
        signs = np.array(list(".XO"))[self.upright(marks, second)]
        return "\n".join(" ".join(line) for line in signs)


@functools.cache
def made(name: str) -> Any:
    """The object of a game that pgx makes.

    Raises:
        UnknownNameError: when pgx is not installed, or has no such game.
    """
    prepare()
    try:
        import pgx
    except ImportError as error:
        raise UnknownNameError(f"{PGX}{name} needs {error.name}: pip install 'retorno[pgx]'") from error
    known = pgx.available_envs()
    if name not in known:
        raise UnknownNameError(f"pgx has no game {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")
    return pgx.make(name)


@functools.cache
def beginning(name: str) -> Any:
    """Shapes and dtypes of a game's states."""
    return jax.eval_shape(made(name).init, jax.random.key(0))


def _bare(state: Any) -> Any:
    """A state without what follows from it, or is told beside it."""
    return state.replace(observation=None, rewards=None)


def _shown(leaf: Array) -> Array:
    """What is observed of an array: truths are bytes."""
    return leaf.astype(jnp.int8) if leaf.dtype == bool else leaf


def _space(kind: type[spaces.Box], leaf: Any) -> spaces.Box:
    """Of arrays as one is."""
    if leaf.dtype == bool:
        return kind(0, 1, leaf.shape, np.int8)
    if np.issubdtype(leaf.dtype, np.floating):
        return kind(-np.inf, np.inf, leaf.shape, leaf.dtype.type)
    limits = np.iinfo(leaf.dtype)
    return kind(limits.min, limits.max, leaf.shape, leaf.dtype.type)
