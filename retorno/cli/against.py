"""A game in the terminal against what was learnt, or against a player that nobody has to train."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from retorno.cli.options import UsageError
from retorno.core import constants
from retorno.core.environment import advance, begin
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import action_units
from retorno.environments.games.game import Game
from retorno.run.episodes import decide

QUIT = ("quit", "exit", "q")


def play_against(policy: Policy, world: object, seed: int, second: bool) -> int:
    """Ask for one's moves on standard input until the game is over or is left.

    Args:
        policy: the opponent.
        world: a game of two.
        seed: of what chance does.
        second: whether the opponent moves first.

    Raises:
        UsageError: when the world is no game of two.
    """
    if not isinstance(world, Game) or not world.two_players:
        raise UsageError("only a game of two can be played against somebody, for instance connect_four")
    units = action_units(world.action_space)
    answer = constants.jit(
        lambda policy, row, carry: decide(policy, row, carry, units, None, True), compiler_options=IN_HASTE
    )
    forward = jax.jit(lambda *given: advance(world, *given), compiler_options=IN_HASTE)
    number = jnp.uint32(seed), jnp.uint32(0)
    standing, row = begin(world, *number)
    carry, mine, first = policy.initial_carry(), not second, True
    print(f"You are {'X, and begin' if mine else 'O'}. A move, or quit.")
    while True:
        print(f"\n{world.text(jax.tree.map(np.asarray, row.obs), not first)}\n")
        if mine:
            action = _asked(world, np.asarray(row.legal), not first)
            if action is None:
                print("left")
                return 0
            _, carry = answer(policy, row, carry)
        else:
            action, carry = answer(policy, row, carry)
            print(f"I play {world.say(int(action), not first)}")
        standing, row = forward(standing, row, jnp.int32(action), *number)
        if row.last:
            paid = float(row.reward) if mine else -float(row.reward)
            print(f"\n{world.text(jax.tree.map(np.asarray, row.obs), first)}\n")
            print("You win." if paid > 0 else "You lose." if paid < 0 else "A draw.")
            return 0
        if row.discount < 0:
            mine, first = not mine, not first


def _asked(world: Game, legal: np.ndarray, second: bool) -> int | None:
    """One's move; None where the game is left."""
    while True:
        try:
            said = input("your move: ")
        except EOFError:
            return None
        if said.strip().lower() in QUIT:
            return None
        try:
            return world.action(said, legal, second)
        except ValueError as error:
            print(error)
