"""Two players meet in a game of two, where each one's rewards are the other's losses."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, UInt32

from retorno.core import constants
from retorno.core.environment import Environment, HostedWorld, World
from retorno.core.policy import Carry, Policy
from retorno.core.spaces import action_units
from retorno.core.time_step import TimeStep
from retorno.environments.games.pairs import Games, play_pairs
from retorno.ops.intervals import interval95_within
from retorno.run.episodes import (
    LONGEST_EPISODE,
    Lived,
    decide_all,
    decide_hosted,
    empty_memories,
    endless,
    live_hosted,
    surely,
)


@dataclasses.dataclass(frozen=True)
class Match:
    """What the first of two players got in each episode [N]; the other got as much less."""

    returns: np.ndarray
    first: np.ndarray
    """Whether it moved first. Episodes 2k and 2k + 1 begin alike, with the sides exchanged."""
    lengths: np.ndarray

    @property
    def episodes(self) -> int:
        return len(self.returns)

    @property
    def mean(self) -> float:
        """The first player's mean return: half of what lies between the two."""
        return float(self.returns.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """The mean's 95% interval, over pairs of episodes that begin alike (Student's t, within what was seen)."""
        return interval95_within(self.returns.reshape(-1, 2).mean(1), self.returns)

    @property
    def wins(self) -> int:
        """Episodes in which the first player got more than nothing."""
        return int((self.returns > 0).sum())

    @property
    def draws(self) -> int:
        return int((self.returns == 0).sum())

    @property
    def losses(self) -> int:
        return int((self.returns < 0).sum())

    @property
    def moving_first(self) -> float:
        """The first player's mean return where it moves first."""
        return float(self.returns[self.first].mean())

    @property
    def moving_second(self) -> float:
        """The first player's mean return where the other moves first."""
        return float(self.returns[~self.first].mean())

    def and_then(self, more: Match) -> Match:
        """These episodes and others of the same two players."""
        both = (np.concatenate(pair) for pair in zip(*map(dataclasses.astuple, (self, more)), strict=True))
        return Match(*both)

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds."""
        names = ("mean", "episodes", "wins", "draws", "losses", "moving_first", "moving_second")
        return {**{name: getattr(self, name) for name in names}, "ci95": list(self.ci95)}

    def __str__(self) -> str:
        low, high = self.ci95
        ended = f"{self.wins} won, {self.draws} drawn, {self.losses} lost"
        sides = f"{self.moving_first:.3f} moving first, {self.moving_second:.3f} second"
        interval = f"95% interval {low:.3f} to {high:.3f}"
        return f"return {self.mean:.3f}, {interval} ({self.episodes} episodes: {ended}; {sides})"


def meet(
    one: Policy,
    other: Policy,
    world: World,
    episodes: int,
    seed: int = 1_000_000,
    greedy: bool = True,
    openings: int = 0,
) -> Match:
    """Let two players meet in a game, each from both sides. A memory sees all rows, the opponent's too, as in training.

    Args:
        one: whose returns are told.
        other: the opponent.
        world: a game, native or hosted: its discount is −1 where the opponent moves next.
        episodes: how many, rounded up to an even number.
        seed: of the episodes.
        greedy: take a policy's best action, or draw from it; who plays at random does so either way.
        openings: first moves that are drawn evenly, alike where episodes begin alike.

    Raises:
        EvaluationError: when an episode does not end.

    Returns:
        What the first of them got in each episode.

    >>> from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
    >>> from retorno.policies import Uniform
    >>> world = TicTacToe()
    >>> anyone = Uniform().build(world.observation_space, world.action_space)
    >>> match = meet(anyone, anyone, world, episodes=100, greedy=False)
    >>> match.wins + match.draws + match.losses, match.moving_first > match.moving_second
    (100, True)
    """
    pairs = -(-episodes // 2)
    if not isinstance(world, Environment):
        sides = [_meet_hosted((one, other), world, pairs, seed, greedy, side) for side in (1.0, -1.0)]
        # Environments follow their seeds: episode k begins alike from both sides.
        returns, lengths = (np.stack([getattr(x, name) for x in sides], 1).ravel() for name in ("returns", "lengths"))
        return Match(returns, np.arange(2 * pairs) % 2 == 0, lengths)
    end = _meet(one, other, world, jnp.uint32(seed), pairs, greedy, openings)
    if not np.asarray(end.over).all():
        raise endless()
    return Match(np.asarray(end.returns), np.arange(2 * pairs) % 2 == 0, np.asarray(end.lengths))


def _meet_hosted(
    players: tuple[Policy, Policy], world: HostedWorld, episodes: int, seed: int, greedy: bool, side: float
) -> Lived:
    """Episodes in which the first player moves first (side 1), or second (−1)."""
    units, keys = action_units(world.action_space), jax.random.split(jax.random.key(seed))

    def choose(row: TimeStep, memories: list[Carry], sign: np.ndarray, t: int) -> tuple[Any, list[Carry]]:
        decided = [
            decide_hosted(policy, row, memory, units, key, np.int32(t), surely(policy, greedy))
            for policy, memory, key in zip(players, memories, keys, strict=True)
        ]
        (mine, _), (theirs, _) = decided
        pick = lambda a, b: np.where(np.reshape(sign > 0, (-1,) + (1,) * (np.ndim(a) - 1)), a, b)  # noqa: E731
        return jax.tree.map(pick, mine, theirs), [memory for _, memory in decided]

    memories = lambda number: [empty_memories(policy, number) for policy in players]  # noqa: E731
    return live_hosted(choose, memories, world, episodes, seed, side)


@partial(constants.jit, static_argnames=("pairs", "greedy", "openings"))
def _meet(
    one: Policy, other: Policy, world: Environment, seed: UInt32[Array, ""], pairs: int, greedy: bool, openings: int
) -> Games:
    units, keys = action_units(world.action_space), jax.random.split(jax.random.key(seed))

    def choose(row: TimeStep, carries: tuple[Carry, Carry], t: Int[Array, ""]) -> tuple[Any, Any, tuple[Carry, Carry]]:
        (a, after), (b, other_after) = (
            decide_all(policy, row, carry, units, key, t, surely(policy, greedy))
            for policy, carry, key in zip((one, other), carries, keys, strict=True)
        )
        return a, b, (after, other_after)

    memory = (empty_memories(one, 2 * pairs), empty_memories(other, 2 * pairs))
    return play_pairs(choose, memory, world, seed, pairs, openings, keys[0], LONGEST_EPISODE)
