"""`retorno arena PLAYER PLAYER…`: players of a game meet, and are rated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import numpy as np
import tyro

from retorno.cli.options import Flag, UsageError, parse, step_of
from retorno.cli.runs import of_first_seed, recorded_world
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note, print_json
from retorno.core.environment import Environment
from retorno.core.hyperparameters import Count, Positive, Seed, Whole
from retorno.core.policy import Policy
from retorno.core.waiting import waiting
from retorno.environments.registry import WorldName
from retorno.run.arena import KNOWN, MOST, arena, fitting, known_player
from retorno.run.arena_folder import LOOKED_AHEAD, ArenaFolder, looked_ahead
from retorno.run.duel import Forfeit
from retorno.run.engines import PATIENCE, Engine
from retorno.run.learnt import require_fitting
from retorno.run.match import Match
from retorno.run.policy_folder import Step
from retorno.run.thinking import in_time, seconds_of
from retorno.search import SearchPolicy
from retorno.search.uct import UCTPolicy

_MOST = f"With --within: games of each pair, however wide the intervals are; {MOST} where it is not said."
_PATIENCE = f"Seconds that a program may take for an answer; {PATIENCE:g} where it is not said."


@dataclass(frozen=True)
class Arena:
    """Each player meets each other one, from both sides, after openings at random; Bradley–Terry ratings come of it.

    A player is a run's folder (RUN:200 lets it look ahead by so many simulations, RUN:2s by as many as take two
    seconds on this machine, RUN:0 plays its network alone; RUN@20000 and RUN@best are what it had learnt by that step,
    RUN@20000:200 both), or random, exact (perfect play, where it is known),
    uct:SIMULATIONS, alpha_beta:DEPTH, or a program of its own: gnugo:LEVEL, 'gtp:COMMAND' or 'uci:COMMAND'. One that
    hangs, dies or moves illegally has lost that game.
    """

    players: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PLAYER…")]
    """Two or more."""
    world: str | None = None
    """The game; that of the first run where it is not said. What it is made with: --world.KEY VALUE."""
    games: Count = 20
    """Of each pair."""
    openings: Whole = 2
    """First moves of each game that are drawn at random, the same for both sides."""
    within: Positive | None = None
    """Go on, so many games each time, until no rating's 95% interval reaches further than so many points."""
    most: Annotated[Count | None, tyro.conf.arg(help=_MOST)] = None
    patience: Annotated[Positive | None, tyro.conf.arg(help=_PATIENCE)] = None
    folder: Path | None = None
    """Where games are kept as they come, those with a program in them as SGF: the same command goes on there."""
    seed: Seed = 0
    """Of the games."""
    json: Flag = False
    """Print JSON."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Arena, rest, "retorno arena")
    if given.most is not None and given.within is None:
        raise UsageError("--most ends what --within goes on with: give --within as well, or the number as --games")
    if given.most is not None and given.most < given.games:
        raise UsageError(f"--most {given.most} is less than the --games {given.games} that are played at once")
    name = WorldName(given.world, settings=settings) if given.world else _world_of(given.players)
    world = name.make()
    if not isinstance(world, Environment):
        raise UsageError(f"{name.name} is a hosted world: players meet in a native one, for instance connect_four")
    names, before = fitting(given.players), {} if given.folder is None else looked_ahead(given.folder)
    players = {
        shown: player_of(f"{each.rpartition(':')[0]}:{before[shown]}" if shown in before else each, world)
        for shown, each in zip(names, given.players, strict=True)
    }

    def told(one: str, other: str, match: Match) -> None:
        note(f"{one} against {other}: {match.wins} won, {match.draws} drawn, {match.losses} lost")

    def forfeited(name: str, fault: Forfeit) -> None:
        note(f"{name} has lost game {fault.game + 1} at move {fault.move}: {fault.why}")

    programs = [player for player in players.values() if isinstance(player, Engine)]
    if given.patience is not None and not programs:
        raise UsageError("--patience is for programs, and none plays: leave it out")
    for program in programs:
        program.patience = given.patience or PATIENCE
    timed = {
        shown: player.config.simulations
        for (shown, player), each in zip(players.items(), given.players, strict=True)
        if isinstance(player, SearchPolicy | UCTPolicy) and seconds_of(_split(each)[1]) is not None
    }
    for shown, simulations in timed.items():
        note(f"{shown} looks ahead by {simulations:,} simulations")
    asked = {
        "players": {name: _told(player) for name, player in players.items()},
        "world": name.as_json(),
        **{each: getattr(given, each) for each in ("games", "openings", "seed")},
        **({LOOKED_AHEAD: timed} if timed else {}),
    }
    with (
        contextlib.nullcontext() if given.folder is None else ArenaFolder(given.folder, asked) as folder,
        waiting("playing"),
    ):
        found = arena(
            players,
            world,
            given.games,
            given.openings,
            given.seed,
            told,
            given.within,
            given.most or MOST,
            forfeited,
            folder,
        )
    rows = found.as_row()
    if given.json:
        print_json({"players": rows})
        return 0
    width = max(len(row["player"]) for row in rows)
    print(f"{'player':<{width}}  rating  95% interval     points of games")
    for row in rows:
        low, high = row["ci95"]
        between = f"{low:+.0f} to {high:+.0f}"
        print(f"{row['player']:<{width}}  {row['rating']:+6.0f}  {between:<15}  {row['points']:>6g} of {row['games']}")
    if given.openings:
        drawn = f"{given.openings} move{'s' if given.openings > 1 else ''} at random"
        note(f"each game began with {drawn}, after which perfect play may lose as well; --openings 0: none")
    else:
        note(
            "without openings two players that draw nothing only repeat themselves: true intervals are wider than these"
        )
    return 0


def _told(player: Policy | Engine) -> str:
    """What tells a player from another one of its name: of one that has learnt, its numbers."""
    leaves = [] if isinstance(player, Engine) else jax.tree.leaves(eqx.filter(player, eqx.is_array))
    return sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()[:16]


def _world_of(players: tuple[str, ...]) -> WorldName:
    for each in players:
        folder = _of_step(_split(each)[0])[0]
        if folder.is_dir():
            return recorded_world(folder)
    raise UsageError("say which game is played, for instance --world connect_four")


def player_of(name: str, world: Environment) -> Policy | Engine:
    """A player by what was given for it."""
    if (found := known_player(name, world)) is not None:
        return found
    path, number = _split(name)
    seconds, (folder, step) = seconds_of(number), _of_step(path)
    if not folder.is_dir() or not (path == name or number.isdigit() or seconds is not None):
        raise UsageError(f"no player {name!r}: give the folder of a run, or {', '.join(KNOWN)}")
    actor = of_first_seed(folder, step)
    try:
        require_fitting(actor, world)
    except ValueError as error:  # Of several runs it has to be said which.
        raise UsageError(f"{path} does not play this game: {error}") from None
    policy = actor.policy
    if not number:
        return policy
    if not isinstance(policy, SearchPolicy):
        raise UsageError(f"{path} was not learnt with a search: give it without a number")
    return with_simulations(policy, int(number)) if seconds is None else in_time(policy, world, seconds)


def _split(name: str) -> tuple[str, str]:
    """A player without and with what it may do on a move: a run's folder may have a colon in its own name."""
    path, _, number = name.rpartition(":")
    return (name, "") if not path or Path(name).is_dir() else (path, number)


def _of_step(path: str) -> tuple[Path, Step]:
    """A run's folder, which may have an @ in its own name, and by which step it had learnt what plays; None: newest."""
    folder, _, step = path.rpartition("@")
    at_step = folder and Path(folder).is_dir() and not Path(path).is_dir()
    return (Path(folder), step_of(step)) if at_step else (Path(path), None)


def with_simulations(policy: SearchPolicy, count: int) -> Policy:
    """A player that looks ahead by so many simulations; by none its network alone."""
    return replace(policy, config=replace(policy.config, simulations=count)) if count else policy.network  # type: ignore[type-var]
