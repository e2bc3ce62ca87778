"""Who solves a game: its own solver where there is one, else minimax over all positions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from retorno.core.environment import Environment
from retorno.core.mdp import ModelError
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello
from retorno.search.connect_four import ConnectFourSolver
from retorno.search.errors import SearchError
from retorno.search.hex import HexSolver
from retorno.search.othello import OthelloSolver
from retorno.search.perfect import Exhaustive, Solver

OWN: dict[type[Environment], Callable[..., Solver]] = {ConnectFour: ConnectFourSolver, Hex: HexSolver}
"""Solvers that know all positions of a game, where they know its board."""
TO_A_DEPTH: dict[type[Environment], Callable[..., Solver]] = {ConnectFour: ConnectFourSolver, Othello: OthelloSolver}
"""Those that look as many moves ahead as they are told."""


def solver_of(world: Environment) -> Solver:
    """Who knows what each move of a game is worth.

    Raises:
        SearchError: when nobody does.
    """
    if isinstance(world, Othello) and world.size > 4:
        raise SearchError("nobody knows it from its beginning: alpha_beta:18 plays its last 18 moves perfectly")
    refused = None
    if (own := OWN.get(type(world))) is not None:
        try:
            return own(world)
        except SearchError as error:
            refused = error  # Boards that it does not know may be small.
    try:
        return Exhaustive.of(world)
    except ModelError as error:
        raise refused or SearchError(str(error)) from None


def solver_to(world: Environment, depth: int) -> Solver:
    """Who looks so many moves ahead.

    Raises:
        SearchError: when nobody does in this game.
    """
    found = TO_A_DEPTH.get(type(world))
    if found is None:
        names = " and ".join(kind.__name__ for kind in TO_A_DEPTH)
        raise SearchError(f"alpha_beta plays {names} alone, got {world!r}")
    return found(world, depth=depth)


def judge_of(world: Environment) -> Solver | None:
    """Who knows the positions of a game whose end is near, where nobody knows all; None where nobody knows any."""
    with contextlib.suppress(SearchError):
        return OthelloSolver(world) if isinstance(world, Othello) else None
    return None
