"""A game in the terminal against what was learnt, or against a player that nobody has to train."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from retorno.cli.arena import with_simulations
from retorno.cli.pages import require_web
from retorno.cli.terminal import note
from retorno.core.policy import Policy
from retorno.environments.games.game import GIVE_UP, Game
from retorno.run.arena import ArenaError, known_player
from retorno.run.engines import Engine, Resigned
from retorno.run.played import Mover, Played
from retorno.search import SearchPolicy
from retorno.search.perfect import Perfect
from retorno.search.solvers import judge_of
from retorno.search.uct import UCTPolicy

QUIT = ("quit", "exit", "q")


def play_against(policy: Policy | Engine, world: object, seed: int, second: bool) -> int:
    """Ask for one's moves on standard input until the game is over or is left.

    Args:
        policy: the opponent.
        world: a game of two.
        seed: of what chance does.
        second: whether the opponent moves first.

    Raises:
        GameError: when the world is no game of two.
        EngineError: when a program does not play on.
    """
    game = Played(world, seed)
    if not isinstance(policy, Engine):
        return _played(game, Mover(policy, game.world, np.random.default_rng(seed)), second)
    try:
        return _played(game, policy, second)
    except Resigned as told:
        print(f"{told}. You win.")
        return 0
    finally:
        policy.end()


def _played(game: Played, opponent: Mover | Engine, second: bool) -> int:
    print(f"You are {'O' if second else 'X, and begin'}. A move, resign, or quit.")
    while not game.over:
        print(f"\n{game.text()}\n")
        if game.second == second:
            action = _asked(game.world, game.legal, game.second)
            if action is None:
                print("left")
                return 0
            if action == GIVE_UP:
                print("You lose.")
                return 0
            if isinstance(opponent, Mover):
                opponent.watch(game.row)
        else:
            action = opponent.move(game.row) if isinstance(opponent, Mover) else opponent.move(game)
            print(f"I play {game.world.say(action, game.second)}")
        game.play(action)
    mine = -game.result if second else game.result
    print(f"\n{game.text()}\n")
    print("You win." if mine > 0 else "You lose." if mine < 0 else "A draw.")
    return 0


SEARCHES = (0, 32, 200, 800)
"""Simulations that a run may look ahead by on the page."""


def play_on_page(what: str, policy: Policy | Engine | None, named: str | None, world: Game, port: int | None) -> int:
    """Serve the game page until Ctrl-C.

    Args:
        what: the run's folder, or the game's name.
        policy: the opponent, where one was given.
        named: what it was called, where it is not the run.
        world: a game of two.
        port: of the page.
    """
    require_web()
    from retorno.web import Site
    from retorno.web.playing import Table
    from retorno.web.serving import Address, serve

    players: dict[str, Policy | Engine] = {} if policy is None else {named or Path(what).name: policy}
    if isinstance(policy, SearchPolicy):
        name = (named or Path(what).name).partition(":")[0]
        players = {
            f"{name}:{count}": with_simulations(policy, count)
            for count in sorted({*SEARCHES, policy.config.simulations}, key=lambda n: (n != 200, n))
        }
    for known in ("uct:1000", "uct:100", "exact", "alpha_beta:4", "random"):
        with contextlib.suppress(ArenaError):
            found = known_player(known, world)
            if found is not None and not isinstance(found, Engine):
                players.setdefault(known, found)
    searches = [each for each in players.values() if isinstance(each, SearchPolicy | UCTPolicy)]
    exact = players.get("exact")
    solver = exact.solver if isinstance(exact, Perfect) else judge_of(world)
    run = Path(what)
    address = Address(port, run / "play" if run.is_dir() else None)
    print(address.url("play"), flush=True)
    note("Ctrl-C ends the page")
    try:
        serve(Site(run.name, pages=("play",), table=Table(world, players, searches[0], solver)), address)
    finally:
        if isinstance(policy, Engine):
            policy.end()
    return 0


def _asked(world: Game, legal: np.ndarray, second: bool) -> int | None:
    """One's move, or that one gives up; None where the game is left."""
    while True:
        try:
            said = input("your move: ")
        except EOFError:
            return None
        if said.strip().lower() in QUIT:
            return None
        if said.strip().lower() == "resign":
            return GIVE_UP
        try:
            return world.action(said, legal, second)
        except ValueError as error:
            print(error)
