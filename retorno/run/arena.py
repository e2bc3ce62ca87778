"""Players of a game, whoever they are, meet each other: all pairs, both sides, and how strong that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from retorno.core.environment import Environment
from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.core.waiting import waiting
from retorno.environments.games.game import Game
from retorno.models.tabular import WorldModel
from retorno.ops.ratings import Ratings, bradley_terry
from retorno.policies import Uniform
from retorno.policies.target_and_behaviour import AtRandom
from retorno.run.arena_folder import ArenaFolder
from retorno.run.duel import Forfeit, duel
from retorno.run.engines import Engine, engine
from retorno.run.match import Match, meet
from retorno.run.played import Played
from retorno.run.thinking import in_time, seconds_of
from retorno.search.errors import SearchError
from retorno.search.perfect import Perfect
from retorno.search.solvers import solver_of, solver_to

MOST = 2_000
"""Games of each pair, however wide intervals are."""


class ArenaError(RetornoError):
    """Players that cannot meet."""


@dataclass(frozen=True)
class Arena:
    """What came of it."""

    names: tuple[str, ...]
    matches: Mapping[tuple[int, int], Match]
    """Of players i < j, from the view of i."""

    @property
    def scores(self) -> Float[np.ndarray, "N N"]:
        """The points that each made against each: 1 for a win, ½ for a draw."""
        found = np.zeros((len(self.names),) * 2)
        for (i, j), match in self.matches.items():
            found[i, j] += match.wins + match.draws / 2
            found[j, i] += match.losses + match.draws / 2
        return found

    @property
    def ratings(self) -> Ratings:
        """Bradley–Terry ratings, in points around the mean of all."""
        return bradley_terry(self.scores)

    def order(self) -> list[int]:
        """The players, the strongest first."""
        return np.argsort(-self.ratings.points, kind="stable").tolist()

    def as_row(self) -> list[dict[str, Any]]:
        """What `--json` holds: the players, the strongest first."""
        ratings, scores = self.ratings, self.scores
        return [
            {
                "player": self.names[i],
                "rating": float(ratings.points[i]),
                "ci95": [float(ratings.points[i] - ratings.reach[i]), float(ratings.points[i] + ratings.reach[i])],
                "points": float(scores[i].sum()),
                "games": int((scores[i] + scores[:, i]).sum()),
                "against": {self.names[j]: float(scores[i, j]) for j in range(len(self.names)) if j != i},
            }
            for i in self.order()
        ]


def arena(
    players: Mapping[str, Policy | Engine],
    world: Environment,
    games: int = 20,
    openings: int = 2,
    seed: int = 0,
    told: Callable[[str, str, Match], None] | None = None,
    within: float | None = None,
    most: int = MOST,
    forfeited: Callable[[str, Forfeit], None] | None = None,
    folder: ArenaFolder | None = None,
) -> Arena:
    """Let each player meet each other one.

    Args:
        players: by their names, two or more: policies, or programs of their own.
        world: a game of two.
        games: of each pair, rounded up to an even number: each moves first in half of them.
        openings: first moves of each game that are drawn evenly; the same for both sides.
        seed: of the games.
        told: is called after each pair, with both names and what came of it so far.
        within: go on, as many games each time, until no rating's 95% interval reaches further than so many points.
        most: games of each pair, however wide the intervals are.
        forfeited: is called for each game that a program lost by a fault, with its name.
        folder: where games are kept as they come; what is there already is not played again.

    Raises:
        ArenaError: when the world is no game of two, or there are too few players.
    """
    if not world.two_players:
        raise ArenaError(f"{world!r} is for one player: an arena is for games of two, for instance connect_four")
    if len(players) < 2 or games < 1 or openings < 0:
        raise ArenaError(
            f"an arena needs two players or more and one game or more, got {', '.join(players) or 'none'} with {games} "
            f"games and {openings} moves as an opening"
        )
    names, found = tuple(players), Arena(tuple(players), {})
    pair = Pairing(world, openings, forfeited, folder)
    for number in range(max(1, most // (games + games % 2))):
        matches: dict[tuple[int, int], Match] = {}
        for i, j in combinations(range(len(names)), 2):
            match = pair.meet((names[i], players[names[i]]), (names[j], players[names[j]]), games, seed + number)
            matches[i, j] = found.matches[i, j].and_then(match) if number else match
            if told is not None:
                told(names[i], names[j], matches[i, j])
        found = Arena(names, matches)
        if within is None or found.ratings.reach.max() <= within:
            break
    return found


@dataclass(frozen=True)
class Pairing:
    """How two players meet: all games at once where both are policies, else one after another."""

    world: Environment
    openings: int
    forfeited: Callable[[str, Forfeit], None] | None
    folder: ArenaFolder | None

    def meet(
        self, one: tuple[str, Policy | Engine], other: tuple[str, Policy | Engine], games: int, seed: int
    ) -> Match:
        """What came of it, for the first of them."""
        (name, player), (other_name, opponent) = one, other
        meeting, folder = (name, other_name, seed), self.folder
        before = None if folder is None else folder.found(meeting)
        if not isinstance(player, Engine) and not isinstance(opponent, Engine):
            if before is None:
                before = meet(player, opponent, self.world, games, seed, openings=self.openings)
                if folder is not None:
                    folder.add(meeting, before)
            return before
        if not isinstance(self.world, Game):
            raise ArenaError(f"programs play games, got {self.world!r}")

        def forfeited(what: Forfeit) -> None:
            if self.forfeited is not None:
                self.forfeited((name, other_name)[what.second != bool(what.game % 2)], what)

        def over(game: Played, got: Match) -> None:
            if folder is not None:
                folder.add(meeting, got, game)

        begun = 0 if before is None else before.episodes
        rest = duel(player, opponent, self.world, games, seed, self.openings, forfeited, over, begun)
        return rest if before is None else before.and_then(rest)


KNOWN = ("random", "exact", "uct:SIMULATIONS", "alpha_beta:DEPTH", "gnugo:LEVEL", "gtp:COMMAND", "uci:COMMAND")
"""Players that nobody has to train."""


def known_player(name: str, world: Environment) -> Policy | Engine | None:
    """A player that plays by itself; None where the name is none of theirs.

    Raises:
        ArenaError: when it does not know the game, or a number is wrong.
        EngineError: when there is no such program.
    """
    kind, _, number = name.partition(":")
    if kind in ("gtp", "uci", "gnugo"):
        if not isinstance(world, Game):
            raise ArenaError(f"programs play games, got {world!r}")
        return engine(name, world)
    if kind not in [each.partition(":")[0] for each in KNOWN]:
        return None
    if kind in ("random", "exact"):
        if number:
            raise ArenaError(f"{kind} takes no number, got {name!r}")
        if kind == "exact":
            return _exact(world)
        anyone = Uniform().build(world.observation_space, world.action_space)
        return AtRandom(anyone.log_prob, anyone.observed)
    seconds = seconds_of(number) if kind == "uct" else None
    if seconds is None and (not number.isdigit() or int(number) < 1):
        raise ArenaError(f"{kind} needs a positive number, as in {kind}:{100 if kind == 'uct' else 4}, got {name!r}")
    if kind == "uct":
        from retorno.search.uct import UCB, UCTPolicy

        if seconds is not None:
            return in_time(UCTPolicy(WorldModel(world), UCB()), world, seconds)
        return UCTPolicy(WorldModel(world), UCB(simulations=int(number)))
    try:
        return Perfect(solver_to(world, int(number)))
    except SearchError as error:
        raise ArenaError(str(error)) from None


def _exact(world: Environment) -> Policy:
    """Perfect play.

    Raises:
        ArenaError: when nobody knows the game so well.
    """
    with waiting("solving the game"):
        try:
            return Perfect(solver_of(world))
        except SearchError as error:
            raise ArenaError(f"exact cannot play this game: {error}") from None


def fitting(names: Sequence[str]) -> list[str]:
    """Names that are told apart where one was given twice."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]
