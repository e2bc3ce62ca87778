"""Two players meet game by game on the host: where one of them is a program of its own, its faults cost it the game."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from retorno.core.policy import Policy
from retorno.environments.games.game import Game
from retorno.run.engines import Engine, EngineError
from retorno.run.match import Match
from retorno.run.played import Mover, Played


class Forfeit(NamedTuple):
    """A game that was lost by a fault."""

    game: int
    second: bool
    """Whether the second player was at fault."""
    move: int
    why: str


def duel(
    one: Policy | Engine,
    other: Policy | Engine,
    world: Game,
    games: int,
    seed: int = 0,
    openings: int = 0,
    forfeited: Callable[[Forfeit], None] | None = None,
    over: Callable[[Played, Match], None] | None = None,
    begun: int = 0,
) -> Match:
    """Let two players meet, each from both sides.

    Args:
        one: whose returns are told.
        other: the opponent.
        world: a game of two.
        games: how many, rounded up to an even number.
        seed: of openings and of what chance does.
        openings: first moves of each game that are drawn evenly; the same for both sides.
        forfeited: is called for each game that a fault decided.
        over: is called with each game, and what came of it.
        begun: games of these that were played before: it is gone on behind them.

    Raises:
        GameError: when the world is no game of two.
    """
    games += games % 2
    players, found = (one, other), Match(np.zeros(0), np.zeros(0, bool), np.zeros(0))
    try:
        for number in range(begun, games):
            first = number % 2 == 0
            game = Played(world, seed, number // 2)
            draws, chances = (np.random.default_rng((seed, number // 2, *more)) for more in ((), (number,)))
            sides = [player if isinstance(player, Engine) else Mover(player, world, chances) for player in players]
            result, fault = _one_game(game, sides if first else sides[::-1], draws, openings)
            game.decided = result
            if fault is not None and forfeited is not None:
                forfeited(Forfeit(number, *fault))
            got = Match(np.array([result if first else -result]), np.array([first]), np.array([float(len(game.moves))]))
            if over is not None:
                over(game, got)
            found = found.and_then(got)
    finally:
        for player in players:
            if isinstance(player, Engine):
                player.end()
    return found


def _one_game(
    game: Played, sides: list[Engine | Mover], draws: np.random.Generator, openings: int
) -> tuple[float, tuple[bool, int, str] | None]:
    """What the first player got, and whose fault it was where it was one's."""
    world = game.world

    def lost(second: bool, why: str) -> tuple[float, tuple[bool, int, str]]:
        player = sides[second]
        if isinstance(player, Engine):
            player.end()  # The next game begins with another process.
        return (1.0 if second else -1.0), (second, len(game.moves) + 1, why)

    for second, player in enumerate(sides):
        try:
            player.begin()
        except EngineError as error:
            return lost(bool(second), str(error))
    while not game.over:
        mover, second = sides[game.second], game.second
        if len(game.moves) < openings:
            action, by = int(draws.choice(np.flatnonzero(game.legal))), None
        elif isinstance(mover, Mover):
            action, by = mover.move(game.row), mover
        else:
            try:
                said = mover.asked(game)
                if said.lower() == "resign":
                    return (1.0 if second else -1.0), None
                action, by = world.action(said, game.legal, second), mover
            except (EngineError, ValueError) as error:
                return lost(second, str(error))
        said, row = world.say(action, second), game.row
        for who, player in enumerate(sides):
            if player is by:
                continue
            if isinstance(player, Mover):
                player.watch(row)
                continue
            try:
                player.told(said, second)
            except EngineError as error:
                return lost(bool(who), str(error))
        game.play(action)
    return game.result, None
